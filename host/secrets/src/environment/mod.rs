//! Secrets in environment variables: `{ env = "NAME" }`.

use std::collections::BTreeMap;

use datakit_model::{Credential, Failure, Secret};

use crate::fields::{Fields, Key};
use crate::kind::{Fetched, Reference, SecretKind, SecretRef, Unavailable};
use crate::opening::{Keytab, Opening};

const ENV: Key = Key::new("env");

/// The kind.
#[derive(Debug)]
pub struct Kind;

impl SecretKind for Kind {
    fn key(&self) -> &'static str {
        ENV.name
    }

    fn form(&self) -> &'static str {
        "{ env = \"NAME\" }"
    }

    fn is_vault(&self) -> bool {
        false
    }

    fn read(&self, fields: &mut dyn Fields) -> Option<SecretRef> {
        fields.text(ENV).filter(|name| !name.is_empty()).map(|name| Variable(name).into())
    }
}

/// A variable, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable(pub String);

impl Reference for Variable {
    fn kind(&self) -> &'static dyn SecretKind {
        &Kind
    }

    fn place(&self) -> String {
        format!("variable {}", self.0)
    }

    fn fetch(&self, environment: &BTreeMap<String, String>) -> Result<Option<Fetched>, Unavailable> {
        let state = match environment.get(&self.0) {
            Some(text) if !text.is_empty() => {
                return Ok(Some(Fetched { secret: Secret::new(text.clone()), warning: None }));
            }
            Some(_) => "empty",
            None => "not set",
        };
        Err(Unavailable::Variable { variable: self.0.clone(), state })
    }

    /// The environment of a process stays what it is, so the secret is not fetched again.
    fn open(&self, opening: &Opening<'_>) -> Result<Credential, Failure> {
        opening.fetched().map(Credential::from)
    }

    fn keytab(&self, _: &Opening<'_>) -> Result<Keytab, Failure> {
        Ok(Keytab::Base64 { place: self.0.clone() })
    }
}

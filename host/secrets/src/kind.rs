//! What a kind of reference is, and the list of kinds.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use datakit_model::{Credential, Failure, Secret};

use crate::fields::Fields;
use crate::opening::{Keytab, Opening};
use crate::{aws, delinea, environment, file};

/// Every kind, in the order of the documentation.
pub const KINDS: [&dyn SecretKind; 4] = [&environment::Kind, &file::Kind, &delinea::Kind, &aws::Kind];

/// A kind of reference to a secret.
pub trait SecretKind: Sync {
    /// The key of the reference: `env`.
    fn key(&self) -> &'static str;

    /// How it is written, for hints: `{ env = "NAME" }`.
    fn form(&self) -> &'static str;

    /// Whether a server is asked for the secret, when a login needs it and not before.
    fn is_vault(&self) -> bool;

    /// Reads the reference, if its key is there and its settings are valid. What is invalid was reported to `fields`.
    fn read(&self, fields: &mut dyn Fields) -> Option<SecretRef>;
}

/// Where a secret is, as one kind describes it.
pub trait Reference: Same + fmt::Debug + Send + Sync {
    /// Its kind.
    fn kind(&self) -> &'static dyn SecretKind;

    /// Where the secret is, for messages: `variable NAME`.
    fn place(&self) -> String;

    /// The secret; none where it is in a vault, which is asked when a login needs it. `environment` is the process's, collected once
    /// at its start.
    ///
    /// # Errors
    /// The secret is not where the reference says.
    fn fetch(&self, environment: &BTreeMap<String, String>) -> Result<Option<Fetched>, Unavailable>;

    /// The secret, with how it is fetched again. No vault is asked yet.
    ///
    /// # Errors
    /// What opens the vault is missing or invalid.
    fn open(&self, opening: &Opening<'_>) -> Result<Credential, Failure>;

    /// The same of a keytab.
    ///
    /// # Errors
    /// As [`Reference::open`].
    fn keytab(&self, opening: &Opening<'_>) -> Result<Keytab, Failure>;
}

/// A secret that was fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The secret.
    pub secret: Secret,
    /// What the operator should know about its place.
    pub warning: Option<String>,
}

/// Why a secret is not where its reference says.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The variable holds nothing.
    #[error("the environment variable {variable} is {state}")]
    Variable {
        /// The variable.
        variable: String,
        /// `not set` or `empty`.
        state: &'static str,
    },
    /// The file cannot be read.
    #[error("the file {} cannot be read: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no secret.
    #[error("the file {} {state}", file.display())]
    FileContent {
        /// The file.
        file: PathBuf,
        /// `is empty`, `is larger than 64 KiB`.
        state: &'static str,
    },
}

/// Equality of references of any kind.
pub trait Same: Any {
    /// The reference, to be told from those of other kinds.
    fn as_any(&self) -> &dyn Any;

    /// Whether both refer to the same secret in the same way.
    fn is_same(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Same for T {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_same(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>().is_some_and(|other| self == other)
    }
}

/// Where a secret is. Holds no secret.
#[derive(Clone)]
pub struct SecretRef(Arc<dyn Reference>);

impl SecretRef {
    /// Whether the secret can be had without asking a server.
    #[must_use]
    pub fn is_local(&self) -> bool {
        !self.kind().is_vault()
    }
}

impl std::ops::Deref for SecretRef {
    type Target = dyn Reference;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl<R: Reference> From<R> for SecretRef {
    fn from(reference: R) -> Self {
        Self(Arc::new(reference))
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for SecretRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(other.0.as_any())
    }
}

impl Eq for SecretRef {}

/// Whether a table with this key is a reference to a secret.
#[must_use]
pub fn is_key(key: &str) -> bool {
    KINDS.iter().any(|kind| kind.key() == key)
}

/// How references are written, as a hint.
#[must_use]
pub fn forms() -> &'static str {
    static FORMS: LazyLock<String> = LazyLock::new(|| hint(|_| true));
    &FORMS
}

/// How references to what opens a vault are written, as a hint.
#[must_use]
pub fn local_forms() -> &'static str {
    static FORMS: LazyLock<String> = LazyLock::new(|| hint(|kind| !kind.is_vault()));
    &FORMS
}

fn hint(is_meant: fn(&dyn SecretKind) -> bool) -> String {
    let forms: Vec<String> =
        KINDS.iter().filter(|kind| is_meant(**kind)).map(|kind| format!("`{}`", kind.form())).collect();
    match forms.split_last() {
        Some((last, others)) if !others.is_empty() => format!("write {} or {last}", others.join(", ")),
        _ => format!("write {}", forms.concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_every_form() {
        assert_eq!(
            forms(),
            "write `{ env = \"NAME\" }`, `{ file = \"PATH\" }`, `{ delinea = { … } }` or `{ aws = { … } }`"
        );
        assert_eq!(local_forms(), "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`");
    }

    #[test]
    fn references_of_different_kinds_are_never_equal() {
        let variable = |name: &str| SecretRef::from(environment::Variable(name.into()));
        assert_eq!(variable("A"), variable("A"));
        assert_ne!(variable("A"), variable("B"));
        assert_ne!(variable("A"), SecretRef::from(file::SecretFile("A".into())));
    }
}

//! Secrets in AWS Secrets Manager: `{ aws = { secret_id = "…", region = "…" } }`.

mod client;
mod error;
mod login;
mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;

use datakit_model::{Credential, Failure};

pub use self::client::{Client, ClientSettings, Value, Version};
pub use self::error::AwsError;
pub use self::login::{Login, VARIABLES};
use crate::address;
use crate::fields::{Fields, Key};
use crate::kind::{Fetched, Reference, SecretKind, SecretRef, Unavailable};
use crate::opening::{Keytab, Opening};

/// The variables of the region, where neither the reference nor an ARN says.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

const SECRET_ID: Key = Key::or("secret_id", "secret-id");
const REGION: Key = Key::new("region");
const FIELD: Key = Key::new("field");
const VERSION_STAGE: Key = Key::or("version_stage", "version-stage");
const ENDPOINT: Key = Key::new("endpoint");
const ACCESS_KEY_ID: Key = Key::or("access_key_id", "access-key-id");
const SECRET_ACCESS_KEY: Key = Key::or("secret_access_key", "secret-access-key");
const SESSION_TOKEN: Key = Key::or("session_token", "session-token");

/// The kind.
#[derive(Debug)]
pub struct Kind;

impl SecretKind for Kind {
    fn key(&self) -> &'static str {
        "aws"
    }

    fn form(&self) -> &'static str {
        "{ aws = { … } }"
    }

    fn is_vault(&self) -> bool {
        true
    }

    fn read(&self, fields: &mut dyn Fields) -> Option<SecretRef> {
        let mut found = None;
        fields.table(self.key(), &mut |fields| found = read(fields));
        found.map(SecretRef::from)
    }
}

fn read(fields: &mut dyn Fields) -> Option<AwsSecret> {
    let secret_id = fields.required_text(SECRET_ID, "the secret's name or ARN");
    let region = read_region(fields, secret_id.as_deref());
    let field = fields.text(FIELD);
    let version_stage = fields.text(VERSION_STAGE);
    let endpoint = read_endpoint(fields);
    let keys = read_keys(fields);
    Some(AwsSecret { secret_id: secret_id?, region: region?, field, version_stage, endpoint: endpoint?, keys: keys? })
}

fn read_region(fields: &mut dyn Fields, secret_id: Option<&str>) -> Option<Option<String>> {
    let of_arn = secret_id.and_then(region_of_arn);
    let Some(region) = fields.text(REGION) else { return Some(of_arn.map(str::to_owned)) };
    let problem = match of_arn {
        _ if !is_region(&region) => Some(("is no region of AWS", "for example `eu-central-1`")),
        Some(other) if other != region => {
            Some(("is not the region in the ARN of `secret_id`", "leave `region` out: the ARN says it"))
        }
        _ => None,
    };
    match problem {
        Some((problem, hint)) => {
            fields.refuse(REGION, problem, hint);
            None
        }
        None => Some(Some(region)),
    }
}

/// `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`
fn region_of_arn(secret_id: &str) -> Option<&str> {
    let region = secret_id.strip_prefix("arn:")?.split(':').nth(2)?;
    is_region(region).then_some(region)
}

/// What can stand in the name of a host.
fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn read_endpoint(fields: &mut dyn Fields) -> Option<Option<String>> {
    const FORM: &str = "write `https://HOST`, without user, query or fragment";
    let Some(text) = fields.text(ENDPOINT) else { return Some(None) };
    let checked = address::checked(&text, FORM);
    checked.map(Some).map_err(|refusal| fields.refuse(ENDPOINT, refusal.problem, refusal.hint)).ok()
}

fn read_keys(fields: &mut dyn Fields) -> Option<Option<AccessKeys>> {
    let id = fields.secret(ACCESS_KEY_ID, None);
    let secret = fields.secret(SECRET_ACCESS_KEY, None);
    let token = fields.secret(SESSION_TOKEN, None);
    let (id, secret, session_token) = (id.ok()?, secret.ok()?, token.ok()?);
    match (id, secret) {
        (None, None) if session_token.is_none() => Some(None),
        (Some(access_key_id), Some(secret_access_key)) => {
            Some(Some(AccessKeys { access_key_id, secret_access_key, session_token }))
        }
        (id, secret) => {
            const HINT: &str = "an access key has an id and a secret: refer to both, or to none";
            for (key, found) in [(ACCESS_KEY_ID, id), (SECRET_ACCESS_KEY, secret)] {
                if found.is_none() {
                    fields.missing(key, HINT);
                }
            }
            None
        }
    }
}

/// A secret in AWS Secrets Manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSecret {
    /// Its name or ARN.
    pub secret_id: String,
    /// Its region; by default that of the environment.
    pub region: Option<String>,
    /// The key of a secret that is a JSON object; by default the whole secret.
    pub field: Option<String>,
    /// The stage of its version; by default AWSCURRENT.
    pub version_stage: Option<String>,
    /// The URL of the service; by default the public one of the region.
    pub endpoint: Option<String>,
    /// The access key that the host logs in with; by default what the environment offers.
    pub keys: Option<AccessKeys>,
}

/// An access key, by reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// Its id.
    pub access_key_id: SecretRef,
    /// Its secret.
    pub secret_access_key: SecretRef,
    /// The token of a temporary one.
    pub session_token: Option<SecretRef>,
}

impl AwsSecret {
    /// The client of the service, which has asked nothing yet.
    fn client(&self, opening: &Opening<'_>) -> Result<Arc<Client>, Failure> {
        let region = self.region(opening)?;
        let key = format!("{:?}", (&region, &self.endpoint, &self.keys));
        opening.vaults.client(key, || {
            let login = match &self.keys {
                Some(keys) => Login::Keys {
                    access_key_id: opening.need(ACCESS_KEY_ID.name)?,
                    secret_access_key: opening.need(SECRET_ACCESS_KEY.name)?,
                    session_token: keys.session_token.as_ref().map(|_| opening.need(SESSION_TOKEN.name)).transpose()?,
                },
                None => Login::of_environment(opening.environment),
            };
            Ok(Client::new(ClientSettings { region, endpoint: self.endpoint.clone(), login })?)
        })
    }

    fn region(&self, opening: &Opening<'_>) -> Result<String, AwsError> {
        let of_environment = || REGION_VARIABLES.iter().find_map(|name| opening.environment.get(*name)).cloned();
        let region = self.region.clone().or_else(of_environment);
        region
            .filter(|region| is_region(region))
            .ok_or_else(|| AwsError::NoRegion { secret_id: self.secret_id.clone() })
    }

    fn value(&self) -> Value {
        let version = Version { secret_id: self.secret_id.clone(), stage: self.version_stage.clone() };
        Value { version, field: self.field.clone() }
    }
}

impl Reference for AwsSecret {
    fn kind(&self) -> &'static dyn SecretKind {
        &Kind
    }

    fn place(&self) -> String {
        let field = self.field.as_ref().map(|field| format!("field `{field}` of ")).unwrap_or_default();
        let region = self.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
        format!("{field}secret {} of AWS Secrets Manager{region}", self.secret_id)
    }

    fn fetch(&self, _: &BTreeMap<String, String>) -> Result<Option<Fetched>, Unavailable> {
        Ok(None)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Credential, Failure> {
        let (client, value) = (self.client(opening)?, self.value());
        Ok(Credential::new(move || client.text(&value).map_err(Failure::from)))
    }

    fn keytab(&self, opening: &Opening<'_>) -> Result<Keytab, Failure> {
        let (client, value) = (self.client(opening)?, self.value());
        let keytab = Credential::new(move || client.keytab(&value).map_err(Failure::from));
        Ok(Keytab::Vault { place: self.place(), keytab })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_found_in_an_arn() {
        let arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/erp-AbCdEf";
        assert_eq!(region_of_arn(arn), Some("eu-central-1"));
        for other in ["prod/erp", "arn:aws:secretsmanager", "arn:aws:secretsmanager:evil.example/:1:secret:x", ""] {
            assert_eq!(region_of_arn(other), None, "{other}");
        }
    }
}

//! How one object store is reached and logged in to, where that is not what the environment says.
//!
//! The keys are the variables that the stores' own tools read. What `store` says is all there is: nothing of the environment is
//! laid under it, so that a session token of one account never goes along with the key of another.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::handed::Handed;
use crate::node::{Table, Value};
use crate::problem::{Problem, Problems};
use crate::reader::TableReader;
use crate::secret::{self, SecretSetting};
use crate::text::Origin;

/// The settings of one object store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<String, Written>")]
pub struct StoreSettings(Vec<(&'static str, StoreValue)>);

/// A setting of an object store, as the file has it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "StoreValue")]
enum Written {
    /// What is no secret.
    Plain(String),
    /// `true` or `false`.
    Flag(bool),
    /// A key, a token or a client's secret, by reference.
    Secret(SecretSetting),
}

impl From<BTreeMap<String, Written>> for StoreSettings {
    fn from(written: BTreeMap<String, Written>) -> Self {
        let settings = written.into_iter().filter_map(|(key, value)| {
            let name = Self::names().find(|name| *name == key)?;
            let value = match value {
                Written::Plain(text) => StoreValue::Plain(text),
                Written::Flag(flag) => StoreValue::Plain(flag.to_string()),
                Written::Secret(secret) => StoreValue::Secret(secret),
            };
            Some((name, value))
        });
        Self(settings.collect())
    }
}

impl JsonSchema for StoreSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": generator.subschema_for::<Written>(),
            "propertyNames": { "enum": Self::names().collect::<Vec<_>>() },
        })
    }
}

/// One setting of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreValue {
    /// What is no secret.
    Plain(String),
    /// Where a secret comes from.
    Secret(SecretSetting),
}

/// A variable of the stores' tools, and whether it holds a secret.
type Name = (&'static str, bool);

const S3: [Name; 33] = [
    ("AWS_ACCESS_KEY_ID", false),
    ("AWS_ALLOW_HTTP", false),
    ("AWS_CHECKSUM_ALGORITHM", false),
    ("AWS_CONNECT_TIMEOUT", false),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", false),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", false),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", false),
    ("AWS_DEFAULT_REGION", false),
    ("AWS_DISABLE_TAGGING", false),
    ("AWS_ENDPOINT_URL", false),
    ("AWS_ENDPOINT_URL_S3", false),
    ("AWS_ENDPOINT_URL_STS", false),
    ("AWS_IMDSV1_FALLBACK", false),
    ("AWS_METADATA_ENDPOINT", false),
    ("AWS_PROXY_CA_CERTIFICATE", false),
    ("AWS_PROXY_EXCLUDES", false),
    ("AWS_PROXY_URL", false),
    ("AWS_REGION", false),
    ("AWS_REQUEST_PAYER", false),
    ("AWS_ROLE_ARN", false),
    ("AWS_ROLE_SESSION_NAME", false),
    ("AWS_S3_EXPRESS", false),
    ("AWS_SECRET_ACCESS_KEY", true),
    ("AWS_SERVER_SIDE_ENCRYPTION", false),
    ("AWS_SESSION_TOKEN", true),
    ("AWS_SKIP_SIGNATURE", false),
    ("AWS_SSE_BUCKET_KEY_ENABLED", false),
    ("AWS_SSE_CUSTOMER_KEY_BASE64", true),
    ("AWS_SSE_KMS_KEY_ID", false),
    ("AWS_TIMEOUT", false),
    ("AWS_UNSIGNED_PAYLOAD", false),
    ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", false),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", false),
];

const AZURE: [Name; 32] = [
    ("AZURE_ALLOW_HTTP", false),
    ("AZURE_AUTHORITY_HOST", false),
    ("AZURE_CLIENT_ID", false),
    ("AZURE_CLIENT_SECRET", true),
    ("AZURE_CONNECT_TIMEOUT", false),
    ("AZURE_DISABLE_TAGGING", false),
    ("AZURE_FEDERATED_TOKEN_FILE", false),
    ("AZURE_IDENTITY_ENDPOINT", false),
    ("AZURE_MSI_ENDPOINT", false),
    ("AZURE_MSI_RESOURCE_ID", false),
    ("AZURE_OBJECT_ID", false),
    ("AZURE_PROXY_CA_CERTIFICATE", false),
    ("AZURE_PROXY_EXCLUDES", false),
    ("AZURE_PROXY_URL", false),
    ("AZURE_SKIP_SIGNATURE", false),
    ("AZURE_STORAGE_ACCESS_KEY", true),
    ("AZURE_STORAGE_ACCOUNT_KEY", true),
    ("AZURE_STORAGE_ACCOUNT_NAME", false),
    ("AZURE_STORAGE_AUTHORITY_HOST", false),
    ("AZURE_STORAGE_CLIENT_ID", false),
    ("AZURE_STORAGE_CLIENT_SECRET", true),
    ("AZURE_STORAGE_ENDPOINT", false),
    ("AZURE_STORAGE_MASTER_KEY", true),
    ("AZURE_STORAGE_SAS_KEY", true),
    ("AZURE_STORAGE_SAS_TOKEN", true),
    ("AZURE_STORAGE_TENANT_ID", false),
    ("AZURE_STORAGE_TOKEN", true),
    ("AZURE_STORAGE_USE_EMULATOR", false),
    ("AZURE_TENANT_ID", false),
    ("AZURE_TIMEOUT", false),
    ("AZURE_USE_AZURE_CLI", false),
    ("AZURE_USE_FABRIC_ENDPOINT", false),
];

impl StoreSettings {
    /// Each setting by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &StoreValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Every secret it refers to.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSetting> {
        self.0.iter().filter_map(|(_, value)| match value {
            StoreValue::Secret(secret) => Some(secret),
            StoreValue::Plain(_) => None,
        })
    }

    /// All names there are.
    pub fn names() -> impl Iterator<Item = &'static str> {
        S3.into_iter().chain(AZURE).map(|(name, _)| name)
    }
}

/// Whether a key is a setting of an object store.
pub(crate) fn is_name(key: &str) -> bool {
    StoreSettings::names().any(|name| name == key)
}

/// Whether it is one that holds no secret.
pub(crate) fn is_plain(key: &str) -> bool {
    S3.iter().chain(&AZURE).any(|(name, is_secret)| *name == key && !is_secret)
}

/// The names that mean something to the store at this place; a folder takes those of all, for it may be in a store elsewhere.
fn names_of(uri: &str) -> Vec<Name> {
    match uri.split_once("://") {
        Some(("s3", _)) => S3.to_vec(),
        Some(("abfss" | "az", _)) => AZURE.to_vec(),
        _ => S3.into_iter().chain(AZURE).collect(),
    }
}

/// Reads the settings of the store at a place. What is valid of them goes into the outcome.
pub(crate) fn read(
    table: &Table,
    path: &str,
    origin: &Origin,
    uri: &str,
    problems: &Problems,
    handed: &Handed,
) -> Json {
    let mut store = TableReader::new(table, path, origin.clone(), problems);
    let mut settings = Map::new();
    for (name, is_secret) in names_of(uri) {
        settings.extend(read_value(&mut store, name, is_secret, handed).map(|value| (name.to_owned(), value)));
    }
    store.finish();
    Json::Object(settings)
}

fn read_value(store: &mut TableReader<'_>, name: &'static str, is_secret: bool, handed: &Handed) -> Option<Json> {
    let entry = store.entry(name)?;
    let path = store.path_of(name);
    let secret = || Some(handed.keep_secret(secret::read_entry(path.clone(), entry, store.problems())?).into());
    match &entry.node.value {
        Value::Table(_) => secret(),
        Value::String(text) if !is_secret && !holds_password(text) => Some(text.clone().into()),
        Value::Boolean(flag) if !is_secret => Some((*flag).into()),
        Value::String(_) => {
            store.problems().at(Problem::InlineSecret { path }, &entry.node.origin);
            None
        }
        _ if is_secret => secret(),
        _ => {
            store.wrong_type(name, &entry.node, "a string, or a reference to a secret");
            None
        }
    }
}

/// `scheme://user:password@…`
pub(crate) fn holds_password(uri: &str) -> bool {
    uri.split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_uri_is_seen() {
        assert!(holds_password("s3://key:secret@bucket/path"));
        assert!(!holds_password("abfss://container@account.dfs.core.windows.net/path"));
        assert!(!holds_password("s3://bucket/a:b@c"));
        assert!(!holds_password("./bronze"));
    }
}

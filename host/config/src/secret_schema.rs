//! The schema of a reference to a secret, for editors and the documentation: the readers of `secret` and `delinea` read it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::secret::SecretSetting;

impl JsonSchema for SecretSetting {
    fn schema_name() -> Cow<'static, str> {
        SecretReference::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        SecretReference::json_schema(generator)
    }
}

/// Where a secret comes from; never the secret itself.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[schemars(extend("x-secret" = true))]
enum SecretReference {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret alone, relative to this file.
    File(String),
    /// A field of a secret in Delinea Secret Server, fetched when it is needed.
    Delinea(Delinea),
}

/// A field of a secret in Delinea Secret Server.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delinea {
    /// The server with the application's path: `https://vault.corp.example/SecretServer`. `http://` on this machine only.
    url: String,
    /// The secret's number. `secret-id` is understood as well, and so is the hyphen in the other keys.
    #[serde(alias = "secret-id")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    secret_id: u32,
    /// The field's slug or name. A file that is attached to the secret is a keytab.
    field: String,
    /// How the host logs in: OAuth2 client credentials at Secret Server, name and password of an application account there, or
    /// client credentials at the Delinea Platform.
    #[serde(default = "delinea_login")]
    login: DelineaLogin,
    /// Who it logs in as; by default DELINEA_CLIENT_ID.
    #[serde(alias = "client-id")]
    client_id: Option<LocalReference>,
    /// With what; by default DELINEA_CLIENT_SECRET.
    #[serde(alias = "client-secret")]
    client_secret: Option<LocalReference>,
    /// Certificates (PEM) taken besides the system's, relative to this file.
    #[serde(alias = "certificate-file")]
    certificate_file: Option<String>,
}

/// How the host logs in to Delinea.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DelineaLogin {
    /// OAuth2 client credentials at Secret Server itself.
    ClientCredentials,
    /// Name and password of an application account.
    Password,
    /// OAuth2 client credentials at the Delinea Platform.
    Platform,
}

fn delinea_login() -> DelineaLogin {
    DelineaLogin::ClientCredentials
}

/// Where a secret that opens a vault comes from.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum LocalReference {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret alone, relative to this file.
    File(String),
}

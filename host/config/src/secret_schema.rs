//! The schema of a reference to a secret, for editors and the documentation: the kinds in `datakit_secrets` read it.

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
    /// A secret in AWS Secrets Manager, or a field of it, fetched when it is needed.
    Aws(Aws),
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

/// A secret in AWS Secrets Manager.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Aws {
    /// The secret's name or ARN. `secret-id` is understood as well, and so is the hyphen in the other keys.
    #[serde(alias = "secret-id")]
    secret_id: String,
    /// The secret's region: `eu-central-1`. By default the region in the ARN, then AWS_REGION, then AWS_DEFAULT_REGION.
    #[schemars(regex(pattern = r"^[a-z0-9-]+$"))]
    region: Option<String>,
    /// The key of a secret that is a JSON object; by default the whole secret. A binary secret is a keytab.
    field: Option<String>,
    /// The stage of the secret's version; by default AWSCURRENT.
    #[serde(alias = "version-stage")]
    version_stage: Option<String>,
    /// The URL of the service, for a VPC endpoint; by default the public one of the region. `http://` on this machine only.
    endpoint: Option<String>,
    /// The id of the access key that the host logs in with, together with `secret_access_key`. By default the host logs in as the
    /// environment says: AWS_ACCESS_KEY_ID, a web identity, the role of a container or of an EC2 instance.
    #[serde(alias = "access-key-id")]
    access_key_id: Option<LocalReference>,
    /// The secret of the access key.
    #[serde(alias = "secret-access-key")]
    secret_access_key: Option<LocalReference>,
    /// The session token of a temporary access key.
    #[serde(alias = "session-token")]
    session_token: Option<LocalReference>,
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

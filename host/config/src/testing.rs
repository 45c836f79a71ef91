//! Kinds for the tests of this crate, with what the settings of connectors are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Checks, ConnectionSettings, Kerberos, Kinds, Pool, SecretSetting, SectionKind, SettingPath, SettingUri, Settings,
    SinkSettings, StoreSettings,
};

/// A kind of connection and one of sink.
pub(crate) fn kinds() -> Kinds {
    Kinds::new(vec![
        SectionKind::connection::<Server>("sqlserver", "Server"),
        SectionKind::sink::<Folder>("delta", "Folder"),
    ])
}

/// A server.
#[expect(dead_code, reason = "its type is read, not its values")]
#[derive(Debug, Deserialize, JsonSchema)]
struct Server {
    /// Its name.
    #[schemars(extend("x-hint" = "write `server = \"HOST\"`"))]
    server: String,
    /// Who logs in.
    #[schemars(extend("x-hint" = "write `auth = { user = \"NAME\", password = { env = \"NAME\" } }`"))]
    auth: Auth,
    /// Tickets.
    #[serde(default)]
    kerberos: Kerberos,
    /// Whether the way is encrypted.
    #[serde(default)]
    encrypt: Encrypt,
    /// Whether any certificate is taken.
    #[serde(default)]
    trust_certificate: bool,
    /// The one certificate that is taken.
    certificate_file: Option<SettingPath>,
    /// Bounds.
    #[serde(default)]
    pool: Pool,
}

/// Who logs in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Auth {
    /// By password.
    Login(Login),
    /// By a word.
    Word(Word),
}

/// A login.
#[expect(dead_code, reason = "its type is read, not its values")]
#[derive(Debug, Deserialize, JsonSchema)]
struct Login {
    /// Its name.
    #[schemars(extend("x-hint" = "the name of a login"))]
    user: String,
    /// Its password.
    password: SecretSetting,
}

/// A word instead of a login.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    /// A ticket.
    Kerberos,
}

/// Whether the way is encrypted.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encrypt {
    /// It is.
    #[default]
    Required,
    /// It is not.
    Off,
}

impl Settings for Server {
    fn check(at: &Checks<'_>) {
        at.check_within::<Kerberos>("kerberos");
        at.check_within::<Pool>("pool");
        if at.get("trust_certificate") == Some(true) && at.get::<SettingPath>("certificate_file").is_some() {
            at.contradiction("certificate_file", ["`trust_certificate = true`", "`certificate_file`"], "keep one");
        }
    }
}

impl ConnectionSettings for Server {
    fn address(&self) -> Option<String> {
        Some(self.server.clone())
    }

    fn max_connections(&self) -> Option<u64> {
        Some(self.pool.max_connections)
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        match &self.auth {
            Auth::Login(Login { password, .. }) => vec![password],
            Auth::Word(Word::Kerberos) => self.kerberos.keytab.iter().collect(),
        }
    }
}

/// A folder.
#[expect(dead_code, reason = "its type is read, not its values")]
#[derive(Debug, Deserialize, JsonSchema)]
struct Folder {
    /// Where it is.
    #[schemars(extend("x-hint" = "write `uri = \"./bronze\"`"))]
    uri: SettingUri,
    /// How it is reached.
    #[schemars(extend("x-store" = "uri"))]
    store: Option<StoreSettings>,
}

impl Settings for Folder {}

impl SinkSettings for Folder {
    fn secrets(&self) -> Vec<&SecretSetting> {
        self.store.iter().flat_map(StoreSettings::secrets).collect()
    }
}

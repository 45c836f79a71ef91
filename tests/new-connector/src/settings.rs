//! Settings of a logbook server.

use schemars::JsonSchema;
use serde::Deserialize;

use datakit_config::{ConnectionSettings, SecretSetting, SectionKind, SectionVariables, Settings};

/// The word of the warehouse file.
pub(crate) const NAME: &str = "logbook";

/// The kind, as it is registered.
pub(crate) const KIND: SectionKind = SectionKind::connection::<LogbookSettings>(NAME, "Logbook")
    .with_variables(SectionVariables { prefix: "LOGBOOK", makes: "host", name: NAME });

/// A logbook server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct LogbookSettings {
    /// Host name or address.
    #[schemars(extend("x-hint" = "write `host = \"HOST\"`", "x-env" = ["_HOST", "host"]))]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535), extend("x-env" = ["_PORT", "TCP port (7070)"]))]
    pub port: u16,
    /// The password, by reference; none where the server asks for none.
    pub password: Option<SecretSetting>,
}

fn default_port() -> u16 {
    7070
}

impl Settings for LogbookSettings {}

impl ConnectionSettings for LogbookSettings {
    fn address(&self) -> Option<String> {
        Some(format!("{}:{}", self.host, self.port))
    }

    fn max_connections(&self) -> Option<u64> {
        None
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        self.password.iter().collect()
    }
}

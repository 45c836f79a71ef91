//! Settings of a PostgreSQL database, as a connection and as a sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sink::DEFAULT_MAX_CONNECTIONS;
use datakit_config::{
    Checks, ConnectionSettings, Pool, SecretSetting, SectionKind, SectionVariables, SettingPath, Settings,
    SinkSettings, Timeouts, warning_of_way,
};

/// The kind of connection, as it is registered. The environment makes none.
pub(crate) const CONNECTION: SectionKind = SectionKind::connection::<PostgresSettings>("postgres", "Postgres");

/// The kind of sink, as it is registered.
pub(crate) const SINK: SectionKind = SectionKind::sink::<PostgresSinkSettings>("postgres", "Postgres")
    .with_variables(SectionVariables { prefix: "BRONZE", makes: "host", name: "bronze" });

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PostgresSettings {
    /// Where the server is and who logs in.
    #[serde(flatten)]
    pub server: PostgresServer,
    /// What becomes of rows that row-level security hides from the user: `refuse` makes the table an error, `filter` reads the
    /// others and marks the table as filtered.
    #[serde(default)]
    pub row_security: RowSecurity,
    /// The replication slot of the strategy `logical`, which the host makes where it is not there: lower-case letters, digits and
    /// `_`. One for each warehouse that reads the database.
    pub slot: Option<String>,
    /// The publication of the strategy `logical`, which you make: `CREATE PUBLICATION`.
    pub publication: Option<String>,
    /// Bounds of the connection pool; the session that keeps the run's snapshot comes on top.
    #[serde(default)]
    pub pool: Pool,
    /// Bounds of single steps.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PostgresServer {
    /// Host name or address, or the directory of a Unix socket.
    #[schemars(extend("x-hint" = "write `host = \"HOST\"`", "x-env" = ["_HOST", "host"]))]
    pub host: String,
    /// TCP port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535), extend("x-env" = ["_PORT", "TCP port (5432)"]))]
    pub port: u16,
    /// The database.
    #[schemars(extend("x-hint" = "write `database = \"NAME\"`", "x-env" = ["_DATABASE", "database"]))]
    pub database: String,
    /// The user.
    #[schemars(extend("x-hint" = "write `user = \"NAME\"`", "x-env" = ["_USER", "user"]))]
    pub user: String,
    /// The password, by reference; none where the server asks for none.
    #[schemars(extend("x-env" = ["_PASSWORD", "password"], "x-env-owner" = "user"))]
    pub password: Option<SecretSetting>,
    /// Whether the way is encrypted.
    #[serde(default)]
    #[schemars(extend("x-env" = ["_ENCRYPT", "`required` (default) or `off`"]))]
    pub encrypt: Encrypt,
    /// Accept any certificate: an attacker on the network path can read and change the rows.
    #[serde(default)]
    pub trust_certificate: bool,
    /// Certificates (PEM) taken besides the system's, relative to this file.
    #[schemars(extend("x-env" = ["_CERTIFICATE_FILE", "certificates (PEM) taken besides the system's"]))]
    pub certificate_file: Option<SettingPath>,
}

/// A PostgreSQL database that tables are written to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct PostgresSinkSettings {
    /// Where the server is and who logs in.
    #[serde(flatten)]
    pub server: PostgresServer,
    /// Keep the finished partitions of a load for a run that is started again with the same id. They wait in tables of their own
    /// until the commit, so that each row of a table of several partitions is written twice.
    #[serde(default)]
    pub keep_partitions: bool,
    /// Connections open at one time. A table that is loaded keeps one until its commit, and one is left for what is asked meanwhile: so
    /// many tables less one are loaded at once. Behind a pooler, no more than its pool has.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 2, max = 1_000))]
    pub max_connections: u64,
}

/// Connections of a sink that are open at one time.
fn default_max_connections() -> u64 {
    DEFAULT_MAX_CONNECTIONS.into()
}

/// The port of PostgreSQL.
fn default_port() -> u16 {
    5432
}

/// Whether the way to PostgreSQL is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "PostgresEncrypt")]
pub enum Encrypt {
    /// TLS, or no connection.
    #[default]
    Required,
    /// Rows in the clear.
    Off,
}

/// What becomes of rows that row-level security hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowSecurity {
    /// A table that has such rows is an error.
    #[default]
    Refuse,
    /// The others are read, and the record says so.
    Filter,
}

impl Settings for PostgresServer {
    fn check(at: &Checks<'_>) {
        const FILE: &str = "certificate_file";
        if at.get("trust_certificate") == Some(true) && at.get::<SettingPath>(FILE).is_some() {
            at.contradiction(FILE, ["`trust_certificate = true`", "`certificate_file`"], "keep `certificate_file`");
        }
    }
}

impl PostgresServer {
    fn secrets(&self) -> Vec<&SecretSetting> {
        self.password.iter().collect()
    }
}

impl Settings for PostgresSinkSettings {
    fn check(at: &Checks<'_>) {
        PostgresServer::check(at);
    }
}

impl SinkSettings for PostgresSinkSettings {
    fn secrets(&self) -> Vec<&SecretSetting> {
        self.server.secrets()
    }
}

impl Settings for PostgresSettings {
    fn check(at: &Checks<'_>) {
        PostgresServer::check(at);
        for (key, other) in [("slot", "publication"), ("publication", "slot")] {
            if at.is_set(key) {
                at.require(other, &format!("`{key}` and `{other}` are set together, for the strategy `logical`"));
            }
        }
        at.check_within::<Pool>("pool");
    }
}

impl ConnectionSettings for PostgresSettings {
    fn address(&self) -> Option<String> {
        Some(format!("{}:{}", self.server.host, self.server.port))
    }

    fn max_connections(&self) -> Option<u64> {
        Some(self.pool.max_connections)
    }

    /// The one that keeps the snapshot, and the one that keeps that of a slot.
    fn kept_connections(&self) -> u64 {
        1 + u64::from(self.slot.is_some())
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        self.server.secrets()
    }

    fn warning(&self) -> Option<&'static str> {
        // A Unix socket leaves the machine on no way.
        let is_socket = self.server.host.starts_with('/');
        let warning = warning_of_way(self.server.encrypt == Encrypt::Off, self.server.trust_certificate);
        warning.filter(|_| !is_socket)
    }
}

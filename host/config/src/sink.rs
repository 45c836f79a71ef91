//! Sinks: where tables are written.

use std::path::PathBuf;

use crate::connection::Encrypt;
use crate::problem::Problem;
use crate::reader::{Located, TableReader, resolve_path};
use crate::secret::{self, SecretSetting};
use crate::store::{self, StoreSettings};

/// The port of PostgreSQL.
pub(crate) const DEFAULT_PORT: u16 = 5432;

pub(crate) const KINDS: [&str; 2] = ["delta", "postgres"];
pub(crate) const ENCRYPT: [(&str, Encrypt); 2] = [("required", Encrypt::Required), ("off", Encrypt::Off)];

/// A configured place tables are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkConfig {
    /// A folder of Delta tables.
    Delta(DeltaConfig),
    /// A PostgreSQL database.
    Postgres(Box<PostgresConfig>),
}

/// A folder of Delta tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaConfig {
    /// The name of its table in the file.
    pub name: String,
    /// The folder all tables are under: a path or a URI. A relative path of a file starts from the file's folder.
    pub uri: String,
    /// How the object store is reached and logged in to; none: as the environment says.
    pub store: Option<StoreSettings>,
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The name of its table in the file.
    pub name: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// The password; none where the server asks for none.
    pub password: Option<SecretSetting>,
    /// Whether the way is encrypted; never [`Encrypt::Strict`].
    pub encrypt: Encrypt,
    /// Whether any certificate is taken.
    pub trust_certificate: bool,
    /// Certificates (PEM) that are taken besides the system's.
    pub certificate_file: Option<PathBuf>,
}

impl SinkConfig {
    /// The name of its table in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Delta(sink) => &sink.name,
            Self::Postgres(sink) => &sink.name,
        }
    }

    /// Every secret it refers to.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretSetting> {
        match self {
            Self::Delta(sink) => sink.store.iter().flat_map(StoreSettings::secrets).collect(),
            Self::Postgres(sink) => sink.password.iter().collect(),
        }
    }
}

pub(crate) fn read(name: &str, mut table: TableReader<'_>) -> Option<SinkConfig> {
    let kind = table.kind("write `kind = \"delta\"` or `kind = \"postgres\"`")?;
    match kind.value.as_str() {
        "delta" => read_delta(name, table).map(SinkConfig::Delta),
        "postgres" => read_postgres(name, table).map(|sink| SinkConfig::Postgres(Box::new(sink))),
        _ => {
            let (path, known) = (table.path_of("kind"), KINDS.to_vec());
            table.problems().at(Problem::UnknownKind { path, found: kind.value, known }, &kind.origin);
            None
        }
    }
}

fn read_delta(name: &str, mut table: TableReader<'_>) -> Option<DeltaConfig> {
    let uri = table.required_string("uri", "write `uri = \"./bronze\"`, or set BRONZE_URI");
    if let Some(uri) = uri.as_ref().filter(|uri| holds_password(&uri.value)) {
        table.problems().at(Problem::InlineSecret { path: table.path_of("uri") }, &uri.origin);
    }
    let store = store::read(&mut table, uri.as_ref().map(|uri| uri.value.as_str()));
    table.finish();
    Some(DeltaConfig { name: name.to_owned(), uri: absolute(&uri?), store })
}

/// `scheme://user:password@…`
pub(crate) fn holds_password(uri: &str) -> bool {
    uri.split_once("://")
        .and_then(|(_, rest)| rest.split('/').next())
        .and_then(|authority| authority.rsplit_once('@'))
        .is_some_and(|(user, _)| user.contains(':'))
}

pub(crate) fn absolute(uri: &Located<String>) -> String {
    if uri.value.contains("://") {
        return uri.value.clone();
    }
    resolve_path(&uri.value, &uri.origin).to_string_lossy().into_owned()
}

fn read_postgres(name: &str, mut table: TableReader<'_>) -> Option<PostgresConfig> {
    let server = read_postgres_server(name, &mut table, &SINK_HINTS);
    table.finish();
    server
}

/// What to do about a missing `host`, `database` or `user`.
pub(crate) struct Hints {
    host: &'static str,
    database: &'static str,
    user: &'static str,
}

const SINK_HINTS: Hints = Hints {
    host: "write `host = \"HOST\"`, or set BRONZE_HOST",
    database: "write `database = \"NAME\"`, or set BRONZE_DATABASE",
    user: "write `user = \"NAME\"`, or set BRONZE_USER",
};
/// The environment makes no such connection.
pub(crate) const SOURCE_HINTS: Hints =
    Hints { host: "write `host = \"HOST\"`", database: "write `database = \"NAME\"`", user: "write `user = \"NAME\"`" };

/// The keys of a PostgreSQL database, as a sink and as a connection.
pub(crate) fn read_postgres_server(name: &str, table: &mut TableReader<'_>, hints: &Hints) -> Option<PostgresConfig> {
    let host = table.required_string("host", hints.host);
    let port = table.integer("port", 1, u64::from(u16::MAX));
    let database = table.required_string("database", hints.database);
    let user = table.required_string("user", hints.user);
    let password = match table.entry("password") {
        Some(_) => secret::read(table, "password"),
        None => None,
    };
    let encrypt = table.choice("encrypt", &ENCRYPT);
    let trust = table.boolean("trust_certificate");
    let certificate_file = table.path("certificate_file");
    if let (true, Some(file)) = (trust.as_ref().is_some_and(|found| found.value), &certificate_file) {
        let problem = Problem::Contradiction {
            first: "`trust_certificate = true`".into(),
            second: "`certificate_file`".into(),
            hint: "keep `certificate_file`".into(),
        };
        table.problems().at(problem, &file.origin);
    }
    Some(PostgresConfig {
        name: name.to_owned(),
        host: host?.value,
        port: port.and_then(|found| u16::try_from(found.value).ok()).unwrap_or(DEFAULT_PORT),
        database: database?.value,
        user: user?.value,
        password,
        encrypt: encrypt.map(|found| found.value).unwrap_or_default(),
        trust_certificate: trust.is_some_and(|found| found.value),
        certificate_file: certificate_file.map(|found| found.value),
    })
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

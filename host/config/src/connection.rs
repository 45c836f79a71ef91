//! Connections: where rows come from.

use std::path::PathBuf;

use crate::file_source::{self, FilesConnection};
use crate::kerberos::{self, Kerberos};
use crate::node::Value;
use crate::pool::{Pool, Timeouts, read_pool, read_timeouts};
use crate::problem::{Problem, Problems};
use crate::reader::{Located, TableReader, nearest};
use crate::secret::{self, SecretSetting};
use crate::sink::{self, PostgresConfig};
use crate::store::StoreSettings;
use crate::text::Origin;

/// The port of SQL Server.
pub(crate) const DEFAULT_PORT: u16 = 1433;

/// The longest `source_system`, in characters: `_bronze_source_system` is string(50).
pub(crate) const MAX_SOURCE_SYSTEM_CHARS: usize = 50;

pub(crate) const KINDS: [&str; 3] = ["files", "postgres", "sqlserver"];
pub(crate) const ENCRYPT: [(&str, Encrypt); 3] =
    [("required", Encrypt::Required), ("strict", Encrypt::Strict), ("off", Encrypt::Off)];
pub(crate) const ROW_SECURITY: [(&str, RowSecurity); 2] =
    [("refuse", RowSecurity::Refuse), ("filter", RowSecurity::Filter)];
pub(crate) const INTENTS: [(&str, ApplicationIntent); 2] =
    [("read-write", ApplicationIntent::ReadWrite), ("read-only", ApplicationIntent::ReadOnly)];
pub(crate) const READERS: [(&str, Reader); 2] = [("mssql-tds", Reader::MssqlTds), ("tiberius", Reader::Tiberius)];

/// A configured place rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// A SQL Server database.
    SqlServer(SqlServerConnection),
    /// A PostgreSQL database.
    Postgres(PostgresConnection),
    /// Files in a folder or an object store.
    Files(FilesConnection),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConnection {
    /// What `_bronze_source_system` says: at most 50 characters, by default the name.
    pub source_system: String,
    /// Where the server is and who logs in: the same keys as for a sink.
    pub server: PostgresConfig,
    /// What becomes of rows that row-level security hides.
    pub row_security: RowSecurity,
    /// Bounds of the pool.
    pub pool: Pool,
    /// Bounds of waiting.
    pub timeouts: Timeouts,
}

/// What becomes of rows that row-level security hides from the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowSecurity {
    /// A table that has such rows is an error.
    #[default]
    Refuse,
    /// The others are read, and the record says so.
    Filter,
}

/// A SQL Server database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlServerConnection {
    /// The name of its table in the file.
    pub name: String,
    /// What `_bronze_source_system` says: at most 50 characters, by default the name.
    pub source_system: String,
    /// Host name or address, without port.
    pub host: String,
    /// The instance whose port SQL Server Browser is asked for; none where the port is known.
    pub instance: Option<String>,
    /// TCP port, where there is no `instance`.
    pub port: u16,
    /// The database.
    pub database: String,
    /// Who logs in.
    pub auth: Auth,
    /// What the session is for.
    pub application_intent: ApplicationIntent,
    /// Whether and how the way is encrypted.
    pub encrypt: Encrypt,
    /// Whether any certificate is taken.
    pub trust_certificate: bool,
    /// The one certificate that is taken (PEM or DER).
    pub certificate_file: Option<PathBuf>,
    /// The name expected in the certificate, when it is not the host's.
    pub host_name_in_certificate: Option<String>,
    /// The driver that reads the rows.
    pub reader: Reader,
    /// Bounds of the pool.
    pub pool: Pool,
    /// Bounds of waiting.
    pub timeouts: Timeouts,
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A SQL login.
    Sql {
        /// Its name.
        user: String,
        /// Its password.
        password: SecretSetting,
    },
    /// Whoever a Kerberos ticket is of.
    Kerberos(Kerberos),
}

/// Whether and how the way to a server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encrypt {
    /// TLS, or no connection.
    #[default]
    Required,
    /// TLS before the first byte of TDS (TDS 8.0).
    Strict,
    /// In the clear, password included.
    Off,
}

/// What a session is for, as the login says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplicationIntent {
    /// The primary replica serves it.
    #[default]
    ReadWrite,
    /// An availability group's listener sends it on to a secondary replica, where read-only routing is set up.
    ReadOnly,
}

/// The driver that reads rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reader {
    /// Microsoft's, straight into columns.
    #[default]
    MssqlTds,
    /// The second one, slower, that checks the first.
    Tiberius,
}

impl Connection {
    /// The name of its table in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::SqlServer(connection) => &connection.name,
            Self::Postgres(connection) => &connection.server.name,
            Self::Files(connection) => &connection.name,
        }
    }

    /// What `_bronze_source_system` says.
    #[must_use]
    pub fn source_system(&self) -> &str {
        match self {
            Self::SqlServer(connection) => &connection.source_system,
            Self::Postgres(connection) => &connection.source_system,
            Self::Files(connection) => &connection.source_system,
        }
    }

    /// `host:port`, or `host\instance`, in lower case: connections with the same go to one server.
    #[must_use]
    pub fn address(&self) -> String {
        let (host, port) = match self {
            Self::SqlServer(connection) if connection.instance.is_some() => return connection.address().to_lowercase(),
            Self::SqlServer(connection) => (&connection.host, connection.port),
            Self::Postgres(connection) => (&connection.server.host, connection.server.port),
            // No server, and no two of them the same.
            Self::Files(connection) => return format!("files {}", connection.name),
        };
        format!("{}:{port}", host.to_lowercase())
    }

    /// Connections open at one time; of files as many as are read.
    #[must_use]
    pub fn max_connections(&self) -> u64 {
        match self {
            Self::SqlServer(connection) => connection.pool.max_connections,
            Self::Postgres(connection) => connection.pool.max_connections,
            Self::Files(_) => u64::MAX,
        }
    }

    /// Every password it refers to; a keytab is none.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretSetting> {
        match self {
            Self::SqlServer(SqlServerConnection { auth: Auth::Sql { password, .. }, .. }) => vec![password],
            Self::SqlServer(SqlServerConnection { auth: Auth::Kerberos(_), .. }) => Vec::new(),
            Self::Postgres(connection) => connection.server.password.iter().collect(),
            Self::Files(connection) => connection.store.iter().flat_map(StoreSettings::secrets).collect(),
        }
    }
}

impl SqlServerConnection {
    /// `host:port`, or `host\instance`.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{}\\{instance}", self.host),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

pub(crate) fn read(name: &str, mut table: TableReader<'_>) -> Option<Connection> {
    let kind = table.kind("write `kind = \"sqlserver\"`, `kind = \"postgres\"` or `kind = \"files\"`")?;
    match kind.value.as_str() {
        "sqlserver" => return read_sqlserver(name, table).map(Connection::SqlServer),
        "postgres" => return read_postgres(name, table).map(Connection::Postgres),
        "files" => return file_source::read(name, table).map(Connection::Files),
        _ => {}
    }
    let (path, known) = (table.path_of("kind"), KINDS.to_vec());
    table.problems().at(Problem::UnknownKind { path, found: kind.value, known }, &kind.origin);
    None
}

fn read_sqlserver(name: &str, mut table: TableReader<'_>) -> Option<SqlServerConnection> {
    let source_system = read_source_system(name, &mut table);
    let server = read_server(&mut table);
    let database = table.required_string("database", "write `database = \"NAME\"`, or set MSSQL_DATABASE");
    let auth = read_auth(&mut table);
    let intent = table.choice("application_intent", &INTENTS);
    let trust = Trust {
        encrypt: table.choice("encrypt", &ENCRYPT),
        trust_certificate: table.boolean("trust_certificate"),
        certificate_file: table.path("certificate_file"),
        host_name: table.string("host_name_in_certificate"),
        reader: table.choice("reader", &READERS),
    };
    let pool = read_pool(&mut table);
    let timeouts = read_timeouts(&mut table);
    trust.check(table.problems());
    table.finish();
    let Place { host, instance, port } = server?;
    Some(SqlServerConnection {
        name: name.to_owned(),
        source_system: source_system?,
        host,
        instance,
        port,
        database: database?.value,
        auth: auth?,
        application_intent: intent.map(|found| found.value).unwrap_or_default(),
        encrypt: trust.encrypt.map(|found| found.value).unwrap_or_default(),
        trust_certificate: trust.trust_certificate.is_some_and(|found| found.value),
        certificate_file: trust.certificate_file.map(|found| found.value),
        host_name_in_certificate: trust.host_name.map(|found| found.value),
        reader: trust.reader.map(|found| found.value).unwrap_or_default(),
        pool,
        timeouts,
    })
}

fn read_postgres(name: &str, mut table: TableReader<'_>) -> Option<PostgresConnection> {
    let source_system = read_source_system(name, &mut table);
    let server = sink::read_postgres_server(name, &mut table, &sink::SOURCE_HINTS);
    let row_security = table.choice("row_security", &ROW_SECURITY).map(|found| found.value).unwrap_or_default();
    let pool = read_pool(&mut table);
    let timeouts = read_timeouts(&mut table);
    table.finish();
    Some(PostgresConnection { source_system: source_system?, server: server?, row_security, pool, timeouts })
}

pub(crate) fn read_source_system(name: &str, table: &mut TableReader<'_>) -> Option<String> {
    let (value, origin) = match table.entry("source_system") {
        Some(_) => {
            let found = table.string("source_system")?;
            (found.value, found.origin)
        }
        None => (name.to_owned(), table.origin().clone()),
    };
    let problem = if value.trim().is_empty() {
        "is empty"
    } else if value.chars().count() > MAX_SOURCE_SYSTEM_CHARS {
        "is longer than 50 characters"
    } else if value.trim() != value || value.chars().any(char::is_control) {
        "begins or ends with a space, or holds a control character"
    } else {
        return Some(value);
    };
    let hint =
        "it names the system in `_bronze_source_system` and in the target's path: set `source_system` to a short name";
    table.problems().at(Problem::Name { path: table.path_of("source_system"), problem, hint }, &origin);
    None
}

fn read_auth(table: &mut TableReader<'_>) -> Option<Auth> {
    const HINT: &str = "write `auth = { user = \"NAME\", password = { env = \"NAME\" } }` or `auth = \"kerberos\"`, or set MSSQL_USER and MSSQL_PASSWORD";
    // Known, whatever `auth` is.
    table.entry("kerberos");
    let Some(entry) = table.entry("auth") else {
        table.missing("auth", HINT);
        return None;
    };
    let path = table.path_of("auth");
    match &entry.node.value {
        word if kerberos::is_word(word) => kerberos::read(table).map(Auth::Kerberos),
        Value::String(word) => {
            let meant = nearest(word, ["kerberos"].into_iter());
            let problem = Problem::NotAllowed {
                path,
                found: word.clone(),
                allowed: vec!["{ user, password }", "kerberos"],
                meant,
            };
            table.problems().at(problem, &entry.node.origin);
            None
        }
        _ => {
            kerberos::refuse(table);
            let mut auth = table.table("auth")?;
            let user = auth.required_string("user", "the name of a SQL login, or set MSSQL_USER");
            let password = secret::read(&mut auth, "password");
            auth.finish();
            Some(Auth::Sql { user: user?.value, password: password? })
        }
    }
}

/// Where a SQL Server is.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    /// None where the port is known.
    instance: Option<String>,
    port: u16,
}

fn read_server(table: &mut TableReader<'_>) -> Option<Place> {
    let port = table.integer("port", 1, u64::from(u16::MAX));
    let server = table.required_string("server", "write `server = \"HOST\"`, or set MSSQL_SERVER")?;
    let Named { host, instance, port: own_port } = match parse_server(&server.value) {
        Ok(parsed) => parsed,
        Err((problem, hint)) => {
            let path = table.path_of("server");
            table.problems().at(Problem::Server { path, problem, hint }, &server.origin);
            return None;
        }
    };
    let port = match (own_port, port) {
        (Some(own), Some(port)) if u64::from(own) != port.value => {
            // Of two layers the stronger one wins; within one there are two answers.
            if layer(&server.origin) == layer(&port.origin) {
                let both = ["`server` with a port", "`port`"];
                contradiction(table.problems(), &port.origin, both, "give the port once");
            }
            if layer(&server.origin) >= layer(&port.origin) { Some(own) } else { Some(as_port(port.value)) }
        }
        (Some(own), _) => Some(own),
        // The name of an instance says which port, unless the same layer or a stronger one says more.
        (None, Some(port)) if instance.is_some() && layer(&server.origin) > layer(&port.origin) => None,
        (None, Some(port)) => Some(as_port(port.value)),
        (None, None) => None,
    };
    // With a port nobody has to be asked for it, as with Microsoft's clients.
    let instance = instance.filter(|_| port.is_none());
    Some(Place { host, instance, port: port.unwrap_or(DEFAULT_PORT) })
}

fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::File(..) => 0,
        Origin::Variable(_) => 1,
        Origin::Flag(_) => 2,
    }
}

/// A number that was checked to be a port.
fn as_port(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(DEFAULT_PORT)
}

/// A server as an operator names it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    host: String,
    instance: Option<String>,
    port: Option<u16>,
}

/// `host`, `host,port`, `host:port`, `host\instance`, `host\instance,port`, `[v6]:port`, each with or without `tcp:`; the error is a
/// problem and a hint.
fn parse_server(text: &str) -> Result<Named, (&'static str, &'static str)> {
    const FORMS: &str = "write HOST, HOST,PORT, HOST:PORT or HOST\\INSTANCE";
    let text = text.trim();
    let text = text.strip_prefix("tcp:").unwrap_or(text);
    if text.contains('@') || text.contains("//") || text.contains(';') {
        return Err((
            "is an URL or a connection string",
            "write the host alone; user, password and database have keys of their own",
        ));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(("opens a bracket that does not close", FORMS))?;
        match rest.strip_prefix([':', ',']) {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(("is not a host name", FORMS)),
        }
    } else if let Some((host, port)) = text.split_once(',') {
        (host, Some(port))
    } else if text.matches(':').count() == 1 {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    } else {
        (text, None)
    };
    let (host, instance) = match host.split_once('\\') {
        Some((host, instance)) => (host.trim(), Some(instance.trim())),
        None => (host.trim(), None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) || host.contains('/') {
        return Err(("is not a host name", FORMS));
    }
    if host == "." || host.eq_ignore_ascii_case("(local)") || host.to_lowercase().starts_with("(localdb)") {
        return Err(("means this machine on Windows only", "write `localhost`, or the name of the server"));
    }
    if instance.is_some_and(|instance| !is_instance_name(instance)) {
        return Err((
            "names an instance that SQL Server cannot have",
            "an instance has at most 16 letters, digits, `_`, `$` and `#`; or give its port: HOST,PORT",
        ));
    }
    let port = match port.map(|port| port.trim().parse::<u16>()) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(("has a port that is not a number from 1 to 65535", FORMS)),
    };
    Ok(Named { host: host.to_owned(), instance: instance.map(str::to_owned), port })
}

fn is_instance_name(name: &str) -> bool {
    (1..=16).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '#'))
}

/// What a certificate is checked against, as far as two settings can exclude each other.
struct Trust {
    encrypt: Option<Located<Encrypt>>,
    trust_certificate: Option<Located<bool>>,
    certificate_file: Option<Located<PathBuf>>,
    host_name: Option<Located<String>>,
    reader: Option<Located<Reader>>,
}

impl Trust {
    fn check(&self, problems: &Problems) {
        const TRUST: &str = "`trust_certificate = true`";
        const PIN: &str = "`certificate_file`";
        let trusts_all = self.trust_certificate.as_ref().is_some_and(|found| found.value);
        if let (true, Some(strict)) = (trusts_all, self.encrypt.as_ref().filter(|e| e.value == Encrypt::Strict)) {
            let hint = "`strict` always checks the certificate: pin it with `certificate_file`";
            contradiction(problems, &strict.origin, [TRUST, "`encrypt = \"strict\"`"], hint);
        }
        let Some(pin) = &self.certificate_file else { return };
        if trusts_all {
            let hint = "keep `certificate_file`: it takes that one certificate and no other";
            contradiction(problems, &pin.origin, [TRUST, PIN], hint);
        }
        if self.host_name.is_some() {
            let hint = "remove `host_name_in_certificate`: a pinned certificate is compared byte by byte";
            contradiction(problems, &pin.origin, ["`host_name_in_certificate`", PIN], hint);
        }
        if self.encrypt.as_ref().is_some_and(|found| found.value == Encrypt::Off) {
            contradiction(problems, &pin.origin, ["`encrypt = \"off\"`", PIN], "remove `encrypt = \"off\"`");
        }
        if self.reader.as_ref().is_some_and(|found| found.value == Reader::Tiberius) {
            let hint = "use `reader = \"mssql-tds\"`, or put the issuing CA into SSL_CERT_FILE";
            contradiction(problems, &pin.origin, ["`reader = \"tiberius\"`", PIN], hint);
        }
    }
}

pub(crate) fn contradiction(problems: &Problems, origin: &Origin, [first, second]: [&str; 2], hint: &str) {
    let problem = Problem::Contradiction { first: first.into(), second: second.into(), hint: hint.into() };
    problems.at(problem, origin);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_in_the_forms_people_write() {
        let ok = |text: &str| {
            let Named { host, instance, port } = parse_server(text).unwrap();
            (host, instance, port)
        };
        let server = |host: &str, instance: Option<&str>, port| (host.to_owned(), instance.map(str::to_owned), port);
        assert_eq!(ok("sql01.corp.example"), server("sql01.corp.example", None, None));
        assert_eq!(ok("sql01,1434"), server("sql01", None, Some(1434)));
        assert_eq!(ok("sql01:1434"), server("sql01", None, Some(1434)));
        assert_eq!(ok("tcp:sql01, 1434"), server("sql01", None, Some(1434)));
        assert_eq!(ok("::1"), server("::1", None, None));
        assert_eq!(ok("[::1]:1434"), server("::1", None, Some(1434)));
        assert_eq!(ok("sql01\\ERP"), server("sql01", Some("ERP"), None));
        assert_eq!(ok("tcp:sql01\\SQL$2019,1500"), server("sql01", Some("SQL$2019"), Some(1500)));
    }

    #[test]
    fn what_is_no_server_says_why() {
        let problem = |text: &str| parse_server(text).unwrap_err().0;
        assert!(problem("sql01\\").contains("instance"));
        assert!(problem("sql01\\A B").contains("instance"));
        assert!(problem(".\\SQLEXPRESS").contains("Windows"));
        assert!(problem("(localdb)\\v11.0").contains("Windows"));
        assert!(problem("sa:Pl4nted@sql01").contains("connection string"));
        assert!(problem("sql01,0").contains("port"));
        assert!(problem("sql01:abc").contains("port"));
        assert!(problem("[::1").contains("bracket"));
        assert!(problem(",1433").contains("host name"));
    }
}

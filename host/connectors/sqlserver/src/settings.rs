//! Settings of a SQL Server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use datakit_config::{
    Checks, ConnectionSettings, Kerberos, Pool, Problem, SecretSetting, SectionKind, SectionVariables, SettingPath,
    Settings, TicketSource, Timeouts, warning_of_way,
};

/// The port of SQL Server.
const DEFAULT_PORT: u16 = 1433;

/// The kind, as it is registered.
pub(crate) const KIND: SectionKind = SectionKind::connection::<SqlServerSettings>("sqlserver", "SQL Server")
    .with_variables(SectionVariables { prefix: "MSSQL", makes: "server", name: "mssql" });

/// A SQL Server database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct SqlServerSettings {
    /// `HOST`, `HOST,PORT` or `HOST:PORT`; or `HOST\INSTANCE`, whose port SQL Server Browser is asked for (UDP 1434).
    #[schemars(
        with = "String",
        extend("x-hint" = "write `server = \"HOST\"`", "x-env" = ["_SERVER", "host, `host,port` or `host\\instance`"])
    )]
    pub server: ServerName,
    /// TCP port; 1433 by default. With a port the instance's name is not needed.
    #[schemars(range(min = 1, max = 65_535), extend("x-env" = ["_PORT", "TCP port (1433)"]))]
    pub port: Option<u16>,
    /// The database.
    #[schemars(extend("x-hint" = "write `database = \"NAME\"`", "x-env" = ["_DATABASE", "database"]))]
    pub database: String,
    /// Who logs in.
    #[schemars(extend(
        "x-hint" = "write `auth = { user = \"NAME\", password = { env = \"NAME\" } }` or `auth = \"kerberos\"`",
        "x-env" = ["_AUTH_TYPE", "`sql` (default) or `kerberos`"],
        "x-env-table" = "sql"
    ))]
    pub auth: Auth,
    /// Whose ticket, where it comes from and for which service, with `auth = "kerberos"`; by default the ticket of the cache that
    /// KRB5CCNAME names.
    #[serde(default)]
    #[schemars(extend("x-env-with" = ["auth", "kerberos"]))]
    pub kerberos: Kerberos,
    /// What the session is for: with `read-only` an availability group's listener sends it on to a secondary replica.
    #[serde(default)]
    #[schemars(extend(
        "x-env" = ["_APPLICATION_INTENT", "`read-write` (default) or `read-only`, for a secondary replica behind a listener"]
    ))]
    pub application_intent: ApplicationIntent,
    /// Whether and how the way is encrypted.
    #[serde(default)]
    #[schemars(extend("x-env" = ["_ENCRYPT", "`required` (default), `strict` (TDS 8.0) or `off`"]))]
    pub encrypt: Encrypt,
    /// Accept any certificate: an attacker on the network path can read and change the rows.
    #[serde(default)]
    #[schemars(extend("x-env" = ["_TRUST_CERTIFICATE", "`true` takes any certificate"]))]
    pub trust_certificate: bool,
    /// The one certificate that is taken (PEM or DER), relative to this file.
    #[schemars(extend("x-env" = ["_CERTIFICATE_FILE", "the one certificate that is taken (PEM or DER)"]))]
    pub certificate_file: Option<SettingPath>,
    /// The name expected in the certificate, when it is not the server's.
    #[schemars(extend(
        "x-env" = ["_HOST_NAME_IN_CERTIFICATE", "the name expected in the certificate, when it is not the server's"]
    ))]
    pub host_name_in_certificate: Option<String>,
    /// The driver that reads rows: `tiberius` is slower and checks the other.
    #[serde(default)]
    pub reader: ReaderKind,
    /// Bounds of the connection pool.
    #[serde(default)]
    pub pool: Pool,
    /// Bounds of single steps.
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Auth {
    /// A SQL login.
    Sql(SqlLogin),
    /// Kerberos: whoever the ticket is of.
    Word(AuthWord),
}

/// A SQL login.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "Login")]
pub struct SqlLogin {
    /// Its name.
    #[schemars(extend("x-hint" = "the name of a SQL login", "x-env" = ["_USER", "login"]))]
    pub user: String,
    /// Its password, by reference.
    #[schemars(extend(
        "x-env" = ["_PASSWORD", "password of the login"],
        "x-env-owner" = "user",
        "x-env-unused" = "the connection logs in with Kerberos; to log in by password"
    ))]
    pub password: SecretSetting,
}

/// A word instead of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthWord {
    /// Whoever the ticket is of.
    Kerberos,
}

/// Who logs in, with all that is needed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login<'s> {
    /// A SQL login.
    Sql {
        /// Its name.
        user: &'s str,
        /// Its password.
        password: &'s SecretSetting,
    },
    /// Whoever a Kerberos ticket is of.
    Kerberos(&'s Kerberos),
}

/// Whether and how the way to a server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encrypt {
    /// TLS, or no connection.
    #[default]
    Required,
    /// TLS before the first byte of TDS (TDS 8.0).
    Strict,
    /// Rows in the clear.
    Off,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApplicationIntent {
    /// The primary replica serves it.
    #[default]
    ReadWrite,
    /// A secondary replica serves it, where read-only routing is set up.
    ReadOnly,
}

/// The driver that reads rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Reader")]
pub enum ReaderKind {
    /// Microsoft's, straight into columns.
    #[default]
    MssqlTds,
    /// The second one, row by row.
    Tiberius,
}

impl SqlServerSettings {
    /// Host name or address, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// The instance whose port SQL Server Browser is asked for; none where the port is known.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        // With a port nobody has to be asked for it, as with Microsoft's clients.
        self.server.instance.as_deref().filter(|_| self.own_port().is_none())
    }

    /// TCP port, where there is no instance to ask for.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.own_port().unwrap_or(DEFAULT_PORT)
    }

    fn own_port(&self) -> Option<u16> {
        self.port.or(self.server.port)
    }

    /// `host:port`, or `host\instance`.
    #[must_use]
    pub fn place(&self) -> String {
        match self.instance() {
            Some(instance) => format!("{}\\{instance}", self.host()),
            None => format!("{}:{}", self.host(), self.port()),
        }
    }

    /// Who logs in.
    #[must_use]
    pub fn login(&self) -> Login<'_> {
        match &self.auth {
            Auth::Sql(SqlLogin { user, password }) => Login::Sql { user, password },
            Auth::Word(AuthWord::Kerberos) => Login::Kerberos(&self.kerberos),
        }
    }
}

impl ConnectionSettings for SqlServerSettings {
    fn address(&self) -> Option<String> {
        Some(self.place())
    }

    fn max_connections(&self) -> Option<u64> {
        Some(self.pool.max_connections)
    }

    fn keytab(&self) -> Option<(&SecretSetting, &str)> {
        let Login::Kerberos(kerberos) = self.login() else { return None };
        match kerberos.ticket() {
            TicketSource::Keytab { keytab, principal } => Some((keytab, principal)),
            TicketSource::Cache(_) => None,
        }
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        match self.login() {
            Login::Sql { password, .. } => vec![password],
            Login::Kerberos(_) => Vec::new(),
        }
    }

    fn warning(&self) -> Option<&'static str> {
        warning_of_way(self.encrypt == Encrypt::Off, self.trust_certificate)
    }
}

impl Settings for SqlServerSettings {
    fn check(at: &Checks<'_>) {
        check_server(at);
        // What it says would be passed over in silence.
        if at.is_table("auth") && at.is_set("kerberos") {
            let hint = "write `auth = \"kerberos\"`, or remove `kerberos`";
            at.contradiction_at_key("kerberos", ["`kerberos`", "a SQL login in `auth`"], hint);
        } else {
            at.check_within::<Kerberos>("kerberos");
        }
        at.check_within::<Pool>("pool");
        check_trust(at);
    }
}

fn check_server(at: &Checks<'_>) {
    let Some(text) = at.get::<String>("server") else { return };
    let server = match parse_server(&text) {
        Ok(server) => server,
        Err((problem, hint)) => return at.report("server", |path| Problem::Server { path, problem, hint }),
    };
    let Some(port) = at.get::<u16>("port") else { return };
    // Of two layers the stronger one wins; within one there are two answers.
    let (of_server, of_port) = (at.layer("server"), at.layer("port"));
    if of_server == of_port && server.port.is_some_and(|own| own != port) {
        at.contradiction("port", ["`server` with a port", "`port`"], "give the port once");
    }
    if of_server > of_port && (server.port.is_some() || server.instance.is_some()) {
        at.ignore("port");
    }
}

/// What a certificate is checked against, as far as two settings can exclude each other.
fn check_trust(at: &Checks<'_>) {
    const TRUST: &str = "`trust_certificate = true`";
    const FILE: &str = "certificate_file";
    const PIN: &str = "`certificate_file`";
    let trusts_all = at.get("trust_certificate") == Some(true);
    let encrypt = at.get("encrypt");
    if trusts_all && encrypt == Some(Encrypt::Strict) {
        let hint = "`strict` always checks the certificate: pin it with `certificate_file`";
        at.contradiction("encrypt", [TRUST, "`encrypt = \"strict\"`"], hint);
    }
    if at.get::<SettingPath>(FILE).is_none() {
        return;
    }
    if trusts_all {
        at.contradiction(FILE, [TRUST, PIN], "keep `certificate_file`: it takes that one certificate and no other");
    }
    if at.get::<String>("host_name_in_certificate").is_some() {
        let hint = "remove `host_name_in_certificate`: a pinned certificate is compared byte by byte";
        at.contradiction(FILE, ["`host_name_in_certificate`", PIN], hint);
    }
    if encrypt == Some(Encrypt::Off) {
        at.contradiction(FILE, ["`encrypt = \"off\"`", PIN], "remove `encrypt = \"off\"`");
    }
    if at.get("reader") == Some(ReaderKind::Tiberius) {
        let hint = "use `reader = \"mssql-tds\"`, or put the issuing CA into SSL_CERT_FILE";
        at.contradiction(FILE, ["`reader = \"tiberius\"`", PIN], hint);
    }
}

/// A server as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerName {
    host: String,
    instance: Option<String>,
    port: Option<u16>,
}

impl TryFrom<String> for ServerName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        parse_server(&text).map_err(|(problem, _)| problem)
    }
}

/// `host`, `host,port`, `host:port`, `host\instance`, `host\instance,port`, `[v6]:port`, each with or without `tcp:`; the error is a
/// problem and a hint.
fn parse_server(text: &str) -> Result<ServerName, (&'static str, &'static str)> {
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
    Ok(ServerName { host: host.to_owned(), instance: instance.map(str::to_owned), port })
}

fn is_instance_name(name: &str) -> bool {
    (1..=16).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_in_the_forms_people_write() {
        let ok = |text: &str| {
            let ServerName { host, instance, port } = parse_server(text).unwrap();
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

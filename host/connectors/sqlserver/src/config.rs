//! What an operator says about a SQL Server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datakit_kerberos::{Service, Tickets};
use datakit_model::{Credential, ReadLimits};

use super::destination::KnownDestination;
use super::error::SourceError;
use datakit_connect::pool::PooledServer;

pub use datakit_connect::config::{PoolLimits, ServerLimit, Timeouts};
pub use datakit_guard::SqlLimits;

pub use crate::settings::{ApplicationIntent, Encrypt, ReaderKind};

/// Who logs in.
#[derive(Debug, Clone)]
pub enum Login {
    /// A SQL login.
    Sql {
        /// Its name.
        user: String,
        /// Its password.
        password: Credential,
    },
    /// Whoever the ticket is of.
    Kerberos(Arc<Tickets>),
}

/// A SQL Server, how to reach it and how to read it.
#[derive(Debug, Clone)]
pub struct SqlServerConfig {
    /// Host name or address, without port or instance.
    pub host: String,
    /// TCP port; not used where SQL Server Browser is asked for `instance`.
    pub port: u16,
    /// The instance whose port SQL Server Browser is asked for; none: `port` is known.
    pub instance: Option<String>,
    /// The database of the login.
    pub database: String,
    /// Who logs in.
    pub login: Login,
    /// What the session is for.
    pub application_intent: ApplicationIntent,
    /// How the connection is encrypted.
    pub encrypt: Encrypt,
    /// Accept any certificate: the connection can be intercepted. Refused with [`Encrypt::Strict`].
    pub trust_certificate: bool,
    /// Accept exactly the certificate in this PEM or DER file and no other, whatever it says. `mssql-tds` only, which then
    /// sends catalog queries as well: tiberius can add a CA but not pin, and a CA added is not a pin.
    pub certificate_file: Option<PathBuf>,
    /// The name the certificate must carry, if not `host`.
    pub host_name_in_certificate: Option<String>,
    /// Which driver reads rows.
    pub reader: ReaderKind,
    /// Bounds of the pool.
    pub pool: PoolLimits,
    /// The bound on all connections to this server, shared with other sources; none: only the pool's own.
    pub server_limit: Option<ServerLimit>,
    /// Bounds of single steps.
    pub timeouts: Timeouts,
    /// How batches are cut.
    pub read: ReadLimits,
    /// Bounds on SQL of datakits.
    pub sql: SqlLimits,
    /// `program_name` in `sys.dm_exec_sessions`.
    pub application_name: String,
    /// Where logins have ended up so far; clones share it.
    pub destination: KnownDestination,
    /// How host and port were found, where they are not those that the operator gave; for messages.
    pub found: Option<String>,
}

impl SqlServerConfig {
    /// A server with the defaults: port 1433, TLS required, certificate checked, `mssql-tds`.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        database: impl Into<String>,
        user: impl Into<String>,
        password: impl Into<Credential>,
    ) -> Self {
        Self::with_login(host, database, Login::Sql { user: user.into(), password: password.into() })
    }

    /// The same with any kind of login.
    #[must_use]
    pub fn with_login(host: impl Into<String>, database: impl Into<String>, login: Login) -> Self {
        Self {
            host: host.into(),
            port: 1433,
            instance: None,
            database: database.into(),
            login,
            application_intent: ApplicationIntent::default(),
            encrypt: Encrypt::default(),
            trust_certificate: false,
            certificate_file: None,
            host_name_in_certificate: None,
            reader: ReaderKind::default(),
            pool: PoolLimits::default(),
            server_limit: None,
            timeouts: Timeouts::default(),
            read: ReadLimits::default(),
            sql: SqlLimits::default(),
            application_name: "datakit".to_owned(),
            destination: KnownDestination::default(),
            found: None,
        }
    }

    /// `host:port`, or `host\instance` where the port is not known yet; for messages.
    #[must_use]
    pub fn address(&self) -> String {
        match (&self.instance, &self.found) {
            (Some(instance), _) => format!("{}\\{instance}", self.host),
            (None, Some(found)) => format!("{}:{} ({found})", self.host, self.port),
            (None, None) => format!("{}:{}", self.host, self.port),
        }
    }

    /// The server at the port that SQL Server Browser has named for its instance. Kerberos knows it by that port as well, unless the
    /// operator says another (Microsoft, "Register a service principal name": TCP connections use the port).
    pub(super) fn with_port_of_instance(&self, port: u16) -> Self {
        let login = match &self.login {
            Login::Kerberos(tickets) if tickets.service().port == self.port => {
                Login::Kerberos(tickets.for_service(Service { port, ..tickets.service().clone() }))
            }
            other => other.clone(),
        };
        let found = self.instance.as_ref().map(|instance| format!("instance {instance}"));
        Self { port, instance: None, login, found, destination: KnownDestination::default(), ..self.clone() }
    }

    /// Where this server sends the login on to: certificate and ticket are those of that host and port.
    pub(super) fn sent_on(&self, host: &str, port: u16) -> Self {
        let login = match &self.login {
            Login::Kerberos(tickets) => Login::Kerberos(tickets.for_service(Service {
                host: host.to_owned(),
                port,
                ..tickets.service().clone()
            })),
            other => other.clone(),
        };
        let found = Some(format!("sent on by {}:{}", self.host, self.port));
        let host = host.to_owned();
        Self { host, port, instance: None, login, found, destination: KnownDestination::default(), ..self.clone() }
    }

    /// Checks what can be checked without the server.
    ///
    /// # Errors
    /// [`SourceError::Config`], naming the setting.
    pub(super) fn validate(&self) -> Result<(), SourceError> {
        let refuse =
            |message: &str, hint: &str| Err(SourceError::Config { message: message.to_owned(), hint: hint.to_owned() });
        if self.host.is_empty() || self.host.contains(|c: char| c.is_whitespace() || ",;\\/".contains(c)) {
            return refuse(
                &format!("`server = \"{}\"` is not a host name or address", self.host),
                "give the host alone; the port has its own setting",
            );
        }
        if self.pool.max_connections == 0 {
            return refuse("the pool may hold no connection", "set `pool.max_connections` to at least 1");
        }
        if self.trust_certificate && self.encrypt == Encrypt::Strict {
            return refuse(
                "`trust_certificate = true` contradicts `encrypt = \"strict\"`",
                "remove one of the two; to accept one known certificate use `certificate_file`",
            );
        }
        let Some(pin) = &self.certificate_file else { return Ok(()) };
        if self.trust_certificate {
            return refuse(
                "`certificate_file` and `trust_certificate` exclude each other",
                "remove `trust_certificate`",
            );
        }
        if self.host_name_in_certificate.is_some() {
            return refuse(
                "`certificate_file` and `host_name_in_certificate` exclude each other",
                "remove `host_name_in_certificate`: a pinned certificate is compared byte by byte",
            );
        }
        if self.encrypt == Encrypt::Off {
            return refuse("`certificate_file` needs encryption", "remove `encrypt = \"off\"`");
        }
        if self.reader == ReaderKind::Tiberius {
            return refuse(
                "`certificate_file` is not supported by `reader = \"tiberius\"`",
                "use `reader = \"mssql-tds\"`, or put the issuing CA into SSL_CERT_FILE",
            );
        }
        super::tls::check_certificate_file(pin)
    }

    /// The connect timeout in the whole seconds the drivers take.
    pub(super) fn connect_seconds(&self) -> u32 {
        seconds(self.timeouts.connect)
    }

    /// The same as a time.
    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_seconds().into())
    }

    /// The cancel timeout in the whole seconds the driver takes.
    pub(super) fn cancel_seconds(&self) -> u32 {
        seconds(self.timeouts.cancel)
    }
}

impl PooledServer for SqlServerConfig {
    fn pool(&self) -> &PoolLimits {
        &self.pool
    }

    fn address(&self) -> String {
        self.address()
    }

    fn server_limit(&self) -> Option<&ServerLimit> {
        self.server_limit.as_ref()
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use datakit_model::Secret;

    use super::*;

    fn config() -> SqlServerConfig {
        SqlServerConfig::new("sql01", "ERP", "svc", Secret::new("Pl4nted".into()))
    }

    fn refusal(change: impl FnOnce(&mut SqlServerConfig)) -> String {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_refused_before_the_first_packet() {
        assert!(config().validate().is_ok());
        insta::assert_snapshot!(refusal(|c| c.host = "sql01,1433".into()), @r#"`server = "sql01,1433"` is not a host name or address"#);
        insta::assert_snapshot!(refusal(|c| c.pool.max_connections = 0), @"the pool may hold no connection");
        insta::assert_snapshot!(
            refusal(|c| {
                c.trust_certificate = true;
                c.encrypt = Encrypt::Strict;
            }),
            @r#"`trust_certificate = true` contradicts `encrypt = "strict"`"#
        );
        insta::assert_snapshot!(
            refusal(|c| {
                c.certificate_file = Some("a.pem".into());
                c.reader = ReaderKind::Tiberius;
            }),
            @r#"`certificate_file` is not supported by `reader = "tiberius"`"#
        );
        insta::assert_snapshot!(
            refusal(|c| {
                c.certificate_file = Some("a.pem".into());
                c.trust_certificate = true;
            }),
            @"`certificate_file` and `trust_certificate` exclude each other"
        );
        insta::assert_snapshot!(
            refusal(|c| c.certificate_file = Some("/nowhere/a.pem".into())),
            @"cannot use the certificate file `/nowhere/a.pem`: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn addresses_say_where_they_come_from() {
        let mut config = config();
        assert_eq!(config.address(), "sql01:1433");
        config.instance = Some("ERP".into());
        assert_eq!(config.address(), "sql01\\ERP");
        let found = config.with_port_of_instance(5000);
        assert_eq!(found.address(), "sql01:5000 (instance ERP)");
        assert_eq!(found.sent_on("sql02", 1433).address(), "sql02:1433 (sent on by sql01:5000)");
    }

    #[test]
    fn the_password_is_in_no_debug_output() {
        assert!(!format!("{:?}", config()).contains("Pl4nted"));
    }
}

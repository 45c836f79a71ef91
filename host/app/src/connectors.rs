//! Sources, sinks, and what can be asked of a connection besides rows. All code outside of `doctor` that matches on the kind of a
//! connection or a sink stands here.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use datakit_config::environment::KRB5CCNAME;
use datakit_config::{
    ApplicationIntent, Config, Connection, DeltaSettings, Encrypt, FilesSettings, Kerberos, Login as ConfiguredLogin,
    Pool, PostgresEncrypt, PostgresServer, PostgresSettings, Reader, RowSecurity, SecretSetting, SettingPath,
    SinkConfig, SqlServerSettings, StoreSettings, StoreValue, TicketSource, Timeouts,
};
use datakit_connect::config::{PoolLimits, ServerLimit, Timeouts as SourceTimeouts};
use datakit_connect::permissions::Permissions;
use datakit_delta::{DeltaConfig, DeltaSink, StoreOptions};
use datakit_files::{FilesConfig, FilesError, FilesSource, Root, TableRules};
use datakit_guard::SqlLimits;
use datakit_kerberos::{KerberosError, Origin, Service, TicketSettings, Tickets};
use datakit_model::sink::Sink;
use datakit_model::source::Source;
use datakit_model::{Credential, Failure, Secret};
use datakit_postgres::Server;
use datakit_postgres::sink::PostgresSink;
use datakit_postgres::source::{self as postgres_source, PostgresConfig as PostgresSourceConfig, PostgresSource};
use datakit_sqlserver::{self as sqlserver, Login, SqlServerConfig, SqlServerSource};

use crate::context::Context;
use crate::kinds::{ConnectionKind, SinkKind};
use crate::reports::Reports;

/// The longest wait for a ticket: the library asks each KDC several times, over UDP and TCP.
const KDC_TIMEOUT: Duration = Duration::from_secs(60);

/// What servers show of our sessions.
const APPLICATION_NAME: &str = concat!("datakit/", env!("CARGO_PKG_VERSION"));

/// The source behind a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Connected {
    SqlServer {
        source: Arc<SqlServerSource>,
        /// What it logs in with, unless with a password.
        tickets: Option<Arc<Tickets>>,
    },
    Postgres(Arc<PostgresSource>),
    Files(Arc<FilesSource>),
}

impl Connected {
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::SqlServer { source, .. } => Arc::clone(source) as Arc<dyn Source>,
            Self::Postgres(source) => Arc::clone(source) as Arc<dyn Source>,
            Self::Files(source) => Arc::clone(source) as Arc<dyn Source>,
        }
    }

    pub(crate) fn tickets(&self) -> Option<&Arc<Tickets>> {
        match self {
            Self::SqlServer { tickets, .. } => tickets.as_ref(),
            Self::Postgres(_) | Self::Files(_) => None,
        }
    }

    /// Whether somebody listens there.
    pub(crate) async fn reach(&self) -> Result<(), Failure> {
        match self {
            Self::SqlServer { source, .. } => Ok(source.reach().await.map(drop)?),
            Self::Postgres(source) => Ok(source.reach().await?),
            Self::Files(source) => Ok(source.reach().await?),
        }
    }

    /// Which tables may be read.
    pub(crate) async fn permissions(&self) -> Result<Permissions, Failure> {
        match self {
            Self::SqlServer { source, .. } => Ok(source.permissions().await?),
            Self::Postgres(source) => Ok(source.permissions().await?),
            Self::Files(source) => Ok(source.permissions().await?),
        }
    }
}

impl Context {
    /// The bound on a connection's server: one for all connections that go there.
    fn server_limit(&self, connection: &Connection, config: &Config) -> Option<ServerLimit> {
        let address = connection.address();
        let bound = usize::try_from(*config.servers.get(&address)?).unwrap_or(usize::MAX);
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(servers.entry(address).or_insert_with(|| ServerLimit::new(bound)).clone())
    }

    /// The source behind a connection. Nothing is contacted yet.
    pub(crate) fn source(&self, connection: &Connection, config: &Config) -> Result<Connected, Reports> {
        let server_limit = self.server_limit(connection, config);
        match ConnectionKind::of(connection)? {
            ConnectionKind::SqlServer(connection) => {
                let (login, tickets) = match connection.login() {
                    ConfiguredLogin::Sql { user, password } => {
                        (Login::Sql { user: user.to_owned(), password: self.credential(password)? }, None)
                    }
                    ConfiguredLogin::Kerberos(kerberos) => {
                        let tickets = Arc::new(self.tickets(connection, kerberos)?);
                        (Login::Kerberos(Arc::clone(&tickets)), Some(tickets))
                    }
                };
                let new = SqlServerConfig::with_login(connection.host(), &connection.database, login);
                let new = SqlServerConfig { server_limit, ..sqlserver_config(new, connection, config) };
                let source = Arc::new(SqlServerSource::new(new)?);
                Ok(Connected::SqlServer { source, tickets })
            }
            ConnectionKind::Postgres(connection) => {
                let password = connection.server.password.as_ref();
                let password = password.map(|setting| self.credential(setting)).transpose()?;
                let new = PostgresSourceConfig { server_limit, ..postgres_source_config(connection, password, config) };
                let source = PostgresSource::new(new)?;
                Ok(Connected::Postgres(Arc::new(source)))
            }
            ConnectionKind::Files(connection) => {
                let files = files_config(connection, self.store_options(connection.store.as_ref())?, config)?;
                Ok(Connected::Files(Arc::new(FilesSource::new(files)?)))
            }
        }
    }

    /// How to reach an object store: as its settings say and nothing else, or as the environment says.
    fn store_options(&self, settings: Option<&StoreSettings>) -> Result<StoreOptions, Reports> {
        let plain = |name: &str, value: &str| (name.to_owned(), Secret::new(value.to_owned()));
        let Some(settings) = settings else {
            return Ok(self.settings.environment.iter().map(|(name, value)| plain(name, value)).collect());
        };
        let (mut at_hand, mut in_vaults) = (Vec::new(), Vec::new());
        for (name, value) in settings.iter() {
            match value {
                StoreValue::Plain(value) => at_hand.push(plain(name, value)),
                StoreValue::Secret(setting) => match self.local(setting)? {
                    Some(secret) => at_hand.push((name.to_owned(), secret)),
                    None => in_vaults.push((name, self.credential(setting)?)),
                },
            }
        }
        let at_hand = at_hand.into_iter().collect();
        Ok(in_vaults
            .into_iter()
            .fold(at_hand, |options: StoreOptions, (name, credential)| options.with_credential(name, credential)))
    }

    /// The tickets of a connection. Nothing is asked for yet.
    pub(crate) fn tickets(&self, connection: &SqlServerSettings, kerberos: &Kerberos) -> Result<Tickets, Reports> {
        let origin = match kerberos.ticket() {
            TicketSource::Keytab { keytab, principal } => {
                Origin::Keytab { keytab: self.keytab(keytab)?, principal: principal.to_owned() }
            }
            TicketSource::Cache(Some(name)) => Origin::Cache(Some(name.to_owned())),
            TicketSource::Cache(None) => Origin::Cache(self.variable(KRB5CCNAME).map(str::to_owned)),
        };
        let settings = TicketSettings {
            origin,
            min_remaining: Duration::from_secs(kerberos.min_remaining_seconds),
            timeout: KDC_TIMEOUT,
        };
        let service = Service {
            class: "MSSQLSvc",
            host: kerberos.spn_host.clone().unwrap_or_else(|| connection.host().to_owned()),
            port: kerberos.spn_port.unwrap_or(connection.port()),
            realm: kerberos.realm.clone(),
        };
        Ok(Tickets::new(settings, service))
    }

    /// The sink. Nothing is contacted yet.
    pub(crate) fn sink(&self, sink: &SinkConfig, config: &Config) -> Result<Arc<dyn Sink>, Reports> {
        match SinkKind::of(sink)? {
            SinkKind::Delta(sink) => Ok(Arc::new(self.delta_sink(sink, config)?)),
            SinkKind::Postgres(sink) => Ok(Arc::new(self.postgres_sink(sink)?)),
        }
    }

    pub(crate) fn delta_sink(&self, sink: &DeltaSettings, config: &Config) -> Result<DeltaSink, Reports> {
        let store = self.store_options(sink.store.as_ref())?;
        let max_encoding_bytes = config.limits.run.max_encoding_bytes;
        Ok(DeltaSink::new(DeltaConfig { store, max_encoding_bytes, ..DeltaConfig::new(sink.uri.to_string()) })?)
    }

    pub(crate) fn postgres_sink(&self, sink: &PostgresServer) -> Result<PostgresSink, Reports> {
        let password = sink.password.as_ref().map(|setting| self.credential(setting)).transpose()?;
        Ok(PostgresSink::new(postgres_server(sink, password)))
    }
}

/// The keytab of a connection, and whose key of it is used.
pub(crate) fn keytab_of(connection: &Connection) -> Option<(&SecretSetting, &str)> {
    let ConfiguredLogin::Kerberos(kerberos) = connection.settings::<SqlServerSettings>()?.login() else { return None };
    match kerberos.ticket() {
        TicketSource::Keytab { keytab, principal } => Some((keytab, principal)),
        TicketSource::Cache(_) => None,
    }
}

fn postgres_server(server: &PostgresServer, password: Option<Credential>) -> Server {
    Server {
        port: server.port,
        password,
        encrypt: match server.encrypt {
            PostgresEncrypt::Off => datakit_postgres::Encrypt::Off,
            PostgresEncrypt::Required => datakit_postgres::Encrypt::Required,
        },
        certificate_file: path_of(server.certificate_file.as_ref()),
        trust_certificate: server.trust_certificate,
        application_name: APPLICATION_NAME.to_owned(),
        ..Server::new(&server.host, &server.database, &server.user)
    }
}

fn postgres_source_config(
    connection: &PostgresSettings,
    password: Option<Credential>,
    config: &Config,
) -> PostgresSourceConfig {
    PostgresSourceConfig {
        pool: pool_limits(&connection.pool),
        timeouts: source_timeouts(&connection.timeouts),
        read: config.limits.read.clone(),
        sql: SqlLimits::from(&config.limits.guest),
        row_security: match connection.row_security {
            RowSecurity::Refuse => postgres_source::RowSecurity::Refuse,
            RowSecurity::Filter => postgres_source::RowSecurity::Filter,
        },
        ..PostgresSourceConfig::new(postgres_server(&connection.server, password))
    }
}

fn files_config(connection: &FilesSettings, store: StoreOptions, config: &Config) -> Result<FilesConfig, FilesError> {
    let rules = connection.tables.iter().map(|(name, patterns)| (name.as_str(), &**patterns));
    Ok(FilesConfig {
        tables: TableRules::new(rules)?,
        store,
        read: config.limits.read.clone(),
        max_files: connection.max_files,
        max_line_bytes: usize::try_from(connection.max_line_bytes).unwrap_or(usize::MAX),
        max_expansion: connection.max_expansion,
        ..FilesConfig::new(Root::parse(&connection.root)?)
    })
}

fn path_of(path: Option<&SettingPath>) -> Option<PathBuf> {
    path.map(|path| path.to_path_buf())
}

fn pool_limits(pool: &Pool) -> PoolLimits {
    let seconds = Duration::from_secs;
    PoolLimits {
        max_connections: usize::try_from(pool.max_connections).unwrap_or(usize::MAX),
        checkout_timeout: seconds(pool.checkout_seconds),
        max_idle: seconds(pool.max_idle_seconds),
        max_lifetime: seconds(pool.max_lifetime_seconds),
        min_connections: usize::try_from(pool.min_connections).unwrap_or(usize::MAX),
        validate_after: seconds(pool.validate_after_seconds),
    }
}

fn source_timeouts(timeouts: &Timeouts) -> SourceTimeouts {
    let seconds = Duration::from_secs;
    SourceTimeouts {
        connect: seconds(timeouts.connect_seconds),
        query: seconds(timeouts.query_seconds),
        cancel: seconds(timeouts.cancel_seconds),
    }
}

fn sqlserver_config(new: SqlServerConfig, connection: &SqlServerSettings, config: &Config) -> SqlServerConfig {
    SqlServerConfig {
        port: connection.port(),
        instance: connection.instance().map(str::to_owned),
        application_intent: match connection.application_intent {
            ApplicationIntent::ReadWrite => sqlserver::ApplicationIntent::ReadWrite,
            ApplicationIntent::ReadOnly => sqlserver::ApplicationIntent::ReadOnly,
        },
        encrypt: match connection.encrypt {
            Encrypt::Required => sqlserver::Encrypt::Required,
            Encrypt::Strict => sqlserver::Encrypt::Strict,
            Encrypt::Off => sqlserver::Encrypt::Off,
        },
        trust_certificate: connection.trust_certificate,
        certificate_file: path_of(connection.certificate_file.as_ref()),
        host_name_in_certificate: connection.host_name_in_certificate.clone(),
        reader: match connection.reader {
            Reader::MssqlTds => sqlserver::ReaderKind::MssqlTds,
            Reader::Tiberius => sqlserver::ReaderKind::Tiberius,
        },
        pool: pool_limits(&connection.pool),
        timeouts: source_timeouts(&connection.timeouts),
        read: config.limits.read.clone(),
        sql: SqlLimits::from(&config.limits.guest),
        application_name: APPLICATION_NAME.to_owned(),
        ..new
    }
}

/// Asks something of tickets on a thread that may block, as whatever asks a KDC does.
pub(crate) async fn blocking<T: Send + 'static>(
    tickets: &Arc<Tickets>,
    ask: impl FnOnce(&Tickets) -> Result<T, KerberosError> + Send + 'static,
) -> Result<T, KerberosError> {
    let asked = Arc::clone(tickets);
    let asking = tokio::task::spawn_blocking(move || ask(&asked));
    match tokio::time::timeout(KDC_TIMEOUT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(KerberosError::Library { doing: "asking for a ticket", reason: error.to_string() }),
        Err(_) => {
            Err(KerberosError::Timeout { wanted: tickets.service().principal_name(), seconds: KDC_TIMEOUT.as_secs() })
        }
    }
}

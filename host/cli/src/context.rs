//! What every command works with: configuration, registry, cache, sources, sinks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datakit_config::environment::{DATAKIT_CACHE, DOCKER_CONFIG, KRB5CCNAME, XDG_CACHE_HOME, XDG_DATA_HOME};
use datakit_config::{
    ApplicationIntent, Config, Connection, DeltaSettings, Encrypt, FilesSettings, Kerberos, Layers,
    Login as ConfiguredLogin, Overrides, Pool, PostgresEncrypt, PostgresServer, PostgresSettings, Reader, RowSecurity,
    SettingPath, SinkConfig, SqlServerSettings, StoreSettings, StoreValue, TicketSource, Timeouts, load,
};
use datakit_kerberos::{Origin, Service, TicketSettings, Tickets};
use datakit_model::{Credential, Secret};
use datakit_registry::{Cache, Location, LockFile, Registry, RegistryOptions};
use datakit_sinks::Sink;
use datakit_sinks::delta::{DeltaConfig, DeltaSink, StoreOptions};
use datakit_sinks::postgres::{self, PostgresConfig, PostgresSink};
use datakit_sources::config::{PoolLimits, ServerLimit, SqlLimits, Timeouts as SourceTimeouts};
use datakit_sources::files::{FilesConfig, FilesError, FilesSource, Root, TableRules};
use datakit_sources::postgres::{self as postgres_source, PostgresConfig as PostgresSourceConfig, PostgresSource};
use datakit_sources::sqlserver::{self, Login, SqlServerConfig, SqlServerSource};
use datakit_wasm::{Runtime, RuntimeConfig};
use tokio_util::sync::CancellationToken;

use crate::arguments::Global;
use crate::connected::Connected;
use crate::error::CliError;
use crate::kinds::{ConnectionKind, SinkKind};
use crate::report::Reports;
use crate::secrets::Vaults;
use crate::terminal::Terminal;

/// The warehouse file that is read when none is named.
const DEFAULT_FILE: &str = "warehouse.toml";
const LOCK_FILE: &str = "datakits.lock";

/// The longest wait for a ticket: the library asks each KDC several times, over UDP and TCP.
pub(crate) const KDC_TIMEOUT: Duration = Duration::from_secs(60);

/// What servers show of our sessions.
const APPLICATION_NAME: &str = concat!("datakit/", env!("CARGO_PKG_VERSION"));

/// The process as a command sees it.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) terminal: Terminal,
    /// Cancelled by the first Ctrl-C or SIGTERM.
    pub(crate) stop: CancellationToken,
    pub(crate) vaults: Vaults,
    /// The bounds that connections to one server share, by its address.
    servers: Mutex<BTreeMap<String, ServerLimit>>,
}

impl Context {
    pub(crate) fn new(
        global: Global,
        environment: BTreeMap<String, String>,
        terminal: Terminal,
        stop: CancellationToken,
    ) -> Self {
        Self { global, environment, terminal, stop, vaults: Vaults::default(), servers: Mutex::default() }
    }

    /// The configuration, with its warnings and notes said.
    pub(crate) fn config(&self, mut flags: Overrides) -> Result<Config, Reports> {
        flags.registry.clone_from(&self.global.registry);
        flags.plain_http = self.global.plain_http;
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        let file = self.global.config.clone().or_else(default);
        let config = load(&Layers { file, environment: self.environment.clone(), flags })?;
        config.warnings.iter().for_each(|warning| self.terminal.warn(warning));
        config.notes.iter().for_each(|note| self.terminal.note(note));
        Ok(config)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A folder of the user's, by the XDG base directory specification.
    fn user_folder(&self, variable: &'static str, below_home: &str, what: &'static str) -> Result<PathBuf, CliError> {
        let base = match (self.variable(variable), self.variable("HOME")) {
            (Some(base), _) => PathBuf::from(base),
            (None, Some(home)) => Path::new(home).join(below_home),
            (None, None) => return Err(CliError::NoFolder { what, variable }),
        };
        Ok(base.join("datakit"))
    }

    fn cache_folder(&self, config: &Config) -> Result<PathBuf, CliError> {
        match &config.warehouse.cache {
            Some(folder) => Ok(folder.to_path_buf()),
            None => self.user_folder(XDG_CACHE_HOME, ".cache", "pulled datakits").map_err(|error| match error {
                CliError::NoFolder { what, .. } => CliError::NoFolder { what, variable: DATAKIT_CACHE },
                other => other,
            }),
        }
    }

    /// The registry of the configuration; without one, an OCI image layout among the user's data.
    pub(crate) fn registry(&self, config: &Config) -> Result<Registry, Reports> {
        let location: Location = match &config.warehouse.registry {
            Some(location) => location.parse()?,
            None => Location::Layout(
                self.user_folder(XDG_DATA_HOME, ".local/share", "published datakits")?.join("registry"),
            ),
        };
        let docker_config = match (self.variable(DOCKER_CONFIG), self.variable("HOME")) {
            (Some(folder), _) => Some(Path::new(folder).join("config.json")),
            (None, Some(home)) => Some(Path::new(home).join(".docker/config.json")),
            (None, None) => None,
        };
        let options = RegistryOptions {
            plain_http: config.warehouse.plain_http,
            docker_config,
            max_component_bytes: config.limits.guest.max_component_bytes,
            ..RegistryOptions::default()
        };
        Ok(Registry::open(location, &options)?)
    }

    pub(crate) fn cache(&self, config: &Config) -> Result<Cache, Reports> {
        Ok(Cache::new(self.cache_folder(config)?))
    }

    /// The lock file: beside the warehouse file, else in the working directory.
    pub(crate) fn lock_path(&self, config: &Config) -> PathBuf {
        config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join(LOCK_FILE)
    }

    pub(crate) fn lock(&self, config: &Config) -> Result<Option<LockFile>, Reports> {
        Ok(LockFile::load(&self.lock_path(config))?)
    }

    /// The engine that runs datakits.
    pub(crate) fn runtime(&self, config: &Config) -> Result<Runtime, Reports> {
        let code_cache = Some(self.cache_folder(config)?.join("code"));
        // This very program, also where its file was replaced meanwhile.
        let bounded_program = Some(PathBuf::from("/proc/self/exe"));
        Ok(Runtime::new(RuntimeConfig { limits: config.limits.guest.clone(), code_cache, bounded_program })?)
    }

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
            return Ok(self.environment.iter().map(|(name, value)| plain(name, value)).collect());
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
        Ok(PostgresSink::new(postgres_config(sink, password)))
    }
}

fn postgres_config(sink: &PostgresServer, password: Option<Credential>) -> PostgresConfig {
    PostgresConfig {
        port: sink.port,
        password,
        encrypt: match sink.encrypt {
            PostgresEncrypt::Off => postgres::Encrypt::Off,
            PostgresEncrypt::Required => postgres::Encrypt::Required,
        },
        certificate_file: path_of(sink.certificate_file.as_ref()),
        trust_certificate: sink.trust_certificate,
        application_name: APPLICATION_NAME.to_owned(),
        ..PostgresConfig::new(&sink.host, &sink.database, &sink.user)
    }
}

fn postgres_source_config(
    connection: &PostgresSettings,
    password: Option<Credential>,
    config: &Config,
) -> PostgresSourceConfig {
    let server = &connection.server;
    PostgresSourceConfig {
        port: server.port,
        password,
        encrypt: match server.encrypt {
            PostgresEncrypt::Off => postgres_source::Encrypt::Off,
            PostgresEncrypt::Required => postgres_source::Encrypt::Required,
        },
        certificate_file: path_of(server.certificate_file.as_ref()),
        trust_certificate: server.trust_certificate,
        pool: pool_limits(&connection.pool),
        timeouts: source_timeouts(&connection.timeouts),
        read: config.limits.read.clone(),
        sql: SqlLimits::from(&config.limits.guest),
        row_security: match connection.row_security {
            RowSecurity::Refuse => postgres_source::RowSecurity::Refuse,
            RowSecurity::Filter => postgres_source::RowSecurity::Filter,
        },
        application_name: APPLICATION_NAME.to_owned(),
        ..PostgresSourceConfig::new(&server.host, &server.database, &server.user)
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

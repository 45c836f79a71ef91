//! The SQL Server of a world.

use std::path::{Path, PathBuf};

use datakit_fake_sqlserver::named::{Encryption, NamedServer, Trust, VARIABLE};
use datakit_fake_sqlserver::server::{FakeSqlServer, KerberosLogin, Options, PasswordLogins, Running};
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use std::sync::Arc;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// A SQL Server with a database of its own.
pub struct Mssql {
    /// Where it listens.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The login.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The world's own database.
    pub database: String,
    encryption: Encryption,
    trust: Trust,
    /// The database in which the world's own was made; none on the fake SQL Server, which has no other.
    made_in: Option<String>,
    fake_sqlserver: Option<(Running, SqlEngine)>,
}

impl Mssql {
    /// Starts the fake SQL Server with default options, or makes a database on the server that the environment names.
    pub fn start() -> Self {
        match NamedServer::from_environment().unwrap_or_else(|error| panic!("{error}")) {
            Some(server) => Self::named(server),
            None => Self::new_fake_sqlserver(Options::default(), SqlEngineOptions::default()),
        }
    }

    /// Starts the fake SQL Server, for a test of what no other server does at will; none, with the reason printed, where the
    /// environment names another server. The one place where tests are skipped.
    pub fn fake_sqlserver_for(reason: &str, options: Options, engine: SqlEngineOptions) -> Option<Self> {
        if std::env::var_os(VARIABLE).is_some() {
            eprintln!("skipped: {VARIABLE} names a server, and {reason}");
            return None;
        }
        Some(Self::new_fake_sqlserver(options, engine))
    }

    fn new_fake_sqlserver(options: Options, engine: SqlEngineOptions) -> Self {
        let (user, password) = (options.user.clone(), options.password.clone());
        let engine = SqlEngine::open(engine).unwrap();
        let database = engine.database().to_owned();
        let running = FakeSqlServer::start(options, Arc::new(engine.clone())).unwrap();
        Self {
            host: "localhost".into(),
            port: running.port(),
            user,
            password,
            database,
            encryption: Encryption::Required,
            trust: Trust::System,
            made_in: None,
            fake_sqlserver: Some((running, engine)),
        }
    }

    /// Who has logged in with Kerberos so far; nobody on a named server.
    pub fn kerberos_logins(&self) -> Vec<KerberosLogin> {
        self.fake_sqlserver.as_ref().map(|(running, _)| running.kerberos_logins()).unwrap_or_default()
    }

    /// Changes the password of the fake SQL Server's login; what the world itself logs in with stays.
    pub fn set_password(&self, password: &str) {
        self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").0.set_password(password);
    }

    /// How many clients are connected to the fake SQL Server now, and how many were at one time at the most.
    pub fn connections(&self) -> (usize, usize) {
        self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").0.connections()
    }

    /// How often somebody has tried to log in at the fake SQL Server with a password.
    pub fn password_logins(&self) -> PasswordLogins {
        self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").0.password_logins()
    }

    fn named(server: NamedServer) -> Self {
        let NamedServer { host, port, user, password, database, encryption, trust } = server;
        let mut mssql =
            Self { host, port, user, password, database, encryption, trust, made_in: None, fake_sqlserver: None };
        let database = format!("datakit_test_{}", uuid::Uuid::new_v4().simple());
        mssql.execute(&[&format!("CREATE DATABASE [{database}]")]);
        mssql.made_in = Some(std::mem::replace(&mut mssql.database, database));
        mssql
    }

    /// The fake SQL Server's engine, for faults and denials.
    pub fn engine(&self) -> &SqlEngine {
        &self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").1
    }

    /// How many logins the fake SQL Server has sent on to another server.
    pub fn sent_on(&self) -> usize {
        self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").0.sent_on()
    }

    /// The fake SQL Server's own certificate, to be pinned.
    pub fn certificate(&self) -> &Path {
        self.fake_sqlserver.as_ref().expect("a world of `fake_sqlserver_for`").0.certificate_pem_path()
    }

    /// The authorities that `host` is to trust, for `SSL_CERT_FILE`: the fake SQL Server's own, or those of the tests'
    /// environment.
    pub fn authority(&self) -> Option<PathBuf> {
        match &self.fake_sqlserver {
            Some((running, _)) => Some(running.ca_pem_path().to_owned()),
            None => std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
        }
    }

    /// How a warehouse file says how the connection is encrypted and which certificate is taken: two lines.
    pub fn trust_lines(&self) -> String {
        let trust = match self.trust() {
            Trust::System => "# The certificate is checked.".to_owned(),
            Trust::Any => "trust_certificate = true".to_owned(),
            Trust::Certificate(file) => format!("certificate_file = \"{}\"", file.display()),
        };
        format!("encrypt = \"{}\"\n{trust}", self.encrypt())
    }

    /// The same as variables, for a run without a file.
    pub fn trust_variables(&self) -> Vec<(&'static str, String)> {
        let trust = match self.trust() {
            Trust::System => None,
            Trust::Any => Some(("MSSQL_TRUST_CERTIFICATE", "true".to_owned())),
            Trust::Certificate(file) => Some(("MSSQL_CERTIFICATE_FILE", file.display().to_string())),
        };
        trust.into_iter().chain([("MSSQL_ENCRYPT", self.encrypt().to_owned())]).collect()
    }

    fn encrypt(&self) -> &'static str {
        match self.encryption {
            Encryption::Required => "required",
            Encryption::Strict => "strict",
            Encryption::Off => "off",
        }
    }

    /// What is checked: nothing without encryption, and always something in strict.
    fn trust(&self) -> &Trust {
        match (self.encryption, &self.trust) {
            (Encryption::Off, _) | (Encryption::Strict, Trust::Any) => &Trust::System,
            (_, trust) => trust,
        }
    }

    /// A session, for transactions that stay open.
    pub async fn connect(&self) -> Client<Compat<TcpStream>> {
        connect(self).await
    }

    /// Runs T-SQL, one text a batch, over the wire.
    pub fn execute(&self, batches: &[&str]) {
        self.try_execute(batches).unwrap_or_else(|error| panic!("{error}"));
    }

    fn try_execute(&self, batches: &[&str]) -> Result<(), String> {
        if batches.is_empty() {
            return Ok(());
        }
        runtime().block_on(async {
            let mut client = connect(self).await;
            for batch in batches {
                let reported = |error| format!("{error}\n{batch}");
                client.simple_query(*batch).await.map_err(reported)?.into_results().await.map_err(reported)?;
            }
            Ok(())
        })
    }

    /// One number that a query answers.
    pub fn number(&self, query: &str) -> i64 {
        runtime().block_on(async {
            let mut client = connect(self).await;
            let row = client.simple_query(query).await.unwrap().into_row().await.unwrap().unwrap();
            row.try_get::<i32, _>(0).map_or_else(|_| row.get::<i64, _>(0).unwrap(), |n| n.map(i64::from).unwrap())
        })
    }
}

impl Drop for Mssql {
    fn drop(&mut self) {
        let Some(made_in) = self.made_in.take() else { return };
        let database = std::mem::replace(&mut self.database, made_in);
        // Sessions of a run that was killed; not every server knows the statement, and DROP says what matters.
        let alone = format!("ALTER DATABASE [{database}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE");
        let _ = self.try_execute(&[&alone]);
        if let Err(error) = self.try_execute(&[&format!("DROP DATABASE [{database}]")]) {
            eprintln!("cannot drop [{database}]: {error}");
        }
    }
}

/// The batches of a script, as `GO` lines part them.
pub fn batches(script: &str) -> Vec<&str> {
    script.split("\nGO\n").map(str::trim).filter(|b| !b.is_empty()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(mssql: &Mssql) -> Client<Compat<TcpStream>> {
    let mut config = Config::new();
    config.host(&mssql.host);
    config.port(mssql.port);
    config.database(&mssql.database);
    config.authentication(AuthMethod::sql_server(&mssql.user, &mssql.password));
    config.encryption(match mssql.encryption {
        Encryption::Required => EncryptionLevel::Required,
        Encryption::Strict => EncryptionLevel::Strict,
        Encryption::Off => EncryptionLevel::Off,
    });
    match (&mssql.fake_sqlserver, &mssql.trust) {
        // Of this very process, whatever certificate the test is about.
        (Some(_), _) | (None, Trust::Any | Trust::Certificate(_)) => config.trust_cert(),
        (None, Trust::System) => {}
    }
    let stream = TcpStream::connect(config.get_addr()).await.unwrap();
    Client::connect(config, stream.compat_write()).await.unwrap()
}

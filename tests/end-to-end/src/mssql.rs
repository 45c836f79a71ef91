//! The SQL Server of a world.

use std::path::PathBuf;

use datakit_standin::server::{KerberosLogin, Options, Running, Standin};
use datakit_standin::sql::{SqlEngine, SqlEngineOptions};
use std::sync::Arc;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// The environment variable that names a real server.
const VARIABLE: &str = "DATAKIT_TEST_MSSQL";

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
    /// The certificate to pin; none: trust any, as the real server's owner asked for.
    pub certificate: Option<PathBuf>,
    /// The authority behind the stand-in's certificate.
    pub authority: Option<PathBuf>,
    standin: Option<(Running, SqlEngine)>,
}

impl Mssql {
    /// Starts the stand-in with default options, or makes a database on the real server.
    pub fn start() -> Self {
        match std::env::var(VARIABLE) {
            Ok(text) => Self::real(&text),
            Err(_) => Self::standin(Options::default(), SqlEngineOptions::default()),
        }
    }

    /// Starts the stand-in with default options, whatever the environment says: for messages and faults that only it has.
    pub fn standin_by_default() -> Self {
        Self::standin(Options::default(), SqlEngineOptions::default())
    }

    /// Starts the stand-in, whatever the environment says: for tests of what no real server does at will.
    pub fn standin(options: Options, engine: SqlEngineOptions) -> Self {
        let (user, password) = (options.user.clone(), options.password.clone());
        let engine = SqlEngine::open(engine).unwrap();
        let database = engine.database().to_owned();
        let running = Standin::start(options, Arc::new(engine.clone())).unwrap();
        Self {
            host: "localhost".into(),
            port: running.port(),
            user,
            password,
            database,
            certificate: Some(running.certificate_pem_path().to_owned()),
            authority: Some(running.ca_pem_path().to_owned()),
            standin: Some((running, engine)),
        }
    }

    /// Who has logged in with Kerberos so far; nobody on a real server.
    pub fn kerberos_logins(&self) -> Vec<KerberosLogin> {
        self.standin.as_ref().map(|(running, _)| running.kerberos_logins()).unwrap_or_default()
    }

    /// The stand-in's engine, for faults and denials; none, with the reason printed, on a real server.
    pub fn engine(&self) -> Option<&SqlEngine> {
        if self.standin.is_none() {
            eprintln!("skipped: a real SQL Server does not fail at will");
        }
        self.standin.as_ref().map(|(_, engine)| engine)
    }

    /// Runs T-SQL, one text a batch, over the wire.
    pub fn execute(&self, batches: &[&str]) {
        if batches.is_empty() {
            return;
        }
        runtime().block_on(async {
            let mut client = connect(self, &self.database).await;
            for batch in batches {
                client
                    .simple_query(*batch)
                    .await
                    .unwrap()
                    .into_results()
                    .await
                    .unwrap_or_else(|e| panic!("{e}\n{batch}"));
            }
        });
    }

    /// One number that a query answers.
    pub fn number(&self, query: &str) -> i64 {
        runtime().block_on(async {
            let mut client = connect(self, &self.database).await;
            let row = client.simple_query(query).await.unwrap().into_row().await.unwrap().unwrap();
            row.try_get::<i32, _>(0).map_or_else(|_| row.get::<i64, _>(0).unwrap(), |n| n.map(i64::from).unwrap())
        })
    }

    fn real(text: &str) -> Self {
        let part = |name: &str| {
            text.split(';')
                .filter_map(|p| p.split_once('='))
                .find(|(n, _)| n.trim().eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim().to_owned())
        };
        let server = part("server").unwrap_or_else(|| panic!("{VARIABLE} names no server"));
        let (host, port) = server.split_once(',').map_or((server.as_str(), 1433), |(h, p)| (h, p.parse().unwrap()));
        let mut mssql = Self {
            host: host.to_owned(),
            port,
            user: part("user").unwrap(),
            password: part("password").unwrap(),
            database: "master".into(),
            certificate: None,
            authority: None,
            standin: None,
        };
        let database = format!("datakit_test_{}", uuid::Uuid::new_v4().simple());
        mssql.execute(&[&format!("CREATE DATABASE [{database}]")]);
        mssql.database = database;
        mssql
    }
}

impl Drop for Mssql {
    fn drop(&mut self) {
        if self.standin.is_none() {
            let database = std::mem::replace(&mut self.database, "master".into());
            self.execute(&[&format!(
                "ALTER DATABASE [{database}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [{database}]"
            )]);
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

async fn connect(mssql: &Mssql, database: &str) -> Client<Compat<TcpStream>> {
    let mut config = Config::new();
    config.host(&mssql.host);
    config.port(mssql.port);
    config.database(database);
    config.authentication(AuthMethod::sql_server(&mssql.user, &mssql.password));
    config.encryption(EncryptionLevel::Required);
    config.trust_cert();
    let stream = TcpStream::connect(config.get_addr()).await.unwrap();
    Client::connect(config, stream.compat_write()).await.unwrap()
}

//! A world whose rows come from a PostgreSQL server.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use datakit_postgres::testing::{PgBouncer, PostgresServer};
use tempfile::TempDir;

use crate::output::Output;
use crate::started::Started;
use crate::world::{SHORT_PAUSES, datakit, delta_rows, host_binary, without_digests};

/// A PostgreSQL server to read from, a folder with a warehouse file and Delta at `./bronze`, and the datakit published.
pub struct PostgresWorld {
    directory: TempDir,
    source: PostgresServer,
    sink: Option<PostgresServer>,
    /// Further keys of the connection.
    connection: &'static str,
    poolers: Vec<PgBouncer>,
}

impl PostgresWorld {
    /// A world whose server has run `script`.
    pub fn new(script: &str) -> Self {
        Self::of(PostgresServer::start(None).unwrap(), "", script)
    }

    /// The same with a server that decodes its log. The connection names the slot `bronze` and the publication `bronze`, which
    /// `script` has to make.
    pub fn with_logical_decoding(script: &str) -> Self {
        let source = PostgresServer::start_with("wal_level=logical\n").unwrap();
        Self::of(source, "slot = \"bronze\"\npublication = \"bronze\"\n", script)
    }

    fn of(source: PostgresServer, connection: &'static str, script: &str) -> Self {
        let world =
            Self { directory: tempfile::tempdir().unwrap(), source, sink: None, connection, poolers: Vec::new() };
        world.execute(script);
        world.write_warehouse("kind = \"delta\"\nuri = \"./bronze\"");
        world.host(&["publish", datakit("postgres-bronze").to_str().unwrap()]).success();
        world
    }

    /// Starts a second PostgreSQL and makes it the sink.
    pub fn with_postgres_sink(mut self) -> Self {
        let server = PostgresServer::start(None).unwrap();
        self.write_warehouse(&format!("kind = \"postgres\"\n{}", keys(&server)));
        self.sink = Some(server);
        self
    }

    /// Puts a PgBouncer in transaction mode before the source, and before the sink where it is a PostgreSQL. Gives their ports.
    pub fn with_poolers(&mut self, users: &[&str], pool_size: usize) -> Vec<u16> {
        let servers: Vec<&PostgresServer> = std::iter::once(&self.source).chain(&self.sink).collect();
        let start = |server: &&PostgresServer| PgBouncer::start(server, users, pool_size).unwrap();
        let poolers: Vec<PgBouncer> = servers.iter().map(start).collect();
        for (server, pooler) in servers.iter().zip(&poolers) {
            self.edit(&format!("port = {}", server.port()), &format!("port = {}", pooler.port()));
        }
        self.poolers = poolers;
        self.poolers.iter().map(PgBouncer::port).collect()
    }

    /// The server that rows come from.
    pub fn server(&self) -> &PostgresServer {
        &self.source
    }

    fn write_warehouse(&self, sink: &str) {
        let text = format!(
            "[warehouse]\nname = \"test\"\nregistry = \"oci:registry\"\n\n\
             [connections.shop]\nkind = \"postgres\"\nsource_system = \"SHOP\"\n{}{}\n\n[sinks.bronze]\n{sink}\n\n\
             [[ingest]]\ndatakit = \"postgres-bronze@0.1.0\"\nroles = {{ source = \"shop\" }}\nsink = \"bronze\"\nmode = \"append\"\ntables = [\"*.*\"]\n",
            self.connection,
            keys(&self.source)
        );
        fs::write(self.path().join("warehouse.toml"), text).unwrap();
    }

    /// The world's folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Changes the warehouse file.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.path().join("warehouse.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in\n{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// A session on the source, for transactions that stay open.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.source).await
    }

    /// Runs statements on the source.
    pub fn execute(&self, script: &str) {
        on(&self.source, async |client| client.batch_execute(script).await.unwrap());
    }

    /// Runs statements on another database of the source.
    pub fn execute_in(&self, database: &str, script: &str) {
        on_database(&self.source, database, async |client| client.batch_execute(script).await.unwrap());
    }

    /// Runs statements on the sink.
    pub fn execute_on_sink(&self, script: &str) {
        let sink = self.sink.as_ref().expect("a world with_postgres_sink");
        on(sink, async |client| client.batch_execute(script).await.unwrap());
    }

    /// One value that a query of the source answers, as text.
    pub fn source(&self, query: &str) -> String {
        ask(&self.source, query)
    }

    /// One value that a query of the sink answers, as text.
    pub fn sink(&self, query: &str) -> String {
        ask(self.sink.as_ref().expect("a world with_postgres_sink"), query)
    }

    /// `host` with these arguments, in the world's folder and with nothing of the test's own environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env(SHORT_PAUSES.0, SHORT_PAUSES.1).env("PG_PASSWORD", datakit_postgres::testing::PASSWORD);
        command
    }

    /// Runs `host` to its end.
    pub fn host(&self, arguments: &[&str]) -> Output {
        self.finish(self.command(arguments))
    }

    /// Runs a prepared command to its end.
    pub fn finish(&self, mut command: Command) -> Output {
        Output::new(command.output().unwrap())
    }

    /// Starts a prepared command.
    pub fn start(&self, command: Command) -> Started {
        Started::new(command)
    }

    /// `host run` with these arguments, and its JSON summary.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["run", "--output", "json"];
        all.extend(arguments);
        self.host(&all).success().json()
    }

    /// What an independent reader finds in a Delta table: a header, then a line of JSON a row, sorted.
    pub fn delta(&self, table: &str) -> String {
        delta_rows(&self.path().join("bronze").join(table).display().to_string(), &[])
    }

    /// A message with what differs from run to run replaced.
    pub fn normalise(&self, text: &str) -> String {
        // Digests first: the digits of a port may be among theirs.
        let text = without_digests(&text.replace(self.path().to_str().unwrap(), "[world]"));
        text.replace(&self.source.port().to_string(), "[port]")
    }
}

/// The keys of a warehouse file that reach a server.
fn keys(server: &PostgresServer) -> String {
    let config = server.config("postgres");
    format!(
        "host = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"{}\"\npassword = {{ env = \"PG_PASSWORD\" }}\nencrypt = \"off\"",
        config.host, config.port, config.user
    )
}

/// One value that a query of the server answers, as text.
pub fn ask(server: &PostgresServer, query: &str) -> String {
    let answer = async |client: tokio_postgres::Client| {
        client.query_one(query, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())
    };
    on(server, answer)
}

/// Does something as the server's superuser.
pub fn on<T>(server: &PostgresServer, step: impl AsyncFnOnce(tokio_postgres::Client) -> T) -> T {
    on_database(server, "postgres", step)
}

fn on_database<T>(server: &PostgresServer, database: &str, step: impl AsyncFnOnce(tokio_postgres::Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { step(connect_to(server, database).await).await })
}

/// A session of the server's superuser.
async fn connect(server: &PostgresServer) -> tokio_postgres::Client {
    connect_to(server, "postgres").await
}

async fn connect_to(server: &PostgresServer, database: &str) -> tokio_postgres::Client {
    let config = server.config(database);
    let mut options = tokio_postgres::Config::new();
    options.host(&config.host).port(config.port).dbname(database).user(&config.user);
    options.password(datakit_postgres::testing::PASSWORD);
    let (client, connection) = options.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

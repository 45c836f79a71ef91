//! A world whose rows come from files.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use datakit_postgres::testing::PostgresServer;
use datakit_stores::testing::ObjectStoreServer;
use tempfile::TempDir;

use crate::output::Output;
use crate::started::Started;
use crate::world::{SHORT_PAUSES, datakit, delta_rows, host_binary, without_digests};

/// Files to read, a folder with a warehouse file and Delta at `./bronze`, and the datakit published.
pub struct FilesWorld {
    directory: TempDir,
    store: Option<ObjectStoreServer>,
    sink: Option<PostgresServer>,
}

impl FilesWorld {
    /// A world whose files are in the folder `landing`.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A world whose files are in an object store, and its Delta tables too.
    pub fn in_store(store: ObjectStoreServer) -> Self {
        Self::with(Some(store))
    }

    fn with(store: Option<ObjectStoreServer>) -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap(), store, sink: None };
        fs::create_dir(world.path().join("landing")).unwrap();
        let uri = world.store.as_ref().map_or("./bronze", ObjectStoreServer::uri);
        world.write_warehouse(&format!("kind = \"delta\"\nuri = \"{uri}\""));
        world.host(&["publish", datakit("files-bronze").to_str().unwrap()]).success();
        world
    }

    /// Starts a PostgreSQL and makes it the sink.
    pub fn with_postgres(mut self) -> Self {
        let server = PostgresServer::start(None).unwrap();
        let config = server.config("postgres");
        self.write_warehouse(&format!(
            "kind = \"postgres\"\nhost = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"{}\"\npassword = {{ env = \"PG_PASSWORD\" }}\nencrypt = \"off\"",
            config.host, config.port, config.user
        ));
        self.sink = Some(server);
        self
    }

    fn write_warehouse(&self, sink: &str) {
        let root = self.store.as_ref().map_or_else(|| "./landing".to_owned(), |store| store.uri_of("landing"));
        let text = format!(
            "[warehouse]\nname = \"test\"\nregistry = \"oci:registry\"\n\n\
             [connections.landing]\nkind = \"files\"\nsource_system = \"LANDING\"\nroot = \"{root}\"\n\n[sinks.bronze]\n{sink}\n\n\
             [[ingest]]\ndatakit = \"files-bronze@0.1.0\"\nroles = {{ source = \"landing\" }}\nsink = \"bronze\"\ntables = [\"*.*\"]\n"
        );
        fs::write(self.path().join("warehouse.toml"), text).unwrap();
    }

    /// The world's folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a file below the root.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        if let Some(store) = &self.store {
            return store.put(&format!("landing/{path}"), bytes.as_ref()).unwrap();
        }
        let path = self.path().join("landing").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts the marker of a folder below the root, an object store's.
    pub fn put_folder(&self, path: &str) {
        self.store.as_ref().expect("a world in_store").put_folder(&format!("landing/{path}")).unwrap();
    }

    /// Changes the warehouse file.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.path().join("warehouse.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in\n{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// Adds a line to the connection.
    pub fn connection(&self, line: &str) {
        self.edit("source_system = \"LANDING\"\n", &format!("source_system = \"LANDING\"\n{line}\n"));
    }

    /// `host` with these arguments, in the world's folder and with nothing of the test's own environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(host_binary());
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env(SHORT_PAUSES.0, SHORT_PAUSES.1).env("PG_PASSWORD", datakit_postgres::testing::PASSWORD);
        command.envs(self.environment());
        command
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.store.as_ref().map(|store| store.environment().to_vec()).unwrap_or_default()
    }

    /// Runs `host` to its end.
    pub fn host(&self, arguments: &[&str]) -> Output {
        Output::new(self.command(arguments).output().unwrap())
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

    /// The code and the message of the only table of a run that fails.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let mut all = vec!["run", "--output", "json"];
        all.extend(arguments);
        let output = self.host(&all);
        assert_ne!(output.code, Some(0), "{}", output.stdout);
        let json = output.json();
        let error = json["tables"].get(0).map_or(&json["errors"][0], |table| &table["error"]);
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let text = format!("{}: {}\nhint: {}", text("code"), text("message"), text("hint"));
        without_digests(&text.replace(self.path().to_str().unwrap(), "[world]"))
    }

    /// What an independent reader finds in a Delta table: a header, then a line of JSON a row, sorted.
    pub fn delta(&self, table: &str) -> String {
        let bronze = self.path().join("bronze").display().to_string();
        let root = self.store.as_ref().map_or(bronze.as_str(), ObjectStoreServer::uri);
        delta_rows(&format!("{root}/LANDING/files/{table}"), &self.environment())
    }

    /// The values of a column of a Delta table, in order.
    pub fn column(&self, table: &str, column: &str) -> Vec<serde_json::Value> {
        let rows = self.delta(table);
        let rows = rows.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut values: Vec<serde_json::Value> = rows.map(|row| row[column].clone()).collect();
        values.sort_by_key(ToString::to_string);
        values
    }

    /// One value that a query of the Postgres sink answers, as text.
    pub fn postgres(&self, query: &str) -> String {
        let answer = async |client: tokio_postgres::Client| {
            client.query_one(query, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())
        };
        crate::postgres::on(self.sink.as_ref().expect("a world with_postgres"), answer)
    }
}

impl Default for FilesWorld {
    fn default() -> Self {
        Self::new()
    }
}

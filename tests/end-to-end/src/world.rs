//! A folder with a registry, a warehouse file and sinks, and the `host` binary to run in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use datakit_postgres::testing::PostgresServer;
use datakit_stores::testing::ObjectStoreServer;
use tempfile::TempDir;

use crate::mssql::Mssql;
use crate::output::Output;
use crate::started::Started;

/// The version of `sqlserver-bronze` under test.
const DATAKIT: &str = "sqlserver-bronze@0.1.0";

/// What keeps runs that are tried again fast: the first pause.
pub(crate) const SHORT_PAUSES: (&str, &str) = ("DATAKIT_RETRY_BACKOFF_MS", "100");

/// Everything one test needs; gone when dropped.
pub struct World {
    /// The SQL Server.
    pub mssql: Mssql,
    directory: TempDir,
    postgres: Option<PostgresServer>,
    store: Option<ObjectStoreServer>,
}

impl World {
    /// A world with a SQL Server that has run `script`, Delta at `./bronze`, and the datakit published.
    pub fn new(script: &str) -> Self {
        Self::with(Mssql::start(), script)
    }

    /// The same with a given server.
    pub fn with(mssql: Mssql, script: &str) -> Self {
        mssql.execute(&crate::mssql::batches(script));
        let world = Self { mssql, directory: tempfile::tempdir().unwrap(), postgres: None, store: None };
        world.write("warehouse.toml", &world.warehouse("kind = \"delta\"\nuri = \"./bronze\"", "tables = [\"*.*\"]"));
        world.host(&["publish", datakit("sqlserver-bronze").to_str().unwrap()]).success();
        world
    }

    /// Starts a Postgres and makes it the sink.
    pub fn with_postgres(mut self) -> Self {
        let server = PostgresServer::start(None).unwrap();
        let config = server.config("postgres");
        let sink = format!(
            "kind = \"postgres\"\nhost = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"{}\"\npassword = {{ env = \"PG_PASSWORD\" }}\nencrypt = \"off\"",
            config.host, config.port, config.user
        );
        self.postgres = Some(server);
        self.write("warehouse.toml", &self.warehouse(&sink, "tables = [\"*.*\"]"));
        self
    }

    /// Makes an object store the sink.
    pub fn with_object_store(mut self, server: ObjectStoreServer) -> Self {
        self.write(
            "warehouse.toml",
            &self.warehouse(&format!("kind = \"delta\"\nuri = \"{}\"", server.uri()), "tables = [\"*.*\"]"),
        );
        self.store = Some(server);
        self
    }

    /// The text of a warehouse file: the world's connection, a sink of these keys, an ingest with these more keys.
    pub fn warehouse(&self, sink: &str, ingest: &str) -> String {
        let mut text = String::from("[warehouse]\nname = \"test\"\nregistry = \"oci:registry\"\n\n");
        let Mssql { host, port, user, database, .. } = &self.mssql;
        let trust = self.mssql.trust_lines();
        write!(
            text,
            "[connections.erp]\nkind = \"sqlserver\"\nsource_system = \"ERP\"\nserver = \"{host}\"\nport = {port}\ndatabase = \"{database}\"\n\
             auth = {{ user = \"{user}\", password = {{ env = \"MSSQL_PASSWORD\" }} }}\n{trust}\n\n\
             [sinks.bronze]\n{sink}\n\n[[ingest]]\ndatakit = \"{DATAKIT}\"\nroles = {{ source = \"erp\" }}\nsink = \"bronze\"\nmode = \"append\"\n{ingest}\n"
        )
        .unwrap();
        text
    }

    /// The world's folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the world.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    /// Changes the warehouse file.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path().join("warehouse.toml")).unwrap();
        assert!(text.contains(from), "no `{from}` in\n{text}");
        self.write("warehouse.toml", &text.replacen(from, to, 1));
    }

    /// `host` with these arguments, in the world's folder and with nothing of the test's own environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(&host_binary(), arguments)
    }

    /// The same with another program.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path());
        command.env(SHORT_PAUSES.0, SHORT_PAUSES.1);
        command.env("MSSQL_PASSWORD", &self.mssql.password);
        command.envs(self.store_environment());
        if let Some(file) = self.mssql.authority() {
            command.env("SSL_CERT_FILE", file);
        }
        if self.postgres.is_some() {
            command.env("PG_PASSWORD", datakit_postgres::testing::PASSWORD);
        }
        command
    }

    /// Runs `host` to its end.
    pub fn host(&self, arguments: &[&str]) -> Output {
        Output::new(self.command(arguments).output().unwrap())
    }

    /// Runs a prepared command to its end.
    pub fn finish(&self, mut command: Command) -> Output {
        Output::new(command.output().unwrap())
    }

    /// Starts a prepared command.
    pub fn start(&self, command: Command) -> Started {
        Started::new(command)
    }

    /// Runs `host` as it should not go, and gives what it says, for a golden file.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        self.refusal(&self.host(arguments))
    }

    /// What a failed command says: exit code, standard error without what depends on time, and the errors of its summary.
    /// Whatever failed has to say what to do.
    #[track_caller]
    pub fn refusal(&self, output: &Output) -> String {
        assert_ne!(output.code, Some(0), "{}", output.stderr);
        assert!(!output.stderr.contains('\u{1b}'), "colours in a pipe: {}", output.stderr);
        let timed = |line: &&str| line.starts_with('✓') || line.contains(" failed, again in ");
        // Said of a named server whose certificate is not to be checked.
        let trusting = |line: &&str| line.contains("`trust_certificate = true` lets anyone");
        // Which of several tables ends first is a matter of chance.
        let uncounted = |line: &'_ str| match line.rsplit_once(" [") {
            Some((before, count)) if count.ends_with(" tables]") => before.to_owned(),
            _ => line.to_owned(),
        };
        let stderr = output.stderr.lines().filter(|line| !timed(line) && !trusting(line));
        let stderr: Vec<String> = stderr.map(uncounted).collect();
        let text = Output { stderr: stderr.join("\n"), ..output.clone() }.failure() + "\n" + &output.table_errors();
        assert!(text.contains("hint: ") || text.contains("stopping: "), "no hint in\n{text}");
        self.normalise(&text)
    }

    /// Writes a copy of the warehouse file with one thing changed, and gives its name, for `--config`.
    pub fn variant(&self, from: &str, to: &str) -> &'static str {
        let text = fs::read_to_string(self.path().join("warehouse.toml")).unwrap();
        assert!(text.contains(from), "no `{from}` in\n{text}");
        self.write("variant.toml", &text.replacen(from, to, 1));
        "variant.toml"
    }

    /// Adds to the end of the warehouse file.
    pub fn append(&self, more: &str) {
        let text = fs::read_to_string(self.path().join("warehouse.toml")).unwrap();
        self.write("warehouse.toml", &format!("{text}\n{more}\n"));
    }

    /// The names of a Delta table's files, its log left out; none of a table that is not there.
    pub fn data_files(&self, table: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path().join("bronze").join(table)).into_iter().flatten();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "_delta_log" && name != "_datakit").collect()
    }

    /// Whether nothing was ever written to the Delta sink but records of runs.
    pub fn nothing_written(&self) -> bool {
        let entries = fs::read_dir(self.path().join("bronze")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name()).all(|name| name == "_datakit" || name == "datakit")
    }

    /// `host run` with these arguments more, and its JSON summary.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> serde_json::Value {
        let mut all = vec!["run", "--output", "json"];
        all.extend(arguments);
        self.host(&all).success().json()
    }

    /// A message with what differs from run to run replaced.
    pub fn normalise(&self, text: &str) -> String {
        // Digests first: the digits of a port may be among theirs.
        let mut text = without_digests(&text.replace(self.path().to_str().unwrap(), "[world]"));
        for (from, to) in [
            (format!("{}:{}", self.mssql.host, self.mssql.port), "[server]"),
            (self.mssql.port.to_string(), "[port]"),
            (format!("\"{}\"", self.mssql.database), "\"[database]\""),
            (format!("'{}'", self.mssql.database), "'[database]'"),
            (format!("\"{}\"", self.mssql.user), "\"[user]\""),
            (format!("'{}'", self.mssql.user), "'[user]'"),
        ] {
            text = text.replace(&from, to);
        }
        text
    }

    /// What an independent reader finds in a Delta table: a header, then a line of JSON a row, sorted.
    pub fn delta(&self, table: &str) -> String {
        let bronze = self.path().join("bronze").display().to_string();
        let root = self.store.as_ref().map_or(bronze.as_str(), ObjectStoreServer::uri);
        delta_rows(&format!("{root}/{table}"), &self.store_environment())
    }

    fn store_environment(&self) -> Vec<(String, String)> {
        self.store.as_ref().map(|server| server.environment().to_vec()).unwrap_or_default()
    }

    /// One value that a query of the Postgres sink answers, as text.
    pub fn postgres(&self, query: &str) -> String {
        let row = self.with_postgres_client(async |client| client.query_one(query, &[]).await.unwrap());
        row.get::<_, Option<String>>(0).unwrap_or_else(|| "null".into())
    }

    /// Runs a statement in the database of the Postgres sink.
    pub fn postgres_execute(&self, statement: &str) {
        self.with_postgres_client(async |client| client.batch_execute(statement).await.unwrap());
    }

    /// The data directory of the Postgres sink.
    pub fn postgres_directory(&self) -> &Path {
        self.postgres_server().directory()
    }

    fn postgres_server(&self) -> &PostgresServer {
        self.postgres.as_ref().expect("a world with_postgres")
    }

    fn with_postgres_client<T>(&self, work: impl AsyncFnOnce(tokio_postgres::Client) -> T) -> T {
        crate::postgres::on(self.postgres_server(), work)
    }
}

/// Every digest replaced: they differ from build to build.
pub(crate) fn without_digests(text: &str) -> String {
    const MARK: &str = "sha256:";
    let mut parts = text.split(MARK);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        shown += MARK;
        shown += if hex == 64 { "[digest]" } else { &part[..hex] };
        shown += &part[hex..];
    }
    shown
}

/// A built component.
pub fn datakit(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/datakits/{name}.wasm"));
    assert!(path.exists(), "{} is not built: run `cargo xtask build-datakits`", path.display());
    path
}

/// The `host` binary, built beside the tests.
pub fn host_binary() -> PathBuf {
    built_binary("host")
}

/// A binary of the workspace, built beside the tests.
pub fn built_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace`, or ./test", path.display());
    path
}

/// A Python with the packages of tests/requirements.txt.
pub fn python() -> PathBuf {
    std::env::var_os("DATAKIT_TEST_PYTHON")
        .expect("DATAKIT_TEST_PYTHON names the Python of tests/requirements.txt: run ./test")
        .into()
}

/// What an independent reader finds in the Delta table at this path or URI.
pub(crate) fn delta_rows(table: &str, environment: &[(String, String)]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/delta_rows.py");
    let mut command = Command::new(python());
    command.arg(script).arg(table).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

//! A source, two sinks and the host between them, for many rounds: servers stay, tables come and go.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_postgres::testing::{PASSWORD, PostgresServer};
use datakit_tests::{DeltaReader, Mssql, PostgresWorld, Proxy, World, ask, on};
use serde_json::Value;

use super::check::Row;
use super::kinds::{Kind, Sink, Source, Strategy};

/// The statement that writes the state into the transaction of the rows, as a connection to the sink carries it.
pub(crate) const STATE_WRITTEN: &str = r#"INSERT INTO "_datakit"."ledger""#;

/// A source with a proxy before it, the folder of a Delta sink, and a PostgreSQL with a proxy as the other sink.
pub(crate) struct Lab {
    place: Place,
    pub(crate) source: Proxy,
    pub(crate) sink: Proxy,
    postgres: PostgresServer,
    reader: DeltaReader,
}

enum Place {
    SqlServer(Box<World>),
    Postgres(PostgresWorld),
}

/// What the last commit of the table left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) sequence: i64,
    pub(crate) run_id: String,
    pub(crate) load_id: String,
}

impl Lab {
    /// None, with the reason printed, where the environment names another SQL Server.
    pub(crate) fn start(source: Source) -> Option<Self> {
        let place = match source {
            Source::SqlServer => {
                let reason = "only the fake SQL Server makes tables without a wait for each round";
                let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
                let script = "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\nEXEC sys.sp_cdc_enable_db";
                Place::SqlServer(Box::new(World::with(mssql, script)))
            }
            Source::Postgres => Place::Postgres(PostgresWorld::with_logical_decoding("SELECT 1")),
        };
        let postgres = PostgresServer::start(None).unwrap();
        let port = match &place {
            Place::SqlServer(world) => world.mssql.port,
            Place::Postgres(world) => world.server().port(),
        };
        let (source, sink) = (Proxy::before(port), Proxy::before(postgres.port()));
        Some(Self { place, source, sink, postgres, reader: DeltaReader::start() })
    }

    fn path(&self) -> PathBuf {
        match &self.place {
            Place::SqlServer(world) => world.path().to_owned(),
            Place::Postgres(world) => world.path().to_owned(),
        }
    }

    /// An empty table in the source, no table in the sink, and a warehouse file with this sink.
    pub(crate) fn begin(&self, kind: Kind, snapshots: bool) {
        self.clear();
        match &self.place {
            Place::SqlServer(_) => {
                let more = if kind.strategy == Strategy::RowVersion { ", rv rowversion NOT NULL" } else { "" };
                let switch = if snapshots { "ON" } else { "OFF" };
                self.execute(&format!(
                    "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION {switch}\nGO\n\
                     CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, v int NOT NULL, note varchar(80) NULL{more})"
                ));
                match kind.strategy {
                    Strategy::ChangeTracking => self.execute("ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING"),
                    Strategy::Cdc | Strategy::CdcNet => self.execute(
                        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL, @supports_net_changes = 1",
                    ),
                    _ => {}
                }
            }
            Place::Postgres(_) => self.execute(
                "CREATE TABLE orders (id int PRIMARY KEY, v int NOT NULL, note text); CREATE PUBLICATION bronze FOR TABLE orders",
            ),
        }
        fs::write(self.path().join("warehouse.toml"), self.warehouse(kind.sink)).unwrap();
    }

    /// The engine of the fake SQL Server.
    pub(crate) fn engine(&self) -> Option<&SqlEngine> {
        match &self.place {
            Place::SqlServer(world) => Some(world.mssql.engine()),
            Place::Postgres(_) => None,
        }
    }

    /// What makes the planner see rows that were just written.
    pub(crate) fn count_rows(&self) {
        if let Place::Postgres(world) = &self.place {
            world.execute("ANALYZE orders");
        }
    }

    /// Removes what the last round left in the source and in both sinks.
    fn clear(&self) {
        match &self.place {
            Place::SqlServer(world) => {
                let engine = world.mssql.engine();
                // Each fails where there is nothing of it.
                for statement in [
                    "EXEC sys.sp_cdc_disable_table N'dbo', N'orders', N'all'",
                    "ALTER TABLE dbo.orders DISABLE CHANGE_TRACKING",
                    "DROP TABLE dbo.orders",
                ] {
                    let _ = engine.run_script(statement);
                }
            }
            Place::Postgres(world) => {
                self.settle();
                world.execute("DROP PUBLICATION IF EXISTS bronze; DROP TABLE IF EXISTS orders");
                world.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
            }
        }
        let bronze = self.path().join("bronze");
        if bronze.exists() {
            fs::remove_dir_all(bronze).unwrap();
        }
        let schemas = ["_datakit", "datakit_host", "ERP_dbo", "SHOP_public"];
        let drops: Vec<String> =
            schemas.iter().map(|schema| format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).collect();
        on(&self.postgres, async |client| client.batch_execute(&drops.join(";")).await.unwrap());
    }

    /// The warehouse file: source and sink behind their proxies, and small batches.
    fn warehouse(&self, sink: Sink) -> String {
        let sink = match sink {
            Sink::Delta => "kind = \"delta\"\nuri = \"./bronze\"".to_owned(),
            Sink::Postgres => format!("kind = \"postgres\"\n{}", self.keys(&self.postgres, self.sink.port())),
        };
        let ingest = "tables = [\"*.*\"]";
        let text = match &self.place {
            Place::SqlServer(world) => world
                .warehouse(&sink, ingest)
                .replace(&format!("port = {}\n", world.mssql.port), &format!("port = {}\n", self.source.port())),
            Place::Postgres(world) => format!(
                "[warehouse]\nname = \"test\"\nregistry = \"oci:registry\"\n\n\
                 [connections.shop]\nkind = \"postgres\"\nsource_system = \"SHOP\"\nslot = \"bronze\"\npublication = \"bronze\"\n{}\n\n\
                 [sinks.bronze]\n{sink}\n\n\
                 [[ingest]]\ndatakit = \"postgres-bronze@0.1.0\"\nroles = {{ source = \"shop\" }}\nsink = \"bronze\"\n{ingest}\n",
                self.keys(world.server(), self.source.port())
            ),
        };
        format!("{text}\n[limits.read]\nmax_batch_rows = 100\n")
    }

    fn keys(&self, server: &PostgresServer, port: u16) -> String {
        let config = server.config("postgres");
        format!(
            "host = \"127.0.0.1\"\nport = {port}\ndatabase = \"postgres\"\nuser = \"{}\"\npassword = {{ env = \"PG_PASSWORD\" }}\nencrypt = \"off\"",
            config.user
        )
    }

    /// Runs a script in the source.
    pub(crate) fn execute(&self, script: &str) {
        match &self.place {
            Place::SqlServer(world) => {
                world.mssql.engine().run_script(script).unwrap_or_else(|error| panic!("{error}\n{script}"));
            }
            Place::Postgres(world) => world.execute(script),
        }
    }

    /// `host run` of the round's table.
    pub(crate) fn command(&self, kind: Kind, run_id: &str, parallel: u64) -> Command {
        let (settings, parallel) = (kind.settings(), parallel.to_string());
        let arguments = [
            "run",
            "--output",
            "json",
            "--run-id",
            run_id,
            "--mode",
            kind.mode.word(),
            "--parallel",
            &parallel,
            "--tables",
            "*.orders",
            "--settings",
            &settings,
        ];
        let mut command = match &self.place {
            Place::SqlServer(world) => world.command(&arguments),
            Place::Postgres(world) => world.command(&arguments),
        };
        command.env("PG_PASSWORD", PASSWORD);
        command
    }

    /// Waits until the servers have seen that killed clients are gone.
    pub(crate) fn settle(&self) {
        let mut servers = vec![&self.postgres];
        if let Place::Postgres(world) = &self.place {
            servers.push(world.server());
        }
        let until = Instant::now() + Duration::from_secs(20);
        for server in servers {
            let others = "SELECT count(*)::text FROM pg_stat_activity \
                          WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()";
            while ask(server, others) != "0" {
                assert!(Instant::now() < until, "sessions of ended clients stay");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// The rows of the target, sorted.
    pub(crate) fn rows(&mut self, kind: Kind) -> Vec<Row> {
        let rows = match kind.sink {
            Sink::Delta => self.reader.rows(&self.folder(kind)),
            Sink::Postgres => {
                let query =
                    format!("SELECT coalesce(json_agg(t), '[]')::text FROM \"{}\".orders AS t", kind.sink_schema());
                serde_json::from_str(&ask(&self.postgres, &query)).unwrap()
            }
        };
        let mut rows: Vec<Row> = rows.iter().map(row).collect();
        rows.sort();
        rows
    }

    /// The folder of the Delta table.
    pub(crate) fn folder(&self, kind: Kind) -> PathBuf {
        self.path().join("bronze").join(kind.folder())
    }

    /// The state of the table; none: nothing was committed yet.
    pub(crate) fn state(&self, kind: Kind) -> Option<State> {
        let document: Value = match kind.sink {
            Sink::Delta => {
                let folder = self.folder(kind);
                let number = self.entries(kind).iter().rev().find_map(|entry| entry["txn"]["version"].as_i64())?;
                let document = folder.join(format!("_datakit/state/{number:020}.json"));
                serde_json::from_str(&fs::read_to_string(document).unwrap()).unwrap()
            }
            Sink::Postgres => {
                if ask(&self.postgres, r#"SELECT to_regclass('"_datakit"."ledger"')::text"#) == "null" {
                    return None;
                }
                let query = "SELECT max(state::text) FROM \"_datakit\".\"ledger\" WHERE source_table = 'orders'";
                let text = ask(&self.postgres, query);
                if text == "null" {
                    return None;
                }
                serde_json::from_str(&text).unwrap()
            }
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(State {
            sequence: document["sequence"].as_i64().unwrap(),
            run_id: text(&document["load"]["run_id"]),
            load_id: text(&document["load"]["load_id"]),
        })
    }

    /// All actions of the Delta table's log, oldest first.
    fn entries(&self, kind: Kind) -> Vec<Value> {
        let log = fs::read_dir(self.folder(kind).join("_delta_log")).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            log.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "json")).collect();
        files.sort();
        let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
        texts
            .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
            .collect()
    }

    /// What the sink holds beside the table and its state, and what the table's log names that is not there.
    pub(crate) fn leftovers(&self, kind: Kind) -> Vec<String> {
        let mut found = Vec::new();
        match kind.sink {
            Sink::Delta => {
                let mut live: BTreeSet<(String, u64)> = BTreeSet::new();
                for entry in self.entries(kind) {
                    if let Some(path) = entry["add"]["path"].as_str() {
                        live.insert((path.to_owned(), entry["add"]["size"].as_u64().unwrap()));
                    }
                    if let Some(path) = entry["remove"]["path"].as_str() {
                        live.retain(|(live, _)| live != path);
                    }
                }
                for (path, size) in live {
                    let there = fs::metadata(self.folder(kind).join(&path)).map(|file| file.len());
                    if there.as_ref().ok() != Some(&size) {
                        found.push(format!("the log names {path} of {size} bytes: {there:?}"));
                    }
                }
            }
            Sink::Postgres => {
                let count = |query: &str| ask(&self.postgres, &format!("SELECT count(*)::text FROM {query}"));
                let tables = count(&format!("pg_tables WHERE schemaname = '{}'", kind.sink_schema()));
                if tables != "1" {
                    found.push(format!("{tables} tables in the place of one"));
                }
                let sessions = count("pg_stat_activity WHERE state LIKE 'idle in transaction%'");
                if sessions != "0" {
                    found.push(format!("{sessions} sessions with a transaction that does not end"));
                }
            }
        }
        if let Place::Postgres(world) = &self.place {
            let slots = world.source("SELECT count(*)::text FROM pg_replication_slots WHERE slot_name <> 'bronze'");
            if slots != "0" {
                found.push(format!("{slots} replication slots too many"));
            }
        }
        found
    }
}

fn row(row: &Value) -> Row {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    Row {
        load_id: text("_bronze_batch_id").unwrap_or_default(),
        operation: text("_bronze_operation").unwrap_or_default(),
        version: text("_bronze_change_version").unwrap_or_default(),
        id: row["id"].as_i64().unwrap(),
        v: row["v"].as_i64(),
        note: text("note"),
    }
}

/// Something that is seen once, by another thread.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicBool);

impl Seen {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

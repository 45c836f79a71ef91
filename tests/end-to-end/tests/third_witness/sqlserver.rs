//! Debezium and the host on one SQL Server, the fake one unless the environment names another: both read change data capture, and the
//! host change tracking too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datakit_tests::World;
use serde_json::{Map, Value, json};

use crate::changes::{self, Row, by_key};
use crate::debezium::Debezium;
use crate::story::{self, Lists, Source};
use crate::tap::{Tap, without_unread};
use crate::workload::{Dialect, Step, TABLES, Table, WRITERS, Workload};
use crate::{SAMPLE, assert_recorded, assert_same_lists, shown, transactions};

type Client = tiberius::Client<tokio_util::compat::Compat<tokio::net::TcpStream>>;

struct Server {
    world: World,
    runtime: tokio::runtime::Runtime,
    writers: RefCell<Vec<Client>>,
}

impl Server {
    fn new() -> Self {
        let captured = ["orders", "notes", "items", "marks"].map(|table| {
            format!(
                "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'{table}', @role_name = NULL"
            )
        });
        let tracked = TABLES.map(|table| format!("ALTER TABLE dbo.{} ENABLE CHANGE_TRACKING", table.name));
        let script = format!(
            "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\nALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON\nGO\n\
             EXEC sys.sp_cdc_enable_db\nGO\n{}\nGO\n{}\nGO\n{}",
            Dialect::SqlServer.tables(),
            captured.join("\nGO\n"),
            tracked.join("\nGO\n")
        );
        let world = World::new(&script).with_postgres();
        let tables = "tables = [\"dbo.orders\", \"dbo.notes\", \"dbo.items\"]";
        world.edit(
            "tables = [\"*.*\"]",
            &format!(
                "name = \"appended\"\n{tables}\nsettings = {{ strategy = {{ \"*.*\" = \"cdc\" }} }}\n\n[sinks.lake]\nkind = \"delta\"\n\
                 uri = \"./bronze\"\n\n[[ingest]]\nname = \"merged\"\ndatakit = \"sqlserver-bronze@0.1.0\"\n\
                 roles = {{ source = \"erp\" }}\nsink = \"lake\"\nmode = \"merge\"\n{tables}\n\
                 settings = {{ strategy = {{ \"*.*\" = \"change-tracking\" }} }}"
            ),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let writers = (0..WRITERS).map(|_| runtime.block_on(world.mssql.connect())).collect();
        Self { world, runtime, writers: RefCell::new(writers) }
    }
}

impl Source for Server {
    fn play(&self, steps: &[Step]) {
        let mut writers = self.writers.borrow_mut();
        for step in steps {
            let played = self
                .runtime
                .block_on(async { writers[step.writer].simple_query(step.sql.as_str()).await?.into_results().await });
            played.unwrap_or_else(|error| panic!("{error}\n{}", step.sql));
        }
    }

    fn mark(&self, part: usize) {
        self.world.mssql.execute(&[&format!("INSERT INTO dbo.marks (id) VALUES ({part})")]);
    }

    /// A second capture instance has the column.
    fn define(&self) {
        self.world.mssql.execute(&[
            "ALTER TABLE dbo.items ADD extra int NULL",
            "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'items', @role_name = NULL, \
             @capture_instance = N'dbo_items_2'",
        ]);
        for strategy in ["cdc", "change-tracking"] {
            let without = "columns = { \"dbo.items\" = { exclude = [\"extra\"] } }";
            self.world.edit(&format!("\"{strategy}\" }} }}"), &format!("\"{strategy}\" }}, {without} }}"));
        }
    }

    fn run_host(&self) {
        self.world.run(&[]);
    }

    fn rows(&self, table: Table) -> BTreeMap<Row, Row> {
        let text = |column: &&str| match *column {
            "raw" => "CONVERT(nvarchar(60), raw, 2)".to_owned(),
            other => format!("CAST({other} AS nvarchar(max))"),
        };
        let columns: Vec<String> = table.columns.iter().map(text).collect();
        let query = format!("SELECT {} FROM dbo.{}", columns.join(", "), table.name);
        let rows = self.runtime.block_on(async {
            let mut client = self.world.mssql.connect().await;
            client.simple_query(query.as_str()).await.unwrap().into_first_result().await.unwrap()
        });
        let values = |row: &tiberius::Row| -> Map<String, Value> {
            let value = |at: usize| row.get::<&str, _>(at).map_or(Value::Null, Value::from);
            (0..).zip(table.columns).map(|(at, column)| ((*column).to_owned(), value(at))).collect()
        };
        by_key(table, rows.iter().map(|row| changes::row(table, &values(row), &[])))
    }

    fn ask_sink(&self, query: &str) -> String {
        self.world.postgres(query)
    }

    fn sink_schema(&self) -> &'static str {
        "ERP_dbo"
    }

    fn merged(&self, table: Table) -> String {
        self.world.delta(&format!("ERP/dbo/{}", table.name))
    }

    fn commit_of(&self, place: &str) -> String {
        place.split_at_checked(20).expect("the LSN of the commit").0.to_owned()
    }
}

/// How Debezium reads changes: from the change tables, or by the functions.
const DIRECT: &str = "direct";
const BY_FUNCTION: &str = "function";

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

fn start_debezium(server: &Server, mode: &str) -> Debezium {
    let mssql = &server.world.mssql;
    let mut debezium = Debezium::start(
        "dbo",
        &json!({
            "connector.class": "io.debezium.connector.sqlserver.SqlServerConnector",
            "database.hostname": mssql.host,
            "database.port": mssql.port.to_string(),
            "database.user": mssql.user,
            "database.password": mssql.password,
            "database.names": mssql.database,
            "driver.encrypt": "true",
            "driver.trustServerCertificate": "true",
            "snapshot.mode": "no_data",
            "data.query.mode": mode,
            "table.include.list": "dbo.orders,dbo.notes,dbo.items,dbo.marks",
        }),
    );
    // It reads on from where it has begun, once it has begun.
    debezium.begin_run(0);
    let is_marking = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_marking.load(Ordering::Relaxed) {
                mssql.execute(&["INSERT INTO dbo.marks (id) VALUES (0)"]);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        // Whatever comes of it, the other thread ends.
        let _ends = Ends(&is_marking);
        debezium.end_run();
    });
    debezium
}

fn read(seed: u64, transactions: usize, is_sample: bool, debezium: Option<&'static str>) -> (Option<Lists>, Lists) {
    let mut workload = Workload::new(Dialect::SqlServer, seed, !is_sample);
    let start = debezium.map(|mode| move |server: &Server| start_debezium(server, mode));
    story::play(&Server::new(), &mut workload, transactions, start)
}

#[test]
#[ignore = "needs Debezium: scripts/third-witness"]
fn debezium_and_the_host_read_the_same_changes_of_sql_server() {
    let (debezium, host) = read(15, transactions(), false, Some(DIRECT));
    assert_same_lists(&debezium.unwrap(), &host, true);
}

#[test]
#[ignore = "needs Debezium: scripts/third-witness"]
fn functions_of_sql_server_give_debezium_the_same_changes() {
    let (debezium, host) = read(16, transactions().min(1000), false, Some(BY_FUNCTION));
    assert_same_lists(&debezium.unwrap(), &host, true);
}

#[test]
#[ignore = "needs Debezium: scripts/third-witness"]
fn recorded_changes_of_sql_server_are_those_of_debezium() {
    let (debezium, host) = read(1, SAMPLE, true, Some(DIRECT));
    let debezium = debezium.unwrap();
    assert_same_lists(&debezium, &host, true);
    insta::assert_snapshot!("changes", shown(&debezium, true));
}

#[test]
fn host_reads_the_changes_of_sql_server_that_debezium_has_read() {
    let (_, host) = read(1, SAMPLE, true, None);
    assert_recorded(include_str!("snapshots/third_witness__sqlserver__changes.snap"), &shown(&host, true));
}

#[test]
#[ignore = "needs tap-mssql: scripts/third-witness"]
fn tap_mssql_and_the_host_read_the_same_changes() {
    const PARTS: usize = 4;
    let server = Server::new();
    let mut workload = Workload::new(Dialect::SqlServer, 17, true);
    server.play(&workload.part(20));
    server.play(&workload.end());
    server.run_host();
    let mut tap = Tap::start(&server.world.mssql);
    for _ in 0..PARTS {
        server.play(&workload.part(transactions().min(1000) / PARTS));
        server.run_host();
        tap.run();
    }
    server.play(&workload.end());
    server.run_host();
    // The second run finds nothing new.
    tap.run();
    tap.run();
    let host = TABLES.map(|table| story::host_changes(&server, table));
    assert_same_lists(&tap.changes(), &without_unread(host), true);
}

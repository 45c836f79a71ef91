//! Connections as the server counts them: one pool for all tables and partitions of a run, bounds that hold, and what is told of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::fmt::Write as _;
use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_tests::{Mssql, World};
use serde_json::Value;

const TABLES: [&str; 3] = ["a", "b", "c"];
/// Rows of each table, and of each partition.
const ROWS: usize = 1_200;
const SETTINGS: &str = r#"{"partition_row_threshold": 100, "partition_rows": 200}"#;

fn script() -> String {
    let mut script = String::new();
    for table in TABLES {
        write!(script, "CREATE TABLE dbo.{table} (id int NOT NULL PRIMARY KEY)\nGO\n").unwrap();
        for from in (0..ROWS).step_by(400) {
            let rows: Vec<_> = (from..from + 400).map(|id| format!("({id})")).collect();
            write!(script, "INSERT INTO dbo.{table} VALUES {}\nGO\n", rows.join(", ")).unwrap();
        }
    }
    script
}

/// A world on the fake SQL Server, which counts. `keys` are more keys of the connection. By one driver: with two, one closes
/// a connection for the other, which the server may notice after the new one has come.
fn world(keys: &str) -> Option<World> {
    let reason = "only the fake SQL Server counts its connections";
    let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
    let world = World::with(mssql, &script());
    // Each partition takes a while, so that every session has one at the same time, however busy the machine is.
    for table in TABLES {
        let effect = Effect::Pause(Duration::from_millis(200));
        world.mssql.engine().add_fault(Fault { table: format!("dbo.{table}"), after_rows: 1, effect, times: 6 });
    }
    world.edit("[sinks.bronze]", &format!("{keys}\n\n[sinks.bronze]"));
    Some(world)
}

/// Runs with eight workers wanted: the summary, and what is told of the pool at the end.
fn run(world: &World) -> (Value, Value) {
    let arguments =
        ["-v", "--log-format", "json", "run", "--output", "json", "--parallel", "8", "--settings", SETTINGS];
    let output = world.host(&arguments).success();
    let lines = output.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reported: Vec<Value> = lines.filter(|line| line["message"] == "connections of the run").collect();
    assert_eq!(reported.len(), 1, "one pool:\n{}", output.stderr);
    let summary = output.json();
    assert_eq!(summary["rows"], ROWS * TABLES.len());
    for table in summary["tables"].as_array().unwrap() {
        assert!(table["partitions"].as_u64().unwrap() >= 6, "{table}");
    }
    (summary, reported.into_iter().next().unwrap())
}

fn number(reported: &Value, key: &str) -> usize {
    usize::try_from(reported[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {reported}"))).unwrap()
}

#[test]
fn one_pool_serves_all_tables_and_partitions_of_a_run() {
    for reader in ["reader = \"tiberius\"", "certificate_file"] {
        let Some(world) = world("pool = { max_connections = 3 }") else { return };
        match reader {
            // Pins the server's own: then everything goes by mssql-tds.
            "certificate_file" => {
                let pin = format!("certificate_file = \"{}\"", world.mssql.certificate().display());
                world.edit("# The certificate is checked.", &pin);
            }
            reader => world.edit("kind = \"sqlserver\"", &format!("{reader}\nkind = \"sqlserver\"")),
        }
        let before = world.mssql.password_logins().admitted;
        let (_, reported) = run(&world);
        let logins = world.mssql.password_logins().admitted - before;
        let (_, most_open) = world.mssql.connections();
        assert_eq!(
            (number(&reported, "max_connections"), number(&reported, "opened")),
            (3, logins),
            "{reader}: {reported}"
        );
        // Eighteen partitions and the questions about three tables, over three sessions.
        assert_eq!((logins, most_open, number(&reported, "most_open")), (3, 3, 3), "{reader}: {reported}");
        assert_eq!(number(&reported, "in_use"), 0, "{reported}");
        assert_eq!(number(&reported, "closed") + number(&reported, "idle"), logins, "{reported}");
        assert_eq!(reported["server"], format!("{}:{}", world.mssql.host, world.mssql.port), "{reported}");
    }
}

#[test]
fn a_limit_of_the_server_is_over_the_pools_own() {
    let Some(world) = world("reader = \"tiberius\"\npool = { max_connections = 8 }") else { return };
    let address = format!("{}:{}", world.mssql.host, world.mssql.port);
    world.append(&format!("[servers.\"{address}\"]\nmax_connections = 2"));
    let (_, reported) = run(&world);
    assert_eq!((number(&reported, "max_connections"), number(&reported, "most_open")), (2, 2), "{reported}");
    assert_eq!(world.mssql.connections().1, 2);
}

#[test]
fn both_drivers_share_the_limit_of_the_server() {
    let Some(world) = world("pool = { max_connections = 8 }") else { return };
    let address = format!("{}:{}", world.mssql.host, world.mssql.port);
    world.append(&format!("[servers.\"{address}\"]\nmax_connections = 2"));
    let (_, reported) = run(&world);
    assert_eq!(number(&reported, "max_connections"), 2, "{reported}");
    assert!(number(&reported, "most_open") <= 2 && number(&reported, "closed_displaced") > 0, "{reported}");
    // So do the questions of `doctor`, which asks by both.
    world.host(&["doctor", "erp"]).success();
}

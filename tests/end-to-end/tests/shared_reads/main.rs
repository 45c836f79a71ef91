//! Two ingests that read the same into different sinks: the source is read once, and each sink commits by itself (docs/sharing-reads.md).

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod failures;
mod postgres;
mod sqlserver;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, World};
use serde_json::Value;

/// How many rows `dbo.orders` has in the beginning.
const ROWS: u32 = 40;
/// `dbo.orders` in four parts.
const CUT: &str = "{ partition_row_threshold = 10, partition_rows = 10 }";
/// By Change Tracking; the first copy in two parts.
const TRACKED: &str = r#"{ strategy = { "*.*" = "auto" }, partition_row_threshold = 10, partition_rows = 20 }"#;

const ORDERS: &str = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)";
const TRACKING: &str = "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)\nGO\n\
    CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)\nGO\n\
    ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING";

/// `dbo.orders` with its rows in a fake SQL Server, read by the ingests `pg` and `lake` into Postgres and Delta.
fn orders(script: &str, settings: &str) -> Option<World> {
    let reason = "statements are counted";
    let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, N'row {id}')")).collect();
    let script = format!("{script}\nGO\nINSERT INTO dbo.orders VALUES {}", rows.join(", "));
    let world = World::with(mssql, &script).with_postgres();
    let ingest = |name: &str, sink: &str| {
        format!(
            "[[ingest]]\nname = \"{name}\"\ndatakit = \"sqlserver-bronze@0.1.0\"\nroles = {{ source = \"erp\" }}\nsink = \"{sink}\"\n\
             mode = \"append\"\ntables = [\"*.*\"]\nsettings = {settings}\n"
        )
    };
    let text = std::fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
    let before = text.split("[[ingest]]").next().unwrap();
    let lake = "[sinks.lake]\nkind = \"delta\"\nuri = \"./bronze\"\n";
    world.write("warehouse.toml", &format!("{before}{lake}\n{}\n{}", ingest("pg", "bronze"), ingest("lake", "lake")));
    queries(&world);
    Some(world)
}

/// Queries for rows of `dbo.orders` since the last time that somebody asked.
fn queries(world: &World) -> usize {
    let records = world.mssql.engine().take_records();
    records.iter().filter(|record| record.text.contains("[dbo].[orders]") && record.text.contains("note")).count()
}

/// The ids of `dbo.orders` in Postgres, sorted, by the condition.
fn in_postgres(world: &World, condition: &str) -> Vec<u32> {
    let query =
        format!("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM \"ERP_dbo\".orders WHERE {condition}");
    world.postgres(&query).split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The ids of `dbo.orders` in Delta, sorted.
fn in_delta(world: &World) -> Vec<u32> {
    let table = world.delta("ERP/dbo/orders");
    let id = |line: &str| line.split_once("\"id\": ")?.1.split([',', '}']).next()?.parse().ok();
    let mut ids: Vec<u32> = table.lines().skip(1).filter_map(id).collect();
    ids.sort_unstable();
    ids
}

fn all_ids() -> Vec<u32> {
    (1..=ROWS).collect()
}

/// The table of an ingest in the summary of a run.
fn table<'a>(summary: &'a Value, ingest: &str) -> &'a Value {
    let tables = summary["tables"].as_array().unwrap();
    tables.iter().find(|table| table["ingest"] == ingest).unwrap_or_else(|| panic!("no table of {ingest} in {summary}"))
}

/// Status, rows, and with whom the table was read.
fn ended(summary: &Value, ingest: &str) -> String {
    let table = table(summary, ingest);
    let with: Vec<&str> = table["shared_with"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let with = if with.is_empty() { String::new() } else { format!(", read with {}", with.join(" ")) };
    format!("{} {}{with}", table["status"].as_str().unwrap(), table["rows"])
}

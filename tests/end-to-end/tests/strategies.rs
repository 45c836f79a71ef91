//! Tables that are loaded by strategies which the server itself keeps: each change once, deletes too, and positions that move on.

use datakit_tests::{PostgresWorld, Random, World};
use serde_json::Value;

/// All tables by the best strategy that they offer; small parts, so that a first copy is cut.
const AUTO: &str = r#"{"strategy": {"*.*": "auto"}, "partition_row_threshold": 10, "partition_rows": 20}"#;

/// What a table holds, a line a row: of these columns, sorted.
fn rows(table: &str, columns: &[&str]) -> Vec<String> {
    let value = |line: &str, column: &str| {
        let rest = line.split_once(&format!("\"{column}\": ")).map(|(_, rest)| rest).unwrap_or_default();
        rest.split([',', '}']).next().unwrap_or_default().trim_matches('"').to_owned()
    };
    let mut rows: Vec<String> = table
        .lines()
        .skip(1)
        .map(|line| columns.iter().map(|column| value(line, column)).collect::<Vec<_>>().join(" "))
        .collect();
    rows.sort();
    rows
}

/// Rows, partitions and status of the only table of a run.
fn loaded(summary: &Value) -> (u64, u64, &str) {
    let table = &summary["tables"][0];
    let number = |key: &str| table[key].as_u64().unwrap_or(u64::MAX);
    (number("rows"), number("partitions"), table["status"].as_str().unwrap_or_default())
}

/// 40 rows with keys from 1 to 40.
fn forty_rows() -> String {
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, N'row {id}')")).collect();
    format!("INSERT INTO dbo.orders VALUES {}", rows.join(", "))
}

#[test]
fn changes_and_deletes_are_loaded_by_change_tracking() {
    let world = World::new(&format!(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\n{}",
        forty_rows()
    ));
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", AUTO]);
    let plan = world.host(&["plan", "--settings", AUTO]).success();
    assert!(plan.stdout.contains("change-tracking"), "{}", plan.stdout);
    let first = load("first");
    assert_eq!(loaded(&first), (40, 2, "committed"));
    world.mssql.execute(&[
        "UPDATE dbo.orders SET note = N'new' WHERE id = 2",
        "DELETE FROM dbo.orders WHERE id = 3",
        "INSERT INTO dbo.orders VALUES (41, N'more')",
    ]);
    assert_eq!(loaded(&load("second")), (3, 1, "committed"));
    let table = world.delta("ERP/dbo/orders");
    let changed: Vec<String> =
        rows(&table, &["_bronze_operation", "id", "note"]).into_iter().filter(|row| !row.starts_with("read")).collect();
    assert_eq!(changed, ["delete 3 null", "upsert 2 new", "upsert 41 more"]);
    assert_eq!(loaded(&load("third")), (0, 1, "unchanged"), "nothing has changed");
}

#[test]
fn idle_table_moves_its_position_on_without_rows() {
    let world = World::new(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)\nGO\nALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\n\
         CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY)\nGO\nALTER TABLE dbo.other ENABLE CHANGE_TRACKING\nGO\n\
         INSERT INTO dbo.orders VALUES (1)",
    );
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--tables", "dbo.orders", "--settings", AUTO]);
    let position = || {
        let state = world.host(&["state", "show", "ERP", "dbo.orders", "--output", "json"]).json();
        state["positions"][0]["watermark"].as_str().unwrap().to_owned()
    };
    load("first");
    let before = position();
    world.mssql.execute(&["INSERT INTO dbo.other VALUES (1)", "INSERT INTO dbo.other VALUES (2)"]);
    assert_eq!(loaded(&load("second")), (0, 1, "committed"));
    assert_ne!(position(), before);
    assert_eq!(loaded(&load("third")), (0, 1, "unchanged"));
}

#[test]
fn lost_position_fails_until_a_full_refresh_and_replaces_the_rows_then() {
    let world = World::new(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)\nGO\nALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\n\
         INSERT INTO dbo.orders VALUES (1), (2)",
    );
    world.run(&["--settings", AUTO]);
    world.mssql.execute(&["TRUNCATE TABLE dbo.orders", "INSERT INTO dbo.orders VALUES (3)"]);
    let failed = world.host(&["run", "--output", "json", "--settings", AUTO]);
    let error = &failed.json()["tables"][0]["error"];
    assert_eq!(error["code"], "SQLSERVER-BRONZE-010", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{error}");
    assert_eq!(rows(&world.delta("ERP/dbo/orders"), &["id"]), ["1", "2"], "nothing is written");
    assert_eq!(world.run(&["--full-refresh", "--settings", AUTO])["rows"], 1);
    assert_eq!(rows(&world.delta("ERP/dbo/orders"), &["id"]), ["3"]);
    assert_eq!(world.run(&["--settings", AUTO])["rows"], 0, "and on from there");
}

#[test]
fn forgotten_position_is_a_first_load_again() {
    let world = World::new(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)\nGO\nALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\n\
         INSERT INTO dbo.orders VALUES (1), (2)",
    );
    world.run(&["--settings", AUTO]);
    let asked = world.host(&["state", "reset", "ERP", "dbo.orders"]);
    assert!(asked.stderr.contains("DK-CLI-021"), "{}", asked.stderr);
    world.host(&["state", "reset", "ERP", "dbo.orders", "--yes"]).success();
    assert_eq!(world.run(&["--mode", "append", "--settings", AUTO])["rows"], 2, "the whole table");
}

/// A merge of all rows leaves those that the source has deleted before, and no later change names them.
#[test]
fn first_merge_by_changes_does_not_keep_rows_that_were_deleted_before() {
    let world = World::new(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.orders VALUES (1), (2), (3)",
    )
    .with_postgres();
    world.run(&["--mode", "merge"]);
    world.mssql.execute(&[
        "DELETE FROM dbo.orders WHERE id = 3",
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON",
        "ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING",
    ]);
    let by_changes = r#"{"strategy": {"dbo.orders": "change-tracking"}}"#;
    let refused = world.host(&["run", "--mode", "merge", "--settings", by_changes, "--output", "json"]);
    let error = &refused.json()["tables"][0]["error"];
    assert_eq!(error["code"], "DK-RUN-070", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{error}");
    let ids = || world.postgres("SELECT string_agg(id::text, ' ' ORDER BY id) FROM \"ERP_dbo\".orders");
    assert_eq!(ids(), "1 2 3", "nothing is written");
    world.run(&["--full-refresh", "--settings", by_changes]);
    assert_eq!(ids(), "1 2");
    world.mssql.execute(&["DELETE FROM dbo.orders WHERE id = 1"]);
    world.run(&["--mode", "merge", "--settings", by_changes]);
    assert_eq!(ids(), "2", "and on from there");
}

#[test]
fn every_change_is_loaded_by_change_data_capture() {
    let world = World::new(
        "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL\nGO\n\
         INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b')",
    );
    let by_cdc = r#"{"strategy": {"dbo.orders": "cdc"}}"#;
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--tables", "dbo.orders", "--settings", by_cdc]);
    assert_eq!(loaded(&load("first")).0, 2);
    world.mssql.execute(&[
        "UPDATE dbo.orders SET note = N'c' WHERE id = 1",
        "UPDATE dbo.orders SET note = N'd' WHERE id = 1",
        "DELETE FROM dbo.orders WHERE id = 2",
    ]);
    load("second");
    let table = world.delta("ERP/dbo/orders");
    let changed: Vec<String> = rows(&table, &["_bronze_operation", "id", "note"])
        .into_iter()
        .filter(|row| row.starts_with("update") || row.starts_with("delete"))
        .collect();
    assert_eq!(changed, ["delete 2 b", "update 1 c", "update 1 d"]);
    assert_eq!(loaded(&load("third")).0, 0);
}

#[test]
fn every_change_is_loaded_by_logical_decoding_and_the_slot_moves_on() {
    let world = PostgresWorld::with_logical_decoding(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);
         INSERT INTO orders SELECT i, 'row ' || i FROM generate_series(1, 40) AS i;
         ANALYZE orders;
         CREATE PUBLICATION bronze FOR TABLE orders",
    );
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", AUTO]);
    let slot = || world.source("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'bronze'");
    assert_eq!(loaded(&load("first")).0, 40);
    let before = slot();
    world.execute(
        "UPDATE orders SET note = 'new' WHERE id = 2; DELETE FROM orders WHERE id = 3; INSERT INTO orders VALUES (41, 'more')",
    );
    assert_eq!(loaded(&load("second")), (3, 1, "committed"));
    assert_ne!(slot(), before, "what is committed may be forgotten");
    let changed: Vec<String> = rows(&world.delta("SHOP/public/orders"), &["_bronze_operation", "id", "note"])
        .into_iter()
        .filter(|row| !row.starts_with("read"))
        .collect();
    assert_eq!(changed, ["delete 3 null", "insert 41 more", "update 2 new"]);
    assert_eq!(loaded(&load("third")).0, 0);
}

/// A workload that is always the same: transactions of inserts, updates, deletes, large values that an update leaves as they are,
/// and transactions that are rolled back; keys that change and are swapped, where they may.
fn transactions(seed: u64, count: usize, keys_change: bool) -> String {
    let mut numbers = Random::new(seed);
    let mut random = move |below| numbers.below(below);
    let mut script = String::new();
    for _ in 0..count {
        let end = if random(5) == 0 { "ROLLBACK" } else { "COMMIT" };
        script.push_str("BEGIN;");
        for _ in 0..=random(4) {
            let (id, other, value) = (random(30), random(30), random(1000));
            script.push_str(&match random(if keys_change { 7 } else { 5 }) {
                0 | 1 => format!(
                    "INSERT INTO orders VALUES ({id}, {value}, repeat('d{value}', 1500)) ON CONFLICT (id) DO UPDATE SET a = {value};"
                ),
                2 => format!("UPDATE orders SET a = {value} WHERE id = {id};"),
                3 => format!("UPDATE orders SET doc = repeat('u{value}', 1500) WHERE id = {id};"),
                4 => format!("DELETE FROM orders WHERE id = {id};"),
                5 => format!(
                    "UPDATE orders SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM orders WHERE id = {other});"
                ),
                _ => format!(
                    "UPDATE orders SET id = -1 WHERE id = {id}; UPDATE orders SET id = {id} WHERE id = {other}; \
                     UPDATE orders SET id = {other} WHERE id = -1;"
                ),
            });
        }
        script.push_str(&format!("{end};\n"));
    }
    script
}

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, a int, doc text);
    ALTER TABLE orders ALTER COLUMN doc SET STORAGE EXTERNAL;
    CREATE PUBLICATION bronze FOR TABLE orders";

/// Of every row: key, value, and the large value by its hash.
const ROWS: &str = "SELECT coalesce(string_agg(id || ' ' || a || ' ' || md5(doc), ', ' ORDER BY id), '') FROM ";

#[test]
fn merged_postgres_table_is_as_its_source_after_every_run() {
    let world = PostgresWorld::with_logical_decoding(ORDERS).with_postgres_sink();
    // Else the server keeps large values that are unchanged to itself, also of a row that gets another key.
    world.execute("ALTER TABLE orders REPLICA IDENTITY FULL");
    for run in 0..4 {
        world.execute(&transactions(run, 60, true));
        world.run(&["--mode", "merge", "--settings", AUTO]);
        let expected = world.source(&format!("{ROWS} orders"));
        assert_eq!(world.sink(&format!("{ROWS} \"SHOP_public\".orders")), expected, "after run {run}");
    }
    assert_eq!(loaded(&world.run(&["--mode", "merge", "--settings", AUTO])).0, 0);
}

#[test]
fn merged_delta_table_is_as_its_source_after_every_run() {
    let world = PostgresWorld::with_logical_decoding(ORDERS);
    for run in 0..4 {
        world.execute(&transactions(10 + run, 60, false));
        world.run(&["--mode", "merge", "--settings", AUTO]);
        let query = "SELECT coalesce(string_agg(id || ' ' || a || ' ' || doc, E'\n' ORDER BY (id || ' ' || a) COLLATE \"C\"), '') FROM orders";
        let expected = world.source(query);
        let found = rows(&world.delta("SHOP/public/orders"), &["id", "a", "doc"]);
        assert_eq!(found.join("\n"), expected, "after run {run}");
    }
}

//! Columns of a source that change between two runs: loads go on by the rule, and say what they found.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use datakit_tests::{PostgresWorld, World};
use serde_json::{Value, json};

/// All tables by the best strategy that they offer.
const AUTO: &str = r#"{"strategy": {"*.*": "auto"}}"#;

/// Status of the run and its first table, and what became of the table's columns: `added extra`, sorted.
fn outcome(summary: &Value) -> (&str, &str, Vec<String>) {
    let table = &summary["tables"][0];
    (summary["status"].as_str().unwrap(), table["status"].as_str().unwrap(), changes(&table["drift"]))
}

fn changes(drift: &Value) -> Vec<String> {
    let text =
        |change: &Value| format!("{} {}", change["change"].as_str().unwrap(), change["column"].as_str().unwrap());
    let mut changes: Vec<String> = drift.as_array().into_iter().flatten().map(text).collect();
    changes.sort();
    changes
}

/// Every row as text, of these columns, in the order of the first one.
fn sink_rows(table: &str, columns: &str) -> String {
    format!("SELECT string_agg(concat_ws(' ', {columns}), ', ' ORDER BY id) FROM {table}")
}

const ORDERS: &str =
    "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NOT NULL, amount smallint NULL)
GO
INSERT INTO dbo.orders VALUES (1, N'a', 10), (2, N'b', 20)";

const CHANGED: [&str; 3] = [
    "ALTER TABLE dbo.orders ADD extra int NULL",
    "ALTER TABLE dbo.orders DROP COLUMN note",
    "INSERT INTO dbo.orders VALUES (3, 30, 300)",
];

#[test]
fn run_with_other_columns_succeeds_and_is_no_plain_success() {
    for world in [World::new(ORDERS), World::new(ORDERS).with_postgres()] {
        assert_eq!(outcome(&world.run(&["--run-id", "first"])), ("done", "committed", Vec::new()));
        world.mssql.execute(&CHANGED);
        let plan = world.host(&["plan"]).success();
        assert!(plan.stdout.contains("drift: dbo.orders: `extra` added"), "{}", plan.stdout);
        let plan = world.host(&["plan", "--output", "json"]).success().json();
        assert_eq!(
            changes(&plan[0]["drift"]),
            ["added extra"],
            "a dropped column cannot be told from one that the datakit adds"
        );

        let run = world.host(&["run", "--run-id", "second", "--metrics-file", "metrics.prom"]).success();
        assert!(run.stderr.contains("drift of 2 columns"), "{}", run.stderr);
        for line in ["note: dbo.orders: `extra` added (", "note: dbo.orders: `note` dropped in the source"] {
            assert!(run.stdout.contains(line), "{}", run.stdout);
        }
        assert!(run.stdout.contains("dbo.orders  drift"), "{}", run.stdout);
        let metrics = std::fs::read_to_string(world.path().join("metrics.prom")).unwrap();
        assert!(
            metrics.lines().any(|line| line.starts_with("datakit_drift_columns_total{") && line.ends_with("} 2")),
            "{metrics}"
        );

        let record = &world.host(&["runs", "show", "second", "--output", "json"]).success().json()[0];
        let expected = ["added extra", "dropped note"];
        assert_eq!(
            (record["status"].as_str(), changes(&record["tables"][0]["drift"])),
            (Some("drift"), expected.map(str::to_owned).to_vec())
        );
        let shown = world.host(&["runs", "show", "second"]).success().stdout;
        assert!(shown.contains("drift: dbo.orders: `note` dropped"), "{shown}");
        let status = &world.host(&["status", "--output", "json"]).success().json()[0];
        assert_eq!(
            (&status["last_run"]["status"], changes(&status["last_run"]["drift"]).len()),
            (&json!("committed"), 2)
        );
        assert!(world.host(&["status"]).success().stdout.contains("drift (2)"));

        // The next load finds nothing different.
        assert_eq!(outcome(&world.run(&["--run-id", "third"])), ("done", "committed", Vec::new()));
    }
}

#[test]
fn table_of_runs_has_the_status_of_drift() {
    let world = World::new(ORDERS).with_postgres();
    world.run(&["--run-id", "first"]);
    world.mssql.execute(&CHANGED);
    world.run(&["--run-id", "second"]);
    let runs =
        "SELECT string_agg(status || ' ' || tables_drift, ', ' ORDER BY started_at) FROM datakit_host.datakit_runs";
    assert_eq!(world.postgres(runs), "done 0, drift 1");
    let rows = sink_rows("\"ERP_dbo\".orders", "id, note, amount, extra");
    assert_eq!(world.postgres(&rows), "1 a 10, 1 10, 2 b 20, 2 20, 3 30 300");
}

#[test]
fn frozen_tables_are_named_by_pattern_and_keep_their_columns() {
    let world =
        World::new(&format!("{ORDERS}\nGO\nCREATE TABLE dbo.items (id int NOT NULL PRIMARY KEY)")).with_postgres();
    world.edit("mode = \"append\"", "mode = \"append\"\ndrift = { \"dbo.*\" = \"freeze\", \"dbo.items\" = \"fail\" }");
    world.run(&[]);
    world.mssql.execute(&["ALTER TABLE dbo.orders ADD extra int NULL", "ALTER TABLE dbo.items ADD extra int NULL"]);
    for _ in 0..2 {
        let run = world.host(&["run", "--output", "json"]);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        let summary = run.json();
        let (items, orders) = (&summary["tables"][0], &summary["tables"][1]);
        assert_eq!((&items["error"]["code"], &summary["status"]), (&json!("DK-SNK-008"), &json!("failed")));
        assert_eq!(
            (orders["status"].as_str(), changes(&orders["drift"])),
            (Some("committed"), vec!["left_out extra".to_owned()])
        );
    }
    let columns =
        "SELECT count(*)::text FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'extra'";
    assert_eq!(world.postgres(columns), "0");
    // The flag counts for all tables.
    let evolved = world.run(&["--drift", "evolve"]);
    assert_eq!(
        (&evolved["status"], changes(&evolved["tables"][0]["drift"])),
        (&json!("drift"), vec!["added extra".to_owned()])
    );
    assert_eq!(world.postgres(columns), "1");
}

#[test]
fn wider_type_is_taken_over_by_postgres_and_needs_a_full_refresh_of_delta() {
    let wider = [
        "ALTER TABLE dbo.orders ALTER COLUMN amount bigint NULL",
        "INSERT INTO dbo.orders VALUES (3, N'c', 5000000000)",
    ];
    let world = World::new(ORDERS).with_postgres();
    world.run(&[]);
    world.mssql.execute(&wider);
    assert_eq!(
        outcome(&world.run(&["--mode", "overwrite"])),
        ("drift", "committed", vec!["widened amount".to_owned()])
    );
    assert_eq!(world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, amount")), "1 10, 2 20, 3 5000000000");
    // The other way round: the table keeps the wider type.
    world
        .mssql
        .execute(&["DELETE FROM dbo.orders WHERE id = 3", "ALTER TABLE dbo.orders ALTER COLUMN amount int NULL"]);
    assert_eq!(outcome(&world.run(&[])), ("drift", "committed", vec!["kept amount".to_owned()]));
    assert_eq!(outcome(&world.run(&[])), ("done", "committed", Vec::new()));

    let world = World::new(ORDERS);
    world.run(&[]);
    world.mssql.execute(&wider);
    let refused = world.host(&["run", "--output", "json"]);
    let error = &refused.json()["tables"][0]["error"];
    assert_eq!(error["code"], "DK-SNK-008", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{error}");
    let plan = world.host(&["plan"]).success();
    assert!(plan.stderr.contains("dbo.orders may fail: DK-SNK-008"), "{}", plan.stderr);
    assert_eq!(outcome(&world.run(&["--full-refresh"])), ("drift", "committed", vec!["replaced amount".to_owned()]));
    assert!(world.delta("ERP/dbo/orders").contains("5000000000"));
}

#[test]
fn full_refresh_takes_all_columns_of_the_source() {
    let world = World::new(ORDERS).with_postgres();
    world.run(&[]);
    world.mssql.execute(&[
        "DROP TABLE dbo.orders",
        "CREATE TABLE dbo.orders (id nvarchar(10) NOT NULL PRIMARY KEY, other int NULL)",
        "INSERT INTO dbo.orders VALUES (N'x', 1)",
    ]);
    let summary = world.run(&["--full-refresh"]);
    assert_eq!(
        outcome(&summary),
        (
            "drift",
            "committed",
            ["added other", "dropped amount", "dropped note", "replaced id"].map(str::to_owned).to_vec()
        )
    );
    assert_eq!(world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, other")), "x 1");
}

/// A column that comes with a default changes no row for Change Tracking: rows that do not change later keep null.
#[test]
fn merge_by_change_tracking_goes_on_with_added_and_dropped_columns() {
    let world = World::new(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\n\
         INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b')",
    )
    .with_postgres();
    let load = || world.run(&["--mode", "merge", "--settings", AUTO]);
    load();
    world.mssql.execute(&["ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7"]);
    // Without a changed row the column is there all the same, and said once.
    assert_eq!(outcome(&load()), ("drift", "committed", vec!["added n".to_owned()]));
    assert_eq!(outcome(&load()).0, "done");
    world.mssql.execute(&["UPDATE dbo.orders SET note = N'c' WHERE id = 2", "DELETE FROM dbo.orders WHERE id = 1"]);
    world
        .mssql
        .execute(&["INSERT INTO dbo.orders VALUES (3, N'd', 8)", "INSERT INTO dbo.orders (id, note) VALUES (4, N'e')"]);
    assert_eq!(outcome(&load()).0, "done");
    assert_eq!(world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, note, n")), "2 c 7, 3 d 8, 4 e 7");
    world.mssql.execute(&["ALTER TABLE dbo.orders DROP COLUMN note", "UPDATE dbo.orders SET n = 9 WHERE id = 3"]);
    assert_eq!(outcome(&load()), ("drift", "committed", vec!["dropped note".to_owned()]));
    assert_eq!(
        world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, note, n")),
        "2 c 7, 3 d 9, 4 e 7",
        "old values stay"
    );
}

/// The capture instance that is there does not have the column: its values are missing until a second instance begins, and what was
/// written in between is read by a full refresh alone.
#[test]
fn column_that_is_not_captured_is_missing_until_a_full_refresh() {
    let world = World::new(
        "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL\nGO\n\
         INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b')",
    )
    .with_postgres();
    let by_cdc = ["--mode", "merge", "--settings", r#"{"strategy": {"dbo.orders": "cdc"}}"#, "--tables", "dbo.orders"];
    world.run(&by_cdc);
    world
        .mssql
        .execute(&["ALTER TABLE dbo.orders ADD n int NULL", "UPDATE dbo.orders SET n = 5, note = N'c' WHERE id = 1"]);
    assert_eq!(outcome(&world.run(&by_cdc)), ("drift", "committed", vec!["added n".to_owned()]));
    assert_eq!(world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, note, n")), "1 c, 2 b");
    world.mssql.execute(&["EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL, @capture_instance = N'second'"]);
    world.mssql.execute(&["UPDATE dbo.orders SET n = 6 WHERE id = 2"]);
    let mut all = vec!["run", "--output", "json"];
    all.extend(by_cdc);
    let failed = world.host(&all);
    let error = &failed.json()["tables"][0]["error"];
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{error}");
    world.run(&["--full-refresh", by_cdc[2], by_cdc[3], by_cdc[4], by_cdc[5]]);
    assert_eq!(world.postgres(&sink_rows("\"ERP_dbo\".orders", "id, note, n")), "1 c 5, 2 b 6");
}

#[test]
fn merge_by_the_log_takes_a_new_column_and_a_default_needs_a_full_refresh() {
    let world = PostgresWorld::with_logical_decoding(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);
         INSERT INTO orders VALUES (1, 'a'), (2, 'b');
         CREATE PUBLICATION bronze FOR TABLE orders",
    )
    .with_postgres_sink();
    let load = || world.run(&["--mode", "merge", "--settings", AUTO]);
    load();
    world.execute("ALTER TABLE orders ADD extra int; UPDATE orders SET extra = 5 WHERE id = 2");
    assert_eq!(outcome(&load()), ("drift", "committed", vec!["added extra".to_owned()]));
    assert_eq!(world.sink(&sink_rows("\"SHOP_public\".orders", "id, note, extra")), "1 a, 2 b 5");
    world.execute("ALTER TABLE orders DROP note; INSERT INTO orders VALUES (3, 6)");
    assert_eq!(outcome(&load()), ("drift", "committed", vec!["dropped note".to_owned()]));
    assert_eq!(world.sink(&sink_rows("\"SHOP_public\".orders", "id, note, extra")), "1 a, 2 b 5, 3 6");

    world.execute("UPDATE orders SET extra = 1 WHERE id = 1; ALTER TABLE orders ADD n int DEFAULT 7; UPDATE orders SET extra = 2 WHERE id = 2");
    let failed = world.host(&["run", "--output", "json", "--mode", "merge", "--settings", AUTO]);
    let error = &failed.json()["tables"][0]["error"];
    assert!(error["hint"].as_str().unwrap().contains("--full-refresh"), "{error}");
    world.run(&["--full-refresh", "--settings", AUTO]);
    assert_eq!(world.sink(&sink_rows("\"SHOP_public\".orders", "id, extra, n")), "1 1 7, 2 2 7, 3 6 7");
}

#[test]
fn load_by_a_watermark_goes_on_with_other_columns() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, changed_at timestamptz NOT NULL, note text);
         INSERT INTO orders VALUES (1, '2026-01-01', 'a')",
    );
    let settings = r#"{"watermark": {"public.orders": {"column": "changed_at"}}}"#;
    let load = || world.run(&["--settings", settings]);
    load();
    world.execute("ALTER TABLE orders ADD extra int, DROP note; INSERT INTO orders VALUES (2, '2026-01-02', 5)");
    let second = load();
    assert_eq!(
        (second["status"].as_str(), changes(&second["tables"][0]["drift"])),
        (Some("drift"), ["added extra", "dropped note"].map(str::to_owned).to_vec())
    );
    assert_eq!(load()["status"], "done");
    let table = world.delta("SHOP/public/orders");
    assert!(table.contains("\"extra\": 5") && table.contains("\"note\": \"a\""), "{table}");
}

//! Loads of changes: a rejected change counts as read, and says what it was.

use datakit_tests::{PostgresWorld, World};

use super::{column_texts, counts, rejected};

const AUTO: &str = r#"{"strategy": {"*.*": "auto"}}"#;

/// `dbo.orders` is loaded by a strategy of SQL Server, whose set-up these batches are.
fn changes_of_sql_server(setup: &str, strategy: &str, operation: &str) {
    let world = World::new(&format!(
        "{setup}\nGO\nINSERT INTO dbo.orders VALUES (1, N'one'), (2, N'two' + NCHAR(55357)), (3, N'three')"
    ));
    world.edit("mode = \"append\"", &rejected("max_rows = 2, max_share = 1"));
    let of_orders = ["--tables", "dbo.orders", "--settings", AUTO];
    let plan = world.host(&[&["plan"], of_orders.as_slice()].concat()).success();
    assert!(plan.stdout.contains(strategy), "{}", plan.stdout);
    let load = || world.run(&of_orders);
    assert_eq!(counts(&load()), (2, 1), "the first copy");
    world.mssql.execute(&[
        "UPDATE dbo.orders SET note = N'uno' + NCHAR(55357) WHERE id = 1",
        "UPDATE dbo.orders SET note = N'tres' WHERE id = 3",
    ]);
    let second = load();
    assert_eq!(counts(&second).1, 1, "{second}");
    let found = column_texts(&world.delta("ERP/dbo/orders__rejected"), &["key", "operation", "column", "value"]);
    assert_eq!(
        found,
        [format!("{{\"id\":1}} | {operation} | note | uno\\ud83d"), "{\"id\":2} | read | note | two\\ud83d".to_owned()]
    );
    let third = load();
    assert_eq!(counts(&third), (0, 0), "a rejected change counts as read: {third}");
    assert_eq!(column_texts(&world.delta("ERP/dbo/orders__rejected"), &["key"]).len(), 2);
}

#[test]
fn changes_of_change_tracking_are_rejected() {
    let setup = "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING";
    changes_of_sql_server(setup, "change-tracking", "upsert");
}

#[test]
fn changes_of_change_data_capture_are_rejected() {
    let setup = "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL";
    changes_of_sql_server(setup, "cdc", "update");
}

#[test]
fn changes_of_the_log_of_postgres_are_rejected() {
    let world = PostgresWorld::with_logical_decoding(
        "CREATE TABLE people (id int PRIMARY KEY, born date); INSERT INTO people VALUES (1, '2000-01-01'), (2, 'infinity'); \
         CREATE PUBLICATION bronze FOR TABLE people",
    );
    world.edit("mode = \"append\"", &rejected("max_rows = 2, max_share = 1"));
    let load = || world.run(&["--settings", AUTO]);
    assert_eq!(counts(&load()), (1, 1));
    world.execute("UPDATE people SET born = '-infinity' WHERE id = 1; INSERT INTO people VALUES (3, '2001-01-01')");
    assert_eq!(counts(&load()), (1, 1));
    assert_eq!(counts(&load()).1, 0, "a rejected change counts as read");
    let found = column_texts(&world.delta("SHOP/public/people__rejected"), &["key", "operation", "column", "value"]);
    assert_eq!(found, ["{\"id\":1} | update | born | -infinity", "{\"id\":2} | read | born | infinity"]);
    let rows = column_texts(&world.delta("SHOP/public/people"), &["id", "_bronze_operation"]);
    assert_eq!(rows, ["1 | read", "3 | insert"]);
}

#[test]
fn row_of_a_watermarks_boundary_is_rejected_once() {
    let world = PostgresWorld::new(
        "CREATE TABLE people (id int PRIMARY KEY, born date, changed timestamptz NOT NULL); \
         INSERT INTO people VALUES (1, '2000-01-01', '2026-01-01Z'), (2, 'infinity', '2026-01-02Z')",
    );
    world.edit("mode = \"append\"", &rejected("max_rows = 2, max_share = 1"));
    let settings = r#"{"watermark": {"public.people": {"column": "changed"}}}"#;
    let load = || world.run(&["--settings", settings]);
    assert_eq!(counts(&load()), (1, 1));
    let idle = load();
    assert_eq!((counts(&idle), idle["tables"][0]["status"].as_str()), ((0, 0), Some("unchanged")), "{idle}");
    world.execute("INSERT INTO people VALUES (3, '-infinity', '2026-01-02Z'), (4, '2001-01-01', '2026-01-03Z')");
    assert_eq!(counts(&load()), (1, 1));
    // Repaired without a new value of the watermark, within the value up to which rows are read.
    world.execute("INSERT INTO people VALUES (5, 'infinity', '2026-01-03Z')");
    assert_eq!(counts(&load()), (0, 1));
    world.execute("UPDATE people SET born = '2002-01-01' WHERE id = 5");
    assert_eq!(counts(&load()), (1, 0));
    let keys = column_texts(&world.delta("SHOP/public/people__rejected"), &["key", "operation"]);
    assert_eq!(keys, ["{\"id\":2} | read", "{\"id\":3} | upsert", "{\"id\":5} | upsert"]);
}

//! Tables that are loaded by a watermark: each change once, whatever happens between two runs.

use datakit_tests::{PostgresWorld, World};

const BY_CHANGED_AT: &str = r#"{"watermark": {"*.orders": {"column": "changed_at"}}}"#;

/// Of the lines of a table, what a pattern of `"column": "value"` finds, sorted.
fn values(rows: &str, column: &str) -> Vec<String> {
    let start = format!("\"{column}\": ");
    let value = |line: &str| Some(line.split_once(&start)?.1.split([',', '}']).next()?.trim_matches('"').to_owned());
    let mut values: Vec<String> = rows.lines().skip(1).filter_map(value).collect();
    values.sort();
    values
}

#[test]
fn changes_of_a_postgres_table_are_loaded_once() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, note text, changed_at timestamp(6));
         INSERT INTO orders VALUES (1, 'a', '2026-01-01 00:00:00.000001'), (2, 'b', '2026-01-01 00:00:00.000002'),
            (3, 'never changed', NULL)",
    );
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", BY_CHANGED_AT]);
    let table = || world.delta("SHOP/public/orders");
    assert_eq!(load("first")["rows"], 3);
    assert_eq!(values(&table(), "_bronze_operation"), ["read", "read", "read"]);
    assert_eq!(load("second")["rows"], 0, "nothing has changed");
    world.execute(
        "UPDATE orders SET note = 'B', changed_at = '2026-01-01 00:00:00.000003' WHERE id = 2;
         INSERT INTO orders VALUES (4, 'd', '2026-01-01 00:00:00.000004')",
    );
    assert_eq!(load("third")["rows"], 2);
    assert_eq!(load("third")["tables"][0]["status"], "unchanged", "the same run again");
    assert_eq!(values(&table(), "id"), ["1", "2", "2", "3", "4"]);
    assert_eq!(values(&table(), "_bronze_operation"), ["read", "read", "read", "upsert", "upsert"]);
    // The whole table again, and on from there.
    let replaced = world.run(&["--run-id", "anew", "--mode", "overwrite", "--settings", BY_CHANGED_AT]);
    assert_eq!(replaced["rows"], 4);
    assert_eq!(load("on")["rows"], 0);
    assert_eq!(values(&table(), "id"), ["1", "2", "3", "4"]);
}

#[test]
fn change_that_commits_late_is_loaded_by_a_lag_that_is_long_enough() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, changed_at timestamp(3) NOT NULL);
         INSERT INTO orders VALUES (1, '2026-01-01 00:00:00'), (2, '2026-01-01 00:10:00')",
    );
    let late = r#"{"watermark": {"*.orders": {"column": "changed_at", "lag": 300000}}}"#;
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", late])["rows"].clone();
    assert_eq!(load("first"), 1, "the newest five minutes wait");
    world.execute("INSERT INTO orders VALUES (3, '2026-01-01 00:07:00'), (4, '2026-01-01 00:20:00')");
    assert_eq!(load("second"), 2);
    assert_eq!(values(&world.delta("SHOP/public/orders"), "id"), ["1", "2", "3"]);
}

#[test]
fn change_that_commits_late_is_loaded_once_by_an_overlap() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, changed_at timestamp(3) NOT NULL);
         INSERT INTO orders VALUES (1, '2026-01-01 00:00:00'), (2, '2026-01-01 00:10:00')",
    );
    let overlapping = r#"{"watermark": {"*.orders": {"column": "changed_at", "overlap": 300000}}}"#;
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", overlapping])["rows"].clone();
    assert_eq!(load("first"), 2);
    world.execute(
        "INSERT INTO orders VALUES (3, '2026-01-01 00:07:00'), (4, '2026-01-01 00:10:00'), (5, '2026-01-01 00:04:00')",
    );
    assert_eq!(load("second"), 2, "row 5 lies below the overlap");
    assert_eq!(load("third"), 0);
    world.execute("INSERT INTO orders VALUES (6, '2026-01-01 00:11:00')");
    assert_eq!(load("fourth"), 1);
    assert_eq!(values(&world.delta("SHOP/public/orders"), "id"), ["1", "2", "3", "4", "6"]);
}

#[test]
fn many_rows_of_one_value_are_loaded_once() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, changed_at timestamptz NOT NULL DEFAULT now());
         INSERT INTO orders SELECT generate_series(1, 15000)",
    );
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", BY_CHANGED_AT])["rows"].clone();
    assert_eq!(load("first"), 15_000);
    assert_eq!(load("second"), 0, "the position has a hash of each");
    world.execute("INSERT INTO orders SELECT generate_series(15001, 25000), (SELECT max(changed_at) FROM orders)");
    assert_eq!(load("third"), 10_000);
    assert_eq!(load("fourth"), 0, "they are too many for that, and as they were");
    world.execute("INSERT INTO orders VALUES (25001)");
    assert_eq!(load("fifth"), 1);
    assert_eq!(load("sixth"), 0);
}

#[test]
fn changes_of_a_postgres_table_are_loaded_once_into_postgres() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id bigint PRIMARY KEY, changed_at bigint); INSERT INTO orders VALUES (1, 10), (2, 20)",
    )
    .with_postgres_sink();
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", BY_CHANGED_AT])["rows"].clone();
    assert_eq!(load("first"), 2);
    world.execute("INSERT INTO orders VALUES (3, 21)");
    assert_eq!(load("second"), 1);
    assert_eq!(load("third"), 0);
    let rows = "SELECT string_agg(id || ' ' || _bronze_operation || ' ' || _bronze_change_version, ', ' ORDER BY id) \
                FROM \"SHOP_public\".orders";
    assert_eq!(world.sink(rows), "1 read 10, 2 read 20, 3 upsert 21");
}

#[test]
fn changes_of_a_sql_server_table_are_loaded_once() {
    let world = World::new(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, changed_at datetime2(7) NULL)\nGO\n\
         INSERT INTO dbo.orders VALUES (1, '2026-01-01T00:00:00.0000001'), (2, '2026-01-01T00:00:00.0000002'), (3, NULL)",
    );
    let load = |run_id: &str| world.run(&["--run-id", run_id, "--settings", BY_CHANGED_AT]);
    assert_eq!(load("first")["rows"], 3);
    assert_eq!(load("second")["rows"], 0, "nothing has changed");
    world.mssql.execute(&["UPDATE dbo.orders SET changed_at = '2026-01-01T00:00:00.0000003' WHERE id = 1"]);
    assert_eq!(load("third")["rows"], 1, "100 ns later");
    assert_eq!(values(&world.delta("ERP/dbo/orders"), "id"), ["1", "1", "2", "3"]);
    assert_eq!(values(&world.delta("ERP/dbo/orders"), "_bronze_operation"), ["read", "read", "read", "upsert"]);
}

#[test]
fn column_that_is_no_watermark_fails_its_table_with_its_type() {
    let world = PostgresWorld::new("CREATE TABLE orders (id int PRIMARY KEY, changed_at text)");
    let output = world.host(&["run", "--output", "json", "--settings", BY_CHANGED_AT]);
    let error = &output.json()["tables"][0]["error"];
    assert_eq!(error["code"], "DK-SRC-403", "{error}");
    assert!(error["message"].as_str().unwrap().contains("`changed_at` of type text"), "{error}");
}

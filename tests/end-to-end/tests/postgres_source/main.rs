//! Tables of a PostgreSQL server into Bronze, on Delta and on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod changes;
mod partitions;
mod permissions;
mod pooler;
mod row_security;
mod search_path;
mod values;
mod wide;

use datakit_tests::PostgresWorld;

const SHOP: &str = r#"
CREATE SCHEMA sales;
CREATE TYPE sales.state AS ENUM ('open', 'shipped');
CREATE TABLE sales.orders (
    id integer PRIMARY KEY,
    customer varchar(40),
    amount numeric(18,4) NOT NULL,
    ordered_at timestamptz NOT NULL,
    ship_date date,
    state sales.state NOT NULL,
    reference uuid,
    tags text[],
    details jsonb,
    lead_time interval
);
INSERT INTO sales.orders VALUES
    (1, 'Ærø & Søn', 12.5000, '2024-02-29 23:59:59.123456+01', NULL, 'open', '6f9619ff-8b86-d011-b42d-00c04fc964ff', '{a,NULL,"b c"}', '{"b": 1}', '1 day 02:00'),
    (2, NULL, -0.0001, '0001-01-01 00:00:00+00', '9999-12-31', 'shipped', NULL, NULL, NULL, NULL),
    (3, '', 99999999999999.9999, '9999-12-31 23:59:59.999999+00', '0001-01-01', 'open', NULL, '{}', '[]', '-1 mon');
CREATE TABLE "odd "" name, 50%" ("a b" int NOT NULL, "c=d" text);
INSERT INTO "odd "" name, 50%" VALUES (1, 'x'), (2, NULL);
CREATE TABLE empty_table (id bigint PRIMARY KEY, note text);
CREATE VIEW sales.open_orders AS SELECT id, customer FROM sales.orders WHERE state = 'open';
CREATE MATERIALIZED VIEW sales.totals AS SELECT count(*) AS orders FROM sales.orders;
CREATE TABLE sales.parts (id int, year int) PARTITION BY RANGE (year);
CREATE TABLE sales.parts_2023 PARTITION OF sales.parts FOR VALUES FROM (2023) TO (2024);
CREATE TABLE sales.parts_2024 PARTITION OF sales.parts FOR VALUES FROM (2024) TO (2025);
INSERT INTO sales.parts VALUES (1, 2023), (2, 2024);
"#;

#[test]
fn tables_and_views_become_bronze_tables_on_delta() {
    let world = PostgresWorld::new(SHOP);
    let summary = world.run(&["--run-id", "run-1"]);
    assert_eq!(summary["status"], "done");
    let tables: Vec<&str> =
        summary["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    let all = [
        "public.empty_table",
        "public.odd \" name, 50%",
        "sales.open_orders",
        "sales.orders",
        "sales.parts",
        "sales.totals",
    ];
    assert_eq!(tables, all);
    assert_eq!(summary["rows"], 2 + 2 + 3 + 2 + 1);
    let mut rows = world.delta("SHOP/sales/orders");
    // One value a run; the rest is fixed.
    let loaded_at = rows.split("\"_bronze_loaded_at\": \"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    rows = rows.replace(&loaded_at, "[loaded at]");
    let batch = rows.split("\"_bronze_batch_id\": \"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    insta::assert_snapshot!(rows.replace(&batch, "[batch]"));
    // The same run again changes nothing.
    let again = world.run(&["--run-id", "run-1"]);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
    assert_eq!(world.delta("SHOP/sales/orders").lines().count(), 1 + 3);
}

#[test]
fn tables_and_views_become_bronze_tables_on_postgres() {
    let world = PostgresWorld::new(SHOP).with_postgres_sink();
    assert_eq!(world.run(&["--run-id", "run-1"])["rows"], 10);
    let rows = world.sink(
        "SELECT string_agg((to_jsonb(o) - '_bronze_loaded_at' - '_bronze_batch_id')::text, E'\\n' ORDER BY id) FROM \"SHOP_sales\".orders AS o",
    );
    insta::assert_snapshot!(rows);
}

#[test]
fn preview_and_discover_show_what_there_is() {
    let world = PostgresWorld::new(SHOP);
    world.execute("ANALYZE sales.orders, sales.parts");
    insta::assert_snapshot!(world.host(&["discover"]).success().stdout);
    let preview = world.host(&["preview", "--tables", "sales.totals"]).success().stdout;
    assert!(preview.contains("orders"), "{preview}");
}

#[test]
fn a_killed_run_is_done_again_and_every_row_is_there_once() {
    let world = PostgresWorld::new(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1), (2);
         CREATE TABLE rows (id int PRIMARY KEY);
         INSERT INTO rows SELECT generate_series(1, 5000);
         CREATE TABLE pauses (seconds float8); INSERT INTO pauses VALUES (20);
         CREATE VIEW big AS SELECT id, CASE WHEN id = 2500 THEN pg_sleep((SELECT seconds FROM pauses))::text END AS note FROM rows",
    );
    world.edit("tables = [\"*.*\"]", "tables = [\"public.a\", \"public.big\"]");
    let path = world.path().join("warehouse.toml");
    let text = std::fs::read_to_string(&path).unwrap() + "\n[limits.read]\nmax_batch_rows = 100\n";
    std::fs::write(&path, text).unwrap();
    let mut run = world.start(world.command(&["run", "--output", "json", "--parallel", "1", "--run-id", "nightly"]));
    run.wait_until("a file of big is begun", |_| world.path().join("bronze/SHOP/public/big").exists());
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    world.execute("UPDATE pauses SET seconds = 0");
    let again = world.run(&["--run-id", "nightly"]);
    assert_eq!(again["tables"][0]["status"], "unchanged", "{again}");
    assert_eq!(again["rows"], 5000);
    assert!(numbers(&world.delta("SHOP/public/big"), "id").into_iter().eq(1..=5000), "every row once");
    assert_eq!(world.delta("SHOP/public/a").lines().count(), 1 + 2);
    // The killed run's sessions end on the server too.
    assert_eq!(world.source("SELECT count(*)::text FROM pg_stat_activity WHERE state = 'idle in transaction'"), "0");
}

#[test]
fn a_wrong_password_says_what_to_do() {
    let world = PostgresWorld::new("CREATE TABLE t (id int)");
    let mut command = world.command(&["run", "--run-id", "run-1"]);
    command.env("PG_PASSWORD", "Pl4nted-hunter2");
    let output = world.start(command).end();
    assert_eq!(output.code, Some(1));
    assert!(!output.stderr.contains("Pl4nted-hunter2"));
    insta::assert_snapshot!(world.normalise(&output.failure()));
}

#[test]
fn a_table_without_a_grant_fails_and_the_others_are_loaded() {
    let world = PostgresWorld::new(
        "CREATE TABLE granted (id int); INSERT INTO granted VALUES (1);
         CREATE TABLE refused (id int); INSERT INTO refused VALUES (1);
         CREATE ROLE reader LOGIN PASSWORD 'Pl4nted test password'; GRANT SELECT ON granted TO reader",
    );
    world.edit("user = \"postgres\"", "user = \"reader\"");
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!(output.table_errors());
    assert_eq!(world.delta("SHOP/public/granted").lines().count(), 1 + 1);
}

/// The numbers of a column, in order.
fn numbers(delta: &str, column: &str) -> Vec<i64> {
    let rows = delta.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut numbers: Vec<i64> = rows.map(|row| row[column].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

//! Tables that are emptied, replaced or rewritten while a run reads another one.

use datakit_tests::PostgresWorld;

/// Runs `change` when the run has its snapshot and waits in the first table, and gives the run's output.
fn run_during(world: &PostgresWorld, change: &str, arguments: &[&str]) -> datakit_tests::Output {
    let script = format!(
        "DO $$ BEGIN
            PERFORM pg_advisory_xact_lock(15);
            WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) LOOP
                PERFORM pg_sleep(0.01);
            END LOOP;
            {change}
         END $$"
    );
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| world.execute(&script));
        while world.source("SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND granted") == "0" {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut all = vec!["run", "--output", "json", "--parallel", "1"];
        all.extend(arguments);
        let output = world.host(&all);
        changing.join().unwrap();
        output
    })
}

const TABLES: &str = "
    CREATE VIEW a_slow AS SELECT 1 AS id, pg_advisory_xact_lock_shared(15)::text AS waited;
    CREATE TABLE mart AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 1000) AS i;
    CREATE TABLE untouched AS SELECT i AS id FROM generate_series(1, 10) AS i;
    CREATE TABLE y_alter AS SELECT i AS id FROM generate_series(1, 1000) AS i;
    CREATE TABLE z_dim AS SELECT i AS id, 'v' || i AS v FROM generate_series(1, 1000) AS i;
    CREATE VIEW over_dim AS SELECT id FROM z_dim;
    CREATE TABLE parted (id int) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
    INSERT INTO parted SELECT generate_series(0, 19);";

/// What a swap by dbt, a truncate-and-load and a rewrite do; nobody else ever sees an empty table.
const CHANGE: &str = "
    CREATE TABLE mart_new AS SELECT i AS id, 'n' || i AS v FROM generate_series(1, 1001) AS i;
    ALTER TABLE mart RENAME TO mart_old;
    ALTER TABLE mart_new RENAME TO mart;
    DROP TABLE mart_old;
    TRUNCATE z_dim;
    INSERT INTO z_dim SELECT i, 'n' || i FROM generate_series(1, 1002) AS i;
    TRUNCATE parted_1;
    INSERT INTO parted SELECT generate_series(0, 4);
    ALTER TABLE y_alter ALTER COLUMN id TYPE bigint;";

#[test]
fn tables_changed_under_the_snapshot_fail_and_the_same_run_again_reads_them() {
    let world = PostgresWorld::new(TABLES);
    let output = run_during(&world, CHANGE, &["--run-id", "nightly"]);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let summary = output.json();
    let lines: Vec<String> = summary["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let error = format!("{} {}", text(&table["error"]["code"]), text(&table["error"]["message"]));
            format!("{} {} {} {}", text(&table["table"]), text(&table["status"]), table["rows"], error.trim())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    let again = world.run(&["--run-id", "nightly"]);
    assert_eq!(again["status"], "done", "{again}");
    let counted: Vec<String> = ["a_slow", "mart", "over_dim", "parted", "untouched", "y_alter", "z_dim"]
        .map(|table| {
            let found = world.delta(&format!("SHOP/public/{table}")).lines().count() - 1;
            let there = world.source(&format!("SELECT count(*)::text FROM {table}"));
            format!("{table} {found} of {there}")
        })
        .into();
    assert_eq!(
        counted,
        [
            "a_slow 1 of 1",
            "mart 1001 of 1001",
            "over_dim 1002 of 1002",
            "parted 15 of 15",
            "untouched 10 of 10",
            "y_alter 1000 of 1000",
            "z_dim 1002 of 1002"
        ]
    );
}

#[test]
fn read_committed_reads_what_replaced_a_table() {
    let world = PostgresWorld::new(TABLES);
    let settings = r#"{"isolation": "read_committed", "exclude": ["public.y_alter"]}"#;
    let summary = run_during(&world, CHANGE, &["--settings", settings]).success().json();
    assert_eq!(summary["status"], "done");
    assert_eq!(world.delta("SHOP/public/mart").lines().count(), 1 + 1001);
    assert_eq!(world.delta("SHOP/public/z_dim").lines().count(), 1 + 1002);
}

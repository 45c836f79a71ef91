//! Values of PostgreSQL that Arrow, the row hash or the sink does not have.

use datakit_tests::PostgresWorld;
use serde_json::{Value, json};

use super::{column_texts, counts, error, rejected};

const PEOPLE: &str = "CREATE TABLE people (id int NOT NULL, part text NOT NULL, born date, amount numeric(9,2), woke time, \
    seen timestamptz, PRIMARY KEY (part, id)); \
    INSERT INTO people VALUES (1, 'a', '2000-01-01', 1, '07:00', '2026-01-01Z'), (2, 'a', 'infinity', 2, '08:00', NULL), \
    (3, 'b', '2001-01-01', 'NaN', '09:00', NULL), (4, 'b', '2002-01-01', 4, '24:00', NULL), \
    (5, 'b', NULL, 5, NULL, '-infinity'), (6, 'b', NULL, NULL, NULL, NULL)";

const TABLE: &str = "SHOP/public/people";
const REJECTED: &str = "SHOP/public/people__rejected";

fn world(rule: &str) -> PostgresWorld {
    let world = PostgresWorld::new(PEOPLE);
    world.edit("mode = \"append\"", &rejected(rule));
    world
}

#[test]
fn rows_with_bad_values_are_rejected_with_key_column_reason_and_value() {
    let world = world("max_rows = 4, max_share = 0.7");
    let arguments = ["run", "--output", "json", "--run-id", "first", "--metrics-file", "metrics.prom"];
    let summary = world.host(&arguments).success().json();
    assert_eq!(counts(&summary), (2, 4), "{summary}");
    let receipt = &summary["tables"][0]["receipt"];
    assert_eq!([&receipt["delivered"], &receipt["held"], &receipt["rejected"]], [&json!(6), &json!(2), &json!(4)]);
    assert_eq!(column_texts(&world.delta(TABLE), &["id"]), ["1", "6"]);
    let found = column_texts(&world.delta(REJECTED), &["key", "column", "value", "operation", "source_file", "text"]);
    assert_eq!(
        found,
        [
            "{\"part\":\"a\",\"id\":2} | born | infinity | - | - | -",
            "{\"part\":\"b\",\"id\":3} | amount | NaN | - | - | -",
            "{\"part\":\"b\",\"id\":4} | woke | 24:00:00 | - | - | -",
            "{\"part\":\"b\",\"id\":5} | seen | -infinity | - | - | -",
        ]
    );
    let reasons = column_texts(&world.delta(REJECTED), &["reason"]);
    assert!(reasons.contains(&"an infinite date".to_owned()), "{reasons:?}");
    let load_ids = column_texts(&world.delta(REJECTED), &["load_id"]);
    let loads = column_texts(&world.delta(TABLE), &["_bronze_batch_id"]);
    assert_eq!(load_ids, [loads.clone(), loads].concat(), "those of the load");

    let metrics = std::fs::read_to_string(world.path().join("metrics.prom")).unwrap();
    let counts = |line: &&str| line.starts_with("datakit_rows_rejected_total{") && line.ends_with("} 4");
    assert_eq!(metrics.lines().filter(counts).count(), 1, "{metrics}");
    let record = &world.host(&["runs", "show", "first", "--output", "json"]).success().json()[0];
    assert_eq!(record["tables"][0]["rejected"], 4, "{record}");
}

#[test]
fn bad_value_fails_its_table_where_no_row_may_be_rejected() {
    let world = PostgresWorld::new(PEOPLE);
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(error(&output.json()).0, "DK-SRC-151");
    world.edit("mode = \"append\"", &rejected("max_rows = 0"));
    let (code, message) = error(&world.host(&["run", "--output", "json"]).json());
    assert_eq!(code, "DK-RUN-072", "{message}");
    assert!(!world.path().join("bronze").join(REJECTED).exists());
}

#[test]
fn masked_values_are_kept_nowhere() {
    let world = world("max_rows = 4, max_share = 1, values = \"masked\"");
    world.run(&[]);
    let found = column_texts(&world.delta(REJECTED), &["key", "column", "value"]);
    assert_eq!(found[0], "{\"part\":\"a\",\"id\":2} | born | -");
    assert!(found.iter().all(|row| row.ends_with(" | -")), "{found:?}");
}

/// The row hash knows the years 0001 to 9999.
#[test]
fn dates_that_the_row_hash_does_not_take_reject_their_rows() {
    let world = PostgresWorld::new(
        "CREATE TABLE eras (id int PRIMARY KEY, day date NOT NULL); \
         INSERT INTO eras VALUES (1, '2026-01-01'), (2, '0044-03-15 BC'), (3, '10000-01-01')",
    );
    world.edit("mode = \"append\"", &rejected("max_rows = 2, max_share = 1"));
    let summary = world.run(&["--run-id", "hashed"]);
    assert_eq!(counts(&summary), (1, 2), "{summary}");
    let found = column_texts(&world.delta("SHOP/public/eras__rejected"), &["key", "column", "reason"]);
    assert!(found[0].starts_with("{\"id\":2} | day | the value cannot be hashed"), "{found:?}");
    let settings = r#"{"row_hash": false}"#;
    assert_eq!(counts(&world.run(&["--settings", settings])), (3, 0), "without the hash they are values like others");
}

#[test]
fn rows_go_into_a_table_of_postgres_and_an_older_one_gets_the_new_columns() {
    let world = PostgresWorld::new(PEOPLE).with_postgres_sink();
    world.edit("mode = \"append\"", &rejected("max_rows = 4, max_share = 1"));
    assert_eq!(counts(&world.run(&["--run-id", "first"])), (2, 4));
    let listed = "SELECT string_agg(concat_ws(' ', key, \"column\", value), ', ' ORDER BY key) \
         FROM \"SHOP_public\".people__rejected WHERE load_id = (SELECT load_id FROM \"SHOP_public\".people__rejected \
         ORDER BY loaded_at DESC LIMIT 1)";
    let expected = "{\"part\":\"a\",\"id\":2} born infinity, {\"part\":\"b\",\"id\":3} amount NaN, \
         {\"part\":\"b\",\"id\":4} woke 24:00:00, {\"part\":\"b\",\"id\":5} seen -infinity";
    assert_eq!(world.sink(listed), expected);
    // As the table was when only files had rejected rows.
    world.execute_on_sink(
        "UPDATE \"SHOP_public\".people__rejected SET source_file = 'f', source_line = 1, text = 't'; \
         ALTER TABLE \"SHOP_public\".people__rejected DROP COLUMN key, DROP COLUMN operation, DROP COLUMN \"column\", \
         DROP COLUMN value, ALTER COLUMN source_file SET NOT NULL, ALTER COLUMN source_line SET NOT NULL, \
         ALTER COLUMN text SET NOT NULL",
    );
    assert_eq!(counts(&world.run(&["--run-id", "second"])), (2, 4));
    assert_eq!(world.sink(listed), expected);
}

/// The server looks at texts before it sends them, and ends the query.
#[test]
fn text_that_the_server_refuses_to_send_fails_its_table() {
    let world = PostgresWorld::new("CREATE TABLE nothing (id int)");
    let name = "latin";
    world.execute(&format!(
        "CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    world.edit("database = \"postgres\"", &format!("database = \"{name}\""));
    world.execute_in(
        name,
        "CREATE TABLE t (id int PRIMARY KEY, note text); \
         INSERT INTO t VALUES (1, 'fine'), (2, E'a\\xff')",
    );
    world.edit("mode = \"append\"", &rejected("max_rows = 1, max_share = 1"));
    let (code, message) = error(&world.host(&["run", "--output", "json", "--tables", "public.t"]).json());
    assert_eq!(code, "DK-SRC-138", "{message}");
    assert!(!world.path().join("bronze/SHOP/public/t__rejected").exists());
}

#[test]
fn same_run_again_does_not_reject_a_row_twice() {
    let world = world("max_rows = 9, max_share = 1");
    world.run(&["--run-id", "nightly"]);
    // As if the run had been killed between the commits of the two tables.
    std::fs::remove_dir_all(world.path().join("bronze").join(TABLE)).unwrap();
    assert_eq!(counts(&world.run(&["--run-id", "nightly"])), (2, 4));
    assert_eq!(column_texts(&world.delta(REJECTED), &["key"]).len(), 4);
    // A bad value that came meanwhile is not lost.
    std::fs::remove_dir_all(world.path().join("bronze").join(TABLE)).unwrap();
    world.execute("INSERT INTO people VALUES (7, 'c', 'infinity', 1, NULL, NULL)");
    assert_eq!(counts(&world.run(&["--run-id", "nightly"])), (2, 5));
    let keys = column_texts(&world.delta(REJECTED), &["key"]);
    assert!(keys.contains(&"{\"part\":\"c\",\"id\":7}".to_owned()), "{keys:?}");
    let unchanged: Value = world.run(&["--run-id", "nightly"]);
    assert_eq!(unchanged["tables"][0]["status"], "unchanged");
    assert_eq!(column_texts(&world.delta(REJECTED), &["key"]).len(), keys.len());
}

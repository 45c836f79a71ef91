//! Beyond a bound the table fails, and nothing of it is visible.

use datakit_tests::PostgresWorld;

use super::{counts, error, rejected};

/// A thousand rows in partitions of a hundred; of these keys the date is infinite.
fn world(bad: &[u32], rule: &str) -> PostgresWorld {
    let bad: Vec<String> = bad.iter().map(ToString::to_string).collect();
    let script = format!(
        "CREATE TABLE days (id int PRIMARY KEY, day date); \
         INSERT INTO days SELECT i, '2026-01-01' FROM generate_series(1, 1000) AS i; \
         UPDATE days SET day = 'infinity' WHERE id IN ({}); ANALYZE days",
        bad.join(", ")
    );
    let world = PostgresWorld::new(&script);
    world.edit("mode = \"append\"", &rejected(rule));
    world
}

const CUT: &str = r#"{"partition_row_threshold": 100, "partition_rows": 100, "partition_by": "key"}"#;

/// The error of a run whose table fails, and that it left nothing.
fn failure(world: &PostgresWorld) -> (String, String) {
    let output = world.host(&["run", "--output", "json", "--settings", CUT]);
    assert_ne!(output.code, Some(0), "{}", output.stderr);
    for table in ["days", "days__rejected"] {
        assert!(!world.path().join("bronze/SHOP/public").join(table).join("_delta_log").exists(), "{table}");
    }
    error(&output.json())
}

#[test]
fn number_of_rows_is_bounded_over_all_partitions() {
    let bad = [50, 250, 950];
    let world = world(&bad, "max_rows = 2, max_share = 1");
    let (code, message) = failure(&world);
    assert_eq!(code, "DK-RUN-072");
    assert!(message.starts_with("at least 3 rows are bad, and `rejected` of the ingest allows 2 rows"), "{message}");
    for id in bad {
        assert!(message.contains(&format!("key {{\"id\":{id}}}, column `day`: an infinite date")), "{message}");
    }
    world.edit("max_rows = 2", "max_rows = 3");
    let summary = world.run(&["--settings", CUT]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() > 2, "{summary}");
    assert_eq!(counts(&summary), (997, 3));
}

#[test]
fn number_of_rows_is_bounded_within_a_partition() {
    let bad: Vec<u32> = (1..=90).collect();
    let (code, message) = failure(&world(&bad, "max_rows = 10, max_share = 1"));
    assert_eq!(code, "DK-RUN-072");
    assert!(message.contains("allows 10 rows"), "{message}");
}

#[test]
fn share_of_rows_is_bounded() {
    let world = world(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], "max_rows = 100");
    let (code, message) = failure(&world);
    assert_eq!(code, "DK-RUN-073");
    assert!(message.starts_with("11 of 1000 rows are bad, a share of 0.011000"), "{message}");
    assert!(message.contains("allows a share of 0.01: key {\"id\":1}"), "{message}");
    world.edit("max_rows = 100", "max_rows = 100, max_share = 0.011");
    assert_eq!(counts(&world.run(&["--settings", CUT])), (989, 11));
}

#[test]
fn masked_errors_name_no_keys() {
    let (_, message) = failure(&world(&[50, 250], "max_rows = 1, max_share = 1, values = \"masked\""));
    assert!(message.contains("column `day`: an infinite date") && !message.contains("\"id\""), "{message}");
}

#[test]
fn settings_of_rejected_rows_are_checked() {
    let world = world(&[1], "max_rows = 1, max_share = 1.5");
    let refused = world.host(&["run"]);
    assert!(refused.stderr.contains("a share is a number from 0 to 1"), "{}", refused.stderr);
    world.edit("max_rows = 1, max_share = 1.5", "max_share = 0.5");
    let refused = world.host(&["run"]);
    assert!(refused.stderr.contains("max_rows"), "{}", refused.stderr);
}

//! The same bounds for files.

use datakit_tests::FilesWorld;
use serde_json::{Value, json};

use super::{counts, rejected};

/// Ten rows, of which the last is bad.
fn world(rule: &str) -> FilesWorld {
    let world = FilesWorld::new();
    let rows: Vec<String> = (1..=9).map(|id| format!("{id},2026-01-01")).collect();
    world.put("days.csv", format!("id,day\n{}\n10,secret\n", rows.join("\n")));
    world.edit("tables = [\"*.*\"]", &format!("tables = [\"*.*\"]\n{}", rejected(rule)));
    world
}

const DATES: &str = r#"{"defaults": {"types": {"day": "date"}}}"#;

#[test]
fn files_have_the_bounds_of_the_ingest() {
    let world = world("max_rows = 1, max_share = 0.1");
    let summary = world.run(&["--settings", DATES]);
    assert_eq!(counts(&summary), (9, 1), "{summary}");
    assert_eq!(world.column("days__rejected", "source_line"), [json!(11)]);
    assert_eq!(world.column("days__rejected", "text"), [json!("10,secret")]);
    assert_eq!(world.column("days__rejected", "key"), [Value::Null]);
}

#[test]
fn share_of_a_files_rows_is_bounded() {
    let refused = world("max_rows = 1").refused(&["--settings", DATES]);
    assert!(refused.starts_with("DK-RUN-073: 1 of 10 rows are bad, a share of 0.100000"), "{refused}");
    assert!(refused.contains("`days.csv`, line 11, column `day`: `secret` is not a date"), "{refused}");
}

#[test]
fn rows_of_files_are_masked_as_a_whole() {
    let world = world("max_rows = 1, max_share = 1, values = \"masked\"");
    world.run(&["--settings", DATES]);
    assert_eq!(world.column("days__rejected", "text"), [Value::Null]);
    assert_eq!(world.column("days__rejected", "reason"), [json!("column `day`: the value is not a date (YYYY-MM-DD)")]);
}

#[test]
fn datakits_own_bound_counts_where_the_ingest_has_none() {
    let world = world("max_rows = 1, max_share = 1");
    world.edit("rejected = { max_rows = 1, max_share = 1 }", "");
    let refused = world.refused(&["--settings", DATES]);
    assert!(refused.starts_with("DK-SRC-230"), "{refused}");
    let allowed = r#"{"max_bad_rows": 1, "defaults": {"types": {"day": "date"}}}"#;
    assert_eq!(counts(&world.run(&["--settings", allowed])), (9, 1), "of any share");
}

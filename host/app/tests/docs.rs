//! docs/events.schema.json and docs/state.schema.json are up to date. `INSTA_UPDATE=always` rewrites them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;

use datakit_app::{event_schema, run_schema, state_schema};
use serde_json::Value;

fn check(file: &str, schema: &Value) {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs")).join(file);
    let expected = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{file} is not up to date: run this test with INSTA_UPDATE=always");
}

#[test]
fn event_schema_is_up_to_date() {
    check("events.schema.json", &event_schema());
}

#[test]
fn state_schema_is_up_to_date() {
    check("state.schema.json", &state_schema());
}

#[test]
fn run_schema_is_up_to_date() {
    check("run.schema.json", &run_schema());
}

/// Flattened into one object, a second key of that name would replace the format's.
#[test]
fn no_event_has_the_key_of_the_format_version() {
    let schema = event_schema();
    let events = schema["oneOf"].as_array().unwrap();
    assert!(!events.is_empty());
    for event in events {
        assert!(event["properties"].get("version").is_none(), "{event}");
    }
}

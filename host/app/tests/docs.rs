//! docs/events.schema.json is up to date. `INSTA_UPDATE=always` rewrites it.

use std::path::PathBuf;

use datakit_app::event_schema;

#[test]
fn event_schema_is_up_to_date() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.schema.json"));
    let expected = serde_json::to_string_pretty(&event_schema()).unwrap() + "\n";
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/events.schema.json is not up to date: run this test with INSTA_UPDATE=always");
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

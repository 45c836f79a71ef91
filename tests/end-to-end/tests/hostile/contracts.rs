//! What a datakit says of a table, held to the rows that it gives.

use datakit_tests::{World, datakit};

use crate::{RUN, attack};

fn world() -> World {
    let world = World::new(
        "CREATE TABLE dbo.t (id int NOT NULL, name nvarchar(60) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, N'a'), (2, N'b')",
    );
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "sqlserver-bronze@0.1.0", "erp", &["dbo.t"]);
    world
}

#[test]
fn watermark_that_is_known_at_the_end_is_committed_with_the_rows() {
    let world = world();
    let settings = r#"{"attack": "last-watermark"}"#;
    let summary = world.host(&[&RUN[..], &["--settings", settings]].concat()).success().json();
    assert_eq!(summary["rows"], 2);
    let state = world.host(&["state", "show", "ERP", "dbo.t", "--output", "json"]).success().json();
    assert_eq!(state["positions"][0]["watermark"], "reached 42", "{state}");
}

/// The key of the test, 32 bytes.
const KEY: &str = "0123456789abcdefghijklmnopqrstuv";
/// HMAC-SHA-256 of `a` and `b`, by Python's `hmac` over the canonical bytes of docs/bronze-columns.md.
const HASHES: [&str; 2] = [
    "2516e6bb93c54db9f3c39e7e62cf5293fc3fcfdc5edf94af5631de8ffbf2e856",
    "b760ed541860182ef6dbe3dc13dc99d9fb8ac9009ac8f75d21b8f56bc152a5d0",
];

#[test]
fn keyed_hash_is_made_with_the_granted_key_which_stays_in_the_host() {
    let world = world();
    std::fs::write(world.path().join("people.key"), KEY).unwrap();
    let key = "[keys.people]\nsecret = { file = \"people.key\" }\n\n[warehouse]";
    world.edit("[warehouse]", key);
    let ask = [&RUN[..], &["--settings", r#"{"attack": "granted-hash"}"#]].concat();
    let refused = world.host(&ask).json();
    assert_eq!(refused["tables"][0]["error"]["code"], "DK-KIT-118", "{refused}");
    world.edit("[[ingest]]", "[[ingest]]\nkeys = [\"people\"]");
    let output = world.host(&ask).success();
    assert_eq!(output.json()["rows"], 2);
    let rows = world.delta("ERP/dbo/t");
    for hash in HASHES {
        assert!(rows.contains(hash), "no {hash} in\n{rows}");
    }
    assert!(!format!("{}{}{rows}", output.stdout, output.stderr).contains(KEY));
}

#[test]
fn plan_that_its_rows_do_not_keep_fails_its_table_and_leaves_nothing() {
    let world = world();
    for (what, code) in [
        ("load-id-without-role", "DK-RUN-016"),
        ("load-id-of-no-column", "DK-RUN-016"),
        ("operation-without-role", "DK-RUN-016"),
        ("version-without-role", "DK-RUN-016"),
        ("keys-that-are-not-there", "DK-RUN-015"),
        ("huge-last-watermark", "DK-KIT-044"),
    ] {
        let settings = format!(r#"{{"attack": "{what}"}}"#);
        let summary = world.host(&[&RUN[..], &["--settings", &settings]].concat()).json();
        assert_eq!(summary["tables"][0]["error"]["code"], code, "{what}: {summary}");
        assert!(!world.path().join("bronze/ERP/dbo/t/_delta_log").exists(), "{what}");
    }
}

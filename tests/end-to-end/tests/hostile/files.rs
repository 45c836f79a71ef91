//! Requests of a stranger's datakit to a source of files, by the real `host`.

use std::os::unix::fs::symlink;

use datakit_tests::{FilesWorld, datakit};
use serde_json::json;

use crate::{RUN, attack, reported};

fn read(schema: &str, name: &str, path: &str, arrow_type: &str) -> String {
    json!({ "read": { "schema": schema, "name": name, "path": path, "type": arrow_type } }).to_string()
}

/// The settings with which the hostile datakit has a table for each request, under its name.
fn requests(cases: &[(&str, &str)]) -> String {
    let request = |(name, text): &(&str, &str)| ((*name).to_owned(), serde_json::from_str(text).unwrap());
    let requests: serde_json::Map<String, serde_json::Value> = cases.iter().map(request).collect();
    json!({ "attack": "queries", "queries": requests }).to_string()
}

#[test]
fn each_request_is_refused_with_its_error_and_nothing_outside_of_the_root_is_read() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id\n1\n");
    world.put("secret/a.csv", "id\nPl4nted\n");
    std::fs::write(world.path().join("outside.csv"), "id\nPl4nted\n").unwrap();
    symlink(world.path().join("outside.csv"), world.path().join("landing/t/link.csv")).unwrap();
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "files-bronze@0.1.0", "landing", &["query.*", "files.t", "!files.secret"]);
    let of = |path: &str| read("files", "t", path, "Utf8");
    let cases = [
        ("path-parent", of("../outside.csv")),
        ("path-parent-within", of("t/../../outside.csv")),
        ("path-absolute", of("/etc/passwd")),
        ("path-link", of("t/link.csv")),
        ("path-of-another-table", of("secret/a.csv")),
        ("path-nul", of("t/a.csv\0")),
        ("path-missing", of("t/none.csv")),
        ("path-long", of(&"a/".repeat(100))),
        ("table-excluded", read("files", "secret", "secret/a.csv", "Utf8")),
        ("table-excluded-case", read("files", "Secret", "secret/a.csv", "Utf8")),
        ("type-unknown", read("files", "t", "t/a.csv", "Decimal128(99, 2)")),
        ("sql", json!({ "sql": "SELECT id FROM t" }).to_string()),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(name, request)| (*name, request.as_str())).collect();
    let output = world.host(&[&RUN[..], &["--settings", &requests(&cases)]].concat());
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    insta::assert_snapshot!(reported(&output, &cases));
    assert!(!output.stdout.contains("Pl4nted") && !output.stderr.contains("Pl4nted"));
}

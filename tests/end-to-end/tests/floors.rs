//! Imports point down. The floors are those of docs/architecture.md; crates of one floor never import each other.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::collections::BTreeMap;
use std::process::Command;

const FLOORS: &[(&str, u8)] = &[
    ("datakit-model", 0),
    ("datakit-net", 0),
    ("datakit-http", 1),
    ("datakit-kerberos", 1),
    ("datakit-stores", 1),
    ("datakit-secrets", 1),
    // Above the kinds of secrets that it refers to.
    ("datakit-config", 2),
    ("datakit-sources", 2),
    ("datakit-sinks", 2),
    ("datakit-wasm", 2),
    ("datakit-registry", 2),
    ("datakit-pipeline", 3),
    ("datakit-cli", 5),
];

#[test]
fn imports_point_down() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (package, dependency) in host_edges() {
        let Some(floor) = floors.get(package.as_str()) else {
            if package.starts_with("datakit-") && floors.contains_key(dependency.as_str()) {
                wrong.push(format!("{package} has no floor, but depends on {dependency}"));
            }
            continue;
        };
        match floors.get(dependency.as_str()) {
            Some(below) if below < floor => {}
            Some(_) => wrong.push(format!("{package} (floor {floor}) imports {dependency}, which is not below it")),
            None if dependency.starts_with("datakit-") => {
                wrong.push(format!("{package} imports {dependency}, which has no floor"))
            }
            None => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_pipeline_knows_both_a_source_and_a_sink() {
    let edges = host_edges();
    let imports = |package: &str, dependency: &str| edges.iter().any(|(p, d)| p == package && d == dependency);
    // cli wires them; below it only pipeline may see what both are.
    for (package, floor) in FLOORS.iter().filter(|(_, floor)| *floor < 3) {
        let both = imports(package, "datakit-sources") && imports(package, "datakit-sinks");
        assert!(!both, "{package} (floor {floor}) knows both");
    }
}

/// Normal dependencies between workspace crates, guests, tests and benchmarks left out.
fn host_edges() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let root = metadata["workspace_root"].as_str().unwrap();
    let mut edges = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let path = package["manifest_path"].as_str().unwrap().strip_prefix(root).unwrap();
        if ["/datakits/", "/tests/", "/benchmarks/", "/scripts/"].iter().any(|folder| path.contains(folder)) {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["kind"].is_null() && dependency["path"].is_string() {
                let name = |v: &serde_json::Value| v["name"].as_str().unwrap().to_owned();
                edges.push((name(package), name(dependency)));
            }
        }
    }
    assert!(!edges.is_empty());
    edges
}

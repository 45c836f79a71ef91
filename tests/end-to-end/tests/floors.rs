//! Imports point down. The floors are those of docs/architecture.md; crates of one floor never import each other.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::collections::BTreeMap;
use std::process::Command;

const FLOORS: &[(&str, u8)] = &[
    ("datakit-model", 0),
    ("datakit-net", 0),
    ("datakit-columnar", 1),
    ("datakit-guard", 1),
    ("datakit-http", 1),
    ("datakit-kerberos", 1),
    ("datakit-parquet", 1),
    ("datakit-secrets", 1),
    ("datakit-stores", 1),
    ("datakit-config", 2),
    ("datakit-quality", 2),
    ("datakit-connect", 3),
    ("datakit-delta", 4),
    ("datakit-files", 4),
    ("datakit-postgres", 4),
    ("datakit-sqlserver", 4),
    ("datakit-registry", 4),
    ("datakit-wasm", 4),
    ("datakit-pipeline", 5),
    ("datakit-connectors", 5),
    ("datakit-app", 6),
    ("datakit-cli", 7),
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
fn the_pipeline_knows_no_connector_and_builds_without_drivers() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal", "--prefix", "none", "--package", "datakit-pipeline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    for heavy in ["deltalake", "tiberius", "mssql-tds", "tokio-postgres", "cranelift-codegen", "wasmtime"] {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{heavy} v"))), "the pipeline builds {heavy}");
    }
}

/// Normal dependencies between workspace crates, guests, tests, examples and benchmarks left out.
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
        if ["/datakits/", "/tests/", "/benchmarks/", "/scripts/", "/examples/"]
            .iter()
            .any(|folder| path.contains(folder))
        {
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

//! Spans of runs, as a collector of OTLP gets them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_tests::{Collector, World, python};
use serde_json::Value;

/// The text of `dbo.b` ends within a character.
const TABLES: &str = "CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.a VALUES (1), (2), (3)\nGO\n\
                      CREATE TABLE dbo.b (note nvarchar(60))\nGO\nINSERT INTO dbo.b VALUES (CAST(0x610000D8 AS nvarchar(60)))";

/// What is in the bodies of requests.
fn spans(world: &World, collector: &Collector) -> Vec<Value> {
    let write = |(at, request): (usize, Vec<u8>)| {
        let path = world.path().join(format!("request-{at}"));
        std::fs::write(&path, request).unwrap();
        path
    };
    let files: Vec<PathBuf> = collector.bodies().into_iter().enumerate().map(write).collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/spans.py");
    let output = Command::new(python()).arg(script).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn run_sends_a_span_of_itself_its_tables_and_their_partitions() {
    let world = World::new(TABLES);
    let collector = Collector::answering("200 OK");
    let mut command = world.command(&[
        "run",
        "--run-id",
        "first",
        "--settings",
        r#"{"partition_row_threshold": 1, "partition_rows": 2}"#,
    ]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=Pl4nted");
    let output = command.output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("Pl4nted"));
    assert!(
        collector.heads().iter().all(|head| head.starts_with("POST /v1/traces ") && head.contains("x-key: Pl4nted"))
    );
    let spans = spans(&world, &collector);
    let named = |name: &str| spans.iter().filter(|span| span["name"] == name).collect::<Vec<_>>();
    let runs = named("run");
    assert_eq!((runs.len(), &runs[0]["attributes"]["run_id"]), (1, &"first".into()), "{spans:?}");
    assert_eq!((&runs[0]["service"], &runs[0]["parent"]), (&"datakit-host".into(), &"".into()));
    let table = |name: &str| *named("table").iter().find(|span| span["attributes"]["table"] == name).unwrap();
    let (a, b) = (table("dbo.a"), table("dbo.b"));
    assert_eq!((&a["parent"], &a["attributes"]["rows"], &a["status"]), (&runs[0]["id"], &3.into(), &0.into()));
    assert_eq!((&b["parent"], &b["status"]), (&runs[0]["id"], &2.into()), "it failed");
    assert!(b["attributes"]["error.type"].as_str().unwrap().contains('-'), "{b}");
    let parts: Vec<&Value> = named("partition").into_iter().filter(|span| span["parent"] == a["id"]).collect();
    assert_eq!(parts.len(), 2, "{spans:?}");
    assert_eq!(parts.iter().map(|part| part["attributes"]["rows"].as_u64().unwrap()).sum::<u64>(), 3);
    assert!(spans.iter().all(|span| span["trace"] == runs[0]["trace"] && span["events"] == 0), "{spans:?}");
}

#[test]
fn collector_that_refuses_spans_fails_no_run() {
    let world = World::new("CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY)");
    let collector = Collector::answering("400 Bad Request");
    let mut command = world.command(&["run", "--run-id", "first"]);
    let output = command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!collector.bodies().is_empty());
}

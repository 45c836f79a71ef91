//! Records of runs, and what `host runs` and `host status` make of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::PathBuf;

use datakit_tests::{FilesWorld, Output};
use serde_json::{Value, json};

/// The table of runs, from the folder of the tables of `landing`.
const TABLE_OF_RUNS: &str = "../../datakit/host/datakit_runs";

fn both() -> [FilesWorld; 2] {
    [FilesWorld::new(), FilesWorld::new().with_postgres()]
}

/// A run with this id that may fail.
fn run(world: &FilesWorld, run_id: &str, more: &[&str]) -> Output {
    world.host(&[&["run", "--run-id", run_id], more].concat())
}

fn records(world: &FilesWorld, run_id: &str) -> Value {
    world.host(&["runs", "show", run_id, "--output", "json"]).success().json()
}

fn list(world: &FilesWorld) -> Value {
    world.host(&["runs", "list", "--output", "json"]).success().json()
}

fn statuses(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|it| (text(&it["run_id"]), text(&it["status"]))).collect()
}

/// Rows of the table of runs of a Delta sink, by run.
fn rows(world: &FilesWorld) -> Vec<Value> {
    let text = world.delta(TABLE_OF_RUNS);
    let mut rows: Vec<Value> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort_by_key(|row| row["run_id"].to_string());
    rows
}

fn documents(world: &FilesWorld, run_id: &str) -> Vec<PathBuf> {
    let folder = world.path().join("bronze/_datakit/runs").join(run_id);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn run_leaves_a_document_and_a_row() {
    for world in both() {
        world.put("a/a.csv", "id\n1\n2\n");
        world.run(&["--run-id", "first"]);
        let found = records(&world, "first");
        let record = &found[0];
        assert_eq!(
            (&record["status"], &record["ingest"], &record["rows"]),
            (&json!("done"), &json!("files-bronze@0.1.0"), &json!(2))
        );
        assert_eq!(record["source_system"], "LANDING", "{record}");
        assert_eq!(record["sources"][0]["connection"], "landing");
        assert!(record["datakit"]["digest"].as_str().unwrap().starts_with("sha256:"));
        assert_eq!(record["grants"]["tables"], "*.*");
        let table = &record["tables"][0];
        assert_eq!((&table["table"], &table["status"]), (&json!("files.a"), &json!("committed")));
        assert_eq!((&table["rows"], &table["retries"], &table["holds"]), (&json!(2), &json!(0), &json!(2)));
        assert_eq!((&table["schema"][0]["name"], &table["position_before"]), (&json!("id"), &Value::Null));
        let after = &table["position_after"];
        assert!(after.is_string(), "{table}");
        assert!(table["started_at"].as_str().unwrap() <= table["ended_at"].as_str().unwrap());
        // The next load begins where this one ended.
        world.put("a/b.csv", "id\n3\n");
        world.run(&["--run-id", "second"]);
        assert_eq!(records(&world, "second")[0]["tables"][0]["position_before"], *after);
        assert_eq!(statuses(&list(&world)).len(), 2);
        assert_eq!(list(&world)[0]["run_id"], "second", "newest first");
        let text = world.host(&["runs", "list"]).success().stdout;
        assert!(text.contains("first") && text.contains("second"), "{text}");
        assert!(world.host(&["runs", "show", "first"]).success().stdout.contains("files.a"));
        assert!(world.host(&["runs", "show", "third"]).failure().contains("DK-CLI-030"));
        let states = world.host(&["state", "list", "--output", "json"]).success().json();
        assert_eq!(states.as_array().unwrap().len(), 1, "the table of runs is no table of a datakit: {states}");
    }
}

#[test]
fn row_of_a_run_is_read_by_others() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n2\n");
    world.run(&["--run-id", "first"]);
    let row = &rows(&world)[0];
    assert_eq!((&row["run_id"], &row["status"], &row["rows"]), (&json!("first"), &json!("done"), &json!(2)));
    assert_eq!((&row["tables_committed"], &row["tables_failed"]), (&json!(1), &json!(0)));
    let world = FilesWorld::new().with_postgres();
    world.put("a/a.csv", "id\n1\n2\n");
    world.run(&["--run-id", "first"]);
    let query = "SELECT run_id || ' ' || status || ' ' || rows FROM datakit_host.datakit_runs";
    assert_eq!(world.postgres(query), "first done 2");
    assert_eq!(world.postgres("SELECT record ->> 'status' FROM _datakit.runs"), "done");
}

#[test]
fn run_that_fails_is_recorded_with_its_error() {
    for world in both() {
        world.put("a/a.csv", "id\n1\n");
        assert_eq!(run(&world, "no-kit", &["files-bronze@9.9.9"]).code, Some(1));
        let record = &records(&world, "no-kit")[0];
        assert_eq!((&record["status"], &record["tables"]), (&json!("failed"), &json!([])), "{record}");
        let code = record["errors"][0]["code"].as_str().unwrap();
        assert!(code.starts_with("DK-REG-"), "{record}");
        let status = world.host(&["status", "--output", "json"]).success().json();
        assert_eq!(status, json!([]), "no table is known yet");
        world.run(&["--run-id", "good"]);
        run(&world, "no-kit-again", &["files-bronze@9.9.9"]);
        let status = world.host(&["status", "--output", "json"]).success().json();
        assert_eq!((&status[0]["loads"], &status[0]["last_error"]["code"]), (&json!(1), &json!(code)), "{status}");
        assert!(status[0]["lag_seconds"].as_f64().unwrap() < 600.0);
    }
}

#[test]
fn same_run_again_has_a_record_of_its_own() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n");
    world.run(&["--run-id", "same"]);
    world.run(&["--run-id", "same"]);
    let found = records(&world, "same");
    let tables: Vec<&Value> = found.as_array().unwrap().iter().map(|record| &record["tables"][0]["status"]).collect();
    assert_eq!(tables, ["unchanged", "committed"]);
    assert_eq!(rows(&world).len(), 2);
}

#[test]
fn runs_that_end_together_all_have_their_rows() {
    for world in both() {
        let names: Vec<String> = (0..8).map(|number| format!("t{number}")).collect();
        names.iter().for_each(|name| world.put(&format!("{name}/a.csv"), "id\n1\n"));
        let start = |name: &String| {
            let tables = format!("files.{name}");
            world.start(world.command(&["run", "--run-id", name, "--tables", &tables, "--output", "json"]))
        };
        let started: Vec<_> = names.iter().map(start).collect();
        for run in started {
            let output = run.end().success();
            assert!(!output.stderr.contains("record of the run"), "{}", output.stderr);
        }
        let done = statuses(&list(&world));
        assert_eq!(done.iter().filter(|(_, status)| status == "done").count(), names.len(), "{done:?}");
        let found = match world.path().join("bronze").exists() {
            true => rows(&world).len().to_string(),
            false => world.postgres("SELECT count(*)::text FROM datakit_host.datakit_runs"),
        };
        assert_eq!(found, names.len().to_string());
    }
}

#[test]
fn record_that_cannot_be_written_is_a_warning() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n");
    fs::create_dir_all(world.path().join("bronze")).unwrap();
    fs::write(world.path().join("bronze/_datakit"), "in the way").unwrap();
    let output = run(&world, "first", &["--output", "json"]).success();
    assert_eq!(output.json()["status"], "done");
    assert!(output.stderr.contains("the record of the run cannot be written"), "{}", output.stderr);
    // What the states know is made up for.
    fs::remove_file(world.path().join("bronze/_datakit")).unwrap();
    let rebuilt = world.host(&["runs", "rebuild", "--output", "json"]).success().json();
    assert_eq!((&rebuilt[0]["records"], &rebuilt[0]["commits_added"]), (&json!(1), &json!(1)));
    let record = &records(&world, "first")[0];
    assert_eq!((&record["status"], &record["tables"][0]["rows"]), (&json!("rebuilt"), &json!(1)));
}

#[test]
fn table_of_runs_is_rebuilt_from_the_records() {
    for world in both() {
        world.put("a/a.csv", "id\n1\n");
        world.run(&["--run-id", "first"]);
        world.put("a/b.csv", "id\n2\n");
        world.run(&["--run-id", "second"]);
        let rebuilt = world.host(&["runs", "rebuild"]).success().stdout;
        assert!(rebuilt.contains("2 records, 0 commits added"), "{rebuilt}");
        assert_eq!(statuses(&list(&world)).len(), 2);
        // And goes on as before.
        world.put("a/c.csv", "id\n3\n");
        world.run(&["--run-id", "third"]);
        if world.path().join("bronze").exists() {
            let runs: Vec<Value> = rows(&world).iter().map(|row| row["run_id"].clone()).collect();
            assert_eq!(runs, ["first", "second", "third"]);
        }
    }
}

/// The state of a killed process: a document of its start, and a commit.
#[test]
fn run_that_was_killed_is_told_from_others() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n");
    world.run(&["--run-id", "killed"]);
    let document = documents(&world, "killed").remove(0);
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&document).unwrap()).unwrap();
    record["status"] = json!("started");
    record["ended_at"] = Value::Null;
    record["tables"] = json!([]);
    fs::write(&document, record.to_string()).unwrap();
    assert_eq!(statuses(&list(&world)), [("killed".to_owned(), "started".to_owned())]);
    let text = world.host(&["runs", "show", "killed"]).success().stdout;
    assert!(text.contains("it is under way, or it was killed"), "{text}");
    world.host(&["runs", "rebuild"]).success();
    let record = &records(&world, "killed")[0];
    assert_eq!((&record["status"], &record["tables"][0]["status"]), (&json!("started"), &json!("committed")));
}

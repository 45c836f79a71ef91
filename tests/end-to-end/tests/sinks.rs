//! What a run does with tables that are there: rows, damaged logs, names that do not fit, features of others.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::process::Command;

use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::{FilesWorld, Output, World};
use serde_json::{Value, json};

const TWO_TABLES: &str = "\
CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY, at datetime2(6) NULL)
GO
INSERT INTO dbo.a VALUES (1, '2024-02-29T12:00:00'), (2, NULL)
GO
CREATE TABLE dbo.b (id int NOT NULL PRIMARY KEY)
GO
INSERT INTO dbo.b VALUES (7)
";

fn table<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let tables = summary["tables"].as_array().unwrap();
    tables.iter().find(|found| found["table"] == name).unwrap_or_else(|| panic!("no {name} in {summary}"))
}

/// `host run` that fails for some tables, and its summary.
fn partly(output: &Output) -> Value {
    assert_eq!(output.code, Some(3), "stdout:\n{}\nstderr:\n{}", output.stdout, output.stderr);
    output.json()
}

const RUN: [&str; 3] = ["run", "--output", "json"];

#[test]
fn second_full_load_needs_a_mode_of_the_operator() {
    for world in [World::new(TWO_TABLES), World::new(TWO_TABLES).with_postgres()] {
        world.edit("mode = \"append\"\n", "");
        let first = world.run(&["--tables", "dbo.a"]);
        assert_eq!(table(&first, "dbo.a")["holds"], json!({ "rows": 2 }));

        // dbo.b is new and loads; dbo.a holds rows.
        let second = partly(&world.host(&RUN));
        let refused = table(&second, "dbo.a");
        assert_eq!((&refused["error"]["code"], &refused["holds"]["rows"]), (&json!("DK-RUN-014"), &json!(2)));
        let hint = refused["error"]["hint"].as_str().unwrap();
        assert!(hint.contains("--mode") && hint.contains("DATAKIT_MODE"), "{hint}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("holds 2 rows already"), "{refused}");
        assert_eq!((&table(&second, "dbo.b")["status"], &second["rows"]), (&json!("committed"), &json!(1)));

        let replaced = world.run(&["--mode", "overwrite"]);
        assert_eq!((&table(&replaced, "dbo.a")["holds"]["rows"], &replaced["rows"]), (&json!(2), &json!(3)));
        let mut command = world.command(&RUN);
        command.env("DATAKIT_MODE", "append");
        let added = world.finish(command).success().json();
        assert_eq!(table(&added, "dbo.a")["holds"]["rows"], 4);
    }
}

#[test]
fn ingest_without_a_mode_is_warned_of_before_a_run() {
    let world = World::new(TWO_TABLES);
    assert!(!world.host(&["validate"]).success().stderr.contains("has no mode"));
    world.edit("mode = \"append\"\n", "");
    let validated = world.host(&["validate"]).success();
    assert!(validated.stderr.contains("ingest 1 (sqlserver-bronze@0.1.0) has no mode"), "{}", validated.stderr);
    assert!(world.host(&["plan"]).success().stderr.contains("the ingest has no mode"));
    assert!(!world.host(&["plan", "--mode", "append"]).success().stderr.contains("has no mode"));
    let mut command = world.command(&["validate"]);
    command.env("DATAKIT_MODE", "overwrite");
    assert!(!world.finish(command).success().stderr.contains("has no mode"));
}

#[test]
fn partly_failed_run_says_how_to_continue_and_what_tables_hold() {
    let world = World::new(TWO_TABLES);
    world.run(&["--tables", "dbo.b"]);
    world.edit("mode = \"append\"\n", "");
    let output = world.host(&["run", "--run-id", "nightly"]);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert!(output.stdout.contains("holds now"), "{}", output.stdout);
    assert!(output.stdout.contains("to continue: `host run --run-id nightly`"), "{}", output.stdout);
    // What is committed under this id stays as it is.
    let continued = world.run(&["--run-id", "nightly", "--mode", "append"]);
    assert_eq!(table(&continued, "dbo.a")["status"], "unchanged");
    assert_eq!((&table(&continued, "dbo.a")["holds"]["rows"], &continued["rows"]), (&json!(2), &json!(1)));
}

#[test]
fn load_that_goes_on_from_its_watermark_needs_no_mode() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id\n1\n");
    assert_eq!(world.run(&[])["rows"], 1);
    world.put("t/b.csv", "id\n2\n");
    let second = world.run(&[]);
    assert_eq!((&second["rows"], &table(&second, "files.t")["holds"]["rows"]), (&json!(1), &json!(2)));
    let everything = world.refused(&["--settings", r#"{"load": "all_files"}"#]);
    assert!(everything.starts_with("DK-RUN-014"), "{everything}");
}

#[test]
fn damaged_log_fails_its_table_alone_and_plan_names_it() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n");
    world.put("b/a.csv", "id\n1\n");
    world.run(&[]);
    let log = world.path().join("bronze/LANDING/files/a/_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, &text[..200]).unwrap();
    world.put("b/b.csv", "id\n2\n");
    let summary = partly(&world.host(&RUN));
    assert_eq!(table(&summary, "files.a")["error"]["code"], "DK-SNK-035");
    assert_eq!((&table(&summary, "files.b")["status"], &summary["rows"]), (&json!("committed"), &json!(1)));
    world.put("b/c.csv", "id\n3\n");
    assert_eq!(world.run(&["--tables", "files.b"])["rows"], 1);
    let planned = world.host(&["plan", "--output", "json"]).json();
    let codes: Vec<&Value> = planned.as_array().unwrap().iter().map(|table| &table["error"]["code"]).collect();
    assert_eq!(codes, [&json!("DK-SNK-035"), &Value::Null]);
}

#[test]
fn name_that_the_sink_cannot_hold_fails_its_table_alone_and_plan_names_it() {
    let world = FilesWorld::new().with_postgres();
    let long = "x".repeat(70);
    world.put(&format!("{long}.csv"), "id\n1\n");
    world.put("b.csv", "id\n1\n");
    let summary = partly(&world.host(&RUN));
    assert_eq!(table(&summary, &format!("files.{long}"))["error"]["code"], "DK-SNK-002");
    assert_eq!(table(&summary, "files.b")["status"], "committed");
    let planned = world.host(&["plan", "--output", "json"]).json();
    let codes: Vec<&Value> = planned.as_array().unwrap().iter().map(|table| &table["error"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!("DK-SNK-002")]);
}

#[test]
fn table_that_may_get_too_wide_is_planned_with_a_warning() {
    let world = FilesWorld::new().with_postgres();
    let columns = |count: usize| (0..count).map(|number| format!("c{number}")).collect::<Vec<_>>().join(",");
    let ones = |count: usize| vec!["1"; count].join(",");
    world.put("near.csv", format!("{}\n{}\n", columns(1_598), ones(1_598)));
    world.put("over.csv", format!("{}\n{}\n", columns(1_601), ones(1_601)));
    world.put("wide.csv", format!("{}\n1{}\n", columns(1_580), ",".repeat(1_579)));
    let planned = world.host(&["plan", "--output", "json"]);
    let codes: Vec<Value> =
        planned.json().as_array().unwrap().iter().map(|table| table["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("DK-SNK-036"), Value::Null]);
    let warned = |table: &str| planned.stderr.contains(&format!("{table} has "));
    assert!(warned("files.near") && !warned("files.wide"), "{}", planned.stderr);
    let summary = partly(&world.host(&RUN));
    assert_eq!(table(&summary, "files.near")["error"]["code"], "DK-SNK-036");
    assert_eq!(table(&summary, "files.wide")["status"], "committed");
}

#[test]
fn sink_that_does_not_answer_ends_the_run() {
    let world = FilesWorld::new().with_postgres();
    world.put("a.csv", "id\n1\n");
    world.put("b.csv", "id\n1\n");
    let text = std::fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
    let port = text.lines().find(|line| line.starts_with("port = ")).unwrap();
    world.edit(port, "port = 9");
    let output = world.host(&RUN);
    let summary = output.json();
    assert!(output.code != Some(0) && summary["tables"].as_array().unwrap().is_empty(), "{summary}");
    assert_eq!(summary["errors"][0]["code"], "DK-SNK-020");
}

#[test]
fn table_whose_properties_delta_rs_has_set_is_loaded_on() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,t\n1,2026-01-01T00:00:00\n");
    world.run(&[]);
    let directory = world.path().join("bronze/LANDING/files/t");
    let script = "import sys; from deltalake import DeltaTable; \
                  DeltaTable(sys.argv[1]).alter.set_table_properties({'delta.logRetentionDuration': 'interval 7 days'})";
    let changed = Command::new(datakit_tests::python()).args(["-c", script]).arg(&directory).status().unwrap();
    assert!(changed.success());
    world.put("t/b.csv", "id,t\n2,2026-01-01T00:00:00\n");
    assert_eq!(world.run(&[])["rows"], 1);
    assert_eq!(world.column("t", "id"), [json!(1), json!(2)]);
}

#[test]
fn write_probe_finds_conditional_writes_honoured_and_leaves_nothing() {
    let world = World::new(TWO_TABLES).with_object_store(ObjectStoreServer::s3().unwrap());
    let links = |arguments: &[&str]| -> Vec<String> {
        let document = world.host(arguments).success().json();
        let chain =
            document["chains"].as_array().unwrap().iter().find(|chain| chain["name"] == "bronze").unwrap().clone();
        let links = chain["links"].as_array().unwrap().iter();
        links.map(|link| format!("{} {}", link["link"].as_str().unwrap(), link["status"].as_str().unwrap())).collect()
    };
    let without = ["settings ok", "store ok", "writable ok"];
    assert_eq!(links(&["doctor", "bronze", "--output", "json"]), without);
    let with = [&without[..], &["conditions ok"]].concat();
    assert_eq!(links(&["doctor", "bronze", "--write-probe", "--output", "json"]), with);
}

#[test]
fn state_of_a_table_is_shown_listed_and_exported() {
    for world in [FilesWorld::new(), FilesWorld::new().with_postgres()] {
        world.put("a/a.csv", "id\n1\n2\n");
        let run = world.run(&[]);
        let shown = world.host(&["state", "show", "LANDING", "files.a", "--output", "json"]).success().json();
        assert_eq!((&shown["load"]["run_id"], &shown["written"]["rows"]), (&run["run_id"], &json!(2)), "{shown}");
        let text = world.host(&["state", "show", "LANDING", "files.a"]).success().stdout;
        assert!(text.contains(run["run_id"].as_str().unwrap()), "{text}");
        let listed = world.host(&["state", "list", "--output", "json"]).success().json();
        assert_eq!((&listed[0]["table"], &listed[0]["sequence"]), (&json!("files.a"), &json!(1)), "{listed}");
        assert!(world.host(&["state", "list"]).success().stdout.contains("files.a"));
        let exported = world.host(&["state", "export"]).success().json();
        assert_eq!((&exported[0]["document"], exported.as_array().unwrap().len()), (&shown, 1));
        let nothing = world.host(&["state", "show", "LANDING", "files.b"]);
        assert!(nothing.failure().contains("DK-CLI-020"));
    }
}

#[test]
fn table_that_was_restored_goes_on_when_the_operator_says_so() {
    let world = FilesWorld::new();
    world.put("a/a.csv", "id\n1\n");
    world.run(&[]);
    world.put("a/b.csv", "id\n2\n");
    world.run(&[]);
    let restore = "import sys; from deltalake import DeltaTable; DeltaTable(sys.argv[1]).restore(0)";
    let table_folder = world.path().join("bronze/LANDING/files/a");
    let restored = Command::new(datakit_tests::python()).args(["-c", restore]).arg(&table_folder).status().unwrap();
    assert!(restored.success());
    world.put("a/c.csv", "id\n3\n");
    let refused = world.host(&RUN).json();
    assert_eq!(table(&refused, "files.a")["error"]["code"], "DK-SNK-045", "{refused}");
    let listed = world.host(&["state", "list", "--output", "json"]);
    assert_eq!((listed.code, &listed.json()[0]["error"]), (Some(1), &json!("DK-SNK-045")));
    let accepted = world.host(&["state", "accept", "LANDING", "files.a"]).success();
    assert!(accepted.stdout.starts_with("LANDING files.a: loads go on from load 2"), "{}", accepted.stdout);
    // Of the file that the RESTORE took away the watermark says that it is loaded.
    assert_eq!(table(&world.run(&[]), "files.a")["holds"]["rows"], 2);
}

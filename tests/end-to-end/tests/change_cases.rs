//! Cases of docs/change-capture-cases.md that need the whole host: a run that ends in the middle, and the next one.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Effect, Fault, Place, SqlEngineOptions};
use datakit_tests::{Mssql, World};
use serde_json::Value;

/// A world of the fake SQL Server, read in batches of two rows.
fn world(reason: &str, script: &str) -> Option<World> {
    let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
    let world = World::with(mssql, script);
    world.append("[limits.read]\nmax_batch_rows = 2");
    Some(world)
}

/// Operation and key of all rows, sorted.
fn rows(world: &World) -> Vec<String> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        format!("{} {}", row["_bronze_operation"].as_str().unwrap(), row["id"])
    };
    let mut rows: Vec<String> = world.delta("ERP/dbo/t").lines().skip(1).map(row).collect();
    rows.sort();
    rows
}

#[test]
fn killed_run_within_a_captured_transaction_is_read_again_whole() {
    let script = "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)\nGO\n\
                  EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL\nGO\n\
                  INSERT INTO dbo.t VALUES (0)";
    let Some(world) = world("a server that pauses within a result is the fake one", script) else { return };
    let settings = r#"{"strategy": {"dbo.t": "cdc"}}"#;
    let arguments = ["run", "--output", "json", "--tables", "dbo.t", "--settings", settings];
    world.host(&arguments).success();
    let changes: Vec<String> = (1..=6).map(|id| format!("INSERT INTO dbo.t VALUES ({id})")).collect();
    world.mssql.execute(&[&format!("BEGIN TRANSACTION; {}; COMMIT", changes.join("; "))]);
    let (is_reached, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (reached, over) = (Arc::clone(&is_reached), Arc::clone(&is_over));
    world.mssql.engine().set_hook(Some(Arc::new(move |moment| {
        if moment.statement.contains("fn_cdc_get_all_changes_dbo_t") && moment.place == Place::Row(5) {
            reached.store(true, Ordering::Relaxed);
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    })));
    let mut run = world.start(world.command(&arguments));
    run.wait_until("rows are read", |_| is_reached.load(Ordering::Relaxed));
    run.signal("KILL");
    run.end();
    is_over.store(true, Ordering::Relaxed);
    world.mssql.engine().set_hook(None);
    assert_eq!(rows(&world), ["read 0"], "nothing of it is committed");
    world.host(&arguments).success();
    let inserted: Vec<String> = (1..=6).map(|id| format!("insert {id}")).chain(["read 0".to_owned()]).collect();
    assert_eq!(rows(&world), inserted);
    assert_eq!(world.host(&arguments).success().json()["rows"], 0);
}

#[test]
fn broken_connection_within_rows_of_one_value_is_read_again_whole() {
    let rows_of_one_value: Vec<String> = (1..=5).map(|id| format!("({id}, '2026-01-01')")).collect();
    let script = format!(
        "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, at datetime2(3) NOT NULL)\nGO\nINSERT INTO dbo.t VALUES {}",
        rows_of_one_value.join(", ")
    );
    let Some(world) = world("a server that breaks off at will is the fake one", &script) else { return };
    let settings = r#"{"watermark": {"*.t": {"column": "at"}}}"#;
    let run = || world.run(&["--settings", settings]);
    // The rows are cut off, not what is asked before them.
    let cut_rows = || {
        let (engine, is_done) = (world.mssql.engine().clone(), AtomicBool::new(false));
        world.mssql.engine().set_hook(Some(Arc::new(move |moment| {
            let is_rows = moment.statement.contains("[id]") && moment.place == Place::Before;
            if is_rows && !is_done.swap(true, Ordering::Relaxed) {
                let effect = Effect::Cut(Duration::ZERO);
                engine.add_fault(Fault { table: "dbo.t".into(), after_rows: 3, effect, times: 1 });
            }
        })));
    };
    cut_rows();
    assert_eq!(run()["rows"], 5, "the first copy");
    world.mssql.execute(&[
        "INSERT INTO dbo.t VALUES (6, '2026-01-01'), (7, '2026-01-01'), (8, '2026-01-01'), (9, '2026-01-01')",
    ]);
    cut_rows();
    assert_eq!(run()["rows"], 4, "of the position's own value");
    assert_eq!(run()["rows"], 0);
    let ids: Vec<String> =
        (1..=5).map(|id| format!("read {id}")).chain((6..=9).map(|id| format!("upsert {id}"))).collect();
    assert_eq!(rows(&world), ids);
}

/// All sources of tests below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn tests_that_the_cases_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    sources(&root.join("host"), &mut files);
    sources(&root.join("tests"), &mut files);
    let page = std::fs::read_to_string(root.join("docs/change-capture-cases.md")).unwrap();
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 40, "{named:?}");
    for (file, function) in named {
        let end = format!("/{file}.rs");
        let is_there = |path: &&PathBuf| {
            path.to_string_lossy().ends_with(&end)
                && std::fs::read_to_string(path).unwrap().contains(&format!("fn {function}("))
        };
        assert!(files.iter().any(|path| is_there(&path)), "no {file}.rs::{function}");
    }
}

//! Runs that are stopped, killed, disturbed or doubled: each table is whole or as it was.

use std::time::Duration;

use datakit_fake_sqlserver::sql::{Effect, Fault, errors};
use datakit_tests::{Started, World};

use crate::{FAULTS, RUN, delta_ids, each, fake_sqlserver, insert_rows, run};

/// Rows of `dbo.big`; a fault strikes in their middle.
const ROWS: i64 = 5000;

/// `dbo.a` with two rows and `dbo.big` with [`ROWS`], in batches that make a data file long before the end.
/// None where the environment names another server, on which no fault can be injected.
fn big_world() -> Option<World> {
    let script = "CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.a VALUES (1), (2)\nGO\n\
         CREATE TABLE dbo.big (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)";
    let world = fake_sqlserver(FAULTS, script)?;
    insert_rows(&world, "dbo.big", 1, 5000);
    Some(with_small_batches(world))
}

fn with_small_batches(world: World) -> World {
    world.append("[limits.read]\nmax_batch_rows = 100");
    world
}

fn fault(world: &World, effect: Effect, times: u32) {
    let fault = Fault { table: "dbo.big".into(), after_rows: 2500, effect, times };
    world.mssql.engine().add_fault(fault);
}

fn pause(world: &World, seconds: u64) {
    fault(world, Effect::Pause(Duration::from_secs(seconds)), 1);
}

/// Starts a run that comes to a halt in the middle of `dbo.big`, with a data file begun.
fn in_the_middle(world: &World, run_id: &str) -> Started {
    let before = world.data_files("ERP/dbo/big");
    let mut run = world.start(world.command(&["run", "--output", "json", "--parallel", "1", "--run-id", run_id]));
    run.wait_until("a file of dbo.big is begun", |_| world.data_files("ERP/dbo/big") != before);
    run
}

#[test]
fn a_signal_stops_a_run_cleanly() {
    let Some(world) = big_world() else { return };
    let first = world.run(&["--run-id", "first", "--tables", "dbo.big"]);
    assert_eq!(first["rows"], ROWS);
    let files = world.data_files("ERP/dbo/big");
    for (signal, name) in [("TERM", "stopped_by_sigterm"), ("INT", "stopped_by_sigint")] {
        pause(&world, 4);
        let run = in_the_middle(&world, "second");
        run.signal(signal);
        let output = run.end();
        assert_eq!(output.code, Some(3), "dbo.a is committed");
        assert_eq!(output.json()["status"], "stopped");
        insta::assert_snapshot!(name, world.refusal(&output));
        assert_eq!(world.data_files("ERP/dbo/big"), files, "no leftovers after SIG{signal}");
        assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 1));
    }
    let recorded = world.host(&["runs", "show", "second", "--output", "json"]).success().json();
    assert_eq!((&recorded[0]["status"], &recorded[0]["tables"][1]["status"]), (&"stopped".into(), &"stopped".into()));
    // The stopped run goes on where it was: dbo.a was committed.
    let again = world.run(&["--run-id", "second"]);
    assert_eq!(again["tables"][0]["status"], "unchanged");
    assert_eq!(again["rows"], ROWS);
    assert_eq!(delta_ids(&world, "ERP/dbo/a"), each(1, 2, 1));
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 2));
}

#[test]
fn a_stopped_run_leaves_no_table_that_was_not_there() {
    let Some(world) = big_world() else { return };
    pause(&world, 4);
    let run = in_the_middle(&world, "first");
    run.signal("TERM");
    assert_eq!(run.end().code, Some(3), "dbo.a is committed");
    assert!(!world.path().join("bronze/ERP/dbo/big").exists());
    assert_eq!(delta_ids(&world, "ERP/dbo/a"), each(1, 2, 1));
}

#[test]
fn a_killed_run_leaves_the_last_commit_and_the_next_completes_it() {
    let Some(world) = big_world() else { return };
    world.run(&["--run-id", "first", "--tables", "dbo.big"]);
    pause(&world, 4);
    let run = in_the_middle(&world, "second");
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 1));
    let record = |n: usize| world.host(&["runs", "list", "--output", "json"]).success().json()[n].clone();
    assert_eq!((record(0)["run_id"].as_str(), record(0)["status"].as_str()), (Some("second"), Some("started")));

    let again = world.run(&["--run-id", "second"]);
    assert_eq!(again["tables"][0]["status"], "unchanged");
    assert_eq!(again["tables"][1]["status"], "committed");
    assert_eq!(delta_ids(&world, "ERP/dbo/a"), each(1, 2, 1));
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 2));
}

/// Between the document of the state and the log entry that names it, or right behind the entry.
#[test]
fn run_that_is_killed_at_its_commit_leaves_a_whole_table() {
    let Some(world) = big_world() else { return };
    world.run(&["--run-id", "first", "--tables", "dbo.a"]);
    let documents = world.path().join("bronze/ERP/dbo/a/_datakit/state");
    let written = || std::fs::read_dir(&documents).unwrap().count();
    for round in 2..=5 {
        let (before, run_id) = (written(), format!("round-{round}"));
        let run = world.start(world.command(&["run", "--run-id", &run_id, "--tables", "dbo.a"]));
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while written() == before {
            assert!(std::time::Instant::now() < until, "no document:\n{}", run.stderr());
            std::thread::sleep(Duration::from_millis(1));
        }
        run.signal("KILL");
        run.end();
        let left = delta_ids(&world, "ERP/dbo/a");
        let is_committed = left == each(1, 2, round);
        assert!(is_committed || left == each(1, 2, round - 1), "{left:?}");
        let again = world.run(&["--run-id", &run_id, "--tables", "dbo.a"]);
        assert_eq!(again["tables"][0]["status"], if is_committed { "unchanged" } else { "committed" });
        assert_eq!(delta_ids(&world, "ERP/dbo/a"), each(1, 2, round));
    }
}

/// Makes the table that is there an empty one, partitioned by these columns, as another writer would.
fn partition_by(world: &World, table: &str, columns: &[&str]) {
    let folder = world.path().join("bronze").join(table);
    let entry = folder.join("_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(&entry).unwrap();
    let actions = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let kept = actions.filter_map(|mut action: serde_json::Value| {
        if let Some(metadata) = action.get_mut("metaData") {
            metadata["partitionColumns"] = columns.into();
            metadata["configuration"] = serde_json::json!({});
            return Some(action);
        }
        action.get("protocol").is_some().then_some(action)
    });
    let kept: String = kept.map(|action| format!("{action}\n")).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir_all(folder.join("_delta_log")).unwrap();
    std::fs::write(entry, kept).unwrap();
}

#[test]
fn killed_run_leaves_a_partitioned_table_as_it_was() {
    let Some(world) = big_world() else { return };
    world.run(&["--run-id", "first", "--tables", "dbo.big"]);
    partition_by(&world, "ERP/dbo/big", &["_bronze_source_table"]);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, 0, 1));
    for (run_id, times) in [("second", 1), ("third", 2)] {
        pause(&world, 4);
        let before = delta_ids(&world, "ERP/dbo/big");
        let mut run = world.start(world.command(&["run", "--output", "json", "--parallel", "1", "--run-id", run_id]));
        run.wait_until("dbo.big is read", |run| run.stderr().contains("dbo.big: reading"));
        run.wait_until("a folder of dbo.big is made", |_| !world.data_files("ERP/dbo/big").is_empty());
        run.signal("KILL");
        assert_eq!(run.end().code, None);
        assert_eq!(delta_ids(&world, "ERP/dbo/big"), before);
        world.run(&["--run-id", run_id]);
        assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, times));
    }
}

#[test]
fn a_killed_run_leaves_nothing_in_postgres() {
    let Some(world) = big_world() else { return };
    let world = with_small_batches(world.with_postgres());
    let count = |table: &str| world.postgres(&format!("SELECT count(*)::text FROM \"ERP_dbo\".{table}"));
    pause(&world, 4);
    let mut run = world.start(world.command(&run(&["--parallel", "1"])));
    run.wait_until("dbo.big is read", |run| run.stderr().contains("dbo.big: reading"));
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    assert_eq!(world.postgres("SELECT count(*)::text FROM pg_tables WHERE tablename = 'big'"), "0");
    assert_eq!(count("a"), "2");
    // The server may take a moment to see that its client is gone; until then the table is locked.
    let mut again = world.host(&RUN);
    for _ in 0..20 {
        if again.code == Some(0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        again = world.host(&RUN);
    }
    let again = again.success().json();
    assert_eq!(again["tables"][0]["status"], "unchanged");
    assert_eq!((count("a"), count("big")), ("2".into(), ROWS.to_string()));
}

#[test]
fn of_two_runs_into_one_delta_table_one_commits() {
    let Some(world) = big_world() else { return };
    // Once into a table that is not there, and once into one that is.
    for (round, name) in [(1, "two_runs_into_a_new_table"), (2, "two_runs_into_a_table")] {
        pause(&world, 8);
        let slow = in_the_middle(&world, &format!("slow-{round}"));
        let quick = world.run(&["--run-id", &format!("quick-{round}"), "--tables", "dbo.big"]);
        assert_eq!(quick["tables"][0]["status"], "committed");
        let slow = slow.end();
        assert_eq!(slow.code, Some(3), "{}", slow.stderr);
        insta::assert_snapshot!(name, world.refusal(&slow));
        assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, round));
        assert_eq!(world.data_files("ERP/dbo/big").len() as u32, round, "the loser's files are gone");
    }
}

#[test]
fn of_two_runs_into_one_postgres_table_one_commits() {
    let Some(world) = big_world() else { return };
    let world = with_small_batches(world.with_postgres());
    pause(&world, 8);
    let mut slow = world.start(world.command(&["run", "--run-id", "slow", "--tables", "dbo.big", "--output", "json"]));
    slow.wait_until("its transaction has begun", |_| {
        world.postgres("SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND granted") == "1"
    });
    insta::assert_snapshot!(world.refused(&run(&["--tables", "dbo.big"])));
    assert_eq!(slow.end().success().json()["rows"], ROWS);
    let rows = "SELECT count(*)::text || ' ' || count(DISTINCT id)::text FROM \"ERP_dbo\".big";
    assert_eq!(world.postgres(rows), "5000 5000");
}

#[test]
fn a_deadlock_in_the_middle_is_read_again_and_rows_arrive_once() {
    let Some(world) = big_world() else { return };
    let deadlock = || Effect::Error(errors::deadlock(51));
    fault(&world, deadlock(), 1);
    let output = world.host(&run(&["--tables", "dbo.big"])).success();
    assert!(output.stderr.contains("attempt 1 failed"), "{}", output.stderr);
    assert_eq!(output.json()["rows"], ROWS);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 1));
    assert_eq!(world.data_files("ERP/dbo/big").len(), 1, "the broken attempt's file is gone");

    // A deadlock that does not end ends the table, and only this table.
    fault(&world, deadlock(), 100);
    let output = world.host(&["run", "--output", "json", "--run-id", "run-2", "--parallel", "1"]);
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("deadlock_without_end", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS, 1));
    assert_eq!(world.data_files("ERP/dbo/big").len(), 1);
}

#[test]
fn a_deadlock_in_the_middle_restarts_a_postgres_table() {
    let Some(world) = big_world() else { return };
    let world = with_small_batches(world.with_postgres());
    fault(&world, Effect::Error(errors::deadlock(51)), 1);
    let output = world.host(&run(&["--tables", "dbo.big"])).success();
    assert!(output.stderr.contains("attempt 1 failed"), "{}", output.stderr);
    let rows = "SELECT count(*)::text || ' ' || count(DISTINCT id)::text FROM \"ERP_dbo\".big";
    assert_eq!(world.postgres(rows), "5000 5000");
}

#[test]
fn deadlock_while_the_catalog_is_read_is_tried_again() {
    let Some(world) = big_world() else { return };
    let in_the_catalog = |times| {
        let fault = Fault { table: String::new(), after_rows: 0, effect: Effect::Error(errors::deadlock(51)), times };
        world.mssql.engine().add_fault(fault);
    };
    in_the_catalog(1);
    let output = world.host(&run(&["--tables", "dbo.a"])).success();
    assert!(output.stderr.contains("discovery: attempt 1 failed"), "{}", output.stderr);
    assert_eq!(output.json()["rows"], 2);

    // Somebody waits for the answer to a question.
    in_the_catalog(1);
    let output = world.host(&["plan", "--tables", "dbo.a"]);
    assert_eq!(output.code, Some(4), "{}", output.stderr);
    assert!(!output.stderr.contains("attempt 1 failed"), "{}", output.stderr);
}

//! Runs that are killed in the middle of a table of several partitions, and started again with the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datakit_fake_sqlserver::sql::{Moment, Place};
use datakit_tests::{Output, Started, World};
use serde_json::Value;

use crate::{FAULTS, delta_ids, each, fake_sqlserver, insert_rows};

/// Rows of `dbo.big`, in ten partitions.
const ROWS: u32 = 5000;
const CUT: &str = r#"{"partition_row_threshold": 500, "partition_rows": 500}"#;
const PARTITIONS: usize = 10;
/// A server that waits for a test goes on after this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn big_world() -> Option<World> {
    let script = "CREATE TABLE dbo.big (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)";
    let world = fake_sqlserver(FAULTS, script)?;
    insert_rows(&world, "dbo.big", 1, ROWS);
    // Whatever is finished is kept at once.
    world.append("[limits.run]\nkeep_interval_ms = 1");
    Some(world)
}

/// Queries for rows of `dbo.big` since the last time that somebody asked.
fn queries(world: &World) -> usize {
    let records = world.mssql.engine().take_records();
    // A batch begins with the settings of its session.
    records.iter().filter(|record| record.text.contains("[dbo].[big]") && record.text.contains("note")).count()
}

fn is_of_rows(statement: &str) -> bool {
    statement.trim_start().starts_with("SELECT") && statement.contains("note") && statement.contains("big")
}

/// Where the server waits in a query for rows.
struct Gate {
    is_reached: Arc<AtomicBool>,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    /// Before the query of this number, from 1.
    fn before_query(world: &World, number: usize) -> Self {
        let gate = Self { is_reached: Arc::default(), is_open: Arc::default() };
        let (is_reached, is_open, count) =
            (Arc::clone(&gate.is_reached), Arc::clone(&gate.is_open), AtomicUsize::new(0));
        world.mssql.engine().set_hook(Some(Arc::new(move |moment: &Moment<'_>| {
            let is_query = moment.place == Place::Before && is_of_rows(moment.statement);
            if !is_query || count.fetch_add(1, Ordering::SeqCst) + 1 != number {
                return;
            }
            is_reached.store(true, Ordering::SeqCst);
            let until = Instant::now() + PATIENCE;
            while !is_open.load(Ordering::SeqCst) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        })));
        gate
    }

    fn open(self, world: &World) {
        world.mssql.engine().set_hook(None);
        self.is_open.store(true, Ordering::SeqCst);
    }
}

fn arguments<'a>(run_id: &'a str, settings: &'a str) -> [&'a str; 9] {
    ["run", "--output", "json", "--parallel", "1", "--run-id", run_id, "--settings", settings]
}

/// A run that waits for its fourth query when three partitions are kept.
fn after_three(world: &World, run_id: &str) -> (Started, Gate) {
    let gate = Gate::before_query(world, 4);
    let mut run = world.start(world.command(&arguments(run_id, CUT)));
    run.wait_until("three partitions are kept", |_| gate.is_reached.load(Ordering::SeqCst) && kept(world) == 3);
    (run, gate)
}

fn kill(run: Started, gate: Gate, world: &World) {
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    gate.open(world);
    queries(world);
}

/// Finished partitions that are kept of `dbo.big`, by whatever run.
fn kept(world: &World) -> usize {
    let folder = world.path().join("bronze/ERP/dbo/big/_datakit/unfinished");
    let records = files_below(&folder).into_iter().filter(|path| path.rsplit('/').next().unwrap().starts_with("part-"));
    let partitions = records.filter_map(|path| {
        let record: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        record["partitions"].as_array().map(Vec::len)
    });
    partitions.sum()
}

fn files_below(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }).collect()
}

fn again(world: &World, run_id: &str, settings: &str) -> Output {
    world.host(&arguments(run_id, settings)).success()
}

fn table(output: &Output) -> Value {
    output.json()["tables"][0].clone()
}

fn leftovers(world: &World, arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<&str> = ["clean", "--output", "json"].iter().chain(arguments).copied().collect();
    world.host(&arguments).success().json().as_array().unwrap().clone()
}

#[test]
fn killed_run_reads_only_the_partitions_that_it_had_not_finished() {
    let Some(world) = big_world() else { return };
    let (run, gate) = after_three(&world, "nightly");
    kill(run, gate, &world);
    assert!(!world.path().join("bronze/ERP/dbo/big/_delta_log").exists(), "nothing is visible");
    // New rows move the bounds of a new plan. Those of the plan that was begun count: the next load reads the new rows.
    insert_rows(&world, "dbo.big", ROWS + 1, 100);

    let output = again(&world, "nightly", CUT);
    assert!(output.stderr.contains("3 of 10 partitions (1500 rows) were finished before"), "{}", output.stderr);
    let table = table(&output);
    assert_eq!((&table["partitions"], &table["resumed_partitions"]), (&10.into(), &3.into()), "{table}");
    assert_eq!((&table["rows"], &table["consistent_snapshot"]), (&ROWS.into(), &false.into()), "{table}");
    assert_eq!(queries(&world), PARTITIONS - 3);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1));
    assert_eq!((kept(&world), leftovers(&world, &["--dry-run"]).len()), (0, 0));
    let rows = world.delta("ERP/dbo/big");
    let rows = rows.lines().skip(1).filter(|line| !line.is_empty());
    let times: BTreeSet<String> =
        rows.map(|row| serde_json::from_str::<Value>(row).unwrap()["_bronze_loaded_at"].to_string()).collect();
    assert_eq!(times.len(), 1, "one time for all rows of a load: {times:?}");

    assert_eq!(table_status(&again(&world, "nightly", CUT)), "unchanged");
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1));
}

fn table_status(output: &Output) -> String {
    table(output)["status"].as_str().unwrap().to_owned()
}

#[test]
fn run_that_is_killed_twice_goes_on_from_both() {
    let Some(world) = big_world() else { return };
    let (run, gate) = after_three(&world, "nightly");
    kill(run, gate, &world);
    let gate = Gate::before_query(&world, 3);
    let mut run = world.start(world.command(&arguments("nightly", CUT)));
    run.wait_until("five partitions are kept", |_| gate.is_reached.load(Ordering::SeqCst) && kept(&world) == 5);
    kill(run, gate, &world);

    let output = again(&world, "nightly", CUT);
    assert_eq!(table(&output)["resumed_partitions"], 5);
    assert_eq!(queries(&world), PARTITIONS - 5);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1));
}

#[test]
fn another_run_and_another_plan_begin_anew() {
    let Some(world) = big_world() else { return };
    let (run, gate) = after_three(&world, "nightly");
    kill(run, gate, &world);
    // Another run.
    let output = again(&world, "other", CUT);
    assert_eq!((table(&output).get("resumed_partitions"), queries(&world)), (None, PARTITIONS));
    assert_eq!(kept(&world), 3, "of the run that was killed");
    // Other settings of the same run.
    let other = r#"{"partition_row_threshold": 500, "partition_rows": 500, "query_timeout_seconds": 900}"#;
    let output = again(&world, "nightly", other);
    assert!(output.stderr.contains("of another plan or too old"), "{}", output.stderr);
    assert_eq!((table(&output).get("resumed_partitions"), queries(&world)), (None, PARTITIONS));
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 2));
}

#[test]
fn file_that_is_gone_is_written_again() {
    let Some(world) = big_world() else { return };
    let (run, gate) = after_three(&world, "nightly");
    let files = world.data_files("ERP/dbo/big");
    kill(run, gate, &world);
    let first = files.iter().next().unwrap();
    std::fs::remove_file(world.path().join("bronze/ERP/dbo/big").join(first)).unwrap();
    let output = again(&world, "nightly", CUT);
    assert_eq!(table(&output)["resumed_partitions"], 2);
    assert_eq!(queries(&world), PARTITIONS - 2);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1));
}

#[test]
fn two_processes_of_one_run_do_not_share_a_load() {
    let Some(world) = big_world() else { return };
    let (run, gate) = after_three(&world, "nightly");
    let second = world.host(&arguments("nightly", CUT));
    assert_ne!(second.code, Some(0));
    assert!(second.stderr.contains("DK-SNK-060"), "{}", second.stderr);
    gate.open(&world);
    run.end().success();
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1));
}

#[test]
fn clean_removes_what_is_dead_and_old_alone() {
    let Some(world) = big_world() else { return };
    world.host(&arguments("first", CUT)).success();
    let (run, gate) = after_three(&world, "nightly");
    let files = world.data_files("ERP/dbo/big");
    // At work.
    let live = leftovers(&world, &["--older-than", "1s", "--yes"]);
    assert_eq!((&live[0]["stays"], &live[0]["removed"]), (&"live".into(), &false.into()));
    kill(run, gate, &world);
    // Young: its run can be started again.
    let young = leftovers(&world, &["--yes"]);
    assert_eq!((&young[0]["stays"], &young[0]["run_id"]), (&"resumable".into(), &"nightly".into()));
    assert_eq!((&young[0]["partitions"], &young[0]["rows"]), (&3.into(), &1500.into()));
    assert_eq!(world.data_files("ERP/dbo/big"), files);
    std::thread::sleep(Duration::from_millis(1100));
    let old = ["--older-than", "1s"];
    assert_eq!(leftovers(&world, &[old[0], old[1], "--dry-run"])[0]["removed"], false);
    assert_eq!(world.data_files("ERP/dbo/big"), files, "a dry run removes nothing");
    let refused = world.host(&["clean", "--older-than", "1s"]);
    assert!(refused.stderr.contains("DK-CLI-021"), "{}", refused.stderr);
    assert_eq!(leftovers(&world, &[old[0], old[1], "--yes"])[0]["removed"], true);
    assert_eq!((kept(&world), leftovers(&world, &["--dry-run"]).len()), (0, 0));
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 1), "rows of the table stay");
    let output = again(&world, "nightly", CUT);
    assert_eq!(table(&output).get("resumed_partitions"), None);
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 2));
}

#[test]
fn quick_loads_and_tables_of_one_partition_keep_nothing() {
    let Some(world) = big_world() else { return };
    let folder = world.path().join("bronze/ERP/dbo/big/_datakit/unfinished");
    // One partition.
    let gate = Gate::before_query(&world, 1);
    let mut run = world.start(world.command(&arguments("one", "{}")));
    run.wait_until("it reads", |_| gate.is_reached.load(Ordering::SeqCst));
    assert!(!folder.exists());
    gate.open(&world);
    run.end().success();
    assert!(!folder.exists());
    // Several, and no time has passed.
    world.edit("keep_interval_ms = 1", "keep_interval_ms = 60000");
    let gate = Gate::before_query(&world, 4);
    let mut run = world.start(world.command(&arguments("quick", CUT)));
    run.wait_until("it reads", |_| gate.is_reached.load(Ordering::SeqCst));
    assert!(!folder.exists());
    gate.open(&world);
    run.end().success();
    assert!(!folder.exists());
    assert_eq!(delta_ids(&world, "ERP/dbo/big"), each(1, ROWS.into(), 2));
}

#[test]
fn killed_run_goes_on_in_postgres() {
    let Some(world) = big_world() else { return };
    let world = world.with_postgres();
    let password = "password = { env = \"PG_PASSWORD\" }";
    world.edit(password, &format!("{password}\nkeep_partitions = true"));
    world.append("[limits.run]\nkeep_interval_ms = 1");
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = '_datakit' AND tablename LIKE 'load_%'";
    let kept = "SELECT count(document)::text FROM _datakit.unfinished WHERE partition >= 0";
    let gate = Gate::before_query(&world, 4);
    let mut run = world.start(world.command(&arguments("nightly", CUT)));
    run.wait_until("three partitions are kept", |_| {
        gate.is_reached.load(Ordering::SeqCst) && world.postgres(tables) == "3" && world.postgres(kept) == "3"
    });
    assert_eq!(leftovers(&world, &["--older-than", "1s", "--yes"])[0]["stays"], "live");
    kill(run, gate, &world);
    assert_eq!(
        world.postgres("SELECT count(*)::text FROM pg_tables WHERE tablename = 'big'"),
        "0",
        "nothing is visible"
    );

    // The server may take a moment to see that its client is gone; until then the table is locked.
    let mut output = world.host(&arguments("nightly", CUT));
    for _ in 0..20 {
        if output.code == Some(0) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        output = world.host(&arguments("nightly", CUT));
    }
    let table = table(&output.success());
    assert_eq!((&table["rows"], &table["resumed_partitions"]), (&5000.into(), &3.into()), "{table}");
    let rows = "SELECT count(*)::text || ' ' || count(DISTINCT id)::text FROM \"ERP_dbo\".big";
    assert_eq!(world.postgres(rows), "5000 5000");
    assert_eq!((world.postgres(tables), world.postgres(kept)), ("0".to_owned(), "0".to_owned()));
    assert_eq!(leftovers(&world, &["--dry-run"]).len(), 0);
}

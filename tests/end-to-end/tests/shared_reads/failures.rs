//! A sink that fails, and runs that are killed: the other sink commits, and nothing is lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datakit_fake_sqlserver::sql::{Effect, Fault, Interruption, Moment, Place};
use datakit_tests::World;

use super::{CUT, ORDERS, ROWS, TRACKED, TRACKING, all_ids, ended, in_delta, in_postgres, orders, queries, table};

/// A row of a key above the first ones makes Postgres fail.
const REFUSES_NEW: &str = "ALTER TABLE \"ERP_dbo\".orders ADD CONSTRAINT few CHECK (id <= 40)";
const TAKES_NEW: &str = "ALTER TABLE \"ERP_dbo\".orders DROP CONSTRAINT few";
/// A server that waits for a test goes on after this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn insert(world: &World, ids: std::ops::RangeInclusive<u32>) {
    let rows: Vec<String> = ids.map(|id| format!("({id}, N'row {id}')")).collect();
    world.mssql.execute(&[&format!("INSERT INTO dbo.orders VALUES {}", rows.join(", "))]);
    queries(world);
}

#[test]
fn sink_that_fails_leaves_the_other_alone_and_catches_up_by_itself() {
    let Some(world) = orders(TRACKING, TRACKED) else { return };
    world.run(&[]);
    world.postgres_execute(REFUSES_NEW);
    insert(&world, 41..=43);
    let output = world.host(&["run", "--output", "json"]);
    let failed = output.json();
    assert_eq!(output.code, Some(3), "as of an ingest whose table failed: {}", output.stderr);
    assert_eq!(table(&failed, "pg")["status"], "failed", "{failed}");
    assert_eq!(table(&failed, "lake")["status"], "committed", "{failed}");
    assert_eq!((in_postgres(&world, "true").len(), in_delta(&world).len()), (40, 43));
    let statuses: Vec<&str> =
        failed["ingests"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["failed", "done"]);
    // The one that is behind reads from its own position.
    world.postgres_execute(TAKES_NEW);
    insert(&world, 44..=44);
    let apart = world.run(&[]);
    assert_eq!((ended(&apart, "pg").as_str(), ended(&apart, "lake").as_str()), ("committed 4", "committed 1"));
    assert_eq!(queries(&world), 2);
    let all: Vec<u32> = (1..=44).collect();
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all.clone(), all));
    // Both have reached the same place.
    insert(&world, 45..=46);
    let together = world.run(&[]);
    assert_eq!(ended(&together, "pg"), "committed 2, read with lake");
    assert_eq!(queries(&world), 1);
    let all: Vec<u32> = (1..=46).collect();
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all.clone(), all));
}

#[test]
fn sinks_that_were_read_apart_reach_the_same_place_though_rows_come_meanwhile() {
    let captured = format!(
        "EXEC sys.sp_cdc_enable_db\nGO\n{ORDERS}\nGO\n\
         EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL"
    );
    let Some(world) = orders(&captured, r#"{ strategy = { "dbo.orders" = "cdc" } }"#) else { return };
    (0..2).for_each(|_| world.edit("tables = [\"*.*\"]", "tables = [\"dbo.orders\"]"));
    // Each key once in both.
    (0..2).for_each(|_| world.edit("mode = \"append\"", "mode = \"merge\""));
    world.run(&[]);
    world.postgres_execute(REFUSES_NEW);
    insert(&world, 41..=41);
    assert_eq!(world.host(&["run"]).code, Some(3));
    world.postgres_execute(TAKES_NEW);
    // The table changes after each question of a plan.
    let script = "UPDATE dbo.orders SET note = N'again' WHERE id = 1".to_owned();
    let statement = "sys.fn_cdc_get_max_lsn()".to_owned();
    world.mssql.engine().add_interruption(Interruption { statement, place: Place::After, script, times: 20 });
    insert(&world, 42..=42);
    let apart = world.run(&[]);
    assert!(table(&apart, "pg")["shared_with"].is_null(), "{apart}");
    insert(&world, 43..=43);
    let together = world.run(&[]);
    assert_eq!(table(&together, "pg")["shared_with"][0], "lake", "{together}");
    let all: Vec<u32> = (1..=43).collect();
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all.clone(), all));
}

#[test]
fn sink_that_cannot_be_reached_fails_alone() {
    let Some(world) = orders(TRACKING, TRACKED) else { return };
    let mut command = world.command(&["run", "--output", "json"]);
    command.env("PG_PASSWORD", "wrong");
    let output = world.finish(command);
    let summary = output.json();
    assert_ne!(output.code, Some(0), "{summary}");
    assert_eq!(ended(&summary, "lake"), "committed 40", "{summary}");
    assert_eq!(in_delta(&world), all_ids());
    let summary = world.run(&[]);
    assert_eq!((ended(&summary, "pg").as_str(), table(&summary, "lake")["rows"].as_u64()), ("committed 40", Some(0)));
    assert_eq!(in_postgres(&world, "true"), all_ids());
}

#[test]
fn folder_that_cannot_be_written_fails_alone() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    // A file stands where the table's folder has to be.
    std::fs::create_dir_all(world.path().join("bronze/ERP/dbo")).unwrap();
    world.write("bronze/ERP/dbo/orders", "");
    let output = world.host(&["run", "--output", "json", "--run-id", "r"]);
    let summary = output.json();
    assert_ne!(output.code, Some(0), "{summary}");
    assert_eq!(table(&summary, "lake")["status"], "failed", "{summary}");
    assert_eq!(table(&summary, "pg")["status"], "committed", "{summary}");
    std::fs::remove_file(world.path().join("bronze/ERP/dbo/orders")).unwrap();
    let again = world.run(&["--run-id", "r"]);
    assert_eq!(
        (table(&again, "pg")["status"].as_str(), ended(&again, "lake").as_str()),
        (Some("unchanged"), "committed 40")
    );
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all_ids(), all_ids()));
}

#[test]
fn source_that_fails_in_the_middle_is_read_again_by_each_sink() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    world.mssql.engine().add_fault(Fault {
        table: "dbo.orders".to_owned(),
        after_rows: 5,
        effect: Effect::Cut(Duration::ZERO),
        times: 1,
    });
    let summary = world.run(&[]);
    assert_eq!(table(&summary, "lake")["status"], "committed", "{summary}");
    assert_eq!(table(&summary, "pg")["status"], "committed", "{summary}");
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all_ids(), all_ids()));
}

fn is_of_rows(statement: &str) -> bool {
    statement.trim_start().starts_with("SELECT") && statement.contains("note") && statement.contains("orders")
}

#[test]
fn killed_run_goes_on_in_both_sinks_and_neither_loses_or_doubles_a_row() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    world.edit("encrypt = \"off\"", "encrypt = \"off\"\nkeep_partitions = true");
    world.append("[limits.run]\nkeep_interval_ms = 1");
    let (is_reached, is_open, count) =
        (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), AtomicUsize::new(0));
    let (reached, open) = (Arc::clone(&is_reached), Arc::clone(&is_open));
    world.mssql.engine().set_hook(Some(Arc::new(move |moment: &Moment<'_>| {
        let is_rows = moment.place == Place::Before && is_of_rows(moment.statement);
        if !is_rows || count.fetch_add(1, Ordering::SeqCst) != 2 {
            return;
        }
        reached.store(true, Ordering::SeqCst);
        let until = Instant::now() + PATIENCE;
        while !open.load(Ordering::SeqCst) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    })));
    let arguments = ["run", "--output", "json", "--parallel", "1", "--run-id", "nightly"];
    let mut run = world.start(world.command(&arguments));
    let kept = || world.path().join("bronze/ERP/dbo/orders/_datakit/unfinished").exists();
    run.wait_until("two parts are finished", |_| is_reached.load(Ordering::SeqCst) && kept());
    // Both keep what is finished at once.
    std::thread::sleep(Duration::from_millis(500));
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    world.mssql.engine().set_hook(None);
    is_open.store(true, Ordering::SeqCst);
    queries(&world);
    let summary = world.host(&arguments).success().json();
    let read = queries(&world);
    assert_eq!(read, 2, "the two parts that are missing, once for both");
    for (ingest, other) in [("pg", "lake"), ("lake", "pg")] {
        assert_eq!(ended(&summary, ingest), format!("committed {ROWS}, read with {other}"));
        assert_eq!(table(&summary, ingest)["resumed_partitions"], 2, "{summary}");
    }
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all_ids(), all_ids()));
    let again = world.host(&arguments).success().json();
    assert_eq!((ended(&again, "pg").as_str(), ended(&again, "lake").as_str()), ("unchanged 0", "unchanged 0"));
}

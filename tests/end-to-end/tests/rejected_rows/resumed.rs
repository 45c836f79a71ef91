//! Rejected rows of partitions that a run before has finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Moment, Place, SqlEngineOptions};
use datakit_tests::{Mssql, World};

use super::{column_texts, counts, rejected};

const CUT: &str = r#"{"partition_row_threshold": 100, "partition_rows": 100}"#;
/// A server that waits for a test goes on after this time.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_of_rows(statement: &str) -> bool {
    statement.trim_start().starts_with("SELECT") && statement.contains("note") && statement.contains("big")
}

#[test]
fn rejected_rows_of_finished_partitions_are_kept_with_them() {
    let reason = "its queries are stopped halfway";
    let Some(mssql) = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default()) else {
        return;
    };
    let world = World::with(mssql, "CREATE TABLE dbo.big (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)");
    for from in (1..1_000).step_by(500) {
        let rows: Vec<String> = (from..from + 500).map(|id| format!("({id}, N'fine')")).collect();
        world.mssql.execute(&[&format!("INSERT INTO dbo.big VALUES {}", rows.join(", "))]);
    }
    world.mssql.execute(&["UPDATE dbo.big SET note = N'x' + NCHAR(55357) WHERE id = 7 OR id = 990"]);
    world.append("[limits.run]\nkeep_interval_ms = 1");
    world.edit("mode = \"append\"", &rejected("max_rows = 2"));

    let (is_reached, is_open, queries) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let (reached, open) = (Arc::clone(&is_reached), Arc::clone(&is_open));
    world.mssql.engine().set_hook(Some(Arc::new(move |moment: &Moment<'_>| {
        let is_query = moment.place == Place::Before && is_of_rows(moment.statement);
        if !is_query || queries.fetch_add(1, Ordering::SeqCst) + 1 != 4 {
            return;
        }
        reached.store(true, Ordering::SeqCst);
        let until = Instant::now() + PATIENCE;
        while !open.load(Ordering::SeqCst) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    })));
    let arguments = ["run", "--output", "json", "--parallel", "1", "--run-id", "nightly", "--settings", CUT];
    let mut run = world.start(world.command(&arguments));
    run.wait_until("three partitions are kept", |_| is_reached.load(Ordering::SeqCst) && kept(&world) == 3);
    run.signal("KILL");
    assert_eq!(run.end().code, None);
    world.mssql.engine().set_hook(None);
    is_open.store(true, Ordering::SeqCst);

    let summary = world.host(&arguments).success().json();
    assert_eq!(summary["tables"][0]["resumed_partitions"], 3, "{summary}");
    assert_eq!(counts(&summary), (998, 2));
    let found = column_texts(&world.delta("ERP/dbo/big__rejected"), &["key", "value"]);
    assert_eq!(found, ["{\"id\":7} | x\\ud83d", "{\"id\":990} | x\\ud83d"]);
}

/// Finished partitions that are kept.
fn kept(world: &World) -> usize {
    let folder = world.path().join("bronze/ERP/dbo/big/_datakit/unfinished");
    let count = |path: String| {
        let record: Option<serde_json::Value> = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        record?["partitions"].as_array().map(Vec::len)
    };
    let records = files_below(&folder).into_iter();
    records.filter(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("part-"))).filter_map(count).sum()
}

fn files_below(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }).collect()
}

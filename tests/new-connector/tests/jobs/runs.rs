//! Runs with the new connector.

use datakit_app::{Context, Reports, Run, RunRequest, RunStatus, Summary, TableStatus};

use crate::world::World;

/// Runs the only ingest.
async fn run(context: &Context, run_id: &str) -> Result<Summary, Reports> {
    let request = RunRequest { run_id: run_id.to_owned(), ..RunRequest::default() };
    let mut run = Run::prepare(context, request).await.unwrap();
    let ended = run.next().await.unwrap();
    assert!(run.next().await.is_none());
    ended.outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn run_commits_the_rows_of_each_book_once() {
    let world = World::with_datakit().await;
    let summary = run(&world.context(), "r1").await.unwrap();
    assert_eq!((summary.status, summary.rows, summary.tables.len()), (RunStatus::Done, 5, 2), "{summary:?}");
    assert!(summary.tables.iter().all(|table| table.status == TableStatus::Committed), "{summary:?}");

    let columns = ["id", "day", "minutes", "note", "_bronze_source_system", "_bronze_source_schema"];
    let deck = [
        ["1", "2026-01-31", "90", "painted the rail", "BRIDGE", "logbook"],
        ["2", "2026-02-01", "15", "", "BRIDGE", "logbook"],
        ["3", "2026-02-03", "-5", "correction", "BRIDGE", "logbook"],
    ];
    assert_eq!(world.rows("deck", &columns), deck);
    assert_eq!(world.rows("engine", &["id", "minutes"]), [["1", "240"], ["2", "30"]]);

    let again = run(&world.context(), "r1").await.unwrap();
    assert!(again.tables.iter().all(|table| table.status == TableStatus::Unchanged), "{again:?}");
    assert_eq!(world.rows("deck", &["id"]).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_without_the_server_fails_with_the_error_of_the_connector() {
    let mut world = World::with_datakit().await;
    world.server.stop().await;
    let reports = run(&world.context(), "r1").await.unwrap_err();
    assert_eq!(reports.all()[0].code, "DK-LGB-001", "{reports}");
    assert!(world.nothing_written());
}

//! What a commit makes visible, when, and what is left without one.

use std::sync::Arc;

use datakit_model::{MemoryBudget, Retry, TableId, TrackedBatch};

use super::fixture::{SYSTEM, expect_no_leftovers, expect_rows, load, note, plain, plain_schema, table, target, write};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};
use datakit_model::sink::{CommitNote, Committed, RetryUnit, Sink, TableRows, TableWriter, Target, WriteMode};

/// The code of a commit that another run was faster with.
const CONFLICT: &str = "DK-SNK-010";

/// Appended rows stay, an overwrite replaces them all, and the sequence counts the commits.
///
/// # Errors
/// The sink does otherwise.
pub async fn appends_and_overwrites(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("appends"), plain_schema());
    let first = load(sink.as_ref(), target(&table, &schema, "1"), &[plain(0..2)?]).await?;
    ensure_eq!((first.written.rows, first.state.sequence, first.state.rows), (2, 1, 2), "the first commit");
    ensure!(first.written.bytes > 0, "the first commit wrote no bytes");
    expect_held(sink.as_ref(), &table, &first, 2).await?;
    let second = load(sink.as_ref(), target(&table, &schema, "2"), &[plain(2..4)?, plain(4..5)?]).await?;
    ensure_eq!((second.written.rows, second.state.sequence), (3, 2), "the second commit");
    expect_held(sink.as_ref(), &table, &second, 5).await?;
    expect_rows(harness, &table, &schema, &[plain(0..5)?]).await?;

    let overwrite = Target { mode: WriteMode::Overwrite, ..target(&table, &schema, "3") };
    let third = load(sink.as_ref(), overwrite, &[plain(7..8)?]).await?;
    ensure_eq!((third.written.rows, third.state.sequence), (1, 3), "the overwriting commit");
    expect_held(sink.as_ref(), &table, &third, 1).await?;
    expect_rows(harness, &table, &schema, &[plain(7..8)?]).await?;
    let overwrite = Target { mode: WriteMode::Overwrite, ..target(&table, &schema, "4") };
    let fourth = load(sink.as_ref(), overwrite, &[]).await?;
    expect_held(sink.as_ref(), &table, &fourth, 0).await?;
    expect_rows(harness, &table, &schema, &[]).await
}

/// The commit and the sink say how many rows the table holds.
async fn expect_held(sink: &dyn Sink, table: &TableId, committed: &Committed, rows: u64) -> Outcome {
    let expected = TableRows { rows, at_least: false };
    ensure_eq!(committed.holds, expected, "the rows of the table, by the commit");
    ensure_eq!(sink.rows(SYSTEM, table).await?, expected, "the rows of the table, by the sink");
    Ok(())
}

/// Partitions are written at the same time; nothing is visible before the commit, and all of it after.
///
/// # Errors
/// The sink does otherwise.
pub async fn commits_many_partitions_at_once(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("partitions"), plain_schema());
    load(sink.as_ref(), target(&table, &schema, "1"), &[plain(0..1)?]).await?;

    let writer = sink.open(target(&table, &schema, "2")).await?;
    let mut partitions = tokio::task::JoinSet::new();
    for ordinal in 0..4_u32 {
        let writer = Arc::clone(&writer);
        let start = 100 * (1 + i32::try_from(ordinal).unwrap_or_default());
        let batches = [plain(start..start + 10)?, plain(start + 10..start + 30)?];
        partitions.spawn(async move {
            let mut partition = writer.partition(ordinal).await?;
            for batch in batches {
                partition.write(TrackedBatch::untracked(batch)).await?;
            }
            partition.finish().await
        });
    }
    let mut rows = 0;
    while let Some(written) = partitions.join_next().await {
        rows += written.map_err(|e| Violation::new(e.to_string()))??.rows;
    }
    ensure_eq!(rows, 120, "the rows of the partitions");
    expect_rows(harness, &table, &schema, &[plain(0..1)?]).await?;

    let committed = writer.commit(note("w")).await?;
    ensure_eq!(committed.written.rows, 120, "the rows of the commit");
    let expected = [plain(0..1)?, plain(100..130)?, plain(200..230)?, plain(300..330)?, plain(400..430)?];
    expect_rows(harness, &table, &schema, &expected).await
}

/// After an abort there is what was there before: no table, or its rows and state.
///
/// # Errors
/// The sink does otherwise.
pub async fn an_aborted_table_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("aborted"), plain_schema());
    let writer = sink.open(target(&table, &schema, "1")).await?;
    write(writer.as_ref(), 0, &[plain(0..3)?]).await?;
    writer.abort().await;
    drop(writer);
    ensure!(harness.rows(SYSTEM, &table, &schema).await?.is_none(), "an aborted first run left a table");
    ensure!(sink.state(SYSTEM, &table).await?.is_none(), "an aborted first run left a state");
    ensure_eq!(sink.rows(SYSTEM, &table).await?, TableRows::default(), "the rows of a table that is not there");
    expect_no_leftovers(harness, &table).await?;

    let committed = load(sink.as_ref(), target(&table, &schema, "2"), &[plain(0..3)?]).await?;
    let overwrite = Target { mode: WriteMode::Overwrite, ..target(&table, &schema, "3") };
    let writer = sink.open(overwrite).await?;
    write(writer.as_ref(), 0, &[plain(5..9)?]).await?;
    writer.abort().await;
    drop(writer);
    expect_rows(harness, &table, &schema, &[plain(0..3)?]).await?;
    ensure_eq!(sink.state(SYSTEM, &table).await?, Some(committed.state), "the state after an abort");
    expect_no_leftovers(harness, &table).await
}

/// Dropped in the middle of a partition, and between partition and commit: as if nothing had been.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_dropped_writer_leaves_nothing(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("dropped"), plain_schema());
    for finished in [false, true] {
        let writer = sink.open(target(&table, &schema, "1")).await?;
        if finished {
            write(writer.as_ref(), 0, &[plain(0..3)?]).await?;
        } else {
            let mut partition = writer.partition(0).await?;
            partition.write(TrackedBatch::untracked(plain(0..3)?)).await?;
            drop(partition);
        }
        drop(writer);
        ensure!(harness.rows(SYSTEM, &table, &schema).await?.is_none(), "a dropped first run left a table");
    }
    // Nor is anything locked: the next run goes through.
    let committed = load_when_free(sink.as_ref(), &table, "2").await?;
    ensure_eq!(committed.state.sequence, 1, "the first commit after dropped runs");
    expect_rows(harness, &table, &schema, &[plain(0..3)?]).await
}

/// A dropped connection is closed by another task, a little later.
async fn load_when_free(sink: &dyn Sink, table: &datakit_model::TableId, run_id: &str) -> Result<Committed, Violation> {
    let mut attempts = 0;
    loop {
        match load(sink, target(table, &plain_schema(), run_id), &[plain(0..3)?]).await {
            Err(failure) if failure.code() == CONFLICT && attempts < 100 => {
                attempts += 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            result => return Ok(result?),
        }
    }
}

/// A failed unit of retry is aborted and written again; rows are not doubled.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_failed_unit_is_written_again(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("again"), plain_schema());
    let mut writer = sink.open(target(&table, &schema, "1")).await?;
    write(writer.as_ref(), 0, &[plain(0..3)?]).await?;
    let mut failing = writer.partition(1).await?;
    failing.write(TrackedBatch::untracked(plain(10..12)?)).await?;
    failing.abort().await;
    if sink.retry_unit() == RetryUnit::Table {
        writer.abort().await;
        writer = sink.open(target(&table, &schema, "1")).await?;
        write(writer.as_ref(), 0, &[plain(0..3)?]).await?;
    }
    write(writer.as_ref(), 1, &[plain(10..14)?]).await?;
    let committed = writer.commit(note("w")).await?;
    ensure_eq!((committed.written.rows, committed.state.rows), (7, 7), "the rows of the commit");
    expect_rows(harness, &table, &schema, &[plain(0..3)?, plain(10..14)?]).await?;
    drop(writer);
    expect_no_leftovers(harness, &table).await
}

/// State and watermark commit with the rows, and another process reads them back as they were.
///
/// # Errors
/// The sink does otherwise.
pub async fn remembers_its_last_commit(harness: &dyn Harness) -> Outcome {
    let (table, schema) = (table("remembers"), plain_schema());
    ensure!(harness.sink().await?.state(SYSTEM, &table).await?.is_none(), "a table that is not there has a state");
    for (sequence, watermark) in (1..).zip([Some("{\"lsn\":\"0x00 'é' \\n\"}"), None, Some(""), Some("日本\n\t\"")])
    {
        let run_id = format!("run {sequence}");
        let writer = harness.sink().await?.open(target(&table, &schema, &run_id)).await?;
        write(writer.as_ref(), 0, &[plain(0..2)?]).await?;
        let (consistent_snapshot, approximate, filtered) = (sequence % 2 != 0, sequence > 2, sequence == 2);
        let note = CommitNote {
            watermark: watermark.map(str::to_owned),
            consistent_snapshot,
            approximate,
            filtered,
            ..CommitNote::default()
        };
        let committed = writer.commit(note).await?;
        let state = harness.sink().await?.state(SYSTEM, &table).await?;
        let state = state.ok_or_else(|| Violation::new("there is no state after a commit"))?;
        ensure_eq!(state, committed.state, "the state read back");
        ensure_eq!(
            (state.run_id.as_str(), state.sequence, state.watermark.as_deref(), state.rows),
            (run_id.as_str(), sequence, watermark, 2),
            "run, sequence, watermark and rows"
        );
        ensure!(state.was_committed_by("run 1"), "an earlier run is forgotten");
        let notes = (state.consistent_snapshot, state.approximate, state.filtered);
        ensure_eq!(notes, (consistent_snapshot, approximate, filtered), "the run's notes");
        ensure_eq!(
            (state.datakit.as_str(), state.digest.as_str()),
            ("conformance@0.1.0", "sha256:0000"),
            "the datakit"
        );
    }
    let other = harness.sink().await?.state("CRM", &table).await?;
    ensure!(other.is_none(), "another source system's table of the same name has a state");
    Ok(())
}

/// Of two runs that write an existing table at the same time, one commits; the other fails with a code, and without a trace.
///
/// # Errors
/// The sink does otherwise.
pub async fn of_two_writers_one_commits(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("two"));
    load(sink.as_ref(), target(&table, &plain_schema(), "0"), &[plain(0..1)?]).await?;
    two_writers(harness, &table, 1).await
}

/// The same for a table that is not there yet.
///
/// # Errors
/// The sink does otherwise.
pub async fn of_two_first_writers_one_commits(harness: &dyn Harness) -> Outcome {
    two_writers(harness, &table("two first"), 0).await
}

async fn two_writers(harness: &dyn Harness, table: &datakit_model::TableId, before: i32) -> Outcome {
    let schema = plain_schema();
    let (first, second) = (harness.sink().await?, harness.sink().await?);
    let writers = [first.open(target(table, &schema, "a")).await, second.open(target(table, &schema, "b")).await];
    let mut committed = Vec::new();
    for (start, writer) in [100, 200].into_iter().zip(writers) {
        match finish(writer, start).await {
            Ok(done) => committed.push((start, done)),
            Err(TwoWriters::Failure(failure)) => {
                ensure_eq!(failure.code(), CONFLICT, "the code of the slower run ({failure})");
                ensure_eq!(failure.retry(), Retry::NextRun, "the retry hint of the slower run");
            }
            Err(TwoWriters::Violation(violation)) => return Err(violation),
        }
    }
    let [(start, done)] = committed.as_slice() else {
        return Err(Violation::new(format!("{} of two runs at once committed", committed.len())));
    };
    let expected = [plain(0..before)?, plain(*start..start + 5)?];
    expect_rows(harness, table, &schema, &expected).await?;
    ensure_eq!(first.state(SYSTEM, table).await?.as_ref(), Some(&done.state), "the state");
    expect_no_leftovers(harness, table).await
}

enum TwoWriters {
    Failure(datakit_model::Failure),
    Violation(Violation),
}

async fn finish(
    writer: Result<Arc<dyn TableWriter>, datakit_model::Failure>,
    start: i32,
) -> Result<Committed, TwoWriters> {
    let writer = writer.map_err(TwoWriters::Failure)?;
    let rows = plain(start..start + 5).map_err(TwoWriters::Violation)?;
    let result = match write(writer.as_ref(), 0, &[rows]).await {
        Ok(()) => writer.commit(note("w")).await,
        Err(failure) => Err(failure),
    };
    if result.is_err() {
        writer.abort().await;
    }
    result.map_err(TwoWriters::Failure)
}

/// A commit while a partition is open would lose its rows.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_a_commit_before_the_end(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("early"), plain_schema());
    let writer = sink.open(target(&table, &schema, "1")).await?;
    let mut partition = writer.partition(0).await?;
    partition.write(TrackedBatch::untracked(plain(0..3)?)).await?;
    let Err(failure) = writer.commit(note("w")).await else {
        return Err(Violation::new("a table was committed while a partition was open"));
    };
    ensure_eq!(failure.code(), "DK-SNK-019", "the code of an early commit ({failure})");
    partition.abort().await;
    writer.abort().await;
    ensure!(harness.rows(SYSTEM, &table, &schema).await?.is_none(), "an early commit left a table");
    Ok(())
}

/// Reservations are held until rows are encoded, and not longer.
///
/// # Errors
/// The sink does otherwise.
pub async fn gives_its_memory_back(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("memory"), plain_schema());
    // Room for two batches: a sink that kept them would wait for ever.
    let budget = MemoryBudget::new(64 * 1024);
    let writer = sink.open(target(&table, &schema, "1")).await?;
    let mut partition = writer.partition(0).await?;
    for start in 0..20 {
        let reservation = budget.reserve(32 * 1024).await;
        partition.write(TrackedBatch::new(plain(start..start + 1)?, reservation)).await?;
    }
    partition.finish().await?;
    ensure_eq!(budget.available_bytes(), budget.capacity_bytes(), "the free memory after the last batch");
    writer.commit(note("w")).await?;
    expect_rows(harness, &table, &schema, &[plain(0..20)?]).await
}

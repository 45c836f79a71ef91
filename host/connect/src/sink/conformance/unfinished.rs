//! Loads that are gone on with by another process of the same run.

use std::sync::Arc;
use std::time::Duration;

use datakit_model::resume::{FinishedPartition, KeptPartition, LoadPlan, Stays, Unfinished};
use datakit_model::sink::{Sink, TableWriter, Target, WriteMode};
use datakit_model::source::{Adjustment, ReadReport};
use datakit_model::{Failure, TableId, TrackedBatch};

use super::fixture::{SYSTEM, expect_no_leftovers, expect_rows, note, plain, plain_schema, table, target};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};

const RUN: &str = "nightly";
const FINGERPRINT: &str = "00ff";

fn plan() -> Arc<LoadPlan> {
    let part = |state: u8| KeptPartition { state: vec![state], estimated_rows: Some(1) };
    Arc::new(LoadPlan {
        version: LoadPlan::VERSION,
        id: uuid::Uuid::new_v4().to_string(),
        run_id: RUN.to_owned(),
        load_id: uuid::Uuid::from_u128(7).to_string(),
        started_at_micros: 1_700_000_000_000_000,
        datakit: "conformance@0.1.0".to_owned(),
        digest: "sha256:0000".to_owned(),
        fingerprint: FINGERPRINT.to_owned(),
        schema: (*plain_schema()).clone(),
        partitions: vec![part(0), part(1), part(2)],
        watermark_after: Some("w".to_owned()),
    })
}

fn kept_target(table: &TableId, plan: &Arc<LoadPlan>) -> Target {
    Target { load: Some(Arc::clone(plan)), ..target(table, &plain_schema(), RUN) }
}

/// Rows of a partition: ten of its own.
fn ids(ordinal: u32) -> std::ops::Range<i32> {
    let start = i32::try_from(ordinal).unwrap_or_default() * 10;
    start..start + 10
}

/// Writes partitions, and gives what is to be kept of them.
async fn write(writer: &dyn TableWriter, ordinals: &[u32]) -> Result<Vec<FinishedPartition>, Violation> {
    let mut finished = Vec::new();
    for ordinal in ordinals {
        let mut partition = writer.partition(*ordinal).await?;
        partition.write(TrackedBatch::untracked(plain(ids(*ordinal))?)).await?;
        let adjustment = Adjustment { column: "name".to_owned(), what: "cut".to_owned(), values: 1 };
        let report = ReadReport { adjustments: vec![adjustment], filtered: true, ..ReadReport::default() };
        finished.push(FinishedPartition::new(*ordinal, partition.finish().await?, &report));
    }
    Ok(finished)
}

async fn unfinished(sink: &dyn Sink, table: &TableId, fingerprint: &str) -> Result<Unfinished, Failure> {
    sink.unfinished(SYSTEM, table, RUN, fingerprint).await
}

/// A sink that keeps loads, and a load of which partitions 0 and 2 are kept.
async fn begun(
    harness: &dyn Harness,
    table: &TableId,
) -> Result<Option<(Box<dyn Sink>, Arc<LoadPlan>, Arc<dyn TableWriter>)>, Violation> {
    let sink = harness.sink().await?;
    if !sink.keeps_loads(WriteMode::Append) {
        return Ok(None);
    }
    let plan = plan();
    let writer = sink.open(kept_target(table, &plan)).await?;
    ensure!(writer.finished().is_empty(), "partitions of a load that begins");
    let finished = write(writer.as_ref(), &[0, 2]).await?;
    writer.keep(&finished[..1]).await?;
    writer.keep(&finished[1..]).await?;
    Ok(Some((sink, plan, writer)))
}

/// Finished partitions that were kept are in the commit of a process that goes on with the load, each once, and nothing of the load
/// is left then.
///
/// # Errors
/// The sink keeps loads and breaks that.
pub async fn goes_on_with_a_load(harness: &dyn Harness) -> Outcome {
    let (table, schema) = (table("resumed"), plain_schema());
    let Some((_, plan, writer)) = begun(harness, &table).await? else { return Ok(()) };
    // Finished, and not kept.
    write(writer.as_ref(), &[1]).await?;
    drop(writer);

    let sink = harness.sink().await?;
    ensure!(harness.rows(SYSTEM, &table, &schema).await?.is_none(), "an unfinished load made a table");
    let Unfinished { load, others } = unfinished(sink.as_ref(), &table, FINGERPRINT).await?;
    let Some((found, finished)) = load else { return Err(Violation::new("the load is not found")) };
    ensure_eq!((&found, others), (plan.as_ref(), 0), "the load that was begun");
    let facts: Vec<_> = finished.iter().map(|it| (it.ordinal, it.rows, it.filtered, it.adjustments.len())).collect();
    ensure_eq!(facts, [(0, 10, true, 1), (2, 10, true, 1)], "the partitions that were kept");
    let other = unfinished(sink.as_ref(), &table, "ff00").await?;
    ensure_eq!((other.load.is_some(), other.others), (false, 1), "a load of another fingerprint");

    let writer = sink.open(kept_target(&table, &plan)).await?;
    let ordinals: Vec<u32> = writer.finished().iter().map(|partition| partition.ordinal).collect();
    ensure_eq!(ordinals, [0, 2], "the partitions that are not begun again");
    write(writer.as_ref(), &[1]).await?;
    let committed = writer.commit(note("w")).await?;
    ensure_eq!(committed.written.rows, 30, "the rows of the commit");
    expect_rows(harness, &table, &schema, &[plain(0..30)?]).await?;
    drop(writer);
    let left = unfinished(sink.as_ref(), &table, FINGERPRINT).await?;
    ensure_eq!((left.load.is_some(), left.others), (false, 0), "loads after the commit");
    expect_no_leftovers(harness, &table).await
}

/// An abort takes back what is not kept, and nothing else.
///
/// # Errors
/// The sink keeps loads and breaks that.
pub async fn kept_partitions_stay_after_an_abort(harness: &dyn Harness) -> Outcome {
    let table = table("kept");
    for _ in 0..2 {
        let Some((sink, plan, writer)) = begun(harness, &table).await? else { return Ok(()) };
        writer.abort().await;
        drop(writer);
        let writer = sink.open(kept_target(&table, &plan)).await?;
        ensure_eq!(writer.finished().len(), 2, "partitions after an abort");
        // Once more, by the process that went on.
        write(writer.as_ref(), &[1]).await?;
        writer.abort().await;
        drop(writer);
        let writer = sink.open(kept_target(&table, &plan)).await?;
        ensure_eq!(writer.finished().len(), 2, "partitions after a second abort");
        write(writer.as_ref(), &[1]).await?;
        let before = sink.rows(SYSTEM, &table).await?.rows;
        writer.commit(note("w")).await?;
        ensure_eq!(sink.rows(SYSTEM, &table).await?.rows, before + 30, "rows after the commit");
    }
    Ok(())
}

/// Of two processes of one run one commits, and the other fails.
///
/// # Errors
/// The sink keeps loads and breaks that.
pub async fn unfinished_load_belongs_to_one_process(harness: &dyn Harness) -> Outcome {
    let (table, schema) = (table("taken"), plain_schema());
    let Some((_, plan, first)) = begun(harness, &table).await? else { return Ok(()) };
    let sink = harness.sink().await?;
    match sink.open(kept_target(&table, &plan)).await {
        // The one that is at work keeps it.
        Err(_) => {
            write(first.as_ref(), &[1]).await?;
            first.commit(note("w")).await?;
        }
        // The later one has taken it over.
        Ok(second) => {
            let finished = write(first.as_ref(), &[1]).await?;
            ensure!(first.keep(&finished).await.is_err(), "a process kept a partition of a load that is another one's");
            ensure!(first.commit(note("w")).await.is_err(), "a process committed a load that is another one's");
            first.abort().await;
            ensure_eq!(second.finished().len(), 2, "partitions after an abort of the process before");
            write(second.as_ref(), &[1]).await?;
            second.commit(note("w")).await?;
        }
    }
    drop(first);
    expect_rows(harness, &table, &schema, &[plain(0..30)?]).await
}

/// What a process works on stays, and what is young; the rest goes with its rows.
///
/// # Errors
/// The sink keeps loads and breaks that.
pub async fn leftovers_of_live_and_resumable_loads_stay(harness: &dyn Harness) -> Outcome {
    let (table, hour) = (table("left"), Duration::from_secs(3600));
    let Some((sink, plan, writer)) = begun(harness, &table).await? else { return Ok(()) };
    let only = |older_than| {
        let (sink, table) = (sink.as_ref(), &table);
        async move {
            let found = sink.leftovers(older_than).await?;
            let mut found: Vec<_> = found.into_iter().filter(|leftover| leftover.table == *table).collect();
            ensure!(found.len() <= 1, "several leftovers of one load");
            Ok(found.pop())
        }
    };
    let Some(live) = only(Duration::ZERO).await? else { return Err(Violation::new("the load is not listed")) };
    let facts = (live.run_id.as_deref(), live.partitions, live.rows, live.stays);
    ensure_eq!(facts, (Some(RUN), 2, 20, Some(Stays::Live)), "a load that a process works on");
    ensure!(!sink.remove_leftover(&live).await?, "a load was removed while a process works on it");
    drop(writer);
    let Some(dead) = only(hour).await? else { return Err(Violation::new("the load is not listed")) };
    if dead.stays == Some(Stays::Live) {
        // Nobody can say yet whether the process lives.
        return Ok(());
    }
    ensure_eq!(dead.stays, Some(Stays::Resumable), "a load that a process worked on a moment ago");
    let Some(old) = only(Duration::ZERO).await? else { return Err(Violation::new("the load is not listed")) };
    ensure_eq!(old.stays, None, "a load that is too old");
    ensure!(sink.remove_leftover(&old).await?, "a load of a dead process was not removed");
    ensure!(!sink.remove_leftover(&old).await?, "a load was removed twice");
    ensure!(only(Duration::ZERO).await?.is_none(), "a load is there after it was removed");
    expect_no_leftovers(harness, &table).await?;
    // The same run begins anew.
    let writer = sink.open(kept_target(&table, &plan)).await?;
    ensure!(writer.finished().is_empty(), "partitions of a load that was removed");
    write(writer.as_ref(), &[0, 1, 2]).await?;
    writer.commit(note("w")).await?;
    expect_rows(harness, &table, &plain_schema(), &[plain(0..30)?]).await
}

//! Loads that give columns of rows new values: no row comes or goes, and nothing else changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::receipt::MergedRows;
use datakit_model::sink::{Sink, Target, WriteMode};
use datakit_model::{DriftRule, Retry, TableId};

use super::fixture::{SYSTEM, batch, expect_rows, field, load, plain, plain_schema, table, target, write};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};

/// What the rows of a table are after a column was added.
fn wide_schema() -> SchemaRef {
    let fields = plain_schema().fields().iter().map(|it| it.as_ref().clone()).collect::<Vec<_>>();
    Arc::new(Schema::new(fields.into_iter().chain([field("extra", DataType::Int32)]).collect::<Vec<_>>()))
}

/// Rows of the plain schema, and what they have in the new column.
fn wide(ids: std::ops::Range<i32>, extra: impl Fn(i32) -> Option<i32>) -> Result<RecordBatch, Violation> {
    let mut columns = plain(ids.clone())?.columns().to_vec();
    columns.push(Arc::new(ids.map(extra).collect::<Int32Array>()));
    batch(&wide_schema(), columns)
}

fn fill_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false), field("extra", DataType::Int32)]))
}

fn fill(ids: std::ops::Range<i32>, extra: impl Fn(i32) -> Option<i32>) -> Result<RecordBatch, Violation> {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from_iter_values(ids.clone())), Arc::new(ids.map(extra).collect::<Int32Array>())];
    batch(&fill_schema(), columns)
}

fn update(table: &TableId, run_id: &str) -> Target {
    update_of(table, &fill_schema(), run_id)
}

fn update_of(table: &TableId, schema: &SchemaRef, run_id: &str) -> Target {
    let keys = vec!["id".to_owned()];
    Target { mode: WriteMode::Merge, updates_only: true, keys, ..target(table, schema, run_id) }
}

async fn refused(sink: &dyn Sink, target: Target, code: &str) -> Outcome {
    match sink.open(target).await {
        Ok(_) => Err(Violation::new(format!("a target was accepted, not {code}"))),
        Err(failure) => {
            ensure_eq!(failure.code(), code, "the code ({failure})");
            Ok(())
        }
    }
}

/// Rows get values by their keys, what is not there stays away, and the position stays.
///
/// # Errors
/// The sink does otherwise.
pub async fn fills_columns_and_nothing_else(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("filled"));
    load(sink.as_ref(), target(&table, &plain_schema(), "load"), &[plain(0..5)?]).await?;
    let twice = |id: i32| (id != 2).then_some(2 * id);
    let first = load(sink.as_ref(), update(&table, "1"), &[fill(1..8, twice)?]).await?;
    let merged = MergedRows { updated: 3, unchanged: 1, left_out: 3, ..MergedRows::default() };
    ensure_eq!(first.receipt.and_then(|receipt| receipt.merged), Some(merged), "null is what row 2 had");
    ensure_eq!((first.written.rows, first.holds.rows), (3, 5), "the rows");
    let expected = wide(0..5, |id| (id > 0).then_some(id).and_then(twice))?;
    expect_rows(harness, &table, &wide_schema(), std::slice::from_ref(&expected)).await?;
    ensure_eq!(first.state.watermark.as_deref(), Some("load"), "the watermark");
    let state = sink.state(SYSTEM, &table).await?.ok_or_else(|| Violation::new("no state"))?;
    ensure!(state.was_committed_by("1") && state.was_committed_by("load"), "the runs: {state:?}");
    let document = sink.document(SYSTEM, &table).await?.ok_or_else(|| Violation::new("no document"))?;
    let columns: Vec<&str> = document.schema.iter().map(|column| column.name.as_str()).collect();
    ensure_eq!(columns, ["id", "name", "extra"], "the columns of the document");

    let again = load(sink.as_ref(), update(&table, "2"), &[fill(1..8, twice)?]).await?;
    let merged = MergedRows { unchanged: 4, left_out: 3, ..MergedRows::default() };
    ensure_eq!(again.receipt.and_then(|receipt| receipt.merged), Some(merged), "the same values again");
    let none = load(sink.as_ref(), update(&table, "3"), &[]).await?;
    ensure_eq!((none.written.rows, none.state.sequence), (0, 4), "no rows");
    expect_rows(harness, &table, &wide_schema(), &[expected]).await?;
    // The next load finds no other columns.
    let next = sink.open(target(&table, &wide_schema(), "next")).await?;
    ensure_eq!(next.drift().len(), 0, "the drift of the next load");
    next.abort().await;
    Ok(())
}

/// More rows than are held at one time, out of order and in several partitions.
///
/// # Errors
/// The sink does otherwise.
pub async fn fills_many_rows(harness: &dyn Harness) -> Outcome {
    const ROWS: i32 = 150_000;
    let (sink, table) = (harness.sink().await?, table("many filled"));
    load(sink.as_ref(), target(&table, &plain_schema(), "load"), &[plain(0..ROWS)?]).await?;
    let extra = |id: i32| (id % 7 > 0).then_some(id);
    let writer = sink.open(update(&table, "1")).await?;
    for (ordinal, from) in [(1, 0), (0, 50_000), (2, 100_000)] {
        let of_partition = [fill(from + 25_000..from + 50_000, extra)?, fill(from..from + 25_000, extra)?];
        write(writer.as_ref(), ordinal, &of_partition).await?;
    }
    let committed = writer.commit(datakit_model::sink::CommitNote::default()).await?;
    ensure_eq!(committed.holds.rows, 150_000, "the rows of the table");
    expect_rows(harness, &table, &wide_schema(), &[wide(0..ROWS, extra)?]).await
}

/// Rows stay in their partitions.
///
/// # Errors
/// The sink does otherwise.
pub async fn fills_partitioned_tables(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("filled parts"));
    if !sink.writes_partitioned_tables() {
        return Ok(());
    }
    let partitioned = |run_id: &str| {
        let partition_by = vec!["name".to_owned()];
        Target { partition_by, ..target(&table, &plain_schema(), run_id) }
    };
    load(sink.as_ref(), partitioned("load"), &[plain(0..5)?]).await?;
    load(sink.as_ref(), update(&table, "1"), &[fill(1..4, Some)?]).await?;
    let expected = wide(0..5, |id| (1..4).contains(&id).then_some(id))?;
    expect_rows(harness, &table, &wide_schema(), &[expected]).await?;
    refused(sink.as_ref(), update_of(&table, &plain_schema(), "2"), "DK-SNK-087").await
}

/// A table without rows, keys that are null or repeated, columns that the table may not get.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_to_fill_what_it_cannot_find(harness: &dyn Harness) -> Outcome {
    let (sink, of) = (harness.sink().await?, table("not filled"));
    refused(sink.as_ref(), update(&of, "1"), "DK-SNK-088").await?;
    load(sink.as_ref(), target(&of, &plain_schema(), "load"), &[plain(0..3)?]).await?;
    for drift in [DriftRule::Freeze, DriftRule::Fail] {
        refused(sink.as_ref(), Target { drift, ..update(&of, "1") }, "DK-SNK-008").await?;
    }
    // Key 2 is there twice.
    load(sink.as_ref(), target(&of, &plain_schema(), "more"), &[plain(2..4)?]).await?;
    let code = |result: Result<_, datakit_model::Failure>| result.err().map(|failure| failure.code().to_owned());
    let repeated = load(sink.as_ref(), update(&of, "2"), &[fill(0..4, Some)?]).await;
    ensure_eq!(code(repeated.map(drop)).as_deref(), Some("DK-SNK-085"), "a repeated key");
    expect_rows(harness, &of, &plain_schema(), &[plain(0..3)?, plain(2..4)?]).await?;
    load(sink.as_ref(), update(&of, "3"), &[fill(0..2, Some)?]).await?;

    let of = table("null keys");
    let schema = Arc::new(Schema::new(vec![field("id", DataType::Int32), field("name", DataType::Utf8)]));
    let rows = |ids: Vec<Option<i32>>| {
        let names: StringArray = ids.iter().map(|_| Some("a")).collect();
        batch(&schema, vec![Arc::new(Int32Array::from(ids)), Arc::new(names)])
    };
    load(sink.as_ref(), target(&of, &schema, "load"), &[rows(vec![Some(1)])?]).await?;
    let of_source = load(sink.as_ref(), update_of(&of, &schema, "1"), &[rows(vec![Some(1), None])?]).await;
    ensure_eq!(code(of_source.map(drop)).as_deref(), Some("DK-SNK-086"), "a null in the key of the source");
    load(sink.as_ref(), target(&of, &schema, "more"), &[rows(vec![None])?]).await?;
    let of_table = load(sink.as_ref(), update_of(&of, &schema, "2"), &[rows(vec![Some(1)])?]).await;
    ensure_eq!(code(of_table.map(drop)).as_deref(), Some("DK-SNK-086"), "a null in the key of the table");
    Ok(())
}

/// A load that comes between is not written over.
///
/// # Errors
/// The sink does otherwise.
pub async fn of_a_backfill_and_a_load_one_commits(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("filled at once"));
    load(sink.as_ref(), target(&table, &plain_schema(), "load"), &[plain(0..3)?]).await?;
    let writer = sink.open(update(&table, "backfill")).await?;
    write(writer.as_ref(), 0, &[fill(0..3, Some)?]).await?;
    let other = load(sink.as_ref(), target(&table, &plain_schema(), "other"), &[plain(3..5)?]).await;
    let committed = writer.commit(datakit_model::sink::CommitNote::default()).await;
    writer.abort().await;
    let failures: Vec<_> = [other.err(), committed.err()].into_iter().flatten().collect();
    let failures: Vec<_> = failures.iter().map(|failure| (failure.code(), failure.retry())).collect();
    ensure_eq!(failures, [("DK-SNK-010", Retry::NextRun)], "the one that comes second");
    Ok(())
}

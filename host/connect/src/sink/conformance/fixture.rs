//! Tables, rows and the usual way through a sink, shared by the cases.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datakit_model::receipt::{Delivered, Tally};
use datakit_model::{Failure, ReceiptLevel, RunIdentity, TableId, TrackedBatch};

use super::{Harness, TextRow, Violation, ensure_eq, rows_of};
use crate::sink::SinkError;
use datakit_model::sink::{CommitNote, Committed, Sink, TableWriter, Target, WriteMode};

/// The source system of every case.
pub(super) const SYSTEM: &str = "ERP";

/// A run of its own.
#[must_use]
pub fn identity(run_id: &str) -> RunIdentity {
    RunIdentity {
        run_id: run_id.to_owned(),
        batch_id: uuid::Uuid::from_u128(7),
        started_at_micros: 1_700_000_000_000_000,
        source_system: SYSTEM.to_owned(),
        datakit: "conformance".to_owned(),
        version: "0.1.0".to_owned(),
        digest: "sha256:0000".to_owned(),
    }
}

/// A nullable column.
#[must_use]
pub fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The schema of the cases that are not about schemas: `id`, `name`.
pub(super) fn plain_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false), field("name", DataType::Utf8)]))
}

/// Rows of the plain schema.
pub(super) fn plain(ids: std::ops::Range<i32>) -> Result<RecordBatch, Violation> {
    let names: StringArray = ids.clone().map(|i| (i % 3 != 0).then(|| format!("name {i}"))).collect();
    batch(&plain_schema(), vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)])
}

/// A batch of the schema.
///
/// # Errors
/// The columns do not fit the schema.
pub fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, Violation> {
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

pub(super) fn table(name: &str) -> TableId {
    TableId::new("dbo", name)
}

pub(super) fn target(table: &TableId, schema: &SchemaRef, run_id: &str) -> Target {
    Target::new(table.clone(), Arc::clone(schema), WriteMode::Append, identity(run_id))
}

pub(super) fn note(watermark: &str) -> CommitNote {
    CommitNote { watermark: Some(watermark.to_owned()), ..CommitNote::default() }
}

/// Writes batches as one partition.
pub(super) async fn write(writer: &dyn TableWriter, ordinal: u32, batches: &[RecordBatch]) -> Result<(), Failure> {
    let mut partition = writer.partition(ordinal).await?;
    for batch in batches {
        partition.write(TrackedBatch::untracked(batch.clone())).await?;
    }
    partition.finish().await?;
    Ok(())
}

/// What a source delivers that hands on these batches.
///
/// # Errors
/// Batches of another schema.
pub(super) fn delivered(
    level: ReceiptLevel,
    schema: &Schema,
    batches: &[RecordBatch],
) -> Result<Delivered, ArrowError> {
    let mut tally = Tally::new(level, schema)?;
    for batch in batches {
        tally.as_mut().map_or(Ok(()), |tally| tally.add(batch))?;
    }
    Ok(tally.map(|tally| tally.delivered()).unwrap_or_default())
}

/// One run of one table, from open to commit. All values are held against what was delivered.
pub(super) async fn load(sink: &dyn Sink, target: Target, batches: &[RecordBatch]) -> Result<Committed, Failure> {
    let run_id = target.run.run_id.clone();
    let delivered = delivered(ReceiptLevel::Full, &target.schema, batches);
    let delivered =
        delivered.map_err(|error| SinkError::Encode { location: run_id.clone(), source: Box::new(error) })?;
    load_as(sink, target, batches, delivered).await
}

/// The same, held against this.
pub(super) async fn load_as(
    sink: &dyn Sink,
    target: Target,
    batches: &[RecordBatch],
    delivered: Delivered,
) -> Result<Committed, Failure> {
    let run_id = target.run.run_id.clone();
    let writer = sink.open(target).await?;
    write(writer.as_ref(), 0, batches).await?;
    let committed = writer.commit(CommitNote { delivered: Some(delivered), ..note(&run_id) }).await;
    if committed.is_err() {
        writer.abort().await;
    }
    committed
}

/// Compares the sink's rows with what was written, without regard to order.
pub(super) async fn expect_rows(
    harness: &dyn Harness,
    table: &TableId,
    schema: &Schema,
    expected: &[RecordBatch],
) -> Result<(), Violation> {
    let mut expected: Vec<TextRow> = rows_of(expected)?;
    let rows = harness.rows(SYSTEM, table, schema).await?;
    let mut rows = rows.ok_or_else(|| Violation::new(format!("there is no table {table}")))?;
    expected.sort();
    rows.sort();
    ensure_eq!(rows.len(), expected.len(), "rows of {table}");
    for (row, expected) in rows.iter().zip(&expected) {
        for ((value, expected), field) in row.iter().zip(expected).zip(schema.fields()) {
            ensure_eq!(value, expected, "column `{}` of {table}", field.name());
        }
    }
    Ok(())
}

pub(super) async fn expect_no_leftovers(harness: &dyn Harness, table: &TableId) -> Result<(), Violation> {
    ensure_eq!(harness.leftovers(SYSTEM, table).await?, Vec::<String>::new(), "leftovers of {table}");
    Ok(())
}

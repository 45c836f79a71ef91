//! Rows that were rejected: a table of their own, beside the one they are not in.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datakit_model::datakit::TablePlan;
use datakit_model::sink::{Target, WriteMode};
use datakit_model::source::{Rejected, RejectedRow};
use datakit_model::{Failure, RunIdentity, TableId, TableState};
use sha2::{Digest as _, Sha256};

use crate::error::RunError;
use crate::partition::PartitionResult;
use crate::summary::RejectedRows;
use crate::table::TableContext;
use crate::writing::commit_batch;

/// When the run began, and the id of its load.
const LOADED_AT: &str = "loaded_at";
const LOAD_ID: &str = "load_id";

/// What follows a table's name.
const SUFFIX: &str = "__rejected";

/// Takes the rows out of all partitions.
pub(crate) fn taken(results: &mut [PartitionResult]) -> Rejected {
    let mut all = Rejected::default();
    results.iter_mut().for_each(|result| all.append(std::mem::take(&mut result.report.rejected)));
    all
}

/// Commits the rows, unless the same plan has done so before.
pub(crate) async fn keep(
    context: &TableContext,
    plan: &TablePlan,
    rejected: Rejected,
) -> Result<Option<RejectedRows>, Failure> {
    let rows = rejected.rows();
    if rows.is_empty() || context.stop.is_cancelled() {
        return Ok(None);
    }
    let table = TableId { name: format!("{}{SUFFIX}", plan.table.name), ..plan.table.clone() };
    let sink = &context.destination.sink;
    let run = identity(&context.job.run, plan);
    let kept = RejectedRows { rows: rows.len() as u64, target: sink.locate(&run.source_system, &table)? };
    // Rejected rows have no key.
    let mode = match context.destination.mode.unwrap_or_default() {
        WriteMode::Merge => WriteMode::Append,
        mode => mode,
    };
    let before = sink.state_for(&run.source_system, &table, mode).await?;
    if before.as_ref().is_some_and(|state: &TableState| state.was_committed_by(&run.run_id)) {
        return Ok(Some(kept));
    }
    let crash = |error: ArrowError| RunError::Crashed { table: table.clone(), message: error.to_string() };
    let batch = batch(rows, &run).map_err(crash)?;
    let drift = context.job.drift.of(&plan.table);
    let target = Target { drift, ..Target::new(table.clone(), batch.schema(), mode, run) };
    commit_batch(sink, target, batch).await?;
    Ok(Some(kept))
}

/// The run, by a name that the same run has for the same plan alone: started again it may find other files.
fn identity(run: &RunIdentity, plan: &TablePlan) -> RunIdentity {
    let mut digest = Sha256::new();
    for partition in &plan.partitions {
        digest.update((partition.state.len() as u64).to_le_bytes());
        digest.update(&partition.state);
    }
    let plan = hex(&digest.finalize()[..8]);
    RunIdentity { run_id: format!("{} {plan}", run.run_id), ..run.clone() }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where each row was, what is wrong with it, how it reads, and which run left it out.
fn schema() -> SchemaRef {
    let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into();
    Arc::new(Schema::new(vec![
        Field::new("source_file", DataType::Utf8, false),
        Field::new("source_line", DataType::Int64, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("text", DataType::Utf8, false),
        Field::new(LOADED_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new(LOAD_ID, DataType::FixedSizeBinary(16), false).with_metadata(uuid),
    ]))
}

fn batch(rows: &[RejectedRow], run: &RunIdentity) -> Result<RecordBatch, ArrowError> {
    let loaded_at = TimestampMicrosecondArray::from_value(run.started_at_micros, rows.len()).with_timezone("UTC");
    let batch_id = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|_| run.batch_id.as_bytes()))?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.file))),
        Arc::new(rows.iter().map(|row| i64::try_from(row.line).ok()).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.reason))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.text))),
        Arc::new(loaded_at),
        Arc::new(batch_id),
    ];
    RecordBatch::try_new(schema(), columns)
}

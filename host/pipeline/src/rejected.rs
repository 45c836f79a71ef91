//! Rows that were rejected: a table of their own, beside the one they are not in.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datakit_model::datakit::TablePlan;
use datakit_model::rejects::{Rejected, RejectedRow};
use datakit_model::sink::{Target, WriteMode};
use datakit_model::{DriftRule, Failure, RunIdentity, TableId, TableState};
use sha2::{Digest as _, Sha256};

use crate::context::TableContext;
use crate::error::RunError;
use crate::partition::PartitionResult;
use crate::summary::RejectedRows;
use crate::writing::commit_batch;

/// When the run began, and the id of its load.
const LOADED_AT: &str = "loaded_at";
const LOAD_ID: &str = "load_id";

/// What follows a table's name.
const SUFFIX: &str = "__rejected";

/// Takes the rows out of all partitions.
fn taken(results: &mut [PartitionResult]) -> Rejected {
    let mut all = Rejected::default();
    results.iter_mut().for_each(|result| all.append(std::mem::take(&mut result.report.rejected)));
    all
}

/// Holds the rejected rows of all partitions to the operator's bounds, then commits them, unless this run has done so before.
pub(crate) async fn keep(
    context: &TableContext,
    plan: &TablePlan,
    results: &mut [PartitionResult],
) -> Result<Option<RejectedRows>, Failure> {
    let rejected = taken(results);
    let rows = rejected.rows();
    if let Some(bounds) = context.job.rejects {
        bounds.check(results.iter().map(|result| result.written.rows).sum(), rows)?;
    }
    if rows.is_empty() || context.stop.is_cancelled() {
        return Ok(None);
    }
    let table = TableId { name: format!("{}{SUFFIX}", plan.table.name), ..plan.table.clone() };
    let sink = &context.destination.sink;
    let run = identity(&context.job.run, plan, rows);
    let kept = RejectedRows { rows: rows.len() as u64, target: sink.locate(&run.source_system, &table)? };
    // Rejected rows have no key of their own: those of a merge are added.
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
    // The table is the host's own: it follows the host, whatever the operator says of the source's columns.
    let drift = match context.job.drift.of(&plan.table) {
        DriftRule::Replace => DriftRule::Replace,
        _ => DriftRule::Evolve,
    };
    let target = Target { drift, ..Target::new(table.clone(), batch.schema(), mode, run) };
    commit_batch(sink, target, batch).await?;
    Ok(Some(kept))
}

/// The run, by a name that the same run has for the same plan and the same rows alone: started again it may find other files, or other
/// bad values.
fn identity(run: &RunIdentity, plan: &TablePlan, rows: &[RejectedRow]) -> RunIdentity {
    let mut digest = Sha256::new();
    for partition in &plan.partitions {
        digest.update((partition.state.len() as u64).to_le_bytes());
        digest.update(&partition.state);
    }
    // In any order: partitions are read side by side.
    let mut hashes: Vec<[u8; 32]> = rows.iter().map(hash).collect();
    hashes.sort_unstable();
    hashes.iter().for_each(|hash| digest.update(hash));
    let plan = hex(&digest.finalize()[..8]);
    RunIdentity { run_id: format!("{} {plan}", run.run_id), ..run.clone() }
}

fn hash(row: &RejectedRow) -> [u8; 32] {
    let RejectedRow { file, line, reason, text, key, operation, column, value, mark: _ } = row;
    let line = line.map(|line| line.to_string());
    let mut digest = Sha256::new();
    for part in [file.as_deref(), line.as_deref(), Some(reason.as_str())]
        .into_iter()
        .chain([text, key, operation, column, value].map(|part| part.as_deref()))
    {
        digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        digest.update(part.unwrap_or_default());
    }
    digest.finalize().into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where each row was, what is wrong with it, how it reads, and which run left it out. One shape for all sources; the columns behind
/// `load_id` are younger than the others, and tables that lack them get them.
fn schema() -> SchemaRef {
    let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("source_file"),
        Field::new("source_line", DataType::Int64, true),
        Field::new("reason", DataType::Utf8, false),
        text("text"),
        Field::new(LOADED_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new(LOAD_ID, DataType::FixedSizeBinary(16), false).with_metadata(uuid),
        text("key"),
        text("operation"),
        text("column"),
        text("value"),
    ]))
}

fn batch(rows: &[RejectedRow], run: &RunIdentity) -> Result<RecordBatch, ArrowError> {
    fn texts<'r>(rows: &'r [RejectedRow], text: fn(&'r RejectedRow) -> Option<&'r str>) -> ArrayRef {
        Arc::new(rows.iter().map(text).collect::<StringArray>())
    }
    let line = |row: &RejectedRow| row.line.and_then(|line| i64::try_from(line).ok());
    let loaded_at = TimestampMicrosecondArray::from_value(run.started_at_micros, rows.len()).with_timezone("UTC");
    let batch_id = FixedSizeBinaryArray::try_from_iter(rows.iter().map(|_| run.batch_id.as_bytes()))?;
    let columns: Vec<ArrayRef> = vec![
        texts(rows, |row| row.file.as_deref()),
        Arc::new(rows.iter().map(line).collect::<Int64Array>()),
        texts(rows, |row| Some(row.reason.as_str())),
        texts(rows, |row| row.text.as_deref()),
        Arc::new(loaded_at),
        Arc::new(batch_id),
        texts(rows, |row| row.key.as_deref()),
        texts(rows, |row| row.operation.as_deref()),
        texts(rows, |row| row.column.as_deref()),
        texts(rows, |row| row.value.as_deref()),
    ];
    RecordBatch::try_new(schema(), columns)
}

#[cfg(test)]
mod tests {
    use datakit_model::datakit::{Partition, RoleColumns};
    use uuid::Uuid;

    use super::*;

    fn plan(state: u8) -> TablePlan {
        let table = TableId::new("dbo", "t");
        TablePlan {
            table: table.clone(),
            partitions: vec![Partition { table, ordinal: 0, state: vec![state], estimated_rows: None }],
            watermark_after: None,
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            roles: RoleColumns::default(),
            fixed: None,
            rules: Vec::new(),
        }
    }

    fn run() -> RunIdentity {
        RunIdentity {
            run_id: "nightly".to_owned(),
            batch_id: Uuid::from_u128(1),
            started_at_micros: 5,
            source_system: "ERP".to_owned(),
            datakit: "a".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        }
    }

    fn row(key: &str, value: Option<&str>) -> RejectedRow {
        RejectedRow {
            key: Some(key.to_owned()),
            value: value.map(str::to_owned),
            reason: "bad".to_owned(),
            ..RejectedRow::default()
        }
    }

    #[test]
    fn same_rows_of_a_run_are_the_same_in_any_order() {
        let (a, b) = (row("1", Some("x")), row("2", None));
        let of = |state, rows: &[RejectedRow]| identity(&run(), &plan(state), rows).run_id;
        assert_eq!(of(0, &[a.clone(), b.clone()]), of(0, &[b.clone(), a.clone()]));
        assert_ne!(of(0, &[a.clone(), b.clone()]), of(0, std::slice::from_ref(&a)), "a bad value that came meanwhile");
        assert_ne!(of(0, std::slice::from_ref(&a)), of(1, std::slice::from_ref(&a)), "another plan");
        assert_ne!(of(0, &[row("1", None)]), of(0, &[row("1", Some(""))]));
    }

    #[test]
    fn rows_of_files_and_of_databases_have_one_shape() {
        let file = RejectedRow::of_file("a.csv".into(), 3, "too few fields".to_owned(), Some("1".to_owned()));
        let batch = batch(&[file, row("{\"id\":1}", Some("NaN"))], &run()).unwrap();
        assert_eq!(batch.schema(), schema());
        let nulls: Vec<usize> = batch.columns().iter().map(|column| column.null_count()).collect();
        assert_eq!(nulls, [1, 1, 0, 1, 0, 0, 1, 2, 2, 1]);
    }
}

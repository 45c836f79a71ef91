//! The table of runs, `datakit_runs`: one row a record, written as any other table of the sink.
//!
//! Runs that end at the same time conflict as runs into any table do; each tries again until it has its row.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use datakit_model::sink::{RecordName, Sink, Target, WriteMode};
use datakit_model::{Failure, Retry, RunIdentity, TableId};
use datakit_pipeline::{TableStatus, batch_id, commit_batch};

use super::record::{RunRecord, micros, now_micros};
use crate::error::AppError;

/// The source system, the schema and the name of the table, as the sink maps them.
pub(crate) const SYSTEM: &str = "datakit";
const SCHEMA: &str = "host";
const TABLE: &str = "datakit_runs";

/// The shortest and the longest pause before another attempt, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..400;
/// Attempts to commit: about forty seconds, where the sink answers at once.
const MAX_ATTEMPTS: u32 = 200;

fn table() -> TableId {
    TableId::new(SCHEMA, TABLE)
}

/// Whether a table of a sink is the table of runs, which no datakit loads.
pub(crate) fn is_table_of_runs(source_system: &str, id: &TableId) -> bool {
    source_system == SYSTEM && *id == table()
}

/// Where the table is, for people.
pub(crate) fn place(sink: &Arc<dyn Sink>) -> Result<String, Failure> {
    sink.locate(SYSTEM, &table())
}

/// Adds the row of a record. The same record again adds none. Tries again where other runs come first.
pub(crate) async fn append(sink: &Arc<dyn Sink>, name: &RecordName, record: &RunRecord) -> Result<(), Failure> {
    let id = format!("{} {} {}", name.run_id, name.started_at_micros, name.ingest);
    commit(sink, id, std::slice::from_ref(record), WriteMode::Append).await
}

/// Replaces all rows by those of these records.
pub(crate) async fn replace(sink: &Arc<dyn Sink>, records: &[RunRecord]) -> Result<(), Failure> {
    commit(sink, format!("rebuild {}", now_micros()), records, WriteMode::Overwrite).await
}

async fn commit(sink: &Arc<dyn Sink>, id: String, records: &[RunRecord], mode: WriteMode) -> Result<(), Failure> {
    let run = RunIdentity {
        batch_id: batch_id(&id),
        run_id: id,
        started_at_micros: now_micros(),
        source_system: SYSTEM.to_owned(),
        datakit: "host".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: String::new(),
    };
    let crash = |error: ArrowError| AppError::Crashed { message: error.to_string() };
    let batch = batch(records).map_err(crash)?;
    let mut attempt = 1;
    loop {
        let target = Target::new(table(), batch.schema(), mode, run.clone());
        let failure = match commit_batch(sink, target, batch.clone()).await {
            Ok(()) => return Ok(()),
            Err(failure) if failure.retry() == Retry::Never || attempt == MAX_ATTEMPTS => return Err(failure),
            Err(failure) => failure,
        };
        tracing::debug!(target: "datakit", attempt, code = failure.code(), "the table of runs is written again");
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(PAUSE_MS))).await;
        // An error can leave it open whether the row is there.
        let state = sink.state_for(SYSTEM, &table(), mode).await.ok().flatten();
        if state.is_some_and(|state| state.was_committed_by(&run.run_id)) {
            return Ok(());
        }
    }
}

/// A column of the table: its field, and its values of all records.
fn column(name: &str, is_nullable: bool, values: ArrayRef) -> (Field, ArrayRef) {
    (Field::new(name, values.data_type().clone(), is_nullable), values)
}

fn batch(records: &[RunRecord]) -> Result<RecordBatch, ArrowError> {
    let texts = |name, value: fn(&RunRecord) -> String| {
        column(name, false, Arc::new(StringArray::from_iter_values(records.iter().map(value))))
    };
    let optional = |name, value: fn(&RunRecord) -> Option<String>| {
        column(name, true, Arc::new(records.iter().map(value).collect::<StringArray>()))
    };
    let times = |name, is_nullable, value: fn(&RunRecord) -> Option<i64>| {
        let values = records.iter().map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        column(name, is_nullable, Arc::new(values))
    };
    let numbers = |name, value: fn(&RunRecord) -> u64| {
        let values = records.iter().map(|record| i64::try_from(value(record)).unwrap_or(i64::MAX));
        column(name, false, Arc::new(Int64Array::from_iter_values(values)))
    };
    let seconds = records.iter().map(|record| record.seconds).collect::<Float64Array>();
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = [
        texts("run_id", |record| record.run_id.clone()),
        texts("ingest", |record| record.ingest.clone()),
        texts("status", |record| record.status.to_string()),
        times("started_at", true, |record| micros(&record.started_at)),
        times("ended_at", true, |record| record.ended_at.as_deref().and_then(micros)),
        column("seconds", true, Arc::new(seconds)),
        texts("datakit", |record| record.datakit.reference.clone()),
        optional("digest", |record| record.datakit.digest.clone()),
        optional("source_system", |record| record.source_system.clone()),
        texts("sink", |record| record.sink.name.clone()),
        texts("tables", |record| record.grants.tables.clone()),
        numbers("tables_committed", |record| record.tables_of(TableStatus::Committed) as u64),
        numbers("tables_unchanged", |record| record.tables_of(TableStatus::Unchanged) as u64),
        numbers("tables_failed", |record| record.tables_of(TableStatus::Failed) as u64),
        numbers("tables_stopped", |record| record.tables_of(TableStatus::Stopped) as u64),
        numbers("rows", |record| record.rows),
        numbers("bytes", |record| record.bytes),
        numbers("retries", |record| record.retries),
        numbers("rejected", |record| record.tables.iter().map(|table| table.rejected).sum()),
        numbers("tables_drift", |record| record.tables.iter().filter(|table| !table.drift.is_empty()).count() as u64),
        optional("error_code", |record| Some(record.first_error()?.code.clone())),
        optional("error", |record| Some(record.first_error()?.message.clone())),
    ]
    .into_iter()
    .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, TimeUnit};

    use super::*;

    #[test]
    fn columns_of_no_record_have_their_types() {
        let batch = batch(&[]).unwrap();
        let schema = batch.schema();
        let of = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
        assert_eq!(of("started_at"), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
        assert_eq!((of("rows"), of("error")), (DataType::Int64, DataType::Utf8));
        assert!(is_table_of_runs("datakit", &table()) && !is_table_of_runs("ERP", &table()));
    }
}

//! One partition: from a fresh instance of the datakit into a partition writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use datakit_model::datakit::Extraction;
use datakit_model::datakit::Partition;
use datakit_model::receipt::{Delivered, Tally};
use datakit_model::resume::FinishedPartition;
use datakit_model::sink::{PartitionWriter, RetryUnit, TableWriter, Written};
use datakit_model::source::ReadReport;
use datakit_model::{Failure, TrackedBatch};
use datakit_quality::{PartitionChecks, PartitionOutcome};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::context::{TableContext, Turn};
use crate::error::RunError;
use crate::event::RunEvent;
use crate::retry;
use crate::sieve::Sieve;
use crate::summary::TableError;

/// What a partition leaves.
#[derive(Debug, Default)]
pub(crate) struct PartitionResult {
    pub(crate) ordinal: u32,
    pub(crate) written: Written,
    /// What was handed to the writer; none: it was not counted.
    pub(crate) delivered: Option<Delivered>,
    /// What is known of its rows.
    pub(crate) report: ReadReport,
    /// The watermark that they reach, where the plan could not say it.
    pub(crate) watermark: Option<String>,
    /// What its rows are worth, where the table has rules.
    pub(crate) quality: Option<PartitionOutcome>,
}

impl From<FinishedPartition> for PartitionResult {
    fn from(finished: FinishedPartition) -> Self {
        let (ordinal, written) = (finished.ordinal, finished.written());
        // Another process has read the values.
        let delivered = Some(Delivered { rows: written.rows, checksum: None });
        Self { ordinal, written, delivered, report: finished.report(), ..Self::default() }
    }
}

/// Reads and writes one partition, again after a failure that may pass when the sink's unit of retry is a partition.
pub(crate) async fn copy(
    context: &TableContext,
    writer: &Arc<dyn TableWriter>,
    partition: &Partition,
    schema: &SchemaRef,
    mut turn: Turn,
) -> Result<PartitionResult, Failure> {
    let mut attempt = 1;
    loop {
        let mut rows = 0;
        let failure = match attempt_copy(context, writer, partition, schema, &mut turn, &mut rows).await {
            Ok(result) => return Ok(result),
            Err(failure) => failure,
        };
        let pause = match context.unit {
            RetryUnit::Partition => retry::pause(&failure, attempt, &context.job.limits),
            RetryUnit::Table => None,
        };
        let Some(pause) = pause else { return Err(failure) };
        context.reported_rows.fetch_sub(rows, Ordering::Relaxed);
        context.observer.event(RunEvent::Retrying {
            table: partition.table.to_string(),
            partition: Some(partition.ordinal),
            attempt,
            rows_taken_back: rows,
            pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            error: TableError::from(&failure),
        });
        context.sleep(pause).await?;
        turn = turn.again(context).await?;
        attempt += 1;
    }
}

async fn attempt_copy(
    context: &TableContext,
    table: &Arc<dyn TableWriter>,
    partition: &Partition,
    schema: &SchemaRef,
    turn: &mut Turn,
    rows: &mut u64,
) -> Result<PartitionResult, Failure> {
    let extraction = turn.extraction(context, partition).await?;
    if extraction.schema() != *schema {
        let table = partition.table.clone();
        return Err(RunError::PartitionSchema { table, ordinal: partition.ordinal }.into());
    }
    let mut writer = table.partition(partition.ordinal).await?;
    let sieve = Sieve::of(context, table, extraction.roles());
    let pumped = pump(context, partition, (extraction, sieve), writer.as_mut(), rows);
    match context.unless_stopped(pumped).await {
        Ok(read) => Ok(PartitionResult { ordinal: partition.ordinal, written: writer.finish().await?, ..read }),
        Err(failure) => {
            writer.abort().await;
            Err(failure)
        }
    }
}

/// Projection on one task, encoding on another, one batch between them.
async fn pump(
    context: &TableContext,
    partition: &Partition,
    (extraction, sieve): (Box<dyn Extraction>, Option<Sieve>),
    writer: &mut dyn PartitionWriter,
    rows: &mut u64,
) -> Result<PartitionResult, Failure> {
    let (sender, mut receiver) = mpsc::channel::<TrackedBatch>(1);
    let crashed = |message: String| RunError::Crashed { table: partition.table.clone(), message };
    let tally = Tally::new(context.job.receipt, &extraction.schema());
    let mut tally = tally.map_err(|error| crashed(error.to_string()))?;
    let checks = context.checks.as_ref().map(PartitionChecks::new);
    let producer =
        AbortOnDropHandle::new(tokio::spawn(produce((extraction, sieve), sender, context.asks_watermark, checks)));
    while let Some(batch) = receiver.recv().await {
        let (count, bytes) = (batch.batch().num_rows() as u64, batch.batch().get_array_memory_size() as u64);
        if let Some(tally) = &mut tally {
            tally.add(batch.batch()).map_err(|error| crashed(error.to_string()))?;
        }
        writer.write(batch).await?;
        *rows += count;
        context.reported_rows.fetch_add(count, Ordering::Relaxed);
        context.observer.event(RunEvent::BatchWritten { table: partition.table.to_string(), rows: count, bytes });
    }
    match producer.await {
        Ok(read) => Ok(PartitionResult { delivered: tally.as_ref().map(Tally::delivered), ..read? }),
        Err(crash) => Err(crashed(crash.to_string()).into()),
    }
}

async fn produce(
    (mut extraction, mut sieve): (Box<dyn Extraction>, Option<Sieve>),
    batches: mpsc::Sender<TrackedBatch>,
    asks_watermark: bool,
    mut checks: Option<PartitionChecks>,
) -> Result<PartitionResult, Failure> {
    while let Some(mut batch) = extraction.next().await? {
        if let Some(sieve) = &mut sieve {
            batch = sieve.sift(batch)?;
        }
        if batch.batch().num_rows() == 0 {
            continue;
        }
        if let Some(checks) = &mut checks {
            checks.add(batch.batch())?;
        }
        // The writer failed and has its own error to report.
        if batches.send(batch).await.is_err() {
            return Ok(PartitionResult::default());
        }
    }
    let watermark = if asks_watermark { extraction.watermark().await? } else { None };
    let quality = checks.map(PartitionChecks::finish).transpose()?;
    let mut report = extraction.report();
    report.rejected.append(sieve.map(|sieve| sieve.rejected).unwrap_or_default());
    Ok(PartitionResult { report, watermark, quality, ..PartitionResult::default() })
}

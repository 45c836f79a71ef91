//! What receipts cost: CPU seconds of a load into Delta at each level.
//!
//! ```text
//! cargo run -p datakit-delta --example receipt -- DIRECTORY ROWS
//! ```
//!
//! A run reads and projects besides, so that its share is smaller.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::receipt::Tally;
use datakit_model::sink::{CommitNote, Sink as _, Target, WriteMode};
use datakit_model::{ReceiptLevel, RunIdentity, TableId, TrackedBatch};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH_ROWS: i64 = 8192;
const USAGE: &str = "usage: receipt DIRECTORY ROWS";

/// Narrow rows: two numbers, a time, a short text.
fn rows(from: i64, to: i64) -> Outcome<RecordBatch> {
    let texts: StringArray = (from..to).map(|id| Some(format!("customer {}", id * 7919 % 100_003))).collect();
    let places = (from..to).map(|id| i32::try_from(id % 1000)).collect::<Result<Vec<_>, _>>()?;
    let times = TimestampMicrosecondArray::from_iter_values((from..to).map(|id| 1_700_000_000_000_000 + id * 1_003));
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from_iter_values(from..to))),
        ("place", Arc::new(Int32Array::from(places))),
        ("at", Arc::new(times)),
        ("customer", Arc::new(texts)),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))?)
}

async fn load(sink: &DeltaSink, batches: &[RecordBatch], level: ReceiptLevel) -> Outcome<()> {
    let run = RunIdentity {
        run_id: uuid::Uuid::new_v4().to_string(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 0,
        source_system: "ERP".to_owned(),
        datakit: "receipt".to_owned(),
        version: "0.0.0".to_owned(),
        digest: "sha256:0".to_owned(),
    };
    let Some(first) = batches.first() else { return Err(USAGE.into()) };
    let table = TableId::new("dbo", format!("rows_{level}"));
    let writer = sink.open(Target::new(table, first.schema(), WriteMode::Overwrite, run)).await?;
    let mut tally = Tally::new(level, &first.schema())?;
    let mut partition = writer.partition(0).await?;
    for batch in batches {
        tally.as_mut().map_or(Ok(()), |tally| tally.add(batch))?;
        partition.write(TrackedBatch::untracked(batch.clone())).await?;
    }
    partition.finish().await?;
    let delivered = tally.map(|tally| tally.delivered());
    writer.commit(CommitNote { delivered, ..CommitNote::default() }).await?;
    Ok(())
}

/// CPU seconds of the process so far, by ticks of 10 ms.
fn cpu_seconds() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/stat")?;
    let fields = status.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let ticks = |at: usize| fields.as_ref().and_then(|fields| fields.get(at)?.parse::<f64>().ok());
    Ok((ticks(11).unwrap_or_default() + ticks(12).unwrap_or_default()) / 100.0)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, count] = arguments.as_slice() else { return Err(USAGE.into()) };
    let count: i64 = count.parse()?;
    let from = (0..count).step_by(usize::try_from(BATCH_ROWS)?);
    let batches = from.map(|from| rows(from, (from + BATCH_ROWS).min(count))).collect::<Outcome<Vec<_>>>()?;
    let sink = DeltaSink::new(DeltaConfig::new(directory.clone()))?;
    for _ in 0..3 {
        for level in [ReceiptLevel::Off, ReceiptLevel::Count, ReceiptLevel::Full] {
            let before = cpu_seconds()?;
            load(&sink, &batches, level).await?;
            println!("{level}: {:.2} CPU seconds for {count} rows", cpu_seconds()? - before);
        }
    }
    Ok(())
}

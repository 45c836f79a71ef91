//! What a merge into a large Delta table costs: time, memory, files.
//!
//! ```text
//! cargo run -p datakit-delta --example merge -- DIRECTORY ROWS CHANGES [near]
//! ```
//!
//! Makes a table of so many rows, unless it is there, and merges so many changes into it: spread over all of its keys, or near each
//! other.
#![expect(clippy::print_stdout, reason = "a program that reports")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::sink::{CommitNote, Committed, Sink as _, Target, WriteMode};
use datakit_model::{RunIdentity, TableId, TrackedBatch};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BATCH_ROWS: i64 = 8192;
const USAGE: &str = "usage: merge DIRECTORY ROWS CHANGES [near]";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Utf8, true),
        Field::new("amount", DataType::Decimal128(18, 2), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("note", DataType::Utf8, true),
    ]))
}

fn rows(ids: &[i64], note: &str) -> Outcome<RecordBatch> {
    let customers: StringArray = ids.iter().map(|id| Some(format!("customer {}", id * 7919 % 100_003))).collect();
    let amounts = Decimal128Array::from_iter_values(ids.iter().map(|id| i128::from(id * 31 % 1_000_000)));
    let times =
        TimestampMicrosecondArray::from_iter_values(ids.iter().map(|id| 1_700_000_000_000_000 + id * 1_000_003));
    let notes: StringArray = ids.iter().map(|id| Some(format!("{note} {}", id % 1000))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(customers),
        Arc::new(amounts.with_precision_and_scale(18, 2)?),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(notes),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

async fn load(sink: &DeltaSink, mode: WriteMode, ids: &[i64], note: &str) -> Outcome<Committed> {
    let run = RunIdentity {
        run_id: uuid::Uuid::new_v4().to_string(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 0,
        source_system: "ERP".to_owned(),
        datakit: "merge".to_owned(),
        version: "0.0.0".to_owned(),
        digest: "sha256:0".to_owned(),
    };
    let target = Target::new(TableId::new("dbo", "orders"), schema(), mode, run);
    let writer = sink.open(Target { keys: vec!["id".to_owned()], ..target }).await?;
    let mut partition = writer.partition(0).await?;
    for ids in ids.chunks(usize::try_from(BATCH_ROWS)?) {
        partition.write(TrackedBatch::untracked(rows(ids, note)?)).await?;
    }
    partition.finish().await?;
    Ok(writer.commit(CommitNote::default()).await?)
}

/// The most memory that the process has held, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, table_rows, changes, how @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    let (table_rows, changes): (i64, i64) = (table_rows.parse()?, changes.parse()?);
    let sink = DeltaSink::new(DeltaConfig { max_file_bytes: 16 * 1024 * 1024, ..DeltaConfig::new(directory.clone()) })?;
    if sink.rows("ERP", &TableId::new("dbo", "orders")).await?.rows == 0 {
        let ids: Vec<i64> = (0..table_rows).collect();
        load(&sink, WriteMode::Append, &ids, "first").await?;
        println!("made a table of {table_rows} rows with {} MiB; run again to merge", peak_mib());
        return Ok(());
    }
    let step = if how.is_empty() { (table_rows / changes.max(1)).max(1) } else { 1 };
    let ids: Vec<i64> = (0..changes).map(|change| table_rows / 2 * i64::from(step == 1) + change * step).collect();
    let started = Instant::now();
    let committed = load(&sink, WriteMode::Merge, &ids, "changed").await?;
    println!(
        "merged {changes} rows into {} in {:.2} s with at most {} MiB, writing {} MiB",
        committed.holds.rows,
        started.elapsed().as_secs_f64(),
        peak_mib(),
        committed.written.bytes / 1024 / 1024
    );
    Ok(())
}

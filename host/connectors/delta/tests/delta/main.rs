//! The Delta sink against the suite, against readers that are not ours, and against tables and disks that resist.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod backfill;
mod drift;
mod features;
mod log;
mod merge;
mod partitions;
mod readers;
mod receipts;
mod resistance;
mod state;
mod stores;
mod suite;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_connect::sink::conformance::{batch, field, identity};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::sink::{CommitNote, Committed, Sink, Target, WriteMode};
use datakit_model::{Failure, TableId, TrackedBatch};
use deltalake::DeltaTableBuilder;

/// The table of most tests.
fn orders() -> TableId {
    TableId::new("dbo", "orders")
}

fn sink(root: &Path) -> DeltaSink {
    DeltaSink::new(DeltaConfig::new(root.to_string_lossy())).unwrap()
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false), field("name", DataType::Utf8)]))
}

fn rows(ids: std::ops::Range<i32>) -> RecordBatch {
    let names: StringArray = ids.clone().map(|i| Some(format!("name {i}"))).collect();
    batch(&schema(), vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)]).unwrap()
}

fn target(run_id: &str, schema: SchemaRef) -> Target {
    Target::new(orders(), schema, WriteMode::Append, identity(run_id))
}

async fn load(sink: &DeltaSink, target: Target, batches: &[RecordBatch]) -> Result<Committed, Failure> {
    let writer = sink.open(target).await?;
    let mut partition = writer.partition(0).await?;
    for batch in batches {
        partition.write(TrackedBatch::untracked(batch.clone())).await?;
    }
    partition.finish().await?;
    writer.commit(CommitNote::default()).await
}

/// The files that the newest version of a table names; none: there is no table.
async fn live_files(directory: &Path) -> Option<Vec<PathBuf>> {
    Some(live_parts(directory).await?.into_iter().map(|(file, _)| file).collect())
}

/// The same with the partition values of each file, by column.
async fn live_parts(directory: &Path) -> Option<Vec<(PathBuf, HashMap<String, Option<String>>)>> {
    if !directory.join("_delta_log").exists() {
        return None;
    }
    let url = url::Url::from_directory_path(directory).unwrap();
    let table = DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap();
    let files = table.snapshot().unwrap().log_data();
    Some(files.iter().map(|file| (directory.join(file.path().as_ref()), file.partition_values_map())).collect())
}

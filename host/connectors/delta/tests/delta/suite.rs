//! The Delta sink against the suite.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Schema};
use async_trait::async_trait;
use datakit_connect::conformance_tests;
use datakit_connect::sink::conformance::{Harness, TextRow, Violation, cell, trimmed_time};
use datakit_delta::{DeltaConfig, DeltaSink, names};
use datakit_model::TableId;
use datakit_model::sink::Sink;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use super::{live_files, live_parts};

struct DeltaHarness {
    directory: TempDir,
}

impl DeltaHarness {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn table(&self, system: &str, table: &TableId) -> PathBuf {
        let segments = [system, &table.schema, &table.name].map(|s| names::segment("table", s).unwrap());
        self.directory.path().join("bronze").join(segments.join("/"))
    }
}

#[async_trait]
impl Harness for DeltaHarness {
    async fn sink(&self) -> Result<Box<dyn Sink>, Violation> {
        let mut config = DeltaConfig::new(self.directory.path().join("bronze").to_string_lossy());
        config.checkpoint_interval = 3;
        Ok(Box::new(DeltaSink::new(config).map_err(|e| Violation::new(e.to_string()))?))
    }

    async fn rows(&self, system: &str, table: &TableId, schema: &Schema) -> Result<Option<Vec<TextRow>>, Violation> {
        let Some(files) = live_parts(&self.table(system, table)).await else { return Ok(None) };
        let mut rows = Vec::new();
        for (file, values) in files {
            let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
            for batch in reader.build().unwrap() {
                rows.extend(text_rows(&with_values(batch?, &values)?, schema)?);
            }
        }
        Ok(Some(rows))
    }

    async fn leftovers(&self, system: &str, table: &TableId) -> Result<Vec<String>, Violation> {
        let directory = self.table(system, table);
        let live = live_files(&directory).await.unwrap_or_default();
        let left = files_below(&directory).into_iter().filter(|path| !live.contains(path));
        Ok(left.map(|path| path.display().to_string()).collect())
    }

    fn time_digits(&self) -> u32 {
        7
    }

    fn unrepresentable(&self) -> Option<RecordBatch> {
        None
    }
}

/// The batch with its file's partition values as columns of text.
pub(crate) fn with_values(
    batch: RecordBatch,
    values: &HashMap<String, Option<String>>,
) -> Result<RecordBatch, Violation> {
    let column =
        |value: &Option<String>| -> ArrayRef { Arc::new(StringArray::from(vec![value.clone(); batch.num_rows()])) };
    let held = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().clone(), Arc::clone(column)))
        .collect::<Vec<_>>();
    let added = values.iter().map(|(name, value)| (name.clone(), column(value)));
    Ok(RecordBatch::try_from_iter_with_nullable(
        held.into_iter().chain(added).map(|(name, column)| (name, column, true)),
    )?)
}

/// All files of a table but those of its log and its state.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("_delta_log") || path.ends_with("_datakit") => Vec::new(),
        true => files_below(&path),
        false => vec![path],
    };
    entries.flat_map(of).collect()
}

/// The rows in the columns' order of `schema`; uuid and time are text in Delta. A column that the file does not have is null.
pub(crate) fn text_rows(batch: &RecordBatch, schema: &Schema) -> Result<Vec<TextRow>, Violation> {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            let index = (0..batch.num_columns())
                .find(|i| names::source_column(batch.schema().field(*i).name()).as_ref() == Some(field.name()));
            let nulls = || new_null_array(field.data_type(), batch.num_rows());
            (index.map_or_else(nulls, |index| Arc::clone(batch.column(index))), field.data_type().clone())
        })
        .collect();
    let value = |column: &_, data_type: &DataType, row| match data_type {
        DataType::Time64(_) => Ok(cell(column, row)?.map(|text| trimmed_time(&text))),
        _ => cell(column, row),
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|(column, t)| value(column, t, row)).collect()).collect()
}

mod conformance {
    use super::*;

    conformance_tests!(async { DeltaHarness::new() });
}

//! Answers about files that are no rows of them: listings and samples.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use tokio::runtime::Handle;

use super::bytes::{FileBytes, file_error};
use super::config::FilesConfig;
use super::csv::CsvRecords;
use super::error::FilesError;
use super::input::Input;
use super::json::JsonLines;
use super::request::{FilePart, FormatKind, Sample};
use super::storage::{FoundFile, Storage};
use super::tables::TableRules;
use crate::delivery::Closing;

/// Text of one file's sample, in bytes.
const MAX_SAMPLE_BYTES: usize = 1 << 20;
/// Rows of a batch of an answer.
const BATCH_ROWS: usize = 8192;

/// The columns of a listing: null but for schema and name where a table of the rules has no file.
pub(super) fn listing_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("schema_name", DataType::Utf8, false),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("path", DataType::Utf8, true),
        Field::new("size", DataType::Int64, true),
        Field::new("modified", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("version", DataType::Utf8, true),
    ]))
}

/// All files that belong to a table.
pub(super) fn listing(files: Vec<FoundFile>, rules: &TableRules) -> Result<Vec<RecordBatch>, FilesError> {
    let mut rows = Vec::new();
    for file in files {
        if let Some(table) = rules.table_of(&file.path)? {
            rows.push((table, Some(file)));
        }
    }
    for table in rules.named() {
        if !rows.iter().any(|(of, _)| of == table) {
            rows.push((table.clone(), None));
        }
    }
    let batch = |rows: &[(datakit_model::TableId, Option<FoundFile>)]| -> Result<RecordBatch, ArrowError> {
        let files = || rows.iter().map(|(_, file)| file.as_ref());
        let size = |file: &FoundFile| i64::try_from(file.size).unwrap_or(i64::MAX);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(table, _)| &table.schema))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(table, _)| &table.name))),
            Arc::new(files().map(|file| file.map(|file| &file.path)).collect::<StringArray>()),
            Arc::new(files().map(|file| file.map(size)).collect::<Int64Array>()),
            Arc::new(
                files()
                    .map(|file| file.map(|file| file.modified_micros))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("UTC"),
            ),
            Arc::new(files().map(|file| file.map(|file| &file.version)).collect::<StringArray>()),
        ];
        RecordBatch::try_new(listing_schema(), columns)
    };
    let batches: Result<Vec<RecordBatch>, ArrowError> = rows.chunks(BATCH_ROWS).map(batch).collect();
    batches.map_err(|error| FilesError::Internal(error.to_string()))
}

/// The columns of a sample: `record` is a JSON array of texts for delimited fields, else the object as it stands.
pub(super) fn sample_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("record", DataType::Utf8, false),
    ]))
}

/// The first records of files, on a thread that may wait. Records that are none are left out.
pub(super) struct Sampler {
    pub(super) config: Arc<FilesConfig>,
    pub(super) storage: Arc<Storage>,
    pub(super) runtime: Handle,
    pub(super) closing: Closing<FilesError>,
}

impl Sampler {
    pub(super) fn sample(&self, request: &Sample) -> Result<Vec<RecordBatch>, FilesError> {
        request
            .files
            .iter()
            .map(|file| {
                let records = self.records(file, request)?;
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(StringArray::from_iter_values(records.iter().map(|_| &file.path))),
                    Arc::new(Int64Array::from_iter_values(
                        records.iter().map(|(line, _)| i64::try_from(*line).unwrap_or(i64::MAX)),
                    )),
                    Arc::new(StringArray::from_iter_values(records.iter().map(|(_, record)| record))),
                ];
                RecordBatch::try_new(sample_schema(), columns).map_err(|error| FilesError::Internal(error.to_string()))
            })
            .collect()
    }

    fn records(&self, file: &FilePart, request: &Sample) -> Result<Vec<(u64, String)>, FilesError> {
        let (open, found) = self.runtime.block_on(self.storage.open(&file.path))?;
        if found.version != file.version {
            return Err(FilesError::Changed { path: file.path.clone() });
        }
        let failed = |error| file_error(&file.path, error);
        let bytes = FileBytes::new(Arc::new(open), 0, self.runtime.clone(), self.closing.clone());
        let input = Input::new(bytes, &file.path, &request.format, self.config.max_expansion).map_err(failed)?;
        let mut records = Vec::new();
        let mut left = MAX_SAMPLE_BYTES;
        let mut keep = |line: u64, record: String| {
            left = left.saturating_sub(record.len());
            if left > 0 {
                records.push((line, record));
            }
            left > 0
        };
        let mut wanted = request.max_rows;
        match request.format.kind {
            FormatKind::Csv => {
                let mut csv = CsvRecords::new(input, &request.format, self.config.max_line_bytes);
                csv.skip_lines(request.format.skip_lines).map_err(failed)?;
                while wanted > 0 && csv.advance().map_err(failed)? {
                    wanted -= 1;
                    let Ok(fields) = csv.fields() else { continue };
                    let record = serde_json::Value::from_iter(fields.iter()).to_string();
                    if !keep(csv.line(), record) {
                        break;
                    }
                }
            }
            FormatKind::JsonLines => {
                let mut lines = JsonLines::new(input, self.config.max_line_bytes);
                while wanted > 0 && lines.advance().map_err(failed)? {
                    wanted -= 1;
                    let mut members = Vec::new();
                    if lines.members(&mut members).is_ok()
                        && !keep(lines.line(), String::from_utf8_lossy(lines.raw()).into_owned())
                    {
                        break;
                    }
                }
            }
        }
        Ok(records)
    }
}

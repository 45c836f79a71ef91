//! Answers about files that are no rows of them: listings and samples.

use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datakit_model::files::FilePart;
use tokio::runtime::Handle;

use super::bytes::{FileBytes, file_error};
use super::config::FilesConfig;
use super::csv::CsvRecords;
use super::document::JsonRecords;
use super::error::FilesError;
use super::found::advice;
use super::input::Input;
use super::request::{Format, FormatKind, Sample};
use super::storage::{FoundFile, Storage};
use super::tables::TableRules;
use datakit_connect::delivery::Closing;

/// Text of one file's sample, in bytes.
const MAX_SAMPLE_BYTES: usize = 1 << 20;
/// The start of a file that says what the file is, in bytes.
const ADVISED_BYTES: usize = 4096;
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

/// The columns of a sample: `record` is a JSON array of texts for delimited fields, else the object as it stands. One row without
/// a record says in `problem` why no record of a file can be read.
pub(super) fn sample_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("line", DataType::Int64, false),
        Field::new("record", DataType::Utf8, true),
        Field::new("problem", DataType::Utf8, true),
    ]))
}

/// Records of a sample with their lines, or the reason why there is none.
type Records = Vec<(u64, Result<String, String>)>;

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
                    Arc::new(records.iter().map(|(_, record)| record.as_ref().ok()).collect::<StringArray>()),
                    Arc::new(records.iter().map(|(_, record)| record.as_ref().err()).collect::<StringArray>()),
                ];
                RecordBatch::try_new(sample_schema(), columns).map_err(|error| FilesError::Internal(error.to_string()))
            })
            .collect()
    }

    fn records(&self, file: &FilePart, request: &Sample) -> Result<Records, FilesError> {
        let (open, found) = self.runtime.block_on(self.storage.open(&file.path))?;
        if found.version != file.version {
            return Err(FilesError::Changed { path: file.path.clone() });
        }
        let failed = |error| file_error(&file.path, error);
        let bytes = FileBytes::new(Arc::new(open), 0, self.runtime.clone(), self.closing.clone());
        let mut input = Input::new(bytes, &file.path, &request.format, self.config.max_expansion).map_err(failed)?;
        while input.window().len() < ADVISED_BYTES && input.fill().map_err(failed)? {}
        let start = input.window()[..input.window().len().min(ADVISED_BYTES)].to_vec();
        let seen = match request.format.kind {
            FormatKind::Csv => self.csv(input, request),
            FormatKind::JsonLines | FormatKind::Json => self.json(input, request),
        };
        let Seen { mut records, problem, .. } = seen.map_err(failed)?;
        let header = usize::from(request.format.kind == FormatKind::Csv && request.format.header);
        if let (true, Some((line, problem))) = (records.len() <= header, problem) {
            let advice = advice(&start, &request.format);
            records.push((line, Err(format!("no record can be read; line {line}: {problem}; hint: {advice}"))));
        }
        Ok(records)
    }

    fn csv(&self, input: Input, request: &Sample) -> io::Result<Seen> {
        let Format { header, skip_lines, .. } = request.format;
        let mut csv = CsvRecords::new(input, &request.format, self.config.max_line_bytes);
        csv.skip_lines(skip_lines)?;
        csv.keep_empty_lines(!header);
        let mut seen = Seen::new(request);
        while seen.wants_more() && csv.advance()? {
            let record = csv.fields().map(|fields| {
                let texts: Vec<&str> = fields.iter().collect();
                (texts.len(), texts == [""], serde_json::Value::from_iter(texts).to_string())
            });
            match record {
                Err(problem) => {
                    seen.bad(csv.line(), problem.to_owned());
                    // What follows a header that cannot be read has no names.
                    if header && seen.records.is_empty() {
                        break;
                    }
                }
                Ok((fields, is_empty, record)) => {
                    // The first record that is no empty line says how many columns there are.
                    if seen.is_first && !is_empty {
                        seen.is_first = false;
                        csv.keep_empty_lines(fields == 1);
                        if fields > 1 {
                            seen.records.clear();
                        }
                    }
                    seen.good(csv.line(), record);
                }
            }
        }
        Ok(seen)
    }

    fn json(&self, input: Input, request: &Sample) -> io::Result<Seen> {
        let mut json = JsonRecords::new(input, request.format.kind, self.config.max_line_bytes)?;
        let mut seen = Seen::new(request);
        while seen.wants_more() && json.advance()? {
            let mut members = Vec::new();
            match json.members(&mut members) {
                Ok(()) => seen.good(json.line(), String::from_utf8_lossy(json.raw()).into_owned()),
                Err(problem) => seen.bad(json.line(), problem),
            }
        }
        Ok(seen)
    }
}

/// What a sample of one file has so far.
struct Seen {
    records: Records,
    wanted: u64,
    bytes_left: usize,
    /// Whether the number of columns is still to be seen.
    is_first: bool,
    /// The first record that cannot be read.
    problem: Option<(u64, String)>,
}

impl Seen {
    fn new(request: &Sample) -> Self {
        let (wanted, bytes_left) = (request.max_rows, MAX_SAMPLE_BYTES);
        Self { records: Vec::new(), wanted, bytes_left, is_first: true, problem: None }
    }

    fn wants_more(&self) -> bool {
        self.wanted > 0 && self.bytes_left > 0
    }

    fn good(&mut self, line: u64, record: String) {
        self.wanted -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(record.len());
        self.records.push((line, Ok(record)));
    }

    fn bad(&mut self, line: u64, problem: String) {
        self.wanted -= 1;
        self.problem.get_or_insert((line, problem));
    }
}

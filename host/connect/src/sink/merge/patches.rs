//! New values of columns of rows that are there: kept in temporary storage by the file that holds the row and its place there, so
//! that each file is read once and written anew in its own order.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use tempfile::SpooledTempFile;

use super::chunk;
use crate::sink::SinkError;

/// Rows of a file whose patches are in memory at one time.
const WINDOW_ROWS: usize = 64 * 1024;
/// What stays in memory of all patches, in bytes.
const MAX_IN_MEMORY_BYTES: usize = 4 * 1024 * 1024;

/// New values of rows, by the files that hold them.
#[derive(Debug)]
pub struct Patches {
    /// The source's table, for messages.
    table: String,
    /// The columns that get values.
    columns: SchemaRef,
    /// The same, and the place of each row in its window.
    stored: SchemaRef,
    file: SpooledTempFile,
    bytes: u64,
    /// By the number of the file, and of the window there.
    chunks: BTreeMap<(usize, usize), Vec<Chunk>>,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    at: u64,
    message_bytes: usize,
    body_bytes: usize,
}

/// The patches of one window of a file.
#[derive(Debug)]
struct Window {
    number: usize,
    /// The columns that get values.
    values: RecordBatch,
    /// For each row of the window its place among the values.
    places: Vec<Option<u32>>,
}

/// Fills the rows of one file, in their order.
pub struct Filler<'p> {
    patches: &'p mut Patches,
    file: usize,
    window: Option<Window>,
}

impl Patches {
    /// None yet, for these columns of a table.
    #[must_use]
    pub fn new(table: String, columns: &[FieldRef]) -> Self {
        let nullable = |field: &FieldRef| -> FieldRef { Arc::new(Field::clone(field).with_nullable(true)) };
        let columns: Vec<FieldRef> = columns.iter().map(nullable).collect();
        let place: FieldRef = Arc::new(Field::new("", DataType::UInt32, false));
        let stored = columns.iter().cloned().chain([place]).collect::<Vec<_>>();
        Self {
            table,
            columns: Arc::new(Schema::new(columns)),
            stored: Arc::new(Schema::new(stored)),
            file: SpooledTempFile::new(MAX_IN_MEMORY_BYTES),
            bytes: 0,
            chunks: BTreeMap::new(),
        }
    }

    /// The files that have patches, in ascending order.
    #[must_use]
    pub fn files(&self) -> Vec<usize> {
        let mut files: Vec<usize> = self.chunks.keys().map(|(file, _)| *file).collect();
        files.dedup();
        files
    }

    /// Adds new values of rows of a file, which are in ascending order. No row gets values twice.
    ///
    /// # Errors
    /// [`SinkError::Spool`]: there is no space for temporary files.
    pub fn add(&mut self, file: usize, rows: &[usize], values: &[ArrayRef]) -> Result<(), SinkError> {
        let mut from = 0;
        for of_window in rows.chunk_by(|a, b| a / WINDOW_ROWS == b / WINDOW_ROWS) {
            let window = of_window.first().map_or(0, |row| row / WINDOW_ROWS);
            let places = of_window.iter().map(|row| u32::try_from(row % WINDOW_ROWS).unwrap_or(u32::MAX));
            let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(places));
            let values = values.iter().map(|column| column.slice(from, of_window.len()));
            let columns = values.chain([places]).collect();
            let chunk = RecordBatch::try_new(Arc::clone(&self.stored), columns).map_err(|e| self.failed(e))?;
            let chunk = self.store(&chunk)?;
            self.chunks.entry((file, window)).or_default().push(chunk);
            from += of_window.len();
        }
        Ok(())
    }

    /// Fills the rows of a file.
    pub fn filler(&mut self, file: usize) -> Filler<'_> {
        Filler { patches: self, file, window: None }
    }

    fn failed(&self, source: ArrowError) -> SinkError {
        SinkError::Encode { location: self.table.clone(), source: Box::new(source) }
    }

    fn store(&mut self, rows: &RecordBatch) -> Result<Chunk, SinkError> {
        let encoded = chunk::encode(rows).map_err(|e| self.failed(e))?;
        let (message, body) = (encoded.ipc_message, encoded.arrow_data);
        let chunk = Chunk { at: self.bytes, message_bytes: message.len(), body_bytes: body.len() };
        let mut write = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(chunk.at))?;
            self.file.write_all(&message)?;
            self.file.write_all(&body)
        };
        write().map_err(|source| SinkError::Spool { table: self.table.clone(), source: Box::new(source) })?;
        self.bytes += (message.len() + body.len()) as u64;
        Ok(chunk)
    }

    fn load(&mut self, chunk: Chunk) -> Result<RecordBatch, SinkError> {
        let (mut message, mut body) = (vec![0; chunk.message_bytes], vec![0; chunk.body_bytes]);
        let mut read = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(chunk.at))?;
            self.file.read_exact(&mut message)?;
            self.file.read_exact(&mut body)
        };
        read().map_err(|source| SinkError::Spool { table: self.table.clone(), source: Box::new(source) })?;
        chunk::decode(&message, body, &self.stored, None).map_err(|e| self.failed(e))
    }

    fn window(&mut self, file: usize, number: usize) -> Result<Window, SinkError> {
        let chunks = self.chunks.get(&(file, number)).cloned().unwrap_or_default();
        let rows: Vec<RecordBatch> = chunks.into_iter().map(|chunk| self.load(chunk)).collect::<Result<_, _>>()?;
        let rows = concat_batches(&self.stored, &rows).map_err(|e| self.failed(e))?;
        let mut places = vec![None; WINDOW_ROWS];
        let Some((at, values)) = rows.columns().split_last() else {
            return Err(self.failed(ArrowError::SchemaError("patches without places".to_owned())));
        };
        for (value, row) in (0..).zip(at.as_primitive::<UInt32Type>().values()) {
            if let Some(place) = places.get_mut(*row as usize) {
                *place = Some(value);
            }
        }
        let values = RecordBatch::try_new(Arc::clone(&self.columns), values.to_vec()).map_err(|e| self.failed(e))?;
        Ok(Window { number, values, places })
    }
}

impl Filler<'_> {
    /// Rows of the file, of which the first is the one of this place, with their new values. The columns are found by name.
    ///
    /// # Errors
    /// [`SinkError::Spool`]: the temporary file cannot be read.
    pub fn fill(&mut self, first: usize, rows: &RecordBatch) -> Result<RecordBatch, SinkError> {
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < rows.num_rows() {
            let place = first + at;
            let length = (WINDOW_ROWS - place % WINDOW_ROWS).min(rows.num_rows() - at);
            parts.push(self.fill_part(place, rows.slice(at, length))?);
            at += length;
        }
        match parts.as_slice() {
            [only] => Ok(only.clone()),
            parts => concat_batches(&rows.schema(), parts).map_err(|e| self.patches.failed(e)),
        }
    }

    /// The same for rows of one window.
    fn fill_part(&mut self, first: usize, rows: RecordBatch) -> Result<RecordBatch, SinkError> {
        let number = first / WINDOW_ROWS;
        if self.window.as_ref().is_none_or(|window| window.number != number) {
            self.window = Some(self.patches.window(self.file, number)?);
        }
        let Some(window) = &self.window else { return Ok(rows) };
        window.fill(first % WINDOW_ROWS, &rows).map_err(|e| self.patches.failed(e))
    }
}

impl Window {
    fn fill(&self, first: usize, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let places = self.places.iter().skip(first).take(rows.num_rows());
        let picks: Vec<(usize, usize)> =
            (0..).zip(places).map(|(row, place)| place.map_or((0, row), |value| (1, value as usize))).collect();
        if picks.iter().all(|(source, _)| *source == 0) {
            return Ok(rows.clone());
        }
        let mut columns = rows.columns().to_vec();
        for (field, values) in self.values.schema_ref().fields().iter().zip(self.values.columns()) {
            let at = rows.schema_ref().index_of(field.name())?;
            if let Some(column) = columns.get_mut(at) {
                *column = interleave(&[column.as_ref(), values.as_ref()], &picks)?;
            }
        }
        RecordBatch::try_new(rows.schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn rows(ids: std::ops::Range<i32>) -> RecordBatch {
        let names: StringArray = ids.clone().map(|id| Some(format!("old {id}"))).collect();
        let schema =
            Schema::new(vec![Field::new("id", DataType::Int32, false), Field::new("name", DataType::Utf8, true)]);
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn patches() -> Patches {
        Patches::new("dbo.t".to_owned(), &[Arc::new(Field::new("name", DataType::Utf8, true))])
    }

    fn names(values: &[Option<&str>]) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from(values.to_vec()))]
    }

    #[test]
    fn rows_get_their_values_and_the_others_stay() {
        let mut patches = patches();
        patches.add(1, &[0, 3], &names(&[Some("new 0"), None])).unwrap();
        patches.add(1, &[2], &names(&[Some("new 2")])).unwrap();
        patches.add(4, &[0], &names(&[Some("of another file")])).unwrap();
        assert_eq!(patches.files(), [1, 4]);
        let filled = patches.filler(1).fill(0, &rows(0..5)).unwrap();
        let found: Vec<_> = filled.column(1).as_string::<i32>().iter().collect();
        assert_eq!(found, [Some("new 0"), Some("old 1"), Some("new 2"), None, Some("old 4")]);
        assert_eq!(filled.column(0), rows(0..5).column(0), "other columns stay");
        let untouched = patches.filler(2).fill(0, &rows(0..5)).unwrap();
        assert_eq!(untouched, rows(0..5));
    }

    #[test]
    fn rows_of_several_windows_get_values_of_their_own() {
        let (mut patches, end) = (patches(), 3 * WINDOW_ROWS);
        let all: Vec<usize> = (0..end).step_by(1000).collect();
        let values: StringArray = all.iter().map(|row| Some(format!("new {row}"))).collect();
        patches.add(0, &all, &[Arc::new(values)]).unwrap();
        let (mut filler, mut first) = (patches.filler(0), 0);
        while first < end {
            let last = (first + 50_000).min(end);
            let batch = rows(i32::try_from(first).unwrap()..i32::try_from(last).unwrap());
            let filled = filler.fill(first, &batch).unwrap();
            let ids = filled.column(0).as_primitive::<Int32Type>();
            for (id, name) in ids.values().iter().zip(filled.column(1).as_string::<i32>()) {
                let expected = if id % 1000 == 0 { format!("new {id}") } else { format!("old {id}") };
                assert_eq!(name, Some(expected.as_str()));
            }
            first = last;
        }
    }
}

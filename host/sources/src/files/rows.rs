//! The rows of files: from the thread that parses them into batches.

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::bytes::{FileBytes, file_error};
use super::columns::{Columns, FileFacts};
use super::config::FilesConfig;
use super::csv::{CsvRecords, Fields};
use super::error::FilesError;
use super::header::FieldMap;
use super::input::{Input, is_whole_only};
use super::json::JsonLines;
use super::rejects::Rejects;
use super::request::{Extra, FilePart, FormatKind, Read};
use super::storage::{FoundFile, OpenFile, Storage};

type Delivery = crate::delivery::Delivery<FilesError>;
type Stop = crate::delivery::Stop<FilesError>;

/// Bytes that say whether a file can be read from its middle.
const SNIFFED_BYTES: usize = 4;

/// One request for rows, on a thread that may wait.
pub(super) struct RowReader {
    pub(super) config: Arc<FilesConfig>,
    pub(super) storage: Arc<Storage>,
    pub(super) request: Read,
    pub(super) columns: Columns,
    pub(super) rejects: Rejects,
    pub(super) delivery: Delivery,
    pub(super) runtime: Handle,
}

/// A file that is open, and what of it is read.
struct Opened<'a> {
    file: Arc<OpenFile>,
    found: FoundFile,
    part: &'a FilePart,
    /// Where reading begins: a byte before the part, whose line may have ended there.
    from: u64,
    end: u64,
    /// Lines of the file before it; counted for a bad row alone.
    lines_before: OnceCell<u64>,
}

impl RowReader {
    /// Reads all files, and tells how it ended.
    pub(super) fn run(mut self) {
        let outcome = self.read_all();
        let runtime = self.runtime.clone();
        runtime.block_on(self.delivery.finish(outcome));
    }

    fn read_all(&mut self) -> Result<(), Stop> {
        for part in std::mem::take(&mut self.request.files) {
            self.rejects.begin(&part.path, part.start);
            let Some(opened) = self.open(&part).map_err(Stop::Failed)? else { continue };
            match self.request.format.kind {
                FormatKind::Csv => self.read_csv(&opened)?,
                FormatKind::JsonLines => self.read_json(&opened)?,
            }
        }
        self.ship()
    }

    /// None for a part of a file that another part reads whole.
    fn open<'a>(&self, part: &'a FilePart) -> Result<Option<Opened<'a>>, FilesError> {
        let (file, found) = self.runtime.block_on(self.storage.open(&part.path))?;
        if found.version != part.version {
            return Err(FilesError::Changed { path: part.path.clone() });
        }
        let file = Arc::new(file);
        let (mut from, mut end) = (part.start.saturating_sub(1), part.end.unwrap_or(u64::MAX));
        if part.is_range() {
            let start = self.runtime.block_on(file.read(0, SNIFFED_BYTES))?;
            if is_whole_only(&start) {
                if part.start > 0 {
                    return Ok(None);
                }
                (from, end) = (0, u64::MAX);
            }
        }
        Ok(Some(Opened { file, found, part, from, end, lines_before: OnceCell::new() }))
    }

    fn bytes(&self, opened: &Opened<'_>, from: u64) -> FileBytes {
        FileBytes::new(Arc::clone(&opened.file), from, self.runtime.clone(), self.delivery.closing())
    }

    fn input(&self, opened: &Opened<'_>) -> Result<Input, FilesError> {
        let path = opened.part.path.as_str();
        let failed = |error| file_error(path, error);
        let bytes = self.bytes(opened, opened.from);
        let mut input = Input::new(bytes, path, &self.request.format, self.config.max_expansion).map_err(failed)?;
        if opened.part.start > 0 {
            input.begin_within(opened.from).map_err(failed)?;
        }
        Ok(input)
    }

    fn read_csv(&mut self, opened: &Opened<'_>) -> Result<(), Stop> {
        let path = opened.part.path.as_str();
        let broken = |error| Stop::Failed(file_error(path, error));
        let format = &self.request.format;
        let mut records =
            CsvRecords::new(self.input(opened).map_err(Stop::Failed)?, format, self.config.max_line_bytes);
        let map = if opened.part.start == 0 {
            self.field_map(path, &mut records)
        } else {
            let start = self.bytes(opened, 0);
            let input = Input::new(start, path, format, self.config.max_expansion).map_err(broken)?;
            self.field_map(path, &mut CsvRecords::new(input, format, self.config.max_line_bytes))
        };
        let Some(map) = map.map_err(Stop::Failed)? else { return Ok(()) };
        let facts = facts(opened);
        while records.advance().map_err(broken)? && records.offset() < opened.end {
            let pushed = match records.fields() {
                Ok(fields) => push_record(&mut self.columns, fields, &map, &facts),
                Err(problem) => Err(problem.to_owned()),
            };
            if let Err(reason) = pushed {
                self.reject(opened, records.line(), reason, records.raw()).map_err(Stop::Failed)?;
            }
            if self.columns.is_full() {
                self.ship()?;
            }
        }
        Ok(())
    }

    /// Reads the start of a file. None for one without a header line: it has no rows either.
    fn field_map(&self, path: &str, records: &mut CsvRecords) -> Result<Option<FieldMap>, FilesError> {
        let format = &self.request.format;
        let broken = |error| file_error(path, error);
        records.skip_lines(format.skip_lines).map_err(broken)?;
        if !format.header {
            return Ok(Some(FieldMap::by_place(self.columns.field_names().count())));
        }
        if !records.advance().map_err(broken)? {
            return Ok(None);
        }
        let header = records
            .fields()
            .map_err(|reason| FilesError::Header { path: path.to_owned(), reason: reason.to_owned() })?;
        let (missing, extra) = (self.request.missing_columns, self.request.extra_columns);
        FieldMap::by_name(path, header.iter(), self.columns.field_names(), missing, extra).map(Some)
    }

    fn read_json(&mut self, opened: &Opened<'_>) -> Result<(), Stop> {
        let path = opened.part.path.as_str();
        let broken = |error| Stop::Failed(file_error(path, error));
        let mut lines = JsonLines::new(self.input(opened).map_err(Stop::Failed)?, self.config.max_line_bytes);
        let names: Vec<String> = self.columns.field_names().map(str::to_owned).collect();
        let extra = self.request.extra_columns;
        let facts = facts(opened);
        while lines.advance().map_err(broken)? && lines.offset() < opened.end {
            let mut members = Vec::with_capacity(names.len());
            let pushed = lines.members(&mut members).and_then(|()| {
                let values = values_by_name(&names, &members, extra)?;
                self.columns.push_json(|column| values[column], &facts)
            });
            if let Err(reason) = pushed {
                self.reject(opened, lines.line(), reason, lines.raw()).map_err(Stop::Failed)?;
            }
            if self.columns.is_full() {
                self.ship()?;
            }
        }
        Ok(())
    }

    /// Sets a row aside, by its line in the file.
    fn reject(&mut self, opened: &Opened<'_>, line: u64, reason: String, raw: &[u8]) -> Result<(), FilesError> {
        // A part counts lines from its start; those before it are counted for a bad row alone.
        let before = match (opened.part.start, opened.lines_before.get()) {
            (0, _) => 0,
            (_, Some(lines)) => *lines,
            (_, None) => {
                let lines = self.lines_before(opened)?;
                *opened.lines_before.get_or_init(|| lines)
            }
        };
        self.rejects.reject(before + line, reason, raw)
    }

    /// Ends of lines before the first record of a part.
    fn lines_before(&self, opened: &Opened<'_>) -> Result<u64, FilesError> {
        use std::io::Read as _;
        let path = opened.part.path.as_str();
        let mut bytes = self.bytes(opened, 0);
        let mut chunk = vec![0; 256 << 10];
        let (mut at, mut lines) = (0_u64, 0_u64);
        loop {
            let count = bytes.read(&mut chunk).map_err(|error| file_error(path, error))?;
            if count == 0 {
                return Ok(lines);
            }
            for place in memchr::memchr_iter(b'\n', &chunk[..count]) {
                lines += 1;
                // The line that ends here is the last one that begins before the part.
                if at + place as u64 >= opened.from {
                    return Ok(lines);
                }
            }
            at += count as u64;
        }
    }

    fn ship(&mut self) -> Result<(), Stop> {
        if self.columns.rows() == 0 {
            return Ok(());
        }
        let batch = self.columns.finish().map_err(|error| Stop::Failed(FilesError::Internal(error.to_string())))?;
        let runtime = self.runtime.clone();
        runtime.block_on(self.delivery.ship(batch, Vec::new()))
    }
}

fn facts<'a>(opened: &'a Opened<'_>) -> FileFacts<'a> {
    FileFacts {
        path: &opened.part.path,
        modified_micros: opened.found.modified_micros,
        constants: &opened.part.constants,
    }
}

fn push_record(columns: &mut Columns, fields: Fields<'_>, map: &FieldMap, facts: &FileFacts<'_>) -> Result<(), String> {
    if fields.len() != map.fields() {
        return Err(format!("the record has {} fields, and {} are expected", fields.len(), map.fields()));
    }
    columns.push_fields(|column| fields.get(map.place(column)?), facts)
}

/// The values of an object in the order of the columns.
fn values_by_name<'a>(
    names: &[String],
    members: &[(std::borrow::Cow<'a, str>, &'a str)],
    extra: Extra,
) -> Result<Vec<Option<&'a str>>, String> {
    let mut values = vec![None; names.len()];
    for (position, (key, value)) in members.iter().enumerate() {
        // Most writers keep one order, which is the table's.
        let place = match names.get(position) {
            Some(name) if name == key => Some(position),
            _ => names.iter().position(|name| name == key),
        };
        match place {
            Some(place) if values[place].is_some() => return Err(format!("the object names `{key}` twice")),
            Some(place) => values[place] = Some(*value),
            None if extra == Extra::Ignore => {}
            None => {
                return Err(format!("the object has `{}`, which is no column of the table", super::values::shown(key)));
            }
        }
    }
    Ok(values)
}

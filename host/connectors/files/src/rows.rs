//! The rows of files: from the thread that parses them into batches.

use std::cell::OnceCell;
use std::sync::Arc;

use datakit_model::files::FilePart;
use tokio::runtime::Handle;

use super::bytes::{FileBytes, file_error};
use super::columns::{Columns, FileFacts};
use super::config::FilesConfig;
use super::csv::{CsvRecords, Fields};
use super::document::{JsonRecords, is_document};
use super::error::FilesError;
use super::header::FieldMap;
use super::input::{Input, LineEnds, is_whole_only, mark_bytes};
use super::rejects::Rejects;
use super::request::{Extra, FormatKind, Read, is_range};
use super::storage::{FoundFile, OpenFile, Storage};

type Delivery = datakit_connect::delivery::Delivery<FilesError>;
type Stop = datakit_connect::delivery::Stop<FilesError>;

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
    /// Where reading begins: a byte before the part, whose line may have ended there. None: at the start of the file.
    from: Option<u64>,
    /// Where the first line of the part begins, once it is found.
    begins: u64,
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
            let Some(mut opened) = self.open(&part).map_err(Stop::Failed)? else { continue };
            match self.request.format.kind {
                FormatKind::Csv => self.read_csv(&mut opened)?,
                FormatKind::JsonLines | FormatKind::Json => self.read_json(&mut opened)?,
            }
            self.runtime.block_on(opened.file.check()).map_err(Stop::Failed)?;
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
        let (mut from, mut end) = (None, part.end.unwrap_or(u64::MAX));
        if is_range(part) {
            let start = self.runtime.block_on(file.read(0, SNIFFED_BYTES))?;
            match (is_whole_only(&start), part.start) {
                (true, 0) => end = u64::MAX,
                (true, _) => return Ok(None),
                // What begins within the mark begins with the first line.
                (false, start_of_part) if start_of_part <= mark_bytes(&start) => {}
                (false, start_of_part) => from = Some(start_of_part - 1),
            }
        }
        Ok(Some(Opened { file, found, part, from, begins: 0, end, lines_before: OnceCell::new() }))
    }

    /// What ends a line of the request's files.
    fn line_ends(&self) -> LineEnds {
        match self.request.format.kind {
            FormatKind::Csv => LineEnds::NewlineOrReturn,
            FormatKind::JsonLines | FormatKind::Json => LineEnds::Newline,
        }
    }

    fn bytes(&self, opened: &Opened<'_>, from: u64) -> FileBytes {
        FileBytes::new(Arc::clone(&opened.file), from, self.runtime.clone(), self.delivery.closing())
    }

    /// The text of the part, from its first line on.
    fn input(&self, opened: &mut Opened<'_>) -> Result<Input, FilesError> {
        let Some(from) = opened.from else { return self.whole(opened) };
        let input = Input::within(self.bytes(opened, from), from, self.line_ends())
            .map_err(|error| file_error(&opened.part.path, error))?;
        opened.begins = input.position();
        Ok(input)
    }

    fn whole(&self, opened: &Opened<'_>) -> Result<Input, FilesError> {
        let path = opened.part.path.as_str();
        Input::new(self.bytes(opened, 0), path, &self.request.format, self.config.max_expansion)
            .map_err(|error| file_error(path, error))
    }

    fn records(&self, input: Input) -> CsvRecords {
        CsvRecords::new(input, &self.request.format, self.config.max_line_bytes)
    }

    /// The records of the part behind the header, and which of their fields is which column.
    fn records_and_map(&self, opened: &mut Opened<'_>) -> Result<(CsvRecords, Option<FieldMap>), FilesError> {
        let mut records = self.records(self.whole(opened)?);
        let map = self.field_map(&opened.part.path, &mut records)?;
        if let Some(from) = &mut opened.from {
            // The header may reach into the part.
            *from = records.position().saturating_sub(1).max(*from);
            records = self.records(self.input(opened)?);
        }
        records.keep_empty_lines(map.as_ref().is_some_and(|map| map.fields() == 1));
        Ok((records, map))
    }

    fn read_csv(&mut self, opened: &mut Opened<'_>) -> Result<(), Stop> {
        let (mut records, map) = self.records_and_map(opened).map_err(Stop::Failed)?;
        let opened = &*opened;
        let broken = |error| Stop::Failed(file_error(&opened.part.path, error));
        let Some(map) = map else { return Ok(()) };
        let facts = facts(opened);
        while records.advance().map_err(broken)? && records.offset() < opened.end {
            let pushed = match records.fields() {
                Ok(fields) => push_record(&mut self.columns, fields, &map, &facts),
                Err(problem) => Err(problem.to_owned()),
            };
            if let Err(reason) = pushed {
                self.reject(opened, (records.line(), records.lines()), reason, records.raw()).map_err(Stop::Failed)?;
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

    fn read_json(&mut self, opened: &mut Opened<'_>) -> Result<(), Stop> {
        let Some(mut lines) = self.json_records(opened).map_err(Stop::Failed)? else { return Ok(()) };
        let opened = &*opened;
        let broken = |error| Stop::Failed(file_error(&opened.part.path, error));
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
                self.reject(opened, (lines.line(), 1), reason, lines.raw()).map_err(Stop::Failed)?;
            }
            if self.columns.is_full() {
                self.ship()?;
            }
        }
        Ok(())
    }

    /// None for a part of a document, which its first part reads whole.
    fn json_records(&self, opened: &mut Opened<'_>) -> Result<Option<JsonRecords>, FilesError> {
        let path = opened.part.path.as_str();
        let kind = self.request.format.kind;
        let mut is_line = kind == FormatKind::JsonLines;
        if !is_line && is_range(opened.part) {
            is_line = !is_document(&mut self.whole(opened)?).map_err(|error| file_error(path, error))?;
            if !is_line && opened.part.start > 0 {
                return Ok(None);
            }
            if !is_line {
                opened.end = u64::MAX;
            }
        }
        let input = self.input(opened)?;
        let kind = if is_line { FormatKind::JsonLines } else { kind };
        JsonRecords::new(input, kind, self.config.max_line_bytes).map(Some).map_err(|error| file_error(path, error))
    }

    /// Rejects a row, by its first line in the file and how many lines it has.
    fn reject(
        &mut self,
        opened: &Opened<'_>,
        (line, lines): (u64, u64),
        reason: String,
        raw: &[u8],
    ) -> Result<(), FilesError> {
        // A part counts lines from its start; those before it are counted for a bad row alone.
        let before = match opened.lines_before.get() {
            Some(before) => *before,
            None => {
                let before = self.lines_before(opened)?;
                *opened.lines_before.get_or_init(|| before)
            }
        };
        self.rejects.reject(before + line, lines, reason, raw)
    }

    /// Lines before the first one of a part.
    fn lines_before(&self, opened: &Opened<'_>) -> Result<u64, FilesError> {
        use std::io::Read as _;
        let before = self.bytes(opened, 0).take(opened.begins);
        self.line_ends().count(before).map_err(|error| file_error(&opened.part.path, error))
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

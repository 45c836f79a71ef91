//! What is asked for, checked: names of kinds, types and formats as what they name, bounds held.
//!
//! Nothing in it is trusted: the session holds every path against the operator's rules and the grant, this module the rest, before
//! a file is opened.

use std::collections::HashSet;

use datakit_model::TableId;
use datakit_model::files::{FileColumn, FileFormat, FileOrigin, FilePart, FilesRead, FilesRequest};

use super::error::FilesError;
use super::values::{FieldType, TimeFormat, shown};

/// Files that one request may name.
const MAX_FILES: usize = 10_000;
/// Rows that one sample may have.
const MAX_SAMPLE_ROWS: u32 = 10_000;
/// Rows that one table may reject in a run: more than that is no accident, and each is kept in memory until the commit.
const MAX_REJECTED_ROWS: u64 = 100_000;

/// A request that can be.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    /// All files of all tables, with what is known of them without reading.
    List,
    /// The first records of files, as they are.
    Sample(Sample),
    /// The rows of files.
    Read(Read),
}

/// See [`Request::Sample`].
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) table: TableId,
    pub(super) files: Vec<FilePart>,
    pub(super) format: Format,
    /// Records of each file.
    pub(super) max_rows: u64,
}

/// See [`Request::Read`].
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) table: TableId,
    pub(super) files: Vec<FilePart>,
    pub(super) format: Format,
    pub(super) columns: Vec<Column>,
    /// A column that a file does not have.
    pub(super) missing_columns: Missing,
    /// A column that a file has and the request has not.
    pub(super) extra_columns: Extra,
    /// Rows of the table that may be rejected, over all its partitions.
    pub(super) max_rejected_rows: u64,
}

/// Whether it is less than its whole file.
pub(super) fn is_range(part: &FilePart) -> bool {
    part.start > 0 || part.end.is_some()
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) kind: FormatKind,
    /// The first record names the columns.
    pub(super) header: bool,
    pub(super) delimiter: char,
    /// None: no field is quoted.
    pub(super) quote: Option<char>,
    /// What stands before a quote inside of quotes, besides a second quote.
    pub(super) escape: Option<char>,
    /// Lines that begin with it are left out.
    pub(super) comment: Option<char>,
    /// Lines before the first record.
    pub(super) skip_lines: u32,
    /// A label of the WHATWG encoding standard. A byte order mark takes precedence.
    pub(super) encoding: String,
    pub(super) compression: Compression,
    /// Fields that stand for null.
    pub(super) null_values: Vec<String>,
    /// Fields are read without the blanks around them.
    pub(super) trim: bool,
    /// Numbers have a comma where others have a point.
    pub(super) decimal_comma: bool,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FormatKind {
    /// Records of delimited fields.
    Csv,
    /// An object a line.
    JsonLines,
    /// An object a line, or a document of objects, as the start of each file says.
    Json,
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// As their first bytes say.
    Auto,
    /// Not.
    None,
    /// gzip, of one or more members.
    Gzip,
    /// Zstandard, of one or more frames.
    Zstd,
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) field_type: FieldType,
    pub(super) from: FileOrigin,
    /// How dates and times are written, in the notation of strftime; none: ISO 8601.
    pub(super) format: Option<TimeFormat>,
    /// Whether a value has to be written in the type's own form: the type was inferred from other values, so that a value
    /// that reads as another text afterwards was never meant to be of that type.
    pub(super) strict: bool,
}

/// What becomes of a column that a file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The file is not read.
    Error,
    /// It is null.
    Null,
}

/// What becomes of a column that a file has and the request has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// The file is not read; a row, where each has names of its own.
    Error,
    /// It is left out.
    Ignore,
}

impl TryFrom<FilesRequest> for Request {
    type Error = FilesError;

    fn try_from(request: FilesRequest) -> Result<Self, FilesError> {
        Ok(match request {
            FilesRequest::List => Self::List,
            FilesRequest::Sample { read, max_rows } => Self::Sample(Sample::new(read, max_rows)?),
            FilesRequest::Read(read) => Self::Read(Read::try_from(read)?),
        })
    }
}

impl Sample {
    /// The columns of the request, and so the values of constant ones, do not count.
    fn new(read: FilesRead, max_rows: u32) -> Result<Self, FilesError> {
        let FilesRead { table, files, format, .. } = read;
        let format = Format::try_from(format)?;
        check_files(&files, &format)?;
        if max_rows > MAX_SAMPLE_ROWS {
            return Err(FilesError::request(format!("a sample has at most {MAX_SAMPLE_ROWS} rows")));
        }
        Ok(Self { table, files, format, max_rows: max_rows.into() })
    }
}

impl TryFrom<FilesRead> for Read {
    type Error = FilesError;

    fn try_from(read: FilesRead) -> Result<Self, FilesError> {
        let read = Self {
            table: read.table,
            files: read.files,
            format: Format::try_from(read.format)?,
            columns: read.columns.into_iter().map(Column::try_from).collect::<Result<_, _>>()?,
            missing_columns: if read.missing_columns_null { Missing::Null } else { Missing::Error },
            extra_columns: if read.extra_columns_ignored { Extra::Ignore } else { Extra::Error },
            max_rejected_rows: read.max_rejected_rows,
        };
        read.check()?;
        Ok(read)
    }
}

impl TryFrom<FileColumn> for Column {
    type Error = FilesError;

    fn try_from(column: FileColumn) -> Result<Self, FilesError> {
        let FileColumn { name, data_type, origin, time_format, strict } = column;
        let field_type = FieldType::try_from(&data_type).map_err(FilesError::request)?;
        let format = time_format.map(TimeFormat::try_from).transpose().map_err(FilesError::request)?;
        Ok(Self { name, field_type, from: origin, format, strict })
    }
}

impl Read {
    fn check(&self) -> Result<(), FilesError> {
        let constants = self.columns.iter().filter(|column| column.from == FileOrigin::Constant).count();
        check_files(&self.files, &self.format)?;
        if let Some(file) = self.files.iter().find(|file| file.constants.len() != constants) {
            return Err(FilesError::request(format!("`{}` has not one value for each constant column", file.path)));
        }
        if self.columns.is_empty() {
            return Err(FilesError::request("it names no column"));
        }
        let mut names = HashSet::new();
        for column in &self.columns {
            if !names.insert(&column.name) {
                return Err(FilesError::request(format!("it names the column `{}` twice", column.name)));
            }
            if column.format.is_some() && !column.field_type.has_format() {
                return Err(FilesError::request(format!("the column `{}` is of a type without a format", column.name)));
            }
            let wanted = match column.from {
                FileOrigin::Path => FieldType::Text,
                FileOrigin::Modified => FieldType::TimestampUtc,
                FileOrigin::Field | FileOrigin::Constant => continue,
            };
            if column.field_type != wanted {
                return Err(FilesError::request(format!(
                    "the column `{}` has not the type of its origin",
                    column.name
                )));
            }
        }
        if self.max_rejected_rows > MAX_REJECTED_ROWS {
            return Err(FilesError::request(format!("at most {MAX_REJECTED_ROWS} rows can be rejected")));
        }
        Ok(())
    }
}

fn check_files(files: &[FilePart], format: &Format) -> Result<(), FilesError> {
    if files.len() > MAX_FILES {
        return Err(FilesError::request(format!("it names {} files, more than {MAX_FILES}", files.len())));
    }
    for file in files {
        check_path(&file.path)?;
        if is_range(file) && !format.ends_records_at_lines() {
            return Err(FilesError::request("only files whose records end where lines end are read in parts"));
        }
    }
    Ok(())
}

/// A path below the root, and nothing else.
fn check_path(path: &str) -> Result<(), FilesError> {
    let is_name = |segment: &str| !segment.is_empty() && segment != "." && segment != "..";
    if path.split('/').all(is_name) && !path.contains('\0') {
        return Ok(());
    }
    Err(FilesError::NotGranted { path: path.to_owned(), why: "it is no plain path below the connection's root" })
}

impl TryFrom<FileFormat> for Format {
    type Error = FilesError;

    fn try_from(format: FileFormat) -> Result<Self, FilesError> {
        let format = Self {
            kind: FormatKind::of(&format.kind)?,
            header: format.header,
            delimiter: format.delimiter,
            quote: format.quote,
            escape: format.escape,
            comment: format.comment,
            skip_lines: format.skip_lines,
            encoding: format.encoding,
            compression: Compression::of(&format.compression)?,
            null_values: format.null_values,
            trim: format.trim,
            decimal_comma: format.decimal_comma,
        };
        format.check()?;
        Ok(format)
    }
}

impl FormatKind {
    fn of(name: &str) -> Result<Self, FilesError> {
        Ok(match name {
            "csv" => Self::Csv,
            "json-lines" => Self::JsonLines,
            "json" => Self::Json,
            _ => return Err(FilesError::request(format!("there is no format `{}`", shown(name)))),
        })
    }
}

impl Compression {
    fn of(name: &str) -> Result<Self, FilesError> {
        Ok(match name {
            "auto" => Self::Auto,
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            _ => return Err(FilesError::request(format!("there is no compression `{}`", shown(name)))),
        })
    }
}

impl Format {
    fn check(&self) -> Result<(), FilesError> {
        let special = [Some(self.delimiter), self.quote, self.escape, self.comment];
        for character in special.iter().flatten() {
            if !character.is_ascii() || matches!(character, '\0' | '\r' | '\n') {
                let what = format!("`{}` cannot be a delimiter, quote, escape or comment", character.escape_default());
                return Err(FilesError::request(what));
            }
        }
        let delimiter = Some(self.delimiter);
        if [self.quote, self.escape, self.comment].contains(&delimiter) {
            return Err(FilesError::request("the delimiter is also the quote, escape or comment"));
        }
        if encoding_rs::Encoding::for_label(self.encoding.as_bytes()).is_none() {
            return Err(FilesError::request(format!("there is no encoding `{}`", shown(&self.encoding))));
        }
        Ok(())
    }

    /// Whether every end of a line is the end of a record, so that a file can be cut there.
    fn ends_records_at_lines(&self) -> bool {
        let utf8 = encoding_rs::Encoding::for_label(self.encoding.as_bytes()) == Some(encoding_rs::UTF_8);
        let unquoted = self.kind != FormatKind::Csv || (self.quote.is_none() && self.escape.is_none());
        let plain = matches!(self.compression, Compression::Auto | Compression::None);
        utf8 && unquoted && plain && self.skip_lines == 0
    }

    /// The delimiter and its like as the parser takes them; [`Self::check`] has seen that they are ASCII.
    pub(super) fn byte(character: char) -> u8 {
        u8::try_from(character).unwrap_or(b',')
    }
}

/// As a comma-separated file with a header, in UTF-8.
#[cfg(test)]
impl Default for Format {
    fn default() -> Self {
        Self::try_from(FileFormat::new("csv")).unwrap()
    }
}

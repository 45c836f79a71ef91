//! What a datakit asks for: one JSON document in the place of SQL.
//!
//! `{"list": {}}`, `{"sample": {…}}` or `{"read": {…}}`. Nothing in it is trusted: `access` holds every path against the
//! operator's rules and the grant, and `Read::checked` the rest, before a file is opened.

use std::collections::HashSet;

use datakit_model::TableId;
use serde::Deserialize;

use super::error::FilesError;
use super::values::{FieldType, TimeFormat};

/// Files that one request may name.
const MAX_FILES: usize = 10_000;
/// Rows that one sample may have.
const MAX_SAMPLE_ROWS: u64 = 10_000;
/// Rows that one table may reject in a run: more than that is no accident, and each is kept in memory until the commit.
const MAX_REJECTED_ROWS: u64 = 100_000;

/// A request.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// All files of all tables, with what is known of them without reading.
    List(List),
    /// The first records of files, as they are.
    Sample(Sample),
    /// The rows of files.
    Read(Read),
}

/// See [`Request::List`].
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {}

/// See [`Request::Sample`].
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sample {
    pub(super) table: Table,
    pub(super) files: Vec<FilePart>,
    #[serde(default)]
    pub(super) format: Format,
    /// Records of each file.
    pub(super) max_rows: u64,
}

/// See [`Request::Read`].
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Read {
    pub(super) table: Table,
    pub(super) files: Vec<FilePart>,
    #[serde(default)]
    pub(super) format: Format,
    pub(super) columns: Vec<Column>,
    /// A column that a file does not have.
    #[serde(default)]
    pub(super) missing_columns: Missing,
    /// A column that a file has and the request has not.
    #[serde(default)]
    pub(super) extra_columns: Extra,
    /// Rows of the table that may be rejected, over all its partitions.
    #[serde(default)]
    pub(super) max_rejected_rows: u64,
}

/// A table by its two names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
}

impl From<&Table> for TableId {
    fn from(table: &Table) -> Self {
        Self::new(&table.schema, &table.name)
    }
}

/// A file, or a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilePart {
    /// Below the root, parted by `/`.
    pub(super) path: String,
    /// As the listing said: another content is another version, and is not read.
    pub(super) version: String,
    /// Records that begin at this byte or later. Only for files whose records end where lines end.
    #[serde(default)]
    pub(super) start: u64,
    /// Records that begin before this byte; none: to the end.
    #[serde(default)]
    pub(super) end: Option<u64>,
    /// A value for each constant column, in their order.
    #[serde(default)]
    pub(super) constants: Vec<Option<String>>,
}

impl FilePart {
    pub(super) fn is_range(&self) -> bool {
        self.start > 0 || self.end.is_some()
    }
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

impl Default for Format {
    fn default() -> Self {
        Self {
            kind: FormatKind::Csv,
            header: true,
            delimiter: ',',
            quote: Some('"'),
            escape: None,
            comment: None,
            skip_lines: 0,
            encoding: "utf-8".into(),
            compression: Compression::Auto,
            null_values: vec![String::new()],
            trim: false,
            decimal_comma: false,
        }
    }
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FormatKind {
    /// Records of delimited fields.
    Csv,
    /// An object a line.
    JsonLines,
    /// An object a line, or a document of objects, as the start of each file says.
    Json,
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) name: String,
    /// The Arrow type in the text form of the WIT.
    #[serde(rename = "type")]
    pub(super) field_type: FieldType,
    #[serde(default)]
    pub(super) from: Origin,
    /// How dates and times are written, in the notation of strftime; none: ISO 8601.
    #[serde(default)]
    pub(super) format: Option<TimeFormat>,
    /// Whether a value has to be written in the type's own form: the type was inferred from other values, so that a value
    /// that reads as another text afterwards was never meant to be of that type.
    #[serde(default)]
    pub(super) strict: bool,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// The field of its name.
    #[default]
    Field,
    /// One value a file, which the request gives.
    Constant,
    /// The file's path below the root.
    Path,
    /// When the file was written last.
    Modified,
}

/// What becomes of a column that a file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Missing {
    /// The file is not read.
    #[default]
    Error,
    /// It is null.
    Null,
}

/// What becomes of a column that a file has and the request has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Extra {
    /// The file is not read; a row, where each has names of its own.
    #[default]
    Error,
    /// It is left out.
    Ignore,
}

impl Request {
    /// Reads a request.
    pub(super) fn parse(text: &str) -> Result<Self, FilesError> {
        let request: Self = serde_json::from_str(text).map_err(|error| FilesError::request(error.to_string()))?;
        match &request {
            Self::List(_) => {}
            Self::Sample(sample) => {
                check_files(&sample.files, 0, &sample.format)?;
                if sample.max_rows > MAX_SAMPLE_ROWS {
                    return Err(FilesError::request(format!("a sample has at most {MAX_SAMPLE_ROWS} rows")));
                }
            }
            Self::Read(read) => read.check()?,
        }
        Ok(request)
    }
}

impl Read {
    fn check(&self) -> Result<(), FilesError> {
        let constants = self.columns.iter().filter(|column| column.from == Origin::Constant).count();
        check_files(&self.files, constants, &self.format)?;
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
                Origin::Path => FieldType::Text,
                Origin::Modified => FieldType::TimestampUtc,
                Origin::Field | Origin::Constant => continue,
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

fn check_files(files: &[FilePart], constants: usize, format: &Format) -> Result<(), FilesError> {
    if files.len() > MAX_FILES {
        return Err(FilesError::request(format!("it names {} files, more than {MAX_FILES}", files.len())));
    }
    format.check()?;
    for file in files {
        check_path(&file.path)?;
        if file.constants.len() != constants {
            return Err(FilesError::request(format!("`{}` has not one value for each constant column", file.path)));
        }
        if file.is_range() && !format.ends_records_at_lines() {
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
            return Err(FilesError::request(format!("there is no encoding `{}`", self.encoding)));
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

//! What is asked of the host, in the place of SQL: docs/files.md has the form.

use datakit_sdk::errors::codes;
use datakit_sdk::{Error, QueryOptions, TableId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<'a> {
    /// All files.
    List {},
    /// The first records of some.
    Sample(Sample<'a>),
    /// Rows.
    Read(&'a Read),
}

/// See [`Request::Sample`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample<'a> {
    /// The table.
    pub table: Table,
    /// Some of its files.
    pub files: Vec<FilePart>,
    /// How they are written.
    pub format: &'a Format,
    /// Records of each.
    pub max_rows: u32,
}

/// See [`Request::Read`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// Files, or parts of them.
    pub files: Vec<FilePart>,
    /// How they are written.
    pub format: Format,
    /// The columns of the answer.
    pub columns: Vec<Column>,
    /// A column that a file does not have.
    pub missing_columns: Missing,
    /// A column that a file has and the request has not.
    pub extra_columns: Extra,
    /// Rows of the table that may be rejected.
    pub max_rejected_rows: u64,
}

/// A table's two names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
}

impl From<&TableId> for Table {
    fn from(id: &TableId) -> Self {
        Self { schema: id.schema.clone(), name: id.name.clone() }
    }
}

/// A file, or a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// Its path below the root.
    pub path: String,
    /// As the listing said.
    pub version: String,
    /// Records that begin here or later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start: u64,
    /// Records that begin before; none: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// A value for each constant column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constants: Vec<Option<String>>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// Delimited fields or JSON.
    pub kind: FormatKind,
    /// The first record names the columns.
    pub header: bool,
    /// What parts fields.
    pub delimiter: char,
    /// What they are quoted with; none: nothing.
    pub quote: Option<char>,
    /// What stands before a quote within quotes.
    pub escape: Option<char>,
    /// Lines that begin with it are left out.
    pub comment: Option<char>,
    /// Lines before the header.
    pub skip_lines: u32,
    /// The label of the encoding.
    pub encoding: String,
    /// How they are compressed.
    pub compression: Compression,
    /// Fields that stand for null.
    pub null_values: Vec<String>,
    /// Without blanks around fields.
    pub trim: bool,
    /// Numbers with a comma.
    pub decimal_comma: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatKind {
    /// Records of delimited fields.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// A JSON object a line, or a document: an array of objects, or objects that take several lines. The start of each file says
    /// which.
    Json,
}

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As their first bytes say.
    Auto,
    /// Not.
    None,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

/// What becomes of a column that a file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The table fails, naming file and column. A key that a JSON object does not have is always null.
    #[default]
    Error,
    /// It is null.
    Null,
}

/// What becomes of a column that a file has and the table has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// The table fails, naming file and column; of JSON lines the row is a bad one.
    #[default]
    Error,
    /// It is left out.
    Ignore,
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    #[serde(rename = "type")]
    pub arrow_type: String,
    /// Where its values come from.
    #[serde(default, skip_serializing_if = "Origin::is_field")]
    pub from: Origin,
    /// How dates and times are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whether a value has to be written as its type is, since the type was inferred.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The field of its name.
    #[default]
    Field,
    /// One value a file.
    Constant,
    /// The file's path.
    Path,
    /// When it was written.
    Modified,
}

impl Origin {
    fn is_field(&self) -> bool {
        *self == Self::Field
    }
}

impl Request<'_> {
    /// The text of the request.
    ///
    /// # Errors
    /// None that can happen: all of it has a JSON form.
    pub fn text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(|error| Error::datakit(codes::STATE, error.to_string()))
    }
}

/// Requests for files have no options.
pub const NO_OPTIONS: QueryOptions = QueryOptions { isolation: None, timeout_ms: None, max_parallelism: None };

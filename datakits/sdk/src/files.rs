//! Requests for files as plain data, and their way to the host.
//!
//! Requests have a serde form, which partitions keep in their state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bindings::datakit::kit::batches::Reader;
use crate::bindings::datakit::kit::files as host;
pub use crate::bindings::datakit::kit::files::Folder;
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::queries::all_rows;
use crate::rows::Rows;

/// Whatever answers requests for small parts of a folder: the host's folder, or a test's fake of it.
pub trait Files {
    /// All files of all tables, with what is known of them without reading: the columns of `list-files`.
    ///
    /// # Errors
    /// What the host or the store refused.
    fn all_files(&self) -> Result<Vec<Rows>, Error>;

    /// The first records of each file, as text: the columns of `sample`.
    ///
    /// # Errors
    /// What the host or the store refused.
    fn first_records(&self, request: &FilesRead, max_rows: u32) -> Result<Vec<Rows>, Error>;
}

impl Files for Folder {
    fn all_files(&self) -> Result<Vec<Rows>, Error> {
        all_rows(&self.list_files()?)
    }

    fn first_records(&self, request: &FilesRead, max_rows: u32) -> Result<Vec<Rows>, Error> {
        all_rows(&self.sample(request.to_host(), max_rows)?)
    }
}

impl Folder {
    /// The rows of the request's files, in the order of files and records.
    ///
    /// # Errors
    /// What the host or the store refused.
    pub fn rows(&self, request: &FilesRead) -> Result<Reader, Error> {
        self.read(request.to_host())
    }
}

/// Rows of files that are asked for: of which table, of which files, as which columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesRead {
    /// The table they are of.
    #[serde(with = "table_names")]
    pub table: TableId,
    /// Files, or parts of them.
    pub files: Vec<FilePart>,
    /// How they are written.
    pub format: FileFormat,
    /// The columns of the answer.
    pub columns: Vec<FileColumn>,
    /// A column that a file does not have.
    pub missing_columns: Missing,
    /// A column that a file has and the request has not.
    pub extra_columns: Extra,
    /// Rows of the table that may be rejected.
    pub max_rejected_rows: u64,
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
pub struct FileFormat {
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

impl Default for FileFormat {
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
pub struct FileColumn {
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

/// The form of a table's names; the catalog only where there is one.
mod table_names {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::bindings::datakit::kit::types::TableId;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Names {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalog: Option<String>,
        schema: String,
        name: String,
    }

    pub(super) fn serialize<S: Serializer>(table: &TableId, serializer: S) -> Result<S::Ok, S::Error> {
        let TableId { catalog, schema, name } = table.clone();
        Names { catalog, schema, name }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableId, D::Error> {
        let Names { catalog, schema, name } = Names::deserialize(deserializer)?;
        Ok(TableId { catalog, schema, name })
    }
}

impl FilesRead {
    /// Of this table, from files of this format: no file and no column yet.
    #[must_use]
    pub fn new(table: TableId, format: FileFormat) -> Self {
        Self {
            table,
            files: Vec::new(),
            format,
            columns: Vec::new(),
            missing_columns: Missing::default(),
            extra_columns: Extra::default(),
            max_rejected_rows: 0,
        }
    }

    fn to_host(&self) -> host::ReadRequest {
        let request = host::ReadRequest::new(&self.table, self.format.to_host());
        for FilePart { path, version, start, end, constants } in &self.files {
            match (start, end) {
                (0, None) => request.add_file(path, version, constants),
                _ => request.add_file_range(path, version, constants, *start, *end),
            }
        }
        for FileColumn { name, arrow_type, from, format, strict } in &self.columns {
            let format = format.as_deref();
            match from {
                Origin::Field => request.add_column(name, arrow_type, format, *strict),
                Origin::Constant => request.add_constant(name, arrow_type, format, *strict),
                Origin::Path => request.add_path(name),
                Origin::Modified => request.add_modified(name),
            }
        }
        request.set_missing_columns_null(self.missing_columns == Missing::Null);
        request.set_extra_columns_ignored(self.extra_columns == Extra::Ignore);
        request.set_max_rejected_rows(self.max_rejected_rows);
        request
    }
}

impl FileFormat {
    fn to_host(&self) -> host::Format {
        let format = host::Format::new(self.kind.name());
        format.set_header(self.header);
        format.set_delimiter(self.delimiter);
        format.set_quote(self.quote);
        format.set_escape(self.escape);
        format.set_comment(self.comment);
        format.set_skip_lines(self.skip_lines);
        format.set_encoding(&self.encoding);
        format.set_compression(self.compression.name());
        format.set_null_values(&self.null_values);
        format.set_trim(self.trim);
        format.set_decimal_comma(self.decimal_comma);
        format
    }
}

impl FormatKind {
    /// As the host spells it.
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "json-lines",
            Self::Json => "json",
        }
    }
}

impl Compression {
    /// As the host spells it.
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

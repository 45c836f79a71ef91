//! What is asked of a folder of files, as plain data. Nothing in it is trusted: the connector holds every path against the
//! operator's rules and the grant, and checks the rest, before a file is opened.

use arrow::datatypes::DataType;

use crate::names::TableId;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub enum FilesRequest {
    /// All files of all tables, with what is known of them without reading.
    List,
    /// The first records of each file, as they are.
    Sample {
        /// Of which files.
        read: FilesRead,
        /// Records of each file.
        max_rows: u32,
    },
    /// The rows of files.
    Read(FilesRead),
}

/// Rows of files.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesRead {
    /// The table they are of.
    pub table: TableId,
    /// How the files are written.
    pub format: FileFormat,
    /// Files, or parts of them.
    pub files: Vec<FilePart>,
    /// The columns of the answer.
    pub columns: Vec<FileColumn>,
    /// A column that a file does not have is null; else it is an error.
    pub missing_columns_null: bool,
    /// A column that a file has and the request has not is left out; else it is an error.
    pub extra_columns_ignored: bool,
    /// Rows of the table that may be rejected, over all its partitions.
    pub max_rejected_rows: u64,
}

impl FilesRead {
    /// Of this table, from files of this format: no file and no column yet.
    #[must_use]
    pub fn new(table: TableId, format: FileFormat) -> Self {
        Self {
            table,
            format,
            files: Vec::new(),
            columns: Vec::new(),
            missing_columns_null: false,
            extra_columns_ignored: false,
            max_rejected_rows: 0,
        }
    }
}

/// A file, or a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// Below the root, parted by `/`.
    pub path: String,
    /// As the listing said: another content is another version, and is not read.
    pub version: String,
    /// A value for each constant column, in their order.
    pub constants: Vec<Option<String>>,
    /// Records that begin at this byte or later. Only for files whose records end where lines end.
    pub start: u64,
    /// Records that begin before this byte; none: to the end.
    pub end: Option<u64>,
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFormat {
    /// `csv`, `json-lines` or `json`.
    pub kind: String,
    /// The first record names the columns.
    pub header: bool,
    /// What parts fields.
    pub delimiter: char,
    /// None: no field is quoted.
    pub quote: Option<char>,
    /// What stands before a quote inside of quotes, besides a second quote.
    pub escape: Option<char>,
    /// Lines that begin with it are left out.
    pub comment: Option<char>,
    /// Lines before the first record.
    pub skip_lines: u32,
    /// A label of the WHATWG encoding standard. A byte order mark takes precedence.
    pub encoding: String,
    /// `auto`, `none`, `gzip` or `zstd`.
    pub compression: String,
    /// Fields that stand for null.
    pub null_values: Vec<String>,
    /// Fields are read without the blanks around them.
    pub trim: bool,
    /// Numbers have a comma where others have a point.
    pub decimal_comma: bool,
}

impl FileFormat {
    /// As a comma-separated file with a header, in UTF-8, is written.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            header: true,
            delimiter: ',',
            quote: Some('"'),
            escape: None,
            comment: None,
            skip_lines: 0,
            encoding: "utf-8".to_owned(),
            compression: "auto".to_owned(),
            null_values: vec![String::new()],
            trim: false,
            decimal_comma: false,
        }
    }
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Where its values come from.
    pub origin: FileOrigin,
    /// How dates and times are written, in the notation of strftime; none: ISO 8601.
    pub time_format: Option<String>,
    /// A value has to be written in the type's own form, since the type was inferred from other values.
    pub strict: bool,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileOrigin {
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

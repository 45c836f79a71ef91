//! What a guest has filled in, as it stands: nothing of it is checked yet. `check` makes the model's types of it.

use datakit_columnar::{ColumnExpression, WireField};
use datakit_model::TableId;
use datakit_model::quality::{Check, Severity};
use datakit_model::resume::FixedRows;
use datakit_model::sink::WriteMode;

/// What the datakit is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) roles: Vec<Role>,
    /// None: there are no settings.
    pub(crate) settings_schema: Option<String>,
}

/// A connection a datakit needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) kinds: Vec<String>,
    pub(crate) purpose: String,
}

/// A table the datakit can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableDescription {
    pub(crate) id: TableId,
    pub(crate) is_view: bool,
    pub(crate) columns: Vec<WireField>,
    pub(crate) primary_key: Vec<String>,
    pub(crate) estimated_rows: Option<u64>,
    pub(crate) estimated_bytes: Option<u64>,
}

impl TableDescription {
    pub(crate) fn new(id: TableId) -> Self {
        Self {
            id,
            is_view: false,
            columns: Vec::new(),
            primary_key: Vec::new(),
            estimated_rows: None,
            estimated_bytes: None,
        }
    }
}

/// How a table is read and, as the datakit proposes, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TablePlan {
    pub(crate) table: TableId,
    /// In the order in which they were added.
    pub(crate) partitions: Vec<Part>,
    pub(crate) write: Option<WriteMode>,
    pub(crate) keys: Vec<String>,
    pub(crate) partition_by: Vec<String>,
    pub(crate) strategy: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) watermark: Option<String>,
    pub(crate) load_id_column: Option<String>,
    pub(crate) operation_column: Option<String>,
    pub(crate) version_column: Option<String>,
    pub(crate) commit_time_column: Option<String>,
    pub(crate) missing_columns_column: Option<String>,
    pub(crate) fixed: Option<FixedRows>,
    pub(crate) rules: Vec<QualityRule>,
}

impl TablePlan {
    pub(crate) fn new(table: TableId) -> Self {
        Self {
            table,
            partitions: Vec::new(),
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            watermark: None,
            load_id_column: None,
            operation_column: None,
            version_column: None,
            commit_time_column: None,
            missing_columns_column: None,
            fixed: None,
            rules: Vec::new(),
        }
    }
}

/// What must hold of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QualityRule {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    /// None: the datakit has not said what.
    pub(crate) check: Option<Check>,
    pub(crate) severity: Severity,
}

/// One partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) state: Vec<u8>,
    pub(crate) estimated_rows: Option<u64>,
}

/// A projection in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProjectionParts {
    pub(crate) input: Vec<WireField>,
    pub(crate) columns: Vec<(String, ColumnExpression)>,
    pub(crate) filter: Option<String>,
}

/// A request for changes in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChangeParts {
    pub(crate) table: TableId,
    pub(crate) strategy: String,
    pub(crate) columns: Vec<String>,
    pub(crate) watermark_column: Option<String>,
    pub(crate) lag: Option<u64>,
    pub(crate) overlap: Option<u64>,
    pub(crate) position: Option<String>,
    pub(crate) upper: Option<String>,
}

/// A column of a request for files: its type is still a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileColumnParts {
    pub(crate) name: String,
    pub(crate) arrow_type: String,
    pub(crate) origin: datakit_model::files::FileOrigin,
    pub(crate) time_format: Option<String>,
    pub(crate) strict: bool,
}

/// A request for files in the making: [`FilesRead`](datakit_model::files::FilesRead) without its columns, and these.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FilesParts {
    pub(crate) read: datakit_model::files::FilesRead,
    pub(crate) columns: Vec<FileColumnParts>,
}

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datakit_model::backfill::Backfilled;
use datakit_model::quality::RuleResult;
use datakit_model::receipt::Receipt;
use datakit_model::sink::TableRows;
use datakit_model::source::Adjustment;
use datakit_model::{ColumnChange, ColumnOrigin, Failure, Kind, Retry, TableId};
use schemars::JsonSchema;
use serde::Serialize;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Every table is committed.
    Done,
    /// Every table is committed, and the columns of some were not those of the source.
    Drift,
    /// Some or all tables failed.
    Failed,
    /// The run was told to stop.
    Stopped,
}

/// How a table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableStatus {
    /// Its rows are visible in the sink.
    Committed,
    /// Nothing was done: a run of the same id had committed it before, or nothing has changed since the last load.
    Unchanged,
    /// Nothing of this run is visible.
    Failed,
    /// The run was told to stop first: nothing of it is visible.
    Stopped,
}

impl RunStatus {
    /// Whether every table is committed.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Drift)
    }
}

/// The one summary of a run: what `--output json` prints.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Summary {
    /// The run.
    pub run_id: String,
    /// The datakit's name.
    pub datakit: String,
    /// Its version.
    pub version: String,
    /// Its manifest digest.
    pub digest: String,
    /// How it ended.
    pub status: RunStatus,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// From the start of discovery to the last commit.
    pub seconds: f64,
    /// Each selected table, by name.
    pub tables: Vec<TableSummary>,
}

/// How one table went.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableSummary {
    /// `schema.name`.
    pub table: String,
    /// The same in its parts; none: nobody has said. It does not leave the process.
    #[serde(skip)]
    pub id: Option<TableId>,
    /// How it ended.
    pub status: TableStatus,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// From its first query to its commit.
    pub seconds: f64,
    /// Where it is.
    pub target: String,
    /// Partitions of its plan.
    pub partitions: usize,
    /// Partitions that were finished before the run was started again, and not read once more.
    #[serde(skip_serializing_if = "is_zero")]
    pub resumed_partitions: usize,
    /// The other ingests whose rows are of the same read of the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
    /// What the table holds now; none: nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TableRowsSchema>")]
    pub holds: Option<TableRows>,
    /// All rows are of one snapshot. Shown only when false: several partitions were read, each of its own.
    #[serde(skip_serializing_if = "is_true")]
    pub consistent_snapshot: bool,
    /// Read with dirty reads: rows may be missing or doubled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filtered: bool,
    /// Values that were cut to fit their Arrow type, and columns whose values the source may have changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// Columns of the source that were not those of the table, and what became of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ColumnChange>,
    /// Rows that were rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedRows>,
    /// What was found of each rule of quality.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<RuleResult>,
    /// What was delivered and held; none: nothing was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What a backfill did; none: the run loads rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfilled>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
    /// What the commit wrote and where the next load goes on; none: this run has committed nothing. It does not leave the process.
    #[serde(skip)]
    pub commit: Option<Box<TableCommit>>,
}

impl TableSummary {
    /// A table of which nothing is known but how it ended.
    #[must_use]
    pub fn new(table: impl Into<String>, status: TableStatus) -> Self {
        Self {
            table: table.into(),
            id: None,
            status,
            rows: 0,
            bytes: 0,
            seconds: 0.0,
            target: String::new(),
            partitions: 0,
            resumed_partitions: 0,
            shared_with: Vec::new(),
            holds: None,
            consistent_snapshot: true,
            approximate: false,
            filtered: false,
            adjustments: Vec::new(),
            drift: Vec::new(),
            rejected: None,
            quality: Vec::new(),
            receipt: None,
            backfill: None,
            error: None,
            commit: None,
        }
    }
}

/// What is known of a commit besides its numbers.
#[derive(Debug, Clone)]
pub struct TableCommit {
    /// The columns as the sink got them.
    pub schema: SchemaRef,
    /// What they are made of, as far as it is known.
    pub origins: Vec<ColumnOrigin>,
    /// The datakit's position that the plan was made from; none: the first load, or a full one.
    pub position_before: Option<String>,
    /// The position that is in the state now.
    pub position_after: Option<String>,
}

/// How many rows a table holds.
#[derive(JsonSchema)]
#[schemars(rename = "TableRows")]
#[expect(dead_code, reason = "describes a type, and is never made")]
struct TableRowsSchema {
    /// So many.
    rows: u64,
    /// There may be more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
}

/// Rows that were rejected.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RejectedRows {
    /// How many.
    pub rows: u64,
    /// The table they are in.
    pub target: String,
}

/// A failure as the summary shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TableError {
    /// The stable code.
    pub code: String,
    /// Who has to act.
    pub kind: Kind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// The sink does not hold what the source delivered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_mismatch: bool,
    /// What happened.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The errors below, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl From<&Failure> for TableError {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code().to_owned(),
            kind: failure.kind(),
            retry: failure.retry(),
            is_mismatch: failure.is_mismatch(),
            message: failure.message().to_owned(),
            hint: failure.hint().map(ToOwned::to_owned),
            causes: failure.causes().to_vec(),
        }
    }
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Whether a count is one that a summary leaves out.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Whether a field has the value that a summary leaves out.
fn is_true(value: &bool) -> bool {
    *value
}

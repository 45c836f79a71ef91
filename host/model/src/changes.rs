//! What changed in a table since a position, as a connector reads it.
//!
//! A datakit says which table, which strategy and which columns; the connector asks the server with queries of its own. What a
//! feed guarantees is written at the interface `changes` of the WIT and in docs/changes.md.

use async_trait::async_trait;

use crate::failure::Failure;
use crate::names::TableId;
use crate::source::Reader;

/// A field's metadata key that says which role of the host a column has. Only the host sets it.
pub const ROLE_KEY: &str = "datakit.role";

/// What a column holds that the host fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnRole {
    /// The id of the load: a UUID.
    LoadId,
    /// `read`, `insert`, `update`, `upsert` or `delete`.
    Operation,
    /// The place of a change in its strategy's order.
    ChangeVersion,
    /// When the change was committed.
    CommitTime,
    /// The columns that the change carries.
    ChangedColumns,
}

impl ColumnRole {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LoadId, Self::Operation, Self::ChangeVersion, Self::CommitTime, Self::ChangedColumns];

    /// The value of [`ROLE_KEY`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadId => "load-id",
            Self::Operation => "operation",
            Self::ChangeVersion => "change-version",
            Self::CommitTime => "commit-time",
            Self::ChangedColumns => "changed-columns",
        }
    }
}

/// What is asked of a table's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest {
    /// The table.
    pub table: TableId,
    /// How changes are found.
    pub strategy: Strategy,
    /// The columns of the rows, in this order; none: all that the login may read.
    pub columns: Option<Vec<String>>,
    /// Only changes after it; none: the whole table.
    pub position: Option<String>,
    /// Only changes up to it; none: up to now.
    pub upper: Option<String>,
}

/// How changes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Rows whose value of a column is greater than the position.
    Watermark {
        /// The column.
        column: String,
        /// How far the upper bound stays behind the newest value: milliseconds of a column of dates and times, else units of
        /// the column.
        lag: u64,
    },
}

/// How the position of a request relates to what the source still knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validity {
    /// There was no position: the rows are all rows of the table.
    Whole,
    /// The rows are the changes since the position.
    Onward,
    /// Changes since the position are lost, and why.
    Gap(String),
}

/// The changes of one table, between two positions.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Whether the position holds.
    fn validity(&self) -> &Validity;

    /// The position that the changes reach; none: the table never had a row.
    fn upper(&self) -> Option<&str>;

    /// The rows, once: the columns that were asked for, then those of the host, each with its [`ROLE_KEY`].
    ///
    /// # Errors
    /// A feed with a gap, or whose rows were taken; what the source reports.
    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure>;
}

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
    /// The columns whose values the change does not carry.
    MissingColumns,
}

impl ColumnRole {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LoadId, Self::Operation, Self::ChangeVersion, Self::CommitTime, Self::MissingColumns];

    /// The value of [`ROLE_KEY`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadId => "load-id",
            Self::Operation => "operation",
            Self::ChangeVersion => "change-version",
            Self::CommitTime => "commit-time",
            Self::MissingColumns => "missing-columns",
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
    /// Rows whose value of a column is at least that of the position, less those that are loaded.
    Watermark {
        /// The column.
        column: String,
        /// How far the upper bound stays behind the newest value: milliseconds of a column of dates and times, else units of
        /// the column.
        lag: u64,
        /// How far before the position rows are read again, and left out where they are loaded: as the lag.
        overlap: u64,
    },
    /// Rows whose value of the table's column of type rowversion has grown.
    RowVersion,
    /// SQL Server's Change Tracking: each changed row as it is now, and deletes.
    ChangeTracking,
    /// SQL Server's change data capture: every change.
    Cdc {
        /// Only the last change of each row.
        net: bool,
    },
    /// PostgreSQL's logical decoding: every change.
    Logical,
}

impl Strategy {
    /// The name of the strategy that made a position; none: no strategy of this host.
    #[must_use]
    pub fn of_position(position: &str) -> Option<&'static str> {
        let (mark, _) = position.split_once(':')?;
        MARKS.into_iter().find(|(known, _)| *known == mark).map(|(_, strategy)| strategy)
    }

    /// Whether the strategy that made a position reports deleted rows.
    #[must_use]
    pub fn deletes_after(position: &str) -> bool {
        matches!(Self::of_position(position), Some("change-tracking" | "cdc" | "logical"))
    }

    /// Its name, as a datakit asks for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Watermark { .. } => "watermark",
            Self::RowVersion => "row-version",
            Self::ChangeTracking => "change-tracking",
            Self::Cdc { net: false } => "cdc",
            Self::Cdc { net: true } => "cdc-net",
            Self::Logical => "logical",
        }
    }
}

/// What the positions of each strategy begin with, before a colon.
const MARKS: [(&str, &str); 6] = [
    ("w1", "watermark"),
    ("w2", "watermark"),
    ("r1", "row-version"),
    ("t1", "change-tracking"),
    // Of `cdc-net` too: each goes on from the positions of the other.
    ("c1", "cdc"),
    ("l1", "logical"),
];

/// Whether a table's changes can be found by a strategy, as its server is set up now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The strategy.
    pub strategy: Strategy,
    /// Why not, in one sentence for the operator; none: it can.
    pub refused: Option<String>,
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

    /// How far the changes reach; none: the table never had a row. Before the rows have ended it bounds them, afterwards it is the
    /// position to go on from: a strategy that remembers rows, and one whose rows are of a later snapshot, say both in different texts.
    fn upper(&self) -> Option<&str>;

    /// The rows, once: the columns that were asked for, then those of the host, each with its [`ROLE_KEY`].
    ///
    /// # Errors
    /// A feed with a gap, or whose rows were taken; what the source reports.
    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure>;

    /// Rows that a query of the table reads, as rows of its first copy: with the columns of [`Self::rows`] behind them. So a first
    /// copy can be cut into parts that are read at the same time.
    ///
    /// # Errors
    /// A feed that is no first copy; a strategy whose first copy is read by [`Self::rows`] alone.
    fn copied(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure>;
}

//! What changed in a table, asked for as plain data, and its way to the host.

use serde::{Deserialize, Serialize};

use crate::bindings::datakit::kit::changes as host;
pub use crate::bindings::datakit::kit::changes::{ChangeFeed, Offer};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::datakit::watermark;

/// What is asked of a table's changes.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRequest {
    /// The table.
    pub table: TableId,
    /// How changes are found.
    pub strategy: Strategy,
    /// The columns of the rows, in this order; empty: all that the login may read.
    pub columns: Vec<String>,
    /// Only changes after it; none: the whole table, as its first copy.
    pub position: Option<String>,
    /// Only changes up to it, which an earlier feed had as its upper bound; none: up to now.
    pub upper: Option<String>,
}

/// How changes are found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Rows whose value of the table's rowversion column has grown.
    RowVersion,
    /// Each changed row as it is now, and deletes, by SQL Server's Change Tracking.
    ChangeTracking,
    /// Every change that SQL Server's change data capture recorded.
    Cdc,
    /// The last change of each row that it recorded.
    CdcNet,
    /// Every change that PostgreSQL's logical decoding publishes.
    Logical,
}

impl Strategy {
    /// Whether its position says which rows were read, so that it is known when they have ended.
    #[must_use]
    pub fn remembers_rows(&self) -> bool {
        matches!(self, Self::Watermark { .. })
    }

    /// Whether the position to go on from is known only when the rows have ended: that of a strategy that remembers rows, and that of
    /// Change Tracking behind a position, whose rows are of a snapshot that is taken when they are read.
    #[must_use]
    pub fn knows_position_at_end(&self, validity: &Validity) -> bool {
        self.remembers_rows() || (*self == Self::ChangeTracking && *validity == Validity::Onward)
    }

    /// The strategy of this name, if it needs nothing but a table.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::RowVersion, Self::ChangeTracking, Self::Cdc, Self::CdcNet, Self::Logical]
            .into_iter()
            .find(|strategy| strategy.name() == name)
    }

    /// Whether it reads on from a position of the strategy of this name.
    #[must_use]
    pub fn goes_on_from(&self, strategy: &str) -> bool {
        // Both forms of change data capture have the same positions.
        let own = if *self == Self::CdcNet { Self::Cdc.name() } else { self.name() };
        own == strategy
    }

    /// As the host calls it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Watermark { .. } => "watermark",
            Self::RowVersion => "row-version",
            Self::ChangeTracking => "change-tracking",
            Self::Cdc => "cdc",
            Self::CdcNet => "cdc-net",
            Self::Logical => "logical",
        }
    }
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

/// What a feed says before its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Whether the position holds.
    pub validity: Validity,
    /// How far the changes reach; none: the table never had a row. It is the position too, unless that is known
    /// [at the end](Strategy::knows_position_at_end) of the rows.
    pub upper: Option<String>,
}

/// Whatever says where changes begin and how far they reach: the connection of a role, or a test's fake of it.
pub trait Changes {
    /// Whether the request's position holds, and how far the changes reach by now. Reads no rows.
    ///
    /// # Errors
    /// What the host or the server refused.
    fn reach(&self, request: &ChangeRequest) -> Result<Reach, Error>;

    /// By which strategies the changes of each of these tables can be found, the best first.
    ///
    /// # Errors
    /// What the host or the server refused.
    fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Error>;

    /// The strategy that made a position; none: no strategy of this host.
    fn strategy_of(&self, position: &str) -> Option<String>;

    /// The position that the last commit of the table left as its watermark; none: the whole table is to be read.
    fn position(&self, table: &TableId) -> Option<String>;
}

/// The connection that the operator mapped to the role of this name.
#[derive(Debug, Clone, Copy)]
pub struct OfRole(pub &'static str);

impl Changes for OfRole {
    fn reach(&self, request: &ChangeRequest) -> Result<Reach, Error> {
        Ok(request.open(self.0)?.reach())
    }

    fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Error> {
        host::offers(self.0, tables)
    }

    fn strategy_of(&self, position: &str) -> Option<String> {
        host::strategy_of(position)
    }

    fn position(&self, table: &TableId) -> Option<String> {
        watermark(table)
    }
}

impl ChangeRequest {
    /// Opens the feed, by the connection that the operator mapped to this role.
    ///
    /// # Errors
    /// What the host or the server refused.
    pub fn open(&self, role: &str) -> Result<ChangeFeed, Error> {
        ChangeFeed::open(role, self.to_host())
    }

    fn to_host(&self) -> host::ChangeRequest {
        let request = host::ChangeRequest::new(&self.table, self.strategy.name());
        if let Strategy::Watermark { column, lag, overlap } = &self.strategy {
            request.set_watermark_column(column);
            request.set_lag(*lag);
            request.set_overlap(*overlap);
        }
        self.columns.iter().for_each(|column| request.add_column(column));
        if let Some(position) = &self.position {
            request.set_position(position);
        }
        if let Some(upper) = &self.upper {
            request.set_upper(upper);
        }
        request
    }
}

impl ChangeFeed {
    /// What the feed says before its rows.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let validity = match self.validity() {
            host::Validity::Whole => Validity::Whole,
            host::Validity::Onward => Validity::Onward,
            host::Validity::Gap => Validity::Gap(self.gap_reason().unwrap_or_default()),
        };
        Reach { validity, upper: self.upper() }
    }
}

//! What a source of rows offers to whoever reads it.
//!
//! Connectors implement these traits, `wasm` uses them on behalf of a guest, and tests have one in memory. A guest's
//! SQL arrives here as the guest wrote it: **the source checks it** against the grant, since only it knows its dialect.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::changes::{ChangeFeed, ChangeRequest, Offer};
use crate::failure::{Failure, Kind, Retry};
use crate::files::FilesRequest;
use crate::memory::{MemoryBudget, TrackedBatch};
use crate::names::{TableId, TablePatterns};

pub use crate::rejects::{Rejected, RejectedRow, Rejecting};

/// A configured place to read from: server, credentials, pool. One for all partitions and tables of a run.
#[async_trait]
pub trait Source: Send + Sync {
    /// The kind a datakit's role asks for: `sqlserver`.
    fn kind(&self) -> &'static str;

    /// Opens a session that may read what `access` grants. Cheap: a physical connection is taken from the pool when the
    /// first query runs.
    ///
    /// # Errors
    /// A [`Failure`] of kind `source` when the server cannot be reached or refuses the login.
    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure>;

    /// The same patterns, comparing names as this source does. The server is asked, once, where its answer decides about one of
    /// `tables`.
    ///
    /// # Errors
    /// The server cannot be reached or does not say.
    async fn compared(&self, patterns: &TablePatterns, tables: &[TableId]) -> Result<TablePatterns, Failure> {
        let _ = tables;
        Ok(patterns.clone())
    }

    /// The server keeps changes until it is told that they were read: [`Self::confirm`].
    fn keeps_changes(&self) -> bool {
        false
    }

    /// Tells the server that all who read the changes of this source have committed them up to the earliest of these positions: what
    /// lies before may be forgotten. A position that the source does not know is left out of account.
    ///
    /// # Errors
    /// What the server reports.
    async fn confirm(&self, positions: &[String]) -> Result<(), Failure> {
        let _ = positions;
        Ok(())
    }

    /// What its pool of connections has done so far; none where there is no pool.
    fn pool(&self) -> Option<PoolStatistics> {
        None
    }
}

/// What a pool of connections has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolStatistics {
    /// `host:port`.
    pub server: String,
    /// Connections in use now.
    pub in_use: u64,
    /// Connections that wait for their next use.
    pub idle: u64,
    /// The most that were open at one time.
    pub most_open: u64,
    /// The bound on them.
    pub max_connections: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed, by reason.
    pub closed: ClosedConnections,
    /// How often somebody had to wait for a connection.
    pub waits: u64,
    /// For how long in all, in milliseconds.
    pub wait_ms: u64,
    /// The longest wait, in milliseconds.
    pub longest_wait_ms: u64,
}

/// Connections that were closed, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClosedConnections {
    /// The server closed the connection, or did not answer.
    pub closed_by_server: u64,
    /// Idle for too long.
    pub idle: u64,
    /// Too old.
    pub lifetime: u64,
    /// Given back in the middle of something: a query that was cancelled or failed.
    pub unfinished: u64,
    /// To make room for another, of another driver or another connection to the same server.
    pub displaced: u64,
}

impl ClosedConnections {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.closed_by_server + self.idle + self.lifetime + self.unfinished + self.displaced
    }
}

/// What a session may do, and for whom.
#[derive(Debug, Clone)]
pub struct Access {
    /// The tables its SQL may name, besides the catalog views the source lists.
    pub tables: TablePatterns,
    /// The run, for the comment on the server.
    pub run_id: String,
    /// What the batches read are charged to.
    pub memory: MemoryBudget,
    /// What becomes of rows of granted tables with a value that cannot be represented; none: the query fails.
    pub rejecting: Option<Rejecting>,
}

/// One session with a source.
#[async_trait]
pub trait Connection: Send + Sync {
    /// Starts a query. One reader at a time: while one lives, a second query is refused.
    ///
    /// # Errors
    /// Kind `datakit` when the guard refuses the text, kind `source` when the server does.
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let _ = query;
        Err(unsupported("queries in SQL"))
    }

    /// Starts reading files, as [`Self::query`] does rows.
    ///
    /// # Errors
    /// A path outside of the root or the grant, a request that cannot be, what the store reports.
    async fn files(&self, request: FilesRequest) -> Result<Box<dyn Reader>, Failure> {
        let _ = request;
        Err(unsupported("files"))
    }

    /// Asks whether a position holds and how far a table's changes reach. Its reader counts as one of the session's.
    ///
    /// # Errors
    /// A table that is not granted or not there, a strategy that this kind of source does not have, what the server reports.
    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        let _ = request;
        Err(unsupported("changes"))
    }

    /// By which strategies the changes of each of these tables can be found, in their order: the best first. Those that need a
    /// setting of the datakit are not among them.
    ///
    /// # Errors
    /// A table that is not granted, what the server reports.
    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        Ok(tables.iter().map(|_| Vec::new()).collect())
    }
}

/// A kind of source that does not have what was asked for.
fn unsupported(what: &str) -> Failure {
    let message = format!("this kind of source has no {what}");
    Failure::new("DK-SRC-003", Kind::User, Retry::Never, message)
        .with_hint("map the role to a connection of another kind, or choose another strategy in the datakit's settings")
}

/// The rows of one query. Dropped before its end: the query is cancelled on the server.
#[async_trait]
pub trait Reader: Send {
    /// The shape of every batch, known before the first row.
    fn schema(&self) -> SchemaRef;

    /// The next batch, never empty; none at the end. Cancel-safe.
    ///
    /// # Errors
    /// What the server reported in the middle of the rows, or a value that cannot be represented.
    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure>;

    /// What is known of the rows read so far. Rejected rows are handed over once; the rest holds for all rows up to now.
    fn report(&mut self) -> ReadReport;
}

/// What is known of rows that were read, besides the rows: of one reader, or of all readers of a partition.
#[derive(Debug, Clone, Default)]
pub struct ReadReport {
    /// Values that were changed on the way, by column and kind: nothing is changed in silence.
    pub adjustments: Vec<Adjustment>,
    /// Rows that could not be read as rows of the table, since the last report.
    pub rejected: Rejected,
    /// The snapshot that all rows are of, by a name that other queries of the run share when they read the same one; none
    /// when the rows are of no snapshot, or of one that no other query can read.
    pub snapshot: Option<Arc<str>>,
    /// The query allows dirty reads (NOLOCK, read uncommitted): rows may be missing or doubled.
    pub approximate: bool,
    /// Row-level security of the server left out rows, or may have. Known for good at the end of the rows.
    pub filtered: bool,
}

/// Values of one column that had to be cut to fit the Arrow type, by the rule of the type table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Adjustment {
    /// The column.
    pub column: String,
    /// What was done, for example `datetime2(7) cut to microseconds`.
    pub what: String,
    /// How many values it concerned.
    pub values: u64,
}

/// One query of a datakit.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// The text as the datakit wrote it, with the dialect's own parameter names (`@P1`, `@P2`, … for SQL Server, `$1`, `$2`, …
    /// for PostgreSQL).
    pub sql: String,
    /// The parameters, in order.
    pub parameters: Vec<Value>,
    /// What the host writes around the text.
    pub options: QueryOptions,
}

/// What is not part of a query's text but the host writes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryOptions {
    /// The transaction isolation; none: the server's default.
    pub isolation: Option<Isolation>,
    /// The query is cancelled after this time without its end; none: no bound.
    pub timeout: Option<Duration>,
    /// SQL Server: `OPTION (MAXDOP n)`.
    pub max_parallelism: Option<u16>,
}

/// Transaction isolation levels of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Dirty reads allowed.
    ReadUncommitted,
    /// The default of SQL Server.
    ReadCommitted,
    /// Rows read stay as they are.
    RepeatableRead,
    /// One snapshot, by row versions.
    Snapshot,
    /// As if alone.
    Serializable,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// bit
    Boolean,
    /// int
    Int32,
    /// bigint
    Int64,
    /// float
    Float64,
    /// decimal
    Decimal,
    /// nvarchar
    Text,
    /// varchar
    AnsiText,
    /// varbinary
    Bytes,
    /// uniqueidentifier
    Uuid,
    /// date
    Date,
    /// datetime2
    Timestamp,
    /// datetime
    LegacyDatetime,
    /// datetimeoffset
    TimestampTz,
}

/// A query parameter, sent with exactly this server type: an nvarchar sent against a varchar key costs the index.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL of a type: a server plans by it as by a value's.
    Null(ValueType),
    /// bit
    Boolean(bool),
    /// int
    Int32(i32),
    /// bigint
    Int64(i64),
    /// float
    Float64(f64),
    /// decimal, in plain text: `-12.50`
    Decimal(String),
    /// nvarchar
    Text(String),
    /// varchar
    AnsiText(String),
    /// varbinary
    Bytes(Vec<u8>),
    /// uniqueidentifier, hyphenated
    Uuid(String),
    /// date, `YYYY-MM-DD`
    Date(String),
    /// datetime2, `YYYY-MM-DDThh:mm:ss[.fffffff]`
    Timestamp(String),
    /// datetime, in the same form
    LegacyDatetime(String),
    /// datetimeoffset, in the same form with `±hh:mm`
    TimestampTz(String),
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Null(value_type) => *value_type,
            Self::Boolean(_) => ValueType::Boolean,
            Self::Int32(_) => ValueType::Int32,
            Self::Int64(_) => ValueType::Int64,
            Self::Float64(_) => ValueType::Float64,
            Self::Decimal(_) => ValueType::Decimal,
            Self::Text(_) => ValueType::Text,
            Self::AnsiText(_) => ValueType::AnsiText,
            Self::Bytes(_) => ValueType::Bytes,
            Self::Uuid(_) => ValueType::Uuid,
            Self::Date(_) => ValueType::Date,
            Self::Timestamp(_) => ValueType::Timestamp,
            Self::LegacyDatetime(_) => ValueType::LegacyDatetime,
            Self::TimestampTz(_) => ValueType::TimestampTz,
        }
    }
}

impl ValueType {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Boolean,
        Self::Int32,
        Self::Int64,
        Self::Float64,
        Self::Decimal,
        Self::Text,
        Self::AnsiText,
        Self::Bytes,
        Self::Uuid,
        Self::Date,
        Self::Timestamp,
        Self::LegacyDatetime,
        Self::TimestampTz,
    ];
}

//! What goes into a datakit and what comes out, as plain data that has passed the checks, and who answers for it.
//!
//! `wasm` implements [`Datakit`] and [`Extraction`] by components; the pipeline knows nothing else of a datakit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::changes::ColumnRole;
use crate::memory::ByteLimit;
use crate::quality::Rule;
use crate::rejects::Rejecting;
use crate::resume::FixedRows;
use crate::sink::WriteMode;
use crate::source::{ReadReport, Source};
use crate::{ColumnOrigin, Failure, HashKeys, MemoryBudget, RunIdentity, TableId, TablePatterns, TrackedBatch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

/// One run's side of the boundary: what a datakit may know and reach.
#[derive(Clone)]
pub struct Session {
    /// Who is running.
    pub run: RunIdentity,
    /// The operator's settings for the datakit: one JSON object, already valid against [`Info::settings_schema`].
    pub settings: String,
    /// The connections the operator mapped to roles. A role that is not here cannot be opened.
    pub roles: HashMap<String, Arc<dyn Source>>,
    /// The tables a query may name.
    pub tables: TablePatterns,
    /// The keys of keyed hashes that the operator granted. A key that is not here cannot be used.
    pub keys: HashKeys,
    /// What batches are charged to.
    pub memory: MemoryBudget,
    /// What rejected rows are charged to, until their table is committed.
    pub rejected: ByteLimit,
    /// What readers may reject of the table that is read; none: a bad value fails its query.
    pub rejecting: Option<Rejecting>,
    /// What all instances of the run have logged.
    pub log: RunLog,
    /// What earlier commits left.
    pub watermarks: Arc<dyn Watermarks>,
}

/// Where watermarks come from: the sink is the state store.
#[async_trait]
pub trait Watermarks: Send + Sync {
    /// The watermark the last commit of `table` left; none when there is none, or when this run replaces what it stands
    /// for.
    ///
    /// # Errors
    /// What kept the sink's state from being read. The error ends the instance.
    async fn watermark(&self, table: &TableId) -> Result<Option<String>, Failure>;
}

/// What a datakit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Lower-case letters, digits, hyphens: the name it is published by.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Every role it may open.
    pub roles: Vec<Role>,
    /// A JSON Schema of its settings: valid JSON, but not yet known to be a valid schema.
    pub settings_schema: String,
}

/// A connection a datakit needs, by the part it plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name: `source`.
    pub name: String,
    /// The kinds of connection that will do; at least one.
    pub kinds: Vec<String>,
    /// What it is used for.
    pub purpose: String,
}

/// What a datakit discovered. The checks of one table do not affect another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The tables whose description is valid.
    pub tables: Vec<Table>,
    /// The tables whose description is invalid. They cannot be read, and the others can.
    pub invalid: Vec<InvalidTable>,
}

/// A discovered table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTable {
    /// Its names.
    pub id: TableId,
    /// What is wrong with its description.
    pub failure: Failure,
}

/// A table a datakit can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its names.
    pub id: TableId,
    /// Table or view.
    pub kind: TableKind,
    /// The source's columns the datakit would read.
    pub columns: SchemaRef,
    /// Names of columns, in key order; empty: no key.
    pub primary_key: Vec<String>,
    /// Rows, as the source estimates them.
    pub estimated_rows: Option<u64>,
    /// Bytes, as the source estimates them.
    pub estimated_bytes: Option<u64>,
}

/// What kind of relation a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Stored rows.
    Table,
    /// A view.
    View,
}

/// How a table is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// The table.
    pub table: TableId,
    /// At least one, in the order of their ordinals.
    pub partitions: Vec<Partition>,
    /// Commits with the rows.
    pub watermark_after: Option<String>,
    /// What the datakit proposes to do with the rows that are there; the operator's mode decides over it.
    pub write: Option<WriteMode>,
    /// The columns of the output that identify a row, in key order, as the datakit proposes; empty: the source's key.
    pub keys: Vec<String>,
    /// The columns of the output by whose values the table is to be partitioned, in order, as the datakit proposes; a sink that
    /// writes no partitioned tables leaves them out of account.
    pub partition_by: Vec<String>,
    /// How the table is read, in a word or two for the operator: `full`.
    pub strategy: Option<String>,
    /// Why it is read so, in a sentence for the operator.
    pub why: Option<String>,
    /// How the datakit names the columns that the host fills.
    pub roles: RoleColumns,
    /// What fixes the rows of each partition; none: the moment at which it is read.
    pub fixed: Option<FixedRows>,
    /// What must hold of the rows, as the datakit proposes; the operator may change severities and switch rules off.
    pub rules: Vec<Rule>,
}

/// The columns of a table that the host fills, by the names that the datakit gives them; none: the table has no such column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleColumns {
    /// The id of the load.
    pub load_id: Option<String>,
    /// What happened to the row.
    pub operation: Option<String>,
    /// The place of the change in its strategy's order.
    pub version: Option<String>,
    /// When the change was committed.
    pub commit_time: Option<String>,
    /// The columns whose values the change does not carry.
    pub missing_columns: Option<String>,
}

impl RoleColumns {
    /// Each column that is named, with its role.
    pub fn named(&self) -> impl Iterator<Item = (ColumnRole, &str)> {
        let all = [
            (ColumnRole::LoadId, &self.load_id),
            (ColumnRole::Operation, &self.operation),
            (ColumnRole::ChangeVersion, &self.version),
            (ColumnRole::CommitTime, &self.commit_time),
            (ColumnRole::MissingColumns, &self.missing_columns),
        ];
        all.into_iter().filter_map(|(role, name)| Some((role, name.as_deref()?)))
    }
}

/// A part of a table that is read on its own; may be extracted more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The table it is a part of.
    pub table: TableId,
    /// 0, 1, 2, … without gaps.
    pub ordinal: u32,
    /// The datakit's own.
    pub state: Vec<u8>,
    /// Rows, as far as the datakit can tell.
    pub estimated_rows: Option<u64>,
}

/// What a check of settings found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// The schema is not one.
    BadSchema(String),
    /// What the settings break; nothing: they are valid.
    Problems(Vec<String>),
}

/// What all instances of one run have logged together. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct RunLog(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    bytes: AtomicU64,
    dropped: AtomicU64,
}

impl RunLog {
    /// Bytes of the messages that were shown.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Messages that were not shown.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Whether so many bytes more may be shown.
    #[must_use]
    pub fn admit(&self, bytes: u64, max: u64) -> bool {
        let more = |said: u64| said.checked_add(bytes).filter(|sum| *sum <= max);
        self.0.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts a message that is not shown; says whether it is the first.
    #[must_use]
    pub fn drop_one(&self) -> bool {
        self.0.dropped.fetch_add(1, Ordering::Relaxed) == 0
    }
}

/// A datakit, ready to be asked. Each question is answered by an instance of its own.
#[async_trait]
pub trait Datakit: Send + Sync {
    /// What the datakit is. Asked once; the answer is kept.
    ///
    /// # Errors
    /// The guest's end, or an answer that is not acceptable.
    async fn describe(&self) -> Result<Info, Failure>;

    /// What settings, a JSON object, break of the datakit's schema.
    ///
    /// # Errors
    /// As [`Self::describe`]; a schema that takes too much to check.
    async fn check_settings(&self, settings: &serde_json::Value) -> Result<Verdict, Failure>;

    /// The tables there are, each checked by itself: at least those that `wanted` selects.
    ///
    /// # Errors
    /// The guest's end, its own error, an error of the source, or an answer that is not acceptable as a whole.
    async fn discover(&self, session: &Session, wanted: &TablePatterns) -> Result<Discovery, Failure>;

    /// How to read these tables: one plan for each, in the datakit's order, partitions in the order of their ordinals.
    ///
    /// # Errors
    /// As [`Self::discover`].
    async fn plan(&self, session: &Session, tables: &[TableId]) -> Result<Vec<TablePlan>, Failure>;

    /// The rows of one partition, in a fresh instance.
    ///
    /// # Errors
    /// As [`Self::discover`].
    async fn extract(&self, session: &Session, partition: &Partition) -> Result<Box<dyn Extraction>, Failure>;
}

/// A partition on its way. Dropping it ends the instance and cancels its queries.
#[async_trait]
pub trait Extraction: Send {
    /// The columns of every batch.
    fn schema(&self) -> SchemaRef;

    /// The next rows, never an empty batch; none when the partition is complete. Not cancel-safe: after a dropped call
    /// the extraction refuses further ones.
    ///
    /// # Errors
    /// The guest's end, its own error, an error of the source, or a batch that is not what was announced.
    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure>;

    /// The columns that the host fills, by the datakit's names for them.
    fn roles(&self) -> &RoleColumns;

    /// Which columns of the source each column is made of, as far as the datakit has said it by now.
    fn origins(&self) -> Vec<ColumnOrigin> {
        Vec::new()
    }

    /// What is known of the rows read so far, of all queries together.
    fn report(&mut self) -> ReadReport;

    /// The watermark that the rows of a complete partition reach, where its plan could not say it. Asked once, at the end.
    ///
    /// # Errors
    /// As [`Self::next`].
    async fn watermark(&mut self) -> Result<Option<String>, Failure>;
}

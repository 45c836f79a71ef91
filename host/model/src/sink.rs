//! What a sink offers to whoever writes to it: open, write, commit, abort.
//!
//! A sink is also the state store: rows, watermark and the run's id commit **together**, so that a run killed anywhere has
//! either committed a table whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::Serialize;

use crate::datakit::RoleColumns;
use crate::receipt::{Delivered, Receipt};
use crate::resume::{FinishedPartition, Leftover, LoadPlan, Unfinished};
use crate::{ColumnChange, DriftRule, Failure, RunIdentity, StateDocument, TableId, TableState, TrackedBatch};

/// What can be tried again by itself after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryUnit {
    /// A failed partition is aborted and written again; the others keep what they wrote.
    Partition,
    /// A failure anywhere starts the table again.
    Table,
}

/// What happens to the rows a table already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// They stay.
    #[default]
    Append,
    /// The commit replaces them all.
    Overwrite,
    /// A row replaces the one of the same key, or removes it; the others stay.
    Merge,
}

impl std::fmt::Display for WriteMode {
    /// As in the warehouse file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Overwrite => "overwrite",
            Self::Merge => "merge",
        })
    }
}

/// A table to be written by one run.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table as the source names it; the sink maps it by its own reversible rule.
    pub table: TableId,
    /// The shape of every batch, the columns that a datakit adds included.
    pub schema: SchemaRef,
    /// What happens to the rows that are there.
    pub mode: WriteMode,
    /// Of a merge: the rows have a part of the columns, and give their values to the rows of their keys that are there. No row is
    /// inserted or removed, the other columns stay, and so do the positions of the table's state (docs/backfill.md).
    pub updates_only: bool,
    /// The columns that identify a row, in key order; empty: none are known.
    pub keys: Vec<String>,
    /// The columns by whose values the table is partitioned, in order; empty: as the table that is there, a new one is not.
    pub partition_by: Vec<String>,
    /// The columns that the host fills. A merge goes by them: a row whose operation is `delete` removes the row of its key, and a
    /// column that a row names as missing keeps its value.
    pub roles: RoleColumns,
    /// What happens where the table that is there has other columns.
    pub drift: DriftRule,
    /// Who writes.
    pub run: RunIdentity,
    /// The plan of a load whose finished partitions are to be kept, where the sink can; none: nothing is kept.
    pub load: Option<Arc<LoadPlan>>,
}

impl Target {
    /// A table that is not to be partitioned, of which no key is known.
    #[must_use]
    pub fn new(table: TableId, schema: SchemaRef, mode: WriteMode, run: RunIdentity) -> Self {
        let (keys, partition_by) = (Vec::new(), Vec::new());
        Self {
            table,
            schema,
            mode,
            updates_only: false,
            keys,
            partition_by,
            roles: RoleColumns::default(),
            drift: DriftRule::default(),
            run,
            load: None,
        }
    }
}

/// What commits with the rows.
#[derive(Debug, Clone)]
pub struct CommitNote {
    /// The plan's `watermark-after`; none keeps the table without one.
    pub watermark: Option<String>,
    /// All rows are of one snapshot. False: several partitions were read, each of its own.
    pub consistent_snapshot: bool,
    /// Read with NOLOCK.
    pub approximate: bool,
    /// Row-level security left out rows, or may have.
    pub filtered: bool,
    /// What was handed to the writers. The sink compares it with what it holds before the commit; none: it does not compare.
    pub delivered: Option<Delivered>,
}

impl Default for CommitNote {
    /// Exact rows of one snapshot, without a watermark, which are not compared.
    fn default() -> Self {
        Self { watermark: None, consistent_snapshot: true, approximate: false, filtered: false, delivered: None }
    }
}

/// How much a partition wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Bytes in the sink's own form: of Parquet files, of COPY data.
    pub bytes: u64,
}

/// How many rows a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TableRows {
    /// So many.
    pub rows: u64,
    /// There may be more: counting them all would take long, or nobody has counted some of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// A committed table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The sum over its partitions.
    pub written: Written,
    /// The state now in the sink.
    pub state: TableState,
    /// What the table holds after the commit.
    pub holds: TableRows,
    /// What the rows were held against; none: they were not, or the answer to the commit was lost.
    pub receipt: Option<Receipt>,
}

/// The state of one table, for people.
#[derive(Debug, Clone)]
pub struct KeptState {
    /// The source system.
    pub source_system: String,
    /// The table of the source.
    pub table: TableId,
    /// Where the target is, for people.
    pub target: String,
    /// The document, or why it does not count.
    pub document: Result<StateDocument, Failure>,
}

/// The name of a run's record. Each start of an ingest has a record of its own. The order is by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordName {
    /// Start of the ingest, microseconds since 1970-01-01 UTC.
    pub started_at_micros: i64,
    /// The run.
    pub run_id: String,
    /// The ingest.
    pub ingest: String,
}

/// A record as the sink holds it.
#[derive(Debug, Clone)]
pub struct KeptRecord {
    /// Its name.
    pub name: RecordName,
    /// A JSON document, or why it cannot be read.
    pub json: Result<String, Failure>,
}

/// A place to write tables to.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The kind as in the warehouse file: `delta`, `postgres`.
    fn kind(&self) -> &'static str;

    /// The unit of retry.
    fn retry_unit(&self) -> RetryUnit;

    /// Tables that may be loaded at one time; none: as many as the run likes.
    fn max_open_tables(&self) -> Option<usize> {
        None
    }

    /// Where the table is or will be, for people: a URI, `"schema"."table"`.
    ///
    /// # Errors
    /// A name the sink cannot hold.
    fn locate(&self, source_system: &str, table: &TableId) -> Result<String, Failure>;

    /// What the last commit of the table left; none when no datakit has committed it yet.
    ///
    /// # Errors
    /// The sink cannot be reached or read. While a run plans, an error that is never to be repeated is the table's own, which then
    /// fails alone; one that may pass ends the run.
    async fn state(&self, source_system: &str, table: &TableId) -> Result<Option<TableState>, Failure>;

    /// The same for a run that writes in this mode: what does not fit the rows of the table any more is an error for a run that
    /// adds to them, and none for one that replaces them.
    ///
    /// # Errors
    /// As of [`Self::state`].
    async fn state_for(
        &self,
        source_system: &str,
        table: &TableId,
        mode: WriteMode,
    ) -> Result<Option<TableState>, Failure> {
        let _ = mode;
        self.state(source_system, table).await
    }

    /// The state's document; none when no datakit has committed the table yet.
    ///
    /// # Errors
    /// The sink cannot be reached, or the document does not count.
    async fn document(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure>;

    /// The states of all tables, in the order of their names.
    ///
    /// # Errors
    /// The sink cannot be reached or listed. A state that does not count is in the list.
    async fn states(&self) -> Result<Vec<KeptState>, Failure>;

    /// Makes a document that does not fit the rows one of the rows that are there now: loads go on from it. One that fits stays as
    /// it is. None: there is no state.
    ///
    /// # Errors
    /// The sink cannot be reached or written, the document is lost, another run committed meanwhile.
    async fn accept_rows(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure>;

    /// Forgets how far the source table is read, and nothing else: the next load reads all of it. None: there is no state.
    ///
    /// # Errors
    /// As of [`Self::accept_rows`]; a document that does not fit the rows is forgotten all the same.
    async fn forget_watermark(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure>;

    /// Whether the sink keeps records of runs beside its tables (docs/runs.md).
    fn keeps_records(&self) -> bool {
        false
    }

    /// Keeps the record of a run, a JSON document. A record of the same name is replaced. No commit depends on it.
    ///
    /// # Errors
    /// The sink cannot be reached or written, or cannot hold the name.
    async fn put_record(&self, name: &RecordName, json: &str) -> Result<(), Failure> {
        let _ = (name, json);
        Ok(())
    }

    /// The newest records, newest first, at most so many: of one run, or of all runs.
    ///
    /// # Errors
    /// The sink cannot be reached or listed. A record that cannot be read is in the list.
    async fn records(&self, run_id: Option<&str>, newest: usize) -> Result<Vec<KeptRecord>, Failure> {
        let _ = (run_id, newest);
        Ok(Vec::new())
    }

    /// Whether loads that write in this mode keep their finished partitions for a run that is started again (docs/resume.md).
    fn keeps_loads(&self, mode: WriteMode) -> bool {
        let _ = mode;
        false
    }

    /// What processes before have left of the load of a table by this run, for a load of this fingerprint.
    ///
    /// # Errors
    /// The sink cannot be reached or read. What cannot be understood counts as not there.
    async fn unfinished(
        &self,
        source_system: &str,
        table: &TableId,
        run_id: &str,
        fingerprint: &str,
    ) -> Result<Unfinished, Failure> {
        let _ = (source_system, table, run_id, fingerprint);
        Ok(Unfinished::default())
    }

    /// What runs have left of loads that they have not committed. What had a sign of life since `older_than` stays.
    ///
    /// # Errors
    /// The sink cannot be reached or listed.
    async fn leftovers(&self, older_than: Duration) -> Result<Vec<Leftover>, Failure> {
        let _ = older_than;
        Ok(Vec::new())
    }

    /// Removes a leftover with its rows, unless it is used by now: false then, and nothing is removed. What a version of the table
    /// names stays in any case.
    ///
    /// # Errors
    /// The sink cannot be reached or written.
    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, Failure> {
        let _ = leftover;
        Ok(false)
    }

    /// How many rows the table holds now; none where there is no table.
    ///
    /// # Errors
    /// The sink cannot be reached or the table cannot be read.
    async fn rows(&self, source_system: &str, table: &TableId) -> Result<TableRows, Failure>;

    /// The values of some columns of all rows that the table holds now, by their names in the source; none where there is no
    /// table. Types may be those of the sink: a UUID may come as text.
    ///
    /// # Errors
    /// The sink cannot be reached, the table cannot be read or lacks a column.
    async fn values(
        &self,
        source_system: &str,
        table: &TableId,
        columns: &[String],
    ) -> Result<Option<Box<dyn TableValues>>, Failure>;

    /// Whether such a table could be written, as far as its names, types, number of columns, mode and partition columns say.
    /// Asks nobody.
    ///
    /// # Errors
    /// A name or a type the sink cannot hold, more columns than it takes, a mode that it does not write, a column that it
    /// cannot partition by.
    fn fits(&self, target: &Target) -> Result<(), Failure>;

    /// What a load of these columns would find different in the table that is there, by the target's rule. The columns may be a part
    /// of those of the rows: a column that only the table has is not looked at. Nothing is written.
    ///
    /// # Errors
    /// The sink cannot be reached, or the columns do not fit under the rule.
    async fn drift(&self, target: &Target) -> Result<Vec<ColumnChange>, Failure> {
        let _ = target;
        Ok(Vec::new())
    }

    /// Whether the sink partitions tables by the values of columns. One that does not refuses a target with partition columns.
    fn writes_partitioned_tables(&self) -> bool;

    /// How many columns a table may have, those that a datakit adds included; none where nothing but the run's limit counts.
    fn max_columns(&self) -> Option<usize>;

    /// Whether the sink answers: then what is wrong with a table is that table's alone.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the login.
    async fn answers(&self) -> Result<(), Failure>;

    /// Whether a table could be written now; nothing is written for it, and nothing stays behind.
    ///
    /// # Errors
    /// Why not: nobody answers, the login is refused, it may not be written to, there is no space.
    async fn probe(&self) -> Result<(), Failure>;

    /// Gets ready to write: checks names and schema against what is there. Nothing becomes visible before `commit`.
    ///
    /// # Errors
    /// A name the sink cannot hold, a type it cannot hold, a mode that it does not write, a table of another schema that the
    /// target's rule does not allow (naming the columns), or of other partition columns.
    async fn open(&self, target: Target) -> Result<Arc<dyn TableWriter>, Failure>;
}

/// Values of a table on their way, of one state of the table.
#[async_trait]
pub trait TableValues: Send {
    /// The next rows, in batches of bounded size; none at the end.
    ///
    /// # Errors
    /// The sink cannot be read.
    async fn next(&mut self) -> Result<Option<RecordBatch>, Failure>;
}

/// A value that a table cannot hold as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedValue {
    /// The row of the batch, from 0.
    pub row: usize,
    /// The column.
    pub column: String,
    /// Why not, without the value itself.
    pub reason: String,
}

/// One table being written. Dropped without `commit` or `abort`, it leaves no trace a reader can see.
#[async_trait]
pub trait TableWriter: Send + Sync {
    /// Starts a partition, or starts it again after its abort. Partitions of different ordinals are written at the same time.
    ///
    /// # Errors
    /// The sink cannot be written.
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure>;

    /// The values of a batch that the table cannot hold as they are, in any order. Asked before the batch is written, and only where
    /// rows may be rejected: elsewhere the write fails.
    ///
    /// # Errors
    /// A batch that is not of the target's columns.
    fn refused(&self, batch: &RecordBatch) -> Result<Vec<RefusedValue>, Failure> {
        let _ = batch;
        Ok(Vec::new())
    }

    /// Partitions that a process before has finished by the plan of [`Target::load`]. They are in the commit, and are not to be begun.
    fn finished(&self) -> Vec<FinishedPartition> {
        Vec::new()
    }

    /// Keeps partitions that this writer has finished, for a process that goes on with the load. A later abort leaves them.
    ///
    /// # Errors
    /// The sink cannot be written; another process has taken the load over.
    async fn keep(&self, partitions: &[FinishedPartition]) -> Result<(), Failure> {
        let _ = partitions;
        Ok(())
    }

    /// Makes the finished partitions visible, all at once, with the state. Called once, when all are finished.
    ///
    /// # Errors
    /// Nothing is visible then. A mismatch ([`Failure::is_mismatch`]) where the rows are not those that the note says were
    /// delivered. `DK-SNK-…` with `Retry::NextRun` when another run committed the table meanwhile.
    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure>;

    /// Takes back what was written. Errors are logged, since there is nobody to act on them.
    async fn abort(&self);

    /// How the columns of the load differ from those of the table that was there: what the commit alters or leaves out.
    fn drift(&self) -> &[ColumnChange] {
        &[]
    }
}

/// One partition being written, in order.
#[async_trait]
pub trait PartitionWriter: Send {
    /// Writes one batch; the batch's reservation is held until its rows are encoded.
    ///
    /// # Errors
    /// A value the sink cannot hold (naming the column), or the sink's own trouble.
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure>;

    /// Ends the partition: from now on `commit` includes it.
    ///
    /// # Errors
    /// The sink's own trouble; the partition is not included then.
    async fn finish(self: Box<Self>) -> Result<Written, Failure>;

    /// Ends the partition without a trace.
    async fn abort(self: Box<Self>);
}

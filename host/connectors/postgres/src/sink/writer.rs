//! The traits, for Postgres.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datakit_model::resume::{Leftover, LoadPlan, Unfinished};
use datakit_model::{ColumnChange, Failure, RunLimits, SourceTable, StateDocument, TableId, TableState, TrackedBatch};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::connection::{DEFAULT_MAX_CONNECTIONS, Sessions};
use super::drift;
use super::encode::{encode, refused};
use super::kept::{self, Key};
use super::ledger;
use super::merge::{MergeMemory, MergeWriter};
use super::names::TableName;
use super::probe;
use super::records;
use super::rows;
use super::transaction::{Answer, Command, Loaded, Plan, Transaction};
use super::types::{MAX_COLUMNS, TableSchema};
use super::unfinished::{self, StagedWriter};
use super::values;
use crate::server::Server;
use crate::wire::ServerInfo;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::{check_mode, check_partitioning};
use datakit_model::sink::{
    CommitNote, Committed, KeptRecord, KeptState, PartitionWriter, RecordName, RefusedValue, RetryUnit, Sink,
    TableRows, TableValues, TableWriter, Target, WriteMode, Written,
};

/// Partitions of a load that wait in tables of their own: the commit locks all of them.
const MAX_STAGED_PARTITIONS: usize = 1_000;
/// Encoded batches that wait for the connection, of all partitions of a table.
const WAITING_BATCHES: usize = 2;

/// Tables of one Postgres database.
#[derive(Debug, Clone)]
pub struct PostgresSink {
    sessions: Sessions,
    max_merge_bytes: u64,
    keep_partitions: bool,
    /// One table is merged at a time.
    turn: Arc<Semaphore>,
}

impl PostgresSink {
    /// A sink for tables of `config.database`. Nothing is connected yet.
    #[must_use]
    pub fn new(config: Server) -> Self {
        let max_merge_bytes = RunLimits::default().max_merge_bytes;
        let sessions = Sessions::new(config, usize::from(DEFAULT_MAX_CONNECTIONS));
        Self { sessions, max_merge_bytes, keep_partitions: false, turn: Arc::new(Semaphore::new(1)) }
    }

    /// With another bound of connections that are open at one time; two at least.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        let sessions = Sessions::new(self.sessions.server().clone(), max_connections);
        Self { sessions, ..self }
    }

    fn server(&self) -> &Server {
        self.sessions.server()
    }

    /// Whether finished partitions of a load wait in tables of their own, for a run that is started again: each row is written twice.
    #[must_use]
    pub fn with_keep_partitions(self, keep_partitions: bool) -> Self {
        Self { keep_partitions, ..self }
    }

    /// With another bound of what the rows of a load that is merged hold in memory, about, in bytes.
    #[must_use]
    pub fn with_max_merge_bytes(self, max_merge_bytes: u64) -> Self {
        Self { max_merge_bytes, ..self }
    }

    /// Whether partitions of a load wait in tables of their own.
    fn stages(&self, load: &LoadPlan, mode: WriteMode) -> bool {
        self.keeps_loads(mode) && load.partitions.len() <= MAX_STAGED_PARTITIONS
    }

    /// Opens a connection, TCP or a Unix socket, and closes it.
    ///
    /// # Errors
    /// [`SinkError::Connect`].
    pub async fn reach(&self) -> Result<(), SinkError> {
        probe::reach(self.server()).await
    }

    /// Whether the password can be had, from wherever it is; it is kept for the login. Nothing is asked for without one.
    ///
    /// # Errors
    /// [`SinkError::Password`].
    pub async fn fetch_password(&self) -> Result<(), SinkError> {
        match &self.server().password {
            Some(password) => Ok(password.is_there().await?),
            None => Ok(()),
        }
    }

    /// Logs in and asks the server who it is.
    ///
    /// # Errors
    /// What connecting or the query says.
    pub async fn check(&self) -> Result<ServerInfo, SinkError> {
        probe::who(self.server()).await
    }
}

#[async_trait]
impl Sink for PostgresSink {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn retry_unit(&self) -> RetryUnit {
        RetryUnit::Table
    }

    fn locate(&self, source_system: &str, table: &TableId) -> Result<String, Failure> {
        Ok(TableName::new(source_system, table)?.to_string())
    }

    async fn state(&self, source_system: &str, table: &TableId) -> Result<Option<TableState>, Failure> {
        TableName::new(source_system, table)?;
        let client = self.sessions.open().await?;
        let document = ledger::state(&client, self.server(), source_system, table).await?;
        Ok(document.map(|document| document.state(&SourceTable::new(source_system, table))))
    }

    async fn document(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let name = &TableName::new(source_system, table)?;
        let client = self.sessions.open().await?;
        Ok(kept::document(&client, self.server(), &Key { source_system, table, name }).await?)
    }

    async fn states(&self) -> Result<Vec<KeptState>, Failure> {
        let client = self.sessions.open().await?;
        Ok(kept::states(&client, self.server()).await?)
    }

    async fn accept_rows(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let name = &TableName::new(source_system, table)?;
        let client = self.sessions.open().await?;
        Ok(kept::accept(&client, self.server(), &Key { source_system, table, name }).await?)
    }

    async fn forget_watermark(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let name = &TableName::new(source_system, table)?;
        let client = self.sessions.open().await?;
        Ok(kept::forget(&client, self.server(), &Key { source_system, table, name }).await?)
    }

    fn keeps_records(&self) -> bool {
        true
    }

    async fn put_record(&self, name: &RecordName, json: &str) -> Result<(), Failure> {
        let client = self.sessions.open().await?;
        Ok(records::put(&client, self.server(), name, json).await?)
    }

    async fn records(&self, run_id: Option<&str>, newest: usize) -> Result<Vec<KeptRecord>, Failure> {
        let client = self.sessions.open().await?;
        Ok(records::newest(&client, self.server(), run_id, newest).await?)
    }

    fn keeps_loads(&self, mode: WriteMode) -> bool {
        // A merge waits in a file that ends with the process.
        self.keep_partitions && mode != WriteMode::Merge
    }

    async fn unfinished(
        &self,
        source_system: &str,
        table: &TableId,
        run_id: &str,
        fingerprint: &str,
    ) -> Result<Unfinished, Failure> {
        Ok(unfinished::unfinished(&self.sessions, source_system, table, run_id, fingerprint).await?)
    }

    async fn leftovers(&self, older_than: Duration) -> Result<Vec<Leftover>, Failure> {
        Ok(unfinished::leftovers(&self.sessions, older_than).await?)
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, Failure> {
        Ok(unfinished::remove(&self.sessions, leftover).await?)
    }

    async fn rows(&self, source_system: &str, table: &TableId) -> Result<TableRows, Failure> {
        let name = TableName::new(source_system, table)?;
        let client = self.sessions.open().await?;
        Ok(rows::count(&client, self.server(), &name).await?)
    }

    async fn values(
        &self,
        source_system: &str,
        table: &TableId,
        columns: &[String],
    ) -> Result<Option<Box<dyn TableValues>>, Failure> {
        let name = TableName::new(source_system, table)?;
        Ok(values::read(&self.sessions, &name, columns).await?)
    }

    fn fits(&self, target: &Target) -> Result<(), Failure> {
        check_mode(target, self.kind())?;
        check_partitioning(target, self.kind())?;
        TableName::new(&target.run.source_system, &target.table)?;
        TableSchema::new(&target.table, &target.schema)?;
        Ok(())
    }

    async fn drift(&self, target: &Target) -> Result<Vec<ColumnChange>, Failure> {
        let name = TableName::new(&target.run.source_system, &target.table)?;
        TableSchema::new(&target.table, &target.schema)?;
        let client = self.sessions.open().await?;
        let Some(existing) = ledger::existing_columns(&client, self.server(), &name).await? else {
            return Ok(Vec::new());
        };
        let last = ledger::committed(&client, self.server(), &target.run.source_system, &target.table).await?;
        Ok(drift::fit(target, &existing, last.as_ref(), (&name.to_string(), true))?.0.changes)
    }

    fn max_open_tables(&self) -> Option<usize> {
        Some(self.sessions.max_open_tables())
    }

    fn writes_partitioned_tables(&self) -> bool {
        false
    }

    fn max_columns(&self) -> Option<usize> {
        Some(MAX_COLUMNS)
    }

    async fn answers(&self) -> Result<(), Failure> {
        self.check().await?;
        Ok(())
    }

    async fn probe(&self) -> Result<(), Failure> {
        Ok(probe::write(self.server()).await?)
    }

    async fn open(&self, target: Target) -> Result<Arc<dyn TableWriter>, Failure> {
        check_mode(&target, self.kind())?;
        check_partitioning(&target, self.kind())?;
        let name = TableName::new(&target.run.source_system, &target.table)?;
        let schema = TableSchema::new(&target.table, &target.schema)?;
        let location = name.to_string();
        let (config, sessions) = (self.server().clone(), self.sessions.clone());
        let plan = Plan { config, sessions, name, location, schema, target, failure: OnceLock::new() };
        let (transaction, plan, fit) = Transaction::begin(plan).await?;
        let load = plan.target.load.clone().filter(|load| self.stages(load, plan.target.mode));
        let finished = match &load {
            Some(load) => transaction.finished(load).await?,
            None => Vec::new(),
        };
        let (commands, receiver) = mpsc::channel(WAITING_BATCHES);
        tokio::spawn(transaction.run(receiver));
        let location = plan.location.clone();
        let writer: Arc<dyn TableWriter> = if let Some(load) = load {
            Arc::new(StagedWriter::new(plan, load, commands, finished))
        } else if plan.target.mode == WriteMode::Merge {
            let memory = MergeMemory { max_bytes: self.max_merge_bytes, turn: Arc::clone(&self.turn) };
            Arc::new(MergeWriter::new(plan, commands, memory)?)
        } else {
            Arc::new(PostgresWriter { plan, commands, partitions: Arc::default() })
        };
        Ok(fit.around(writer, location))
    }
}

/// What is known of a table's partitions.
#[derive(Default)]
struct Partitions {
    slots: BTreeMap<u32, Slot>,
}

#[derive(Clone, Copy)]
enum Slot {
    Open,
    Finished(Written),
    /// Gone without a finish: its rows may be on their way, so that only a new start helps.
    Lost,
}

/// A poisoned lock holds what it held: no update of [`Partitions`] leaves it half done.
fn lock(partitions: &Mutex<Partitions>) -> MutexGuard<'_, Partitions> {
    partitions.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PostgresWriter {
    plan: Arc<Plan>,
    commands: Sender<Command>,
    partitions: Arc<Mutex<Partitions>>,
}

impl PostgresWriter {
    fn misuse(&self, what: String) -> Failure {
        SinkError::Misuse { location: self.plan.location.clone(), what }.into()
    }

    /// What the finished partitions wrote, when all are.
    fn written(&self) -> Result<Written, Failure> {
        let mut sum = Written::default();
        for (ordinal, slot) in &lock(&self.partitions).slots {
            match slot {
                Slot::Finished(written) => {
                    sum.rows += written.rows;
                    sum.bytes += written.bytes;
                }
                Slot::Open => return Err(self.misuse(format!("partition {ordinal} is not finished"))),
                Slot::Lost => {
                    return Err(self.misuse(format!("partition {ordinal} was aborted, and the table not restarted")));
                }
            }
        }
        Ok(sum)
    }
}

#[async_trait]
impl TableWriter for PostgresWriter {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        if lock(&self.partitions).slots.insert(ordinal, Slot::Open).is_some() {
            return Err(self.misuse(format!("partition {ordinal} was begun before: the unit of retry is the table")));
        }
        let slot = OpenSlot { partitions: Arc::clone(&self.partitions), ordinal, written: None };
        // One batch waits while another is encoded; their memory is bounded by the run's budget.
        let (batches, receiver) = mpsc::channel(1);
        let (plan, commands) = (Arc::clone(&self.plan), self.commands.clone());
        let thread = tokio::task::spawn_blocking(move || encode_partition(&plan, receiver, &commands));
        Ok(Box::new(PostgresPartition {
            plan: Arc::clone(&self.plan),
            batches: Some(batches),
            thread: Some(thread),
            slot,
        }))
    }

    fn refused(&self, batch: &RecordBatch) -> Result<Vec<RefusedValue>, Failure> {
        Ok(refused(&self.plan.schema, batch, &self.plan.location))
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        let written = self.written()?;
        let (answer, answered) = oneshot::channel();
        let command = Command::Commit { note, rows: written.rows, loaded: Loaded::Copied, answer };
        self.commands.send(command).await.map_err(|_| self.plan.ended())?;
        let Answer { state, holds, receipt } = answered.await.map_err(|_| self.plan.ended())??;
        Ok(Committed { written, state, holds, receipt })
    }

    async fn abort(&self) {
        let (answer, answered) = oneshot::channel();
        // When the task has ended, there is nothing left to take back.
        if self.commands.send(Command::Abort { answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// Marks a partition by how its writer goes.
struct OpenSlot {
    partitions: Arc<Mutex<Partitions>>,
    ordinal: u32,
    written: Option<Written>,
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let slot = self.written.map_or(Slot::Lost, Slot::Finished);
        lock(&self.partitions).slots.insert(self.ordinal, slot);
    }
}

/// The body of a partition's thread: encodes until the channel closes, and counts. None: nobody takes the rows any more.
pub(crate) fn encode_partition(
    plan: &Plan,
    mut batches: Receiver<TrackedBatch>,
    commands: &Sender<Command>,
) -> Result<Option<Written>, SinkError> {
    let mut written = Written::default();
    while let Some(batch) = batches.blocking_recv() {
        let rows = encode(&plan.schema, batch.batch(), &plan.location)?.freeze();
        written.rows += batch.batch().num_rows() as u64;
        written.bytes += rows.len() as u64;
        // The rows are encoded: their reservation ends here.
        drop(batch);
        if !rows.is_empty() && commands.blocking_send(Command::Rows(rows)).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(written))
}

struct PostgresPartition {
    plan: Arc<Plan>,
    /// None once closed.
    batches: Option<Sender<TrackedBatch>>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Result<Option<Written>, SinkError>>>,
    slot: OpenSlot,
}

impl PostgresPartition {
    /// Closes the channel and waits for the thread.
    async fn end(&mut self) -> Result<Written, Failure> {
        self.batches = None;
        let misuse = |what: &str| SinkError::Misuse { location: self.plan.location.clone(), what: what.to_owned() };
        let thread = self.thread.take().ok_or_else(|| misuse("the partition has failed before"))?;
        let written = thread
            .await
            .map_err(|e| SinkError::Encode { location: self.plan.location.clone(), source: Box::new(e) })??;
        written.ok_or_else(|| self.plan.ended())
    }
}

#[async_trait]
impl PartitionWriter for PostgresPartition {
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure> {
        if let Some(batches) = &self.batches
            && batches.send(batch).await.is_ok()
        {
            return Ok(());
        }
        // The thread ends before its channel only when it failed.
        match self.end().await {
            Err(failure) => Err(failure),
            Ok(_) => Err(self.plan.ended()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, Failure> {
        let written = self.end().await?;
        self.slot.written = Some(written);
        Ok(written)
    }

    async fn abort(mut self: Box<Self>) {
        // Its rows cannot be told from those of the others any more: the table starts again.
        let _ = self.end().await;
    }
}

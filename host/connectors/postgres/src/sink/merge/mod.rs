//! Loads that are merged into a table by key: reduced to one row a key, staged in a temporary table, and applied in the table's
//! transaction.
//!
//! - `staging`: the temporary table and its rows;
//! - `statements`: the SQL that applies them;
//! - `updates`: values for columns of rows that are there.

mod staging;
mod statements;
mod updates;

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::check_batch;
use datakit_connect::sink::merge::{FormRows, MergeColumns, MergeLoad, Spool, SpooledRows};
use datakit_model::Failure;
use datakit_model::sink::{CommitNote, Committed, PartitionWriter, RefusedValue, TableWriter, Written};
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, oneshot};

use super::encode::refused;
use super::transaction::{Answer, Command, Loaded, Plan};

pub(crate) use staging::{Staged, Staging};
pub(crate) use statements::Statements;
pub(crate) use updates::Update;

/// A load that is to be applied.
pub(crate) struct Load {
    pub(crate) load: Arc<MergeLoad>,
    pub(crate) rows: Vec<SpooledRows>,
    /// What its rows may hold in memory while they are reduced.
    pub(crate) max_bytes: u64,
}

/// What the merges of a sink share.
pub(crate) struct MergeMemory {
    /// For one load.
    pub(crate) max_bytes: u64,
    /// One table is merged at a time.
    pub(crate) turn: Arc<Semaphore>,
}

/// A table being merged into.
pub(crate) struct MergeWriter {
    plan: Arc<Plan>,
    commands: Sender<Command>,
    load: Arc<MergeLoad>,
    memory: MergeMemory,
}

struct Incoming(Arc<Plan>);

impl FormRows for Incoming {
    fn form(&self, batch: &RecordBatch) -> Result<RecordBatch, SinkError> {
        check_batch(&self.0.schema.source, batch, &self.0.location)?;
        Ok(batch.clone())
    }
}

impl MergeWriter {
    /// For a begun transaction, whose task takes the commands.
    pub(crate) fn new(plan: Arc<Plan>, commands: Sender<Command>, memory: MergeMemory) -> Result<Self, SinkError> {
        let columns = MergeColumns::new(&plan.target, "postgres")?;
        let spool = Spool::new(columns, &plan.schema.source, &[])?;
        let load = MergeLoad::new(spool, Box::new(Incoming(Arc::clone(&plan))), plan.location.clone());
        Ok(Self { plan, commands, load, memory })
    }
}

#[async_trait]
impl TableWriter for MergeWriter {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        Ok(self.load.partition(ordinal)?)
    }

    fn refused(&self, batch: &RecordBatch) -> Result<Vec<RefusedValue>, Failure> {
        Ok(refused(&self.plan.schema, batch, &self.plan.location))
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        // A closed semaphore would let all merge at once; nobody closes it.
        let _turn = self.memory.turn.acquire().await;
        let max_bytes = self.memory.max_bytes;
        let load = Load { load: Arc::clone(&self.load), rows: self.load.settle()?, max_bytes };
        let rows = load.rows.iter().map(|rows| rows.rows).sum();
        let bytes = load.rows.iter().map(|rows| rows.bytes).sum();
        let (answer, answered) = oneshot::channel();
        let command = Command::Commit { note, rows, loaded: Loaded::Merged(load), answer };
        self.commands.send(command).await.map_err(|_| self.plan.ended())?;
        let Answer { state, holds, receipt } = answered.await.map_err(|_| self.plan.ended())??;
        Ok(Committed { written: Written { rows: state.rows, bytes }, state, holds, receipt })
    }

    async fn abort(&self) {
        self.load.abort();
        let (answer, answered) = oneshot::channel();
        // When the task has ended, there is nothing left to take back.
        if self.commands.send(Command::Abort { answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}

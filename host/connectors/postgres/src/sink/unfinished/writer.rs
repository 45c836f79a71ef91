//! A table whose partitions wait in tables of their own until the commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datakit_connect::sink::SinkError;
use datakit_model::resume::{FinishedPartition, LoadPlan};
use datakit_model::sink::{CommitNote, Committed, PartitionWriter, RefusedValue, TableWriter, Written};
use datakit_model::{Failure, TrackedBatch};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::staging::Staging;
use super::{drop_staged, rows, staging_table};
use crate::sink::encode::refused;
use crate::sink::names::TableName;
use crate::sink::transaction::{Answer, Command, Loaded, Plan};
use crate::sink::writer::encode_partition;

/// The state of a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Open,
    Finished(Written),
    /// Finished and kept, by this process or one before.
    Kept(Written),
}

type Slots = Arc<Mutex<BTreeMap<u32, Slot>>>;

/// A poisoned lock holds what it held.
fn lock(slots: &Slots) -> MutexGuard<'_, BTreeMap<u32, Slot>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A table whose begun transaction holds its lock, and whose rows arrive in other transactions.
pub(crate) struct StagedWriter {
    plan: Arc<Plan>,
    load: Arc<LoadPlan>,
    commands: Sender<Command>,
    finished: Vec<FinishedPartition>,
    slots: Slots,
}

/// The tables of a load.
pub(crate) struct StagedLoad {
    pub(crate) load_id: String,
    pub(crate) ordinals: Vec<u32>,
}

impl StagedLoad {
    /// In the order of the partitions.
    pub(crate) fn tables(&self) -> impl Iterator<Item = TableName> {
        self.ordinals.iter().map(|ordinal| staging_table(&self.load_id, *ordinal))
    }
}

impl StagedWriter {
    /// For a load of which these partitions are finished.
    pub(crate) fn new(
        plan: Arc<Plan>,
        load: Arc<LoadPlan>,
        commands: Sender<Command>,
        finished: Vec<FinishedPartition>,
    ) -> Self {
        let slots = finished.iter().map(|partition| (partition.ordinal, Slot::Kept(partition.written()))).collect();
        Self { plan, load, commands, finished, slots: Arc::new(Mutex::new(slots)) }
    }

    fn misuse(&self, what: String) -> Failure {
        SinkError::Misuse { location: self.plan.location.clone(), what }.into()
    }

    /// What the finished partitions wrote, when all are.
    fn written(&self) -> Result<Written, Failure> {
        let mut sum = Written::default();
        for (ordinal, slot) in lock(&self.slots).iter() {
            match slot {
                Slot::Finished(written) | Slot::Kept(written) => {
                    sum.rows += written.rows;
                    sum.bytes += written.bytes;
                }
                Slot::Open => return Err(self.misuse(format!("partition {ordinal} is not finished"))),
            }
        }
        Ok(sum)
    }

    /// Drops the tables of partitions that are not kept.
    async fn drop_unkept(&self) -> Result<(), SinkError> {
        let unkept: Vec<u32> =
            lock(&self.slots).iter().filter(|(_, slot)| !matches!(slot, Slot::Kept(_))).map(|(at, _)| *at).collect();
        if unkept.is_empty() {
            return Ok(());
        }
        let client = self.plan.sessions.open().await?;
        drop_staged(&client, &self.plan.config, &self.load.id, &unkept).await
    }
}

#[async_trait]
impl TableWriter for StagedWriter {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        if lock(&self.slots).insert(ordinal, Slot::Open).is_some() {
            return Err(self.misuse(format!("partition {ordinal} was begun before, and not aborted")));
        }
        let slot = OpenSlot { slots: Arc::clone(&self.slots), ordinal };
        let (staging, commands) = Staging::begin(&self.plan, &self.load, ordinal).await?;
        // One batch waits while another is encoded; their memory is bounded by the run's budget.
        let (batches, receiver) = mpsc::channel(1);
        let plan = Arc::clone(&self.plan);
        let thread = tokio::task::spawn_blocking(move || encode_partition(&plan, receiver, &commands));
        let (plan, load) = (Arc::clone(&self.plan), Arc::clone(&self.load));
        Ok(Box::new(StagedPartition {
            plan,
            load,
            batches: Some(batches),
            thread: Some(thread),
            staging: Some(staging),
            slot,
        }))
    }

    fn finished(&self) -> Vec<FinishedPartition> {
        self.finished.clone()
    }

    async fn keep(&self, partitions: &[FinishedPartition]) -> Result<(), Failure> {
        let client = self.plan.sessions.open().await?;
        rows::keep(&client, &self.plan.config, &self.load.id, partitions).await?;
        let mut slots = lock(&self.slots);
        for partition in partitions {
            slots.insert(partition.ordinal, Slot::Kept(partition.written()));
        }
        Ok(())
    }

    fn refused(&self, batch: &RecordBatch) -> Result<Vec<RefusedValue>, Failure> {
        Ok(refused(&self.plan.schema, batch, &self.plan.location))
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        let written = self.written()?;
        let ordinals = lock(&self.slots).keys().copied().collect();
        let staged = StagedLoad { load_id: self.load.id.clone(), ordinals };
        let (answer, answered) = oneshot::channel();
        let command = Command::Commit { note, rows: written.rows, loaded: Loaded::Staged(staged), answer };
        self.commands.send(command).await.map_err(|_| self.plan.ended())?;
        let Answer { state, holds, receipt } = answered.await.map_err(|_| self.plan.ended())??;
        Ok(Committed { written, state, holds, receipt })
    }

    async fn abort(&self) {
        // While the table is locked: nobody else makes these tables.
        if let Err(error) = self.drop_unkept().await {
            tracing::warn!(location = %self.plan.location, %error, "tables of an aborted load cannot be removed: `host clean` does");
        }
        let (answer, answered) = oneshot::channel();
        // When the task has ended, there is nothing left to take back.
        if self.commands.send(Command::Abort { answer }).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// Frees a partition's ordinal when its writer goes without having finished.
struct OpenSlot {
    slots: Slots,
    ordinal: u32,
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let mut slots = lock(&self.slots);
        if slots.get(&self.ordinal) == Some(&Slot::Open) {
            slots.remove(&self.ordinal);
        }
    }
}

struct StagedPartition {
    plan: Arc<Plan>,
    load: Arc<LoadPlan>,
    /// None once closed.
    batches: Option<Sender<TrackedBatch>>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Result<Option<Written>, SinkError>>>,
    /// None once it has ended.
    staging: Option<Staging>,
    slot: OpenSlot,
}

impl StagedPartition {
    fn failed_before(&self) -> SinkError {
        SinkError::Misuse { location: self.plan.location.clone(), what: "the partition has failed before".to_owned() }
    }

    /// Closes the channels, waits for the thread, and commits the partition's table.
    async fn end(&mut self) -> Result<Written, SinkError> {
        self.batches = None;
        let (Some(thread), Some(staging)) = (self.thread.take(), self.staging.take()) else {
            return Err(self.failed_before());
        };
        let location = || self.plan.location.clone();
        let encoded =
            thread.await.map_err(|error| SinkError::Encode { location: location(), source: Box::new(error) })??;
        let (ordinal, rows) = (self.slot.ordinal, encoded.map_or(0, |written| written.rows));
        // Where nobody took the rows, this says why.
        staging.finish(&self.plan, &self.load, ordinal, rows).await?;
        encoded.ok_or_else(|| self.failed_before())
    }
}

#[async_trait]
impl PartitionWriter for StagedPartition {
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure> {
        if let Some(batches) = &self.batches
            && batches.send(batch).await.is_ok()
        {
            return Ok(());
        }
        // The thread ends before its channel only when it failed.
        match self.end().await {
            Err(error) => Err(error.into()),
            Ok(_) => Err(self.failed_before().into()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, Failure> {
        let written = self.end().await?;
        lock(&self.slot.slots).insert(self.slot.ordinal, Slot::Finished(written));
        Ok(written)
    }

    async fn abort(mut self: Box<Self>) {
        // Its connection ends with it.
        self.staging = None;
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.await;
        }
    }
}

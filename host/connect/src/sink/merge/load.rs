//! The partitions of a load that is merged, as a sink's writers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datakit_model::sink::{PartitionWriter, Written};
use datakit_model::{Failure, TrackedBatch};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use super::spool::{Spool, SpooledRows};
use crate::sink::SinkError;

/// The form that a sink gives to rows before they are reduced.
pub trait FormRows: Send + Sync {
    /// A batch in the schema of the spool.
    ///
    /// # Errors
    /// A batch of another schema, a value that the sink cannot hold.
    fn form(&self, batch: &RecordBatch) -> Result<RecordBatch, SinkError>;
}

/// The rows of a load that is merged, by partitions.
pub struct MergeLoad {
    spool: Spool,
    form: Box<dyn FormRows>,
    /// The table, for people.
    location: String,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    partitions: BTreeMap<u32, Slot>,
    /// The rows were handed over.
    is_settled: bool,
}

enum Slot {
    Open,
    Finished(SpooledRows),
}

impl MergeLoad {
    /// No rows yet.
    #[must_use]
    pub fn new(spool: Spool, form: Box<dyn FormRows>, location: String) -> Arc<Self> {
        Arc::new(Self { spool, form, location, slots: Mutex::default() })
    }

    /// Where the rows are.
    #[must_use]
    pub fn spool(&self) -> &Spool {
        &self.spool
    }

    /// A poisoned lock holds what it held: no update of the slots leaves them half done.
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn misuse(&self, what: impl Into<String>) -> SinkError {
        SinkError::Misuse { location: self.location.clone(), what: what.into() }
    }

    /// Starts a partition, or starts it again after its abort.
    ///
    /// # Errors
    /// It was begun before, and not aborted.
    pub fn partition(self: &Arc<Self>, ordinal: u32) -> Result<Box<dyn PartitionWriter>, SinkError> {
        {
            let mut slots = self.slots();
            if slots.is_settled {
                return Err(self.misuse(format!("partition {ordinal} begins after the commit")));
            }
            if slots.partitions.contains_key(&ordinal) {
                return Err(self.misuse(format!("partition {ordinal} was begun before, and not aborted")));
            }
            slots.partitions.insert(ordinal, Slot::Open);
        }
        // One batch waits while another is spooled; their memory is bounded by the run's budget.
        let (sender, receiver) = mpsc::channel(1);
        let load = Arc::clone(self);
        let thread = tokio::task::spawn_blocking(move || load.spool_partition(receiver));
        let slot = OpenSlot { load: Arc::clone(self), ordinal };
        Ok(Box::new(MergePartition { batches: Some(sender), thread: Some(thread), slot }))
    }

    /// The body of a partition's thread.
    fn spool_partition(&self, mut batches: Receiver<TrackedBatch>) -> Result<SpooledRows, SinkError> {
        let mut rows = SpooledRows::default();
        while let Some(batch) = batches.blocking_recv() {
            self.spool.add(&mut rows, &self.form.form(batch.batch())?)?;
        }
        Ok(rows)
    }

    /// Hands the rows over to the commit, by the ordinals of the partitions.
    ///
    /// # Errors
    /// A partition that is not finished; rows that were handed over before.
    pub fn settle(&self) -> Result<Vec<SpooledRows>, SinkError> {
        let mut slots = self.slots();
        if slots.is_settled {
            return Err(self.misuse("the table was committed before"));
        }
        if let Some((ordinal, _)) = slots.partitions.iter().find(|(_, slot)| matches!(slot, Slot::Open)) {
            return Err(self.misuse(format!("partition {ordinal} is not finished")));
        }
        slots.is_settled = true;
        let finished = std::mem::take(&mut slots.partitions).into_values().filter_map(|slot| match slot {
            Slot::Finished(rows) => Some(rows),
            Slot::Open => None,
        });
        Ok(finished.collect())
    }

    /// Forgets all rows.
    pub fn abort(&self) {
        let mut slots = self.slots();
        slots.partitions.clear();
        slots.is_settled = true;
    }
}

/// Frees the slot of a partition that is not finished.
struct OpenSlot {
    load: Arc<MergeLoad>,
    ordinal: u32,
}

impl OpenSlot {
    /// False: the load was aborted meanwhile.
    fn finish(&self, rows: SpooledRows) -> bool {
        let mut slots = self.load.slots();
        let is_expected = !slots.is_settled && slots.partitions.contains_key(&self.ordinal);
        if is_expected {
            slots.partitions.insert(self.ordinal, Slot::Finished(rows));
        }
        is_expected
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let mut slots = self.load.slots();
        if matches!(slots.partitions.get(&self.ordinal), Some(Slot::Open)) {
            slots.partitions.remove(&self.ordinal);
        }
    }
}

struct MergePartition {
    /// None once closed.
    batches: Option<Sender<TrackedBatch>>,
    /// None once it was waited for.
    thread: Option<JoinHandle<Result<SpooledRows, SinkError>>>,
    slot: OpenSlot,
}

impl MergePartition {
    /// Closes the channel and waits for the thread.
    async fn end(&mut self) -> Result<SpooledRows, SinkError> {
        self.batches = None;
        let load = &self.slot.load;
        let thread = self.thread.take().ok_or_else(|| load.misuse("the partition has failed before"))?;
        let failed = |e| SinkError::Encode { location: load.location.clone(), source: Box::new(e) };
        thread.await.map_err(failed)?
    }
}

#[async_trait]
impl PartitionWriter for MergePartition {
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure> {
        if let Some(batches) = &self.batches
            && batches.send(batch).await.is_ok()
        {
            return Ok(());
        }
        // The thread ends before its channel only when it failed.
        match self.end().await {
            Err(error) => Err(error.into()),
            Ok(_) => Err(self.slot.load.misuse("the partition ended before its last batch").into()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, Failure> {
        let rows = self.end().await?;
        let written = Written { rows: rows.rows, bytes: rows.bytes };
        if self.slot.finish(rows) {
            return Ok(written);
        }
        Err(self.slot.load.misuse("the table was aborted before the partition's end").into())
    }

    async fn abort(mut self: Box<Self>) {
        if let Err(error) = self.end().await {
            tracing::debug!(location = %self.slot.load.location, %error, "a partition failed before it was aborted");
        }
    }
}

//! What a datakit's query becomes: a stream of batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::source::{Adjustment, ReadReport, Reader, Rejected, RejectedRow};
use datakit_model::{Failure, TrackedBatch};
use tokio::sync::mpsc;

use crate::delivery::Message;
use datakit_model::Fault;

/// The rows of one query. Dropping it tells the task, which cancels the query on the server.
pub struct BatchReader<E> {
    schema: SchemaRef,
    messages: mpsc::Receiver<Message<E>>,
    /// What cutting a value of each column means, and how often it happened.
    cuts: Vec<Adjustment>,
    /// Rows that were rejected, since the last report.
    rejected: Vec<RejectedRow>,
    ended: bool,
    approximate: bool,
    snapshot: Option<Arc<str>>,
    /// Set by the task when row-level security left out rows.
    filtered: Option<Arc<AtomicBool>>,
    _busy: Busy,
}

impl<E> BatchReader<E> {
    /// A reader of what a task sends; `cuts` has a place for each column whose values may be cut, or none at all.
    pub fn new(schema: SchemaRef, cuts: Vec<Adjustment>, messages: mpsc::Receiver<Message<E>>, busy: Busy) -> Self {
        Self {
            schema,
            messages,
            cuts,
            rejected: Vec::new(),
            ended: false,
            approximate: false,
            snapshot: None,
            filtered: None,
            _busy: busy,
        }
    }

    /// With the snapshot that its rows are of, where other queries can read the same one.
    pub fn of_snapshot(mut self, snapshot: Option<Arc<str>>) -> Self {
        self.snapshot = snapshot;
        self
    }

    /// With the place where the task notes that rows were left out.
    pub fn filtered_when(mut self, filtered: Arc<AtomicBool>) -> Self {
        self.filtered = Some(filtered);
        self
    }

    fn note_cuts(&mut self, cuts: Vec<(usize, u64)>) {
        for (column, values) in cuts {
            if let Some(cut) = self.cuts.get_mut(column) {
                cut.values += values;
            }
        }
    }

    /// Says that the query may have read what was not committed.
    pub fn mark_approximate(&mut self) {
        self.approximate = true;
    }
}

#[async_trait]
impl<E: Fault> Reader for BatchReader<E> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        while !self.ended {
            match self.messages.recv().await {
                Some(Message::Batch(batch, cuts)) => {
                    self.note_cuts(cuts);
                    return Ok(Some(batch));
                }
                Some(Message::Rejected(rows)) => self.rejected.extend(rows),
                last => {
                    self.ended = true;
                    return end(last);
                }
            }
        }
        Ok(None)
    }

    fn report(&mut self) -> ReadReport {
        ReadReport {
            adjustments: self.cuts.iter().filter(|cut| cut.values > 0).cloned().collect(),
            rejected: Rejected::new(std::mem::take(&mut self.rejected)),
            snapshot: self.snapshot.clone(),
            approximate: self.approximate,
            filtered: self.filtered.as_ref().is_some_and(|filtered| filtered.load(Ordering::Acquire)),
        }
    }
}

/// What the last message says.
fn end<E: Fault>(last: Option<Message<E>>) -> Result<Option<TrackedBatch>, Failure> {
    match last {
        Some(Message::Failed(error)) => Err(error.into()),
        None => Err(E::internal("the task that reads rows is gone".to_owned()).into()),
        Some(_) => Ok(None),
    }
}

/// Holds a session's one place for a reader.
pub struct Busy(Arc<AtomicBool>);

impl Busy {
    /// Takes the place; none if another reader has it.
    pub fn take(place: &Arc<AtomicBool>) -> Option<Self> {
        let free = place.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Self(Arc::clone(place)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

//! What a datakit's query becomes: a stream of batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::source::{Adjustment, Reader};
use datakit_model::{Failure, TrackedBatch};
use tokio::sync::mpsc;

use super::delivery::Message;
use super::error::SourceError;
use super::types::{self, Column};

/// The rows of one query. Dropping it tells the task, which cancels the query on the server.
pub(super) struct SqlServerReader {
    schema: SchemaRef,
    columns: Arc<[Column]>,
    messages: mpsc::Receiver<Message>,
    cuts: Vec<u64>,
    ended: bool,
    approximate: bool,
    _busy: Busy,
}

impl SqlServerReader {
    pub(super) fn new(columns: Arc<[Column]>, messages: mpsc::Receiver<Message>, busy: Busy) -> Self {
        let cuts = vec![0; columns.len()];
        Self { schema: types::schema(&columns), columns, messages, cuts, ended: false, approximate: false, _busy: busy }
    }
}

impl SqlServerReader {
    /// Says that the query may have read what was not committed.
    pub(super) fn mark_approximate(&mut self) {
        self.approximate = true;
    }
}

#[async_trait]
impl Reader for SqlServerReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let message = self.messages.recv().await;
        self.ended = !matches!(message, Some(Message::Batch(..)));
        match message {
            Some(Message::Batch(batch, cuts)) => {
                for (column, values) in cuts {
                    if let Some(cut) = self.cuts.get_mut(column) {
                        *cut += values;
                    }
                }
                Ok(Some(batch))
            }
            Some(Message::End) => Ok(None),
            Some(Message::Failed(error)) => Err(error.into()),
            None => Err(SourceError::Internal("the task that reads rows is gone".to_owned()).into()),
        }
    }

    fn approximate(&self) -> bool {
        self.approximate
    }

    fn adjustments(&self) -> Vec<Adjustment> {
        let cut = self.columns.iter().zip(&self.cuts).filter(|(_, values)| **values > 0);
        cut.map(|(column, values)| Adjustment {
            column: column.name.clone(),
            what: format!("{} cut to microseconds", column.source_type),
            values: *values,
        })
        .collect()
    }
}

/// Holds a session's one place for a reader.
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    /// Takes the place; none if another reader has it.
    pub(super) fn take(place: &Arc<AtomicBool>) -> Option<Self> {
        let free = place.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Self(Arc::clone(place)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

//! Batches from the task that decodes to the reader that hands them out.

use std::time::Duration;

use datakit_model::{MemoryBudget, TrackedBatch};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::builders::BatchBuilder;
use super::error::SourceError;

/// One step of a result.
pub(super) enum Message {
    /// A batch, and how many values of which column were cut in it.
    Batch(TrackedBatch, Vec<(usize, u64)>),
    /// All rows were delivered. A channel that closes without it lost its task.
    End,
    /// The result ended with an error.
    Failed(SourceError),
}

/// Why a task stops before the end of the rows.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody waits for the rows.
    Dropped,
    /// The query's time is over.
    Timeout,
    /// An error, to be told.
    Failed(SourceError),
}

/// The sending end.
pub(super) struct Delivery {
    sender: mpsc::Sender<Message>,
    memory: MemoryBudget,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Delivery {
    /// A channel that holds one batch: the next is decoded while one waits.
    pub(super) fn new(memory: MemoryBudget, timeout: Option<Duration>) -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(1);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        (Self { sender, memory, timeout, deadline }, receiver)
    }

    /// Runs a step of the driver. When nobody waits any more or the time is over, `cancel` is told, and the step is
    /// still run to its own end: a future of a driver dropped halfway leaves the connection in pieces.
    pub(super) async fn during<T>(&self, cancel: impl Fn(), step: impl Future<Output = T>) -> (T, Option<Stop>) {
        let mut step = std::pin::pin!(step);
        let stop = tokio::select! {
            biased;
            result = &mut step => return (result, None),
            stop = self.stopped() => stop,
        };
        cancel();
        (step.await, Some(stop))
    }

    /// Waits until nobody wants the rows or the time is over.
    pub(super) async fn stopped(&self) -> Stop {
        tokio::select! {
            () = self.sender.closed() => Stop::Dropped,
            () = sleep_until(self.deadline) => Stop::Timeout,
        }
    }

    /// Hands the batch over once its bytes are free. The time spent waiting is the consumer's, not the query's.
    pub(super) async fn ship(&mut self, builder: &mut BatchBuilder) -> Result<(), Stop> {
        let (batch, cuts) = builder.finish().map_err(Stop::Failed)?;
        let waiting_since = Instant::now();
        let bytes = batch.get_array_memory_size() as u64;
        let reservation = tokio::select! {
            reservation = self.memory.reserve(bytes) => reservation,
            () = self.sender.closed() => return Err(Stop::Dropped),
        };
        let message = Message::Batch(TrackedBatch::new(batch, reservation), cuts);
        self.sender.send(message).await.map_err(|_| Stop::Dropped)?;
        self.deadline = self.deadline.map(|deadline| deadline + waiting_since.elapsed());
        Ok(())
    }

    /// Tells how the result ended.
    pub(super) async fn finish(self, outcome: Result<(), Stop>) {
        let message = match outcome {
            Ok(()) => Message::End,
            Err(Stop::Dropped) => return,
            Err(Stop::Timeout) => {
                let seconds = self.timeout.unwrap_or_default().as_secs_f64();
                Message::Failed(SourceError::QueryTimeout { seconds })
            }
            Err(Stop::Failed(error)) => Message::Failed(error),
        };
        // Nobody waits any more: then nobody is to be told.
        let _ = self.sender.send(message).await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

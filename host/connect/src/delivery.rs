//! Batches from the task that decodes to the reader that hands them out.

use std::time::Duration;

use arrow::array::RecordBatch;
use datakit_model::rejects::RejectedRow;
use datakit_model::{MemoryBudget, TrackedBatch};
use tokio::sync::mpsc;
use tokio::time::Instant;

use datakit_model::Fault;

/// One step of a result.
pub enum Message<E> {
    /// A batch, and how many values of which column were cut in it.
    Batch(TrackedBatch, Vec<(usize, u64)>),
    /// Rows that were rejected, before the batch whose rows they are not among.
    Rejected(Vec<RejectedRow>),
    /// All rows were delivered. A channel that closes without it lost its task.
    End,
    /// The result ended with an error.
    Failed(E),
}

/// Why a task stops before the end of the rows.
#[derive(Debug)]
pub enum Stop<E> {
    /// Nobody waits for the rows.
    Dropped,
    /// The query's time is over.
    Timeout,
    /// An error, to be told.
    Failed(E),
}

/// The sending end.
pub struct Delivery<E> {
    sender: mpsc::Sender<Message<E>>,
    memory: MemoryBudget,
    timeout: Duration,
    deadline: Instant,
    /// Rows handed over so far.
    rows: u64,
}

impl<E: Fault> Delivery<E> {
    /// A channel that holds one batch: the next is decoded while one waits.
    pub fn new(memory: MemoryBudget, timeout: Duration) -> (Self, mpsc::Receiver<Message<E>>) {
        let (sender, receiver) = mpsc::channel(1);
        let deadline = Instant::now() + timeout;
        (Self { sender, memory, timeout, deadline, rows: 0 }, receiver)
    }

    /// Runs a step of the driver. When nobody waits any more or the time is over, `cancel` is told, and the step is
    /// still run to its own end: a future of a driver dropped halfway leaves the connection in pieces.
    pub async fn during<T>(&self, cancel: impl Fn(), step: impl Future<Output = T>) -> (T, Option<Stop<E>>) {
        let mut step = std::pin::pin!(step);
        let stop = tokio::select! {
            biased;
            result = &mut step => return (result, None),
            stop = self.stopped() => stop,
        };
        cancel();
        (step.await, Some(stop))
    }

    /// For whoever works beside this task.
    pub fn closing(&self) -> Closing<E> {
        Closing(self.sender.clone())
    }

    /// Waits until nobody wants the rows or the time is over.
    pub async fn stopped(&self) -> Stop<E> {
        tokio::select! {
            () = self.sender.closed() => Stop::Dropped,
            () = tokio::time::sleep_until(self.deadline) => Stop::Timeout,
        }
    }

    /// Hands the batch over once its bytes are free. The time spent waiting is the consumer's, not the query's.
    pub async fn ship(&mut self, batch: RecordBatch, cuts: Vec<(usize, u64)>) -> Result<(), Stop<E>> {
        let waiting_since = Instant::now();
        let bytes = batch.get_array_memory_size() as u64;
        let reservation = tokio::select! {
            reservation = self.memory.reserve(bytes) => reservation,
            () = self.sender.closed() => return Err(Stop::Dropped),
        };
        let rows = batch.num_rows() as u64;
        let batch = TrackedBatch::new(batch, reservation).after_rows(self.rows);
        self.rows += rows;
        let message = Message::Batch(batch, cuts);
        self.sender.send(message).await.map_err(|_| Stop::Dropped)?;
        self.deadline += waiting_since.elapsed();
        Ok(())
    }

    /// Hands over rows that were rejected, if there are any, then the others, if there are any.
    pub async fn ship_split(
        &mut self,
        batch: RecordBatch,
        cuts: Vec<(usize, u64)>,
        rejected: Vec<RejectedRow>,
    ) -> Result<(), Stop<E>> {
        if !rejected.is_empty() {
            self.rows += rejected.len() as u64;
            self.sender.send(Message::Rejected(rejected)).await.map_err(|_| Stop::Dropped)?;
            if batch.num_rows() == 0 {
                return Ok(());
            }
        }
        self.ship(batch, cuts).await
    }

    /// Tells how the result ended.
    pub async fn finish(self, outcome: Result<(), Stop<E>>) {
        let message = match outcome {
            Ok(()) => Message::End,
            Err(Stop::Dropped) => return,
            Err(Stop::Timeout) => Message::Failed(E::query_timeout(self.timeout.as_secs_f64())),
            Err(Stop::Failed(error)) => Message::Failed(error),
        };
        // Nobody waits any more: then nobody is to be told.
        let _ = self.sender.send(message).await;
    }
}

/// Tells a thread beside the task whether anybody waits for the rows.
pub struct Closing<E>(mpsc::Sender<Message<E>>);

impl<E> Clone for Closing<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E> Closing<E> {
    /// Whether nobody wants the rows any more.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits for that.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

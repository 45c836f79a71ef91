//! Files that are written while others are read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datakit_connect::sink::SinkError;
use datakit_model::TrackedBatch;
use datakit_model::receipt::Tally;
use datakit_parquet::{DataFile, FilePlan, Message, RowForm, write_partition};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinHandle;

use crate::receipt::{As, Staged};

type Files = Result<Option<Vec<DataFile>>, SinkError>;

/// Files being written on a thread of their own.
pub(super) struct Output {
    sender: Sender<Message>,
    thread: JoinHandle<Files>,
    location: String,
    runtime: Handle,
    /// Counts the rows.
    tally: Option<Tally>,
}

impl Output {
    pub(super) fn start<F>(plan: FilePlan<F>, runtime: &Handle, tally: Option<Tally>) -> Self
    where
        F: RowForm<Error = SinkError> + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let location = plan.location.clone();
        let (plan, handle) = (Arc::new(plan), runtime.clone());
        let thread = runtime.spawn_blocking(move || write_partition(&plan, 0, receiver, &handle));
        Self { sender, thread, location, runtime: runtime.clone(), tally }
    }

    /// When the thread has failed, [`Self::fail`] says why.
    pub(super) fn write(&mut self, rows: RecordBatch) -> Result<(), SinkError> {
        let failed = |e| SinkError::Encode { location: self.location.clone(), source: Box::new(e) };
        self.tally.as_mut().map_or(Ok(()), |tally| tally.add(&rows)).map_err(failed)?;
        let sent = self.sender.blocking_send(Message::Batch(TrackedBatch::untracked(rows)));
        sent.map_err(|_| self.early())
    }

    fn early(&self) -> SinkError {
        let what = "the files ended before their last rows".to_owned();
        SinkError::Misuse { location: self.location.clone(), what }
    }

    /// Adds the files to those that are written. None: the rows were not counted.
    pub(super) fn finish(self, as_what: As, written: &mut Vec<DataFile>) -> Result<Option<Staged>, SinkError> {
        // When the channel is closed, the thread's own error says why.
        let _ = self.sender.blocking_send(Message::Finish);
        let (early, runtime) = (self.early(), self.runtime.clone());
        let handed_on = self.tally.as_ref().map(Tally::delivered);
        let files = runtime.block_on(self.ended())?.ok_or(early)?;
        written.extend(files.iter().cloned());
        Ok(handed_on.map(|handed_on| Staged { files, handed_on, as_what }))
    }

    /// Takes back what was written, after an error. The thread's own error comes first.
    pub(super) fn fail(self, error: SinkError) -> SinkError {
        let runtime = self.runtime.clone();
        runtime.block_on(self.ended()).err().unwrap_or(error)
    }

    async fn ended(self) -> Files {
        drop(self.sender);
        let failed = |e| SinkError::Encode { location: self.location.clone(), source: Box::new(e) };
        self.thread.await.map_err(failed)?
    }
}

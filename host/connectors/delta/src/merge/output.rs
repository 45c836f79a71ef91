//! Files that are written while others are read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datakit_connect::sink::SinkError;
use datakit_model::TrackedBatch;
use datakit_parquet::{DataFile, FilePlan, Message, RowForm, write_partition};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinHandle;

type Files = Result<Option<Vec<DataFile>>, SinkError>;

/// Files being written on a thread of their own.
pub(super) struct Output {
    sender: Sender<Message>,
    thread: JoinHandle<Files>,
    location: String,
    runtime: Handle,
}

impl Output {
    pub(super) fn start<F>(plan: FilePlan<F>, runtime: &Handle) -> Self
    where
        F: RowForm<Error = SinkError> + 'static,
    {
        let (sender, receiver) = mpsc::channel(1);
        let location = plan.location.clone();
        let (plan, handle) = (Arc::new(plan), runtime.clone());
        let thread = runtime.spawn_blocking(move || write_partition(&plan, 0, receiver, &handle));
        Self { sender, thread, location, runtime: runtime.clone() }
    }

    /// When the thread has failed, [`Self::fail`] says why.
    pub(super) fn write(&self, rows: RecordBatch) -> Result<(), SinkError> {
        let sent = self.sender.blocking_send(Message::Batch(TrackedBatch::untracked(rows)));
        sent.map_err(|_| self.early())
    }

    fn early(&self) -> SinkError {
        let what = "the files ended before their last rows".to_owned();
        SinkError::Misuse { location: self.location.clone(), what }
    }

    pub(super) fn finish(self) -> Result<Vec<DataFile>, SinkError> {
        // When the channel is closed, the thread's own error says why.
        let _ = self.sender.blocking_send(Message::Finish);
        let (early, runtime) = (self.early(), self.runtime.clone());
        runtime.block_on(self.ended())?.ok_or(early)
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

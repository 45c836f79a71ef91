//! What the partitions of one table share, and when each of them is read.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datakit_model::datakit::{Extraction, Partition, Session};
use datakit_model::sink::{RetryUnit, TableRows};
use datakit_model::source::Adjustment;
use datakit_model::{Failure, TableId};
use datakit_quality::Checks;
use tokio::sync::{AcquireError, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::error::RunError;
use crate::event::Observer;
use crate::job::{Destination, Job};
use crate::resume::Resume;
use crate::shared::{Seat, SharedPartition, Worker};

/// What the partitions of one table share.
#[derive(Clone)]
pub(crate) struct TableContext {
    pub(crate) job: Arc<Job>,
    pub(crate) session: Session,
    pub(crate) destination: Destination,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) workers: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    pub(crate) table: TableId,
    /// The source's columns that identify a row, in key order; empty: no key.
    pub(crate) keys: Arc<[String]>,
    /// The source's columns; none: nothing is known of them.
    pub(crate) columns: Option<SchemaRef>,
    /// How the load is kept and gone on with.
    pub(crate) resume: Arc<Resume>,
    /// Columns whose values the source may change before it sends them.
    pub(crate) altered: Arc<Vec<Adjustment>>,
    pub(crate) unit: RetryUnit,
    /// The plan bounds the rows by no watermark: the datakit may say at their end which they reach.
    pub(crate) asks_watermark: bool,
    /// The rules of quality, compiled for the table's rows; none: there are none, or the table is not open yet.
    pub(crate) checks: Option<Arc<Checks>>,
    /// Its place at a read that is shared; none: it reads alone.
    pub(crate) seat: Option<Arc<Seat>>,
    /// Rows reported to the observer in this attempt.
    pub(crate) reported_rows: Arc<AtomicU64>,
}

impl TableContext {
    /// The future's result, unless the run is told to stop first.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match self.stop.run_until_cancelled(work).await {
            Some(result) => result,
            None => Err(self.stopped()),
        }
    }

    pub(crate) fn stopped(&self) -> Failure {
        RunError::Stopped { table: self.table.clone(), run_id: self.job.run.run_id.clone() }.into()
    }

    /// What the table holds, asked of the sink.
    pub(crate) async fn rows(&self) -> Result<TableRows, Failure> {
        self.destination.sink.rows(&self.job.run.source_system, &self.table).await
    }

    pub(crate) async fn sleep(&self, pause: Duration) -> Result<(), Failure> {
        self.unless_stopped(async {
            tokio::time::sleep(pause).await;
            Ok(())
        })
        .await
    }

    /// The rows of a partition, read for this load alone.
    async fn extract(&self, partition: &Partition) -> Result<Box<dyn Extraction>, Failure> {
        let extraction = self.job.datakit.extract(&self.session, partition).await?;
        match &self.job.backfill {
            Some(backfill) => backfill.projected(&self.keys, extraction),
            None => Ok(extraction),
        }
    }

    /// Says which partitions the table is going to read, to those who wait for it.
    pub(crate) fn says_what_it_reads<'p>(&self, partitions: impl IntoIterator<Item = &'p Partition>) {
        if let Some(seat) = &self.seat {
            seat.reads(&self.session, partitions);
        }
    }

    /// Nobody waits for this table any more: it reads alone from now on.
    pub(crate) fn reads_alone(&self) {
        if let Some(seat) = &self.seat {
            seat.fail();
        }
    }

    /// The table has ended: nobody waits for it.
    pub(crate) fn leaves(&self) {
        if let Some(seat) = &self.seat {
            seat.leave();
        }
    }

    /// The ingests whose rows came from the same read.
    pub(crate) fn partners(&self) -> Vec<String> {
        self.seat.as_ref().map(|seat| seat.partners()).unwrap_or_default()
    }

    /// Waits until a partition may be read: together with other loads where they read the same, else alone.
    ///
    /// # Errors
    /// The run was told to stop.
    pub(crate) async fn turn(&self, partition: &Partition) -> Result<Turn, Failure> {
        if let Some(seat) = &self.seat {
            let join = async { Ok(seat.join(&self.session, partition).await) };
            if let Some(SharedPartition { worker, extraction }) = self.unless_stopped(join).await? {
                return Ok(Turn { worker, opened: Some(extraction), is_shared: true });
            }
        }
        Ok(Turn { worker: self.worker().await?, opened: None, is_shared: false })
    }

    async fn worker(&self) -> Result<Worker, Failure> {
        let acquire = async {
            let worker = Arc::clone(&self.workers).acquire_owned().await;
            let crashed =
                |closed: AcquireError| RunError::Crashed { table: self.table.clone(), message: closed.to_string() };
            Ok(Arc::new(worker.map_err(crashed)?))
        };
        self.unless_stopped(acquire).await
    }
}

/// A partition's turn: a worker is kept for it.
pub(crate) struct Turn {
    pub(crate) worker: Worker,
    /// The partition, where it is open already; an error: it could not be opened.
    pub(crate) opened: Option<Result<Box<dyn Extraction>, Failure>>,
    pub(crate) is_shared: bool,
}

impl Turn {
    /// The rows of the partition.
    ///
    /// # Errors
    /// What the datakit or the source reports; the run was told to stop.
    pub(crate) async fn extraction(
        &mut self,
        context: &TableContext,
        partition: &Partition,
    ) -> Result<Box<dyn Extraction>, Failure> {
        match self.opened.take() {
            Some(opened) => opened,
            None => context.unless_stopped(context.extract(partition)).await,
        }
    }

    /// For another attempt. Whoever has read with others gives their worker back, and reads alone.
    ///
    /// # Errors
    /// The run was told to stop.
    pub(crate) async fn again(self, context: &TableContext) -> Result<Self, Failure> {
        let Self { worker, is_shared, .. } = self;
        if !is_shared {
            return Ok(Self { worker, opened: None, is_shared });
        }
        drop(worker);
        Ok(Self { worker: context.worker().await?, opened: None, is_shared: false })
    }
}

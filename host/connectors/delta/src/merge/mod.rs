//! Loads that are merged into a table by key.
//!
//! - `apply`: a reduced load against the files of the table;
//! - `update`: columns of rows that are there get values of a load;
//! - `ranges`: which files may hold a key of a load; `bounds`: what the log says of a file's columns;
//! - `table_file`: a file of the table that is there; `stored_file`: its bytes;
//! - `forms`, `output`: files that are written.

mod apply;
mod bounds;
mod forms;
mod output;
mod ranges;
mod stored_file;
mod table_file;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use async_trait::async_trait;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::{MergeColumns, MergeLoad, Spool};
use datakit_connect::sink::receipt::count;
use datakit_model::receipt::{Delivered, MergedRows, Receipt};
use datakit_model::sink::{CommitNote, Committed, PartitionWriter, TableWriter, Target, Written};
use datakit_model::{Failure, ReceiptLevel};
use datakit_parquet::FilePlan;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub(crate) use apply::Merged;
pub(crate) use stored_file::StoredFile;
pub(crate) use table_file::{TableFile, read_written};
pub(crate) use update::check as check_update;

use crate::commit::{Commit, CommitError, Log};
use crate::encode::DeltaRows;
use crate::receipt::{self, As, Staged};
use apply::{Counts, Merge};
use forms::Incoming;

/// What the merges of a sink share.
#[derive(Debug, Clone)]
pub(crate) struct MergeMemory {
    /// For one load.
    pub(crate) max_bytes: u64,
    /// One table is merged at a time.
    turn: Arc<Semaphore>,
}

impl MergeMemory {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, turn: Arc::new(Semaphore::new(1)) }
    }
}

/// A table being merged into.
pub(crate) struct MergeWriter {
    plan: Arc<FilePlan<DeltaRows>>,
    log: Log,
    target: Target,
    checkpoint_interval: u32,
    load: Arc<MergeLoad>,
    memory: MergeMemory,
}

impl MergeWriter {
    /// For rows of a target that was checked against the table. The plan has the columns of the load, then those that only the
    /// table has.
    pub(crate) fn new(
        plan: FilePlan<DeltaRows>,
        log: Log,
        target: Target,
        checkpoint_interval: u32,
        memory: MergeMemory,
    ) -> Result<Self, SinkError> {
        let written = &plan.form.schema.written;
        let of_load = target.schema.fields().len();
        let places: Vec<usize> = (0..of_load).collect();
        let failed = |e| SinkError::Encode { location: plan.location.clone(), source: Box::new(e) };
        let incoming = written.project(&places).map_err(failed)?;
        let kept = &written.fields()[of_load..];
        let columns = MergeColumns::new(&target, "delta")?;
        let spool = match target.updates_only {
            true => Spool::of_values(columns, &incoming)?,
            false => Spool::new(columns, &incoming, kept)?,
        };
        let plan = Arc::new(plan);
        let form = Incoming { plan: Arc::clone(&plan), schema: Arc::clone(spool.schema()) };
        let load = MergeLoad::new(spool, Box::new(form), plan.location.clone());
        Ok(Self { plan, log, target, checkpoint_interval, load, memory })
    }

    /// Writes the files of the merge into the table as it is now.
    async fn merge(&self, log: &Log, receipt: ReceiptLevel) -> Result<Merged, SinkError> {
        let merge = Merge {
            plan: Arc::clone(&self.plan),
            load: Arc::clone(&self.load),
            rows: self.load.settle()?,
            log: Arc::clone(&log.store),
            files: log.files(),
            max_bytes: self.memory.max_bytes,
            updates_only: self.target.updates_only,
            receipt,
            runtime: Handle::current(),
        };
        let failed = |e| SinkError::Encode { location: self.plan.location.clone(), source: Box::new(e) };
        tokio::task::spawn_blocking(move || merge.run()).await.map_err(failed)?
    }

    /// Holds the files of a merge against what they have to hold, and the load against what was delivered.
    async fn check(&self, merged: &Merged, delivered: &Delivered) -> Result<Receipt, SinkError> {
        let location = &self.plan.location;
        let Counts { source, inserted, updated, deleted, copied, unchanged, left_out, .. } = merged.counts;
        // Rows that get values stay in the files that they are in.
        let (written, stay) = match self.target.updates_only {
            true => (0, updated + copied),
            false => (inserted + updated, copied),
        };
        count(location, "rows of the load", delivered.rows, source)?;
        let handed_on = |as_what| {
            let staged = merged.staged.iter().filter(move |staged| staged.as_what == as_what);
            staged.map(|staged| staged.handed_on.rows).sum()
        };
        count(location, "rows of the load's keys", written, handed_on(As::Written))?;
        count(location, "rows that stay", stay, handed_on(As::InFiles))?;
        for Staged { files, handed_on, as_what } in &merged.staged {
            receipt::check(&self.plan, files, handed_on, *as_what).await?;
        }
        Ok(Receipt::of_merge(delivered, MergedRows { inserted, updated, deleted, unchanged, left_out }))
    }

    /// Commits the files of a merge, or removes them.
    async fn commit_merged(&self, log: &Log, merged: &Merged, note: CommitNote) -> Result<Committed, Failure> {
        if merged.counts.incomplete > 0 {
            tracing::warn!(
                location = %self.plan.location, rows = merged.counts.incomplete,
                "rows were inserted of which the source sent some columns only: the others are null"
            );
        }
        let checked = match &note.delivered {
            Some(delivered) => self.check(merged, delivered).await.map(Some),
            None => Ok(None),
        };
        let receipt = match checked {
            Ok(receipt) => receipt,
            Err(error) => {
                self.plan.remove(&merged.written).await;
                return Err(error.into());
            }
        };
        let commit = Commit {
            schema: &self.plan.form.schema,
            partition_columns: &self.plan.form.partitioning.columns,
            checkpoint_interval: self.checkpoint_interval,
            target: &self.target,
            note,
            files: &merged.written,
            merged: Some(merged),
        };
        let (state, holds) = match log.commit(commit).await {
            Ok(committed) => committed,
            Err(CommitError::Unknown(error)) => return Err(error.into()),
            Err(CommitError::Nothing(error)) => {
                self.plan.remove(&merged.written).await;
                return Err(error.into());
            }
        };
        if let Some(directory) = self.plan.directory.clone() {
            // Committed already; a thread that cannot be had is no reason to say otherwise.
            let _ = tokio::task::spawn_blocking(move || Log::sync(&directory)).await;
        }
        let bytes = merged.written.iter().map(|file| file.bytes).sum();
        Ok(Committed { written: Written { rows: state.rows, bytes }, state, holds, receipt })
    }
}

#[async_trait]
impl TableWriter for MergeWriter {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        Ok(self.load.partition(ordinal)?)
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        // A closed semaphore would let all merge at once; nobody closes it.
        let _turn = self.memory.turn.acquire().await;
        let log = self.log.now(&self.plan.form, &self.target).await?;
        let receipt = note.delivered.as_ref().map_or(ReceiptLevel::Off, Delivered::level);
        let merged = self.merge(&log, receipt).await?;
        self.commit_merged(&log, &merged, note).await
    }

    async fn abort(&self) {
        self.load.abort();
        self.log.remove_empty_directory();
    }
}

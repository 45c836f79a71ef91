//! What one instance holds and may still use.

mod budget;
mod buffers;
mod failures;
mod growth;
mod guest_log;
mod handles;
mod lines;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datakit_model::datakit::{Role, Session};
use datakit_model::memory::Overfull;
use datakit_model::source::{Adjustment, ReadReport, Rejected};
use datakit_model::{ColumnOrigin, GuestLimits, MemoryBudget, TrackedBatch};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::WasiCtx;

use crate::engine::Clock;
use crate::error::{Call, Limit, WasmError};
use datakit_columnar::Projection;

pub(crate) use budget::{Budget, compute};
use buffers::LiveBuffers;
pub(crate) use failures::Failures;
pub(crate) use growth::Growth;
pub(crate) use guest_log::{GuestLog, Speaker, StandardStream};
pub use handles::*;

/// What an entry of [`State::adjustments`] takes besides its text.
const ADJUSTMENT_BYTES: u64 = 128;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) wasi: Option<WasiCtx>,
    pub(crate) limits: Arc<GuestLimits>,
    pub(crate) growth: Growth,
    pub(crate) budget: Budget,
    pub(crate) failures: Failures,
    pub(crate) log: GuestLog,
    /// None: `describe`, which has no run.
    pub(crate) session: Option<Session>,
    /// What `describe` declared.
    pub(crate) roles: Arc<[Role]>,
    /// What the columns of the last projection are made of.
    pub(crate) origins: Vec<ColumnOrigin>,
    /// What readers that live have adjusted so far.
    adjustments: BTreeMap<u64, Vec<Adjustment>>,
    /// What readers that are gone have adjusted, by column and kind.
    adjusted: BTreeMap<(String, String), u64>,
    /// Rows that readers of the instance rejected, and nobody has taken yet.
    rejected: Rejected,
    /// A query of the instance allowed dirty reads.
    approximate: bool,
    /// A query of the instance was filtered by row-level security.
    filtered: bool,
    /// The snapshot of all queries of the instance, as far as they share one: none before the first query.
    snapshot: Option<Option<Arc<str>>>,
    readers: u64,
    /// How many readers had been begun when the call began.
    readers_before: u64,
    /// A reader that was begun in an earlier call gave rows in this one.
    pub(crate) has_read_on: bool,
    /// What each live reader reserves from.
    pub(crate) live_readers: BTreeMap<u64, MemoryBudget>,
    /// The shares of the run's budget behind live batches: how many have it, and its bytes.
    shares: HashMap<usize, (u64, u64)>,
    handles: u64,
    buffers: LiveBuffers,
    /// What the guest is filling in: how many tables, plans and requests, and their bytes.
    filled: u64,
    filled_bytes: u64,
    /// Bytes that the host keeps for the guest besides batches: projections, what readers adjusted.
    kept_bytes: u64,
    /// Whose reservation covers a batch the guest makes itself: the last one it read in this call.
    covering: Option<TrackedBatch>,
}

impl State {
    pub(crate) fn new(
        limits: Arc<GuestLimits>,
        clock: Clock,
        session: Option<Session>,
        roles: Arc<[Role]>,
        log: GuestLog,
    ) -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: None,
            growth: Growth::new(&limits),
            budget: Budget::new(&limits, clock),
            limits,
            failures: Failures::default(),
            log,
            session,
            roles,
            origins: Vec::new(),
            adjustments: BTreeMap::new(),
            adjusted: BTreeMap::new(),
            rejected: Rejected::default(),
            approximate: false,
            filtered: false,
            snapshot: None,
            readers: 0,
            readers_before: 0,
            has_read_on: false,
            live_readers: BTreeMap::new(),
            shares: HashMap::new(),
            handles: 0,
            buffers: LiveBuffers::default(),
            filled: 0,
            filled_bytes: 0,
            kept_bytes: 0,
            covering: None,
        }
    }

    /// The call that is running.
    pub(crate) fn call(&self) -> Call {
        self.budget.call()
    }

    /// The run; `describe` has none.
    pub(crate) fn session(&self, import: &'static str) -> Result<&Session, WasmError> {
        self.session.as_ref().ok_or(WasmError::NotPure { import })
    }

    /// A handle for something that is not a batch.
    pub(crate) fn push<T: Send + 'static>(&mut self, entry: T) -> wasmtime::Result<Resource<T>> {
        let max = self.limits.max_handles;
        if self.handles >= max {
            let what = format!("the datakit would hold {} handles", self.handles + 1);
            return Err(WasmError::over(Limit::Handles, max, what, self.call()).into());
        }
        let resource = self.table.push(entry)?;
        self.handles += 1;
        Ok(resource)
    }

    /// Gives back a handle that is not a batch's.
    pub(crate) fn delete<T: 'static>(&mut self, resource: Resource<T>) -> wasmtime::Result<T> {
        let entry = self.table.delete(resource)?;
        self.handles = self.handles.saturating_sub(1);
        Ok(entry)
    }

    /// A handle for a batch, whose memory counts as live until it is taken or dropped.
    pub(crate) fn push_batch(&mut self, rows: TrackedBatch) -> wasmtime::Result<Resource<BatchHandle>> {
        self.buffers.add(rows.batch());
        self.check_held()?;
        let (share, bytes) = rows.share();
        self.shares.entry(share).or_insert((0, bytes)).0 += 1;
        self.push(BatchHandle { rows })
    }

    /// Takes a batch out of the guest's hands.
    pub(crate) fn take_batch(&mut self, resource: Resource<BatchHandle>) -> wasmtime::Result<TrackedBatch> {
        let rows = self.delete(resource)?.rows;
        self.buffers.remove(rows.batch());
        let (share, _) = rows.share();
        if let Some((count, _)) = self.shares.get_mut(&share) {
            *count -= 1;
            if *count == 0 {
                self.shares.remove(&share);
            }
        }
        Ok(rows)
    }

    /// All that the host holds for the guest is one sum: batches, projections with their literals, what readers adjusted.
    fn check_held(&self) -> Result<(), WasmError> {
        let (held, max) = (self.buffers.bytes().saturating_add(self.kept_bytes), self.limits.max_live_batch_bytes);
        if held <= max {
            return Ok(());
        }
        let what = format!("the host would hold {held} bytes of batches and projections for the datakit");
        Err(WasmError::over(Limit::LiveBatchBytes, max, what, self.call()))
    }

    /// A handle for a projection, whose literals count as long as it lives.
    pub(crate) fn push_projection(&mut self, projection: Projection) -> wasmtime::Result<Resource<ProjectionHandle>> {
        let bytes = projection.kept_bytes();
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        self.check_held()?;
        self.push(ProjectionHandle { projection, bytes, counted: (0, Vec::new()) })
    }

    /// Counts the literal columns that a projection has built since it was counted, and keeps for the next batch.
    pub(crate) fn count_literals(&mut self, resource: &Resource<ProjectionHandle>) -> wasmtime::Result<()> {
        let handle = self.table.get_mut(resource)?;
        let builds = handle.projection.builds();
        if handle.counted.0 != builds {
            let built = handle.projection.built();
            built.iter().for_each(|array| self.buffers.add_array(array));
            handle.counted.1.iter().for_each(|array| self.buffers.remove_array(array));
            handle.counted = (builds, built);
        }
        Ok(())
    }

    /// A projection is gone.
    pub(crate) fn drop_projection(&mut self, resource: Resource<ProjectionHandle>) -> wasmtime::Result<()> {
        let handle = self.delete(resource)?;
        self.kept_bytes = self.kept_bytes.saturating_sub(handle.bytes);
        handle.counted.1.iter().for_each(|array| self.buffers.remove_array(array));
        Ok(())
    }

    /// A batch that a reader returned: what the guest makes in this call may share its reservation.
    pub(crate) fn read(&mut self, rows: &TrackedBatch) {
        self.covering = Some(rows.derive(RecordBatch::new_empty(rows.batch().schema())));
    }

    /// Before waiting for the next batch, so that the wait cannot be for what this instance itself holds.
    pub(crate) fn release_covering(&mut self) {
        self.covering = None;
    }

    /// A batch the guest made itself. It never waits for the budget: with all of it in the hands of guests that wait,
    /// nobody would go on. It shares the reservation of what was read last; `max_live_batch_bytes` bounds the rest.
    pub(crate) fn cover(&self, batch: RecordBatch) -> TrackedBatch {
        match &self.covering {
            Some(read) => read.derive(batch),
            None => TrackedBatch::untracked(batch),
        }
    }

    /// A number for one more reader, which reserves from `memory`.
    pub(crate) fn begin_reader(&mut self, memory: MemoryBudget) -> u64 {
        self.readers += 1;
        self.live_readers.insert(self.readers, memory);
        self.readers
    }

    /// A reader is gone. What it adjusted is kept as a sum, whatever the number of readers.
    pub(crate) fn end_reader(&mut self, number: u64) -> Result<(), WasmError> {
        self.live_readers.remove(&number);
        for Adjustment { column, what, values } in self.adjustments.remove(&number).unwrap_or_default() {
            let bytes = (column.len() + what.len()) as u64 + ADJUSTMENT_BYTES;
            match self.adjusted.entry((column, what)) {
                Entry::Occupied(mut sum) => *sum.get_mut() = sum.get().saturating_add(values),
                Entry::Vacant(place) => {
                    place.insert(values);
                    self.kept_bytes = self.kept_bytes.saturating_add(bytes);
                }
            }
        }
        self.check_held()
    }

    /// A query of the instance reads this snapshot.
    pub(crate) fn note_snapshot(&mut self, snapshot: Option<Arc<str>>) {
        match &mut self.snapshot {
            None => self.snapshot = Some(snapshot),
            Some(shared) if *shared != snapshot => *shared = None,
            Some(_) => {}
        }
    }

    /// What a reader knows of its rows by now. Rejected rows are held until their table is committed.
    pub(crate) fn note_report(&mut self, reader: u64, report: ReadReport) -> Result<(), WasmError> {
        self.approximate |= report.approximate;
        self.filtered |= report.filtered;
        if !report.adjustments.is_empty() {
            self.adjustments.insert(reader, report.adjustments);
        }
        self.note_rejected(report.rejected)
    }

    /// Rows that a reader or a projection rejected. What the operator allows for a table, one instance may reject at the most.
    pub(crate) fn note_rejected(&mut self, rejected: Rejected) -> Result<(), WasmError> {
        let Some(session) = self.session.as_ref().filter(|_| !rejected.rows().is_empty()) else { return Ok(()) };
        let over = |Overfull { capacity_bytes }| WasmError::Rejected { capacity_bytes };
        self.rejected.append(rejected.charged(&session.rejected).map_err(over)?);
        if let Some(rejecting) = &session.rejecting {
            let rows = self.rejected.rows();
            rejecting.bounds.check_rows(rows.len() as u64, rows)?;
        }
        Ok(())
    }

    /// What is known of all rows that readers of the instance gave. Rejected rows are taken.
    pub(crate) fn report(&mut self) -> ReadReport {
        ReadReport {
            adjustments: self.adjustments(),
            rejected: std::mem::take(&mut self.rejected),
            snapshot: self.snapshot.clone().flatten(),
            approximate: self.approximate,
            filtered: self.filtered,
        }
    }

    /// A reader gave rows.
    pub(crate) fn note_rows(&mut self, number: u64) {
        self.has_read_on |= number <= self.readers_before;
    }

    /// What the guest holds of the run's budget while it waits for the reader of this number, if for one: the bytes behind its
    /// batches, and the readers it does not read.
    pub(crate) fn held_while_waiting(&self, awaited: Option<u64>) -> (u64, Vec<MemoryBudget>) {
        let held_bytes = self.shares.values().map(|(_, bytes)| bytes).sum();
        let idle = self.live_readers.iter().filter(|(number, _)| Some(**number) != awaited);
        (held_bytes, idle.map(|(_, memory)| memory.clone()).collect())
    }

    /// What all readers of the instance have adjusted so far, summed by column and kind.
    fn adjustments(&self) -> Vec<Adjustment> {
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((column, what), values) in &self.adjusted {
            sums.insert((column, what), *values);
        }
        for adjustment in self.adjustments.values().flatten() {
            let sum = sums.entry((&adjustment.column, &adjustment.what)).or_default();
            *sum = sum.saturating_add(adjustment.values);
        }
        sums.into_iter()
            .map(|((column, what), values)| Adjustment { column: column.to_owned(), what: what.to_owned(), values })
            .collect()
    }

    /// A call begins: its budgets are full again.
    pub(crate) fn begin(&mut self, call: Call) {
        self.budget.begin(call);
        self.readers_before = self.readers;
        self.has_read_on = false;
        self.log.begin();
        self.growth.forget_denied();
    }

    /// A call has ended well.
    pub(crate) fn end(&mut self) {
        self.release_covering();
    }

    /// The instance will not run again: cancels its queries and frees its batches.
    pub(crate) fn abandon(&mut self) {
        self.release_covering();
        self.table = ResourceTable::new();
        self.live_readers.clear();
        self.shares.clear();
        self.handles = 0;
        self.filled = 0;
        self.filled_bytes = 0;
        self.kept_bytes = 0;
        self.buffers = LiveBuffers::default();
    }
}

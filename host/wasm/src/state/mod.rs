//! What one instance holds and may still use.

mod budget;
mod buffers;
mod failures;
mod growth;
mod guest_log;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datakit_model::source::{Adjustment, Connection, Reader, RejectedRow};
use datakit_model::{GuestLimits, TrackedBatch};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::WasiCtx;

use crate::columnar::Projection;
use crate::engine::Clock;
use crate::error::{Call, Limit, WasmError};
use crate::session::{Role, Session};

pub(crate) use budget::Budget;
use buffers::LiveBuffers;
pub(crate) use failures::Failures;
pub(crate) use growth::Growth;
pub(crate) use guest_log::{GuestLog, Speaker};

/// A batch a guest has a handle to.
pub struct BatchHandle {
    pub(crate) rows: TrackedBatch,
}

/// A compiled projection a guest has a handle to.
pub struct ProjectionHandle {
    pub(crate) projection: Projection,
}

/// A session with a source a guest has a handle to.
pub struct ConnectionHandle {
    pub(crate) kind: &'static str,
    pub(crate) connection: Box<dyn Connection>,
}

/// A running query a guest has a handle to.
pub struct ReaderHandle {
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) schema: SchemaRef,
    /// Its place in [`State::adjustments`].
    pub(crate) number: u64,
    pub(crate) ended: bool,
}

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
    adjustments: BTreeMap<u64, Vec<Adjustment>>,
    /// Rows that readers of the instance set aside, and nobody has taken yet.
    pub(crate) rejected: Vec<RejectedRow>,
    /// A query of the instance allowed dirty reads.
    pub(crate) approximate: bool,
    /// A query of the instance was filtered by row-level security.
    pub(crate) filtered: bool,
    /// The moments of the instance's queries, where they are shared with others.
    pub(crate) moments: Vec<Option<Arc<str>>>,
    readers: u64,
    handles: u64,
    buffers: LiveBuffers,
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
            adjustments: BTreeMap::new(),
            rejected: Vec::new(),
            approximate: false,
            filtered: false,
            moments: Vec::new(),
            readers: 0,
            handles: 0,
            buffers: LiveBuffers::default(),
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
        let (live, max) = (self.buffers.bytes(), self.limits.max_live_batch_bytes);
        if live > max {
            let what = format!("the datakit's live batches would hold {live} bytes");
            return Err(WasmError::over(Limit::LiveBatchBytes, max, what, self.call()).into());
        }
        self.push(BatchHandle { rows })
    }

    /// Takes a batch out of the guest's hands.
    pub(crate) fn take_batch(&mut self, resource: Resource<BatchHandle>) -> wasmtime::Result<TrackedBatch> {
        let rows = self.delete(resource)?.rows;
        self.buffers.remove(rows.batch());
        Ok(rows)
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

    /// A number for one more reader.
    pub(crate) fn next_reader(&mut self) -> u64 {
        self.readers += 1;
        self.readers
    }

    /// What a reader has adjusted so far.
    pub(crate) fn note_adjustments(&mut self, reader: u64, adjustments: Vec<Adjustment>) {
        if !adjustments.is_empty() {
            self.adjustments.insert(reader, adjustments);
        }
    }

    /// What all readers of the instance have adjusted so far, summed by column and kind.
    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for adjustment in self.adjustments.values().flatten() {
            *sums.entry((&adjustment.column, &adjustment.what)).or_default() += adjustment.values;
        }
        sums.into_iter()
            .map(|((column, what), values)| Adjustment { column: column.to_owned(), what: what.to_owned(), values })
            .collect()
    }

    /// A call begins: its budgets are full again.
    pub(crate) fn begin(&mut self, call: Call) {
        self.budget.begin(call);
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
        self.handles = 0;
        self.buffers = LiveBuffers::default();
    }
}

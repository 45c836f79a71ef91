//! What a guest's handles stand for, and what they cost.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use datakit_columnar::{Projection, WireField};
use datakit_model::changes::ChangeFeed;
use datakit_model::datakit::Partition;
use datakit_model::files::FileFormat;
use datakit_model::source::{Connection, Query, Reader};
use datakit_model::{MemoryBudget, TrackedBatch};
use wasmtime::component::Resource;

use super::State;
use crate::error::{Limit, WasmError};
use crate::filled;

/// A batch a guest has a handle to.
pub struct BatchHandle {
    pub(crate) rows: TrackedBatch,
}

/// A compiled projection a guest has a handle to.
pub struct ProjectionHandle {
    pub(crate) projection: Projection,
    /// What it keeps for itself, in bytes.
    pub(super) bytes: u64,
    /// Its literal columns that are counted with the batches: those of how many builds, and which.
    pub(super) counted: (u64, Vec<ArrayRef>),
}

/// A session with a source a guest has a handle to.
pub struct ConnectionHandle {
    pub(crate) kind: &'static str,
    pub(crate) connection: Box<dyn Connection>,
    /// What its readers reserve from.
    pub(crate) memory: MemoryBudget,
}

/// A session with a folder a guest has a handle to.
pub struct FolderHandle(pub(crate) ConnectionHandle);

/// A feed of changes a guest has a handle to, with the session it is of.
pub struct FeedHandle {
    pub(crate) feed: Box<dyn ChangeFeed>,
    /// What its reader reserves from.
    pub(crate) memory: MemoryBudget,
}

/// A running query a guest has a handle to.
pub struct ReaderHandle {
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) schema: SchemaRef,
    /// The readers of an instance are numbered in the order in which they were begun.
    pub(crate) number: u64,
    pub(crate) ended: bool,
}

/// Patterns of tables a guest may ask for.
pub struct DiscoveryHandle {
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
}

/// A partition a guest is to read.
pub struct PartitionHandle(pub(crate) Arc<Partition>);

/// Something that a guest fills in, and what it holds of the host's memory by that.
pub struct Filled<T> {
    pub(crate) value: T,
    bytes: u64,
}

pub type DescriptionHandle = Filled<filled::Description>;
pub type TableHandle = Filled<filled::TableDescription>;
pub type PlanHandle = Filled<filled::TablePlan>;
pub type RuleHandle = Filled<filled::QualityRule>;
pub type BuilderHandle = Filled<filled::ProjectionParts>;
pub type QueryHandle = Filled<Query>;
pub type FormatHandle = Filled<FileFormat>;
pub type FilesHandle = Filled<filled::FilesParts>;
pub type ChangesHandle = Filled<filled::ChangeParts>;

/// What an entry takes besides its texts, in bytes.
const ENTRY_BYTES: u64 = 32;

/// The bytes that texts of a guest take in the host.
pub(crate) trait Weight {
    fn weight(&self) -> u64;
}

impl Weight for String {
    fn weight(&self) -> u64 {
        self.len() as u64 + ENTRY_BYTES
    }
}

impl Weight for Vec<u8> {
    fn weight(&self) -> u64 {
        self.len() as u64 + ENTRY_BYTES
    }
}

impl<T: Weight> Weight for Option<T> {
    fn weight(&self) -> u64 {
        self.as_ref().map_or(ENTRY_BYTES, Weight::weight)
    }
}

impl Weight for Vec<String> {
    fn weight(&self) -> u64 {
        self.iter().map(Weight::weight).sum::<u64>().saturating_add(ENTRY_BYTES)
    }
}

impl Weight for Vec<Option<String>> {
    fn weight(&self) -> u64 {
        self.iter().map(Weight::weight).sum::<u64>().saturating_add(ENTRY_BYTES)
    }
}

impl Weight for Vec<WireField> {
    fn weight(&self) -> u64 {
        let metadata = |field: &WireField| {
            field.metadata.iter().map(|(key, value)| key.weight() + value.len() as u64).sum::<u64>()
        };
        self.iter().map(|field| field.name.weight() + field.arrow_type.len() as u64 + metadata(field)).sum()
    }
}

impl State {
    /// A handle for something that the guest fills in, which holds so many bytes of its texts.
    pub(crate) fn push_filled<T: Send + 'static>(
        &mut self,
        value: T,
        bytes: u64,
    ) -> wasmtime::Result<Resource<Filled<T>>> {
        let max = self.limits.max_tables;
        if self.filled >= max {
            let what = format!("the datakit would hold {} tables, plans and requests", self.filled + 1);
            return Err(WasmError::over(Limit::Tables, max, what, self.call()).into());
        }
        let bytes = bytes.saturating_add(ENTRY_BYTES);
        self.keep(bytes)?;
        let resource = self.table.push(Filled { value, bytes })?;
        self.filled += 1;
        Ok(resource)
    }

    /// What the guest fills in; it takes so many bytes more.
    pub(crate) fn fill<T: 'static>(&mut self, resource: &Resource<Filled<T>>, bytes: u64) -> wasmtime::Result<&mut T> {
        self.keep(bytes)?;
        let filled = self.table.get_mut(resource)?;
        filled.bytes = filled.bytes.saturating_add(bytes);
        Ok(&mut filled.value)
    }

    /// Takes what the guest filled in out of its hands.
    pub(crate) fn take_filled<T: 'static>(&mut self, resource: Resource<Filled<T>>) -> wasmtime::Result<T> {
        Ok(self.take_weighed(resource)?.0)
    }

    /// The same, with the bytes that it goes on to hold where it becomes a part of something else.
    pub(crate) fn take_weighed<T: 'static>(&mut self, resource: Resource<Filled<T>>) -> wasmtime::Result<(T, u64)> {
        let filled = self.table.delete(resource)?;
        self.filled = self.filled.saturating_sub(1);
        self.filled_bytes = self.filled_bytes.saturating_sub(filled.bytes);
        Ok((filled.value, filled.bytes))
    }

    /// One setter of the guest: a host call that changes what it fills in.
    pub(crate) fn set<T: 'static>(
        &mut self,
        resource: &Resource<Filled<T>>,
        bytes: u64,
        change: impl FnOnce(&mut T),
    ) -> wasmtime::Result<()> {
        let call = self.budget.host_call()?;
        change(self.fill(resource, bytes)?);
        self.budget.host_call_ended(call);
        Ok(())
    }

    /// What a guest fills in is what it would hand over at once, were it one list.
    fn keep(&mut self, bytes: u64) -> Result<(), WasmError> {
        self.filled_bytes = self.filled_bytes.saturating_add(bytes);
        let max = self.limits.max_ipc_bytes;
        if self.filled_bytes <= max {
            return Ok(());
        }
        let what = "the datakit filled in more bytes of tables, plans and requests than one IPC stream may have";
        Err(WasmError::over(Limit::TransferBytes, max, what, self.call()))
    }

    /// Refuses a list that would have more entries than a limit allows, before it grows.
    pub(crate) fn check_count(&self, count: usize, limit: Limit, max: u64, what: &str) -> Result<(), WasmError> {
        if (count as u64) < max {
            return Ok(());
        }
        let call = self.call();
        Err(WasmError::over(limit, max, format!("the datakit's {what} would have more than {max} entries"), call))
    }
}

//! What is known of a table's partitions while they are written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datakit_parquet::DataFile;

/// The partitions of a table.
#[derive(Default)]
pub(crate) struct Partitions {
    pub(crate) slots: BTreeMap<u32, Slot>,
    /// Committed, or perhaps committed: the files are no longer ours to remove.
    pub(crate) settled: bool,
}

/// A partition.
pub(crate) enum Slot {
    Open,
    Finished(Vec<DataFile>),
    /// Finished and kept: a process after this one may name the files, so that they are not ours to remove.
    Kept(Vec<DataFile>),
}

impl Partitions {
    /// The files of all finished partitions.
    pub(crate) fn files(&self) -> Vec<DataFile> {
        let finished = self.slots.values().filter_map(|slot| match slot {
            Slot::Finished(files) | Slot::Kept(files) => Some(files),
            Slot::Open => None,
        });
        finished.flatten().cloned().collect()
    }

    /// The files of a finished partition, which are kept from now on; none: it is not finished.
    pub(crate) fn keep(&mut self, ordinal: u32) -> Option<Vec<DataFile>> {
        let slot = self.slots.get_mut(&ordinal)?;
        if let Slot::Finished(files) = slot {
            *slot = Slot::Kept(std::mem::take(files));
        }
        match slot {
            Slot::Kept(files) => Some(files.clone()),
            Slot::Open | Slot::Finished(_) => None,
        }
    }

    /// The files that may go; all are forgotten.
    pub(crate) fn take_uncommitted(&mut self) -> Vec<DataFile> {
        if self.settled {
            return Vec::new();
        }
        let slots = std::mem::take(&mut self.slots).into_values();
        let own = slots.filter_map(|slot| match slot {
            Slot::Finished(files) => Some(files),
            Slot::Open | Slot::Kept(_) => None,
        });
        own.flatten().collect()
    }
}

/// A poisoned lock holds what it held: no update of [`Partitions`] leaves it half done.
pub(crate) fn lock(partitions: &Mutex<Partitions>) -> MutexGuard<'_, Partitions> {
    partitions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Frees a partition's ordinal when its writer goes without having finished.
pub(crate) struct OpenSlot {
    pub(crate) partitions: Arc<Mutex<Partitions>>,
    pub(crate) ordinal: u32,
}

impl OpenSlot {
    /// Hands the files to the commit. False: the table was aborted or settled meanwhile.
    pub(crate) fn finish(&self, files: Vec<DataFile>) -> bool {
        let mut partitions = lock(&self.partitions);
        let expected = !partitions.settled && partitions.slots.contains_key(&self.ordinal);
        if expected {
            partitions.slots.insert(self.ordinal, Slot::Finished(files));
        }
        expected
    }
}

impl Drop for OpenSlot {
    fn drop(&mut self) {
        let mut partitions = lock(&self.partitions);
        if matches!(partitions.slots.get(&self.ordinal), Some(Slot::Open)) {
            partitions.slots.remove(&self.ordinal);
        }
    }
}

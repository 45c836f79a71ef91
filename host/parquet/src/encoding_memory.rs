//! What the row groups being encoded may hold in memory, over all partitions and tables of a sink.
//!
//! A writer never waits for memory: a row group is data that only its own writer can let go, so that waiting could last
//! for ever. The one that finds the whole over its bound, and itself over an equal share, ends its row group early.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bound and what is held of it.
#[derive(Debug)]
pub struct EncodingMemory {
    capacity_bytes: u64,
    held_bytes: AtomicU64,
    writers: AtomicU64,
}

impl EncodingMemory {
    /// A bound in bytes, of which nothing is held.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(Self { capacity_bytes, held_bytes: AtomicU64::new(0), writers: AtomicU64::new(0) })
    }
}

/// What one writer holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<EncodingMemory>,
    bytes: u64,
}

impl Share {
    pub(crate) fn new(memory: &Arc<EncodingMemory>) -> Self {
        memory.writers.fetch_add(1, Ordering::Relaxed);
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// Says what the writer holds now. True: it should end its row group.
    pub(crate) fn hold(&mut self, bytes: u64) -> bool {
        // Only sums: nothing else is published by these counters.
        self.memory.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.memory.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        self.is_over()
    }

    /// What the writer holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all writers hold too much, and this one at least an equal share.
    pub(crate) fn is_over(&self) -> bool {
        let all = self.memory.held_bytes.load(Ordering::Relaxed);
        let equal_share = self.memory.capacity_bytes / self.memory.writers.load(Ordering::Relaxed).max(1);
        self.bytes > 0 && all > self.memory.capacity_bytes && self.bytes >= equal_share
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.memory.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_may_hold_all_of_it() {
        let memory = EncodingMemory::new(100);
        let mut share = Share::new(&memory);
        assert!(!share.hold(100));
        assert!(share.hold(101));
        assert!(!share.hold(3));
    }

    #[test]
    fn the_largest_gives_way_to_the_others() {
        let memory = EncodingMemory::new(100);
        let mut large = Share::new(&memory);
        assert!(!large.hold(90));
        let mut small = Share::new(&memory);
        assert!(!small.hold(20), "its row group would be needlessly small");
        assert!(large.hold(91));
        assert!(!large.hold(0));
        assert!(!small.hold(60));
        drop(large);
        drop(small);
        assert_eq!(memory.held_bytes.load(Ordering::Relaxed), 0);
        assert_eq!(memory.writers.load(Ordering::Relaxed), 0);
    }
}

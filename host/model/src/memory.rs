//! The run-wide byte budget that batches are charged to, from the decoder to the sink.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, so that a semaphore's `u32` covers terabytes.
const UNIT_BYTES: u64 = 1024;

/// A budget of bytes shared by everything a run holds in memory at one time.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    permits: Arc<Semaphore>,
    capacity_units: u32,
}

impl MemoryBudget {
    /// A budget of `bytes`, at least one KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let capacity_units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        Self { permits: Arc::new(Semaphore::new(capacity_units as usize)), capacity_units }
    }

    /// Waits until `bytes` are free. More than the whole budget counts as the whole budget, so that one batch larger
    /// than it passes alone instead of waiting for ever. Cancel-safe.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.capacity_units);
        // The semaphore is private and never closed, so an error cannot happen; an unlimited reservation is its harmless form.
        let permit = Arc::clone(&self.permits).acquire_many_owned(units).await.ok();
        Reservation { permit }
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.capacity_units) * UNIT_BYTES
    }

    /// What is free now, in bytes.
    #[must_use]
    pub fn available_bytes(&self) -> u64 {
        self.permits.available_permits() as u64 * UNIT_BYTES
    }
}

/// A share of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    /// A reservation of nothing, for batches that no budget covers (tests, previews).
    #[must_use]
    pub fn none() -> Self {
        Self { permit: None }
    }

    /// What is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.permit.as_ref().map_or(0, |p| p.num_permits() as u64 * UNIT_BYTES)
    }
}

/// A batch with its share of the budget. What is made from it (a projection of it) shares the reservation, which is
/// given back when the last of them is gone.
#[derive(Debug, Clone)]
pub struct TrackedBatch {
    batch: RecordBatch,
    reservation: Arc<Reservation>,
    rows_before: u64,
}

impl TrackedBatch {
    /// A batch whose bytes are reserved.
    #[must_use]
    pub fn new(batch: RecordBatch, reservation: Reservation) -> Self {
        Self { batch, reservation: Arc::new(reservation), rows_before: 0 }
    }

    /// A batch no budget covers.
    #[must_use]
    pub fn untracked(batch: RecordBatch) -> Self {
        Self::new(batch, Reservation::none())
    }

    /// The rows.
    #[must_use]
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The same batch, which this many rows of its query came before.
    #[must_use]
    pub fn after_rows(self, rows_before: u64) -> Self {
        Self { rows_before, ..self }
    }

    /// How many rows of its query came before, for messages.
    #[must_use]
    pub fn rows_before(&self) -> u64 {
        self.rows_before
    }

    /// Another batch made from this one, under the same reservation.
    #[must_use]
    pub fn derive(&self, batch: RecordBatch) -> Self {
        Self { batch, reservation: Arc::clone(&self.reservation), rows_before: self.rows_before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_free_again() {
        let budget = MemoryBudget::new(10 * 1024);
        let held = budget.reserve(6 * 1024).await;
        assert_eq!(budget.available_bytes(), 4 * 1024);
        assert_eq!(held.bytes(), 6 * 1024);
        drop(held);
        assert_eq!(budget.available_bytes(), 10 * 1024);
    }

    #[tokio::test]
    async fn more_than_the_budget_waits_for_all_of_it() {
        let budget = MemoryBudget::new(4 * 1024);
        let all = budget.reserve(1 << 40).await;
        assert_eq!(budget.available_bytes(), 0);
        drop(all);
        assert_eq!(budget.available_bytes(), 4 * 1024);
    }

    #[tokio::test]
    async fn a_derived_batch_keeps_the_reservation() {
        let budget = MemoryBudget::new(4 * 1024);
        let batch = RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()));
        let first = TrackedBatch::new(batch.clone(), budget.reserve(2 * 1024).await);
        let second = first.derive(batch);
        drop(first);
        assert_eq!(budget.available_bytes(), 2 * 1024);
        drop(second);
        assert_eq!(budget.available_bytes(), 4 * 1024);
    }
}

//! The run-wide byte budget that batches are charged to, from the decoder to the sink.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB, so that a semaphore's `u32` covers terabytes.
const UNIT_BYTES: u64 = 1024;
/// How often a wait is looked at. Twice without any change in between, and it is without end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A budget of bytes shared by everything a run holds in memory at one time.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
    lane: Option<Lane>,
}

#[derive(Debug)]
struct Shared {
    permits: Arc<Semaphore>,
    capacity_units: u32,
    /// What reservations hold. The semaphore's free permits are less than the rest: it sets some aside for the first one who waits.
    reserved_units: AtomicU64,
    /// Counts every grant, return and wait, so that an unchanged number means that nothing has happened.
    changes: AtomicU64,
    waits: Mutex<Waits>,
}

/// Who waits for the budget while holding a part of it.
#[derive(Debug, Default)]
struct Waits {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    held_units: u64,
    awaited: Lane,
    idle: Vec<Lane>,
}

impl Waiting {
    /// What nobody but this one can give back.
    fn units(&self) -> u64 {
        self.held_units + self.idle.iter().map(|lane| lane.undelivered_units()).sum::<u64>()
    }
}

/// One reader's view of the budget: what it has asked for, and what it has got and not handed on.
#[derive(Debug, Clone, Default)]
struct Lane(Arc<LaneCounts>);

#[derive(Debug, Default)]
struct LaneCounts {
    asking: AtomicU64,
    undelivered_units: AtomicU64,
}

impl Lane {
    fn undelivered_units(&self) -> u64 {
        self.0.undelivered_units.load(Ordering::Acquire)
    }

    fn is_asking(&self) -> bool {
        self.0.asking.load(Ordering::Acquire) > 0
    }
}

/// A wait for the budget that only the one who waits could end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starved {
    /// What the one who waits holds, in bytes.
    pub held_bytes: u64,
    /// The whole budget, in bytes.
    pub capacity_bytes: u64,
}

impl MemoryBudget {
    /// A budget of `bytes`, at least one KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let capacity_units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1);
        let shared = Shared {
            permits: Arc::new(Semaphore::new(capacity_units as usize)),
            capacity_units,
            reserved_units: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            waits: Mutex::default(),
        };
        Self { shared: Arc::new(shared), lane: None }
    }

    /// The same budget, for one reader whose reservations [`Self::holding`] is to know apart.
    #[must_use]
    pub fn for_reader(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), lane: Some(Lane::default()) }
    }

    /// Waits until `bytes` are free. More than the whole budget counts as the whole budget, so that one batch larger
    /// than it passes alone instead of waiting for ever. Cancel-safe.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        let shared = &self.shared;
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).clamp(1, shared.capacity_units);
        let asking = self.lane.as_ref().map(|lane| Asking::new(lane, shared));
        // The semaphore is private and never closed, so an error cannot happen; an unlimited reservation is its harmless form.
        let permit = Arc::clone(&shared.permits).acquire_many_owned(units).await.ok();
        let undelivered = self.lane.as_ref().map(|lane| Undelivered::new(lane, u64::from(units)));
        drop(asking);
        shared.reserved_units.fetch_add(permit.as_ref().map_or(0, |p| p.num_permits() as u64), Ordering::AcqRel);
        shared.changed();
        Reservation { permit, undelivered: Mutex::new(undelivered), shared: Some(Arc::clone(shared)) }
    }

    /// Runs a wait for the next batch of the reader that has `self`, by somebody who meanwhile holds `held_bytes` of the
    /// budget and other readers that nobody reads.
    ///
    /// # Errors
    /// [`Starved`] when the wait has no end: the reader waits for the budget, all of it is in the hands of such waits, and
    /// none of them holds more. The future is dropped then.
    pub async fn holding<T>(
        &self,
        held_bytes: u64,
        idle: &[MemoryBudget],
        wait: impl Future<Output = T>,
    ) -> Result<T, Starved> {
        let idle: Vec<Lane> = idle.iter().filter_map(|budget| budget.lane.clone()).collect();
        let Some(lane) = self.lane.clone().filter(|_| held_bytes > 0 || !idle.is_empty()) else {
            return Ok(wait.await);
        };
        let waiting = Waiting { held_units: held_bytes.div_ceil(UNIT_BYTES), awaited: lane, idle };
        let entry = Entry::new(&self.shared, waiting);
        let mut wait = pin!(wait);
        let mut seen = None;
        loop {
            let changes = self.shared.changes.load(Ordering::Acquire);
            match tokio::time::timeout(LOOK_EVERY, &mut wait).await {
                Ok(value) => return Ok(value),
                Err(_) => match entry.starved().filter(|_| seen == Some(changes) && entry.unchanged(changes)) {
                    Some(starved) => return Err(starved),
                    None => seen = Some(self.shared.changes.load(Ordering::Acquire)),
                },
            }
        }
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.shared.capacity_units) * UNIT_BYTES
    }

    /// What is free now, in bytes.
    #[must_use]
    pub fn available_bytes(&self) -> u64 {
        self.shared.permits.available_permits() as u64 * UNIT_BYTES
    }
}

impl Shared {
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who wait while they hold something.
struct Entry<'a> {
    shared: &'a Shared,
    number: u64,
}

impl<'a> Entry<'a> {
    fn new(shared: &'a Shared, waiting: Waiting) -> Self {
        let mut waits = shared.waits();
        let number = waits.next;
        waits.next += 1;
        waits.waiting.insert(number, waiting);
        drop(waits);
        shared.changed();
        Self { shared, number }
    }

    /// Whether all of the budget that is not free is held by waits for the budget, of which this is the largest.
    fn starved(&self) -> Option<Starved> {
        let waits = self.shared.waits();
        let (mut total, mut largest) = (0_u64, (0_u64, 0_u64));
        for (number, waiting) in waits.waiting.iter().filter(|(_, waiting)| waiting.awaited.is_asking()) {
            let units = waiting.units();
            total += units;
            largest = largest.max((units, *number));
        }
        let reserved = self.shared.reserved_units.load(Ordering::Acquire);
        let capacity = u64::from(self.shared.capacity_units);
        let mine = largest.1 == self.number && largest.0 > 0;
        (mine && total >= reserved)
            .then_some(Starved { held_bytes: largest.0 * UNIT_BYTES, capacity_bytes: capacity * UNIT_BYTES })
    }

    fn unchanged(&self, changes: u64) -> bool {
        self.shared.changes.load(Ordering::Acquire) == changes
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.shared.waits().waiting.remove(&self.number);
        self.shared.changed();
    }
}

/// A reader is waiting for a reservation.
struct Asking<'a> {
    lane: &'a Lane,
    shared: &'a Shared,
}

impl<'a> Asking<'a> {
    fn new(lane: &'a Lane, shared: &'a Shared) -> Self {
        lane.0.asking.fetch_add(1, Ordering::AcqRel);
        shared.changed();
        Self { lane, shared }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.lane.0.asking.fetch_sub(1, Ordering::AcqRel);
        self.shared.changed();
    }
}

/// A reader's share that it has not handed on.
#[derive(Debug)]
struct Undelivered {
    lane: Lane,
    units: u64,
}

impl Undelivered {
    fn new(lane: &Lane, units: u64) -> Self {
        lane.0.undelivered_units.fetch_add(units, Ordering::AcqRel);
        Self { lane: lane.clone(), units }
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        self.lane.0.undelivered_units.fetch_sub(self.units, Ordering::AcqRel);
    }
}

/// A share of a [`MemoryBudget`], given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
    undelivered: Mutex<Option<Undelivered>>,
    shared: Option<Arc<Shared>>,
}

impl Reservation {
    /// A reservation of nothing, for batches that no budget covers (tests, previews).
    #[must_use]
    pub fn none() -> Self {
        Self { permit: None, undelivered: Mutex::default(), shared: None }
    }

    /// What is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.permit.as_ref().map_or(0, |p| p.num_permits() as u64 * UNIT_BYTES)
    }

    /// The reader has handed it on.
    fn deliver(&self) {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.shared.iter().for_each(|shared| shared.changed());
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let units = self.permit.take().map_or(0, |permit| permit.num_permits() as u64);
        if let Some(shared) = &self.shared {
            shared.reserved_units.fetch_sub(units, Ordering::AcqRel);
            shared.changed();
        }
    }
}

/// A bound on bytes that are held without waiting for one another: over it is an error, not a wait.
#[derive(Debug, Clone)]
pub struct ByteLimit(Arc<Held>);

#[derive(Debug)]
struct Held {
    bytes: AtomicU64,
    capacity_bytes: u64,
}

/// More would be held than a [`ByteLimit`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overfull {
    /// The whole limit, in bytes.
    pub capacity_bytes: u64,
}

impl ByteLimit {
    /// Nothing held, of at most `capacity_bytes`.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self(Arc::new(Held { bytes: AtomicU64::new(0), capacity_bytes }))
    }

    /// Takes `bytes`, unless that is too much.
    ///
    /// # Errors
    /// [`Overfull`]
    pub fn charge(&self, bytes: u64) -> Result<Charge, Overfull> {
        let Held { bytes: held, capacity_bytes } = &*self.0;
        let more = |now: u64| now.checked_add(bytes).filter(|sum| sum <= capacity_bytes);
        match held.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Charge { limit: self.clone(), bytes }),
            Err(_) => Err(Overfull { capacity_bytes: *capacity_bytes }),
        }
    }

    /// What is held now, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Acquire)
    }
}

/// A part of a [`ByteLimit`], given back when dropped.
#[derive(Debug)]
pub struct Charge {
    limit: ByteLimit,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limit.0.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
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

    /// From here on it is not its reader's any more, but of whoever holds it.
    pub fn delivered(&self) {
        self.reservation.deliver();
    }

    /// Its share of the budget: which (equal for batches that share one), and how many bytes.
    #[must_use]
    pub fn share(&self) -> (usize, u64) {
        (Arc::as_ptr(&self.reservation).addr(), self.reservation.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

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
        assert_eq!(first.share(), second.share());
        drop(first);
        assert_eq!(budget.available_bytes(), 2 * 1024);
        drop(second);
        assert_eq!(budget.available_bytes(), 4 * 1024);
    }

    #[test]
    fn a_byte_limit_refuses_what_is_over_it() {
        let limit = ByteLimit::new(10);
        let held = limit.charge(6).unwrap();
        assert_eq!(limit.charge(5).unwrap_err(), Overfull { capacity_bytes: 10 });
        assert_eq!(limit.charge(u64::MAX).unwrap_err(), Overfull { capacity_bytes: 10 });
        assert_eq!(limit.held_bytes(), 6);
        drop(held);
        assert!(limit.charge(10).is_ok());
    }

    #[tokio::test]
    async fn a_wait_for_what_the_waiting_one_holds_is_starved() {
        let budget = MemoryBudget::new(12 * MIB);
        let reader = budget.for_reader();
        let held = reader.reserve(10 * MIB).await;
        held.deliver();
        let starved = reader.holding(held.bytes(), &[], reader.reserve(4 * MIB)).await.unwrap_err();
        assert_eq!(starved, Starved { held_bytes: 10 * MIB, capacity_bytes: 12 * MIB });
        drop(held);
        assert_eq!(reader.holding(0, &[], reader.reserve(4 * MIB)).await.unwrap().bytes(), 4 * MIB);
    }

    #[tokio::test]
    async fn a_wait_that_others_can_end_goes_on() {
        let budget = MemoryBudget::new(12 * MIB);
        let reader = budget.for_reader();
        let held = budget.reserve(6 * MIB).await;
        // A sink that takes its time.
        let written = budget.reserve(6 * MIB).await;
        tokio::spawn(async move {
            tokio::time::sleep(3 * LOOK_EVERY).await;
            drop(written);
        });
        assert!(reader.holding(held.bytes(), &[], reader.reserve(4 * MIB)).await.is_ok());
        // A slow server, while nobody waits for the budget.
        let slow = tokio::time::sleep(3 * LOOK_EVERY);
        assert!(reader.holding(held.bytes(), &[], slow).await.is_ok());
    }

    #[tokio::test]
    async fn of_two_that_starve_each_other_the_larger_gets_an_error() {
        let budget = MemoryBudget::new(12 * MIB);
        let (large, small) = (budget.for_reader(), budget.for_reader());
        let held = (large.reserve(8 * MIB).await, small.reserve(4 * MIB).await);
        held.0.deliver();
        held.1.deliver();
        let asks = |reader: MemoryBudget, held: Reservation| async move {
            let asked = reader.holding(held.bytes(), &[], reader.reserve(4 * MIB)).await;
            drop(held);
            asked.map(|reservation| reservation.bytes())
        };
        let (large, small) = tokio::join!(asks(large, held.0), asks(small, held.1));
        assert_eq!(large.unwrap_err().held_bytes, 8 * MIB);
        assert_eq!(small.unwrap(), 4 * MIB);
    }

    #[tokio::test]
    async fn readers_that_nobody_reads_count_as_held() {
        let budget = MemoryBudget::new(12 * MIB);
        let (idle, reader) = (budget.for_reader(), budget.for_reader());
        let waiting = idle.reserve(12 * MIB).await;
        let starved = reader.holding(0, std::slice::from_ref(&idle), reader.reserve(MIB)).await.unwrap_err();
        assert_eq!(starved.held_bytes, 12 * MIB);
        drop(waiting);
        assert!(reader.holding(0, &[idle], reader.reserve(MIB)).await.is_ok());
    }
}

//! Work: what host calls compute for a guest, counted before it is done, so that it counts the same on every machine.
//!
//! One unit stands for a nanosecond, and a byte that a kernel looks at for one unit. A guest's time is bounded by
//! `limits.guest.max_guest_cpu_ms`, whether the guest spends it in its own code or in the host's.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::error::ColumnarError;

/// What a row costs besides its bytes.
pub(super) const ROW_UNITS: u64 = 16;
const UNITS_PER_MS: u64 = 1_000_000;

/// Counts the work of host calls up to a limit. Clones share the count.
#[derive(Debug, Clone)]
pub struct Meter(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limit: u64,
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Meter {
    /// Nothing done, of at most `limit` units.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Counts { limit, done: AtomicU64::new(0), stopped: AtomicBool::new(false) }))
    }

    /// Counts without a bound.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// What was done, and what was refused, in units.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Whether more was asked for than the limit allows.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.done() > self.0.limit
    }

    /// The work ends at its next step: nobody waits for its result.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }

    /// Before work of so many units.
    pub(crate) fn charge(&self, units: u64) -> Result<(), ColumnarError> {
        let add = |done: u64| Some(done.saturating_add(units));
        let before = self.0.done.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or(u64::MAX);
        if self.0.stopped.load(Ordering::Relaxed) {
            return Err(ColumnarError::Unexpected {
                what: "work of a cancelled call",
                message: "it was stopped".into(),
            });
        }
        let done = before.saturating_add(units);
        if done <= self.0.limit {
            return Ok(());
        }
        Err(ColumnarError::Limit {
            what: "milliseconds of work in one call".to_owned(),
            limit: "limits.guest.max_guest_cpu_ms",
            value: self.0.limit / UNITS_PER_MS,
            requested: done.div_ceil(UNITS_PER_MS),
        })
    }

    /// Kernels below count here, until the guard is dropped.
    pub(super) fn enter(&self) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

/// A meter is the current one of this thread; the one before comes back when this is dropped.
pub(super) struct Entered(Option<Meter>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Before work of so many units, on the meter of this thread.
pub(super) fn charge(units: u64) -> Result<(), ColumnarError> {
    CURRENT.with_borrow(|meter| meter.as_ref().map_or(Ok(()), |meter| meter.charge(units)))
}

/// What looking at every value of an array costs.
pub(super) fn units(array: &dyn Array) -> u64 {
    let rows = array.len() as u64;
    let bytes = match array.data_type() {
        DataType::Utf8 => span(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => span(array.as_string::<i64>().value_offsets()),
        DataType::Binary => span(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => span(array.as_binary::<i64>().value_offsets()),
        DataType::List(_) | DataType::Struct(_) => array.to_data().get_slice_memory_size().unwrap_or(0) as u64,
        DataType::FixedSizeBinary(width) => rows.saturating_mul(u64::from(width.unsigned_abs())),
        _ => 0,
    };
    bytes.saturating_add(rows.saturating_mul(ROW_UNITS))
}

fn span<O: Copy + Into<i64>>(offsets: &[O]) -> u64 {
    let (first, last) = (offsets.first().copied().map(Into::into), offsets.last().copied().map(Into::into));
    first.zip(last).map_or(0, |(first, last): (i64, i64)| u64::try_from(last - first).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use datakit_model::Diagnostic as _;

    use super::*;

    #[test]
    fn work_beyond_the_limit_is_refused_and_stays_refused() {
        let meter = Meter::new(5 * UNITS_PER_MS);
        meter.charge(4 * UNITS_PER_MS).unwrap();
        assert!(!meter.is_exhausted());
        let error = meter.charge(2 * UNITS_PER_MS).unwrap_err();
        assert_eq!(error.code(), "DK-KIT-101");
        assert_eq!(
            error.to_string(),
            "milliseconds of work in one call: 6 exceeds the limit limits.guest.max_guest_cpu_ms = 5"
        );
        assert!(meter.is_exhausted());
        assert!(meter.charge(0).is_err());
        assert!(meter.charge(u64::MAX).is_err());
    }

    #[test]
    fn stopped_work_ends_at_its_next_step() {
        let meter = Meter::unlimited();
        let _entered = meter.enter();
        charge(1).unwrap();
        meter.stop();
        assert!(charge(1).is_err());
    }
}

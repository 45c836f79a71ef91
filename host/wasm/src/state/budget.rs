//! What one call of an export may still use: processor time, its own and that of its host calls, and host calls.

use datakit_model::GuestLimits;

use crate::engine::{Clock, TICK};
use crate::error::{Call, Limit, WasmError};
use datakit_columnar::Meter;

/// Units of work in one tick.
const UNITS_PER_TICK: u64 = TICK.as_nanos() as u64;

/// Counts guest ticks: epochs in which guest code ran. An epoch spent waiting in a host call is not one.
pub(crate) struct Budget {
    clock: Clock,
    call: Call,
    max_cpu_ms: u64,
    max_ticks: u64,
    max_host_calls: u64,
    ticks: u64,
    /// What host calls have computed, in units of work (nanoseconds).
    work: u64,
    host_calls: u64,
    waited: bool,
}

impl Budget {
    pub(crate) fn new(limits: &GuestLimits, clock: Clock) -> Self {
        let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(1).max(1);
        Self {
            clock,
            call: Call::Instantiate,
            max_cpu_ms: limits.max_guest_cpu_ms,
            max_ticks: limits.max_guest_cpu_ms.div_ceil(tick_ms),
            max_host_calls: limits.max_host_calls,
            ticks: 0,
            work: 0,
            host_calls: 0,
            waited: false,
        }
    }

    pub(crate) fn call(&self) -> Call {
        self.call
    }

    pub(crate) fn begin(&mut self, call: Call) {
        self.call = call;
        self.ticks = 0;
        self.work = 0;
        self.host_calls = 0;
        self.waited = false;
    }

    /// The guest was running when an epoch ended.
    pub(crate) fn tick(&mut self) -> Result<(), WasmError> {
        // The first tick after a wait stands for the epochs of the wait.
        if std::mem::take(&mut self.waited) {
            return Ok(());
        }
        self.ticks += 1;
        self.check()
    }

    /// Host calls computed so much, or were asked to.
    pub(crate) fn charge_work(&mut self, units: u64) -> Result<(), WasmError> {
        self.work = self.work.saturating_add(units);
        self.check()
    }

    /// The work of one host call is done, or was refused.
    pub(crate) fn settle(&mut self, meter: &Meter) -> Result<(), WasmError> {
        self.charge_work(meter.done())?;
        if meter.is_exhausted() { Err(self.over()) } else { Ok(()) }
    }

    /// Counts the work of one host call: as much as the call of the export has left.
    pub(crate) fn meter(&self) -> Meter {
        let left = self.max_ticks.saturating_sub(self.ticks).saturating_mul(UNITS_PER_TICK);
        Meter::new(left.saturating_sub(self.work))
    }

    fn check(&self) -> Result<(), WasmError> {
        if self.ticks.saturating_add(self.work / UNITS_PER_TICK) <= self.max_ticks {
            return Ok(());
        }
        Err(self.over())
    }

    fn over(&self) -> WasmError {
        let what = format!("the datakit and its host calls computed for more than {} ms", self.max_cpu_ms);
        WasmError::over(Limit::Cpu, self.max_cpu_ms, what, self.call)
    }

    /// One host call begins.
    pub(crate) fn host_call(&mut self) -> Result<HostCall, WasmError> {
        self.host_calls += 1;
        if self.host_calls <= self.max_host_calls {
            return Ok(HostCall { began_at: self.clock.ticks() });
        }
        let what = format!("the datakit made more than {} host calls", self.max_host_calls);
        Err(WasmError::over(Limit::HostCalls, self.max_host_calls, what, self.call))
    }

    /// It ends. Only a call that spanned an epoch's end gives the guest a free tick, so that many short calls give none.
    pub(crate) fn host_call_ended(&mut self, call: HostCall) {
        if self.clock.ticks() != call.began_at {
            self.waited = true;
        }
    }
}

/// Work that is estimated at more is done on a thread of its own kind: the threads of async tasks serve everybody else, too.
const INLINE_UNITS: u64 = 20_000_000;

/// Does the work of a host call. When nobody waits for it any more, it ends at its next step.
pub(crate) async fn compute<T: Send + 'static>(
    meter: &Meter,
    estimate: u64,
    work: impl FnOnce(&Meter) -> T + Send + 'static,
) -> Result<T, WasmError> {
    if estimate <= INLINE_UNITS {
        return Ok(work(meter));
    }
    let (stop, counted) = (StopOnDrop(meter.clone()), meter.clone());
    let done = tokio::task::spawn_blocking(move || work(&counted)).await;
    drop(stop);
    done.map_err(|error| match error.try_into_panic() {
        // It ends this instance alone, as one on this thread would.
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => WasmError::Engine { reason: format!("a host call was cut off: {error}") },
    })
}

struct StopOnDrop(Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A host call on its way.
#[must_use]
pub(crate) struct HostCall {
    began_at: u64,
}

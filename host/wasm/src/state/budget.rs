//! What one call of an export may still use: processor time and host calls.

use datakit_model::GuestLimits;

use crate::engine::{Clock, TICK};
use crate::error::{Call, Limit, WasmError};

/// Counts guest ticks: epochs in which guest code ran. An epoch spent waiting in a host call is not one.
pub(crate) struct Budget {
    clock: Clock,
    call: Call,
    max_cpu_ms: u64,
    max_ticks: u64,
    max_host_calls: u64,
    ticks: u64,
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
        if self.ticks <= self.max_ticks {
            return Ok(());
        }
        let what = format!("the datakit computed for more than {} ms", self.max_cpu_ms);
        Err(WasmError::over(Limit::Cpu, self.max_cpu_ms, what, self.call))
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

/// A host call on its way.
#[must_use]
pub(crate) struct HostCall {
    began_at: u64,
}

//! The wasmtime engine, and the thread that makes its clock tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use datakit_model::GuestLimits;
use wasmtime::{Config, Engine, OptLevel};

use crate::error::WasmError;

/// Length of one epoch. A guest is asked for its time, and lets others run, once in so long.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// What host functions may use of the stack beyond the guest's share: they run on the guest's stack, and planning an
/// expression or decoding a batch must not depend on how deep the guest was. Pages are touched only when used.
const HOST_STACK_BYTES: u64 = 8 * 1024 * 1024;

/// An engine for guests under `limits`.
pub(crate) fn engine(limits: &GuestLimits) -> Result<Engine, WasmError> {
    let failed = |reason: String| WasmError::Engine { reason };
    let stack =
        |bytes: u64| usize::try_from(bytes).map_err(|_| failed(format!("a stack of {bytes} bytes is too large")));
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        // The same inputs give the same bits on every machine, so that a run can be repeated.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .max_wasm_stack(stack(limits.max_guest_stack_bytes)?)
        .async_stack_size(stack(limits.max_guest_stack_bytes.saturating_add(HOST_STACK_BYTES))?);
    Engine::new(&config).map_err(|error| failed(format!("{error:#}")))
}

/// Advances the engine's epoch every [`TICK`] while at least one guest runs; sleeps otherwise.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    ticks: AtomicU64,
    running: AtomicUsize,
    stop: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(crate) fn start(engine: &Engine) -> Result<Self, WasmError> {
        let shared =
            Arc::new(Shared { ticks: AtomicU64::new(0), running: AtomicUsize::new(0), stop: AtomicBool::new(false) });
        let (seen, engine) = (Arc::clone(&shared), engine.weak());
        let handle = thread::Builder::new()
            .name("datakit-epoch".to_owned())
            .spawn(move || {
                while !seen.stop.load(Ordering::Acquire) {
                    if seen.running.load(Ordering::Acquire) == 0 {
                        // A guest that starts just now unparks the thread, even before it parks.
                        thread::park();
                        continue;
                    }
                    thread::sleep(TICK);
                    let Some(engine) = engine.upgrade() else { return };
                    engine.increment_epoch();
                    seen.ticks.fetch_add(1, Ordering::Relaxed);
                }
            })
            .map_err(|error| WasmError::Engine { reason: format!("no thread for the clock: {error}") })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// The clock runs as long as the guard lives.
    pub(crate) fn run(&self) -> Running {
        if self.shared.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running(Arc::clone(&self.shared))
    }

    /// A view of the clock.
    pub(crate) fn clock(&self) -> Clock {
        Clock(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A guest is running.
pub(crate) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The ticks so far.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Shared>);

impl Clock {
    pub(crate) fn ticks(&self) -> u64 {
        self.0.ticks.load(Ordering::Relaxed)
    }
}

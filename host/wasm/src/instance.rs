//! One instance of a datakit: made, called, and judged by how a call ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datakit_model::GuestLimits;
use futures::FutureExt as _;
use wasmtime::{Engine, Store, StoreContextMut, Trap, UpdateDeadline};

use crate::engine::{Running, Ticker};
use crate::error::{Call, Limit, WasmError};
use crate::guest_error::ErrorRecord;
use crate::state::State;
use crate::text::Text;
use crate::v0_2::{Exports, ExportsPre};

/// What one call may hand to the host besides an IPC stream of the largest size: names, texts, the list itself.
const TRANSFER_SLACK_BYTES: u64 = 1024 * 1024;
/// Handles of a guest's own resources (extractions, WASI streams) beyond those the host counts itself, and beyond one for each
/// table that it describes or plans.
const OWN_HANDLES: u64 = 4096;

/// A store with a datakit in it.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) exports: Exports,
    ticker: Arc<Ticker>,
    running: Option<Running>,
    usable: bool,
}

impl Instance {
    /// A fresh one, with its own memory.
    pub(crate) async fn new(
        engine: &Engine,
        ticker: &Arc<Ticker>,
        component: &ExportsPre,
        state: State,
    ) -> Result<Self, WasmError> {
        let mut store = Store::new(engine, state);
        configure(&mut store);
        store.data_mut().begin(Call::Instantiate);
        let running = ticker.run();
        let made = guarded(component.instantiate(&mut store)).await;
        drop(running);
        match made {
            Ok(exports) => Ok(Self { store, exports, ticker: Arc::clone(ticker), running: None, usable: true }),
            Err(error) => Err(judge(error, store.data_mut())),
        }
    }

    /// Before a call of an export. The instance is unusable from here to [`Self::finish`], so that a cancelled call
    /// leaves one that refuses further calls.
    pub(crate) fn begin(&mut self, call: Call) -> Result<(), WasmError> {
        if !std::mem::replace(&mut self.usable, false) {
            return Err(WasmError::Unusable);
        }
        self.store.data_mut().begin(call);
        self.store.set_epoch_deadline(1);
        self.running = Some(self.ticker.run());
        Ok(())
    }

    /// After it.
    pub(crate) fn finish<T>(&mut self, ended: wasmtime::Result<T>) -> Result<T, WasmError> {
        self.running = None;
        match ended {
            Ok(value) => {
                self.store.data_mut().end();
                self.usable = true;
                Ok(value)
            }
            Err(error) => Err(self.fail(|state| judge(error, state))),
        }
    }

    /// Turns the guest's own error into ours; a guest may be called again after it, but there is no reason to.
    pub(crate) fn returned(&mut self, error: ErrorRecord) -> WasmError {
        self.fail(|state| state.failures.returned(error))
    }

    /// Ends the instance: its queries are cancelled and its batches freed now, whoever still holds it.
    pub(crate) fn fail(&mut self, error: impl FnOnce(&mut State) -> WasmError) -> WasmError {
        self.usable = false;
        let state = self.store.data_mut();
        let error = error(state);
        state.abandon();
        error
    }
}

/// Awaits a call of an export. A panic of the host in one of its host calls ends this instance alone: wasmtime carries it
/// through the guest, and it stops here.
pub(crate) async fn guarded<T>(call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(WasmError::HostPanicked { message: Text::message(message).into_inner() }.into())
        }
    }
}

fn configure(store: &mut Store<State>) {
    let limits: Arc<GuestLimits> = Arc::clone(&store.data().limits);
    store.limiter(|state| &mut state.growth);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context: StoreContextMut<'_, State>| {
        context.data_mut().budget.tick()?;
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(size(limits.max_ipc_bytes.saturating_add(TRANSFER_SLACK_BYTES)));
    let handles = limits.max_handles.saturating_add(limits.max_tables).saturating_add(OWN_HANDLES);
    store.set_max_component_handles(size(handles));
}

/// Why a call ended as it did.
fn judge(error: wasmtime::Error, state: &mut State) -> WasmError {
    let call = state.call();
    let error = match error.downcast::<WasmError>() {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    if let Some(denied) = state.growth.denied(call) {
        return denied;
    }
    let log = state.log.kept();
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => {
            let what = "the datakit's stack is exhausted";
            return WasmError::over(Limit::Stack, state.limits.max_guest_stack_bytes, what, call);
        }
        Some(Trap::UnreachableCodeReached) => {
            if let Some(message) = log.last().and_then(|line| line.strip_prefix(PANIC_PREFIX)) {
                return WasmError::Panicked { call, message: message.to_owned(), log };
            }
        }
        _ => {}
    }
    let reason = Text::message(&error.root_cause().to_string()).into_inner();
    if reason.contains(FUEL_MESSAGE) {
        let what = "the datakit handed more bytes to the host at once than one IPC stream may have";
        return WasmError::over(Limit::TransferBytes, state.limits.max_ipc_bytes, what, call);
    }
    WasmError::Trapped { call, reason, log, written: state.log.written() }
}

/// How the SDK's panic hook begins its line: the last thing a guest says before the trap.
const PANIC_PREFIX: &str = "the datakit panicked: ";
/// How wasmtime says that a call transferred too much; its type is private. A test holds it to the text.
const FUEL_MESSAGE: &str = "fuel allocated for hostcalls has been exhausted";

#[cfg(test)]
mod tests;

//! Core modules no compiler writes, put into components by hand: what a Rust guest cannot do.

use wasmtime::component::{Component, Linker};

use super::*;
use crate::engine::engine;
use crate::state::{GuestLog, Speaker};
use datakit_model::datakit::RunLog;

/// `(module (table 0 funcref) (func $start …) (start $start))`
fn module(start: &[u8]) -> Vec<u8> {
    let body_bytes = u8::try_from(start.len() + 2).unwrap();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend([1, 4, 1, 0x60, 0, 0]); // one type: no parameters, no results
    module.extend([3, 2, 1, 0]); // one function of it
    module.extend([4, 4, 1, 0x70, 0, 0]); // one empty table of functions
    module.extend([5, 3, 1, 0, 0]); // one empty memory
    module.extend([8, 1, 0]); // the function is the start
    module.extend([10, body_bytes + 2, 1, body_bytes, 0]);
    module.extend(start);
    module.push(0x0b);
    module
}

/// A component that instantiates the module.
fn component(module: &[u8]) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.extend([1, u8::try_from(module.len()).unwrap()]);
    component.extend(module);
    component.extend([2, 4, 1, 0, 0, 0]);
    component
}

async fn instantiate(start: &[u8], limits: GuestLimits) -> Result<(), WasmError> {
    let engine = engine(&limits).unwrap();
    let ticker = Ticker::start(&engine).unwrap();
    let limits = Arc::new(limits);
    let log = GuestLog::new(
        Speaker { run_id: String::new(), datakit: String::new() },
        Arc::clone(&limits),
        RunLog::default(),
    );
    let mut store = Store::new(&engine, State::new(limits, ticker.clock(), None, Arc::from([]), log));
    configure(&mut store);
    let _running = ticker.run();
    let component = Component::from_binary(&engine, &component(&module(start))).unwrap();
    let made = Linker::new(&engine).instantiate_async(&mut store, &component).await;
    made.map(|_| ()).map_err(|error| judge(error, store.data_mut()))
}

/// Grows something, and traps when that is denied.
const GROW_TABLE: &[u8] = &[0xd0, 0x70, 0x41, 0xc0, 0x9a, 0x0c, 0xfc, 0x0f, 0, 0x41, 0, 0x48, 0x04, 0x40, 0, 0x0b];
const GROW_MEMORY: &[u8] = &[0x41, 0x80, 0x80, 0x01, 0x40, 0, 0x41, 0, 0x48, 0x04, 0x40, 0, 0x0b];

#[tokio::test]
async fn a_table_that_grows_too_far_is_the_reason_of_the_trap() {
    let error = instantiate(GROW_TABLE, GuestLimits::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the datakit's tables would grow to 200000 elements in `instantiation`; \
         limits.guest.max_guest_table_elements = 100000"
    );
    let more = GuestLimits { max_guest_table_elements: 200_000, ..GuestLimits::default() };
    instantiate(GROW_TABLE, more).await.unwrap();
}

#[tokio::test]
async fn a_memory_that_grows_too_far_is_the_reason_of_the_trap() {
    let error = instantiate(GROW_MEMORY, GuestLimits::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the datakit's memory would grow to 1073741824 bytes in `instantiation`; \
         limits.guest.max_guest_memory_bytes = 268435456"
    );
}

#[tokio::test]
async fn a_loop_in_the_start_function_is_cut() {
    let limits = GuestLimits { max_guest_cpu_ms: 20, ..GuestLimits::default() };
    let error = instantiate(&[0x03, 0x40, 0x0c, 0, 0x0b], limits).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the datakit and its host calls computed for more than 20 ms in `instantiation`; limits.guest.max_guest_cpu_ms = 20"
    );
}

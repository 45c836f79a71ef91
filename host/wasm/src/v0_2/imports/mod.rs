//! The host calls: everything a guest can do to the outside.

mod batches;
mod changes;
mod files;
mod log;
mod plans;
mod projections;
mod quality;
mod run;
mod sql;

use datakit_model::Failure;
use wasmtime::component::{HasSelf, Linker};

use super::bindings::{SourceDatakit, types};
use super::convert;
use crate::state::State;

/// Adds the host calls of the WIT.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    SourceDatakit::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl types::Host for State {}

impl State {
    /// What the guest is told of an error it may handle; what it may not handle is an error of the host call.
    fn guest_error<T>(&mut self, result: Result<T, impl Into<Failure>>) -> Result<T, types::Error> {
        result.map_err(|error| self.failures.guest_error(error).into())
    }
}

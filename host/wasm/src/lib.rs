//! Engine, bindings, grants and limits of datakits.
//!
//! A [`Runtime`] compiles components (or takes their code from a cache) into [`Datakit`]s. A datakit answers four
//! questions, each in an instance of its own: what it is ([`Datakit::describe`]), which tables there are
//! ([`Datakit::discover`]), how to cut them ([`Datakit::plan`]) and what a partition's rows are ([`Datakit::extract`]).
//!
//! A guest is not trusted. Its memory, stack, processor time, host calls, handles and bytes are bounded
//! ([`datakit_model::GuestLimits`]); everything it returns is checked before anyone else sees it; it reaches a source
//! only through a role it declared and the operator mapped ([`datakit_model::datakit::Session::roles`]). What it breaks is its own instance: it
//! ends with a [`WasmError`] that names what happened, and the host and every other instance go on.
//!
//! The rooms inside: `engine` (wasmtime, the epoch ticker), `bounded` (compiling, in a process of its own), `cache` (compiled code on disk), `inspect` (is it a datakit,
//! what does it import), `state` (what an instance holds and may still use), `v0_2` (bindings, host calls and exports of one version of
//! the WIT), `filled` (what a guest filled in), `check` (whether it is acceptable), `project` (projections of batches, and rows that they
//! reject).

pub mod bounded;
mod cache;
mod check;
mod datakit;
mod engine;
mod error;
mod extraction;
mod filled;
mod guest_error;
mod inspect;
mod instance;
mod project;
mod runtime;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod v0_2;
mod wasi;

pub use datakit::Datakit;
pub use error::{Call, Cause, GuestError, Limit, WasmError};
pub use extraction::Extraction;
pub use runtime::{Compilation, Runtime, RuntimeConfig};

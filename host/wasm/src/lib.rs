//! Engine, bindings, grants, limits and columnar operations of datakits.
//!
//! A [`Runtime`] compiles components (or takes their code from a cache) into [`Datakit`]s. A datakit answers four
//! questions, each in an instance of its own: what it is ([`Datakit::describe`]), which tables there are
//! ([`Datakit::discover`]), how to cut them ([`Datakit::plan`]) and what a partition's rows are ([`Datakit::extract`]).
//!
//! A guest is not trusted. Its memory, stack, processor time, host calls, handles and bytes are bounded
//! ([`datakit_model::GuestLimits`]); everything it returns is checked before anyone else sees it; it reaches a source
//! only through a role it declared and the operator mapped ([`Session::roles`]). What it breaks is its own instance: it
//! ends with a [`WasmError`] that names what happened, and the host and every other instance go on.
//!
//! The rooms inside: `engine` (wasmtime, the epoch ticker), `bounded` (compiling, in a process of its own), `cache` (compiled code on disk), `inspect` (is it a datakit,
//! what does it import), `state` (what an instance holds and may still use), `imports` (the host calls), `check` (what a
//! guest returned), `columnar` (projections, Arrow IPC, the text form of types).

mod bindings;
pub mod bounded;
mod cache;
mod check;
pub mod columnar;
mod convert;
mod datakit;
mod engine;
mod error;
mod extraction;
mod imports;
mod inspect;
mod instance;
mod runtime;
mod session;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod wasi;

pub use bounded::Verdict;
pub use datakit::Datakit;
pub use error::{Call, Cause, GuestError, Limit, WasmError};
pub use extraction::Extraction;
pub use runtime::{Runtime, RuntimeConfig};
pub use session::{
    Discovery, Info, InvalidTable, Partition, Role, RunLog, Session, Table, TableKind, TablePlan, Watermarks,
};

//! The WIT as Rust: types and traits that wasmtime generates from `wit/`.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "source-datakit",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "datakit:kit/batches.batch": crate::state::BatchHandle,
        "datakit:kit/batches.projection": crate::state::ProjectionHandle,
        "datakit:kit/connections.connection": crate::state::ConnectionHandle,
        "datakit:kit/connections.reader": crate::state::ReaderHandle,
    },
});

pub use datakit::kit::{batches, connections, log, run, types};
pub use exports::datakit::kit::datakit as kit;

/// The WIT package and version this host serves.
pub const PACKAGE: &str = "datakit:kit";
/// See [`PACKAGE`].
pub const VERSION: &str = "0.1.0";
/// The interfaces of [`PACKAGE`] a datakit may import.
pub const IMPORTS: [&str; 5] = ["types", "batches", "connections", "run", "log"];
/// The interface of [`PACKAGE`] a datakit exports.
pub const EXPORT: &str = "datakit";

//! The WIT as Rust: types and traits that wasmtime generates from `wit/`.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "source-datakit",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "datakit:kit/batches.batch": crate::state::BatchHandle,
        "datakit:kit/batches.reader": crate::state::ReaderHandle,
        "datakit:kit/projections.projection-builder": crate::state::BuilderHandle,
        "datakit:kit/projections.projection": crate::state::ProjectionHandle,
        "datakit:kit/sql.connection": crate::state::ConnectionHandle,
        "datakit:kit/sql.query": crate::state::QueryHandle,
        "datakit:kit/files.format": crate::state::FormatHandle,
        "datakit:kit/files.read-request": crate::state::FilesHandle,
        "datakit:kit/files.folder": crate::state::FolderHandle,
        "datakit:kit/changes.change-request": crate::state::ChangesHandle,
        "datakit:kit/changes.change-feed": crate::state::FeedHandle,
        "datakit:kit/plans.description": crate::state::DescriptionHandle,
        "datakit:kit/plans.discovery-request": crate::state::DiscoveryHandle,
        "datakit:kit/plans.table-description": crate::state::TableHandle,
        "datakit:kit/plans.quality-rule": crate::state::RuleHandle,
        "datakit:kit/plans.table-plan": crate::state::PlanHandle,
        "datakit:kit/plans.partition": crate::state::PartitionHandle,
    },
});

pub(super) use datakit::kit::{batches, changes, files, log, plans, projections, run, sql, types};

/// The WIT package and version this host serves.
pub(crate) const PACKAGE: &str = "datakit:kit";
/// See [`PACKAGE`].
pub(crate) const VERSION: &str = "0.2.0";
/// The interfaces of [`PACKAGE`] a datakit may import.
pub(crate) const IMPORTS: [&str; 9] =
    ["types", "batches", "projections", "sql", "files", "changes", "plans", "run", "log"];
/// The interface of [`PACKAGE`] a datakit exports.
pub(crate) const EXPORT: &str = "extractor";

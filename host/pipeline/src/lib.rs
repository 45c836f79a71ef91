//! Resolve, check, discover, plan, work, commit: the one room that knows both a source and a sink.
//!
//! ```text
//! resolve ─ verify ─ load ─ describe ─ roles, grants, settings ─ discover ─ select ─ plan
//!                                                                                     │
//!                     ┌───────────────────────────────────────────────────────────────┘
//!                     ▼
//!   table ─ partition ─ extraction (decode │ project) ─▶ channel ─▶ partition writer (encode) ─┐
//!         └ partition ─ …                                                                      ├─ one commit
//!         └ partition ─ …                                                                     ─┘
//! ```
//!
//! - [`resolve()`]: lock file, cache, registry: which bytes run;
//! - [`Job`]: a loaded datakit with its roles, sink, grant and settings, checked before anything is opened;
//! - [`discover`], [`plan`], [`preview`], [`run()`]: what a person can ask of a job;
//! - [`reconcile()`]: source against sink, after loads;
//! - `backfill`: columns of rows that are there get the values of the source;
//! - [`run_together`]: several loads that read the same and write to different sinks (`positions`: which read the same; `shared`,
//!   `followed`: how they read it once);
//! - `quality`: the rules of a table, checked before its commit;
//! - [`RunEvent`] and [`Observer`]: what happens, as it happens; [`Summary`]: what has happened.
//!
//! A table fails by itself: its partitions stop, nothing of it is visible, the other tables go on. The unit of retry is the
//! sink's: a partition, or the table.

mod backfill;
mod context;
mod error;
mod event;
mod followed;
mod job;
mod opening;
mod partition;
mod positions;
mod prepare;
mod quality;
mod reach;
mod reconcile;
mod rejected;
mod resolve;
mod resume;
mod retry;
mod run;
mod select;
mod shared;
mod sieve;
mod summary;
mod table;
mod together;
mod trace;
mod writing;

pub use backfill::BackfillRequest;
pub use error::RunError;
pub use event::{EVENT_VERSION, NoticeLevel, Observer, PlanningStep, RunEvent, VersionedEvent};
pub use job::{Artifact, Destination, Job, JobParts, OwnParts, RoleSources, RunRequest, batch_id, new_run_id};
pub use prepare::Prepared;
pub use reconcile::{
    Difference, Differences, DifferingRange, NamedKey, ReconcileError, Reconciled, ReconciledTable, Reconciliation,
    Scope, reconcile,
};
pub use resolve::{Resolution, Resolved, resolve};
pub use run::{Discovered, Preview, discover, plan, preview};
pub use summary::{RejectedRows, RunStatus, Summary, TableCommit, TableError, TableStatus, TableSummary};
pub use together::{Load, run, run_together};
pub use trace::TRACE;
pub use writing::commit_batch;

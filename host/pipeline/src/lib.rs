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
//! - `quality`: the rules of a table, checked before its commit;
//! - [`RunEvent`] and [`Observer`]: what happens, as it happens; [`Summary`]: what has happened.
//!
//! A table fails by itself: its partitions stop, nothing of it is visible, the other tables go on. The unit of retry is the
//! sink's: a partition, or the table.

mod backfill;
mod error;
mod event;
mod job;
mod partition;
mod prepare;
mod quality;
mod reconcile;
mod rejected;
mod resolve;
mod resume;
mod retry;
mod run;
mod sieve;
mod select;
mod summary;
mod table;
mod trace;
mod writing;

pub use backfill::BackfillRequest;
pub use error::RunError;
pub use event::{EVENT_VERSION, NoticeLevel, Observer, PlanningStep, RunEvent, VersionedEvent};
pub use job::{Artifact, Destination, Job, JobParts, RoleSources, RunRequest, batch_id, new_run_id};
pub use prepare::Prepared;
pub use reconcile::{
    Difference, Differences, DifferingRange, NamedKey, ReconcileError, Reconciled, ReconciledTable, Reconciliation, Scope, reconcile,
};
pub use resolve::{Resolution, Resolved, resolve};
pub use run::{Discovered, Preview, discover, plan, preview, run};
pub use summary::{RejectedRows, RunStatus, Summary, TableCommit, TableError, TableStatus, TableSummary};
pub use trace::TRACE;
pub use writing::commit_batch;

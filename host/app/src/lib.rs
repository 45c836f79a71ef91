//! The application: whatever the command line can do, a server, a test and an embedding program can do.
//!
//! | module | about |
//! |---|---|
//! | `context` | configuration, registry, cache, lock file, runtime |
//! | `connectors` | which connectors there are, and what is done for them |
//! | `secrets` | from references to secrets to credentials |
//! | `component` | a datakit of a file or of the registry, loaded |
//! | `requests` | what a caller can ask for |
//! | `protection` | what a run may ask of a source |
//! | `job` | an ingest of the configuration becomes a job |
//! | `run`, `plan`, `preview`, `discover` | what can be asked of a job |
//! | `reconcile` | tables of the sink against their sources |
//! | `metrics` | what a run counts, for Prometheus |
//! | `lineage` | what a run read and wrote, for OpenLineage |
//! | `doctor`, `health`, `serve_health`, `validate` | whether a run could work |
//! | `packages`, `inspect`, `lock` | datakits and the registry |
//! | `kerberos` | ticket caches |
//! | `clean` | what runs have left of loads that they have not committed |
//! | `state` | what sinks keep of each table for the next run |
//! | `runs` | records of runs, and the freshness of tables |
//! | `reports`, `error` | everything that is wrong, at once |
//!
//! This crate prints nothing, draws nothing, handles no signal and knows no exit code. Requests are plain structs. What
//! happens is told by [`RunEvent`]s to the [`Observer`] of the [`Context`]. [`Context::stop`] ends whatever is under way.
//!
//! A program that embeds the application calls [`bounded_work`] first in `main`, if it names itself in
//! [`Settings::bounded_program`]. `examples/embed` is such a program.

mod clean;
mod component;
mod confirm;
mod connectors;
mod context;
mod discover;
mod doctor;
mod error;
mod health;
mod inspect;
mod job;
mod kerberos;
mod lineage;
mod lock;
mod metrics;
mod observers;
mod packages;
mod plan;
mod preview;
mod protection;
mod reconcile;
mod reports;
mod requests;
mod run;
mod runs;
mod schema;
mod secrets;
mod serve_health;
mod state;
mod validate;

pub use datakit_model::backfill::{Backfilled, BackfilledRows};
pub use datakit_model::datakit::TableKind;
pub use datakit_model::quality::{DeclaredBy, RuleResult, RuleStatus, Severity};
pub use datakit_model::resume::{Leftover, Stays};
pub use datakit_model::sink::{TableRows, WriteMode};
pub use datakit_model::{ChangeKind, ColumnChange};
pub use datakit_pipeline::{
    BackfillRequest, Difference, Differences, DifferingRange, EVENT_VERSION, NamedKey, NoticeLevel, Observer,
    PlanningStep, Preview, Reconciled, RejectedRows, RunEvent, RunStatus, Scope, Summary, TRACE, TableError,
    TableStatus, TableSummary, VersionedEvent, new_run_id,
};

pub use clean::{CleanRequest, SinkLeftover, clean, leftovers};
pub use connectors::Connectors;
pub use context::{Context, Settings};
pub use discover::{Column, DiscoveredTable, discover};
pub use doctor::{
    Certificate, Diagnosis, DoctorEvent, DoctorObserver, FirstFailure, Link, LinkError, LinkStatus, Subject, Walked,
    doctor,
};
pub use error::AppError;
pub use inspect::{InspectedDatakit, InspectedRole, inspect};
pub use kerberos::{keep_fresh, ticket_status};
pub use lock::{LockedDatakit, lock};
pub use packages::{ListedDatakit, Published, Pulled, list, publish, pull};
pub use plan::{PlannedPartition, PlannedRule, PlannedTable, plan};
pub use preview::preview;
pub use reconcile::{ReconcileRequest, ReconcileStatus, ReconciledEntry, reconcile};
pub use reports::{Report, Reports, Tables};
pub use requests::{
    DoctorRequest, IngestRequest, LockRequest, PlanRequest, PreviewRequest, PullRequest, RenewRequest, RunRequest,
    ServeHealthRequest, ValidateRequest,
};
pub use run::{EndedIngest, Run};
pub use runs::{
    LastRun, RebuiltRuns, RecordStatus, RecordedDatakit, RecordedError, RecordedGrants, RecordedPosition, RecordedSink,
    RecordedSource, RunRecord, RunsRequest, StatusRequest, TableFreshness, TableRecord, rebuild_runs, run_records,
    runs, status,
};
pub use schema::{event_schema, run_schema, state_schema};
pub use serve_health::serve_health;
pub use state::{TableStateEntry, TableStateRequest, accept_rows, forget_watermark, state, states};
pub use validate::{Validated, validate};

/// Does one piece of bounded work if this process was started for it, and nothing otherwise.
///
/// Components and schemas of datakits are compiled and checked in a process of its own with limits of the operating system
/// (docs/decisions/0150). That process is [`Settings::bounded_program`], usually this very program: `/proc/self/exe`.
///
/// # Errors
/// The work could not be read or answered: the process should end with a failure.
#[must_use]
pub fn bounded_work() -> Option<std::io::Result<()>> {
    let is_asked = std::env::args_os().nth(1).is_some_and(|argument| argument == datakit_wasm::bounded::ARGUMENT);
    is_asked.then(datakit_wasm::bounded::serve)
}

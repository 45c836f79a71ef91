//! Source against sink, after loads: both are read whole, and compared key by key (docs/reconcile.md).
//!
//! - [`reconcile`]: each selected table;
//! - `look`: one reading of both sides, `sink_side` and `source_side`; `columns` and `scope`: which columns and which rows are compared;
//! - `comparable`, `facts` and `rows`: from batches to entries; `sorted`: entries in the order of their keys; `held`, `compare`: both
//!   sides, key by key;
//! - `judge`: what several looks say together; `report`: what leaves the process.

mod columns;
mod comparable;
mod compare;
mod error;
mod facts;
mod held;
mod judge;
mod look;
mod report;
mod rows;
mod scope;
mod sink_side;
mod sorted;
mod source_side;

use std::sync::Arc;
use std::time::Duration;

use datakit_model::sink::{Sink, WriteMode};
use datakit_model::source::Source;
use datakit_model::{Failure, TableId};

use crate::event::{Observer, RunEvent};
use crate::job::Job;
use crate::select::{Selected, select};

pub use compare::{Difference, Differences};
pub use error::ReconcileError;
pub use report::{DifferingRange, NamedKey, Reconciled};
pub use scope::Scope;

use look::Subject;

/// How tables are compared.
#[derive(Clone)]
pub struct Reconciliation {
    /// Where the tables were loaded to.
    pub sink: Arc<dyn Sink>,
    /// What loads do with the rows that are there, as the operator says.
    pub mode: Option<WriteMode>,
    /// How often keys that differ are looked at again.
    pub again: u32,
    /// The time before that.
    pub pause: Duration,
    /// Keys in a range.
    pub range_keys: u64,
    /// Show keys by hashes.
    pub masks_keys: bool,
}

/// What was found of a table, or why it could not be compared.
#[derive(Debug)]
pub struct ReconciledTable {
    /// The table.
    pub id: TableId,
    /// Both sides differ, if they do, or the reason.
    pub outcome: Result<Reconciled, Failure>,
}

impl ReconciledTable {
    /// The failure of a table that differs or could not be compared.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match &self.outcome {
            Ok(found) => found.failure(),
            Err(failure) => Some(failure.clone()),
        }
    }
}

/// Compares each selected table with its source, one after the other. Nothing is written. `whole` makes of a source one that gives
/// whole tables, whatever position a datakit asks for.
///
/// # Errors
/// The source cannot be reached, the datakit fails, or no table matches.
pub async fn reconcile(
    job: Job,
    how: &Reconciliation,
    whole: impl Fn(Arc<dyn Source>) -> Arc<dyn Source>,
    observer: &dyn Observer,
) -> Result<Vec<ReconciledTable>, Failure> {
    observer.event(RunEvent::Discovering);
    let session = job.planning_session(None);
    let discovery = job.datakit.discover(&session, &job.tables).await?;
    let selection = job.selection(&discovery).await?;
    let Selected { tables, invalid, unmatched, .. } = select(discovery, &selection)?;
    for (pattern, nearest) in &unmatched {
        let nearest = nearest.iter().map(ToString::to_string).collect();
        observer.event(RunEvent::Unmatched { pattern: pattern.to_string(), nearest });
    }
    let job = Arc::new(job);
    let whole = session.roles.into_iter().map(|(role, source)| (role, whole(source))).collect();
    let mut reconciled: Vec<ReconciledTable> =
        invalid.into_iter().map(|table| ReconciledTable { id: table.id, outcome: Err(table.failure) }).collect();
    for table in tables {
        observer.event(RunEvent::Comparing { table: table.id.to_string() });
        let id = table.id.clone();
        let outcome = match how.sink.locate(&job.run.source_system, &id) {
            Ok(target) => judge::judged(&Subject::new(&job, &whole, how, table, target), how).await,
            Err(failure) => Err(failure),
        };
        reconciled.push(ReconciledTable { id, outcome });
    }
    job.report_connections(observer, true);
    reconciled.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(reconciled)
}

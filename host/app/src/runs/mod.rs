//! Records of runs: what each run did, beside the tables that it committed (docs/runs.md).
//!
//! | module | about |
//! |---|---|
//! | `record` | the document |
//! | `recorder` | who writes it, and when |
//! | `table` | the table of runs, a row a record |
//! | `status` | each table with its last run |

mod record;
mod recorder;
mod status;
mod table;

use std::sync::Arc;

use datakit_config::{Config, Overrides};
use datakit_model::sink::{KeptRecord, KeptState, RecordName, Sink};
use datakit_model::{Failure, StateDocument};
use serde::Serialize;

pub use self::record::{
    RecordStatus, RecordedDatakit, RecordedError, RecordedGrants, RecordedPosition, RecordedSink, RecordedSource,
    RunRecord, TableRecord,
};
pub(crate) use self::record::{now, word_of};
pub(crate) use self::recorder::Recorder;
pub use self::status::{LastRun, StatusRequest, TableFreshness, status};
pub(crate) use self::table::is_table_of_runs;
use crate::context::Context;
use crate::error::AppError;
use crate::reports::{Report, Reports, Tables};

/// Records that are read where all are needed.
const ALL: usize = usize::MAX;

/// Which records.
#[derive(Debug, Clone)]
pub struct RunsRequest {
    /// The sink; none: all of the configuration.
    pub sink: Option<String>,
    /// At most so many, of all sinks together.
    pub newest: usize,
}

/// A table of runs that was written anew.
#[derive(Debug, Clone, Serialize)]
pub struct RebuiltRuns {
    /// The sink, by its name in the configuration.
    pub sink: String,
    /// Where the table of runs is.
    pub target: String,
    /// Records, each with its row now.
    pub records: usize,
    /// Commits that no record had, and one has now.
    pub commits_added: usize,
}

/// The newest records, newest first.
///
/// # Errors
/// The configuration is invalid, a sink cannot be reached, or the work was stopped.
pub async fn runs(context: &Context, request: &RunsRequest) -> Result<Tables<RunRecord>, Reports> {
    context.unless_stopped(list(context, request.sink.as_deref(), None, request.newest)).await
}

/// The records of one run: one for each start of each ingest, newest first.
///
/// # Errors
/// As of [`runs`], and when no sink has a record of the run.
pub async fn run_records(context: &Context, sink: Option<&str>, run_id: &str) -> Result<Tables<RunRecord>, Reports> {
    let found = context.unless_stopped(list(context, sink, Some(run_id), ALL)).await?;
    if found.tables.is_empty() && found.failures.is_none() {
        return Err(AppError::NoRun { run_id: run_id.to_owned() }.into());
    }
    Ok(found)
}

async fn list(
    context: &Context,
    sink: Option<&str>,
    run_id: Option<&str>,
    newest: usize,
) -> Result<Tables<RunRecord>, Reports> {
    let config = context.config(Overrides::default())?;
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    for (_, sink) in sinks(context, &config, sink)? {
        for kept in sink.records(run_id, newest).await? {
            match parsed(&kept) {
                Ok(record) => records.push((kept.name, record)),
                Err(failure) => failures.push(Report::from(failure)),
            }
        }
    }
    records.sort_by(|(a, _), (b, _)| b.cmp(a));
    records.truncate(newest);
    let tables = records.into_iter().map(|(_, record)| record).collect();
    Ok(Tables { tables, failures: Reports::of(failures) })
}

/// A sink, by its name in the configuration.
pub(crate) type NamedSink = (String, Arc<dyn Sink>);

/// The sinks that are meant, by name.
pub(crate) fn sinks(context: &Context, config: &Config, sink: Option<&str>) -> Result<Vec<NamedSink>, Reports> {
    if let Some(name) = sink {
        config.one_sink(Some(name))?;
    }
    let mut found = Vec::new();
    for (name, settings) in config.sinks.iter().filter(|(name, _)| sink.is_none_or(|meant| meant == *name)) {
        found.push((name.clone(), context.sink(settings, config)?.sink()));
    }
    Ok(found)
}

fn parsed(kept: &KeptRecord) -> Result<RunRecord, Failure> {
    let json = kept.json.as_ref().map_err(Clone::clone)?;
    let invalid = |source| {
        let RecordName { run_id, ingest, .. } = kept.name.clone();
        AppError::InvalidRecord { run_id, ingest, source }.into()
    };
    serde_json::from_str(json).map_err(invalid)
}

/// Writes the table of runs anew from the records, after commits that no record has were added to them.
///
/// # Errors
/// The configuration is invalid, a sink cannot be reached or written, a record cannot be read, or the work was stopped.
pub async fn rebuild_runs(context: &Context, sink: Option<&str>) -> Result<Vec<RebuiltRuns>, Reports> {
    context.unless_stopped(rebuild(context, sink)).await
}

async fn rebuild(context: &Context, sink: Option<&str>) -> Result<Vec<RebuiltRuns>, Reports> {
    let config = context.config(Overrides::default())?;
    let mut rebuilt = Vec::new();
    for (name, sink) in sinks(context, &config, sink)?.into_iter().filter(|(_, sink)| sink.keeps_records()) {
        let mut records = Vec::new();
        for kept in sink.records(None, ALL).await? {
            let record = parsed(&kept)?;
            records.push((kept.name, record));
        }
        let commits_added = add_commits(&sink, &name, &mut records).await?;
        records.sort_by(|(a, _), (b, _)| a.cmp(b));
        let all: Vec<RunRecord> = records.into_iter().map(|(_, record)| record).collect();
        table::replace(&sink, &all).await?;
        rebuilt.push(RebuiltRuns { sink: name, target: table::place(&sink)?, records: all.len(), commits_added });
    }
    Ok(rebuilt)
}

/// Adds each last commit of a table that no record has: to the newest record of its run, else to a new one.
async fn add_commits(
    sink: &Arc<dyn Sink>,
    sink_name: &str,
    records: &mut Vec<(RecordName, RunRecord)>,
) -> Result<usize, Reports> {
    let mut added = 0;
    for KeptState { source_system, table, target, document } in sink.states().await? {
        // One that does not count says nothing about runs.
        let Ok(state) = document else { continue };
        let (run_id, table) = (state.load.run_id.as_str(), table.to_string());
        // Rows that were rejected are committed under a name of the run's that has a space in it.
        if source_system == table::SYSTEM || run_id.contains(' ') {
            continue;
        }
        let of_run = |record: &RunRecord| {
            record.run_id == run_id && record.source_system.as_ref().is_none_or(|system| *system == source_system)
        };
        let is_known = |record: &RunRecord| {
            record.tables.iter().any(|it| it.table == table && matches!(it.status.as_str(), "committed" | "unchanged"))
        };
        if records.iter().any(|(_, record)| of_run(record) && is_known(record)) {
            continue;
        }
        let newest = records.iter_mut().filter(|(_, record)| of_run(record)).max_by(|(a, _), (b, _)| a.cmp(b));
        let (name, record) = match newest {
            Some(found) => found,
            None => {
                records.push(RunRecord::rebuilt(&source_system, (sink_name, sink.kind()), &state));
                records.last_mut().ok_or(AppError::Stopped)?
            }
        };
        record.tables.retain(|it| it.table != table);
        record.tables.push(TableRecord::rebuilt(table, target, &state));
        record.count();
        sink.put_record(name, &recorder::document(record)?).await?;
        added += 1;
    }
    Ok(added)
}

/// The time of a run id that is a UUID of version 7; 0 of any other.
fn started_of(run_id: &str) -> i64 {
    let time = uuid::Uuid::try_parse(run_id).ok().and_then(|id| id.get_timestamp());
    time.map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        i64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000) + i64::from(nanos / 1_000)
    })
}

impl RunRecord {
    /// Of a run of which nothing but a commit is known.
    fn rebuilt(source_system: &str, (sink, kind): (&str, &str), state: &StateDocument) -> (RecordName, Self) {
        let run_id = state.load.run_id.clone();
        let name =
            RecordName { started_at_micros: started_of(&run_id), run_id: run_id.clone(), ingest: "rebuilt".to_owned() };
        let (datakit, version) = state.load.datakit.split_once('@').unwrap_or((state.load.datakit.as_str(), ""));
        let record = Self {
            version: Self::VERSION,
            run_id,
            ingest: name.ingest.clone(),
            status: RecordStatus::Rebuilt,
            started_at: record::rfc3339(name.started_at_micros),
            ended_at: None,
            seconds: None,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            datakit: RecordedDatakit {
                reference: state.load.datakit.clone(),
                name: Some(datakit.to_owned()),
                version: Some(version.to_owned()),
                digest: Some(state.load.digest.clone()),
            },
            source_system: Some(source_system.to_owned()),
            sources: Vec::new(),
            sink: RecordedSink { name: sink.to_owned(), kind: kind.to_owned() },
            grants: RecordedGrants { tables: String::new(), keys: Vec::new() },
            mode: None,
            rows: 0,
            bytes: 0,
            retries: 0,
            tables: Vec::new(),
            errors: Vec::new(),
        };
        (name, record)
    }
}

impl TableRecord {
    /// Of a commit that only the state of its table tells.
    fn rebuilt(table: String, target: String, state: &StateDocument) -> Self {
        let watermark = state.positions.first().and_then(|position| position.watermark.as_deref());
        Self {
            table,
            target,
            status: word_of(datakit_pipeline::TableStatus::Committed).to_owned(),
            started_at: None,
            ended_at: None,
            seconds: 0.0,
            rows: state.written.rows,
            bytes: 0,
            partitions: 0,
            shared_with: Vec::new(),
            retries: 0,
            rejected: 0,
            holds: None,
            consistent_snapshot: state.load.consistent_snapshot,
            approximate: state.load.approximate,
            filtered: state.load.filtered,
            schema: state.schema.clone(),
            drift: Vec::new(),
            position_before: None,
            position_after: watermark.map(RecordedPosition::of),
            quality: Vec::new(),
            receipt: None,
            backfill: None,
            error: None,
        }
    }
}

//! What a person can ask of a job: discover, plan, preview, run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datakit_model::datakit::{Discovery, Session, Table, TablePlan};
use datakit_model::sink::{Sink, Target, WriteMode};
use datakit_model::source::Adjustment;
use datakit_model::{Failure, TableId, TablePatterns};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::error::RunError;
use crate::event::{Observer, RunEvent};
use crate::job::{Destination, Job};
use crate::prepare::{Prepared, prepare, prepare_run};
use crate::summary::{RunStatus, Summary, TableError, TableStatus, TableSummary, seconds};
use crate::table::{self, TableContext};
use crate::trace;
use crate::writing;

/// Pools are reported on so often.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

/// Of so many tables a sink is asked at one time while a run is planned.
const ASKED_AT_ONCE: usize = 16;

/// A table the datakit sees.
#[derive(Debug)]
pub struct Discovered {
    /// Its names.
    pub id: TableId,
    /// Its description, or what is wrong with it.
    pub table: Result<Table, Failure>,
    /// Whether the selection holds it.
    pub selected: bool,
}

/// The tables the datakit sees, by name.
///
/// # Errors
/// The source cannot be reached, or the datakit fails.
pub async fn discover(job: &Job, observer: &dyn Observer) -> Result<Vec<Discovered>, Failure> {
    observer.event(RunEvent::Discovering);
    // What is not selected is listed as well.
    let all = TablePatterns::new(Vec::new());
    let discovery = job.datakit.discover(&job.planning_session(None), &all).await?;
    let selection = job.selection(&discovery).await?;
    let Discovery { tables, invalid } = discovery;
    let valid = tables.into_iter().map(|table| (table.id.clone(), Ok(table)));
    let all = valid.chain(invalid.into_iter().map(|table| (table.id, Err(table.failure))));
    let mut discovered: Vec<Discovered> =
        all.map(|(id, table)| Discovered { selected: selection.allows(&id), id, table }).collect();
    discovered.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(discovered)
}

/// How every selected table would be read, or why it could not be loaded, as far as source and sink can tell; reads nothing but
/// what the datakit asks to find its ranges.
///
/// # Errors
/// The source cannot be reached, the datakit fails, or no table matches.
pub async fn plan(job: &Job, sink: Option<Destination>, observer: &dyn Observer) -> Result<Vec<Prepared>, Failure> {
    let mut prepared = prepare(job, &job.planning_session(sink.clone()), observer).await?;
    let Some(destination) = sink else { return Ok(prepared) };
    let fits = |target: Result<Target, Failure>| -> Result<Target, Failure> {
        let target = target?;
        destination.sink.fits(&target)?;
        Ok(target)
    };
    let mut targets = Vec::new();
    for (at, table) in prepared.iter_mut().enumerate() {
        let Ok((described, plan)) = &table.plan else { continue };
        match fits(expected_target(job, &destination, described, plan)) {
            Ok(target) => targets.push((at, target)),
            Err(failure) => table.plan = Err(failure),
        }
    }
    ask_for_drift(&mut prepared, targets, &destination.sink).await;
    Ok(prepared)
}

/// Asks the sink how the columns of each target differ from those of its table, of several tables at one time.
async fn ask_for_drift(prepared: &mut [Prepared], targets: Vec<(usize, Target)>, sink: &Arc<dyn Sink>) {
    let (mut waiting, mut asking) = (targets.into_iter(), JoinSet::new());
    loop {
        while asking.len() < ASKED_AT_ONCE
            && let Some((at, target)) = waiting.next()
        {
            let sink = Arc::clone(sink);
            asking.spawn(async move { (at, sink.drift(&target).await) });
        }
        match asking.join_next().await {
            None => break,
            Some(Ok((at, drift))) => prepared[at].drift = drift,
            // A task that crashed has no answer.
            Some(Err(_)) => {}
        }
    }
}

/// The target of a table's load, as far as its description says it.
fn expected_target(
    job: &Job,
    destination: &Destination,
    described: &Table,
    plan: &TablePlan,
) -> Result<Target, Failure> {
    let keys = &described.primary_key;
    let target = writing::expected_target(destination, &job.run, plan, keys, &described.columns)?;
    Ok(Target { drift: job.drift.of(&plan.table), ..target })
}

/// The first rows of a table, as the sink would get them.
pub struct Preview {
    /// The table.
    pub table: TableId,
    /// Its shape, the columns that a datakit adds included.
    pub schema: SchemaRef,
    /// At most as many rows as asked for.
    pub batches: Vec<RecordBatch>,
}

/// The first rows of each selected table, or why it cannot be read; nothing is written.
///
/// # Errors
/// The source cannot be reached, the datakit fails, or no table matches.
pub async fn preview(
    job: &Job,
    rows: usize,
    observer: &dyn Observer,
) -> Result<Vec<(TableId, Result<Preview, Failure>)>, Failure> {
    let mut previews = Vec::new();
    let session = job.session(None);
    for Prepared { id, plan, .. } in plan(job, None, observer).await? {
        let preview = match plan {
            Ok((table, plan)) => first_rows(job, &session, table, &plan, rows).await,
            Err(failure) => Err(failure),
        };
        previews.push((id, preview));
    }
    Ok(previews)
}

async fn first_rows(
    job: &Job,
    session: &Session,
    table: Table,
    plan: &TablePlan,
    rows: usize,
) -> Result<Preview, Failure> {
    let mut preview = Preview { table: table.id, schema: table.columns, batches: Vec::new() };
    let mut missing = rows;
    for partition in &plan.partitions {
        let mut extraction = job.datakit.extract(session, partition).await?;
        preview.schema = extraction.schema();
        while missing > 0 {
            let Some(batch) = extraction.next().await? else { break };
            let batch = batch.batch();
            let taken = batch.slice(0, batch.num_rows().min(missing));
            missing -= taken.num_rows();
            preview.batches.push(taken);
        }
        if missing == 0 {
            break;
        }
    }
    Ok(preview)
}

/// Reads every selected table into the sink. A table that fails is in the summary; the others go on.
///
/// When `stop` is cancelled, what is being written is taken back and the summary says so. A table that is not ready with
/// that after `limits.run.abort_timeout_ms` is left as it is: nothing of it is in a commit, only untidy.
///
/// # Errors
/// What keeps the run from starting: the source cannot be reached, no table matches.
pub async fn run(
    mut job: Job,
    sink: Arc<dyn Sink>,
    mode: Option<WriteMode>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    if let Some(backfill) = &mut job.backfill {
        backfill.begin(&job.run, &sink).await?;
    }
    let job = Arc::new(job);
    let destination = Destination { sink: Arc::clone(&sink), mode };
    // A backfill reads the whole table, whatever the last load has left.
    let watermarks = Some(destination.clone()).filter(|_| job.backfill.is_none());
    let session = job.session(watermarks.clone());
    let planning = job.planning_session(watermarks);
    let Some(prepared) = stop.run_until_cancelled(prepare_run(&job, &planning, observer.as_ref())).await else {
        return Ok(summarise(&job, Vec::new(), started, true));
    };
    let (mut plans, mut tables) = (Vec::new(), Vec::new());
    let mut known: HashMap<TableId, Known> = HashMap::new();
    let prepared = match &job.backfill {
        Some(backfill) => backfill.adapt(prepared?)?,
        None => prepared?,
    };
    for Prepared { id, plan, .. } in prepared {
        match plan {
            Ok((table, plan)) => {
                let altered = altered_columns(&table);
                known.insert(id, (Arc::from(table.primary_key.as_slice()), altered, Some(table.columns)));
                plans.push(plan);
            }
            Err(failure) => {
                let summary = without_result(&id, TableStatus::Failed, &failure);
                observer.event(RunEvent::TableFinished { summary: Box::new(summary.clone()) });
                tables.push(summary);
            }
        }
    }
    let parallel = usize::try_from(job.limits.max_parallel_partitions.max(1)).unwrap_or(usize::MAX);
    let workers = Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)));
    let mut waiting = plans.into_iter();
    let mut running = JoinSet::new();
    let mut unfinished: HashMap<tokio::task::Id, TableId> = HashMap::new();
    let mut report = tokio::time::interval(REPORT_PERIOD);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    report.reset();
    let abort_timeout = abort_timeout(&stop, Duration::from_millis(job.limits.abort_timeout_ms));
    tokio::pin!(abort_timeout);
    loop {
        while running.len() < parallel && !stop.is_cancelled() {
            let Some(plan) = waiting.next() else { break };
            let (keys, altered, columns) = known.remove(&plan.table).unwrap_or_default();
            let context = TableContext {
                job: Arc::clone(&job),
                session: job.session_of(&session, &keys),
                destination: destination.clone(),
                observer: Arc::clone(&observer),
                workers: Arc::clone(&workers),
                stop: stop.child_token(),
                table: plan.table.clone(),
                keys,
                altered: Arc::new(altered),
                columns,
                resume: Arc::default(),
                unit: sink.retry_unit(),
                asks_watermark: false,
                checks: None,
                reported_rows: Arc::default(),
            };
            let table = plan.table.clone();
            let copying = async move {
                let id = plan.table.clone();
                trace::table(&id, table::copy(context, plan)).await
            };
            unfinished.insert(running.spawn(copying.in_current_span()).id(), table);
        }
        let ended = tokio::select! {
            ended = running.join_next_with_id() => ended,
            () = &mut abort_timeout => None,
            _ = report.tick() => {
                job.report_connections(observer.as_ref(), false);
                continue;
            }
        };
        match ended {
            None => break,
            Some(Ok((id, summary))) => {
                unfinished.remove(&id);
                tables.push(summary);
            }
            Some(Err(crash)) => {
                let table = unfinished.remove(&crash.id()).unwrap_or_else(|| TableId::new("", ""));
                let failure = RunError::Crashed { table: table.clone(), message: crash.to_string() }.into();
                tables.push(without_result(&table, TableStatus::Failed, &failure));
            }
        }
    }
    // Tables that a stop kept from starting, or from ending in time.
    for table in waiting.map(|plan| plan.table).chain(unfinished.into_values()) {
        let failure = Failure::from(RunError::Stopped { table: table.clone(), run_id: job.run.run_id.clone() });
        tables.push(without_result(&table, TableStatus::Stopped, &failure));
    }
    job.report_connections(observer.as_ref(), true);
    Ok(summarise(&job, tables, started, stop.is_cancelled()))
}

/// What is known of a table besides its plan: its key, the columns that the source may change, and all of its columns.
type Known = (Arc<[String]>, Vec<Adjustment>, Option<SchemaRef>);

/// Ends when a stop has been given its time.
async fn abort_timeout(stop: &CancellationToken, timeout: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(timeout).await;
}

/// Field metadata of a discovered table: how the source may change the values of the column before it sends them. The datakit
/// knows it from the source's catalog; the run's record says it of every table that is read.
const ALTERED_KEY: &str = "datakit.altered";
/// Characters of that text which are kept.
const ALTERED_CHARACTERS: usize = 200;

/// The columns of a table whose values the source may change.
fn altered_columns(table: &Table) -> Vec<Adjustment> {
    let fields = table.columns.fields().iter();
    let altered = fields.filter_map(|field| Some((field, field.metadata().get(ALTERED_KEY)?)));
    altered
        .map(|(field, what)| Adjustment {
            column: field.name().clone(),
            what: what.chars().take(ALTERED_CHARACTERS).collect(),
            values: 0,
        })
        .collect()
}

fn without_result(table: &TableId, status: TableStatus, failure: &Failure) -> TableSummary {
    TableSummary {
        id: Some(table.clone()),
        error: Some(TableError::from(failure)),
        ..TableSummary::new(table.to_string(), status)
    }
}

fn summarise(job: &Job, mut tables: Vec<TableSummary>, started: Instant, stopped: bool) -> Summary {
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    let done = tables.iter().all(|t| matches!(t.status, TableStatus::Committed | TableStatus::Unchanged));
    let ended = if tables.iter().any(|table| !table.drift.is_empty()) { RunStatus::Drift } else { RunStatus::Done };
    // A stop that came after the last commit stopped nothing.
    let status = match (done, stopped) {
        (true, false) => ended,
        (true, true) if !tables.is_empty() => ended,
        (_, true) => RunStatus::Stopped,
        (false, false) => RunStatus::Failed,
    };
    Summary {
        run_id: job.run.run_id.clone(),
        datakit: job.run.datakit.clone(),
        version: job.run.version.clone(),
        digest: job.run.digest.clone(),
        status,
        rows: tables.iter().map(|t| t.rows).sum(),
        bytes: tables.iter().map(|t| t.bytes).sum(),
        seconds: seconds(started.elapsed()),
        tables,
    }
}

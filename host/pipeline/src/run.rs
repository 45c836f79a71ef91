//! What a person can ask of a job: discover, plan, preview, run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datakit_model::source::Adjustment;
use datakit_model::{Failure, TableId};
use datakit_sinks::{Sink, WriteMode};
use datakit_wasm::{Session, Table, TablePlan};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::error::RunError;
use crate::event::{Event, Observer};
use crate::job::{Destination, Job};
use crate::select::{Selected, select};
use crate::summary::{RunStatus, Summary, TableError, TableStatus, TableSummary, seconds};
use crate::table::{self, TableContext};

/// Pools are reported on so often.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

/// The tables the datakit sees, and whether the selection holds each.
///
/// # Errors
/// The source cannot be reached, or the datakit fails.
pub async fn discover(job: &Job, observer: &dyn Observer) -> Result<Vec<(Table, bool)>, Failure> {
    observer.event(Event::Discovering);
    let tables = job.datakit.discover(&job.session(None)).await?;
    Ok(tables
        .into_iter()
        .map(|table| {
            let selected = job.tables.allows(&table.id);
            (table, selected)
        })
        .collect())
}

/// The partitions of every selected table; reads nothing but what the datakit asks to find its ranges.
///
/// # Errors
/// No table matches, or one cannot be planned.
pub async fn plan(
    job: &Job,
    sink: Option<Destination>,
    observer: &dyn Observer,
) -> Result<Vec<(Table, TablePlan)>, Failure> {
    let session = job.session(sink);
    let selected = selected(job, &session, observer).await?;
    observer.event(Event::Planning { tables: selected.len() });
    let ids: Vec<TableId> = selected.iter().map(|t| t.id.clone()).collect();
    let mut plans = job.datakit.plan(&session, &ids).await?;
    plans.sort_by(|a, b| a.table.cmp(&b.table));
    Ok(selected.into_iter().zip(plans).collect())
}

/// The first rows of a table, as the sink would get them.
pub struct Preview {
    /// The table.
    pub table: TableId,
    /// Its shape, Bronze columns included.
    pub schema: SchemaRef,
    /// At most as many rows as asked for.
    pub batches: Vec<RecordBatch>,
}

/// The first rows of each selected table; nothing is written.
///
/// # Errors
/// No table matches, or one cannot be read.
pub async fn preview(job: &Job, rows: usize, observer: &dyn Observer) -> Result<Vec<Preview>, Failure> {
    let mut previews = Vec::new();
    let session = job.session(None);
    for (table, plan) in plan(job, None, observer).await? {
        let mut preview = Preview { table: table.id, schema: table.columns, batches: Vec::new() };
        let mut missing = rows;
        for partition in &plan.partitions {
            let mut extraction = job.datakit.extract(&session, partition).await?;
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
        previews.push(preview);
    }
    Ok(previews)
}

/// Reads every selected table into the sink. A table that fails is in the summary; the others go on.
///
/// When `stop` is cancelled, what is being written is taken back and the summary says so. A table that is not ready with
/// that after `limits.run.abort_timeout_ms` is left as it is: nothing of it is in a commit, only untidy.
///
/// # Errors
/// What keeps the run from starting: the source cannot be reached, no table matches.
pub async fn run(
    job: Job,
    sink: Arc<dyn Sink>,
    mode: WriteMode,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    let job = Arc::new(job);
    let destination = Destination { sink: Arc::clone(&sink), mode };
    let session = job.session(Some(destination.clone()));
    let Some(planned) = stop.run_until_cancelled(prepare(&job, &session, observer.as_ref())).await else {
        return Ok(summarise(&job, Vec::new(), started, true));
    };
    let Prepared { plans, failed: mut tables, mut altered } = planned?;
    let parallel = usize::try_from(job.limits.max_parallel_partitions.max(1)).unwrap_or(usize::MAX);
    let workers = Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)));
    let mut waiting = plans.into_iter();
    let mut running = JoinSet::new();
    let mut unfinished: HashMap<tokio::task::Id, TableId> = HashMap::new();
    let mut report = tokio::time::interval(REPORT_PERIOD);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    report.reset();
    let impatience = impatience(&stop, Duration::from_millis(job.limits.abort_timeout_ms));
    tokio::pin!(impatience);
    loop {
        while running.len() < parallel && !stop.is_cancelled() {
            let Some(plan) = waiting.next() else { break };
            let context = TableContext {
                job: Arc::clone(&job),
                session: session.clone(),
                destination: destination.clone(),
                observer: Arc::clone(&observer),
                workers: Arc::clone(&workers),
                stop: stop.child_token(),
                table: plan.table.clone(),
                altered: Arc::new(altered.remove(&plan.table).unwrap_or_default()),
                unit: sink.retry_unit(),
                reported_rows: Arc::default(),
            };
            let table = plan.table.clone();
            unfinished.insert(running.spawn(table::copy(context, plan)).id(), table);
        }
        let ended = tokio::select! {
            ended = running.join_next_with_id() => ended,
            () = &mut impatience => None,
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
        let failure = Failure::from(RunError::Stopped { table: table.clone() });
        tables.push(without_result(&table, TableStatus::Stopped, &failure));
    }
    job.report_connections(observer.as_ref(), true);
    Ok(summarise(&job, tables, started, stop.is_cancelled()))
}

/// Ends when a stop has been given its time.
async fn impatience(stop: &CancellationToken, patience: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(patience).await;
}

/// What a run begins with.
struct Prepared {
    plans: Vec<TablePlan>,
    /// Tables that cannot be planned.
    failed: Vec<TableSummary>,
    altered: HashMap<TableId, Vec<Adjustment>>,
}

/// Field metadata of a discovered table: how the source may change the values of the column before it sends them. The datakit
/// knows it from the source's catalog; the run's record says it of every table that is read.
const ALTERED_KEY: &str = "datakit.altered";
/// Characters of that text which are kept.
const ALTERED_CHARACTERS: usize = 200;

/// The columns whose values the source may change, by their tables.
fn altered(tables: &[Table]) -> HashMap<TableId, Vec<Adjustment>> {
    let columns = |table: &Table| -> Vec<Adjustment> {
        let fields = table.columns.fields().iter();
        let altered = fields.filter_map(|field| Some((field, field.metadata().get(ALTERED_KEY)?)));
        altered
            .map(|(field, what)| Adjustment {
                column: field.name().clone(),
                what: what.chars().take(ALTERED_CHARACTERS).collect(),
                values: 0,
            })
            .collect()
    };
    let tables = tables.iter().map(|table| (table.id.clone(), columns(table)));
    tables.filter(|(_, columns)| !columns.is_empty()).collect()
}

/// Discovers and selects.
async fn selected(job: &Job, session: &Session, observer: &dyn Observer) -> Result<Vec<Table>, Failure> {
    observer.event(Event::Discovering);
    let discovered = job.datakit.discover(session).await?;
    let count = discovered.len();
    let Selected { tables, unmatched } = select(discovered, &job.tables)?;
    observer.event(Event::Selected { discovered: count, selected: tables.len() });
    for (pattern, nearest) in &unmatched {
        observer.event(Event::Unmatched { pattern, nearest });
    }
    Ok(tables)
}

/// Discovers, selects and plans. All tables in one call, since a datakit reads the catalog once for them; when that fails,
/// table by table, so that one bad table fails alone.
async fn prepare(job: &Job, session: &Session, observer: &dyn Observer) -> Result<Prepared, Failure> {
    let selected = selected(job, session, observer).await?;
    observer.event(Event::Planning { tables: selected.len() });
    let altered = altered(&selected);
    let ids: Vec<TableId> = selected.into_iter().map(|t| t.id).collect();
    let failure = match job.datakit.plan(session, &ids).await {
        Ok(plans) => return Ok(Prepared { plans, failed: Vec::new(), altered }),
        Err(error) => Failure::from(error),
    };
    let (mut plans, mut failed) = (Vec::new(), Vec::new());
    let mut fail = |id: &TableId, failure: &Failure| {
        let summary = without_result(id, TableStatus::Failed, failure);
        observer.event(Event::TableFinished(&summary));
        failed.push(summary);
    };
    match ids.as_slice() {
        [only] => fail(only, &failure),
        several => {
            for id in several {
                match job.datakit.plan(session, std::slice::from_ref(id)).await {
                    Ok(plan) => plans.extend(plan),
                    Err(error) => fail(id, &error.into()),
                }
            }
        }
    }
    Ok(Prepared { plans, failed, altered })
}

fn without_result(table: &TableId, status: TableStatus, failure: &Failure) -> TableSummary {
    TableSummary {
        table: table.to_string(),
        status,
        rows: 0,
        bytes: 0,
        seconds: 0.0,
        target: String::new(),
        partitions: 0,
        several_moments: false,
        approximate: false,
        filtered: false,
        adjustments: Vec::new(),
        rejected: None,
        error: Some(TableError::from(failure)),
    }
}

fn summarise(job: &Job, mut tables: Vec<TableSummary>, started: Instant, stopped: bool) -> Summary {
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    let done = tables.iter().all(|t| matches!(t.status, TableStatus::Committed | TableStatus::Unchanged));
    // A stop that came after the last commit stopped nothing.
    let status = match (done, stopped) {
        (true, false) => RunStatus::Done,
        (true, true) if !tables.is_empty() => RunStatus::Done,
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

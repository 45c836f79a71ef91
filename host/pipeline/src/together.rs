//! Runs one load, or several that read the same and write to different sinks.
//!
//! A load is a job with its sink. Each has its own summary, events and commits; a table that several read by the same plan is read
//! once (`shared`). Tables begin in the order of their names, a table for all of its loads at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use datakit_model::datakit::{Session, Table, TablePlan};
use datakit_model::sink::{Sink, WriteMode};
use datakit_model::source::Adjustment;
use datakit_model::{Failure, TableId};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::context::TableContext;
use crate::error::RunError;
use crate::event::{Observer, RunEvent};
use crate::job::{Destination, Job};
use crate::positions::{Together, prepare_together};
use crate::prepare::{Prepared, prepare};
use crate::retry::PlanningRetries;
use crate::shared::{Seat, SharedRead};
use crate::summary::{RunStatus, Summary, TableError, TableStatus, TableSummary, seconds};
use crate::table;
use crate::trace;

/// Pools are reported on so often.
const REPORT_PERIOD: Duration = Duration::from_secs(10);

/// A job, and where its rows go.
pub struct Load {
    /// The ingest, for the summaries of the others.
    pub ingest: String,
    /// The job. The jobs of several loads are made by [`Job::beside`].
    pub job: Job,
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// What happens to rows that are there, as the operator says.
    pub mode: Option<WriteMode>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Load {
    /// Notes what has to be known before anything is read.
    async fn begin(&mut self) -> Result<(), Failure> {
        match &mut self.job.backfill {
            Some(backfill) => backfill.begin(&self.job.run, &self.sink).await,
            None => Ok(()),
        }
    }
}

/// A load that runs.
pub(crate) struct Side {
    ingest: String,
    pub(crate) job: Arc<Job>,
    pub(crate) destination: Destination,
    pub(crate) observer: Arc<dyn Observer>,
    session: Session,
}

impl Side {
    fn new(load: Load) -> Self {
        let Load { ingest, job, sink, mode, observer } = load;
        let destination = Destination { sink, mode };
        let session = job.session(positions(&job, &destination));
        Self { ingest, job: Arc::new(job), destination, observer, session }
    }

    /// The session that discovers and plans.
    pub(crate) fn planning(&self) -> Session {
        self.job.planning_session(positions(&self.job, &self.destination))
    }

    /// Reports a table that was not begun, and how it ended.
    fn not_begun(&self, table: &TableId, failure: &Failure) -> TableSummary {
        let summary = without_result(table, TableStatus::Failed, failure);
        self.observer.event(RunEvent::TableFinished { summary: Box::new(summary.clone()) });
        summary
    }
}

/// Where a job finds the positions that its tables have reached. A backfill reads whole tables, whatever the last load has left.
fn positions(job: &Job, destination: &Destination) -> Option<Destination> {
    Some(destination.clone()).filter(|_| job.backfill.is_none())
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
    mode: Option<WriteMode>,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
) -> Result<Summary, Failure> {
    let load = Load { ingest: String::new(), job, sink, mode, observer };
    let mut ended = run_together(vec![load], stop).await;
    let nothing = || Failure::from(RunError::Crashed { table: TableId::new("", ""), message: "no result".to_owned() });
    ended.pop().unwrap_or_else(|| Err(nothing()))
}

/// The same for several loads at once, in their order: a table that some of them read by the same plan is read once for them.
pub async fn run_together(mut loads: Vec<Load>, stop: CancellationToken) -> Vec<Result<Summary, Failure>> {
    let started = Instant::now();
    for place in 0..loads.len() {
        if let Err(failure) = loads[place].begin().await {
            return loads.iter().map(|_| Err(failure.clone())).collect();
        }
    }
    let sides: Vec<Side> = loads.into_iter().map(Side::new).collect();
    let Some(Together { prepared, alike }) = stop.run_until_cancelled(prepare_all(&sides)).await else {
        return sides.iter().map(|side| Ok(summarise(&side.job, Vec::new(), started, true))).collect();
    };
    let mut running = Running::new(&sides, stop);
    let mut kept_from_starting: Vec<Option<Failure>> = Vec::new();
    for (load, prepared) in prepared.into_iter().enumerate() {
        kept_from_starting.push(prepared.map(|tables| running.add(load, tables, &alike)).err());
    }
    if kept_from_starting.iter().any(Option::is_none) {
        running.all().await;
    }
    let Running { stop, ended, .. } = running;
    let outcome = |((side, tables), failure): ((&Side, Vec<TableSummary>), Option<Failure>)| match failure {
        Some(failure) => Err(failure),
        None => Ok(summarise(&side.job, tables, started, stop.is_cancelled())),
    };
    sides.iter().zip(ended).zip(kept_from_starting).map(outcome).collect()
}

async fn prepare_all(sides: &[Side]) -> Together {
    match sides {
        [alone] => {
            let retries = PlanningRetries::new(&alone.job.limits, alone.observer.as_ref());
            let prepared = prepare(&alone.job, &alone.planning(), alone.observer.as_ref(), retries).await;
            let prepared = prepared.and_then(|prepared| match &alone.job.backfill {
                Some(backfill) => backfill.adapt(prepared),
                None => Ok(prepared),
            });
            Together { prepared: vec![prepared], ..Together::default() }
        }
        several => prepare_together(several).await,
    }
}

/// A table as some loads read it: together, where they are several.
#[derive(Default)]
struct Unit {
    loads: Vec<(usize, Planned)>,
}

/// What is known of a table that is going to be loaded.
struct Planned {
    plan: TablePlan,
    keys: Arc<[String]>,
    /// The columns that the source may change.
    altered: Vec<Adjustment>,
    columns: SchemaRef,
}

/// The tables that run, and how those before have ended.
struct Running<'s> {
    sides: &'s [Side],
    stop: CancellationToken,
    /// By table, then by the first load that reads it so.
    waiting: BTreeMap<(TableId, usize), Unit>,
    tasks: JoinSet<TableSummary>,
    /// Of each task: its load, its table, and the unit that it is a part of.
    unfinished: HashMap<tokio::task::Id, (usize, TableId, usize)>,
    /// Units that run, by number, with the number of their tasks.
    units: HashMap<usize, usize>,
    begun: usize,
    workers: Arc<Semaphore>,
    /// Units that may run at one time: tables, each for all of its loads.
    max_units: usize,
    /// By load.
    ended: Vec<Vec<TableSummary>>,
}

impl<'s> Running<'s> {
    fn new(sides: &'s [Side], stop: CancellationToken) -> Self {
        let parallel = sides.first().map_or(1, |side| side.job.limits.max_parallel_partitions.max(1));
        let parallel = usize::try_from(parallel).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let open_tables = sides.iter().filter_map(|side| side.destination.sink.max_open_tables());
        Self {
            sides,
            stop,
            waiting: BTreeMap::new(),
            tasks: JoinSet::new(),
            unfinished: HashMap::new(),
            units: HashMap::new(),
            begun: 0,
            workers: Arc::new(Semaphore::new(parallel)),
            max_units: open_tables.fold(parallel, usize::min).max(1),
            ended: sides.iter().map(|_| Vec::new()).collect(),
        }
    }

    /// Adds the tables of a load: each to the unit of those who read it by the same plan.
    fn add(&mut self, load: usize, tables: Vec<Prepared>, alike: &BTreeMap<TableId, Vec<Vec<usize>>>) {
        for Prepared { id, plan, .. } in tables {
            match plan {
                Ok((table, plan)) => {
                    let same = alike.get(&id).into_iter().flatten().find(|loads| loads.contains(&load));
                    let first = same.and_then(|loads| loads.iter().min()).copied().unwrap_or(load);
                    let planned = Planned::new(table, plan);
                    self.waiting.entry((id, first)).or_default().loads.push((load, planned));
                }
                Err(failure) => {
                    let summary = self.sides[load].not_begun(&id, &failure);
                    self.ended[load].push(summary);
                }
            }
        }
    }

    /// Runs all tables to their ends.
    async fn all(&mut self) {
        let mut report = tokio::time::interval(REPORT_PERIOD);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.reset();
        let timeout = self.sides.first().map_or(0, |side| side.job.limits.abort_timeout_ms);
        let abort_timeout = abort_timeout(self.stop.clone(), Duration::from_millis(timeout));
        tokio::pin!(abort_timeout);
        loop {
            while self.units.len() < self.max_units
                && !self.stop.is_cancelled()
                && let Some(((table, _), unit)) = self.waiting.pop_first()
            {
                self.begin(&table, unit);
            }
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                () = &mut abort_timeout => None,
                _ = report.tick() => {
                    self.report_connections(false);
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            self.end(ended);
        }
        self.stopped();
        self.report_connections(true);
    }

    fn begin(&mut self, table: &TableId, unit: Unit) {
        let number = self.begun;
        self.begun += 1;
        self.units.insert(number, unit.loads.len());
        let seats = self.seats(&unit);
        for ((load, planned), seat) in unit.loads.into_iter().zip(seats) {
            let plan = planned.plan.clone();
            let context = self.context(load, planned, seat);
            let copying = async move {
                let id = plan.table.clone();
                trace::table(&id, table::copy(context, plan)).await
            };
            let task = self.tasks.spawn(copying.in_current_span()).id();
            self.unfinished.insert(task, (load, table.clone(), number));
        }
    }

    /// A place for each load of a unit; none for one that is alone.
    fn seats(&self, unit: &Unit) -> Vec<Option<Arc<Seat>>> {
        match unit.loads.as_slice() {
            [(first, planned), _, ..] => {
                let names = unit.loads.iter().map(|(load, _)| self.sides[*load].ingest.clone()).collect();
                let of = (&self.sides[*first].job.datakit, &planned.plan);
                let seats = SharedRead::of(of, names, &self.workers, &self.stop);
                seats.into_iter().map(|seat| Some(Arc::new(seat))).collect()
            }
            others => others.iter().map(|_| None).collect(),
        }
    }

    fn context(&self, load: usize, planned: Planned, seat: Option<Arc<Seat>>) -> TableContext {
        let side = &self.sides[load];
        TableContext {
            job: Arc::clone(&side.job),
            session: side.job.session_of(&side.session, &planned.keys),
            destination: side.destination.clone(),
            observer: Arc::clone(&side.observer),
            workers: Arc::clone(&self.workers),
            stop: self.stop.child_token(),
            table: planned.plan.table,
            keys: planned.keys,
            altered: Arc::new(planned.altered),
            columns: Some(planned.columns),
            resume: Arc::default(),
            unit: side.destination.sink.retry_unit(),
            asks_watermark: false,
            checks: None,
            seat,
            reported_rows: Arc::default(),
        }
    }

    fn end(&mut self, ended: Result<(tokio::task::Id, TableSummary), JoinError>) {
        let task = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((load, table, unit)) = self.unfinished.remove(&task) else { return };
        if let Some(left) = self.units.get_mut(&unit) {
            *left -= 1;
            if *left == 0 {
                self.units.remove(&unit);
            }
        }
        self.ended[load].push(match ended {
            Ok((_, summary)) => summary,
            Err(crash) => {
                let failure = RunError::Crashed { table: table.clone(), message: crash.to_string() }.into();
                without_result(&table, TableStatus::Failed, &failure)
            }
        });
    }

    /// Tables that a stop kept from starting, or from ending in time.
    fn stopped(&mut self) {
        let waiting = std::mem::take(&mut self.waiting).into_values().flat_map(|unit| unit.loads);
        let waiting = waiting.map(|(load, planned)| (load, planned.plan.table));
        let unfinished = std::mem::take(&mut self.unfinished).into_values().map(|(load, table, _)| (load, table));
        for (load, table) in waiting.chain(unfinished) {
            let run_id = self.sides[load].job.run.run_id.clone();
            let failure = Failure::from(RunError::Stopped { table: table.clone(), run_id });
            self.ended[load].push(without_result(&table, TableStatus::Stopped, &failure));
        }
    }

    /// The loads share their connections, and so the first tells of them.
    fn report_connections(&self, is_last: bool) {
        if let Some(first) = self.sides.first() {
            first.job.report_connections(first.observer.as_ref(), is_last);
        }
    }
}

impl Planned {
    fn new(table: Table, plan: TablePlan) -> Self {
        let altered = altered_columns(&table);
        Self { plan, keys: Arc::from(table.primary_key.as_slice()), altered, columns: table.columns }
    }
}

/// Ends when a stop has been given its time.
async fn abort_timeout(stop: CancellationToken, timeout: Duration) {
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

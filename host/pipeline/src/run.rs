//! What a person can ask of a job before it runs: discover, plan, preview.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datakit_model::datakit::{Discovery, Session, Table, TablePlan};
use datakit_model::sink::{Sink, Target};
use datakit_model::{Failure, TableId, TablePatterns};
use tokio::task::JoinSet;

use crate::event::{Observer, RunEvent};
use crate::job::{Destination, Job};
use crate::prepare::{Prepared, prepare};
use crate::retry::PlanningRetries;
use crate::writing;

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
    let mut prepared =
        prepare(job, &job.planning_session(sink.clone()), observer, PlanningRetries::none(observer)).await?;
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

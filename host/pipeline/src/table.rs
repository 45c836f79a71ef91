//! One table: all of its partitions, one commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::datatypes::{Schema, SchemaRef};
use datakit_model::datakit::TablePlan;
use datakit_model::quality::RuleResult;
use datakit_model::receipt::{Delivered, Tally};
use datakit_model::sink::{CommitNote, Committed, RetryUnit, TableRows, TableWriter, WriteMode};
use datakit_model::source::Adjustment;
use datakit_model::{ColumnChange, ColumnOrigin, Failure, TableState};
use tokio::task::JoinSet;

use crate::context::TableContext;
use crate::error::RunError;
use crate::event::RunEvent;
use crate::opening::{self, Opened};
use crate::partition::{self, PartitionResult};
use crate::quality;
use crate::rejected;
use crate::resume::{self, Keeper, Load};
use crate::retry;
use crate::summary::{RejectedRows, TableCommit, TableError, TableStatus, TableSummary, seconds};
use crate::trace;
use crate::writing;

/// So long is a sink asked what a table holds that this run has not committed.
const MAX_COUNTING: Duration = Duration::from_secs(2);

/// What a committed table leaves.
struct Finished {
    committed: Committed,
    schema: Option<SchemaRef>,
    origins: Vec<ColumnOrigin>,
    adjustments: Vec<Adjustment>,
    rejected: Option<RejectedRows>,
    /// Partitions of the plan.
    partitions: usize,
    /// Those that a process before had finished.
    resumed: usize,
}

/// Reads and writes one table; its failure is in the summary.
pub(crate) async fn copy(context: TableContext, plan: TablePlan) -> TableSummary {
    let started = Instant::now();
    let mut summary = TableSummary {
        id: Some(plan.table.clone()),
        partitions: plan.partitions.len(),
        ..TableSummary::new(plan.table.to_string(), TableStatus::Failed)
    };
    let ended = attempts(&context, &plan, &mut summary).await;
    context.leaves();
    match ended {
        Ok(Some(finished)) => {
            summary.status = TableStatus::Committed;
            summary.rows = finished.committed.written.rows;
            summary.bytes = finished.committed.written.bytes;
            summary.holds = Some(finished.committed.holds);
            summary.consistent_snapshot = finished.committed.state.consistent_snapshot;
            summary.approximate = finished.committed.state.approximate;
            summary.filtered = finished.committed.state.filtered;
            summary.adjustments = finished.adjustments;
            let altered = context.altered.iter().map(|it| Adjustment { values: summary.rows, ..it.clone() });
            summary.adjustments.extend(altered);
            let rejected = finished.rejected.as_ref().map_or(0, |rejected| rejected.rows);
            summary.rejected = finished.rejected;
            (summary.partitions, summary.resumed_partitions) = (finished.partitions, finished.resumed);
            if let (Some(backfill), Some(schema)) = (&context.job.backfill, &finished.schema) {
                let (receipt, holds) = (finished.committed.receipt.as_ref(), finished.committed.holds);
                summary.backfill = Some(backfill.done(schema, &context.keys, receipt, holds));
            }
            summary.receipt = finished.committed.receipt.map(|receipt| receipt.with_rejected(rejected));
            summary.commit = finished.schema.map(|schema| {
                let position_after = finished.committed.state.watermark;
                let position_before = match context.job.backfill {
                    Some(_) => position_after.clone(),
                    None => context.job.planned_from(&context.table).flatten(),
                };
                Box::new(TableCommit { schema, origins: finished.origins, position_before, position_after })
            });
        }
        Ok(None) => summary.status = TableStatus::Unchanged,
        Err(failure) => {
            summary.drift.clear();
            // Whatever broke while the run was being stopped broke because of that.
            if context.stop.is_cancelled() {
                summary.status = TableStatus::Stopped;
            }
            summary.error = Some(TableError::from(&failure));
        }
    }
    if summary.holds.is_none() {
        // A sink that is in trouble may not say.
        summary.holds = tokio::time::timeout(MAX_COUNTING, context.rows()).await.ok().and_then(Result::ok);
    }
    summary.seconds = seconds(started.elapsed());
    summary.shared_with = context.partners();
    context.observer.event(RunEvent::TableFinished { summary: Box::new(summary.clone()) });
    summary
}

/// None: a run of the same id has committed the table before, or nothing has changed since the last load.
async fn attempts(
    context: &TableContext,
    plan: &TablePlan,
    summary: &mut TableSummary,
) -> Result<Option<Finished>, Failure> {
    let source_system = &context.job.run.source_system;
    summary.target = context.destination.sink.locate(source_system, &plan.table)?;
    if committed_state(context).await?.is_some() {
        return Ok(None);
    }
    opening::may_add_rows(context, plan).await?;
    let mut load = resume::look(context, plan).await?;
    load.context.says_what_it_reads(load.context.resume.missing(&load.plan));
    let estimates: Vec<u64> = load.plan.partitions.iter().filter_map(|p| p.estimated_rows).collect();
    context.observer.event(RunEvent::TableStarted {
        table: plan.table.to_string(),
        target: summary.target.clone(),
        partitions: load.plan.partitions.len(),
        estimated_rows: (!estimates.is_empty())
            .then(|| estimates.iter().fold(0, |sum: u64, rows| sum.saturating_add(*rows))),
    });
    let mut attempt = 1;
    loop {
        let attempted = attempt_copy(&load.context, &load.plan, &mut summary.drift, &mut summary.quality);
        let failure = match attempted.await {
            Ok(finished) => return Ok(finished),
            Err(AttemptError::Fatal(failure)) => return Err(failure),
            Err(AttemptError::Again(failure)) => failure,
            Err(AttemptError::Anew(failure)) => {
                context.reads_alone();
                resume::report_refused(context, &failure);
                load = Load::new(context, plan);
                continue;
            }
        };
        context.reads_alone();
        let Some(pause) = retry::pause(&failure, attempt, &context.job.limits) else { return Err(failure) };
        context.observer.event(RunEvent::Retrying {
            table: plan.table.to_string(),
            partition: None,
            attempt,
            rows_taken_back: context.reported_rows.swap(0, Ordering::Relaxed),
            pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            error: TableError::from(&failure),
        });
        context.sleep(pause).await?;
        attempt += 1;
    }
}

/// Whether starting the table again is in order.
pub(crate) enum AttemptError {
    Again(Failure),
    Fatal(Failure),
    /// In order, by the plan of this process: the source does not go on by the one of a process before.
    Anew(Failure),
}

/// None: nothing has changed since the last load, and nothing is committed.
async fn attempt_copy(
    context: &TableContext,
    plan: &TablePlan,
    drift: &mut Vec<ColumnChange>,
    found: &mut Vec<RuleResult>,
) -> Result<Option<Finished>, AttemptError> {
    // Nothing is written yet: trying again is safe for every sink.
    let Some((opened, checks)) = opening::open(context, plan).await? else { return Ok(None) };
    let context = &TableContext { checks, ..context.clone() };
    let (schema, writer) = (Arc::clone(&opened.schema), Arc::clone(&opened.writer));
    let origins = opened.first.as_ref().map(|first| first.extraction.origins()).unwrap_or_default();
    let resumed = writer.finished().len();
    *drift = writer.drift().to_vec();
    let copied = async {
        let mut results = copy_partitions(context, plan, opened).await?;
        quality::examine(context, plan, &mut results, found).await?;
        Ok::<_, Failure>(results)
    };
    let mut results = match copied.await {
        Ok(results) => results,
        Err(failure) => {
            writer.abort().await;
            // A sink that retries by partition has done so already.
            return Err(match context.unit {
                RetryUnit::Table => AttemptError::Again(failure),
                RetryUnit::Partition => AttemptError::Fatal(failure),
            });
        }
    };
    let note = CommitNote {
        watermark: plan.watermark_after.clone().or_else(|| results.iter_mut().find_map(|r| r.watermark.take())),
        consistent_snapshot: plan.partitions.len() <= 1 || (resumed == 0 && is_one_snapshot(&results)),
        approximate: results.iter().any(|r| r.report.approximate),
        filtered: results.iter().any(|r| r.report.filtered),
        delivered: delivered(context, &results),
    };
    // A commit without rows alters the columns, and has the next load compare with those of this one.
    let columns_changed = drift.iter().any(ColumnChange::is_settled_by_commit);
    if !columns_changed && nothing_changed(context, plan, &note, &results) {
        writer.abort().await;
        return Ok(None);
    }
    // Before the rows they were left out of: a run that is killed in between leaves too many of them, never too few.
    let rejected = match rejected::keep(context, plan, &mut results).await {
        Ok(rejected) => rejected,
        Err(failure) => {
            writer.abort().await;
            return Err(AttemptError::Fatal(failure));
        }
    };
    let committed = commit(context, &writer, note, &results).await.map_err(AttemptError::Fatal)?;
    let partitions = plan.partitions.len();
    let adjustments = merge_adjustments(results);
    Ok(Some(Finished { committed, schema: Some(schema), origins, adjustments, rejected, partitions, resumed }))
}

/// What all partitions handed to the sink; none: it was not counted.
fn delivered(context: &TableContext, results: &[PartitionResult]) -> Option<Delivered> {
    let none = Tally::new(context.job.receipt, &Schema::empty()).ok()??.delivered();
    results.iter().try_fold(none, |sum, result| Some(sum.and(result.delivered?)))
}

/// Whether a load that goes on from the last one has no row and reaches no further: a commit would say nothing. One that
/// reaches further is committed without rows, so that the position of an idle table does not grow old.
fn nothing_changed(context: &TableContext, plan: &TablePlan, note: &CommitNote, results: &[PartitionResult]) -> bool {
    let goes_on = context.job.planned_from(&context.table).flatten();
    let is_empty = |result: &PartitionResult| result.written.rows == 0 && result.report.rejected.rows().is_empty();
    writing::mode(context.destination.mode, plan.write) != WriteMode::Overwrite
        && goes_on.is_some()
        && goes_on == note.watermark
        && results.iter().all(is_empty)
}

/// Whether all partitions were read under one snapshot.
fn is_one_snapshot(results: &[PartitionResult]) -> bool {
    let Some((first, others)) = results.split_first() else { return false };
    first.report.snapshot.is_some() && others.iter().all(|other| other.report.snapshot == first.report.snapshot)
}

async fn copy_partitions(
    context: &TableContext,
    plan: &TablePlan,
    opened: Opened,
) -> Result<Vec<PartitionResult>, Failure> {
    let Opened { mut first, schema, writer } = opened;
    // One failed partition stops its siblings, not the other tables.
    let asks_watermark = plan.watermark_after.is_none() && plan.partitions.len() == 1;
    let context = TableContext { stop: context.stop.child_token(), asks_watermark, ..context.clone() };
    let finished = writer.finished();
    resume::report_finished(&context, plan, &finished);
    let mut results: Vec<PartitionResult> = finished.into_iter().map(PartitionResult::from).collect();
    let is_missing = |ordinal: u32| results.iter().all(|result| result.ordinal != ordinal);
    let missing: Vec<_> = plan.partitions.iter().filter(|partition| is_missing(partition.ordinal)).cloned().collect();
    let mut keeper = Keeper::new(&context, writer.as_ref(), missing.len());
    // What was kept meanwhile is not read.
    context
        .says_what_it_reads(missing.iter().filter(|it| first.as_ref().is_none_or(|first| first.ordinal != it.ordinal)));
    let mut tasks = JoinSet::new();
    for partition in missing {
        let (context, writer, schema) = (context.clone(), Arc::clone(&writer), Arc::clone(&schema));
        let open = first.take_if(|first| first.ordinal == partition.ordinal);
        tasks.spawn(trace::partition(partition.ordinal, async move {
            let turn = match open {
                Some(open) => open.into_turn(),
                None => context.turn(&partition).await?,
            };
            partition::copy(&context, &writer, &partition, &schema, turn).await
        }));
    }
    // One that is not read after all keeps no worker.
    drop(first);
    let mut failure = None;
    loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            () = keeper.due() => {
                if let Err(error) = keeper.keep().await {
                    failure.get_or_insert(error);
                    context.stop.cancel();
                }
                continue;
            }
        };
        let Some(joined) = joined else { break };
        let result = joined.unwrap_or_else(|crash| {
            Err(RunError::Crashed { table: plan.table.clone(), message: crash.to_string() }.into())
        });
        match result {
            Ok(result) => {
                keeper.add(&result);
                results.push(result);
            }
            Err(error) => {
                // The first failure is the cause; what follows are its siblings being stopped.
                failure.get_or_insert(error);
                context.stop.cancel();
            }
        }
    }
    match failure {
        None => Ok(results),
        Some(failure) => {
            keeper.end().await;
            Err(failure)
        }
    }
}

/// Commits; after an error that leaves it open whether the commit happened, the sink's state decides, never a second write.
async fn commit(
    context: &TableContext,
    writer: &Arc<dyn TableWriter>,
    note: CommitNote,
    results: &[PartitionResult],
) -> Result<Committed, Failure> {
    if context.stop.is_cancelled() {
        writer.abort().await;
        return Err(context.stopped());
    }
    let failure = match writer.commit(note).await {
        Ok(committed) => return Ok(committed),
        Err(failure) => failure,
    };
    if let Ok(Some(state)) = committed_state(context).await {
        let mut written = datakit_model::sink::Written::default();
        for result in results {
            written.rows += result.written.rows;
            written.bytes += result.written.bytes;
        }
        let holds = context.rows().await.unwrap_or(TableRows { rows: written.rows, at_least: true });
        return Ok(Committed { written, state, holds, receipt: None });
    }
    writer.abort().await;
    Err(failure)
}

/// The table's state in the sink, if this very run committed it.
async fn committed_state(context: &TableContext) -> Result<Option<TableState>, Failure> {
    let (run, to) = (&context.job.run, &context.destination);
    let state = to.sink.state_for(&run.source_system, &context.table, to.mode.unwrap_or_default()).await?;
    Ok(state.filter(|state| state.was_committed_by(&run.run_id)))
}

fn merge_adjustments(results: Vec<PartitionResult>) -> Vec<Adjustment> {
    let mut sums = BTreeMap::new();
    for adjustment in results.into_iter().flat_map(|r| r.report.adjustments) {
        *sums.entry((adjustment.column, adjustment.what)).or_insert(0) += adjustment.values;
    }
    sums.into_iter().map(|((column, what), values)| Adjustment { column, what, values }).collect()
}

//! Opens a table: its first partition, whose schema is the table's, then its sink.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datakit_model::Failure;
use datakit_model::changes::Strategy;
use datakit_model::datakit::{Extraction, TablePlan};
use datakit_model::sink::{TableWriter, Target, WriteMode};
use datakit_quality::Checks;

use crate::context::{TableContext, Turn};
use crate::error::RunError;
use crate::quality;
use crate::table::AttemptError;
use crate::writing;

/// A table that is ready to be read and written.
pub(crate) struct Opened {
    /// The first partition that is to be read; none: all are finished.
    pub(crate) first: Option<First>,
    /// The columns of all partitions.
    pub(crate) schema: SchemaRef,
    pub(crate) writer: Arc<dyn TableWriter>,
}

/// A partition that is open.
pub(crate) struct First {
    pub(crate) ordinal: u32,
    pub(crate) extraction: Box<dyn Extraction>,
    turn: Turn,
}

impl First {
    /// Its turn, with what is open.
    pub(crate) fn into_turn(self) -> Turn {
        Turn { opened: Some(Ok(self.extraction)), ..self.turn }
    }
}

/// A table with the checks of its rules.
pub(crate) type Checked = (Opened, Option<Arc<Checks>>);

/// Opens the first partition that is to be read, whose schema is the table's, then the sink. None: this very run has committed the
/// table meanwhile, in another process.
pub(crate) async fn open(context: &TableContext, plan: &TablePlan) -> Result<Option<Checked>, AttemptError> {
    let (first, schema) = open_first(context, plan).await?;
    let (run, resume) = (&context.job.run, &context.resume);
    let target = writing::target(&context.destination, run, plan, &context.keys, Arc::clone(&schema));
    let target = target.map_err(|error| AttemptError::Again(error.into()))?;
    let (drift, load) = (context.job.drift.of(&plan.table), resume.load(run, plan, &schema));
    let target = Target { drift, load, updates_only: context.job.backfill.is_some(), ..target };
    let roles = first.as_ref().map_or(&plan.roles, |first| first.extraction.roles());
    let checks = quality::compile(context, plan, &target, roles).map_err(AttemptError::Again)?;
    let writer = context.unless_stopped(context.destination.sink.open(target)).await.map_err(AttemptError::Again)?;
    let checked = async {
        let is_open = is_still_open(context).await?;
        if is_open {
            may_add_rows(context, plan).await?;
        }
        Ok(is_open)
    };
    match checked.await {
        Ok(true) => Ok(Some((Opened { first, schema, writer }, checks))),
        unopened => {
            writer.abort().await;
            unopened.map(|_| None).map_err(AttemptError::Again)
        }
    }
}

async fn open_first(context: &TableContext, plan: &TablePlan) -> Result<(Option<First>, SchemaRef), AttemptError> {
    let resume = &context.resume;
    let Some(partition) = resume.first(plan) else {
        let message = "a plan without partitions".to_owned();
        let crash = || AttemptError::Again(RunError::Crashed { table: plan.table.clone(), message }.into());
        return Ok((None, resume.schema().ok_or_else(crash)?));
    };
    let mut turn = context.turn(partition).await.map_err(AttemptError::Again)?;
    let extraction =
        turn.extraction(context, partition).await.map_err(|failure| match resume.is_refused_by(&failure) {
            true => AttemptError::Anew(failure),
            false => AttemptError::Again(failure),
        })?;
    writing::check_roles(plan, extraction.roles()).map_err(|error| AttemptError::Again(error.into()))?;
    let schema = extraction.schema();
    if !resume.fits(&schema) {
        let (table, ordinal) = (plan.table.clone(), partition.ordinal);
        return Err(AttemptError::Anew(RunError::PartitionSchema { table, ordinal }.into()));
    }
    Ok((Some(First { ordinal: partition.ordinal, extraction, turn }), schema))
}

/// Whether the table is still to be loaded. Checked when the table is open: from then on the sink sees to it that nobody else
/// commits first. False: this very run has committed it in another process. A plan that was made from a watermark holds as long as
/// the table keeps it: rows that another run has loaded since would be loaded again.
async fn is_still_open(context: &TableContext) -> Result<bool, Failure> {
    let (run, to) = (&context.job.run, &context.destination);
    let planned = context.job.planned_from(&context.table);
    let state = match planned {
        Some(_) => to.sink.state(&run.source_system, &context.table).await?,
        None => to.sink.state_for(&run.source_system, &context.table, to.mode.unwrap_or_default()).await?,
    };
    if state.as_ref().is_some_and(|state| state.was_committed_by(&run.run_id)) {
        return Ok(false);
    }
    if let Some(backfill) = &context.job.backfill {
        backfill.check(run, state.as_ref())?;
    }
    if planned.is_none_or(|planned| state.and_then(|state| state.watermark) == planned) {
        return Ok(true);
    }
    Err(RunError::Outdated { table: context.table.clone(), run_id: run.run_id.clone() }.into())
}

/// A full load doubles the rows that are there, or replaces them: which of both, the operator alone says. A load that goes on
/// from the watermark that the last one left, and leaves one for the next or proposes to append, adds what is new, and needs no
/// word, unless its plan proposes to replace rows. A merge neither doubles nor loses rows.
pub(crate) async fn may_add_rows(context: &TableContext, plan: &TablePlan) -> Result<(), Failure> {
    if merges_first_copy(context, plan) {
        return no_rows_before(context, plan).await;
    }
    let goes_on = context.job.planned_from(&context.table).flatten().is_some();
    let adds = goes_on
        && match plan.write {
            Some(WriteMode::Append) => true,
            Some(WriteMode::Overwrite) => false,
            Some(WriteMode::Merge) | None => plan.watermark_after.is_some(),
        };
    if context.destination.mode.is_some() || adds || plan.write == Some(WriteMode::Merge) {
        return Ok(());
    }
    let rows = context.rows().await?;
    if rows.rows == 0 {
        return Ok(());
    }
    let target = context.destination.sink.locate(&context.job.run.source_system, &context.table)?;
    Err(RunError::NoMode { table: context.table.clone(), target, rows, proposed: plan.write }.into())
}

/// Whether a merge begins with all rows of the source, and has deletes after them alone.
fn merges_first_copy(context: &TableContext, plan: &TablePlan) -> bool {
    let begins = context.job.planned_from(&context.table).is_some_and(|position| position.is_none());
    let deletes = plan.watermark_after.as_deref().is_some_and(Strategy::deletes_after);
    begins && deletes && writing::mode(context.destination.mode, plan.write) == WriteMode::Merge
}

/// Rows that are gone at the source by now are in no change that is read later.
async fn no_rows_before(context: &TableContext, plan: &TablePlan) -> Result<(), Failure> {
    let rows = context.rows().await?;
    if rows.rows == 0 {
        return Ok(());
    }
    let target = context.destination.sink.locate(&context.job.run.source_system, &context.table)?;
    let strategy = plan.strategy.clone().unwrap_or_default();
    Err(RunError::RowsBefore { target, rows, strategy }.into())
}

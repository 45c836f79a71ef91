//! Tables of which only changes are read, by whatever strategy: their plans, and what a partition has to know.

use serde::{Deserialize, Serialize};

use super::planning::{RowsState, State, fixed_rows};
use super::{Dialect, ReadColumn, SourceTable};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{ChangeRequest, Changes, Strategy, Validity};
use crate::plans::{FixedRows, PlannedPartition, TablePlan, WriteMode};
use crate::{bronze, state};

/// The changes of a partition: what is asked at planning, and how far they reached by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesState {
    /// The columns to read.
    pub columns: Vec<String>,
    /// How changes are found.
    pub strategy: Strategy,
    /// What the last commit reached; none: the whole table is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// How far the changes reached at planning; none: the table never had a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<String>,
}

impl ChangesState {
    /// The request for these changes.
    #[must_use]
    pub fn request(&self, table: &TableId) -> ChangeRequest {
        ChangeRequest {
            table: table.clone(),
            strategy: self.strategy.clone(),
            columns: self.columns.clone(),
            position: self.position.clone(),
            upper: self.upper.clone(),
        }
    }
}

/// Completes the plan of a table by its changes since the last commit. `cut` says the parts of a first copy that can be read in
/// parts; fewer than two: it is read whole.
///
/// # Errors
/// A strategy that the table does not offer, a column that only a query can read, changes that are lost, or what the server
/// reports.
pub(super) fn plan<D: Dialect>(
    changes: &impl Changes,
    table: &SourceTable<D::Column>,
    columns: &[ReadColumn<D::Read>],
    strategy: Strategy,
    cut: impl FnOnce() -> Result<Vec<D::Part>, Error>,
    plan: TablePlan,
) -> Result<TablePlan, Error> {
    let id = &table.id;
    if let Some(column) = columns.iter().find(|column| column.read != D::Read::default()) {
        return Err(query_only::<D>(id, &column.name, &strategy));
    }
    let mut state = ChangesState {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        strategy,
        position: changes.position(id),
        upper: None,
    };
    let reach = changes.reach(&state.request(id))?;
    state.upper = reach.upper;
    let is_known = !state.strategy.knows_position_at_end(&reach.validity);
    let watermark = state.upper.clone().filter(|_| is_known);
    let label = label(&state.strategy);
    let (partitions, fixed_rows) = match reach.validity {
        Validity::Whole => first_copy::<D>(table, columns, state, cut)?,
        Validity::Onward => (vec![partition::<D>(&State::Changes(state), None)?], None),
        Validity::Gap(reason) => return Err(lost::<D>(id, &reason)),
    };
    Ok(TablePlan {
        partitions,
        fixed_rows,
        write: Some(WriteMode::Append),
        strategy: Some(label),
        watermark,
        operation_column: Some(bronze::OPERATION.into()),
        version_column: Some(bronze::CHANGE_VERSION.into()),
        commit_time_column: Some(bronze::COMMIT_TIME.into()),
        missing_columns_column: Some(bronze::MISSING_COLUMNS.into()),
        ..plan
    })
}

/// The partitions of a first copy: parts that queries read, or one that the feed itself reads. And what fixes their rows.
fn first_copy<D: Dialect>(
    table: &SourceTable<D::Column>,
    columns: &[ReadColumn<D::Read>],
    state: ChangesState,
    cut: impl FnOnce() -> Result<Vec<D::Part>, Error>,
) -> Result<(Vec<PlannedPartition>, Option<FixedRows>), Error> {
    // A row's place in the order of a watermark is its own, which only the feed reads; without a position there is nothing that
    // later changes could be read after.
    let is_cut = !state.strategy.remembers_rows() && state.upper.is_some();
    let parts = if is_cut { cut()? } else { Vec::new() };
    if parts.len() < 2 {
        return Ok((vec![partition::<D>(&State::Changes(state), table.size.rows)?], None));
    }
    // A slot may be told meanwhile that the changes since an earlier position were read.
    let keeps_changes = state.strategy != Strategy::Logical;
    let fixed_rows = fixed_rows::<D>(&parts).filter(|_| keeps_changes);
    let estimated_rows = table.size.rows.map(|rows| rows.div_ceil(parts.len() as u64));
    let part = |part| {
        let rows = RowsState { columns: columns.to_vec(), part: Some(part), copy: Some(state.clone()) };
        partition::<D>(&State::Rows(rows), estimated_rows)
    };
    Ok((parts.into_iter().map(part).collect::<Result<_, Error>>()?, fixed_rows))
}

fn partition<D: Dialect>(
    state: &State<D::Read, D::Part>,
    estimated_rows: Option<u64>,
) -> Result<PlannedPartition, Error> {
    Ok(PlannedPartition { state: state::write(state)?, estimated_rows })
}

/// The strategy, for the operator.
fn label(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Watermark { column, .. } => format!("watermark {column}"),
        other => other.name().to_owned(),
    }
}

fn query_only<D: Dialect>(id: &TableId, column: &str, strategy: &Strategy) -> Error {
    let strategy = strategy.name();
    let message = format!(
        "column `{column}` of {id} is converted by the query that reads it, and `{strategy}` reads without one"
    );
    Error::config(D::CODES.not_by_changes, message)
        .with_hint(format_args!(
            "exclude it: `columns = {{ \"{id}\" = {{ exclude = [\"{column}\"] }} }}`, or turn off the setting that converts it; or load \
             all rows: `strategy = {{ \"{id}\" = \"full\" }}`"
        ))
        .with_context("table", id)
        .with_context("column", column)
}

/// The load cannot go on from the last one.
pub(super) fn lost<D: Dialect>(id: &TableId, reason: &str) -> Error {
    Error::source(D::CODES.lost_changes, format!("changes of {id} since the last load are lost: {reason}"))
        .with_hint(format_args!(
            "load the table anew by `--full-refresh`, which replaces its rows; or load all rows each time: `strategy = {{ \"{id}\" = \
             \"full\" }}` in the settings"
        ))
        .with_context("table", id)
}

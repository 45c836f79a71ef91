//! Tables of which only changes are read: rows whose watermark column is greater than what the last run reached.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::planning::State;
use super::{CommonSettings as _, Dialect, ReadColumn, SourceColumn, SourceTable, tables};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{ChangeRequest, Changes, Strategy, Validity};
use crate::plans::{PlannedPartition, TablePlan, WriteMode};
use crate::selection::Selection;
use crate::{bronze, state};

/// Field metadata that the host puts into the run's record: how the source may change the values before it sends them.
pub const ALTERED_KEY: &str = "datakit.altered";

/// How the changes of a table are found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatermarkRule {
    /// The column whose value grows with every insert and update: a date and time, a number, a rowversion.
    pub column: String,
    /// How far a run stays behind the newest value, for writers that commit late: milliseconds of a column of dates and times,
    /// else units of the column.
    #[serde(default)]
    pub lag: u64,
    /// How far before the last load's newest value rows are read again, for writers that commit late: in units of the lag. Rows
    /// that are loaded are left out.
    #[serde(default)]
    pub overlap: u64,
}

/// The changes of a partition: what is asked at planning, and how far they reached by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesState {
    /// The columns to read.
    pub columns: Vec<String>,
    /// The watermark column.
    pub column: String,
    /// The rule's lag.
    pub lag: u64,
    /// The rule's overlap.
    pub overlap: u64,
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
            strategy: Strategy::Watermark { column: self.column.clone(), lag: self.lag, overlap: self.overlap },
            columns: self.columns.clone(),
            position: self.position.clone(),
            upper: self.upper.clone(),
        }
    }
}

/// Completes the plan of a table by its changes since the last commit.
///
/// # Errors
/// A watermark column that the table does not have or that cannot be compared, a column that only a query can read, changes that
/// are lost, or what the server reports.
pub(super) fn plan<D: Dialect>(
    changes: &impl Changes,
    table: &SourceTable<D::Column>,
    columns: &[ReadColumn<D::Read>],
    rule: &Rule<'_, D>,
    plan: TablePlan,
) -> Result<TablePlan, Error> {
    let id = &table.id;
    if let Some(column) = columns.iter().find(|column| column.read != D::Read::default()) {
        return Err(query_only::<D>(id, &column.name));
    }
    let mut state = ChangesState {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        column: rule.column.to_owned(),
        lag: rule.lag,
        overlap: rule.overlap,
        position: changes.position(id),
        upper: None,
    };
    let reach = changes.reach(&state.request(id))?;
    let estimated_rows = match reach.validity {
        Validity::Whole => table.size.rows,
        Validity::Onward => None,
        Validity::Gap(reason) => return Err(lost::<D>(id, &reason)),
    };
    state.upper = reach.upper;
    let state = state::write(&State::<D::Read, D::Part>::Changes(state))?;
    Ok(TablePlan {
        partitions: vec![PlannedPartition { state, estimated_rows }],
        write: Some(WriteMode::Append),
        strategy: Some(format!("watermark {}", rule.column)),
        operation_column: Some(bronze::OPERATION.into()),
        version_column: Some(bronze::CHANGE_VERSION.into()),
        commit_time_column: Some(bronze::COMMIT_TIME.into()),
        missing_columns_column: Some(bronze::MISSING_COLUMNS.into()),
        ..plan
    })
}

/// A rule whose column the table has.
#[derive(Debug)]
pub(super) struct Rule<'a, D> {
    /// As the server spells it.
    column: &'a str,
    lag: u64,
    overlap: u64,
    dialect: PhantomData<D>,
}

impl<'a, D: Dialect> Rule<'a, D> {
    /// The rule of a table among those of the settings, if there is one.
    ///
    /// # Errors
    /// A pattern that is not one; a column that the table does not have, or whose values the server does not show.
    pub(super) fn of(
        table: &'a SourceTable<D::Column>,
        selection: &Selection,
        settings: &D::Settings,
    ) -> Result<Option<Self>, Error> {
        let id = &table.id;
        let Some(rule) = selection.rule_for(settings.common().watermark, id)? else { return Ok(None) };
        let names: Vec<&str> = table.columns.iter().map(SourceColumn::name).collect();
        let column = selection.spelling_among(&rule.column, &names).and_then(|name| table.column(name));
        let Some(column) = column else {
            return Err(tables::unknown_column::<D>(id, &rule.column)
                .with_hint("see `watermark` in the settings")
                .with_context("table", id)
                .with_context("column", &rule.column));
        };
        if column.fields(settings).iter().flat_map(|field| &field.metadata).any(|(key, _)| key == ALTERED_KEY) {
            return Err(altered::<D>(id, column.name()));
        }
        Ok(Some(Self { column: column.name(), lag: rule.lag, overlap: rule.overlap, dialect: PhantomData }))
    }
}

fn altered<D: Dialect>(id: &TableId, column: &str) -> Error {
    let message =
        format!("the server does not show the values of the watermark column `{column}` of {id} to this login");
    Error::config(D::CODES.not_by_watermark, message)
        .with_hint("grant the login UNMASK, choose another column, or load all rows, without `watermark`")
        .with_context("table", id)
        .with_context("column", column)
}

fn query_only<D: Dialect>(id: &TableId, column: &str) -> Error {
    let message =
        format!("column `{column}` of {id} is converted by the query that reads it, and `watermark` reads without one");
    Error::config(D::CODES.not_by_watermark, message)
        .with_hint(format_args!(
            "exclude it: `columns = {{ \"{id}\" = {{ exclude = [\"{column}\"] }} }}`, or turn off the setting that converts it; or load \
             all rows, without `watermark`"
        ))
        .with_context("table", id)
        .with_context("column", column)
}

fn lost<D: Dialect>(id: &TableId, reason: &str) -> Error {
    Error::source(D::CODES.lost_changes, format!("changes of {id} since the last load are lost: {reason}"))
        .with_hint(
            "load the table anew by `--mode overwrite`, which replaces its rows; or remove it from the setting `watermark`, \
             and all rows are loaded each time",
        )
        .with_context("table", id)
}

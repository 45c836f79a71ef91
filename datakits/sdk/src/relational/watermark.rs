//! The setting `watermark`: which column of a table a load by watermark goes by.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CommonSettings as _, Dialect, SourceColumn, SourceTable, tables};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::Strategy;
use crate::selection::Selection;

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

    /// The strategy that the rule asks for.
    pub(super) fn strategy(&self) -> Strategy {
        Strategy::Watermark { column: self.column.to_owned(), lag: self.lag, overlap: self.overlap }
    }
}

fn altered<D: Dialect>(id: &TableId, column: &str) -> Error {
    let message =
        format!("the server does not show the values of the watermark column `{column}` of {id} to this login");
    Error::config(D::CODES.not_by_changes, message)
        .with_hint("grant the login UNMASK, choose another column, or load all rows, without `watermark`")
        .with_context("table", id)
        .with_context("column", column)
}

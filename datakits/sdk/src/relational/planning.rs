//! How a table is read: by changes where the settings say so, else whole, and how it is cut into partitions then.

use serde::{Deserialize, Serialize};

use super::changes::{self, ChangesState};
use super::strategy::{Chosen, Strategies};
use super::{CommonSettings as _, Dialect, ReadColumn, RelationalSettings as _, SourceColumn, SourceTable, tables};
use crate::bindings::datakit::kit::types::Error;
use crate::changes::{Changes, Offer};
use crate::plans::{FixedRows, PlannedPartition, TablePlan};
use crate::quality::QualityRule;
use crate::queries::Queries;
use crate::ranges::{self, Cut, KeyType};
use crate::selection::Selection;
use crate::{bronze, log, state};

/// What an extraction has to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[serde(bound(serialize = "R: Serialize + Default + PartialEq, P: Serialize"))]
#[serde(bound(deserialize = "R: Deserialize<'de> + Default, P: Deserialize<'de>"))]
pub enum State<R, P> {
    /// Rows are read by a query.
    Rows(RowsState<R, P>),
    /// Rows are read by a feed of changes.
    Changes(ChangesState),
}

/// The query for the rows of a partition: columns as they were at planning, so that all partitions agree on them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(serialize = "R: Serialize + Default + PartialEq, P: Serialize"))]
#[serde(bound(deserialize = "R: Deserialize<'de> + Default, P: Deserialize<'de>"))]
pub struct RowsState<R, P> {
    /// The columns to read.
    pub columns: Vec<ReadColumn<R>>,
    /// The rows to read; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<P>,
    /// The rows are of this feed's first copy; none: of no feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<ChangesState>,
}

/// Plans tables of one run.
pub(super) struct Planner<'a, D: Dialect, Q, C> {
    pub(super) queries: &'a Q,
    pub(super) changes: &'a C,
    pub(super) selection: Selection,
    pub(super) settings: &'a D::Settings,
    pub(super) once: D::Once,
}

impl<D: Dialect, Q: Queries, C: Changes> Planner<'_, D, Q, C> {
    /// The plan of one table, which offers these strategies.
    ///
    /// # Errors
    /// Columns that cannot be read as the settings want, lost changes, or a server that does not answer.
    pub(super) fn plan(&self, table: &SourceTable<D::Column>, offers: &[Offer]) -> Result<TablePlan, Error> {
        let selected = tables::selected::<D>(table, &self.selection)?;
        let columns = D::read_columns(&table.id, &selected, self.settings)?;
        let names = || columns.iter().map(|column| column.name.as_str());
        bronze::check_names(&table.id, names())?;
        let keys = table.key_among(names());
        let plan = TablePlan {
            rules: if self.settings.common().key_rules { QualityRule::of_key(&keys) } else { Vec::new() },
            keys,
            load_id_column: Some(bronze::BATCH_ID.into()),
            ..TablePlan::new(table.id.clone())
        };
        let strategies = Strategies::of::<D>(table, &self.selection, self.settings, self.changes, offers)?;
        let Chosen { strategy, why } = strategies.choose().map_err(|reason| changes::lost::<D>(&table.id, &reason))?;
        let plan = TablePlan { why, ..plan };
        let plan = match strategy {
            Some(strategy) => changes::plan::<D>(self.changes, table, &columns, strategy, || self.cut(table), plan)?,
            None => self.plan_rows(table, columns, plan)?,
        };
        log::debug("planned", &[("table", table.id.to_string()), ("partitions", plan.partitions.len().to_string())]);
        Ok(plan)
    }

    /// All rows, by queries.
    fn plan_rows(
        &self,
        table: &SourceTable<D::Column>,
        columns: Vec<ReadColumn<D::Read>>,
        plan: TablePlan,
    ) -> Result<TablePlan, Error> {
        let parts = self.cut(table)?;
        let fixed_rows = fixed_rows::<D>(&parts);
        let parts: Vec<Option<D::Part>> =
            if parts.len() < 2 { vec![None] } else { parts.into_iter().map(Some).collect() };
        let estimated_rows = table.size.rows.map(|rows| rows.div_ceil(parts.len() as u64));
        let partition = |part| {
            let state = State::Rows(RowsState { columns: columns.clone(), part, copy: None });
            Ok(PlannedPartition { state: state::write(&state)?, estimated_rows })
        };
        let partitions = parts.into_iter().map(partition).collect::<Result<_, Error>>()?;
        Ok(TablePlan { partitions, strategy: Some("full".into()), fixed_rows, ..plan })
    }

    /// The parts to read; fewer than two: the table is read whole.
    fn cut(&self, table: &SourceTable<D::Column>) -> Result<Vec<D::Part>, Error> {
        let common = self.settings.common();
        let Some(rows) = table.size.rows.filter(|rows| *rows > common.partition_row_threshold) else {
            return Ok(Vec::new());
        };
        let parts = rows.div_ceil(common.partition_rows.max(1));
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).clamp(1, common.max_partitions.max(1));
        if parts < 2 {
            return Ok(Vec::new());
        }
        if let Some(parts) = D::parts(self.queries, &self.once, table, parts, self.settings)? {
            return Ok(parts);
        }
        let Some((key, key_type)) = range_key::<D>(table) else { return Ok(Vec::new()) };
        let cut = Cut {
            key_type,
            rows,
            parts,
            extent: &D::key_extent(&table.id, key, key_type, self.settings),
            quantiles: |step| D::key_quantiles(&table.id, key, key_type, step, self.settings),
            options: self.settings.query_options()?,
            unexpected_answer: D::CODES.unexpected_answer,
        };
        let bounds = cut.bounds(self.queries)?;
        Ok(ranges::between(key, key_type, bounds).into_iter().map(D::Part::from).collect())
    }
}

/// What fixes the rows of parts, whenever they are read.
pub(super) fn fixed_rows<D: Dialect>(parts: &[D::Part]) -> Option<FixedRows> {
    parts.iter().all(D::is_range).then_some(FixedRows::Ranges)
}

/// The key ranges are cut from: a primary key of one column of a suitable type.
fn range_key<D: Dialect>(table: &SourceTable<D::Column>) -> Option<(&str, KeyType)> {
    let [key] = table.primary_key.as_slice() else { return None };
    let column = table.column(key)?;
    Some((column.name(), column.key_type()?))
}

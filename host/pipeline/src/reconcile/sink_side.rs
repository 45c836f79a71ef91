//! The rows of the sink.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datakit_model::Failure;
use datakit_model::datakit::RoleColumns;
use uuid::Uuid;

use super::columns::Columns;
use super::comparable::Comparable;
use super::error::ReconcileError;
use super::facts::{self, Told};
use super::held::{Lanes, Reduction};
use super::look::{Subject, Wanted};
use super::rows::{Entries, Side};
use super::scope::Rows;

/// The rows of the sink, and how they are compared.
pub(super) struct HeldRows {
    pub(super) comparable: Arc<Comparable>,
    pub(super) side: Side,
}

impl Subject {
    /// The rows of the sink.
    pub(super) async fn held(
        &self,
        columns: &Columns,
        roles: &RoleColumns,
        (rows, load_time, wanted): (Rows, Option<&str>, Option<Wanted>),
    ) -> Result<HeldRows, Failure> {
        let mut names: Vec<String> = columns.fields.iter().map(|field| field.name().clone()).collect();
        let told = told(roles, rows, load_time, &mut names);
        let values = self.sink.values(self.source_system(), self.id(), &names).await?;
        let mut values = values.ok_or_else(|| self.not_loaded())?;
        let lanes = lanes(columns, told.missing.is_some(), wanted.is_some());
        let mut held = None;
        while let Some(batch) = values.next().await? {
            let HeldRows { comparable, side } = match &mut held {
                Some(held) => held,
                none => none.insert(self.compared_with(columns, &types(&batch), lanes)?),
            };
            let entries = Entries::of_sink(comparable, &told, &batch).map_err(|error| self.values_failed(error))?;
            self.add(&entries, side, lanes, wanted.as_ref())?;
        }
        match held {
            Some(held) => Ok(held),
            None => self.compared_with(columns, &[], lanes),
        }
    }

    fn not_loaded(&self) -> ReconcileError {
        ReconcileError::NotLoaded { table: self.id().to_string(), target: self.target.clone() }
    }

    /// Whether the sink has the table.
    pub(super) async fn check_is_there(&self, columns: &Columns) -> Result<(), Failure> {
        let names: Vec<String> = columns.fields.iter().take(1).map(|field| field.name().clone()).collect();
        let values = self.sink.values(self.source_system(), self.id(), &names).await?;
        values.map(drop).ok_or_else(|| self.not_loaded().into())
    }

    /// The load that began last, as the rows of the sink say it.
    pub(super) async fn last_load_held(
        &self,
        roles: &RoleColumns,
        load_time: Option<&str>,
    ) -> Result<Option<Uuid>, Failure> {
        let (Some(load), Some(time)) = (&roles.load_id, load_time) else { return Ok(None) };
        let names = [load.clone(), time.to_owned()];
        let Some(mut values) = self.sink.values(self.source_system(), self.id(), &names).await? else {
            return Ok(None);
        };
        let mut last = None;
        while let Some(batch) = values.next().await? {
            last = last.max(facts::last_load(&batch).map_err(|error| self.values_failed(error))?);
        }
        Ok(last.map(|(_, load)| load))
    }

    fn compared_with(&self, columns: &Columns, sink: &[DataType], lanes: Lanes) -> Result<HeldRows, Failure> {
        let comparable = Comparable::new(&columns.fields, &columns.keys, sink, lanes);
        let comparable = comparable.map_err(|error| self.values_failed(error))?;
        Ok(HeldRows { side: Side::new(&comparable), comparable: Arc::new(comparable) })
    }

    fn add(&self, entries: &Entries, side: &mut Side, lanes: Lanes, wanted: Option<&Wanted>) -> Result<(), Failure> {
        let is_wanted = |key: &[u8]| wanted.is_none_or(|wanted| wanted.contains(key));
        entries.add_to(side, lanes, is_wanted).map_err(|source| self.spool_failed(source))
    }
}

/// Asks for the columns that say what a row is, behind those that are compared.
fn told(roles: &RoleColumns, rows: Rows, load_time: Option<&str>, names: &mut Vec<String>) -> Told {
    let mut place = |name: Option<&str>| {
        let name = name?;
        names.push(name.to_owned());
        Some(names.len() - 1)
    };
    let are_changes = rows.reduction() == Reduction::Latest;
    let of_changes = |name: Option<&'_ str>| name.filter(|_| are_changes).map(str::to_owned);
    Told {
        load: rows.load.and_then(|load| Some((place(roles.load_id.as_deref())?, load))),
        operation: place(of_changes(roles.operation.as_deref()).as_deref()),
        missing: place(roles.missing_columns.as_deref()),
        load_time: place(of_changes(load_time).as_deref()),
        version: place(of_changes(roles.version.as_deref()).as_deref()),
    }
}

/// Columns have hashes of their own where rows may lack values, and where few rows are looked at.
fn lanes(columns: &Columns, may_lack_values: bool, is_second: bool) -> Lanes {
    match (may_lack_values, is_second) {
        (true, _) => Lanes { of_row: false, of_columns: columns.fields.len() },
        (false, true) => Lanes { of_row: true, of_columns: columns.fields.len() },
        (false, false) => Lanes::ROW,
    }
}

fn types(batch: &RecordBatch) -> Vec<DataType> {
    batch.schema_ref().fields().iter().map(|field| field.data_type().clone()).collect()
}

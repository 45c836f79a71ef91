//! Backfills: columns of rows that are there get the values that the source has now (docs/backfill.md).
//!
//! The datakit reads the whole table, as for a first load. Of each row the host keeps the key, the columns that are asked for and
//! those that are made of them, and the sink gives their values to the rows of the same keys.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datakit_model::backfill::{Backfilled, BackfilledRows};
use datakit_model::datakit::{Extraction, RoleColumns, TablePlan};
use datakit_model::receipt::{MergedRows, Receipt};
use datakit_model::sink::{Sink, TableRows};
use datakit_model::source::ReadReport;
use datakit_model::{ColumnOrigin, Derivation, Failure, ReceiptLevel, RunIdentity, TableId, TableState, TrackedBatch};

use crate::error::RunError;
use crate::job::Job;
use crate::prepare::Prepared;

/// Which columns of which table get values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRequest {
    /// The table, by its names as the source spells them.
    pub table: TableId,
    /// Its columns as the datakit gives them; at least one.
    pub columns: Vec<String>,
}

/// A backfill under way.
#[derive(Debug)]
pub(crate) struct Backfill {
    request: BackfillRequest,
    /// Where the table is.
    target: String,
    /// Commits of the table before anything of the source was read; none: no load has committed it.
    sequence: Option<i64>,
}

impl Job {
    /// The same job, to fill columns of rows that are there. Its rules of quality are not checked: no row is added. What is written
    /// is always counted.
    #[must_use]
    pub fn backfilling(mut self, request: BackfillRequest) -> Self {
        if self.receipt == ReceiptLevel::Off {
            self.receipt = ReceiptLevel::Count;
        }
        self.quality.clear();
        self.backfill = Some(Backfill { request, target: String::new(), sequence: None });
        self
    }
}

impl Backfill {
    /// Notes the state that the table is in before anything is read: values of the source must not go over those of a later load.
    ///
    /// # Errors
    /// The sink cannot be read.
    pub(crate) async fn begin(&mut self, run: &RunIdentity, sink: &Arc<dyn Sink>) -> Result<(), Failure> {
        let table = &self.request.table;
        self.target = sink.locate(&run.source_system, table)?;
        self.sequence = sink.state(&run.source_system, table).await?.map(|state| state.sequence);
        Ok(())
    }

    /// The plan of the table as that of a backfill; other tables are left out.
    pub(crate) fn adapt(&self, prepared: Vec<Prepared>) -> Result<Vec<Prepared>, Failure> {
        let wanted = &self.request.table;
        let found = prepared.first().map(|table| table.id.clone());
        let is_wanted = |table: &Prepared| table.id.schema == wanted.schema && table.id.name == wanted.name;
        let mut of_table: Vec<Prepared> = prepared.into_iter().filter(is_wanted).collect();
        if let (true, Some(found)) = (of_table.is_empty(), found) {
            return Err(RunError::BackfillSpelling { table: wanted.clone(), found: Box::new(found) }.into());
        }
        for table in &mut of_table {
            let Ok((described, plan)) = &mut table.plan else { continue };
            let keys = if plan.keys.is_empty() { described.primary_key.clone() } else { plan.keys.clone() };
            if let Err(error) = self.check_loaded().and_then(|()| self.check_key(&keys)) {
                table.plan = Err(error.into());
                continue;
            }
            described.primary_key.clone_from(&keys);
            *plan = TablePlan {
                watermark_after: None,
                write: None,
                keys,
                partition_by: Vec::new(),
                roles: RoleColumns::default(),
                fixed: None,
                rules: Vec::new(),
                ..plan.clone()
            };
        }
        Ok(of_table)
    }

    fn check_loaded(&self) -> Result<(), RunError> {
        let (table, target) = (self.request.table.clone(), self.target.clone());
        self.sequence.map(drop).ok_or(RunError::BackfillUnloaded { table, target })
    }

    fn check_key(&self, keys: &[String]) -> Result<(), RunError> {
        let table = || self.request.table.clone();
        if keys.is_empty() {
            return Err(RunError::BackfillNoKey { table: table() });
        }
        match self.request.columns.iter().find(|column| keys.contains(column)) {
            Some(column) => Err(self.refused(column, "it is of the key, by which rows are found")),
            None => Ok(()),
        }
    }

    fn missing(&self, column: &str, schema: &Schema) -> RunError {
        let (table, column) = (self.request.table.clone(), column.to_owned());
        let columns = schema.fields().iter().map(|field| field.name().clone()).collect();
        let problem = "the rows have no such column";
        RunError::BackfillColumn { table: Box::new(table), column, problem, columns }
    }

    fn refused(&self, column: &str, problem: &'static str) -> RunError {
        let (table, column) = (self.request.table.clone(), column.to_owned());
        RunError::BackfillColumn { table: Box::new(table), column, problem, columns: Vec::new() }
    }

    /// The rows of a partition with the columns of the backfill alone.
    ///
    /// # Errors
    /// A column that the rows do not have, or that the host fills.
    pub(crate) fn projected(
        &self,
        keys: &[String],
        extraction: Box<dyn Extraction>,
    ) -> Result<Box<dyn Extraction>, Failure> {
        let schema = extraction.schema();
        let columns = self.columns(&schema, extraction.roles(), &extraction.origins())?;
        let mut places = Vec::with_capacity(keys.len() + columns.len());
        for key in keys {
            let missing = || RunError::BackfillNoKey { table: self.request.table.clone() };
            places.push(schema.index_of(key).map_err(|_| missing())?);
        }
        places.extend(columns.iter().filter(|name| !keys.contains(name)).filter_map(|name| schema.index_of(name).ok()));
        let crashed = |error: arrow::error::ArrowError| RunError::Crashed {
            table: self.request.table.clone(),
            message: error.to_string(),
        };
        let schema = Arc::new(schema.project(&places).map_err(crashed)?);
        let (table, roles) = (self.request.table.clone(), RoleColumns::default());
        Ok(Box::new(Projected { table, extraction, places, schema, roles }))
    }

    /// The columns that get values: those that are asked for, then those that are made of them.
    fn columns(&self, schema: &Schema, roles: &RoleColumns, origins: &[ColumnOrigin]) -> Result<Vec<String>, RunError> {
        let mut columns: Vec<String> = Vec::new();
        for column in &self.request.columns {
            if schema.index_of(column).is_err() {
                return Err(self.missing(column, schema));
            }
            if roles.named().any(|(_, name)| name == column) {
                return Err(self.refused(column, "the host fills it for each load"));
            }
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        // A hash of the whole row is made of all columns, and none of them is filled with it.
        let is_filled =
            |origin: &&ColumnOrigin| origin.derivation != Derivation::Hash && columns.contains(&origin.column);
        let of_filled = origins.iter().filter(is_filled);
        let inputs: HashSet<&String> = of_filled.flat_map(|origin| &origin.inputs).collect();
        let is_made_of_them = |origin: &&ColumnOrigin| {
            origin.derivation != Derivation::Identity
                && schema.index_of(&origin.column).is_ok()
                && origin.inputs.iter().any(|input| inputs.contains(input))
        };
        let made: Vec<String> = origins.iter().filter(is_made_of_them).map(|origin| origin.column.clone()).collect();
        let made: Vec<String> = made.into_iter().filter(|column| !columns.contains(column)).collect();
        columns.extend(made);
        Ok(columns)
    }

    /// Whether the table is in the state that it was in before anything was read.
    ///
    /// # Errors
    /// Another run has committed the table meanwhile.
    pub(crate) fn check(&self, run: &RunIdentity, state: Option<&TableState>) -> Result<(), RunError> {
        if state.map(|state| state.sequence) == self.sequence {
            return Ok(());
        }
        Err(RunError::Outdated { table: self.request.table.clone(), run_id: run.run_id.clone() })
    }

    /// What was done, for people.
    pub(crate) fn done(
        &self,
        schema: &Schema,
        keys: &[String],
        receipt: Option<&Receipt>,
        holds: TableRows,
    ) -> Backfilled {
        let columns = schema.fields().iter().map(|field| field.name().clone());
        let columns = columns.filter(|name| !keys.contains(name)).collect();
        Backfilled { columns, rows: receipt.and_then(|receipt| receipt.merged).map(|merged| rows(merged, holds)) }
    }
}

fn rows(merged: MergedRows, holds: TableRows) -> BackfilledRows {
    let there = merged.updated + merged.unchanged;
    BackfilledRows {
        filled: merged.updated,
        unchanged: merged.unchanged,
        not_in_table: merged.left_out,
        not_in_source: (!holds.at_least).then(|| holds.rows.saturating_sub(there)),
    }
}

/// Rows of a datakit with a part of their columns.
struct Projected {
    table: TableId,
    extraction: Box<dyn Extraction>,
    places: Vec<usize>,
    schema: SchemaRef,
    /// None: no column of the host is among them.
    roles: RoleColumns,
}

#[async_trait]
impl Extraction for Projected {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        let Some(rows) = self.extraction.next().await? else { return Ok(None) };
        let crashed = |error: arrow::error::ArrowError| RunError::Crashed {
            table: self.table.clone(),
            message: error.to_string(),
        };
        let batch = rows.batch().project(&self.places).map_err(crashed)?;
        let batch = batch.with_schema(Arc::clone(&self.schema)).map_err(crashed)?;
        Ok(Some(rows.derive(batch)))
    }

    fn roles(&self) -> &RoleColumns {
        &self.roles
    }

    fn origins(&self) -> Vec<ColumnOrigin> {
        let mut origins = self.extraction.origins();
        origins.retain(|origin| self.schema.index_of(&origin.column).is_ok());
        origins
    }

    fn report(&mut self) -> ReadReport {
        self.extraction.report()
    }

    /// The positions of the table stay.
    async fn watermark(&mut self) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datakit_model::Diagnostic;

    use super::*;

    fn backfill(columns: &[&str]) -> Backfill {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        let request = BackfillRequest { table: TableId::new("dbo", "t"), columns };
        Backfill { request, target: "there".to_owned(), sequence: Some(3) }
    }

    fn schema() -> Schema {
        let field = |name: &str| Field::new(name, DataType::Utf8, true);
        Schema::new(["id", "extra", "masked", "note", "hash", "batch"].map(field).to_vec())
    }

    fn origins() -> Vec<ColumnOrigin> {
        let origin = |column: &str, inputs: &[&str], derivation| ColumnOrigin {
            column: column.to_owned(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            derivation,
        };
        vec![
            origin("id", &["id"], Derivation::Identity),
            origin("extra", &["extra"], Derivation::Identity),
            origin("masked", &["extra"], Derivation::Expression),
            origin("note", &["note"], Derivation::Identity),
            origin("hash", &["id", "extra", "note"], Derivation::Hash),
            origin("batch", &[], Derivation::Expression),
        ]
    }

    fn columns(asked: &[&str]) -> Result<Vec<String>, RunError> {
        let roles = RoleColumns { load_id: Some("batch".to_owned()), ..RoleColumns::default() };
        backfill(asked).columns(&schema(), &roles, &origins())
    }

    #[test]
    fn columns_that_are_made_of_a_filled_one_are_filled_too() {
        assert_eq!(columns(&["extra"]).unwrap(), ["extra", "masked", "hash"]);
        assert_eq!(columns(&["note", "note"]).unwrap(), ["note", "hash"]);
        assert_eq!(columns(&["hash"]).unwrap(), ["hash"]);
    }

    #[test]
    fn column_that_is_missing_or_of_the_host_is_refused() {
        let missing = columns(&["extr"]).unwrap_err();
        assert_eq!(missing.code(), "DK-RUN-066");
        assert!(missing.hint().unwrap_or_default().contains("extra, masked"), "{missing}");
        let of_host = columns(&["batch"]).unwrap_err();
        assert!(of_host.to_string().contains("the host fills it"), "{of_host}");
    }

    #[test]
    fn key_is_needed_and_is_not_filled() {
        let keys = ["id".to_owned()];
        assert!(backfill(&["extra"]).check_key(&keys).is_ok());
        assert_eq!(backfill(&["extra"]).check_key(&[]).unwrap_err().code(), "DK-RUN-067");
        assert_eq!(backfill(&["id"]).check_key(&keys).unwrap_err().code(), "DK-RUN-066");
    }

    #[test]
    fn rows_are_told_apart_by_what_became_of_them() {
        let merged = MergedRows { updated: 2, unchanged: 1, left_out: 4, ..MergedRows::default() };
        let counted = rows(merged, TableRows { rows: 5, at_least: false });
        assert_eq!((counted.filled, counted.not_in_table, counted.not_in_source), (2, 4, Some(2)));
        assert_eq!(rows(merged, TableRows { rows: 5, at_least: true }).not_in_source, None);
    }
}

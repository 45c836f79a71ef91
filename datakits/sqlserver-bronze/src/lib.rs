//! Reads SQL Server tables and views into Bronze: every selected column as it is, then the Bronze columns.
//!
//! - [`catalog`]: what is asked of the server's catalog; [`discovery`]: its answers as tables;
//! - [`settings`]: what the operator can choose; [`shape`]: which columns are read, and as what; [`types`]: their types;
//! - [`planning`]: how a table is cut into partitions, by ranges of its key;
//! - [`statement`]: the texts of queries; [`extraction`]: the rows on their way.
//!
//! The datakit never looks at rows of tables: the host decodes, shapes and writes them.

pub mod catalog;
pub mod discovery;
pub mod errors;
pub mod extraction;
pub mod planning;
pub mod settings;
pub mod shape;
pub mod statement;
pub mod types;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use datakit_sdk::{
    Connection, Datakit, Description, DiscoveryRequest, Error, Partition, Queries, Role, Run, Table, TableId,
    TablePlan, export_datakit, log,
};

use crate::discovery::SourceTable;
use crate::extraction::TableExtraction;
use crate::settings::Settings;

/// The only role: where rows come from.
const ROLE: &str = "source";

/// The datakit.
#[derive(Debug)]
pub struct SqlServerBronze;

export_datakit!(SqlServerBronze);

impl Datakit for SqlServerBronze {
    type Settings = Settings;
    type Extraction = TableExtraction;

    fn describe() -> Description {
        Description {
            name: "sqlserver-bronze".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            roles: vec![Role {
                name: ROLE.into(),
                kinds: vec!["sqlserver".into()],
                purpose: "The database whose tables and views are read.".into(),
            }],
        }
    }

    fn discover(run: &Run<Settings>, _: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        discover(&Connection::open(ROLE)?, &run.settings)
    }

    fn plan(run: &Run<Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        plan(&Connection::open(ROLE)?, &run.settings, tables)
    }

    fn open(run: &Run<Settings>, partition: &Partition) -> Result<TableExtraction, Error> {
        TableExtraction::open(run, partition)
    }
}

/// The tables the settings include.
///
/// # Errors
/// Settings that contradict each other, or a server that does not answer.
pub fn discover(queries: &impl Queries, settings: &Settings) -> Result<Vec<Table>, Error> {
    let selection = settings.selection()?;
    // Found here rather than at the first table that is read.
    settings.query_options()?;
    let tables = discovery::read(queries, settings.catalog_options())?;
    let listed: Vec<Table> = tables
        .iter()
        .filter(|table| selection.has_table(&table.id))
        .map(|table| shape::listed(table, &selection, settings))
        .collect();
    log::info(
        "discovered",
        &[("tables", listed.len().to_string()), ("excluded", (tables.len() - listed.len()).to_string())],
    );
    Ok(listed)
}

/// The plans of tables, in this order.
///
/// # Errors
/// A table that is not there or is excluded, columns that cannot be read, or a server that does not answer.
pub fn plan(queries: &impl Queries, settings: &Settings, wanted: &[TableId]) -> Result<Vec<TablePlan>, Error> {
    let selection = settings.selection()?;
    let tables = discovery::read(queries, settings.catalog_options())?;
    let key = |id: &TableId| (id.schema.clone(), id.name.clone());
    let by_name: HashMap<(String, String), &SourceTable> = tables.iter().map(|table| (key(&table.id), table)).collect();
    wanted
        .iter()
        .map(|id| {
            let table =
                by_name.get(&key(id)).filter(|table| selection.has_table(&table.id)).ok_or_else(|| no_table(id))?;
            planning::plan(queries, table, &selection, settings)
        })
        .collect()
}

fn no_table(id: &TableId) -> Error {
    Error::config(errors::NO_TABLE, format!("there is no table or view {id} that this run may read"))
        .with_hint("it may be gone, invisible to the login, or excluded by the settings `include` and `exclude`")
        .with_context("table", id)
}

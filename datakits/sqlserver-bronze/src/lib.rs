//! Reads SQL Server tables and views into Bronze: every selected column as it is, then the Bronze columns.
//!
//! What it shares with other databases is [`datakit_sdk::relational`]. Here is what is SQL Server's own:
//!
//! - [`catalog`]: what is asked of the server's catalog; [`discovery`]: its answers as tables;
//! - [`settings`]: what the operator can choose; [`shape`]: as what columns are read; [`types`]: their types;
//! - [`statement`]: the texts of queries.
//!
//! The datakit never looks at rows of tables: the host decodes, shapes and writes them.

pub mod catalog;
pub mod discovery;
pub mod errors;
pub mod settings;
pub mod shape;
pub mod statement;
pub mod types;

#[cfg(test)]
mod tests;

use datakit_sdk::ranges::{KeyRange, KeyType};
use datakit_sdk::relational::{About, Catalog, Codes, Dialect, ReadColumn, ReadColumns, Relational};
use datakit_sdk::{Error, Queries, QueryOptions, TableId, Value, export_datakit};

use crate::discovery::SourceColumn;
use crate::settings::Settings;
use crate::statement::ReadAs;

/// The datakit.
pub type SqlServerBronze = Relational<SqlServer>;

export_datakit!(SqlServerBronze);

/// What is SQL Server's own.
#[derive(Debug)]
pub struct SqlServer;

impl Dialect for SqlServer {
    type Settings = Settings;
    type Column = SourceColumn;
    type Read = ReadAs;
    type Part = KeyRange;
    type Once = ();

    const CODES: Codes = errors::CODES;
    const SCHEMAS: &'static str = catalog::SCHEMAS;

    fn describe() -> About {
        About {
            name: "sqlserver-bronze",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            kind: "sqlserver",
        }
    }

    fn read_columns(table: &TableId, columns: &[&SourceColumn], settings: &Settings) -> ReadColumns<ReadAs> {
        shape::read_columns(table, columns, settings)
    }

    fn key_extent(table: &TableId, key: &str, _: KeyType, settings: &Settings) -> String {
        statement::key_extent(table, key, settings.nolock)
    }

    fn key_quantiles(table: &TableId, key: &str, _: KeyType, step: u64, settings: &Settings) -> String {
        statement::key_quantiles(table, key, settings.nolock, step)
    }

    fn select(
        table: &TableId,
        columns: &[ReadColumn<ReadAs>],
        part: Option<&KeyRange>,
        settings: &Settings,
    ) -> Result<(String, Vec<Value>), Error> {
        statement::select(table, columns, settings.nolock, part)
    }

    fn catalog(queries: &impl Queries, schemas: Option<&[String]>, options: QueryOptions) -> Catalog<SourceColumn> {
        discovery::read(queries, schemas, options)
    }
}

//! Reads PostgreSQL tables and views into Bronze: every selected column as it is, then the Bronze columns.
//!
//! What it shares with other databases is [`datakit_sdk::relational`]. Here is what is PostgreSQL's own:
//!
//! - [`catalog`]: what is asked of the server's catalog; [`discovery`]: its answers as tables;
//! - [`settings`]: what the operator can choose; [`shape`]: as what columns are read; [`types`]: their types;
//! - [`blocks`]: parts of a table by blocks of its file; [`statement`]: the texts of queries.
//!
//! The datakit never looks at rows of tables: the host decodes, shapes and writes them.

pub mod blocks;
pub mod catalog;
pub mod discovery;
pub mod errors;
pub mod settings;
pub mod shape;
pub mod statement;
pub mod types;

#[cfg(test)]
mod tests;

use datakit_sdk::ranges::KeyType;
use datakit_sdk::relational::{About, Catalog, Codes, Dialect, ReadColumn, ReadColumns, Relational, SourceTable};
use datakit_sdk::{Error, Queries, QueryOptions, TableId, Value, export_datakit};

use crate::blocks::Version;
use crate::discovery::SourceColumn;
use crate::settings::Settings;
use crate::statement::{Part, ReadAs};

/// The datakit.
pub type PostgresBronze = Relational<Postgres>;

export_datakit!(PostgresBronze);

/// What is PostgreSQL's own.
#[derive(Debug)]
pub struct Postgres;

impl Dialect for Postgres {
    type Settings = Settings;
    type Column = SourceColumn;
    type Read = ReadAs;
    type Part = Part;
    type Once = Version;

    const CODES: Codes = errors::CODES;
    const SCHEMAS: &'static str = catalog::SCHEMAS;

    fn describe() -> About {
        About {
            name: "postgres-bronze",
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
            kind: "postgres",
        }
    }

    fn catalog(queries: &impl Queries, schemas: Option<&[String]>, options: QueryOptions) -> Catalog<SourceColumn> {
        discovery::read(queries, schemas, options)
    }

    fn read_columns(table: &TableId, columns: &[&SourceColumn], settings: &Settings) -> ReadColumns<ReadAs> {
        shape::read_columns(table, columns, settings)
    }

    fn parts(
        queries: &impl Queries,
        once: &Version,
        table: &SourceTable<SourceColumn>,
        parts: u32,
        settings: &Settings,
    ) -> Result<Option<Vec<Part>>, Error> {
        blocks::parts(queries, once, table, parts, settings)
    }

    /// A row that is updated moves to another block.
    fn is_range(part: &Part) -> bool {
        matches!(part, Part::Key(_))
    }

    fn key_extent(table: &TableId, key: &str, key_type: KeyType, _: &Settings) -> String {
        statement::key_extent(table, key, key_type)
    }

    fn key_quantiles(table: &TableId, key: &str, key_type: KeyType, step: u64, _: &Settings) -> String {
        statement::key_quantiles(table, key, key_type, step)
    }

    fn select(
        table: &TableId,
        columns: &[ReadColumn<ReadAs>],
        part: Option<&Part>,
        _: &Settings,
    ) -> Result<(String, Vec<Value>), Error> {
        statement::select(table, columns, part)
    }
}

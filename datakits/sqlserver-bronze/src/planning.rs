//! How a table is cut into partitions.
//!
//! A large table with one key column of a suitable type is cut by ranges of the key.

use datakit_sdk::ranges::{self, Cut, KeyRange, KeyType};
use datakit_sdk::{Error, PlannedPartition, Queries, TablePlan, bronze, log};
use serde::{Deserialize, Serialize};

use crate::discovery::SourceTable;
use crate::settings::{Selection, Settings};
use crate::statement::{self, ReadColumn};
use crate::{errors, shape};

/// What an extraction has to know: columns as they were at planning, so that all partitions agree on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The columns to read.
    pub columns: Vec<ReadColumn>,
    /// The rows to read; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<KeyRange>,
}

/// The plan of one table.
///
/// # Errors
/// Columns that cannot be read as the settings want, or a server that does not answer.
pub fn plan(
    queries: &impl Queries,
    table: &SourceTable,
    selection: &Selection,
    settings: &Settings,
) -> Result<TablePlan, Error> {
    let columns = shape::read_columns(table, selection, settings)?;
    bronze::check_names(&table.id, columns.iter().map(|column| column.name.as_str()))?;
    let ranges = cut(queries, table, settings)?;
    let count = ranges.len().max(1);
    let states: Vec<State> = if ranges.len() < 2 {
        vec![State { columns, range: None }]
    } else {
        ranges.into_iter().map(|range| State { columns: columns.clone(), range: Some(range) }).collect()
    };
    let mut partitions = Vec::with_capacity(count);
    for state in &states {
        partitions.push(PlannedPartition {
            state: serde_json::to_vec(state)
                .map_err(|error| Error::datakit(errors::UNEXPECTED_ANSWER, error.to_string()))?,
            estimated_rows: table.rows.map(|rows| rows.div_ceil(count as u64)),
        });
    }
    log::debug(
        "planned",
        &[("table", format!("{}.{}", table.id.schema, table.id.name)), ("partitions", count.to_string())],
    );
    Ok(TablePlan {
        partitions,
        strategy: Some("full".into()),
        load_id_column: Some(bronze::BATCH_ID.into()),
        ..TablePlan::new(table.id.clone())
    })
}

/// The ranges to read, or none for a table that is read whole.
fn cut(queries: &impl Queries, table: &SourceTable, settings: &Settings) -> Result<Vec<KeyRange>, Error> {
    let (Some(rows), Some((key, key_type))) = (table.rows, range_key(table)) else { return Ok(Vec::new()) };
    let parts = partition_count(rows, settings);
    if rows <= settings.partition_row_threshold || parts < 2 {
        return Ok(Vec::new());
    }
    let quantiles = |step| statement::key_quantiles(&table.id, key, settings.nolock, step);
    let cut = Cut {
        key_type,
        rows,
        parts,
        extent: &statement::key_extent(&table.id, key, settings.nolock),
        quantiles,
        options: settings.query_options()?,
        unexpected_answer: errors::UNEXPECTED_ANSWER,
    };
    let bounds = cut.bounds(queries)?;
    Ok(ranges::between(key, key_type, bounds))
}

/// The key ranges are cut from: a primary key of one column of a suitable type. MIN and MAX of a masked column are masked.
fn range_key(table: &SourceTable) -> Option<(&str, KeyType)> {
    let [key] = table.primary_key.as_slice() else { return None };
    let column = table.column(key).filter(|column| !column.facts.is_masked)?;
    Some((key, key_type(&column.sql_type.name)?))
}

fn partition_count(rows: u64, settings: &Settings) -> u32 {
    let wanted = rows.div_ceil(settings.partition_rows.max(1));
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, settings.max_partitions.max(1))
}

/// The type of a key that ranges can be cut from.
fn key_type(sql_type: &str) -> Option<KeyType> {
    match sql_type {
        "int" => Some(KeyType::Int),
        "bigint" => Some(KeyType::Bigint),
        "date" => Some(KeyType::Date),
        "uniqueidentifier" => Some(KeyType::Uuid),
        _ => None,
    }
}

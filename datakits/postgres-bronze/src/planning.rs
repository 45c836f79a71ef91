//! How a table is cut into partitions.
//!
//! By blocks of its file: every block is read once, in order, without an index, and no bound has to be asked for. It holds only
//! under one snapshot (a row that is updated moves to another block), which the run's isolation gives. Else by ranges of a key.

use datakit_sdk::ranges::{self, Cut, KeyType};
use datakit_sdk::{Error, Partition, Queries, TablePlan, log};
use serde::{Deserialize, Serialize};

use crate::discovery::SourceTable;
use crate::settings::{IsolationLevel, PartitionBy, Selection, Settings};
use crate::statement::{self, Blocks, Part, ReadColumn};
use crate::{errors, shape};

/// What an extraction has to know: columns as they were at planning, so that all partitions agree on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The columns to read.
    pub columns: Vec<ReadColumn>,
    /// The rows to read; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
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
    let parts = cut(queries, table, settings)?;
    let count = parts.len().max(1);
    let states: Vec<State> = if parts.len() < 2 {
        vec![State { columns, part: None }]
    } else {
        parts.into_iter().map(|part| State { columns: columns.clone(), part: Some(part) }).collect()
    };
    let mut partitions = Vec::with_capacity(count);
    for (ordinal, state) in (0..).zip(&states) {
        partitions.push(Partition {
            table: table.id.clone(),
            ordinal,
            state: serde_json::to_vec(state)
                .map_err(|error| Error::datakit(errors::UNEXPECTED_ANSWER, error.to_string()))?,
            estimated_rows: table.rows.map(|rows| rows.div_ceil(count as u64)),
        });
    }
    log::debug(
        "planned",
        &[("table", format!("{}.{}", table.id.schema, table.id.name)), ("partitions", count.to_string())],
    );
    Ok(TablePlan { table: table.id.clone(), partitions, watermark_after: None })
}

/// The parts to read, or none for a table that is read whole.
fn cut(queries: &impl Queries, table: &SourceTable, settings: &Settings) -> Result<Vec<Part>, Error> {
    let Some(rows) = table.rows.filter(|rows| *rows > settings.partition_row_threshold) else { return Ok(Vec::new()) };
    let parts = partition_count(rows, settings);
    if parts < 2 || settings.partition_by == PartitionBy::Nothing {
        return Ok(Vec::new());
    }
    let by_blocks = settings.partition_by == PartitionBy::Auto && settings.isolation == IsolationLevel::Snapshot;
    if let Some(pages) = table.pages.filter(|_| by_blocks) {
        return Ok(block_parts(pages, parts));
    }
    let Some((key, key_type)) = range_key(table) else { return Ok(Vec::new()) };
    let cut = Cut {
        key_type,
        rows,
        parts,
        extent: &statement::key_extent(&table.id, key),
        quantiles: |step| statement::key_quantiles(&table.id, key, step),
        options: settings.query_options(),
        unexpected_answer: errors::UNEXPECTED_ANSWER,
    };
    let bounds = cut.bounds(queries)?;
    Ok(ranges::between(key, key_type, bounds).into_iter().map(Part::Key).collect())
}

/// Blocks of equal number; the last part has no end, since the file may have grown.
fn block_parts(pages: u64, parts: u32) -> Vec<Part> {
    let last = i64::try_from(pages).unwrap_or(i64::MAX) - 1;
    let bounds = ranges::equal_widths(0, last.max(0), parts);
    let bounds: Vec<Option<u32>> = bounds.into_iter().map(|bound| u32::try_from(bound).ok()).collect();
    let firsts = [None].into_iter().chain(bounds.iter().copied());
    let ends = bounds.iter().copied().chain([None]);
    firsts.zip(ends).map(|(first, end)| Part::Blocks(Blocks { first, end })).collect()
}

/// The key ranges are cut from: a primary key of one column of a suitable type.
fn range_key(table: &SourceTable) -> Option<(&str, KeyType)> {
    let [key] = table.primary_key.as_slice() else { return None };
    Some((key, table.column(key)?.sql_type.key_type()?))
}

fn partition_count(rows: u64, settings: &Settings) -> u32 {
    let wanted = rows.div_ceil(settings.partition_rows.max(1));
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, settings.max_partitions.max(1))
}

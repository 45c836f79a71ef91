//! How a table is cut into partitions.
//!
//! By blocks of its file: every block is read once, in order, without an index, and no bound has to be asked for. It holds only
//! under one snapshot (a row that is updated moves to another block), which the run's isolation gives. Else by ranges of a key.

use std::cell::OnceCell;

use datakit_sdk::ranges::{self, Cut, KeyType};
use datakit_sdk::{Error, PlannedPartition, Queries, TablePlan, bronze, log};
use serde::{Deserialize, Serialize};

use crate::discovery::{self, SourceTable};
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

/// The first version that reads a range of blocks as such (TID range scan). Before, each range read the whole table.
const BLOCK_RANGES_SINCE: u32 = 14;

/// The server to be asked, and what is asked only once.
#[derive(Debug)]
pub struct Server<'a, Q> {
    queries: &'a Q,
    major_version: OnceCell<Option<u32>>,
}

impl<'a, Q: Queries> Server<'a, Q> {
    /// Asks nothing yet.
    #[must_use]
    pub fn new(queries: &'a Q) -> Self {
        Self { queries, major_version: OnceCell::new() }
    }

    /// Whether ranges of blocks are worth reading; not where the version is unknown.
    fn reads_ranges_of_blocks(&self, settings: &Settings) -> Result<bool, Error> {
        let version = match self.major_version.get() {
            Some(known) => *known,
            None => {
                let asked = discovery::major_version(self.queries, settings.catalog_options())?;
                *self.major_version.get_or_init(|| asked)
            }
        };
        Ok(version.is_some_and(|version| version >= BLOCK_RANGES_SINCE))
    }
}

/// The plan of one table.
///
/// # Errors
/// Columns that cannot be read as the settings want, or a server that does not answer.
pub fn plan<Q: Queries>(
    server: &Server<'_, Q>,
    table: &SourceTable,
    selection: &Selection,
    settings: &Settings,
) -> Result<TablePlan, Error> {
    let columns = shape::read_columns(table, selection, settings)?;
    bronze::check_names(&table.id, columns.iter().map(|column| column.name.as_str()))?;
    let parts = cut(server, table, settings)?;
    let count = parts.len().max(1);
    let states: Vec<State> = if parts.len() < 2 {
        vec![State { columns, part: None }]
    } else {
        parts.into_iter().map(|part| State { columns: columns.clone(), part: Some(part) }).collect()
    };
    let mut partitions = Vec::with_capacity(count);
    for state in &states {
        partitions.push(PlannedPartition {
            state: serde_json::to_vec(state)
                .map_err(|error| Error::datakit(errors::UNEXPECTED_ANSWER, error.to_string()))?,
            estimated_rows: table.size.rows.map(|rows| rows.div_ceil(count as u64)),
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

/// The parts to read, or none for a table that is read whole.
fn cut<Q: Queries>(server: &Server<'_, Q>, table: &SourceTable, settings: &Settings) -> Result<Vec<Part>, Error> {
    let Some(rows) = table.size.rows.filter(|rows| *rows > settings.partition_row_threshold) else {
        return Ok(Vec::new());
    };
    let parts = partition_count(rows, settings);
    if parts < 2 || settings.partition_by == PartitionBy::Nothing {
        return Ok(Vec::new());
    }
    let by_blocks = settings.partition_by == PartitionBy::Auto && settings.isolation == IsolationLevel::Snapshot;
    if let Some(pages) = table.size.pages.filter(|_| by_blocks)
        && server.reads_ranges_of_blocks(settings)?
    {
        return Ok(block_parts(pages, parts));
    }
    let Some((key, key_type)) = range_key(table) else { return Ok(Vec::new()) };
    let cut = Cut {
        key_type,
        rows,
        parts,
        extent: &statement::key_extent(&table.id, key, key_type),
        quantiles: |step| statement::key_quantiles(&table.id, key, key_type, step),
        options: settings.query_options(),
        unexpected_answer: errors::UNEXPECTED_ANSWER,
    };
    let bounds = cut.bounds(server.queries)?;
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

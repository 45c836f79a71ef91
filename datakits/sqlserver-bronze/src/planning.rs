//! How a table is cut into partitions.
//!
//! A large table with one key column of a suitable type is cut by ranges of the key. Two ways to find bounds, both one query:
//!
//! - the extent, two index seeks, when keys are dense: with a width of at most `MAX_SPARSENESS` times the rows, ranges of
//!   equal width cannot hold more than that many times the mean, since keys are unique;
//! - else quantiles, one ordered pass over the key's index: exact whatever the skew. Always so for uniqueidentifier, whose
//!   order only the server knows.

use datakit_sdk::rows::Cell;
use datakit_sdk::{Error, Partition, Queries, TablePlan, log};
use serde::{Deserialize, Serialize};

use crate::discovery::SourceTable;
use crate::ranges::{self, KeyRange, KeyType};
use crate::settings::{Selection, Settings};
use crate::statement::{self, ReadColumn};
use crate::{errors, shape};

/// Keys are dense when their extent is at most so many times the number of rows.
const MAX_SPARSENESS: u128 = 2;

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
    let ranges = cut(queries, table, settings)?;
    let count = ranges.len().max(1);
    let states: Vec<State> = if ranges.len() < 2 {
        vec![State { columns, range: None }]
    } else {
        ranges.into_iter().map(|range| State { columns: columns.clone(), range: Some(range) }).collect()
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

/// The ranges to read, or none for a table that is read whole.
fn cut(queries: &impl Queries, table: &SourceTable, settings: &Settings) -> Result<Vec<KeyRange>, Error> {
    let (Some(rows), Some((key, key_type))) = (table.rows, range_key(table)) else { return Ok(Vec::new()) };
    let parts = partition_count(rows, settings);
    if rows <= settings.partition_row_threshold || parts < 2 {
        return Ok(Vec::new());
    }
    let cut = Cut { table, key, key_type, rows, parts, settings };
    let bounds = match cut.dense_bounds(queries)? {
        Some(bounds) => bounds,
        None => cut.quantiles(queries)?,
    };
    Ok(ranges::between(key, key_type, bounds))
}

/// The key ranges are cut from: a primary key of one column of a suitable type.
fn range_key(table: &SourceTable) -> Option<(&str, KeyType)> {
    let [key] = table.primary_key.as_slice() else { return None };
    Some((key, KeyType::of(&table.column(key)?.sql_type.name)?))
}

fn partition_count(rows: u64, settings: &Settings) -> u32 {
    let wanted = rows.div_ceil(settings.partition_rows.max(1));
    u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, settings.max_partitions.max(1))
}

/// A table to be cut.
struct Cut<'a> {
    table: &'a SourceTable,
    key: &'a str,
    key_type: KeyType,
    /// As estimated.
    rows: u64,
    /// At least two.
    parts: u32,
    settings: &'a Settings,
}

impl Cut<'_> {
    /// Bounds of ranges of equal width; none when keys are too sparse for it, or have no width the guest can compute.
    fn dense_bounds(&self, queries: &impl Queries) -> Result<Option<Vec<String>>, Error> {
        if self.key_type == KeyType::Uniqueidentifier {
            return Ok(None);
        }
        let sql = statement::key_extent(&self.table.id, self.key, self.settings.nolock);
        let mut extent = None;
        for batch in queries.query(&sql, &[], self.settings.query_options()?)? {
            let (low, high) = (batch.column("low")?, batch.column("high")?);
            for row in 0..batch.len() {
                extent = Some((ordinal(low.cell(row)?)?, ordinal(high.cell(row)?)?));
            }
        }
        let Some((Some(low), Some(high))) = extent else {
            // No keys at all, whatever the estimate says.
            return Ok(Some(Vec::new()));
        };
        let width = (i128::from(high) - i128::from(low) + 1).unsigned_abs();
        if width > MAX_SPARSENESS * u128::from(self.rows) {
            return Ok(None);
        }
        let bounds = ranges::equal_widths(low, high, self.parts);
        Ok(Some(bounds.into_iter().map(|bound| bound_text(self.key_type, bound)).collect()))
    }

    fn quantiles(&self, queries: &impl Queries) -> Result<Vec<String>, Error> {
        let step = self.rows.div_ceil(u64::from(self.parts));
        let sql = statement::key_quantiles(&self.table.id, self.key, self.settings.nolock, step);
        let mut bounds = Vec::new();
        for batch in queries.query(&sql, &[], self.settings.query_options()?)? {
            let bound = batch.column("bound")?;
            for row in 0..batch.len() {
                bounds.push(match (self.key_type, bound.cell(row)?) {
                    (KeyType::Uniqueidentifier, Cell::Bytes(bytes)) => uuid_text(bytes)?,
                    (key_type, cell) => match ordinal(cell)? {
                        Some(number) => bound_text(key_type, number),
                        None => continue,
                    },
                });
            }
        }
        // There may be more rows than estimated.
        Ok(ranges::thin(bounds, self.parts as usize - 1))
    }
}

/// A key as a number: itself, or the day since 1970-01-01.
fn ordinal(cell: Cell<'_>) -> Result<Option<i64>, Error> {
    match cell {
        Cell::Null => Ok(None),
        Cell::Integer(number) => Ok(Some(number)),
        Cell::Date(days) => Ok(Some(days.into())),
        other => {
            Err(Error::source(errors::UNEXPECTED_ANSWER, format!("{other:?} is no key of the type the catalog says")))
        }
    }
}

fn bound_text(key_type: KeyType, bound: i64) -> String {
    if key_type == KeyType::Date { ranges::date_text(bound) } else { bound.to_string() }
}

/// The hyphenated form of 16 bytes in RFC 4122 order.
fn uuid_text(bytes: &[u8]) -> Result<String, Error> {
    if bytes.len() != 16 {
        return Err(Error::source(errors::UNEXPECTED_ANSWER, format!("a uniqueidentifier of {} bytes", bytes.len())));
    }
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    Ok(text)
}

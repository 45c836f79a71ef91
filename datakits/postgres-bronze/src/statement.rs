//! The texts of queries over tables. Names are always in quotes; values are always parameters, but for block numbers, which have
//! no parameter type.

use datakit_sdk::postgres::{quote_name, quote_table};
use datakit_sdk::ranges::{KeyRange, KeyType};
use datakit_sdk::relational::{self, statement::key_condition};
use datakit_sdk::{Error, TableId, Value};
use serde::{Deserialize, Serialize};

/// A column of the rows that are read, and what it is read from.
pub type ReadColumn = relational::ReadColumn<ReadAs>;

/// How a column is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// As it is.
    #[default]
    Value,
    /// As the text the server shows of it.
    Text,
    /// As the text of a JSON value.
    Json,
    /// An amount of money, as a decimal of four digits: how many it has by itself depends on the server's locale.
    Money,
    /// A date or timestamp, null where it is infinite.
    FiniteOrNull,
    /// A time of day, null where it is the end of the day, 24:00:00.
    WithinDayOrNull,
    /// A numeric, null where it is not a number, of at most so many digits.
    NumberOrNull {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
}

/// The rows of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// A range of the key.
    Key(KeyRange),
    /// A range of the file's blocks.
    Blocks(Blocks),
}

impl From<KeyRange> for Part {
    fn from(range: KeyRange) -> Self {
        Self::Key(range)
    }
}

/// Blocks of a table's file: at or above `first`, below `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blocks {
    /// The first block; none: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u32>,
    /// The first block above; none: to the end, wherever that is by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u32>,
}

/// Rows of a table: all, or those of a part.
///
/// # Errors
/// A bound that does not fit the key's type.
pub fn select(table: &TableId, columns: &[ReadColumn], part: Option<&Part>) -> Result<(String, Vec<Value>), Error> {
    let mut parameters = Vec::new();
    let condition = match part {
        None => None,
        Some(Part::Key(range)) => key_condition(range, &quote_name(&range.column), "$", &mut parameters)?,
        Some(Part::Blocks(blocks)) => block_condition(*blocks),
    };
    let items = columns.iter().map(select_item);
    Ok((relational::statement::select(items, &quote_table(table), condition.as_deref()), parameters))
}

/// The lowest and highest key that a bound can name, which an index answers by two seeks.
#[must_use]
pub fn key_extent(table: &TableId, key: &str, key_type: KeyType) -> String {
    let key = quote_name(key);
    let (table, among) = (quote_table(table), nameable(&key, key_type));
    format!("SELECT min({key}) AS low, max({key}) AS high FROM {table}{among}")
}

/// Every `step`-th key that a bound can name in the server's own order, without the first: one ordered pass over the key's
/// index.
#[must_use]
pub fn key_quantiles(table: &TableId, key: &str, key_type: KeyType, step: u64) -> String {
    // One row a partition makes no sense, and `% 1` has no remainder of 1.
    let step = step.max(2);
    let (key, table) = (quote_name(key), quote_table(table));
    let among = nameable(&key, key_type);
    format!(
        "SELECT q.bound AS bound FROM (SELECT {key} AS bound, row_number() OVER (ORDER BY {key}) AS ordinal FROM \
         {table}{among}) AS q WHERE q.ordinal % {step} = 1 AND q.ordinal > 1 ORDER BY q.ordinal"
    )
}

/// The condition that leaves out keys which no bound can name: infinite days, and those of years that do not have four
/// digits. Their rows are in the first and the last range, which have no end.
fn nameable(key: &str, key_type: KeyType) -> String {
    match key_type {
        KeyType::Date => format!(" WHERE {key} >= '0001-01-01'::date AND {key} <= '9999-12-31'::date"),
        KeyType::Int | KeyType::Bigint | KeyType::Uuid => String::new(),
    }
}

fn select_item(column: &ReadColumn) -> String {
    let name = quote_name(&column.name);
    match column.read {
        ReadAs::Value => name,
        ReadAs::Text => format!("{name}::text AS {name}"),
        ReadAs::Json => format!("to_json({name})::text AS {name}"),
        ReadAs::Money => format!("{name}::numeric(23, 4) AS {name}"),
        ReadAs::FiniteOrNull => format!("nullif(nullif({name}, 'infinity'), '-infinity') AS {name}"),
        ReadAs::WithinDayOrNull => format!("nullif({name}, '24:00:00') AS {name}"),
        // The digits a domain declares are lost on the way through `nullif`. Where they are not, the cast costs nothing.
        ReadAs::NumberOrNull { precision, scale } => {
            format!("nullif({name}, 'NaN')::numeric({precision}, {scale}) AS {name}")
        }
    }
}

fn block_condition(blocks: Blocks) -> Option<String> {
    match (blocks.first, blocks.end) {
        (None, None) => None,
        (None, Some(end)) => Some(format!("ctid < '({end},0)'::tid")),
        (Some(first), None) => Some(format!("ctid >= '({first},0)'::tid")),
        (Some(first), Some(end)) => Some(format!("ctid >= '({first},0)'::tid AND ctid < '({end},0)'::tid")),
    }
}

#[cfg(test)]
mod tests {
    use datakit_sdk::ranges::between;

    use super::*;

    fn table() -> TableId {
        TableId::new("odd.schema", "order\"s 🦀")
    }

    fn column(name: &str, read: ReadAs) -> ReadColumn {
        ReadColumn { name: name.into(), read }
    }

    #[test]
    fn rows_are_read_by_quoted_names() {
        let columns = [
            column("id", ReadAs::Value),
            column("it's \"x\"", ReadAs::Text),
            column("Tags", ReadAs::Json),
            column("price", ReadAs::Money),
            column("until", ReadAs::FiniteOrNull),
            column("closes", ReadAs::WithinDayOrNull),
            column("ratio", ReadAs::NumberOrNull { precision: 5, scale: 2 }),
        ];
        let (sql, parameters) = select(&table(), &columns, None).unwrap();
        assert_eq!(
            sql,
            "SELECT \"id\", \"it's \"\"x\"\"\"::text AS \"it's \"\"x\"\"\", to_json(\"Tags\")::text AS \"Tags\", \
             \"price\"::numeric(23, 4) AS \"price\", nullif(nullif(\"until\", 'infinity'), '-infinity') AS \"until\", \
             nullif(\"closes\", '24:00:00') AS \"closes\", nullif(\"ratio\", 'NaN')::numeric(5, 2) AS \"ratio\" FROM \"odd.schema\".\"order\"\"s 🦀\""
        );
        assert_eq!(parameters, []);
    }

    #[test]
    fn parts_are_conditions() {
        let table = TableId::new("public", "t");
        let text = |part: &Part| select(&table, &[column("a", ReadAs::Value)], Some(part)).unwrap();
        let ranges = between("k\"ey", KeyType::Int, vec!["10".into(), "20".into()]);
        let texts: Vec<(String, Vec<Value>)> = ranges.into_iter().map(|range| text(&Part::Key(range))).collect();
        let select = "SELECT \"a\" FROM \"public\".\"t\" WHERE ";
        assert_eq!(
            texts,
            [
                (format!("{select}\"k\"\"ey\" < $1 OR \"k\"\"ey\" IS NULL"), vec![Value::Int32(10)]),
                (format!("{select}\"k\"\"ey\" >= $1 AND \"k\"\"ey\" < $2"), vec![Value::Int32(10), Value::Int32(20)]),
                (format!("{select}\"k\"\"ey\" >= $1"), vec![Value::Int32(20)]),
            ]
        );
        let blocks = |first, end| text(&Part::Blocks(Blocks { first, end })).0;
        assert_eq!(blocks(None, Some(7)), format!("{select}ctid < '(7,0)'::tid"));
        assert_eq!(blocks(Some(7), Some(9)), format!("{select}ctid >= '(7,0)'::tid AND ctid < '(9,0)'::tid"));
        assert_eq!(blocks(Some(9), None), format!("{select}ctid >= '(9,0)'::tid"));
    }

    #[test]
    fn bounds_are_asked_for_in_the_servers_order() {
        let table = TableId::new("public", "t");
        assert_eq!(
            key_extent(&table, "id", KeyType::Bigint),
            "SELECT min(\"id\") AS low, max(\"id\") AS high FROM \"public\".\"t\""
        );
        assert_eq!(
            key_quantiles(&table, "id", KeyType::Bigint, 25_000),
            "SELECT q.bound AS bound FROM (SELECT \"id\" AS bound, row_number() OVER (ORDER BY \"id\") AS ordinal FROM \
             \"public\".\"t\") AS q WHERE q.ordinal % 25000 = 1 AND q.ordinal > 1 ORDER BY q.ordinal"
        );
    }

    #[test]
    fn bounds_of_days_are_days_that_can_be_written() {
        let table = TableId::new("public", "t");
        let among = " WHERE \"day\" >= '0001-01-01'::date AND \"day\" <= '9999-12-31'::date";
        let extent = key_extent(&table, "day", KeyType::Date);
        assert!(extent.ends_with(&format!("FROM \"public\".\"t\"{among}")), "{extent}");
        let quantiles = key_quantiles(&table, "day", KeyType::Date, 100);
        assert!(quantiles.contains(&format!("FROM \"public\".\"t\"{among}) AS q")), "{quantiles}");
    }
}

//! The texts of queries over tables. Names are always in brackets; values are always parameters.

use datakit_sdk::ranges::KeyRange;
use datakit_sdk::relational::{self, statement::key_condition};
use datakit_sdk::sqlserver::{quote_name, quote_table};
use datakit_sdk::{Error, TableId, Value};
use serde::{Deserialize, Serialize};

/// A column of the rows that are read, and what it is read from.
pub type ReadColumn = relational::ReadColumn<ReadAs>;

/// How a column is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    /// As it is.
    #[default]
    Value,
    /// A datetime2 as text with all its digits.
    DateTimeText,
    /// The offset of the datetimeoffset column of this name, in minutes.
    OffsetMinutesOf(String),
}

/// Rows of a table: all, or those of a range.
///
/// # Errors
/// A bound that does not fit the key's type.
pub fn select(
    table: &TableId,
    columns: &[ReadColumn],
    nolock: bool,
    range: Option<&KeyRange>,
) -> Result<(String, Vec<Value>), Error> {
    let mut parameters = Vec::new();
    let condition = match range {
        Some(range) => key_condition(range, &quote_name(&range.column), "@P", &mut parameters)?,
        None => None,
    };
    let items = columns.iter().map(select_item);
    Ok((relational::statement::select(items, &from(table, nolock), condition.as_deref()), parameters))
}

/// The lowest and highest key, which an index answers by two seeks.
#[must_use]
pub fn key_extent(table: &TableId, key: &str, nolock: bool) -> String {
    let key = quote_name(key);
    format!("SELECT MIN({key}) AS [low], MAX({key}) AS [high] FROM {}", from(table, nolock))
}

/// Every `step`-th key in the server's own order, without the first: one ordered pass over the key's index, without a sort.
#[must_use]
pub fn key_quantiles(table: &TableId, key: &str, nolock: bool, step: u64) -> String {
    // One row a partition makes no sense, and `% 1` has no remainder of 1.
    let step = step.max(2);
    let key = quote_name(key);
    format!(
        "SELECT q.[bound] AS [bound] FROM (SELECT {key} AS [bound], ROW_NUMBER() OVER (ORDER BY {key}) AS [ordinal] FROM {}) \
         AS q WHERE q.[ordinal] % {step} = 1 AND q.[ordinal] > 1 ORDER BY q.[ordinal]",
        from(table, nolock)
    )
}

fn from(table: &TableId, nolock: bool) -> String {
    let hint = if nolock { " WITH (NOLOCK)" } else { "" };
    quote_table(table) + hint
}

fn select_item(column: &ReadColumn) -> String {
    let name = quote_name(&column.name);
    match &column.read {
        ReadAs::Value => name,
        ReadAs::DateTimeText => format!("CONVERT(varchar(27), {name}, 121) AS {name}"),
        ReadAs::OffsetMinutesOf(source) => format!("DATEPART(TZOFFSET, {}) AS {name}", quote_name(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datakit_sdk::ranges::{KeyType, between};

    fn table() -> TableId {
        TableId::new("odd.schema", "order]s 🦀")
    }

    fn column(name: &str, read: ReadAs) -> ReadColumn {
        ReadColumn { name: name.into(), read }
    }

    #[test]
    fn rows_are_read_by_quoted_names() {
        let columns = [
            column("id", ReadAs::Value),
            column("it's \"x\"", ReadAs::Value),
            column("when", ReadAs::DateTimeText),
            column("at", ReadAs::Value),
            column("at_offset_minutes", ReadAs::OffsetMinutesOf("at".into())),
        ];
        let (sql, parameters) = select(&table(), &columns, true, None).unwrap();
        assert_eq!(
            sql,
            "SELECT [id], [it's \"x\"], CONVERT(varchar(27), [when], 121) AS [when], [at], \
             DATEPART(TZOFFSET, [at]) AS [at_offset_minutes] FROM [odd.schema].[order]]s 🦀] WITH (NOLOCK)"
        );
        assert_eq!(parameters, []);
    }

    #[test]
    fn ranges_are_conditions_with_typed_parameters() {
        let ranges = between("k]ey", KeyType::Int, vec!["10".into(), "20".into()]);
        let table = TableId::new("dbo", "t");
        let texts: Vec<(String, Vec<Value>)> = ranges
            .iter()
            .map(|range| select(&table, &[column("a", ReadAs::Value)], false, Some(range)).unwrap())
            .collect();
        assert_eq!(
            texts,
            [
                ("SELECT [a] FROM [dbo].[t] WHERE [k]]ey] < @P1 OR [k]]ey] IS NULL".into(), vec![Value::Int32(10)]),
                (
                    "SELECT [a] FROM [dbo].[t] WHERE [k]]ey] >= @P1 AND [k]]ey] < @P2".into(),
                    vec![Value::Int32(10), Value::Int32(20)]
                ),
                ("SELECT [a] FROM [dbo].[t] WHERE [k]]ey] >= @P1".into(), vec![Value::Int32(20)]),
            ]
        );
        let whole = between("k", KeyType::Int, vec![]);
        assert_eq!(
            select(&table, &[column("a", ReadAs::Value)], false, whole.first()).unwrap().0,
            "SELECT [a] FROM [dbo].[t]"
        );
    }

    #[test]
    fn bounds_are_asked_for_in_the_servers_order() {
        let table = TableId::new("dbo", "t");
        assert_eq!(key_extent(&table, "id", false), "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t]");
        assert_eq!(
            key_quantiles(&table, "id", true, 25_000),
            "SELECT q.[bound] AS [bound] FROM (SELECT [id] AS [bound], ROW_NUMBER() OVER (ORDER BY [id]) AS [ordinal] \
             FROM [dbo].[t] WITH (NOLOCK)) AS q WHERE q.[ordinal] % 25000 = 1 AND q.[ordinal] > 1 ORDER BY q.[ordinal]"
        );
    }
}

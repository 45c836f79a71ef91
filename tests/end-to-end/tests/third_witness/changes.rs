//! Changes in one form, whoever has read them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::workload::Table;

/// What stands for a value that the change does not carry.
const MISSING: &str = "(missing)";

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    /// As the host calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// By the host's name or Debezium's letter.
    pub fn parse(name: &str) -> Self {
        match name {
            "insert" | "c" => Self::Insert,
            "update" | "u" => Self::Update,
            "delete" | "d" => Self::Delete,
            other => panic!("no operation of a change: {other}"),
        }
    }
}

/// A row: the texts of its columns, in their order.
pub type Row = Vec<String>;

/// A change of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whatever the reader calls the transaction.
    pub transaction: String,
    pub operation: Operation,
    /// After the change; of a delete, before it.
    pub row: Row,
}

/// The texts of a row's columns.
pub fn row(table: Table, values: &Map<String, Value>, missing: &[String]) -> Row {
    let of_column = |column: &&str| match missing.iter().any(|name| name == column) {
        true => MISSING.to_owned(),
        false => text(column, values.get(*column).unwrap_or(&Value::Null)),
    };
    table.columns.iter().map(of_column).collect()
}

/// A row without the value of a column.
pub fn hidden(table: Table, row: &Row, column: &str) -> Row {
    let value = |(name, value): (&&str, &String)| if *name == column { MISSING.to_owned() } else { value.clone() };
    table.columns.iter().zip(row).map(value).collect()
}

/// A value of a column as one text, whatever the reader makes of it.
fn text(column: &str, value: &Value) -> String {
    let plain = match value {
        Value::Null => return "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match column {
        "doc" if plain == "__debezium_unavailable_value" => MISSING.to_owned(),
        "doc" => format!("{}…{}", plain.chars().take(8).collect::<String>(), plain.chars().count()),
        "made_at" => {
            let moment = plain.replace('T', " ");
            let moment = moment.trim_end_matches('Z').trim_end_matches("+00:00");
            match moment.split_once('.') {
                Some((seconds, fraction)) => format!("{seconds}.{fraction:0<6.6}"),
                None => format!("{moment}.000000"),
            }
        }
        "made_on" => plain.trim_end_matches('Z').to_owned(),
        "raw" => plain.trim_start_matches("\\x").to_lowercase(),
        "flag" => match plain.as_str() {
            "1" => "true".to_owned(),
            "0" => "false".to_owned(),
            _ => plain,
        },
        "ratio" => plain.parse::<f64>().map_or(plain, |number| number.to_string()),
        _ => plain,
    }
}

impl Change {
    fn key(&self, table: Table) -> Row {
        key(table, &self.row)
    }
}

fn key(table: Table, row: &Row) -> Row {
    let of_key = |name: &&str| table.key.contains(name);
    table.columns.iter().zip(row).filter(|(name, _)| of_key(name)).map(|(_, value)| value.clone()).collect()
}

/// A line for each change: the transaction's number among those of the table, the operation, the row. Of a delete its key only, where
/// not every reader has the rest.
pub fn lines(table: Table, changes: &[Change], whole_deletes: bool) -> Vec<String> {
    let mut transactions: Vec<&str> = Vec::new();
    changes
        .iter()
        .map(|change| {
            if transactions.last() != Some(&change.transaction.as_str()) {
                transactions.push(&change.transaction);
            }
            let row = match change.operation {
                Operation::Delete if !whole_deletes => change.key(table),
                _ => change.row.clone(),
            };
            format!("{} {} {}", transactions.len(), change.operation.name(), row.join(" | "))
        })
        .collect()
}

/// The rows that are there after the changes, by their keys. An insert of a key that is there, or a change of one that is not, is a
/// mistake of the reader.
pub fn fold(table: Table, rows: &mut BTreeMap<Row, Row>, changes: &[Change]) -> Result<(), String> {
    for change in changes {
        let key = change.key(table);
        let before = match change.operation {
            Operation::Delete => {
                rows.remove(&key).ok_or_else(|| format!("{} has no row to delete: {change:?}", table.name))?;
                continue;
            }
            Operation::Insert if rows.contains_key(&key) => {
                return Err(format!("{} has this row already: {change:?}", table.name));
            }
            Operation::Insert => None,
            Operation::Update => {
                Some(rows.get(&key).ok_or_else(|| format!("{} has no row to update: {change:?}", table.name))?)
            }
        };
        let kept = |at: usize| before.and_then(|row| row.get(at)).cloned().unwrap_or_default();
        let value = |(at, value): (usize, &String)| if value == MISSING { kept(at) } else { value.clone() };
        let after: Row = change.row.iter().enumerate().map(value).collect();
        rows.insert(key, after);
    }
    Ok(())
}

/// Rows by their keys.
pub fn by_key(table: Table, rows: impl IntoIterator<Item = Row>) -> BTreeMap<Row, Row> {
    rows.into_iter().map(|row| (key(table, &row), row)).collect()
}

/// Fails at the first difference of two lists, with what is around it.
#[track_caller]
pub fn assert_same(what: &str, other: &[String], host: &[String]) {
    let at = other.iter().zip(host).position(|(a, b)| a != b).unwrap_or(other.len().min(host.len()));
    if at == other.len() && at == host.len() {
        return;
    }
    let around = |list: &[String]| list[at.saturating_sub(3).min(list.len())..(at + 4).min(list.len())].join("\n");
    panic!(
        "{what}: change {at} differs, of {} and {}\nother reader:\n{}\nhost:\n{}",
        other.len(),
        host.len(),
        around(other),
        around(host)
    );
}

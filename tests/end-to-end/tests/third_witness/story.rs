//! A workload in parts, and after each of them a run of every reader.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::changes::{self, Change, Operation, Row, by_key, fold};
use crate::debezium::Debezium;
use crate::workload::{Step, TABLES, Table, Workload};

/// How many parts a workload has.
const PARTS: usize = 4;

/// The changes of a reader, a list for each of [`TABLES`].
pub type Lists = [Vec<Change>; TABLES.len()];

/// A server with the tables of the workload, and a warehouse that appends their changes to a PostgreSQL and merges them into Delta.
pub trait Source {
    fn play(&self, steps: &[Step]);
    /// Says that a part has ended.
    fn mark(&self, part: usize);
    /// Adds a column to `items`, which no reader is compared by. Nothing is open.
    fn define(&self);
    fn run_host(&self);
    fn rows(&self, table: Table) -> BTreeMap<Row, Row>;
    /// The answer of the PostgreSQL that the host appends to.
    fn ask_sink(&self, query: &str) -> String;
    /// The schema there.
    fn sink_schema(&self) -> &'static str;
    /// The Delta table that the host merges into, as lines of JSON after a header.
    fn merged(&self, table: Table) -> String;
    /// The transaction in the place of a change.
    fn commit_of(&self, place: &str) -> String;
}

/// A query of a PostgreSQL: rows as JSON, of all columns as texts.
pub fn rows_query(table: Table, from: &str, more: &str, order: &str) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| format!("'{column}', {column}::text")).collect();
    let columns = columns.join(", ");
    format!("SELECT coalesce(json_agg(json_build_object({columns}{more}) ORDER BY {order}), '[]')::text FROM {from}")
}

pub fn parsed(answer: &str) -> Vec<Map<String, Value>> {
    serde_json::from_str(answer).unwrap()
}

/// What the host has appended since the first copy, in the order that it gives the changes.
pub fn host_changes(source: &impl Source, table: Table) -> Vec<Change> {
    let own =
        ", 'operation', _bronze_operation, 'version', _bronze_change_version, 'missing', _bronze_missing_columns::json";
    let from = format!("\"{}\".{} WHERE _bronze_operation <> 'read'", source.sink_schema(), table.name);
    let answer = source.ask_sink(&rows_query(table, &from, own, "_bronze_change_version COLLATE \"C\""));
    let change = |values: &Map<String, Value>| {
        let missing: Option<Vec<String>> = serde_json::from_value(values["missing"].clone()).unwrap();
        Change {
            transaction: source.commit_of(values["version"].as_str().unwrap()),
            operation: Operation::parse(values["operation"].as_str().unwrap()),
            row: changes::row(table, values, &missing.unwrap_or_default()),
        }
    };
    parsed(&answer).iter().map(change).collect()
}

fn merged_rows(source: &impl Source, table: Table) -> BTreeMap<Row, Row> {
    let text = source.merged(table);
    let rows = text.lines().skip(1).map(|line| serde_json::from_str::<Map<String, Value>>(line).unwrap());
    by_key(table, rows.map(|values| changes::row(table, &values, &[])))
}

/// Plays a workload. After each part all readers are started and stopped, while transactions stay open. Gives the changes of Debezium and of
/// the host; the rows that the host has by them, and those that it has merged, are the rows of the source.
pub fn play<S: Source>(
    source: &S,
    workload: &mut Workload,
    transactions: usize,
    start_debezium: Option<impl FnOnce(&S) -> Debezium>,
) -> (Option<Lists>, Lists) {
    source.play(&workload.part(20));
    source.play(&workload.end());
    let mut rows = TABLES.map(|table| source.rows(table));
    let before = rows.clone();
    let mut debezium = start_debezium.map(|start| start(source));
    source.run_host();
    for part in 1..=PARTS {
        source.play(&workload.part(transactions / PARTS));
        if part == PARTS / 2 {
            source.play(&workload.end());
            source.define();
            source.play(&workload.part(transactions / PARTS));
        }
        if part == PARTS {
            source.play(&workload.end());
        }
        source.mark(part);
        if let Some(debezium) = &mut debezium {
            debezium.begin_run(part);
        }
        source.run_host();
        if let Some(debezium) = &mut debezium {
            debezium.end_run();
        }
    }
    let after = TABLES.map(|table| source.rows(table));
    let host = TABLES.map(|table| host_changes(source, table));
    for ((table, rows), (changes, after)) in TABLES.into_iter().zip(&mut rows).zip(host.iter().zip(&after)) {
        fold(table, rows, changes).unwrap();
        assert_eq!(rows, after, "{} by the changes that the host has appended", table.name);
        assert_eq!(merged_rows(source, table), *after, "{} as the host has merged it", table.name);
    }
    let debezium = debezium.map(|debezium| TABLES.map(|table| debezium.changes(table)));
    for ((table, mut rows), (changes, after)) in
        TABLES.into_iter().zip(before).zip(debezium.iter().flatten().zip(&after))
    {
        fold(table, &mut rows, changes).unwrap();
        assert_eq!(rows, *after, "{} by the changes of Debezium", table.name);
    }
    (debezium, host)
}

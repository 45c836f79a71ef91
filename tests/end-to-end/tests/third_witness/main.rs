//! A third witness of changes: Debezium reads what the host reads, and both give the same changes, one by one.
//!
//! Tests that start Debezium are run by `scripts/third-witness`. Those of a small sample compare the host with what Debezium has
//! given before, in `snapshots`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod changes;
mod debezium;
mod postgres;
mod sqlserver;
mod story;
mod tap;
mod workload;

use crate::changes::{assert_same, lines};
use crate::story::Lists;
use crate::workload::TABLES;

/// How many transactions a workload has: of the sample, or as many as the environment says.
fn transactions() -> usize {
    std::env::var("DATAKIT_TEST_WITNESS_TRANSACTIONS").map_or(SAMPLE, |count| count.parse().unwrap())
}

/// How many transactions the sample has.
const SAMPLE: usize = 200;

/// All changes of a reader as a text, table by table.
fn shown(lists: &Lists, whole_deletes: bool) -> String {
    let tables = TABLES
        .iter()
        .zip(lists)
        .map(|(table, changes)| format!("{}\n{}\n", table.name, lines(*table, changes, whole_deletes).join("\n")));
    tables.collect()
}

#[track_caller]
fn assert_same_lists(debezium: &Lists, host: &Lists, whole_deletes: bool) {
    for ((table, debezium), host) in TABLES.iter().zip(debezium).zip(host) {
        let [debezium, host] = [debezium, host].map(|changes| lines(*table, changes, whole_deletes));
        assert_same(table.name, &debezium, &host);
    }
}

/// Compares with a golden file that only Debezium writes.
#[track_caller]
fn assert_recorded(golden: &str, host: &str) {
    let (_, recorded) = golden.split_once("\n---\n").expect("a golden file");
    let [recorded, host] = [recorded, host].map(|text| text.trim().lines().map(str::to_owned).collect::<Vec<_>>());
    assert_same("the sample", &recorded, &host);
}

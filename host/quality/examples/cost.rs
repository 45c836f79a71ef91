//! What rules cost, apart from reading and writing:
//!
//! ```text
//! cargo run --release -p datakit-quality --example cost [MILLIONS_OF_ROWS]
//! ```

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for a person")]

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datakit_model::TableId;
use datakit_model::datakit::RoleColumns;
use datakit_model::quality::{Check, DeclaredBy, Rule, Severity, TableRule};
use datakit_quality::{Checks, Facts, PartitionChecks};

const BATCH_ROWS: i64 = 8192;

fn batch(first: i64) -> RecordBatch {
    let ids = first..first + BATCH_ROWS;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone()))),
        ("amount", Arc::new(Float64Array::from_iter(ids.clone().map(|id| (id % 10 > 0).then_some(id as f64))))),
        (
            "country",
            Arc::new(StringArray::from_iter_values(ids.clone().map(|id| ["DE", "FR", "PL"][(id % 3) as usize]))),
        ),
        ("changed_at", Arc::new(TimestampMicrosecondArray::from_iter_values(ids))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn rule(name: &str, check: Check, columns: &[&str]) -> TableRule {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    let rule = Rule { name: name.to_owned(), columns, check, severity: Severity::Warn };
    TableRule { rule, declared_by: DeclaredBy::Operator, is_off: false }
}

fn rules() -> Vec<TableRule> {
    let range = Check::Range { min: Some("0".into()), max: Some("1e12".into()) };
    let pattern = Check::Pattern("^[A-Z]{2}$".into());
    let days = Check::Range { min: Some("1970-01-01".into()), max: Some("2100-01-01".into()) };
    vec![
        rule("not null: id", Check::NotNull, &["id"]),
        rule("not null: three columns", Check::NotNull, &["amount", "country", "changed_at"]),
        rule("range: amount", range, &["amount"]),
        rule("range: id", Check::Range { min: Some("0".into()), max: None }, &["id"]),
        rule("range: changed_at", days, &["changed_at"]),
        rule("pattern: country", pattern, &["country"]),
        rule("freshness", Check::Freshness { max_age_seconds: 60 }, &["changed_at"]),
        rule("row count", Check::RowCount { min: Some(1), max: None, max_change_percent: None }, &[]),
        rule("unique: id", Check::Unique { in_target: false }, &["id"]),
        rule("unique: id and country", Check::Unique { in_target: false }, &["id", "country"]),
    ]
}

/// Nanoseconds a row, of the checks on the way and of the end.
fn measure(rules: &[TableRule], batches: &[RecordBatch]) -> (f64, f64) {
    let (table, roles) = (TableId::new("dbo", "t"), RoleColumns::default());
    let checks = Arc::new(Checks::new(&table, rules, &batches[0].schema(), (&[], false), &roles).unwrap());
    let started = Instant::now();
    let mut partition = PartitionChecks::new(&checks);
    batches.iter().for_each(|batch| partition.add(batch).unwrap());
    let outcome = partition.finish().unwrap();
    let on_the_way = started.elapsed();
    let facts = Facts { started_at_micros: 0, last_rows: None, goes_on: false };
    let results = checks.results(&[outcome], &[], &facts).unwrap();
    assert_eq!(results.len(), rules.len());
    let rows = batches.len() as f64 * BATCH_ROWS as f64;
    (on_the_way.as_nanos() as f64 / rows, (started.elapsed() - on_the_way).as_nanos() as f64 / rows)
}

fn main() {
    let millions: i64 = std::env::args().nth(1).map_or(2, |text| text.parse().unwrap());
    let batches: Vec<RecordBatch> = (0..millions * 1_000_000 / BATCH_ROWS).map(|n| batch(n * BATCH_ROWS)).collect();
    let rules = rules();
    println!("{:<28} {:>12} {:>12}", "rule", "ns a row", "at the end");
    for one in &rules {
        let (on_the_way, end) = measure(std::slice::from_ref(one), &batches);
        println!("{:<28} {on_the_way:>12.2} {end:>12.2}", one.rule.name);
    }
    let (on_the_way, end) = measure(&rules, &batches);
    println!("{:<28} {on_the_way:>12.2} {end:>12.2}", "all of them");
}

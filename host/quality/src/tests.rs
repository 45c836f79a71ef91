//! What rules promise, by batches of several partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use datakit_model::datakit::RoleColumns;
use datakit_model::quality::{Check, DeclaredBy, Rule, RuleResult, RuleStatus, Severity, TableRule};
use datakit_model::{Diagnostic, TableId};
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000_000;

fn rule(check: Check, columns: &[&str]) -> TableRule {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    let rule = Rule { name: "rule".to_owned(), columns, check, severity: Severity::Stop };
    TableRule { rule, declared_by: DeclaredBy::Operator, is_off: false }
}

fn range(min: Option<&str>, max: Option<&str>) -> Check {
    Check::Range { min: min.map(ToOwned::to_owned), max: max.map(ToOwned::to_owned) }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, values)| (name, values, true))).unwrap()
}

fn compiled(rules: &[TableRule], schema: &SchemaRef) -> Result<Arc<Checks>, QualityError> {
    compiled_with(rules, schema, &[], &RoleColumns::default())
}

fn compiled_with(
    rules: &[TableRule],
    schema: &SchemaRef,
    keys: &[String],
    roles: &RoleColumns,
) -> Result<Arc<Checks>, QualityError> {
    Checks::new(&TableId::new("dbo", "orders"), rules, schema, (keys, false), roles).map(Arc::new)
}

const FACTS: Facts = Facts { started_at_micros: 100 * HOUR, last_rows: None, goes_on: false };

fn partition(checks: &Arc<Checks>, batches: &[RecordBatch]) -> PartitionOutcome {
    let mut partition = PartitionChecks::new(checks);
    batches.iter().for_each(|batch| partition.add(batch).unwrap());
    partition.finish().unwrap()
}

/// What one rule finds; each batch is a partition.
fn found(rule: &TableRule, batches: &[RecordBatch]) -> RuleResult {
    let checks = compiled(std::slice::from_ref(rule), &batches[0].schema()).unwrap();
    let partitions: Vec<_> = batches.iter().map(|batch| partition(&checks, std::slice::from_ref(batch))).collect();
    checks.results(&partitions, &[], &FACTS).unwrap().remove(0)
}

fn counts(rule: &TableRule, batches: &[RecordBatch]) -> (u64, u64, RuleStatus) {
    let found = found(rule, batches);
    (found.checked, found.failed, found.status)
}

fn numbers(values: &[Option<i32>]) -> RecordBatch {
    batch(vec![("n", Arc::new(Int32Array::from(values.to_vec())))])
}

#[test]
fn rows_with_a_null_in_any_column_break_not_null() {
    let rows = batch(vec![
        ("a", Arc::new(Int32Array::from(vec![Some(1), None, None, Some(4)]))),
        ("b", Arc::new(StringArray::from(vec![Some("x"), Some("y"), None, None]))),
    ]);
    assert_eq!(counts(&rule(Check::NotNull, &["a"]), std::slice::from_ref(&rows)), (4, 2, RuleStatus::Stopped));
    assert_eq!(counts(&rule(Check::NotNull, &["a", "b"]), &[rows.clone(), rows]), (8, 6, RuleStatus::Stopped));
    assert_eq!(counts(&rule(Check::NotNull, &["n"]), &[numbers(&[Some(1)])]), (1, 0, RuleStatus::Passed));
}

#[test]
fn null_is_within_every_range_and_matches_every_pattern() {
    let rows = [numbers(&[Some(1), None, Some(11)]), numbers(&[None])];
    assert_eq!(counts(&rule(range(Some("2"), Some("10")), &["n"]), &rows), (4, 2, RuleStatus::Stopped));
    let texts = batch(vec![("t", Arc::new(StringArray::from(vec![Some("DE12"), None, Some("x"), Some("")])))]);
    let pattern = rule(Check::Pattern("^[A-Z]{2}[0-9]+$".to_owned()), &["t"]);
    assert_eq!(counts(&pattern, &[texts]), (4, 2, RuleStatus::Stopped));
}

#[test]
fn nan_breaks_a_range() {
    let rows = batch(vec![("n", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.0), None])))]);
    assert_eq!(counts(&rule(range(Some("0"), None), &["n"]), std::slice::from_ref(&rows)), (3, 1, RuleStatus::Stopped));
    assert_eq!(counts(&rule(range(None, Some("2")), &["n"]), &[rows]), (3, 1, RuleStatus::Stopped));
}

#[test]
fn repeated_keys_are_counted_across_partitions_and_nulls_are_left_out() {
    let unique = rule(Check::Unique { in_target: false }, &["n"]);
    let rows = [numbers(&[Some(1), Some(2), None]), numbers(&[Some(2), None, Some(1), Some(1)])];
    assert_eq!(counts(&unique, &rows), (5, 3, RuleStatus::Stopped));
    let zeros = batch(vec![("n", Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN])))]);
    assert_eq!(counts(&unique, &[zeros]), (4, 2, RuleStatus::Stopped));
    let pairs = batch(vec![
        ("n", Arc::new(StringArray::from(vec!["a", "ab", "a"]))),
        ("m", Arc::new(StringArray::from(vec!["bc", "c", "bc"]))),
    ]);
    let unique = rule(Check::Unique { in_target: false }, &["n", "m"]);
    assert_eq!(counts(&unique, &[pairs]), (3, 1, RuleStatus::Stopped), "values are not joined to one text");
}

#[test]
fn attempt_that_was_dropped_does_not_count() {
    let rows = numbers(&[Some(1), None]);
    let rules = [rule(Check::NotNull, &["n"]), rule(Check::Unique { in_target: false }, &["n"])];
    let checks = compiled(&rules, &rows.schema()).unwrap();
    let mut failed = PartitionChecks::new(&checks);
    failed.add(&rows).unwrap();
    drop(failed);
    let again = partition(&checks, &[rows]);
    let results = checks.results(&[again], &[], &FACTS).unwrap();
    let counts: Vec<_> = results.iter().map(|result| (result.checked, result.failed)).collect();
    assert_eq!(counts, [(2, 1), (1, 0)]);
}

#[test]
fn number_of_rows_is_bounded_and_compared_with_the_last_load() {
    let found = |check: Check, rows: usize, last_rows: Option<u64>| {
        let rows = numbers(&vec![None; rows]);
        let checks = compiled(&[rule(check, &[])], &rows.schema()).unwrap();
        let facts = Facts { last_rows, ..FACTS };
        checks.results(&[partition(&checks, &[rows])], &[], &facts).unwrap().remove(0)
    };
    let bounds = |min, max, max_change_percent| Check::RowCount { min, max, max_change_percent };
    let status = |check: Check, rows, last| found(check, rows, last).status;
    assert_eq!(status(bounds(Some(3), None, None), 3, None), RuleStatus::Passed);
    assert_eq!(status(bounds(Some(4), None, None), 3, None), RuleStatus::Stopped);
    assert_eq!(status(bounds(None, Some(2), None), 3, None), RuleStatus::Stopped);
    assert_eq!(status(bounds(Some(1), None, None), 0, None), RuleStatus::Stopped);
    for (rows, expected) in
        [(89, RuleStatus::Stopped), (90, RuleStatus::Passed), (110, RuleStatus::Passed), (111, RuleStatus::Stopped)]
    {
        assert_eq!(status(bounds(None, None, Some(10)), rows, Some(100)), expected, "{rows}");
    }
    assert_eq!(status(bounds(None, None, Some(10)), 1, Some(0)), RuleStatus::Stopped);
    assert_eq!(status(bounds(None, None, Some(10)), 1, None), RuleStatus::Skipped);
    let both = found(bounds(Some(9), None, Some(10)), 5, Some(100));
    assert_eq!(
        both.to_string(),
        "`rule` (row_count): 5 rows: at least 9 are required; the last load had 100, and 10 % more or less are allowed"
    );
}

#[test]
fn newest_value_of_all_partitions_decides_over_freshness() {
    let check = |max_age_seconds| rule(Check::Freshness { max_age_seconds }, &["t"]);
    let times = |values: Vec<Option<i64>>| batch(vec![("t", Arc::new(TimestampMicrosecondArray::from(values)))]);
    let rows = [times(vec![Some(98 * HOUR), None]), times(vec![Some(97 * HOUR)])];
    assert_eq!(counts(&check(7200), &rows), (3, 0, RuleStatus::Passed));
    let late = found(&check(7199), &rows);
    assert_eq!((late.failed, late.status), (1, RuleStatus::Stopped));
    assert_eq!(late.reason.as_deref(), Some("the newest value is 2 h old, and 1 h 59 min are allowed"));
    let days = batch(vec![("t", Arc::new(Date32Array::from(vec![3, 4])))]);
    assert_eq!(found(&check(4 * 3600), std::slice::from_ref(&days)).status, RuleStatus::Passed, "4 days are 96 hours");
    assert_eq!(found(&check(4 * 3600 - 1), &[days]).status, RuleStatus::Stopped);
    let none = times(vec![None]);
    assert_eq!(found(&check(1), std::slice::from_ref(&none)).reason.as_deref(), Some("no row has a value"));
    let checks = compiled(&[check(1)], &none.schema()).unwrap();
    let facts = Facts { goes_on: true, ..FACTS };
    let skipped = checks.results(&[partition(&checks, &[none])], &[], &facts).unwrap().remove(0);
    assert_eq!(skipped.status, RuleStatus::Skipped);
}

#[test]
fn load_without_rows_breaks_no_rule_about_values() {
    let schema = numbers(&[]).schema();
    let rules = [
        rule(Check::NotNull, &["n"]),
        rule(range(Some("1"), None), &["n"]),
        rule(Check::Unique { in_target: true }, &["n"]),
    ];
    let checks = compiled(&rules, &schema).unwrap();
    let results = checks.results(&[], &[], &FACTS).unwrap();
    assert!(results.iter().all(|result| (result.checked, result.status) == (0, RuleStatus::Passed)), "{results:?}");
    assert!(checks.may_commit(&results).is_ok());
}

#[test]
fn deleted_rows_and_columns_that_a_row_does_not_carry_are_left_out() {
    let rows = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)]))),
        ("n", Arc::new(Int32Array::from(vec![None, None, None, Some(0)]))),
        ("op", Arc::new(StringArray::from(vec!["insert", "update", "delete", "read"]))),
        ("missing", Arc::new(StringArray::from(vec![None, Some("[\"n\"]"), None, Some("[\"x\"]")]))),
    ]);
    let roles = RoleColumns {
        operation: Some("op".to_owned()),
        missing_columns: Some("missing".to_owned()),
        ..RoleColumns::default()
    };
    let rules = [
        rule(Check::NotNull, &["n"]),
        rule(Check::NotNull, &["id"]),
        rule(range(Some("1"), None), &["n"]),
        rule(Check::RowCount { min: Some(1), max: None, max_change_percent: None }, &[]),
        rule(Check::Unique { in_target: false }, &["id"]),
    ];
    let checks = compiled_with(&rules, &rows.schema(), &["id".to_owned()], &roles).unwrap();
    let results = checks.results(&[partition(&checks, &[rows])], &[], &FACTS).unwrap();
    let counts: Vec<_> = results.iter().map(|it| (it.checked, it.failed, it.status)).collect();
    assert_eq!(
        counts,
        [
            (2, 1, RuleStatus::Stopped),
            (4, 1, RuleStatus::Stopped),
            (2, 1, RuleStatus::Stopped),
            (4, 0, RuleStatus::Passed),
            (0, 0, RuleStatus::Skipped),
        ]
    );
}

#[test]
fn keys_of_the_sink_are_compared_in_the_types_of_the_load() {
    let rows = numbers(&[Some(1), Some(2), Some(2), Some(3), None]);
    let reference = Check::Reference { table: TableId::new("dbo", "customers"), columns: vec!["id".to_owned()] };
    let rules = [rule(Check::Unique { in_target: true }, &["n"]), rule(reference, &["n"])];
    let checks = compiled(&rules, &rows.schema()).unwrap();
    let reads = checks.key_reads();
    assert_eq!(reads.iter().map(|read| read.table.is_some()).collect::<Vec<_>>(), [false, true]);
    let held = |rule: usize, values: Vec<Option<i64>>| {
        let mut held = HeldKeys::new(Arc::clone(&checks), rule);
        held.add(&batch(vec![("id", Arc::new(Int64Array::from(values)))])).unwrap();
        held.finish().unwrap()
    };
    let held = [held(0, vec![Some(3), Some(i64::MAX), None]), held(1, vec![Some(2), Some(7)])];
    let results = checks.results(&[partition(&checks, &[rows])], &held, &FACTS).unwrap();
    let counts: Vec<_> = results.iter().map(|result| (result.checked, result.failed)).collect();
    assert_eq!(counts, [(4, 2), (4, 2)], "the second 2 and 3 are taken; 1 and 3 are nowhere");
    let mut texts = HeldKeys::new(Arc::clone(&checks), 1);
    let error = texts.add(&batch(vec![("id", Arc::new(StringArray::from(vec!["1"])))])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the rule `rule` of dbo.orders is invalid: `n` cannot be compared with `id`, which is of type Utf8"
    );
}

#[test]
fn rule_that_is_off_is_reported_and_not_checked() {
    let off = TableRule { is_off: true, ..rule(Check::NotNull, &["gone"]) };
    assert_eq!(counts(&off, &[numbers(&[None])]), (0, 0, RuleStatus::Off));
}

#[test]
fn invalid_rules_say_what_to_do() {
    let schema = batch(vec![
        ("amount", Arc::new(Int32Array::from(vec![1]))),
        ("country", Arc::new(StringArray::from(vec!["x"]))),
    ])
    .schema();
    let customers = || TableId::new("dbo", "customers");
    let rules = [
        rule(Check::NotNull, &["amuont"]),
        rule(Check::NotNull, &["nothing_like_it"]),
        rule(range(Some("1"), None), &["country"]),
        rule(range(Some("1.5"), None), &["amount"]),
        rule(range(Some("2"), Some("1")), &["amount"]),
        rule(range(None, None), &["amount"]),
        rule(Check::Pattern("a".to_owned()), &["amount"]),
        rule(Check::Pattern("(a".to_owned()), &["country"]),
        rule(Check::Freshness { max_age_seconds: 1 }, &["amount"]),
        rule(Check::Unique { in_target: false }, &[]),
        rule(Check::Reference { table: customers(), columns: vec![] }, &["amount"]),
        TableRule { declared_by: DeclaredBy::Datakit, ..rule(Check::NotNull, &["amuont"]) },
    ];
    let shown = rules.iter().map(|rule| {
        let error = compiled(std::slice::from_ref(rule), &schema).unwrap_err();
        let kind = format!("{:?}", error.kind()).to_lowercase();
        format!("{} ({kind}) {error}\n  hint: {}\n", error.code(), error.hint().unwrap_or_default())
    });
    insta::assert_snapshot!(shown.collect::<String>());
}

#[test]
fn broken_rules_are_named_with_their_counts() {
    let rows = numbers(&[None, Some(1), Some(20)]);
    let warned = |rule: TableRule| TableRule { rule: Rule { severity: Severity::Warn, ..rule.rule }, ..rule };
    let rules = [rule(Check::NotNull, &["n"]), warned(rule(range(None, Some("10")), &["n"]))];
    let checks = compiled(&rules, &rows.schema()).unwrap();
    let results = checks.results(&[partition(&checks, &[rows])], &[], &FACTS).unwrap();
    assert_eq!(results[1].status, RuleStatus::Warned);
    let error = checks.may_commit(&results).unwrap_err();
    assert_eq!(error.code(), "DK-RUN-050");
    assert_eq!(error.to_string(), "dbo.orders breaks a rule of quality: `rule` (not_null of n): 1 of 3 rows fail");
    assert!(checks.may_commit(&results[1..]).is_ok());
}

fn values() -> impl Strategy<Value = Vec<Vec<Option<i32>>>> {
    proptest::collection::vec(proptest::collection::vec(proptest::option::of(-20..20_i32), 0..50), 1..4)
}

proptest! {
    #[test]
    fn counts_are_those_of_a_row_by_row_model(partitions in values(), low in -20..=15_i32, held in proptest::collection::vec(-20..20_i64, 0..20)) {
        let rules = [
            rule(Check::NotNull, &["n"]),
            rule(range(Some(&low.to_string()), Some("15")), &["n"]),
            rule(Check::Unique { in_target: true }, &["n"]),
        ];
        let checks = compiled(&rules, &numbers(&[]).schema()).unwrap();
        let outcomes: Vec<_> = partitions
            .iter()
            .map(|rows| partition(&checks, &rows.chunks(7).map(numbers).collect::<Vec<_>>()))
            .collect();
        let mut keys = HeldKeys::new(Arc::clone(&checks), 2);
        keys.add(&batch(vec![("n", Arc::new(Int64Array::from(held.clone())))])).unwrap();
        let results = checks.results(&outcomes, &[keys.finish().unwrap()], &FACTS).unwrap();
        let all: Vec<Option<i32>> = partitions.concat();
        let held: BTreeSet<i64> = held.into_iter().collect();
        let mut rows_of: BTreeMap<i32, u64> = BTreeMap::new();
        all.iter().flatten().for_each(|value| *rows_of.entry(*value).or_default() += 1);
        let taken = |(value, rows): (&i32, &u64)| if held.contains(&i64::from(*value)) { *rows } else { *rows - 1 };
        let expected = [
            all.iter().filter(|value| value.is_none()).count() as u64,
            all.iter().flatten().filter(|value| !(low..=15).contains(*value)).count() as u64,
            rows_of.iter().map(taken).sum(),
        ];
        let found: Vec<u64> = results.iter().map(|result| result.failed).collect();
        prop_assert_eq!(found, expected);
    }
}

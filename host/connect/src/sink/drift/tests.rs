//! Each kind of difference under each rule.

use arrow::datatypes::{Field, Schema};
use datakit_model::datakit::RoleColumns;
use datakit_model::sink::{Target, WriteMode};
use datakit_model::{DriftRule, RunIdentity, TableId};

use super::decide::{Decision, decide};
use super::*;

fn column(name: &str, data_type: DataType, nullable: bool) -> SinkColumn {
    let type_name = data_type.to_string();
    SinkColumn { name: name.to_owned(), type_name, data_type: Some(data_type), nullable, default: DefaultValue::Null }
}

fn target(columns: &[SinkColumn], mode: WriteMode, drift: DriftRule) -> Target {
    let field = |column: &SinkColumn| Field::new(&column.name, column.data_type.clone().unwrap(), column.nullable);
    let schema = std::sync::Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let run = RunIdentity {
        run_id: "1".to_owned(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 0,
        source_system: "ERP".to_owned(),
        datakit: "kit".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:0".to_owned(),
    };
    Target { drift, ..Target::new(TableId::new("dbo", "t"), schema, mode, run) }
}

/// One table of all differences, under one rule.
fn decided(drift: DriftRule, mode: WriteMode, partition_columns: &[&str]) -> Decision {
    let there = [
        column("same", DataType::Int32, false),
        column("narrower", DataType::Int64, true),
        column("wider", DataType::Int32, true),
        column("other", DataType::Utf8, true),
        column("relaxed", DataType::Int32, false),
        column("Case", DataType::Utf8, true),
        column("dropped", DataType::Utf8, true),
        column("needed", DataType::Utf8, false),
        SinkColumn { default: DefaultValue::Server, ..column("loaded_at", DataType::Utf8, false) },
    ];
    let load = [
        column("same", DataType::Int32, false),
        column("narrower", DataType::Int16, true),
        column("wider", DataType::Int64, true),
        column("other", DataType::Boolean, true),
        column("relaxed", DataType::Int32, true),
        column("case", DataType::Utf8, true),
        column("added", DataType::Utf8, false),
    ];
    let partition_columns: Vec<String> = partition_columns.iter().map(|name| (*name).to_owned()).collect();
    let table = Table {
        columns: &there,
        partition_columns: &partition_columns,
        last: HashMap::new(),
        widens: &|there, wanted| {
            there.data_type.as_ref().zip(wanted.data_type.as_ref()).is_some_and(|(narrow, wide)| holds(wide, narrow))
        },
    };
    decide(&target(&load, mode, drift), &Load { columns: &load, is_part: false }, &table)
}

fn text(decision: &Decision) -> String {
    let changes = decision.changes.iter().map(|change| format!("{change}\n"));
    let alterations = decision.alterations.iter().map(|alteration| format!("{alteration:?}\n"));
    let problems = decision.problems.iter().map(|problem| format!("problem: {problem}\n"));
    changes.chain(alterations).chain(problems).collect()
}

#[test]
fn each_difference_under_each_rule() {
    insta::assert_snapshot!("evolve", text(&decided(DriftRule::Evolve, WriteMode::Append, &[])));
    insta::assert_snapshot!("freeze", text(&decided(DriftRule::Freeze, WriteMode::Append, &[])));
    insta::assert_snapshot!("fail", text(&decided(DriftRule::Fail, WriteMode::Append, &[])));
    insta::assert_snapshot!("replace", text(&decided(DriftRule::Replace, WriteMode::Overwrite, &[])));
}

#[test]
fn partition_columns_neither_change_nor_go() {
    let decision = decided(DriftRule::Evolve, WriteMode::Append, &["wider", "dropped"]);
    let about =
        |column: &str| decision.problems.iter().any(|text| text.contains(column) && text.contains("partitions"));
    assert!(about("wider") && about("dropped"), "{decision:?}");
}

#[test]
fn rows_that_stay_keep_their_columns() {
    let evolved = text(&decided(DriftRule::Evolve, WriteMode::Append, &[]));
    assert_eq!(text(&decided(DriftRule::Replace, WriteMode::Append, &[])), evolved);
}

#[test]
fn nulls_of_deleted_rows_relax_no_column() {
    let there = [column("id", DataType::Int32, false), column("n", DataType::Int32, false)];
    let load =
        [column("id", DataType::Int32, false), column("n", DataType::Int32, true), column("op", DataType::Utf8, true)];
    let table = Table { columns: &there, partition_columns: &[], last: HashMap::new(), widens: &|_, _| false };
    let mut target = target(&load, WriteMode::Merge, DriftRule::Evolve);
    let all = Load { columns: &load, is_part: false };
    assert!(text(&decide(&target, &all, &table)).contains("Relax(\"n\")"));
    target.roles = RoleColumns { operation: Some("op".to_owned()), ..RoleColumns::default() };
    assert_eq!(decide(&target, &all, &table).alterations, [Alteration::Add("op".to_owned())]);
    target.drift = DriftRule::Freeze;
    assert!(text(&decide(&target, &all, &table)).contains("`op` is not in the table, and the load is merged by it"));
}

#[test]
fn difference_that_the_last_load_had_is_not_said_again() {
    let there = [column("kept", DataType::Int64, true), column("dropped", DataType::Utf8, true)];
    let load = [column("kept", DataType::Int16, true)];
    let last = |columns: &[(&str, &str)]| columns.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let changes = |last: HashMap<String, String>| {
        let table = Table { columns: &there, partition_columns: &[], last, widens: &|_, _| false };
        let target = target(&load, WriteMode::Append, DriftRule::Evolve);
        decide(&target, &Load { columns: &load, is_part: false }, &table).changes.len()
    };
    assert_eq!(changes(last(&[])), 2, "the last load is not known");
    assert_eq!(changes(last(&[("kept", "Int64"), ("dropped", "Utf8")])), 2);
    assert_eq!(changes(last(&[("kept", "Int16")])), 0);
}

#[test]
fn columns_of_a_part_say_nothing_of_others() {
    let there = [column("a", DataType::Int32, true), column("b", DataType::Utf8, false)];
    let load = [column("a", DataType::Int32, true)];
    let table = Table { columns: &there, partition_columns: &[], last: HashMap::new(), widens: &|_, _| false };
    let decision =
        decide(&target(&load, WriteMode::Append, DriftRule::Fail), &Load { columns: &load, is_part: true }, &table);
    assert!(decision.problems.is_empty() && decision.changes.is_empty(), "{decision:?}");
}

#[test]
fn decimal_holds_another_with_room_on_both_sides_of_the_point() {
    let decimal = |precision, scale| DataType::Decimal128(precision, scale);
    assert!(holds(&decimal(18, 4), &decimal(16, 2)) && holds(&decimal(10, 2), &decimal(9, 2)));
    for narrow in [decimal(18, 4), decimal(18, 2), decimal(18, 5), decimal(38, 4)] {
        assert!(!holds(&decimal(18, 4), &narrow), "{narrow}");
    }
    assert!(!holds(&DataType::Float64, &DataType::Int32) && !holds(&DataType::Int32, &DataType::Int64));
}

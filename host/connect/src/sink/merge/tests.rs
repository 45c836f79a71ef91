//! Reduction against a model: rows applied one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef};
use datakit_model::datakit::RoleColumns;
use datakit_model::sink::{Target, WriteMode};
use datakit_model::{Diagnostic, RunIdentity, TableId};
use proptest::prelude::*;

use super::*;
use crate::sink::SinkError;

type Key = (i32, Option<i32>);

/// A row of the load.
#[derive(Debug, Clone)]
struct Row {
    key: Key,
    operation: &'static str,
    a: Option<i32>,
    b: Option<i32>,
    missing: Vec<&'static str>,
}

/// A row of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    operation: String,
    a: Option<i32>,
    b: Option<i32>,
    missing: Option<String>,
    kept: Option<i32>,
}

type Table = BTreeMap<Key, Held>;

fn schema() -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int32, true);
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let fields = vec![number("k"), text("op"), number("a"), number("l"), text("gone"), number("b")];
    Arc::new(Schema::new(fields))
}

fn target() -> Target {
    let run = RunIdentity {
        run_id: "1".to_owned(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 0,
        source_system: "ERP".to_owned(),
        datakit: "kit".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:0".to_owned(),
    };
    let target = Target::new(TableId::new("dbo", "t"), schema(), WriteMode::Merge, run);
    let text = |name: &str| Some(name.to_owned());
    let roles = RoleColumns { operation: text("op"), missing_columns: text("gone"), ..RoleColumns::default() };
    Target { keys: vec!["k".to_owned(), "l".to_owned()], roles, ..target }
}

fn names(missing: &[&str]) -> Option<String> {
    (!missing.is_empty()).then(|| serde_json::to_string(missing).unwrap())
}

fn batch(rows: &[Row]) -> RecordBatch {
    let number = |of: fn(&Row) -> Option<i32>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Int32Array>()) };
    let text = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let columns = vec![
        number(|row| Some(row.key.0)),
        text(rows.iter().map(|row| Some(row.operation.to_owned())).collect()),
        number(|row| row.a),
        number(|row| row.key.1),
        text(rows.iter().map(|row| names(&row.missing)).collect()),
        number(|row| row.b),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The model.
fn apply(table: &mut Table, row: &Row) {
    if row.operation == "delete" {
        table.remove(&row.key);
        return;
    }
    let before = table.get(&row.key).cloned();
    let there = before.clone().unwrap_or_default();
    let value = |name: &str, new: Option<i32>, old: Option<i32>| if row.missing.contains(&name) { old } else { new };
    let missing = match before {
        // A column that the load does not have keeps nothing.
        Some(before) if row.missing.iter().any(|name| *name != "left out") => before.missing,
        _ => names(&row.missing),
    };
    let (a, b) = (value("a", row.a, there.a), value("b", row.b, there.b));
    table.insert(row.key, Held { operation: row.operation.to_owned(), a, b, missing, kept: there.kept });
}

fn kept_field() -> FieldRef {
    Arc::new(Field::new("kept", DataType::Int32, true))
}

fn held(columns: &[ArrayRef], row: usize) -> (Key, Held) {
    let number = |at: usize| {
        let column = columns.get(at)?.as_primitive::<Int32Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let text = |at: usize| {
        let column = columns[at].as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let held = Held { operation: text(1).unwrap(), a: number(2), b: number(5), missing: text(4), kept: number(6) };
    ((number(0).unwrap(), number(3)), held)
}

fn old_batch(schema: &SchemaRef, (key, held): (&Key, &Held)) -> RecordBatch {
    let number = |value: Option<i32>| -> ArrayRef { Arc::new(Int32Array::from(vec![value])) };
    let text = |value: Option<String>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let operation = text(Some(held.operation.clone()));
    let mut columns =
        vec![number(Some(key.0)), operation, number(held.a), number(key.1), text(held.missing.clone()), number(held.b)];
    columns.push(number(held.kept));
    columns.truncate(schema.fields().len());
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// What a sink does with a reduced load.
fn merge(table: &mut Table, partitions: &[Vec<Vec<Row>>], has_kept: bool, max_bytes: u64) -> Result<(), SinkError> {
    let kept: Vec<FieldRef> = has_kept.then(kept_field).into_iter().collect();
    let spool = Spool::new(MergeColumns::new(&target(), "test")?, &schema(), &kept)?;
    let mut spooled = Vec::new();
    for batches in partitions {
        let mut rows = SpooledRows::default();
        batches.iter().try_for_each(|rows_of| spool.add(&mut rows, &batch(rows_of)))?;
        spooled.push(rows);
    }
    let mut chosen = Spool::chosen(&spooled);
    let mut new = Table::new();
    for pass in spool.passes(&spooled, max_bytes) {
        let reduced = spool.reduce(&spooled, &pass)?;
        reduced.choose(&mut chosen);
        let mut old = OldRows::default();
        let keys = reduced.key_columns()?;
        for key in reduced.keys() {
            let at = |column: usize| {
                let column = keys[column].as_primitive::<Int32Type>();
                column.is_valid(key as usize).then(|| column.value(key as usize))
            };
            let found = spool.keys().rows(&keys.iter().map(|c| c.slice(key as usize, 1)).collect::<Vec<_>>()).unwrap();
            assert_eq!(reduced.find(found.row(0).as_ref()), Some(key));
            let Some((key_of, row)) = table.remove_entry(&(at(0).unwrap(), at(1))) else { continue };
            if reduced.needs_old_row(key) {
                old.add(old_batch(spool.full_schema(), (&key_of, &row)), &[key]);
            }
        }
        let partial: Vec<u32> =
            reduced.keys().filter(|key| reduced.is_partial(*key) && !reduced.is_deleted(*key)).collect();
        let columns = reduced.rows(&partial, &old)?;
        new.extend((0..partial.len()).map(|row| held(&columns, row)));
    }
    spool.take(&spooled, chosen, |rows| {
        for row in 0..rows.num_rows() {
            let (key, row) = held(rows.columns(), row);
            assert!(new.insert(key, row).is_none(), "one row a key");
        }
        Ok(())
    })?;
    table.extend(new);
    Ok(())
}

fn a_row(with_missing: bool) -> impl Strategy<Value = Row> {
    let operations = prop::sample::select(vec!["read", "insert", "update", "upsert", "delete"]);
    let missing = prop::sample::subsequence(vec!["a", "b", "left out"], if with_missing { 0..=3 } else { 0..=0 });
    let number = prop::option::of(0..100);
    (0..6, prop::option::of(0..2), operations, number.clone(), number, missing)
        .prop_map(|(k, l, operation, a, b, missing)| Row { key: (k, l), operation, a, b, missing })
}

fn a_load() -> impl Strategy<Value = Vec<Vec<Vec<Row>>>> {
    any::<bool>().prop_flat_map(|with_missing| {
        let batch = prop::collection::vec(a_row(with_missing), 0..12);
        prop::collection::vec(prop::collection::vec(batch, 0..4), 0..4)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn merge_is_as_if_rows_were_applied_one_after_the_other(
        loads in prop::collection::vec(a_load(), 1..3),
        has_kept in any::<bool>(),
        max_bytes in prop::sample::select(vec![100_u64, 600, 1_000_000]),
    ) {
        let there = Held { operation: "read".to_owned(), a: Some(-1), b: Some(-2), missing: None, kept: has_kept.then_some(-3) };
        let mut table: Table = (0..4).map(|k| ((k, None), there.clone())).collect();
        let mut model = table.clone();
        for load in loads {
            // A replay of a load without gaps changes nothing.
            let is_whole = load.iter().flatten().flatten().all(|row| row.missing.is_empty());
            for _ in 0..if is_whole && !has_kept { 2 } else { 1 } {
                merge(&mut table, &load, has_kept, max_bytes).unwrap();
            }
            load.iter().flatten().flatten().for_each(|row| apply(&mut model, row));
            prop_assert_eq!(&table, &model);
        }
    }
}

fn row(key: i32, operation: &'static str, a: i32) -> Row {
    Row { key: (key, None), operation, a: Some(a), b: None, missing: Vec::new() }
}

#[test]
fn many_changes_of_one_key_keep_one_row_in_memory() {
    let spool = Spool::new(MergeColumns::new(&target(), "test").unwrap(), &schema(), &[kept_field()]).unwrap();
    let mut rows = SpooledRows::default();
    for change in 0..60 {
        let changes: Vec<Row> = (0..8192).map(|i| row(1, "update", change * 8192 + i)).collect();
        spool.add(&mut rows, &batch(&changes)).unwrap();
    }
    assert_eq!(rows.rows, 60 * 8192);
    let rows = [rows];
    let passes = spool.passes(&rows, 1024 * 1024 * 1024);
    assert_eq!(passes.len(), 1);
    let reduced = spool.reduce(&rows, &passes[0]).unwrap();
    let held: usize = reduced.held_bytes();
    assert!(held < 10 * 1024 * 1024, "{held} bytes for one key");
    let columns = reduced.rows(&[0], &OldRows::default()).unwrap();
    assert_eq!(columns[2].as_primitive::<Int32Type>().value(0), 60 * 8192 - 1);
}

#[test]
fn floating_point_keys_have_one_zero_and_one_nan() {
    let encoder = KeyEncoder::new([DataType::Float64]).unwrap();
    let odd = f64::from_bits(f64::NAN.to_bits() | 1);
    let column: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.0, -0.0, f64::NAN, odd, 1.0]));
    let rows = encoder.rows(&[column]).unwrap();
    assert_eq!(rows.row(0), rows.row(1));
    assert_eq!(rows.row(2), rows.row(3));
    assert_ne!(rows.row(0), rows.row(4));
}

#[test]
fn load_without_a_key_or_with_a_wrong_one_is_refused() {
    let code = |target: Target| MergeColumns::new(&target, "test").unwrap_err().code().into_owned();
    assert_eq!(code(Target { keys: Vec::new(), ..target() }), "DK-SNK-050");
    assert_eq!(code(Target { keys: vec!["other".to_owned()], ..target() }), "DK-SNK-051");
    assert_eq!(code(Target { keys: vec!["k".to_owned(), "k".to_owned()], ..target() }), "DK-SNK-051");
    let roles = RoleColumns { operation: Some("a".to_owned()), ..RoleColumns::default() };
    assert_eq!(code(Target { roles, ..target() }), "DK-SNK-051");
}

#[test]
fn row_that_says_what_no_row_can_do_is_refused_when_it_comes() {
    let spool = Spool::new(MergeColumns::new(&target(), "test").unwrap(), &schema(), &[]).unwrap();
    let error = |row: Row| spool.add(&mut SpooledRows::default(), &batch(&[self::row(1, "read", 1), row])).unwrap_err();
    let unknown = error(row(1, "truncate", 1));
    assert!(matches!(&unknown, SinkError::Value { column, row: 1, .. } if column == "op"), "{unknown:?}");
    let key = error(Row { missing: vec!["l"], ..row(1, "update", 1) });
    assert!(matches!(&key, SinkError::Value { column, row: 1, .. } if column == "gone"), "{key:?}");
}

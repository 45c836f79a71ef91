//! Columns of a batch on their way to a guest, and columns of a guest on their way into a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use datakit_model::{Diagnostic, GuestLimits};

use super::{decode_ipc, encode_ipc, select_columns, with_columns};
use crate::tests::{batch, sample};
use crate::{ColumnarError, schema_from_wire, schema_to_wire};

fn limits() -> GuestLimits {
    GuestLimits::default()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    encode_ipc(&batch(columns), &limits()).unwrap()
}

fn ints(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

#[test]
fn chosen_columns_leave_in_the_order_of_the_list() {
    let sample = sample();
    let chosen = select_columns(&sample, &names(&["price", "flag"])).unwrap();
    let back = decode_ipc(&encode_ipc(&chosen, &limits()).unwrap(), &limits()).unwrap();
    assert_eq!(back, sample.project(&[4, 0]).unwrap());
    assert_eq!(select_columns(&sample, &[]).unwrap().num_rows(), 3);
}

#[test]
fn new_columns_follow_and_known_ones_are_replaced_in_place() {
    let sample = sample();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let bytes = stream(vec![("new", texts), ("quantity", wide), ("newer", ints(vec![4, 5, 6]))]);
    let made = with_columns(&sample, &bytes, &limits()).unwrap();
    let columns: Vec<_> = made.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut expected: Vec<_> = sample.schema().fields().iter().map(|field| field.name().clone()).collect();
    expected.extend(names(&["new", "newer"]));
    assert_eq!(columns, expected);
    assert_eq!(made.column(2).as_primitive::<arrow::datatypes::Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(made.schema().field(2).data_type(), &DataType::Int64);
    for (kept, column) in
        sample.columns().iter().zip(made.columns()).enumerate().filter(|(at, _)| *at != 2).map(|(_, pair)| pair)
    {
        assert!(Arc::ptr_eq(kept, column), "nothing is copied");
    }
}

#[test]
fn columns_that_do_not_fit_the_batch_say_why() {
    let two = batch(vec![("a", ints(vec![1, 2])), ("b", ints(vec![3, 4]))]);
    let twice = RecordBatch::try_new(
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("a", DataType::Int32, true)])),
        vec![ints(vec![1, 2]), ints(vec![3, 4])],
    )
    .unwrap();
    let narrow = GuestLimits { max_columns: 2, ..limits() };
    let errors: [ColumnarError; 7] = [
        select_columns(&two, &names(&["c"])).unwrap_err(),
        select_columns(&two, &names(&["a", "a"])).unwrap_err(),
        select_columns(&twice, &names(&["a"])).unwrap_err(),
        with_columns(&two, &stream(vec![("c", ints(vec![1]))]), &limits()).unwrap_err(),
        with_columns(&two, &stream(vec![("c", ints(vec![1, 2]))]), &narrow).unwrap_err(),
        with_columns(&twice, &stream(vec![("a", ints(vec![1, 2]))]), &limits()).unwrap_err(),
        with_columns(&two, b"no stream", &limits()).unwrap_err(),
    ];
    let lines =
        errors.iter().map(|error| format!("{} {error}\n  hint: {}", error.code(), error.hint().unwrap_or_default()));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

/// A list of texts, `List(Utf8 not null)` or `List(Utf8)`.
fn lists(items_are_nullable: bool) -> RecordBatch {
    let item = Arc::new(Field::new_list_field(DataType::Utf8, items_are_nullable));
    let values: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let list = ListArray::new(item, OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2])), values, None);
    batch(vec![("l", Arc::new(list) as ArrayRef)])
}

#[test]
fn the_nullability_of_items_is_kept_on_the_whole_way() {
    for (nullable, text) in [(true, "List(Utf8)"), (false, "List(Utf8 not null)")] {
        let lists = lists(nullable);
        let wire = schema_to_wire(&lists.schema());
        assert_eq!(wire[0].arrow_type, text);
        assert_eq!(schema_from_wire(&wire, &limits()).unwrap(), lists.schema());
        let bytes = encode_ipc(&lists, &limits()).unwrap();
        assert_eq!(decode_ipc(&bytes, &limits()).unwrap(), lists);
        let beside = batch(vec![("n", ints(vec![1, 2]))]);
        assert_eq!(
            with_columns(&beside, &bytes, &limits()).unwrap().column(1).data_type(),
            lists.column(0).data_type()
        );
    }
}

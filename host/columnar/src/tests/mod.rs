//! Tests of the room as a whole; those of one file's inside stand beside it.

mod projections;
mod types;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, Time64NanosecondArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use datakit_model::Diagnostic;

use super::ColumnarError;

/// Three rows of every kind of column, the last one null everywhere; names of every odd kind.
pub(super) fn sample() -> RecordBatch {
    let uuid = |byte: u8| Some(vec![byte; 16]);
    let uuids = [uuid(0x11), uuid(0xee), None];
    let lists = vec![Some(vec![Some(1), None]), Some(vec![]), None];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("small", Arc::new(Int16Array::from(vec![Some(7), Some(-300), None]))),
        ("quantity", Arc::new(Int32Array::from(vec![Some(3), Some(0), None]))),
        ("big", Arc::new(Int64Array::from(vec![Some(9_000_000_000), Some(-1), None]))),
        ("price", Arc::new(decimals(&[Some(1_234_500), Some(-5), None], 18, 4))),
        ("rate", Arc::new(decimals(&[Some(25), Some(7), None], 5, 2))),
        ("ratio", Arc::new(Float64Array::from(vec![Some(0.5), Some(-1e300), None]))),
        ("real", Arc::new(Float32Array::from(vec![Some(1.1), Some(-2.0), None]))),
        ("name", Arc::new(StringArray::from(vec![Some("  Žluťoučký kůň "), Some("straße_100%"), None]))),
        ("digits", Arc::new(StringArray::from(vec![Some("42"), Some("x"), None]))),
        ("Odd \"name\" ]", Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_723), Some(-719_162), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_704_067_199_123_456), Some(-1), None]))),
        (
            "at_utc",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_704_067_199_000_000), Some(0), None]).with_timezone("UTC"),
            ),
        ),
        ("clock", Arc::new(Time64NanosecondArray::from(vec![Some(3_723_123_456_700), Some(0), None]))),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff"), Some(b""), None]))),
        ("id", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16).unwrap())),
        ("numbers", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    batch(columns)
}

/// A batch of nullable columns.
pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

pub(super) fn decimals(values: &[Option<i128>], precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap()
}

/// A refusal that a datakit's developer can act on: not a bug of ours, and no message without end.
pub(super) fn check_named(error: &ColumnarError) {
    assert!(!matches!(error, ColumnarError::Unexpected { .. } | ColumnarError::Encode(_)), "{error}");
    assert!(error.code().starts_with("DK-KIT-1"));
    assert!(error.to_string().len() < 4_000, "{error}");
}

//! Values: exact or refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datakit_model::{Kind, Retry, TrackedBatch};

use super::fixture::{SYSTEM, expect_rows, field, load, plain_schema, table, target, write};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};
use crate::sink::columns::{EXTENSION_NAME, UUID_EXTENSION};

/// Midnight of 0001-01-01 and the last microsecond of 9999-12-31.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_MICROS: i64 = 253_402_300_799_999_999;
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;
const LAST_NANOS_OF_DAY: i64 = 86_399_999_999_999;
/// The largest unscaled decimal of 38 digits.
const DECIMAL_38: i128 = 10_i128.pow(38) - 1;

/// Every type of the contract, with nulls and extremes, comes back as it was.
///
/// # Errors
/// The sink does otherwise.
pub async fn every_value_reads_back(harness: &dyn Harness) -> Outcome {
    let sink = harness.sink().await?;
    let rows = extremes(harness.time_digits())?;
    let schema = rows.schema();
    let table = table("values");
    load(sink.as_ref(), target(&table, &schema, "1"), &[rows.clone(), nulls(&rows)?]).await?;
    // A slice begins in the middle of its buffers.
    load(sink.as_ref(), target(&table, &schema, "2"), &[rows.slice(1, 3)]).await?;
    expect_rows(harness, &table, &schema, &[rows.clone(), nulls(&rows)?, rows.slice(1, 3)]).await
}

/// A value that would have to be changed fails its table, naming the column and never the value; a type too.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_what_it_cannot_hold(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("refused"));
    let schema: SchemaRef = Arc::new(Schema::new(vec![field("odd", DataType::UInt64)]));
    let Err(failure) = sink.open(target(&table, &schema, "1")).await.map(|_| ()) else {
        return Err(Violation::new("a column of unsigned integers was taken"));
    };
    ensure_eq!((failure.code(), failure.kind()), ("DK-SNK-006", Kind::User), "the code ({failure})");
    ensure!(failure.message().contains("`odd`"), "`odd` is not named: {failure}");

    let Some(bad) = harness.unrepresentable() else { return Ok(()) };
    let writer = sink.open(target(&table, &bad.schema(), "1")).await?;
    let Err(failure) = write(writer.as_ref(), 0, &[bad]).await else {
        return Err(Violation::new("a value that the sink cannot hold was taken"));
    };
    ensure_eq!((failure.code(), failure.kind()), ("DK-SNK-011", Kind::Data), "the code ({failure})");
    ensure_eq!(failure.retry(), Retry::Never, "the retry hint");
    ensure!(failure.message().contains("`bad`"), "`bad` is not named: {failure}");
    writer.abort().await;
    ensure!(harness.rows(SYSTEM, &table, &plain_schema()).await?.is_none(), "a refused value left a table");

    // A batch of another shape than was announced is the caller's error, not a crash.
    let writer = sink.open(target(&table, &plain_schema(), "2")).await?;
    let mut partition = writer.partition(0).await?;
    let other = RecordBatch::new_empty(Arc::new(Schema::new(vec![field("x", DataType::Int64)])));
    let taken = match partition.write(TrackedBatch::untracked(other)).await {
        Ok(()) => partition.finish().await.map(|_| ()),
        Err(failure) => Err(failure),
    };
    writer.abort().await;
    match taken {
        Ok(()) => Err(Violation::new("a batch of another schema was taken")),
        Err(failure) => {
            ensure_eq!(failure.code(), "DK-SNK-019", "the code of a batch of another schema ({failure})");
            Ok(())
        }
    }
}

/// One more row, of nulls but for its id.
fn nulls(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema();
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        if i == 0 {
            Arc::new(Int32Array::from(vec![99])) as ArrayRef
        } else {
            arrow::array::new_null_array(field.data_type(), 1)
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
}

/// Five rows of every type, with extremes and nulls; the first column is the key. `time_digits`: of a time's fraction.
///
/// # Errors
/// None, for 0 to 9 digits.
pub fn extremes(time_digits: u32) -> Result<RecordBatch, ArrowError> {
    let last_time = LAST_NANOS_OF_DAY / 10_i64.pow(9 - time_digits) * 10_i64.pow(9 - time_digits);
    let some_time = 45_296_123_456_700 / 10_i64.pow(9 - time_digits) * 10_i64.pow(9 - time_digits);
    let decimal = |values: [i128; 4], precision: u8, scale: i8| -> Result<ArrayRef, ArrowError> {
        let values: Vec<Option<i128>> = values.into_iter().map(Some).chain([None]).collect();
        Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale)?))
    };
    let timestamps = vec![Some(FIRST_MICROS), Some(LAST_MICROS), Some(-1), None, Some(1_700_000_000_123_456)];
    let long = "ä".repeat(100_000);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let texts =
        vec![Some(""), Some("a\tb\\N\r\n'\"\u{1}"), Some("日本😀e\u{301}\u{10ffff}"), Some(long.as_str()), None];
    let binaries: Vec<Option<&[u8]>> = vec![Some(b""), Some(&all_bytes), Some(&[0]), None, Some(&[255; 3])];
    let uuids = [Some([0; 16]), Some([255; 16]), Some(std::array::from_fn(|i| i as u8 * 17)), None, Some([1; 16])];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5]))),
        ("bit", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false)]))),
        ("smallint", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), Some(0), None, Some(-1)]))),
        ("int", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), Some(0), None, Some(-1)]))),
        ("bigint", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), Some(0), None, Some(-1)]))),
        ("real", Arc::new(Float32Array::from(vec![Some(f32::MIN), Some(f32::MAX), Some(1e-45), None, Some(-0.0)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(f64::MIN), Some(f64::MAX), Some(5e-324), None, Some(0.1)]))),
        (
            "not finite",
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                Some(f64::INFINITY),
                Some(f64::NEG_INFINITY),
                None,
                Some(1.0),
            ])),
        ),
        ("decimal(38,38)", decimal([DECIMAL_38, -DECIMAL_38, 1, 0], 38, 38)?),
        ("decimal(38,0)", decimal([DECIMAL_38, -DECIMAL_38, 10_000, -1], 38, 0)?),
        ("decimal(38,19)", decimal([DECIMAL_38, -10_i128.pow(19), 10_i128.pow(23), 10_i128.pow(15)], 38, 19)?),
        ("decimal(18,4)", decimal([999_999_999_999_999_999, -1, 10_000, 123_450_000], 18, 4)?),
        ("decimal(5,5)", decimal([99_999, -1, 10_000, 0], 5, 5)?),
        ("money", decimal([9_223_372_036_854_775_807, -9_223_372_036_854_775_808, 100, 50], 19, 4)?),
        ("decimal(1,0)", decimal([9, -9, 0, 1], 1, 0)?),
        ("date", Arc::new(Date32Array::from(vec![Some(FIRST_DAY), Some(LAST_DAY), Some(0), None, Some(-1)]))),
        (
            "time",
            Arc::new(Time64NanosecondArray::from(vec![
                Some(0),
                Some(last_time),
                Some(some_time),
                None,
                Some(1_000_000_000),
            ])),
        ),
        ("time(us)", Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_999), Some(1), None, None]))),
        ("datetime2", Arc::new(TimestampMicrosecondArray::from(timestamps.clone()))),
        ("datetimeoffset", Arc::new(TimestampMicrosecondArray::from(timestamps).with_timezone("UTC"))),
        ("text", Arc::new(StringArray::from(texts.clone()))),
        ("large text", Arc::new(LargeStringArray::from(texts.clone()))),
        ("text view", Arc::new(StringViewArray::from(texts))),
        ("binary", Arc::new(BinaryArray::from(binaries.clone()))),
        ("large binary", Arc::new(LargeBinaryArray::from(binaries))),
        ("uuid", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16)?)),
    ];
    let fields = columns.iter().map(|(name, column)| {
        let field = Field::new(*name, column.data_type().clone(), *name != "id");
        match *name {
            "uuid" => field.with_metadata(HashMap::from([(EXTENSION_NAME.to_owned(), UUID_EXTENSION.to_owned())])),
            _ => field,
        }
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect())
}

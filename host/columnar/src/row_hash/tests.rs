//! The fast way against a slow, straightforward one, over every type, null and slice.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, StringArray,
    Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::record_batch::RecordBatch;
use arrow::temporal_conversions::{
    date32_to_datetime, time32ms_to_time, time32s_to_time, time64ns_to_time, time64us_to_time,
    timestamp_ms_to_datetime, timestamp_s_to_datetime, timestamp_us_to_datetime,
};
use datakit_model::Diagnostic;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::RowHash;
use crate::ColumnarError;
use crate::tests::{batch, decimals, sample};

/// Canonical bytes of one value, the slow way: by text formatting and chrono.
pub(super) fn reference_bytes(array: &ArrayRef, row: usize) -> Vec<u8> {
    macro_rules! value {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row)
        };
    }
    match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(row)).to_string().into_bytes(),
        DataType::Int8 => value!(Int8Type).to_string().into_bytes(),
        DataType::Int16 => value!(Int16Type).to_string().into_bytes(),
        DataType::Int32 => value!(Int32Type).to_string().into_bytes(),
        DataType::Int64 => value!(Int64Type).to_string().into_bytes(),
        DataType::UInt8 => value!(UInt8Type).to_string().into_bytes(),
        DataType::UInt16 => value!(UInt16Type).to_string().into_bytes(),
        DataType::UInt32 => value!(UInt32Type).to_string().into_bytes(),
        DataType::UInt64 => value!(UInt64Type).to_string().into_bytes(),
        DataType::Float32 => match value!(Float32Type) {
            value if value.is_nan() => vec![0, 0, 0xc0, 0x7f],
            0.0 => vec![0; 4],
            value => value.to_bits().to_le_bytes().to_vec(),
        },
        DataType::Float64 => match value!(Float64Type) {
            value if value.is_nan() => vec![0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
            0.0 => vec![0; 8],
            value => value.to_bits().to_le_bytes().to_vec(),
        },
        DataType::Utf8 => array.as_string::<i32>().value(row).as_bytes().to_vec(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).as_bytes().to_vec(),
        DataType::Binary => array.as_binary::<i32>().value(row).to_vec(),
        DataType::LargeBinary => array.as_binary::<i64>().value(row).to_vec(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row).to_vec(),
        DataType::Decimal128(_, scale) => {
            let value = value!(Decimal128Type);
            let scale = usize::try_from(*scale).unwrap();
            let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            let sign = if value < 0 { "-" } else { "" };
            let point = if scale > 0 { "." } else { "" };
            format!("{sign}{whole}{point}{fraction}").into_bytes()
        }
        DataType::Date32 => date32_to_datetime(value!(Date32Type)).unwrap().format("%Y-%m-%d").to_string().into_bytes(),
        DataType::Time32(unit) => match unit {
            TimeUnit::Second => time32s_to_time(value!(Time32SecondType)),
            _ => time32ms_to_time(value!(Time32MillisecondType)),
        }
        .unwrap()
        .format("%H:%M:%S%.9f")
        .to_string()
        .into_bytes(),
        DataType::Time64(unit) => match unit {
            TimeUnit::Microsecond => time64us_to_time(value!(Time64MicrosecondType)),
            _ => time64ns_to_time(value!(Time64NanosecondType)),
        }
        .unwrap()
        .format("%H:%M:%S%.9f")
        .to_string()
        .into_bytes(),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => timestamp_s_to_datetime(value!(TimestampSecondType)),
            TimeUnit::Millisecond => timestamp_ms_to_datetime(value!(TimestampMillisecondType)),
            _ => timestamp_us_to_datetime(value!(TimestampMicrosecondType)),
        }
        .unwrap()
        .format("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string()
        .into_bytes(),
        other => unreachable!("{other}"),
    }
}

/// The hash of one row, the slow way.
fn reference(batch: &RecordBatch, row: usize) -> String {
    let mut message = Vec::new();
    for array in batch.columns() {
        if array.is_null(row) {
            message.push(0);
        } else {
            let bytes = reference_bytes(array, row);
            message.push(1);
            message.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
            message.extend(bytes);
        }
    }
    hex::encode(Sha256::digest(message))
}

/// The hashes of a batch over all its columns.
pub(super) fn hashes(batch: &RecordBatch) -> Result<Vec<String>, ColumnarError> {
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let hash = RowHash::compile(batch.schema_ref(), "_bronze_row_hash", &names)?;
    let array = hash.evaluate(batch.num_rows(), |index| batch.columns().get(index))?;
    assert_eq!((array.data_type(), array.null_count(), array.len()), (&DataType::Utf8, 0, batch.num_rows()));
    Ok(array.as_string::<i32>().iter().map(|hash| hash.unwrap().to_owned()).collect())
}

const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Random columns of every type, of one length.
fn columns(rows: usize) -> impl Strategy<Value = Vec<ArrayRef>> {
    macro_rules! column {
        ($array:ty, $values:expr) => {
            prop::collection::vec(prop::option::weighted(0.8, $values), rows)
                .prop_map(|values| Arc::new(<$array>::from(values)) as ArrayRef)
                .boxed()
        };
    }
    let decimal = |precision: u8, scale: i8| {
        let limit = 10_i128.pow(u32::from(precision));
        let edge = prop_oneof![Just(0), Just(-1), Just(1), Just(limit - 1), Just(1 - limit), 1 - limit..limit];
        prop::collection::vec(prop::option::weighted(0.8, edge), rows)
            .prop_map(move |values| Arc::new(decimals(&values, precision, scale)) as ArrayRef)
            .boxed()
    };
    let float = prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(-f64::NAN), any::<f64>()];
    let real = prop_oneof![Just(0.0), Just(-0.0), Just(f32::NAN), Just(f32::INFINITY), any::<f32>()];
    let bytes = prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..40)), rows);
    let long = prop::collection::vec(prop::option::weighted(0.8, "[ab]{4000,9000}"), rows);
    let uuids = prop::collection::vec(prop::option::weighted(0.8, any::<[u8; 16]>()), rows);
    vec![
        column!(BooleanArray, any::<bool>()),
        column!(Int8Array, any::<i8>()),
        column!(Int16Array, any::<i16>()),
        column!(Int32Array, prop_oneof![Just(i32::MIN), any::<i32>(), -1000..1000]),
        column!(Int64Array, prop_oneof![Just(i64::MIN), any::<i64>(), -1000..1000_i64]),
        column!(UInt8Array, any::<u8>()),
        column!(UInt16Array, any::<u16>()),
        column!(UInt32Array, any::<u32>()),
        column!(UInt64Array, any::<u64>()),
        column!(Float64Array, float),
        column!(Float32Array, real),
        column!(StringArray, ".{0,20}"),
        column!(LargeStringArray, ".{0,20}"),
        long.prop_map(|values| Arc::new(StringArray::from(values)) as ArrayRef).boxed(),
        bytes
            .clone()
            .prop_map(|values| Arc::new(values.iter().map(Option::as_deref).collect::<BinaryArray>()) as ArrayRef)
            .boxed(),
        bytes
            .prop_map(|values| Arc::new(values.iter().map(Option::as_deref).collect::<LargeBinaryArray>()) as ArrayRef)
            .boxed(),
        uuids
            .prop_map(|values| {
                let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
                Arc::new(array.unwrap()) as ArrayRef
            })
            .boxed(),
        decimal(38, 38),
        decimal(38, 0),
        decimal(18, 4),
        decimal(20, 19),
        column!(Date32Array, DAYS),
        column!(Time32SecondArray, 0..86_400_i32),
        column!(Time32MillisecondArray, 0..86_400_000_i32),
        column!(Time64MicrosecondArray, 0..86_400_000_000_i64),
        column!(Time64NanosecondArray, 0..86_400_000_000_000_i64),
        column!(TimestampSecondArray, SECONDS),
        column!(TimestampMillisecondArray, SECONDS.start() * 1000..SECONDS.end() * 1000 + 1000),
        column!(TimestampMicrosecondArray, SECONDS.start() * 1_000_000..SECONDS.end() * 1_000_000 + 1_000_000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_fast_way_equals_the_slow_way(columns in columns(7), start in 0..4_usize, rows in 0..4_usize) {
        let names: Vec<_> = (0..columns.len()).map(|index| format!("c{index}")).collect();
        let batch = batch(names.iter().map(String::as_str).zip(columns).collect());
        // A slice has offsets in every buffer.
        let batch = batch.slice(start, rows);
        let slow: Vec<_> = (0..batch.num_rows()).map(|row| reference(&batch, row)).collect();
        prop_assert_eq!(hashes(&batch).unwrap(), slow);
    }
}

#[test]
fn every_day_of_the_calendar_is_written_as_chrono_writes_it() {
    let days: Vec<i32> = DAYS.step_by(13).chain([*DAYS.end()]).collect();
    let mut scratch = super::canonical::Scratch::default();
    for day in days {
        let expected = date32_to_datetime(day).unwrap().format("%Y-%m-%d").to_string();
        assert_eq!(scratch.date(i64::from(day)).unwrap(), expected.as_bytes());
    }
}

#[test]
fn values_outside_the_canonical_range_name_column_and_row() {
    let outside: Vec<(&str, ArrayRef)> = vec![
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(DAYS.end() + 1)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(DAYS.start() - 1)]))),
        ("day", Arc::new(Date32Array::from(vec![i32::MIN]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN]))),
        ("at", Arc::new(TimestampSecondArray::from(vec![i64::MAX]))),
        ("clock", Arc::new(Time64NanosecondArray::from(vec![86_400_000_000_000]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![i64::MAX]))),
        ("clock", Arc::new(Time32SecondArray::from(vec![-1]))),
    ];
    let errors: Vec<_> =
        outside.into_iter().map(|column| hashes(&batch(vec![column])).unwrap_err().to_string()).collect();
    insta::assert_snapshot!(errors.join("\n"));
    let keyed = batch(vec![
        ("id", Arc::new(Int32Array::from(vec![41, 42])) as ArrayRef),
        ("day", Arc::new(Date32Array::from(vec![0, i32::MIN]))),
    ]);
    let error = hashes(&keyed).unwrap_err().after_rows(1_000);
    insta::assert_snapshot!(error.to_string(), @"row 1002 of the query (`id` is 42), column `day`: the value cannot be hashed: the date is outside the years 0001 to 9999");
    assert!(error.hint().unwrap().contains("row_hash = false"));
    assert!(error.context().contains(&("key".into(), "id = 42".into())));
}

#[test]
fn columns_without_a_canonical_form_are_refused_when_compiled() {
    let sample = sample();
    let schema = sample.schema();
    let refuse = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        RowHash::compile(&schema, "_bronze_row_hash", &names).unwrap_err().to_string()
    };
    let errors = [refuse(&["numbers"]), refuse(&["Name"]), refuse(&["name", "name"])];
    insta::assert_snapshot!(errors.join("\n"));
}

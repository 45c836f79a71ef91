//! Fuzz target: any values for any columns, whatever the server's metadata says.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Time64NanosecondType, TimestampMicrosecondType};
use bolero::TypeGenerator;
use datakit_model::ReadLimits;
use mssql_tds::datatypes::sql_string::EncodingType;
use mssql_tds::token::tokens::SqlCollation;

use super::BatchBuilder;
use super::tests::{builder, column};
use crate::text::TextEncoding;
use crate::types::{Column, Shape};

const LIMITS: ReadLimits = ReadLimits {
    max_batch_bytes: 1 << 20,
    max_batch_rows: 16,
    max_cell_bytes: 40,
    max_row_bytes: 100,
    max_spooled_bytes: 1,
};

#[derive(Debug, TypeGenerator)]
struct Declared {
    shape: u8,
    precision: u8,
    scale: u8,
    collation: [u8; 5],
    nullable: bool,
}

/// What a driver hands over for a value.
#[derive(Debug, TypeGenerator)]
enum Value {
    Null,
    Boolean(bool),
    TinyInt(u8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Decimal(i128, u8),
    Date(u32),
    Time(u64, u8),
    Datetime(i32, u32),
    SmallDatetime(u16, u16),
    Datetime2(u32, u64, u8),
    DatetimeOffset(u32, u64, u8, i16),
    Uuid([u8; 16]),
    Binary(Vec<u8>),
    Text(Vec<u8>, [u8; 5]),
    DecodedText(char),
    /// A value of the column's own type, of these bytes.
    Fitting([u8; 16], Vec<u8>),
}

fn encoding(collation: [u8; 5]) -> TextEncoding {
    let wire = SqlCollation::try_from(collation.as_slice()).unwrap();
    TextEncoding::of(&match collation[4] {
        0xfe => EncodingType::Utf8,
        0xff => EncodingType::Utf16,
        _ => EncodingType::LcidBased(wire),
    })
}

fn declared(index: usize, declared: &Declared) -> Column {
    let precision = 1 + declared.precision % 38;
    let shape = match declared.shape % 16 {
        0 => Shape::Boolean,
        1 => Shape::TinyInt,
        2 => Shape::Int16,
        3 => Shape::Int32,
        4 => Shape::Int64,
        5 => Shape::Float32,
        6 => Shape::Float64,
        7 => Shape::Decimal { precision, scale: (declared.scale % (precision + 1)).cast_signed() },
        8 => Shape::Date,
        9 => Shape::Time,
        10 => Shape::Timestamp,
        11 => Shape::TimestampUtc,
        12 => Shape::Text(encoding(declared.collation)),
        13 => Shape::Binary,
        14 => Shape::Uuid,
        _ => Shape::Variant,
    };
    column(&format!("c{index}"), shape, declared.nullable)
}

fn push(builder: &mut BatchBuilder, col: usize, value: &Value) {
    match value {
        Value::Null => builder.null(col),
        Value::Boolean(v) => builder.boolean(col, *v),
        Value::TinyInt(v) => builder.tinyint(col, *v),
        Value::Int16(v) => builder.int16(col, *v),
        Value::Int32(v) => builder.int32(col, *v),
        Value::Int64(v) => builder.int64(col, *v),
        Value::Float32(v) => builder.float32(col, *v),
        Value::Float64(v) => builder.float64(col, *v),
        Value::Decimal(v, scale) => builder.decimal(col, *v, *scale),
        Value::Date(days) => builder.date(col, *days),
        Value::Time(ticks, scale) => builder.time(col, *ticks, *scale),
        Value::Datetime(days, ticks) => builder.datetime(col, *days, *ticks),
        Value::SmallDatetime(days, minutes) => builder.smalldatetime(col, *days, *minutes),
        Value::Datetime2(days, ticks, scale) => builder.datetime2(col, *days, *ticks, *scale),
        Value::DatetimeOffset(days, ticks, scale, offset) => {
            builder.datetimeoffset(col, *days, *ticks, *scale, *offset);
        }
        Value::Uuid(bytes) => builder.uuid(col, bytes),
        Value::Binary(bytes) => builder.binary(col, bytes),
        Value::Text(bytes, collation) => builder.text(col, bytes, || encoding(*collation)),
        Value::DecodedText(c) => builder.decoded_text(col, &c.to_string()),
        Value::Fitting(fixed, bytes) => push_fitting(builder, col, *fixed, bytes),
    }
}

fn push_fitting(builder: &mut BatchBuilder, col: usize, fixed: [u8; 16], bytes: &[u8]) {
    let number = u128::from_le_bytes(fixed);
    let (low, high) = (number as u64, (number >> 64) as u64);
    let (days, ticks) = (high as u32 % 3_652_100, low % 864_000_000_100);
    match builder.described()[col].shape.clone() {
        Shape::Boolean => builder.boolean(col, low % 2 == 1),
        Shape::TinyInt => builder.tinyint(col, fixed[0]),
        Shape::Int16 => builder.int16(col, low as i16),
        Shape::Int32 => builder.int32(col, low as i32),
        Shape::Int64 => builder.int64(col, low as i64),
        Shape::Float32 => builder.float32(col, f32::from_bits(low as u32)),
        Shape::Float64 => builder.float64(col, f64::from_bits(low)),
        Shape::Decimal { scale, .. } => {
            builder.decimal(col, number.cast_signed() >> (fixed[0] % 128), scale.cast_unsigned() + fixed[1] % 2);
        }
        Shape::Date => builder.date(col, days),
        Shape::Time => builder.time(col, ticks, fixed[15] % 8),
        Shape::Timestamp => match fixed[15] % 3 {
            0 => builder.datetime2(col, days, ticks, 7),
            1 => builder.datetime(col, days.cast_signed() - 53_690, (low % 25_920_010) as u32),
            _ => builder.smalldatetime(col, high as u16, (low % 1_441) as u16),
        },
        Shape::TimestampUtc => builder.datetimeoffset(col, days, ticks, 7, (high >> 32) as i16 % 841),
        Shape::Text(_) => builder.text(col, bytes, || TextEncoding::Utf16),
        Shape::Binary => builder.binary(col, bytes),
        Shape::Uuid => builder.uuid(col, &fixed),
        Shape::Variant => builder.datetimeoffset(col, days, ticks, fixed[15] % 8, (high >> 32) as i16 % 841),
    }
}

fn check_column(column: &Column, array: &dyn Array) {
    array.to_data().validate_full().unwrap();
    assert!(column.nullable || array.null_count() == 0);
    match &column.shape {
        Shape::Decimal { precision, .. } => {
            array.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision).unwrap();
        }
        Shape::Time => {
            let times = array.as_primitive::<Time64NanosecondType>();
            assert!(times.values().iter().all(|time| (0..86_400_000_000_000).contains(time)));
        }
        Shape::Timestamp | Shape::TimestampUtc => {
            // 0001-01-01 to 9999-12-31, which is what SQL Server has.
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            assert!(moments.values().iter().all(|at| (-62_135_596_800_000_000..253_402_300_800_000_000).contains(at)));
        }
        _ => {}
    }
}

/// Feeds rows as both drivers do, until one fails.
fn check(declarations: &[Declared], values: &[Value]) {
    let described: Arc<[Column]> =
        declarations.iter().enumerate().map(|(index, column)| declared(index, column)).collect();
    let mut builder = builder(described.to_vec(), &LIMITS);
    for row in values.chunks_exact(described.len()) {
        for (col, value) in row.iter().enumerate() {
            push(&mut builder, col, value);
        }
        builder.end_row();
        if builder.has_failure() {
            let error = builder.take_failure().unwrap().to_string();
            assert!(error.starts_with(&format!("row {}", builder.total_rows())) && error.len() < 1_000, "{error}");
            // Nobody asks for the rows then, but the columns are in step.
            assert!(builder.rows() > 0);
            let (batch, _) = builder.finish().unwrap();
            return assert!(batch.num_rows() > 0);
        }
        if builder.is_full() {
            break;
        }
    }
    let rows = builder.rows();
    let (batch, cuts) = builder.finish().unwrap();
    assert_eq!(batch.num_rows(), rows);
    for (column, array) in described.iter().zip(batch.columns()) {
        check_column(column, array);
    }
    let most = u64::try_from(rows).unwrap();
    assert!(cuts.iter().all(|(col, cut)| *col < described.len() && (1..=most).contains(cut)));
}

#[test]
fn fuzz_tds_values() {
    bolero::check!().with_type::<(Declared, Vec<Declared>, Vec<Value>)>().for_each(|(first, others, values)| {
        let more = others.iter().take(3).map(|d| Declared { ..*d });
        let declared: Vec<_> = std::iter::once(Declared { ..*first }).chain(more).collect();
        check(&declared, values);
    });
}

/// A text that was read is stored in its code page, and read again as the same.
#[test]
fn fuzz_tds_text() {
    use crate::text;
    bolero::check!().for_each(|input: &[u8]| {
        let Some((collation, bytes)) = input.split_first_chunk::<5>() else { return };
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            encoding(*collation).append(bytes, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        let found = match read(bytes) {
            Ok(found) => found,
            Err(malformed) => return assert!(malformed.reason().len() < 200),
        };
        assert!(found.len() <= 3 * bytes.len());
        let stored: Cow<'_, [u8]> = match collation[4] {
            0xff => found.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().into(),
            0xfe => found.as_bytes().into(),
            // Characters of one's own are read, but not stored.
            _ => match text::encode(&found, SqlCollation::try_from(collation.as_slice()).unwrap()) {
                Ok(stored) => stored.into(),
                Err(_) => return,
            },
        };
        assert_eq!(read(&stored).unwrap(), found);
        assert!(collation[4] < 0xfe || stored == bytes);
    });
}

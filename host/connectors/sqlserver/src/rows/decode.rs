//! One value of tiberius into the builder of its column.

use tiberius::time::{DateTime2, Time};
use tiberius::{ColumnData, ColumnType};

use crate::builders::BatchBuilder;
use crate::types::{Column, Shape};

const USE_OTHER: &str = "read it with `reader = \"mssql-tds\"`";
/// Money arrives divided by 10,000 as a float. Up to here the division and its reversal together err by less than half
/// of the last digit, so rounding finds the server's value; beyond it could be its neighbour.
const EXACT_MONEY: f64 = 2_251_799_813_685_248.0; // 2^51

/// Whether tiberius hands over what the server sent. It decodes text by its own table of code pages, and of a `sql_variant`
/// tells neither the code page of a text nor float from money.
pub(super) fn is_faithful(column: &Column) -> bool {
    match &column.shape {
        Shape::Text(encoding) => encoding.is_tiberius_alike(),
        Shape::Variant => false,
        _ => true,
    }
}

/// Whether tiberius' kind of the column is the one that the shape was made from.
pub(super) fn agrees(column: &Column, kind: ColumnType) -> bool {
    use ColumnType as K;
    let expected: &[ColumnType] = match &column.shape {
        Shape::Boolean => &[K::Bit, K::Bitn],
        Shape::TinyInt => &[K::Int1],
        Shape::Int16 => &[K::Int2],
        Shape::Int32 => &[K::Int4],
        Shape::Int64 => &[K::Int8],
        Shape::Float32 => &[K::Float4],
        Shape::Float64 => &[K::Float8],
        Shape::Decimal { .. } => &[K::Decimaln, K::Numericn, K::Money, K::Money4],
        Shape::Date => &[K::Daten],
        Shape::Time => &[K::Timen],
        Shape::Timestamp => &[K::Datetime, K::Datetime4, K::Datetimen, K::Datetime2],
        Shape::TimestampUtc => &[K::DatetimeOffsetn],
        Shape::Text(_) => &[K::BigVarChar, K::BigChar, K::NVarchar, K::NChar, K::Xml, K::Text, K::NText],
        Shape::Binary => &[K::BigVarBin, K::BigBinary, K::Image, K::Udt],
        Shape::Uuid => &[K::Guid],
        Shape::Variant => &[],
    };
    expected.contains(&kind)
}

/// Pushes one value.
pub(super) fn push(builder: &mut BatchBuilder, col: usize, value: &ColumnData<'_>) {
    match value {
        ColumnData::U8(Some(v)) => builder.tinyint(col, *v),
        ColumnData::I16(Some(v)) => builder.int16(col, *v),
        ColumnData::I32(Some(v)) => builder.int32(col, *v),
        ColumnData::I64(Some(v)) => builder.int64(col, *v),
        ColumnData::F32(Some(v)) => builder.float32(col, *v),
        ColumnData::F64(Some(v)) => float(builder, col, *v),
        ColumnData::Bit(Some(v)) => builder.boolean(col, *v),
        ColumnData::String(Some(text)) => builder.decoded_text(col, text),
        ColumnData::Xml(Some(xml)) => builder.decoded_text(col, xml.as_ref().as_ref()),
        ColumnData::Guid(Some(uuid)) => builder.uuid(col, uuid.as_bytes()),
        ColumnData::Binary(Some(bytes)) => builder.binary(col, bytes),
        ColumnData::Numeric(Some(number)) => builder.decimal(col, number.value(), number.scale()),
        ColumnData::DateTime(Some(v)) => builder.datetime(col, v.days(), v.seconds_fragments()),
        // Its "fragments" are minutes (MS-TDS 2.2.5.5.1.4).
        ColumnData::SmallDateTime(Some(v)) => builder.smalldatetime(col, v.days(), v.seconds_fragments()),
        ColumnData::Time(Some(v)) => builder.time(col, ticks(*v), v.scale()),
        ColumnData::Date(Some(v)) => builder.date(col, v.days()),
        ColumnData::DateTime2(Some(v)) => {
            let (days, ticks, scale) = parts(*v);
            builder.datetime2(col, days, ticks, scale);
        }
        ColumnData::DateTimeOffset(Some(v)) => {
            let (days, ticks, scale) = parts(v.datetime2());
            builder.datetimeoffset(col, days, ticks, scale, v.offset());
        }
        _ => builder.null(col),
    }
}

fn parts(value: DateTime2) -> (u32, u64, u8) {
    (value.date().days(), ticks(value.time()), value.time().scale())
}

/// Ticks of 100 ns.
fn ticks(time: Time) -> u64 {
    time.increments() * 10_u64.pow(7_u32.saturating_sub(time.scale().into()))
}

/// A float, or money as one.
fn float(builder: &mut BatchBuilder, col: usize, value: f64) {
    match builder.described().get(col).map(|column| &column.shape) {
        Some(Shape::Decimal { scale: 4, .. }) => {
            let unscaled = (value * 1e4).round();
            if unscaled.abs() < EXACT_MONEY {
                #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^51")]
                builder.decimal(col, unscaled as i128, 4);
            } else {
                fail(builder, col, "tiberius reads money as a float, which is not exact for so large an amount");
            }
        }
        _ => builder.float64(col, value),
    }
}

fn fail(builder: &mut BatchBuilder, col: usize, reason: &str) {
    builder.fail_value(col, reason, USE_OTHER);
    builder.null_place(col);
}

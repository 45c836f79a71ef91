//! Values of a row (MS-TDS 2.2.5.5 and 2.2.7.19).

use super::Encoding;
use super::type_info::{byte, decimal_bytes, is_fixed, time_bytes};
use crate::values::{Collation, Column, Length, SqlError, SqlType, Value, Variant};

const CHUNKED_NULL: u64 = u64::MAX;
const CHUNKED_UNKNOWN: u64 = u64::MAX - 1;
const TICKS_A_DAY: u64 = 864_000_000_000;
/// SQL Server has no text pointers to give since 2005; it sends these words in their place.
const TEXT_POINTER: &[u8; 16] = b"dummy textptr\0\0\0";
const TEXT_TIMESTAMP: &[u8; 8] = b"dummyTS\0";

/// How the values of a column tell their length, and so what a null costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// No length.
    Fixed,
    /// One byte of length.
    Byte,
    /// Two bytes.
    Short,
    /// Four bytes: `sql_variant`.
    Long,
    /// A text pointer and four bytes: `text`, `ntext`, `image`.
    Pointer,
    /// Chunks.
    Chunked,
}

impl Frame {
    /// The frame of a column.
    pub fn of(column: &Column) -> Self {
        match column.sql_type {
            _ if is_fixed(column) => Self::Fixed,
            SqlType::VarChar(Length::Max)
            | SqlType::NVarChar(Length::Max)
            | SqlType::VarBinary(Length::Max)
            | SqlType::Xml
            | SqlType::Json
            | SqlType::HierarchyId
            | SqlType::Geometry
            | SqlType::Geography => Self::Chunked,
            SqlType::Char { .. }
            | SqlType::VarChar(_)
            | SqlType::NChar { .. }
            | SqlType::NVarChar(_)
            | SqlType::Binary { .. }
            | SqlType::VarBinary(_)
            | SqlType::RowVersion => Self::Short,
            SqlType::Text | SqlType::NText | SqlType::Image => Self::Pointer,
            SqlType::SqlVariant => Self::Long,
            _ => Self::Byte,
        }
    }

    /// Bytes of a null in a row without a bitmap.
    pub fn null_bytes(self) -> usize {
        match self {
            Self::Fixed => 0,
            Self::Byte | Self::Pointer => 1,
            Self::Short => 2,
            Self::Long => 4,
            Self::Chunked => 8,
        }
    }

    /// Writes a null. A column without a length has none.
    pub fn write_null(self, to: &mut Vec<u8>, column: &Column) -> Result<(), SqlError> {
        match self {
            Self::Fixed => return Err(SqlError::new(515, format!("Column '{}' does not allow nulls.", column.name))),
            Self::Byte | Self::Pointer => to.push(0),
            Self::Short => to.extend_from_slice(&u16::MAX.to_le_bytes()),
            Self::Long => to.extend_from_slice(&[0; 4]),
            Self::Chunked => to.extend_from_slice(&CHUNKED_NULL.to_le_bytes()),
        }
        Ok(())
    }
}

/// Writes one value of a column, its length included.
///
/// # Errors
///
/// The SQL Server error that fits when the value is none of the column's type: 220, 515, 2628, 8114, 8115.
pub fn write(
    to: &mut Vec<u8>,
    column: &Column,
    frame: Frame,
    value: &Value,
    encoding: &Encoding,
) -> Result<(), SqlError> {
    if matches!(value, Value::Null) {
        return frame.write_null(to, column);
    }
    let body = |to: &mut Vec<u8>| payload(to, column.sql_type, column.collation, value, encoding.short_decimals);
    match frame {
        Frame::Fixed => body(to),
        Frame::Byte => framed(to, 1, body),
        Frame::Short => framed(to, 2, body),
        Frame::Long => framed(to, 4, body),
        Frame::Pointer => {
            to.push(TEXT_POINTER.len() as u8);
            to.extend_from_slice(TEXT_POINTER);
            to.extend_from_slice(TEXT_TIMESTAMP);
            framed(to, 4, body)
        }
        Frame::Chunked => {
            let mut bytes = Vec::new();
            body(&mut bytes)?;
            chunked(to, &bytes, encoding);
            Ok(())
        }
    }
    .map_err(|error| SqlError { message: format!("{} (column '{}')", error.message, column.name), ..error })
}

/// Writes a body and, before it, its length in `length_bytes` bytes.
fn framed(
    to: &mut Vec<u8>,
    length_bytes: usize,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let start = to.len();
    to.extend_from_slice(&[0; 4][..length_bytes]);
    body(to)?;
    let length = (to.len() - start - length_bytes) as u32;
    if let Some(place) = to.get_mut(start..start + length_bytes) {
        place.copy_from_slice(&length.to_le_bytes()[..length_bytes]);
    }
    Ok(())
}

fn chunked(to: &mut Vec<u8>, bytes: &[u8], encoding: &Encoding) {
    let length = if encoding.announced_lengths { bytes.len() as u64 } else { CHUNKED_UNKNOWN };
    to.extend_from_slice(&length.to_le_bytes());
    for chunk in bytes.chunks(encoding.chunk_bytes.max(1)) {
        to.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
        to.extend_from_slice(chunk);
    }
    to.extend_from_slice(&0u32.to_le_bytes());
}

fn mismatch(value: &Value, sql_type: SqlType) -> SqlError {
    let kind = format!("{value:?}");
    let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    SqlError::new(8114, format!("Error converting data type {kind} to {sql_type:?}."))
}

fn overflow(sql_type: SqlType) -> SqlError {
    SqlError::new(8115, format!("Arithmetic overflow error converting expression to data type {sql_type:?}."))
}

/// The bytes of a value, without a length.
fn payload(
    to: &mut Vec<u8>,
    sql_type: SqlType,
    collation: Collation,
    value: &Value,
    short_decimals: bool,
) -> Result<(), SqlError> {
    match (sql_type, value) {
        (SqlType::Bit, Value::Bit(bit)) => to.push(u8::from(*bit)),
        (SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt, Value::Int(n)) => {
            integer(to, sql_type, *n)?;
        }
        (SqlType::Real, Value::Real(n)) => to.extend_from_slice(&n.to_le_bytes()),
        (SqlType::Float, Value::Float(n)) => to.extend_from_slice(&n.to_le_bytes()),
        (
            SqlType::Decimal { precision, scale } | SqlType::Numeric { precision, scale },
            Value::Decimal { unscaled, scale: given },
        ) => {
            let digits = rescale(*unscaled, *given, scale).ok_or(overflow(sql_type))?;
            decimal(to, digits, precision, short_decimals).ok_or(overflow(sql_type))?;
        }
        (SqlType::Money, Value::Decimal { unscaled, scale }) => {
            let n = rescale(*unscaled, *scale, 4).and_then(|n| i64::try_from(n).ok()).ok_or(overflow(sql_type))?;
            // The high half comes first.
            to.extend_from_slice(&((n >> 32) as i32).to_le_bytes());
            to.extend_from_slice(&(n as u32).to_le_bytes());
        }
        (SqlType::SmallMoney, Value::Decimal { unscaled, scale }) => {
            let n = rescale(*unscaled, *scale, 4).and_then(|n| i32::try_from(n).ok()).ok_or(overflow(sql_type))?;
            to.extend_from_slice(&n.to_le_bytes());
        }
        (
            SqlType::Date
            | SqlType::Time { .. }
            | SqlType::DateTime
            | SqlType::SmallDateTime
            | SqlType::DateTime2 { .. }
            | SqlType::DateTimeOffset { .. },
            _,
        ) => moment(to, sql_type, value)?,
        (SqlType::UniqueIdentifier, Value::Uuid(bytes)) => to.extend_from_slice(&wire_order(*bytes)),
        (SqlType::SqlVariant, Value::Variant(content)) => variant(to, content)?,
        (
            SqlType::Binary { .. }
            | SqlType::VarBinary(_)
            | SqlType::Image
            | SqlType::RowVersion
            | SqlType::HierarchyId
            | SqlType::Geometry
            | SqlType::Geography
            | SqlType::Char { .. }
            | SqlType::VarChar(_)
            | SqlType::Text,
            Value::Bytes(bytes),
        ) => {
            fits(sql_type, bytes.len())?;
            to.extend_from_slice(bytes);
        }
        (SqlType::Char { .. } | SqlType::VarChar(_) | SqlType::Text | SqlType::Json, Value::Text(text)) => {
            let start = to.len();
            narrow_text(to, text, collation.is_utf8() || sql_type == SqlType::Json);
            fits(sql_type, to.len() - start)?;
        }
        (SqlType::NChar { .. } | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml, Value::Text(text)) => {
            let start = to.len();
            to.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            fits(sql_type, to.len() - start)?;
        }
        (SqlType::NChar { .. } | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml, Value::Utf16(units)) => {
            fits(sql_type, units.len() * 2)?;
            to.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        }
        _ => return Err(mismatch(value, sql_type)),
    }
    Ok(())
}

fn integer(to: &mut Vec<u8>, sql_type: SqlType, n: i64) -> Result<(), SqlError> {
    let error = || SqlError::new(220, format!("Arithmetic overflow error for data type {sql_type:?}, value = {n}."));
    match sql_type {
        SqlType::TinyInt => to.push(u8::try_from(n).map_err(|_| error())?),
        SqlType::SmallInt => to.extend_from_slice(&i16::try_from(n).map_err(|_| error())?.to_le_bytes()),
        SqlType::Int => to.extend_from_slice(&i32::try_from(n).map_err(|_| error())?.to_le_bytes()),
        _ => to.extend_from_slice(&n.to_le_bytes()),
    }
    Ok(())
}

/// Brings digits to another scale without losing any.
fn rescale(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    let factor = 10i128.checked_pow(u32::from(from.abs_diff(to)))?;
    if from <= to {
        return unscaled.checked_mul(factor);
    }
    (unscaled % factor == 0).then(|| unscaled / factor)
}

fn decimal(to: &mut Vec<u8>, digits: i128, precision: u8, short: bool) -> Option<()> {
    let magnitude = digits.unsigned_abs();
    if magnitude >= 10u128.checked_pow(u32::from(precision.min(38)))? {
        return None;
    }
    let bytes = magnitude.to_le_bytes();
    let needed = 16 - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let length = if short { needed.max(1).div_ceil(4) * 4 } else { usize::from(decimal_bytes(precision)) - 1 };
    to.push(u8::from(digits >= 0));
    to.extend_from_slice(bytes.get(..length)?);
    Some(())
}

fn moment(to: &mut Vec<u8>, sql_type: SqlType, value: &Value) -> Result<(), SqlError> {
    match (sql_type, value) {
        (SqlType::Date, Value::Date { days }) => date(to, *days).ok_or(overflow(sql_type))?,
        (SqlType::Time { scale }, Value::Time { ticks }) => time(to, *ticks, scale).ok_or(overflow(sql_type))?,
        (SqlType::DateTime2 { scale }, Value::DateTime2 { days, ticks }) => {
            time(to, *ticks, scale).and_then(|()| date(to, *days)).ok_or(overflow(sql_type))?;
        }
        (SqlType::DateTimeOffset { scale }, Value::DateTimeOffset { days, ticks, offset_minutes }) => {
            if !(-840..=840).contains(offset_minutes) {
                return Err(overflow(sql_type));
            }
            time(to, *ticks, scale).and_then(|()| date(to, *days)).ok_or(overflow(sql_type))?;
            to.extend_from_slice(&offset_minutes.to_le_bytes());
        }
        (SqlType::DateTime, Value::DateTime { days, three_hundredths }) => {
            if *three_hundredths >= 25_920_000 {
                return Err(overflow(sql_type));
            }
            to.extend_from_slice(&days.to_le_bytes());
            to.extend_from_slice(&three_hundredths.to_le_bytes());
        }
        (SqlType::SmallDateTime, Value::SmallDateTime { days, minutes }) => {
            if *minutes >= 1440 {
                return Err(overflow(sql_type));
            }
            to.extend_from_slice(&days.to_le_bytes());
            to.extend_from_slice(&minutes.to_le_bytes());
        }
        _ => return Err(mismatch(value, sql_type)),
    }
    Ok(())
}

fn date(to: &mut Vec<u8>, days: u32) -> Option<()> {
    if days > 3_652_058 {
        return None;
    }
    to.extend_from_slice(&days.to_le_bytes()[..3]);
    Some(())
}

fn time(to: &mut Vec<u8>, ticks: u64, scale: u8) -> Option<()> {
    if ticks >= TICKS_A_DAY || scale > 7 {
        return None;
    }
    let units = ticks / 10u64.pow(u32::from(7 - scale));
    to.extend_from_slice(&units.to_le_bytes()[..time_bytes(scale)]);
    Some(())
}

/// RFC 4122 order to SQL Server's: the first three groups are little-endian. Its own inverse.
pub fn wire_order(bytes: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let mut wire = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    wire[8..].copy_from_slice(&rest);
    wire
}

fn fits(sql_type: SqlType, bytes: usize) -> Result<(), SqlError> {
    let limit = match sql_type {
        SqlType::Char { length }
        | SqlType::VarChar(Length::Limited(length))
        | SqlType::Binary { length }
        | SqlType::VarBinary(Length::Limited(length)) => usize::from(length),
        SqlType::NChar { length } | SqlType::NVarChar(Length::Limited(length)) => 2 * usize::from(length),
        SqlType::RowVersion => 8,
        SqlType::HierarchyId => 892,
        _ => 0x7fff_ffff,
    };
    if bytes > limit {
        return Err(SqlError::new(
            2628,
            format!("String or binary data would be truncated: {bytes} of {limit} bytes."),
        ));
    }
    Ok(())
}

/// Codes text into UTF-8 or code page 1252; what the page lacks becomes `?`.
fn narrow_text(to: &mut Vec<u8>, text: &str, utf8: bool) {
    if utf8 || text.is_ascii() {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        let mut buffer = [0; 4];
        let (bytes, _, unmappable) = encoding_rs::WINDOWS_1252.encode(character.encode_utf8(&mut buffer));
        match bytes.first() {
            Some(byte) if !unmappable => to.push(*byte),
            _ => to.push(b'?'),
        }
    }
}

/// Content of a `sql_variant`: base type, properties, value (MS-TDS 2.2.5.5.4).
fn variant(to: &mut Vec<u8>, content: &Variant) -> Result<(), SqlError> {
    let refused = || SqlError::new(206, format!("Operand type clash: {:?} in sql_variant.", content.sql_type));
    let (base, properties): (u8, Vec<u8>) = match content.sql_type {
        SqlType::Bit => (byte::BIT, vec![]),
        SqlType::TinyInt => (byte::INT1, vec![]),
        SqlType::SmallInt => (byte::INT2, vec![]),
        SqlType::Int => (byte::INT4, vec![]),
        SqlType::BigInt => (byte::INT8, vec![]),
        SqlType::Real => (byte::FLOAT4, vec![]),
        SqlType::Float => (byte::FLOAT8, vec![]),
        SqlType::Money => (byte::MONEY, vec![]),
        SqlType::SmallMoney => (byte::MONEY4, vec![]),
        SqlType::DateTime => (byte::DATETIME, vec![]),
        SqlType::SmallDateTime => (byte::DATETIME4, vec![]),
        SqlType::UniqueIdentifier => (byte::GUID, vec![]),
        SqlType::Date => (byte::DATE_N, vec![]),
        SqlType::Time { scale } => (byte::TIME_N, vec![scale]),
        SqlType::DateTime2 { scale } => (byte::DATETIME2_N, vec![scale]),
        SqlType::DateTimeOffset { scale } => (byte::DATETIMEOFFSET_N, vec![scale]),
        SqlType::Decimal { precision, scale } => (byte::DECIMAL_N, vec![precision, scale]),
        SqlType::Numeric { precision, scale } => (byte::NUMERIC_N, vec![precision, scale]),
        SqlType::Char { length } => (byte::BIG_CHAR, text_properties(content.collation, length)),
        SqlType::VarChar(Length::Limited(length)) => (byte::BIG_VAR_CHAR, text_properties(content.collation, length)),
        SqlType::NChar { length } => (byte::NCHAR, text_properties(content.collation, length.saturating_mul(2))),
        SqlType::NVarChar(Length::Limited(length)) => {
            (byte::NVAR_CHAR, text_properties(content.collation, length.saturating_mul(2)))
        }
        SqlType::Binary { length } => (byte::BIG_BINARY, length.to_le_bytes().to_vec()),
        SqlType::VarBinary(Length::Limited(length)) => (byte::BIG_VAR_BINARY, length.to_le_bytes().to_vec()),
        _ => return Err(refused()),
    };
    to.extend_from_slice(&[base, properties.len() as u8]);
    to.extend_from_slice(&properties);
    payload(to, content.sql_type, content.collation, &content.value, false)
}

fn text_properties(collation: Collation, bytes: u16) -> Vec<u8> {
    let mut properties = collation.bytes().to_vec();
    properties.extend_from_slice(&bytes.to_le_bytes());
    properties
}

/// Bytes that [`fn@write`] adds to the payload of a not-null value of a unique column; see [`crate::fast`].
pub fn frame_prefix_bytes(column: &Column) -> usize {
    match Frame::of(column) {
        Frame::Fixed => 0,
        Frame::Byte => 1,
        Frame::Short => 2,
        Frame::Long => 4,
        Frame::Pointer => 29,
        Frame::Chunked => 12,
    }
}

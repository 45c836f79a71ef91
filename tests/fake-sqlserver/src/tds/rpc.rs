//! Remote procedure calls: which procedure, with which values (MS-TDS 2.2.6.6).

use super::cell::wire_order;
use super::reader::{Malformed, Reader, decode_utf16};
use super::type_info::{self, Framing, WireType, byte, time_bytes};
use crate::values::{Collation, Length, SqlType, Value, Variant};

/// Longest value a call may carry, in bytes.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// A procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Procedure {
    /// One of the well-known numbers.
    Number(u16),
    /// A name.
    Name(String),
}

/// Numbers of procedures that clients call without a name.
pub mod number {
    /// `sp_executesql`.
    pub const EXECUTE_SQL: u16 = 10;
    /// `sp_prepare`.
    pub const PREPARE: u16 = 11;
    /// `sp_execute`.
    pub const EXECUTE: u16 = 12;
    /// `sp_prepexec`.
    pub const PREPARE_AND_EXECUTE: u16 = 13;
    /// `sp_unprepare`.
    pub const UNPREPARE: u16 = 15;
}

/// One argument.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// Name with its `@`, or empty.
    pub name: String,
    /// Whether it is an output parameter.
    pub output: bool,
    /// Its type on the wire.
    pub sql_type: SqlType,
    /// Its value.
    pub value: Value,
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called.
    pub procedure: Procedure,
    /// With what.
    pub arguments: Vec<Argument>,
}

/// A message of calls.
#[derive(Debug, Clone, PartialEq)]
pub enum Calls {
    /// The calls, in order.
    All(Vec<Call>),
    /// There is a type in it that this server does not take (a table, a CLR type): the byte of the type.
    UnknownType(u8),
}

/// Reads the message.
pub fn parse(bytes: &[u8]) -> Result<Calls, Malformed> {
    let mut reader = Reader::new(bytes, "RPC");
    reader.skip_headers()?;
    let mut calls = Vec::new();
    loop {
        let length = reader.u16()?;
        let procedure = if length == u16::MAX {
            Procedure::Number(reader.u16()?)
        } else {
            Procedure::Name(reader.utf16(usize::from(length))?)
        };
        reader.u16()?; // options: recompile, no metadata
        let mut arguments = Vec::new();
        while let Some(next) = reader.peek() {
            if matches!(next, 0x80 | 0xfe | 0xff) {
                break;
            }
            match argument(&mut reader)? {
                Ok(argument) => arguments.push(argument),
                Err(type_byte) => return Ok(Calls::UnknownType(type_byte)),
            }
        }
        calls.push(Call { procedure, arguments });
        if reader.remaining() == 0 {
            return Ok(Calls::All(calls));
        }
        reader.u8()?; // what separates two calls
    }
}

fn argument(reader: &mut Reader<'_>) -> Result<Result<Argument, u8>, Malformed> {
    let name = reader.short_name()?;
    let output = reader.u8()? & 1 != 0;
    let type_byte = reader.peek().ok_or(reader.malformed())?;
    let Some(wire_type) = type_info::read(reader)? else {
        return Ok(Err(type_byte));
    };
    let value = value(reader, wire_type)?;
    Ok(Ok(Argument { name, output, sql_type: wire_type.sql_type, value }))
}

/// Reads a value with its length.
pub fn value(reader: &mut Reader<'_>, wire_type: WireType) -> Result<Value, Malformed> {
    let malformed = reader.malformed();
    let length = |n: u32| usize::try_from(n).map_err(|_| malformed);
    let bytes = match wire_type.framing {
        Framing::Fixed(0) => None,
        Framing::Fixed(length) => Some(reader.take(length)?.to_vec()),
        Framing::ByteLength => match reader.u8()? {
            0 => None,
            length => Some(reader.take(usize::from(length))?.to_vec()),
        },
        Framing::ShortLength => match reader.u16()? {
            u16::MAX => None,
            length => Some(reader.take(usize::from(length))?.to_vec()),
        },
        Framing::LongLength => match (wire_type.sql_type, reader.u32()?) {
            (SqlType::SqlVariant, 0) | (_, u32::MAX) => None,
            (_, n) => Some(reader.take(length(n)?)?.to_vec()),
        },
        Framing::Chunked => chunks(reader)?,
    };
    match bytes {
        None => Ok(Value::Null),
        Some(bytes) => decode(wire_type.sql_type, wire_type.collation, &bytes).ok_or(malformed),
    }
}

fn chunks(reader: &mut Reader<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    let malformed = reader.malformed();
    if reader.u64()? == u64::MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    loop {
        let length = usize::try_from(reader.u32()?).map_err(|_| malformed)?;
        if length == 0 {
            return Ok(Some(bytes));
        }
        if bytes.len() + length > MAX_VALUE_BYTES {
            return Err(malformed);
        }
        bytes.extend_from_slice(reader.take(length)?);
    }
}

/// A value from its bytes; `None` when they are not of the type.
fn decode(sql_type: SqlType, collation: Collation, bytes: &[u8]) -> Option<Value> {
    Some(match sql_type {
        SqlType::Bit => Value::Bit(*bytes.first()? != 0),
        SqlType::TinyInt => Value::Int(i64::from(*bytes.first()?)),
        SqlType::SmallInt => Value::Int(i64::from(i16::from_le_bytes(bytes.try_into().ok()?))),
        SqlType::Int => Value::Int(i64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
        SqlType::BigInt => Value::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
        SqlType::Real => Value::Real(f32::from_le_bytes(bytes.try_into().ok()?)),
        SqlType::Float => Value::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
        SqlType::Decimal { scale, .. } | SqlType::Numeric { scale, .. } => decimal(bytes, scale)?,
        SqlType::Money => {
            let high = i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
            let low = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
            Value::Decimal { unscaled: (i128::from(high) << 32) | i128::from(low), scale: 4 }
        }
        SqlType::SmallMoney => {
            Value::Decimal { unscaled: i128::from(i32::from_le_bytes(bytes.try_into().ok()?)), scale: 4 }
        }
        SqlType::Date => Value::Date { days: days(bytes)? },
        SqlType::Time { scale } => Value::Time { ticks: ticks(bytes, scale)? },
        SqlType::DateTime2 { scale } => {
            let (time, date) = bytes.split_at_checked(time_bytes(scale))?;
            Value::DateTime2 { days: days(date)?, ticks: ticks(time, scale)? }
        }
        SqlType::DateTimeOffset { scale } => {
            let (time, rest) = bytes.split_at_checked(time_bytes(scale))?;
            let (date, offset) = rest.split_at_checked(3)?;
            let offset_minutes = i16::from_le_bytes(offset.try_into().ok()?);
            Value::DateTimeOffset { days: days(date)?, ticks: ticks(time, scale)?, offset_minutes }
        }
        SqlType::DateTime => Value::DateTime {
            days: i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
            three_hundredths: u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?),
        },
        SqlType::SmallDateTime => Value::SmallDateTime {
            days: u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?),
            minutes: u16::from_le_bytes(bytes.get(2..4)?.try_into().ok()?),
        },
        SqlType::UniqueIdentifier => Value::Uuid(wire_order(bytes.try_into().ok()?)),
        SqlType::Char { .. } | SqlType::VarChar(_) | SqlType::Text => narrow_text(collation, bytes),
        SqlType::Json => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
        SqlType::NChar { .. } | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml => wide_text(bytes)?,
        SqlType::SqlVariant => variant(bytes)?,
        SqlType::Binary { .. }
        | SqlType::VarBinary(_)
        | SqlType::Image
        | SqlType::RowVersion
        | SqlType::HierarchyId
        | SqlType::Geometry
        | SqlType::Geography => Value::Bytes(bytes.to_vec()),
    })
}

fn decimal(bytes: &[u8], scale: u8) -> Option<Value> {
    let (sign, digits) = bytes.split_first()?;
    let mut magnitude = [0; 16];
    magnitude.get_mut(..digits.len())?.copy_from_slice(digits);
    let magnitude = i128::try_from(u128::from_le_bytes(magnitude)).ok()?;
    Some(Value::Decimal { unscaled: if *sign == 0 { -magnitude } else { magnitude }, scale })
}

fn days(bytes: &[u8]) -> Option<u32> {
    let [a, b, c]: [u8; 3] = bytes.try_into().ok()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

fn ticks(bytes: &[u8], scale: u8) -> Option<u64> {
    let mut units = [0; 8];
    units.get_mut(..bytes.len())?.copy_from_slice(bytes);
    u64::from_le_bytes(units).checked_mul(10u64.pow(u32::from(7u8.checked_sub(scale)?)))
}

fn narrow_text(collation: Collation, bytes: &[u8]) -> Value {
    let encoding = if collation.is_utf8() { encoding_rs::UTF_8 } else { encoding_rs::WINDOWS_1252 };
    Value::Text(encoding.decode_without_bom_handling(bytes).0.into_owned())
}

fn wide_text(bytes: &[u8]) -> Option<Value> {
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    Some(match decode_utf16(bytes) {
        Some(text) => Value::Text(text),
        None => Value::Utf16(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()),
    })
}

/// The content of a `sql_variant`: base type, properties, value.
fn variant(bytes: &[u8]) -> Option<Value> {
    let [base, property_count, rest @ ..] = bytes else {
        return None;
    };
    let (properties, body) = rest.split_at_checked(usize::from(*property_count))?;
    let collation = || Some(Collation::Raw(properties.get(..5)?.try_into().ok()?));
    let text_bytes = || Some(u16::from_le_bytes(properties.get(5..7)?.try_into().ok()?));
    let scale = || properties.first().copied().filter(|scale| *scale <= 7);
    let (sql_type, collation) = match *base {
        byte::BIG_CHAR => (SqlType::Char { length: text_bytes()? }, collation()?),
        byte::BIG_VAR_CHAR => (SqlType::VarChar(Length::Limited(text_bytes()?)), collation()?),
        byte::NCHAR => (SqlType::NChar { length: text_bytes()? / 2 }, collation()?),
        byte::NVAR_CHAR => (SqlType::NVarChar(Length::Limited(text_bytes()? / 2)), collation()?),
        byte::BIG_BINARY => (SqlType::Binary { length: body.len() as u16 }, Collation::default()),
        byte::BIG_VAR_BINARY => {
            let length = u16::from_le_bytes(properties.get(..2)?.try_into().ok()?);
            (SqlType::VarBinary(Length::Limited(length)), Collation::default())
        }
        byte::DECIMAL_N | byte::NUMERIC_N => {
            let [precision, scale] = *properties else {
                return None;
            };
            (SqlType::Decimal { precision, scale }, Collation::default())
        }
        byte::TIME_N => (SqlType::Time { scale: scale()? }, Collation::default()),
        byte::DATETIME2_N => (SqlType::DateTime2 { scale: scale()? }, Collation::default()),
        byte::DATETIMEOFFSET_N => (SqlType::DateTimeOffset { scale: scale()? }, Collation::default()),
        byte::DATE_N => (SqlType::Date, Collation::default()),
        byte::GUID => (SqlType::UniqueIdentifier, Collation::default()),
        fixed => {
            let wire_type = type_info::read(&mut Reader::new(&[fixed], "sql_variant")).ok()??;
            (wire_type.sql_type, Collation::default())
        }
    };
    let value = decode(sql_type, collation, body)?;
    Some(Value::Variant(Box::new(Variant { sql_type, collation, value })))
}

//! TYPE_INFO: how a type is told on the wire (MS-TDS 2.2.5.4 to 2.2.5.6).

use super::Features;
use super::reader::{Malformed, Reader};
use super::token::{long_text, short_text};
use crate::values::{Collation, Column, Length, SqlType};

/// Type bytes.
pub mod byte {
    #![expect(missing_docs, reason = "names and values of MS-TDS 2.2.5.4")]
    pub const NULL: u8 = 0x1f;
    pub const IMAGE: u8 = 0x22;
    pub const TEXT: u8 = 0x23;
    pub const GUID: u8 = 0x24;
    pub const INT_N: u8 = 0x26;
    pub const DATE_N: u8 = 0x28;
    pub const TIME_N: u8 = 0x29;
    pub const DATETIME2_N: u8 = 0x2a;
    pub const DATETIMEOFFSET_N: u8 = 0x2b;
    pub const INT1: u8 = 0x30;
    pub const BIT: u8 = 0x32;
    pub const INT2: u8 = 0x34;
    pub const INT4: u8 = 0x38;
    pub const DATETIME4: u8 = 0x3a;
    pub const FLOAT4: u8 = 0x3b;
    pub const MONEY: u8 = 0x3c;
    pub const DATETIME: u8 = 0x3d;
    pub const FLOAT8: u8 = 0x3e;
    pub const VARIANT: u8 = 0x62;
    pub const NTEXT: u8 = 0x63;
    pub const BIT_N: u8 = 0x68;
    pub const DECIMAL_N: u8 = 0x6a;
    pub const NUMERIC_N: u8 = 0x6c;
    pub const FLOAT_N: u8 = 0x6d;
    pub const MONEY_N: u8 = 0x6e;
    pub const DATETIME_N: u8 = 0x6f;
    pub const MONEY4: u8 = 0x7a;
    pub const INT8: u8 = 0x7f;
    pub const BIG_VAR_BINARY: u8 = 0xa5;
    pub const BIG_VAR_CHAR: u8 = 0xa7;
    pub const BIG_BINARY: u8 = 0xad;
    pub const BIG_CHAR: u8 = 0xaf;
    pub const NVAR_CHAR: u8 = 0xe7;
    pub const NCHAR: u8 = 0xef;
    pub const UDT: u8 = 0xf0;
    pub const XML: u8 = 0xf1;
    pub const JSON: u8 = 0xf4;
}

/// Longest `sql_variant`, header included.
const VARIANT_BYTES: u32 = 8_009;

/// Bytes of a decimal of this precision, sign included.
pub fn decimal_bytes(precision: u8) -> u8 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

/// Bytes of a time of this scale.
pub fn time_bytes(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    }
}

/// Whether a value of the column is sent without a length: fixed-length types that cannot be null.
pub fn is_fixed(column: &Column) -> bool {
    !column.nullable && fixed_type(column.sql_type).is_some()
}

/// Type bytes of types with a fixed form: the fixed one, the nullable one, the length.
fn fixed_type(sql_type: SqlType) -> Option<(u8, u8, u8)> {
    Some(match sql_type {
        SqlType::Bit => (byte::BIT, byte::BIT_N, 1),
        SqlType::TinyInt => (byte::INT1, byte::INT_N, 1),
        SqlType::SmallInt => (byte::INT2, byte::INT_N, 2),
        SqlType::Int => (byte::INT4, byte::INT_N, 4),
        SqlType::BigInt => (byte::INT8, byte::INT_N, 8),
        SqlType::Real => (byte::FLOAT4, byte::FLOAT_N, 4),
        SqlType::Float => (byte::FLOAT8, byte::FLOAT_N, 8),
        SqlType::Money => (byte::MONEY, byte::MONEY_N, 8),
        SqlType::SmallMoney => (byte::MONEY4, byte::MONEY_N, 4),
        SqlType::DateTime => (byte::DATETIME, byte::DATETIME_N, 8),
        SqlType::SmallDateTime => (byte::DATETIME4, byte::DATETIME_N, 4),
        _ => return None,
    })
}

/// Writes the TYPE_INFO of a column.
pub fn write(to: &mut Vec<u8>, column: &Column, features: Features) {
    if let Some((fixed, nullable, length)) = fixed_type(column.sql_type) {
        if column.nullable {
            to.extend_from_slice(&[nullable, length]);
        } else {
            to.push(fixed);
        }
        return;
    }
    let collation = column.collation.bytes();
    match column.sql_type {
        SqlType::Decimal { precision, scale } => {
            to.extend_from_slice(&[byte::DECIMAL_N, decimal_bytes(precision), precision, scale]);
        }
        SqlType::Numeric { precision, scale } => {
            to.extend_from_slice(&[byte::NUMERIC_N, decimal_bytes(precision), precision, scale]);
        }
        SqlType::Date => to.push(byte::DATE_N),
        SqlType::Time { scale } => to.extend_from_slice(&[byte::TIME_N, scale]),
        SqlType::DateTime2 { scale } => to.extend_from_slice(&[byte::DATETIME2_N, scale]),
        SqlType::DateTimeOffset { scale } => to.extend_from_slice(&[byte::DATETIMEOFFSET_N, scale]),
        SqlType::UniqueIdentifier => to.extend_from_slice(&[byte::GUID, 16]),
        SqlType::Char { length } => text_type(to, byte::BIG_CHAR, length, collation),
        SqlType::VarChar(length) => text_type(to, byte::BIG_VAR_CHAR, limit(length, 1), collation),
        SqlType::NChar { length } => text_type(to, byte::NCHAR, length.saturating_mul(2), collation),
        SqlType::NVarChar(length) => text_type(to, byte::NVAR_CHAR, limit(length, 2), collation),
        SqlType::Text => long_type(to, byte::TEXT, 0x7fff_ffff, Some(collation)),
        SqlType::NText => long_type(to, byte::NTEXT, 0x7fff_fffe, Some(collation)),
        SqlType::Image => long_type(to, byte::IMAGE, 0x7fff_ffff, None),
        SqlType::SqlVariant => long_type(to, byte::VARIANT, VARIANT_BYTES, None),
        SqlType::Binary { length } => binary_type(to, byte::BIG_BINARY, length),
        SqlType::VarBinary(length) => binary_type(to, byte::BIG_VAR_BINARY, limit(length, 1)),
        SqlType::RowVersion => binary_type(to, byte::BIG_BINARY, 8),
        SqlType::Xml => to.extend_from_slice(&[byte::XML, 0]),
        SqlType::Json if features.json => to.push(byte::JSON),
        SqlType::Json => text_type(to, byte::BIG_VAR_CHAR, u16::MAX, Collation::Utf8.bytes()),
        SqlType::HierarchyId => clr_type(to, 892, "hierarchyid", "SqlHierarchyId"),
        SqlType::Geometry => clr_type(to, u16::MAX, "geometry", "SqlGeometry"),
        SqlType::Geography => clr_type(to, u16::MAX, "geography", "SqlGeography"),
        SqlType::Bit
        | SqlType::TinyInt
        | SqlType::SmallInt
        | SqlType::Int
        | SqlType::BigInt
        | SqlType::Real
        | SqlType::Float
        | SqlType::Money
        | SqlType::SmallMoney
        | SqlType::DateTime
        | SqlType::SmallDateTime => {} // fixed types, written above
    }
}

fn limit(length: Length, unit_bytes: u16) -> u16 {
    match length {
        Length::Limited(units) => units.saturating_mul(unit_bytes),
        Length::Max => u16::MAX,
    }
}

fn text_type(to: &mut Vec<u8>, type_byte: u8, bytes: u16, collation: [u8; 5]) {
    to.push(type_byte);
    to.extend_from_slice(&bytes.to_le_bytes());
    to.extend_from_slice(&collation);
}

fn binary_type(to: &mut Vec<u8>, type_byte: u8, bytes: u16) {
    to.push(type_byte);
    to.extend_from_slice(&bytes.to_le_bytes());
}

fn long_type(to: &mut Vec<u8>, type_byte: u8, bytes: u32, collation: Option<[u8; 5]>) {
    to.push(type_byte);
    to.extend_from_slice(&bytes.to_le_bytes());
    if let Some(collation) = collation {
        to.extend_from_slice(&collation);
    }
}

fn clr_type(to: &mut Vec<u8>, bytes: u16, name: &str, class: &str) {
    to.push(byte::UDT);
    to.extend_from_slice(&bytes.to_le_bytes());
    short_text(to, "");
    short_text(to, "sys");
    short_text(to, name);
    let assembly = "Microsoft.SqlServer.Types, Version=11.0.0.0, Culture=neutral, PublicKeyToken=89845dcd8080cc91";
    long_text(to, &format!("Microsoft.SqlServer.Types.{class}, {assembly}"));
}

/// The type of a parameter, read from its TYPE_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireType {
    /// The type.
    pub sql_type: SqlType,
    /// Coding of `char` and `varchar`.
    pub collation: Collation,
    /// How the value that follows tells its length.
    pub framing: Framing,
}

/// How a value tells its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: always this many bytes.
    Fixed(usize),
    /// In one byte; 0 is null.
    ByteLength,
    /// In two bytes; 0xFFFF is null.
    ShortLength,
    /// In four bytes; 0xFFFFFFFF is null (0 for `sql_variant`).
    LongLength,
    /// In chunks.
    Chunked,
}

/// Reads a TYPE_INFO of a call. `None` for a type that no call of ours can carry (a table, a CLR type).
pub fn read(reader: &mut Reader<'_>) -> Result<Option<WireType>, Malformed> {
    let type_byte = reader.u8()?;
    let malformed = reader.malformed();
    let plain = |sql_type, framing| WireType { sql_type, collation: Collation::default(), framing };
    Ok(Some(match type_byte {
        byte::NULL => plain(SqlType::Int, Framing::Fixed(0)),
        byte::BIT => plain(SqlType::Bit, Framing::Fixed(1)),
        byte::INT1 => plain(SqlType::TinyInt, Framing::Fixed(1)),
        byte::INT2 => plain(SqlType::SmallInt, Framing::Fixed(2)),
        byte::INT4 => plain(SqlType::Int, Framing::Fixed(4)),
        byte::INT8 => plain(SqlType::BigInt, Framing::Fixed(8)),
        byte::FLOAT4 => plain(SqlType::Real, Framing::Fixed(4)),
        byte::FLOAT8 => plain(SqlType::Float, Framing::Fixed(8)),
        byte::MONEY => plain(SqlType::Money, Framing::Fixed(8)),
        byte::MONEY4 => plain(SqlType::SmallMoney, Framing::Fixed(4)),
        byte::DATETIME => plain(SqlType::DateTime, Framing::Fixed(8)),
        byte::DATETIME4 => plain(SqlType::SmallDateTime, Framing::Fixed(4)),
        byte::GUID => {
            reader.u8()?;
            plain(SqlType::UniqueIdentifier, Framing::ByteLength)
        }
        byte::BIT_N | byte::INT_N | byte::FLOAT_N | byte::MONEY_N | byte::DATETIME_N => {
            let length = reader.u8()?;
            let sql_type = nullable_type(type_byte, length).ok_or(malformed)?;
            plain(sql_type, Framing::ByteLength)
        }
        byte::DECIMAL_N | byte::NUMERIC_N => {
            let _length = reader.u8()?;
            let (precision, scale) = (reader.u8()?, reader.u8()?);
            if !(1..=38).contains(&precision) || scale > precision {
                return Err(malformed);
            }
            let sql_type = match type_byte {
                byte::DECIMAL_N => SqlType::Decimal { precision, scale },
                _ => SqlType::Numeric { precision, scale },
            };
            plain(sql_type, Framing::ByteLength)
        }
        byte::DATE_N => plain(SqlType::Date, Framing::ByteLength),
        byte::TIME_N | byte::DATETIME2_N | byte::DATETIMEOFFSET_N => {
            let scale = reader.u8()?;
            if scale > 7 {
                return Err(malformed);
            }
            let sql_type = match type_byte {
                byte::TIME_N => SqlType::Time { scale },
                byte::DATETIME2_N => SqlType::DateTime2 { scale },
                _ => SqlType::DateTimeOffset { scale },
            };
            plain(sql_type, Framing::ByteLength)
        }
        byte::BIG_BINARY | byte::BIG_VAR_BINARY => {
            let bytes = reader.u16()?;
            match (type_byte, bytes) {
                (_, u16::MAX) => plain(SqlType::VarBinary(Length::Max), Framing::Chunked),
                (byte::BIG_BINARY, length) => plain(SqlType::Binary { length }, Framing::ShortLength),
                (_, length) => plain(SqlType::VarBinary(Length::Limited(length)), Framing::ShortLength),
            }
        }
        byte::BIG_CHAR | byte::BIG_VAR_CHAR | byte::NCHAR | byte::NVAR_CHAR => {
            let bytes = reader.u16()?;
            let collation = Collation::Raw(reader.array()?);
            let (sql_type, framing) = match (type_byte, bytes) {
                (byte::BIG_CHAR | byte::BIG_VAR_CHAR, u16::MAX) => (SqlType::VarChar(Length::Max), Framing::Chunked),
                (_, u16::MAX) => (SqlType::NVarChar(Length::Max), Framing::Chunked),
                (byte::BIG_CHAR, length) => (SqlType::Char { length }, Framing::ShortLength),
                (byte::BIG_VAR_CHAR, bytes) => (SqlType::VarChar(Length::Limited(bytes)), Framing::ShortLength),
                (byte::NCHAR, bytes) => (SqlType::NChar { length: bytes / 2 }, Framing::ShortLength),
                (_, bytes) => (SqlType::NVarChar(Length::Limited(bytes / 2)), Framing::ShortLength),
            };
            WireType { sql_type, collation, framing }
        }
        byte::TEXT | byte::NTEXT => {
            reader.u32()?;
            let collation = Collation::Raw(reader.array()?);
            let sql_type = if type_byte == byte::TEXT { SqlType::Text } else { SqlType::NText };
            WireType { sql_type, collation, framing: Framing::LongLength }
        }
        byte::IMAGE => {
            reader.u32()?;
            plain(SqlType::Image, Framing::LongLength)
        }
        byte::VARIANT => {
            reader.u32()?;
            plain(SqlType::SqlVariant, Framing::LongLength)
        }
        byte::XML => {
            if reader.u8()? != 0 {
                reader.short_name()?;
                reader.short_name()?;
                let units = usize::from(reader.u16()?);
                reader.utf16(units)?;
            }
            plain(SqlType::Xml, Framing::Chunked)
        }
        byte::JSON => WireType { sql_type: SqlType::Json, collation: Collation::Utf8, framing: Framing::Chunked },
        _ => return Ok(None),
    }))
}

fn nullable_type(type_byte: u8, length: u8) -> Option<SqlType> {
    Some(match (type_byte, length) {
        (byte::BIT_N, 1) => SqlType::Bit,
        (byte::INT_N, 1) => SqlType::TinyInt,
        (byte::INT_N, 2) => SqlType::SmallInt,
        (byte::INT_N, 4) => SqlType::Int,
        (byte::INT_N, 8) => SqlType::BigInt,
        (byte::FLOAT_N, 4) => SqlType::Real,
        (byte::FLOAT_N, 8) => SqlType::Float,
        (byte::MONEY_N, 4) => SqlType::SmallMoney,
        (byte::MONEY_N, 8) => SqlType::Money,
        (byte::DATETIME_N, 4) => SqlType::SmallDateTime,
        (byte::DATETIME_N, 8) => SqlType::DateTime,
        _ => return None,
    })
}

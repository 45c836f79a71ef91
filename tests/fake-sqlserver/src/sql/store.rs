//! How a value lies in SQLite: a form of each type that SQLite compares as SQL Server would.
//!
//! | type | form |
//! |---|---|
//! | integers, `bit`, `money` | INTEGER (money in units of 1/10,000) |
//! | `decimal` up to 18 digits | INTEGER, unscaled |
//! | `decimal` above | BLOB of 16 bytes: `i128`, big-endian, sign bit turned, so that byte order is number order |
//! | `real`, `float` | REAL, in a column without affinity, which keeps -0.0 |
//! | `date`, `time`, `datetime2` | INTEGER: days, ticks, ticks |
//! | `datetime`, `smalldatetime` | INTEGER: 1/300 s and minutes since 1900 |
//! | `datetimeoffset` | BLOB of 10 bytes: UTC ticks, then offset; compared by the first 8 |
//! | `uniqueidentifier` | BLOB of 16 bytes in SQL Server's order of comparison |
//! | text | TEXT of a collation of our own; UTF-16 bytes as BLOB when a lone surrogate forbids UTF-8 |
//! | bytes, CLR types | BLOB |
//! | `sql_variant` | BLOB: declaration and form of the base type |

use rusqlite::types::{Value as Stored, ValueRef};

use super::calendar::{TICKS_PER_DAY, UNITS_PER_DAY};
use super::{errors, number, types};
use crate::values::{SqlError, SqlType, Value, Variant};

/// The order in which SQL Server compares the bytes of a `uniqueidentifier`, as indices into RFC 4122 order.
const UUID_ORDER: [usize; 16] = [10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0];

/// Digits up to which a `decimal` is stored as INTEGER.
const INTEGER_DIGITS: u8 = 18;

/// Puts a value of a type into its stored form. The value must be of that type already.
///
/// # Errors
///
/// 8114 when the value is of another kind, 8115 when it has more digits than the type.
pub fn encode(sql_type: SqlType, value: Value) -> Result<Stored, SqlError> {
    Ok(match (sql_type, value) {
        (_, Value::Null) => Stored::Null,
        (SqlType::SqlVariant, Value::Variant(variant)) => Stored::Blob(encode_variant(*variant)?),
        (_, Value::Bit(bit)) => Stored::Integer(i64::from(bit)),
        (_, Value::Int(integer)) => Stored::Integer(integer),
        (_, Value::Real(real)) => Stored::Real(f64::from(real)),
        (_, Value::Float(float)) => Stored::Real(float),
        (_, Value::Decimal { unscaled, scale }) => encode_decimal(sql_type, unscaled, scale)?,
        (_, Value::Text(text)) => Stored::Text(text),
        (_, Value::Utf16(units)) => match String::from_utf16(&units) {
            Ok(text) => Stored::Text(text),
            Err(_) => Stored::Blob(units.iter().flat_map(|unit| unit.to_le_bytes()).collect()),
        },
        (_, Value::Bytes(bytes)) if types::is_text(sql_type) => Stored::Text(from_code_page(&bytes)),
        (_, Value::Bytes(bytes)) => Stored::Blob(bytes),
        (_, Value::Date { days }) => Stored::Integer(i64::from(days)),
        (_, Value::Time { ticks }) => Stored::Integer(signed(ticks)),
        (_, Value::DateTime { days, three_hundredths }) => {
            Stored::Integer(i64::from(days) * UNITS_PER_DAY + i64::from(three_hundredths))
        }
        (_, Value::SmallDateTime { days, minutes }) => Stored::Integer(i64::from(days) * 1_440 + i64::from(minutes)),
        (_, Value::DateTime2 { days, ticks }) => Stored::Integer(i64::from(days) * TICKS_PER_DAY + signed(ticks)),
        (_, Value::DateTimeOffset { days, ticks, offset_minutes }) => {
            let utc = i64::from(days) * TICKS_PER_DAY + signed(ticks);
            let mut bytes = utc.to_be_bytes().to_vec();
            bytes.extend((i32::from(offset_minutes) + 0x8000).to_be_bytes().iter().skip(2));
            Stored::Blob(bytes)
        }
        (_, Value::Uuid(uuid)) => Stored::Blob(UUID_ORDER.iter().map(|at| uuid[*at]).collect()),
        (_, Value::Variant(variant)) => return Err(errors::converting(SqlType::SqlVariant, variant.sql_type)),
    })
}

fn signed(ticks: u64) -> i64 {
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

fn encode_decimal(sql_type: SqlType, unscaled: i128, scale: u8) -> Result<Stored, SqlError> {
    let (precision, target) = types::as_decimal(sql_type).unwrap_or((38, scale));
    let unscaled = number::rescale(unscaled, scale, target)
        .filter(|unscaled| is_money(sql_type) || number::fits(*unscaled, precision))
        .ok_or_else(|| errors::overflow(sql_type))?;
    if is_money(sql_type) || precision <= INTEGER_DIGITS {
        return i64::try_from(unscaled).map(Stored::Integer).map_err(|_| errors::overflow(sql_type));
    }
    Ok(Stored::Blob((unscaled.cast_unsigned() ^ (1 << 127)).to_be_bytes().to_vec()))
}

fn is_money(sql_type: SqlType) -> bool {
    matches!(sql_type, SqlType::Money | SqlType::SmallMoney)
}

fn encode_variant(variant: Variant) -> Result<Vec<u8>, SqlError> {
    let declaration = types::declaration(variant.sql_type);
    let mut bytes = vec![u8::try_from(declaration.len()).unwrap_or(u8::MAX)];
    bytes.extend(declaration.as_bytes());
    match encode(variant.sql_type, variant.value)? {
        Stored::Null => bytes.push(0),
        Stored::Integer(integer) => {
            bytes.push(1);
            bytes.extend(integer.to_be_bytes());
        }
        Stored::Real(real) => {
            bytes.push(2);
            bytes.extend(real.to_be_bytes());
        }
        Stored::Text(text) => {
            bytes.push(3);
            bytes.extend(text.as_bytes());
        }
        Stored::Blob(blob) => {
            bytes.push(4);
            bytes.extend(blob);
        }
    }
    Ok(bytes)
}

fn decode_variant(bytes: &[u8]) -> Option<Variant> {
    let (length, rest) = bytes.split_first()?;
    let (declaration, rest) = rest.split_at_checked(usize::from(*length))?;
    let sql_type = types::from_declaration(std::str::from_utf8(declaration).ok()?)?;
    let (form, data) = rest.split_first()?;
    let eight = || data.try_into().ok();
    let stored = match form {
        1 => ValueRef::Integer(i64::from_be_bytes(eight()?)),
        2 => ValueRef::Real(f64::from_be_bytes(eight()?)),
        3 => ValueRef::Text(data),
        4 => ValueRef::Blob(data),
        _ => ValueRef::Null,
    };
    Some(Variant { sql_type, collation: crate::values::Collation::default(), value: decode(sql_type, stored).ok()? })
}

/// Takes a value of a type out of its stored form.
///
/// # Errors
///
/// The fake SQL Server's own error when the form does not fit the type: a bug of the translation.
pub fn decode(sql_type: SqlType, stored: ValueRef<'_>) -> Result<Value, SqlError> {
    let value = match (sql_type, stored) {
        (_, ValueRef::Null) => Some(Value::Null),
        (SqlType::Bit, ValueRef::Integer(bit)) => Some(Value::Bit(bit != 0)),
        (_, ValueRef::Integer(integer)) => decode_integer(sql_type, integer),
        (SqlType::Real, ValueRef::Real(real)) => Some(Value::Real(real as f32)),
        (SqlType::Float, ValueRef::Real(real)) => Some(Value::Float(real)),
        (_, ValueRef::Text(bytes)) if types::is_text(sql_type) => {
            std::str::from_utf8(bytes).ok().map(|text| Value::Text(text.to_owned()))
        }
        (_, ValueRef::Blob(bytes)) => decode_blob(sql_type, bytes),
        _ => None,
    };
    value.ok_or_else(|| {
        errors::unsupported(format_args!(
            "a value of {} stored as {}",
            types::declaration(sql_type),
            stored.data_type()
        ))
    })
}

fn decode_integer(sql_type: SqlType, integer: i64) -> Option<Value> {
    Some(match sql_type {
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => Value::Int(integer),
        SqlType::Real => Value::Real(integer as f32),
        SqlType::Float => Value::Float(integer as f64),
        SqlType::Decimal { scale, .. } | SqlType::Numeric { scale, .. } => {
            Value::Decimal { unscaled: i128::from(integer), scale }
        }
        SqlType::Money | SqlType::SmallMoney => Value::Decimal { unscaled: i128::from(integer), scale: 4 },
        SqlType::Date => Value::Date { days: u32::try_from(integer).ok()? },
        SqlType::Time { .. } => Value::Time { ticks: u64::try_from(integer).ok()? },
        SqlType::DateTime => Value::DateTime {
            days: i32::try_from(integer.div_euclid(UNITS_PER_DAY)).ok()?,
            three_hundredths: u32::try_from(integer.rem_euclid(UNITS_PER_DAY)).ok()?,
        },
        SqlType::SmallDateTime => Value::SmallDateTime {
            days: u16::try_from(integer.div_euclid(1_440)).ok()?,
            minutes: u16::try_from(integer.rem_euclid(1_440)).ok()?,
        },
        SqlType::DateTime2 { .. } => Value::DateTime2 {
            days: u32::try_from(integer.div_euclid(TICKS_PER_DAY)).ok()?,
            ticks: u64::try_from(integer.rem_euclid(TICKS_PER_DAY)).ok()?,
        },
        _ => return None,
    })
}

fn decode_blob(sql_type: SqlType, bytes: &[u8]) -> Option<Value> {
    Some(match sql_type {
        SqlType::Decimal { scale, .. } | SqlType::Numeric { scale, .. } => {
            let unscaled = u128::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 127);
            Value::Decimal { unscaled: unscaled.cast_signed(), scale }
        }
        SqlType::DateTimeOffset { .. } => {
            let utc = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
            let offset = i32::from(u16::from_be_bytes(bytes.get(8..10)?.try_into().ok()?)) - 0x8000;
            Value::DateTimeOffset {
                days: u32::try_from(utc.div_euclid(TICKS_PER_DAY)).ok()?,
                ticks: u64::try_from(utc.rem_euclid(TICKS_PER_DAY)).ok()?,
                offset_minutes: i16::try_from(offset).ok()?,
            }
        }
        SqlType::UniqueIdentifier => {
            let mut uuid = [0_u8; 16];
            for (byte, at) in bytes.iter().zip(UUID_ORDER) {
                uuid[at] = *byte;
            }
            Value::Uuid(uuid)
        }
        SqlType::SqlVariant => Value::Variant(Box::new(decode_variant(bytes)?)),
        _ if types::is_text(sql_type) => {
            Value::Utf16(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
        }
        _ => Value::Bytes(bytes.to_vec()),
    })
}

/// A stored value as an SQLite literal.
pub fn literal(stored: &Stored) -> String {
    match stored {
        Stored::Null => "NULL".to_owned(),
        // The smallest integer has no literal: SQLite reads `-` and a number too large.
        Stored::Integer(i64::MIN) => "(-9223372036854775807-1)".to_owned(),
        Stored::Integer(integer) => integer.to_string(),
        Stored::Real(real) => format!("({real:e})"),
        Stored::Text(text) if text.contains('\0') => format!("CAST(X'{}' AS TEXT)", hexadecimal(text.as_bytes())),
        Stored::Text(text) => quoted(text),
        Stored::Blob(blob) => format!("X'{}'", hexadecimal(blob)),
    }
}

/// A text in SQLite's quotes. It must hold no U+0000.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Upper-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Text of code page 1252.
pub fn from_code_page(bytes: &[u8]) -> String {
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned()
}

/// What is left of a text in code page 1252: characters it lacks become `?`, two for those outside the basic plane.
pub fn in_code_page(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        if code_page_byte(character).is_some() {
            kept.push(character);
        } else {
            kept.push_str(if character.len_utf16() == 2 { "??" } else { "?" });
        }
    }
    kept
}

/// The bytes of a text in code page 1252.
pub fn to_code_page(text: &str) -> Vec<u8> {
    in_code_page(text).chars().filter_map(code_page_byte).collect()
}

fn code_page_byte(character: char) -> Option<u8> {
    if character.is_ascii() {
        return u8::try_from(u32::from(character)).ok();
    }
    let mut buffer = [0_u8; 4];
    let (bytes, _, lossy) = encoding_rs::WINDOWS_1252.encode(character.encode_utf8(&mut buffer));
    if lossy { None } else { bytes.first().copied() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Length;
    use proptest::prelude::*;

    fn round_trip(sql_type: SqlType, value: Value) -> Value {
        let stored = encode(sql_type, value).unwrap();
        decode(sql_type, ValueRef::from(&stored)).unwrap()
    }

    #[test]
    fn extremes_survive() {
        let decimal = SqlType::Decimal { precision: 38, scale: 38 };
        let most = 10_i128.pow(38) - 1;
        for unscaled in [most, -most, 0, 1, -1] {
            let value = Value::Decimal { unscaled, scale: 38 };
            assert_eq!(round_trip(decimal, value.clone()), value);
        }
        for value in [Value::Int(i64::MIN), Value::Int(i64::MAX)] {
            assert_eq!(round_trip(SqlType::BigInt, value.clone()), value);
        }
        let last = Value::DateTime2 { days: 3_652_058, ticks: 863_999_999_999 };
        assert_eq!(round_trip(SqlType::DateTime2 { scale: 7 }, last.clone()), last);
        let first = Value::DateTime { days: -53_690, three_hundredths: 0 };
        assert_eq!(round_trip(SqlType::DateTime, first.clone()), first);
        let lone = Value::Utf16(vec![0x61, 0xd800, 0x62]);
        assert_eq!(round_trip(SqlType::NVarChar(Length::Max), lone.clone()), lone);
        let variant = Value::Variant(Box::new(Variant {
            sql_type: decimal,
            collation: Default::default(),
            value: Value::Decimal { unscaled: -5, scale: 38 },
        }));
        assert_eq!(round_trip(SqlType::SqlVariant, variant.clone()), variant);
        assert!(
            encode(SqlType::Decimal { precision: 3, scale: 0 }, Value::Decimal { unscaled: 1000, scale: 0 }).is_err()
        );
    }

    #[test]
    fn what_a_code_page_lacks_becomes_a_question_mark() {
        assert_eq!(in_code_page("né €ž Ω 😀"), "né €ž ? ??");
        assert_eq!(to_code_page("é€"), [0xe9, 0x80]);
    }

    proptest! {
        #[test]
        fn decimals_keep_their_order(left in any::<i64>(), right in any::<i64>(), precision in 19_u8..=38) {
            let sql_type = SqlType::Decimal { precision, scale: 0 };
            let form = |value: i64| match encode(sql_type, Value::Decimal { unscaled: i128::from(value), scale: 0 }) {
                Ok(Stored::Blob(bytes)) => bytes,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(form(left).cmp(&form(right)), left.cmp(&right));
        }

        #[test]
        fn identifiers_survive(uuid in any::<[u8; 16]>()) {
            prop_assert_eq!(round_trip(SqlType::UniqueIdentifier, Value::Uuid(uuid)), Value::Uuid(uuid));
        }

        #[test]
        fn offsets_survive(days in 0_u32..=3_652_058, ticks in 0_u64..864_000_000_000, offset_minutes in -840_i16..=840) {
            let value = Value::DateTimeOffset { days, ticks, offset_minutes };
            prop_assert_eq!(round_trip(SqlType::DateTimeOffset { scale: 7 }, value.clone()), value);
        }
    }
}

//! CAST, CONVERT and the silent conversions between types, with SQL Server's errors.

use super::calendar::{self, DAY_1753, DAY_1900, LAST_DAY, Moment, TICKS_PER_DAY, TICKS_PER_MINUTE};
use super::show::to_text;
use super::{errors, number, store, types};
use crate::values::{Length, SqlError, SqlType, Value, Variant};

/// Converts a value of one type into another, as `CAST` does: text that is too long is cut.
///
/// `style` is the third argument of `CONVERT`.
///
/// # Errors
///
/// 245, 241, 8114, 8169 for text that is no such value; 8115, 242 for values out of range; 529 for types that do not
/// convert.
pub fn convert(value: Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<Value, SqlError> {
    let value = match value {
        Value::Null => return Ok(Value::Null),
        Value::Variant(variant) if to != SqlType::SqlVariant => {
            return convert(variant.value, variant.sql_type, to, style);
        }
        value => value,
    };
    match to {
        _ if from == to => Ok(value),
        SqlType::SqlVariant => to_variant(value, from),
        SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            to_integer(&value, from, to)
        }
        SqlType::Decimal { .. } | SqlType::Numeric { .. } | SqlType::Money | SqlType::SmallMoney => {
            to_decimal(&value, from, to)
        }
        SqlType::Real => to_float(&value, from, to).map(|float| Value::Real(float as f32)),
        SqlType::Float => to_float(&value, from, to).map(Value::Float),
        SqlType::UniqueIdentifier => to_uuid(&value, from),
        _ if types::is_temporal(to) => to_temporal(&value, from, to),
        _ if types::is_text(to) => Ok(fit_text(to_text(value, from, to, style)?, to)),
        _ if types::is_binary(to) => to_binary(value, from, to, style).map(|bytes| fit_bytes(bytes, to)),
        // The CLR types take the bytes of their own form.
        _ => match value {
            Value::Bytes(bytes) => Ok(Value::Bytes(bytes)),
            _ => Err(errors::no_explicit_conversion(from, to)),
        },
    }
}

/// Converts a value for a column: text that is too long is an error, trailing spaces apart.
///
/// # Errors
///
/// As [`convert`]; `Err` of the cut value when it does not fit.
pub fn assign(value: Value, from: SqlType, to: SqlType) -> Result<Result<Value, String>, SqlError> {
    let limit = match types::length_of(to) {
        Some(Length::Limited(limit)) => usize::from(limit),
        _ => return convert(value, from, to, None).map(Ok),
    };
    if matches!(value, Value::Null) {
        return Ok(Ok(Value::Null));
    }
    let unlimited = if types::is_unicode(to) {
        SqlType::NVarChar(Length::Max)
    } else if types::is_text(to) {
        SqlType::VarChar(Length::Max)
    } else {
        SqlType::VarBinary(Length::Max)
    };
    let whole = convert(value, from, unlimited, None)?;
    let excess = match &whole {
        Value::Text(text) if types::is_unicode(to) => text.trim_end_matches(' ').encode_utf16().count() > limit,
        Value::Text(text) => text.trim_end_matches(' ').chars().count() > limit,
        Value::Utf16(units) => units.len() > limit,
        Value::Bytes(bytes) => bytes.len() > limit,
        _ => false,
    };
    if excess {
        let cut = match fit_text(whole, to) {
            Value::Text(text) => text,
            _ => String::new(),
        };
        return Ok(Err(cut));
    }
    convert(whole, unlimited, to, None).map(Ok)
}

fn to_variant(value: Value, from: SqlType) -> Result<Value, SqlError> {
    let too_large = types::length_of(from) == Some(Length::Max) || types::facts(from).system_type_id == 240;
    if too_large || types::is_incomparable(from) || from == SqlType::RowVersion {
        return Err(errors::clash(from, SqlType::SqlVariant));
    }
    Ok(Value::Variant(Box::new(Variant { sql_type: from, collation: Default::default(), value })))
}

/// The range of an integer type.
fn range(to: SqlType) -> (i64, i64) {
    match to {
        SqlType::TinyInt => (0, 255),
        SqlType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        SqlType::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    }
}

/// An integer brought into a type's range.
///
/// # Errors
///
/// 8115 when it does not fit.
pub fn integer_in_range(integer: i128, to: SqlType) -> Result<Value, SqlError> {
    if to == SqlType::Bit {
        return Ok(Value::Bit(integer != 0));
    }
    let (least, most) = range(to);
    match i64::try_from(integer) {
        Ok(integer) if (least..=most).contains(&integer) => Ok(Value::Int(integer)),
        _ => Err(errors::overflow(to)),
    }
}

fn to_integer(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    match value {
        Value::Bit(bit) => integer_in_range(i128::from(*bit), to),
        Value::Int(integer) => integer_in_range(i128::from(*integer), to),
        Value::Decimal { unscaled, scale } => {
            // Money rounds, decimal cuts.
            let whole = if matches!(from, SqlType::Money | SqlType::SmallMoney) {
                number::rescale(*unscaled, *scale, 0).unwrap_or(i128::MAX)
            } else {
                unscaled / number::power_of_ten(*scale)
            };
            integer_in_range(if to == SqlType::Bit { *unscaled } else { whole }, to)
        }
        Value::Real(_) | Value::Float(_) => {
            let float = float_of(value).unwrap_or(f64::NAN);
            if to == SqlType::Bit {
                return Ok(Value::Bit(float != 0.0));
            }
            if float.is_nan() || float.abs() >= 1e19 {
                return Err(errors::overflow(to));
            }
            integer_in_range(float.trunc() as i128, to)
        }
        Value::Text(text) => {
            let trimmed = text.trim();
            let wrong = || errors::conversion(from, text, to);
            match (to, trimmed.to_ascii_lowercase().as_str()) {
                (_, "") => integer_in_range(0, to),
                (SqlType::Bit, "true") => Ok(Value::Bit(true)),
                (SqlType::Bit, "false") => Ok(Value::Bit(false)),
                _ => integer_in_range(trimmed.parse::<i128>().map_err(|_| wrong())?, to),
            }
        }
        Value::Bytes(bytes) => {
            let mut last = [0_u8; 8];
            let tail = &bytes[bytes.len().saturating_sub(8)..];
            last[8 - tail.len()..].copy_from_slice(tail);
            let wide = u64::from_be_bytes(last);
            let integer = match to {
                SqlType::BigInt => i128::from(wide.cast_signed()),
                SqlType::Int => i128::from((wide as u32).cast_signed()),
                SqlType::SmallInt => i128::from((wide as u16).cast_signed()),
                SqlType::TinyInt => i128::from(wide as u8),
                _ => i128::from(wide),
            };
            integer_in_range(integer, to)
        }
        Value::DateTime { days, .. } => integer_in_range(i128::from(*days), to),
        _ => Err(errors::no_explicit_conversion(from, to)),
    }
}

fn to_decimal(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let (precision, scale) = types::as_decimal(to).unwrap_or((38, 0));
    let overflow = || errors::overflow(to);
    let unscaled = match value {
        Value::Bit(bit) => number::rescale(i128::from(*bit), 0, scale),
        Value::Int(integer) => number::rescale(i128::from(*integer), 0, scale),
        Value::Decimal { unscaled, scale: from_scale } => number::rescale(*unscaled, *from_scale, scale),
        Value::Real(_) | Value::Float(_) => number::from_f64(float_of(value).unwrap_or(f64::NAN), scale),
        Value::Text(text) => {
            let (unscaled, found) = number::parse(text).ok_or_else(|| errors::converting(from, to))?;
            number::rescale(unscaled, found, scale)
        }
        _ => return Err(errors::no_explicit_conversion(from, to)),
    };
    let unscaled = unscaled.ok_or_else(overflow)?;
    let fits = match to {
        SqlType::Money => i64::try_from(unscaled).is_ok(),
        SqlType::SmallMoney => i32::try_from(unscaled).is_ok(),
        _ => number::fits(unscaled, precision),
    };
    if fits { Ok(Value::Decimal { unscaled, scale }) } else { Err(overflow()) }
}

/// A number as a float.
pub fn float_of(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Bit(bit) => f64::from(u8::from(*bit)),
        Value::Int(integer) => *integer as f64,
        Value::Real(real) => f64::from(*real),
        Value::Float(float) => *float,
        Value::Decimal { unscaled, scale } => number::to_f64(*unscaled, *scale),
        _ => return None,
    })
}

fn to_float(value: &Value, from: SqlType, to: SqlType) -> Result<f64, SqlError> {
    let float = match value {
        Value::Text(text) if text.trim().is_empty() => 0.0,
        Value::Text(text) => text
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|float| float.is_finite())
            .ok_or_else(|| errors::converting(from, to))?,
        _ => float_of(value).ok_or_else(|| errors::no_explicit_conversion(from, to))?,
    };
    if to == SqlType::Real && !(float as f32).is_finite() { Err(errors::overflow(to)) } else { Ok(float) }
}

fn to_uuid(value: &Value, from: SqlType) -> Result<Value, SqlError> {
    match value {
        Value::Text(text) => {
            let text = text.trim();
            let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
            let text =
                text.get(..36).filter(|text| text.as_bytes()[8] == b'-').ok_or_else(errors::conversion_of_uuid)?;
            uuid::Uuid::try_parse(text)
                .map(|uuid| Value::Uuid(uuid.into_bytes()))
                .map_err(|_| errors::conversion_of_uuid())
        }
        Value::Bytes(bytes) => {
            let mut padded = [0_u8; 16];
            let taken = bytes.len().min(16);
            padded[..taken].copy_from_slice(&bytes[..taken]);
            Ok(Value::Uuid(uuid::Uuid::from_bytes_le(padded).into_bytes()))
        }
        _ => Err(errors::no_explicit_conversion(from, SqlType::UniqueIdentifier)),
    }
}

/// Day, time and offset of a temporal value, in its own time zone.
pub fn moment_of(value: &Value) -> Option<Moment> {
    let at = |day, ticks| Some(Moment { day, ticks, offset_minutes: 0 });
    match value {
        Value::Date { days } => at(i64::from(*days), 0),
        Value::Time { ticks } => at(DAY_1900, i64::try_from(*ticks).ok()?),
        Value::DateTime { days, three_hundredths } => {
            at(i64::from(*days) + DAY_1900, calendar::ticks_from_units(i64::from(*three_hundredths)))
        }
        Value::SmallDateTime { days, minutes } => {
            at(i64::from(*days) + DAY_1900, i64::from(*minutes) * TICKS_PER_MINUTE)
        }
        Value::DateTime2 { days, ticks } => at(i64::from(*days), i64::try_from(*ticks).ok()?),
        Value::DateTimeOffset { days, ticks, offset_minutes } => {
            let utc = i64::from(*days) * TICKS_PER_DAY + i64::try_from(*ticks).ok()?;
            let local = utc + i64::from(*offset_minutes) * TICKS_PER_MINUTE;
            Some(Moment {
                day: local.div_euclid(TICKS_PER_DAY),
                ticks: local.rem_euclid(TICKS_PER_DAY),
                offset_minutes: *offset_minutes,
            })
        }
        _ => None,
    }
}

fn to_temporal(value: &Value, from: SqlType, to: SqlType) -> Result<Value, SqlError> {
    let moment = match value {
        Value::Text(text) => calendar::parse_moment(text).ok_or_else(errors::conversion_of_date)?,
        Value::Int(days) if matches!(to, SqlType::DateTime | SqlType::SmallDateTime) => {
            Moment { day: DAY_1900 + days, ticks: 0, offset_minutes: 0 }
        }
        value => moment_of(value).ok_or_else(|| errors::no_explicit_conversion(from, to))?,
    };
    if matches!((from, to), (SqlType::Date, SqlType::Time { .. }) | (SqlType::Time { .. }, SqlType::Date)) {
        return Err(errors::no_explicit_conversion(from, to));
    }
    temporal(moment, to).ok_or_else(|| errors::out_of_range(from, to))
}

/// A moment as a value of a temporal type; `None` when out of its range.
pub fn temporal(moment: Moment, to: SqlType) -> Option<Value> {
    let rounded = |scale| {
        let ticks = calendar::round_ticks(moment.ticks, scale);
        let (day, ticks) = if ticks >= TICKS_PER_DAY { (moment.day + 1, 0) } else { (moment.day, ticks) };
        // The last moment of 9999-12-31 is cut, not rounded into a year that does not exist.
        if day > LAST_DAY { (LAST_DAY, last_tick(scale)) } else { (day, ticks) }
    };
    Some(match to {
        SqlType::Date => Value::Date { days: u32::try_from(moment.day).ok()? },
        SqlType::Time { scale } => {
            let ticks = calendar::round_ticks(moment.ticks, scale);
            Value::Time { ticks: u64::try_from(if ticks >= TICKS_PER_DAY { 0 } else { ticks }).ok()? }
        }
        SqlType::DateTime => {
            let units = calendar::units_from_ticks(moment.ticks);
            let day = moment.day + i64::from(units >= calendar::UNITS_PER_DAY);
            if !(DAY_1753..=LAST_DAY).contains(&day) {
                return None;
            }
            Value::DateTime {
                days: i32::try_from(day - DAY_1900).ok()?,
                three_hundredths: u32::try_from(units % calendar::UNITS_PER_DAY).ok()?,
            }
        }
        SqlType::SmallDateTime => {
            let minutes = (moment.ticks + TICKS_PER_MINUTE / 2) / TICKS_PER_MINUTE;
            Value::SmallDateTime {
                days: u16::try_from(moment.day - DAY_1900 + minutes / 1_440).ok()?,
                minutes: u16::try_from(minutes % 1_440).ok()?,
            }
        }
        SqlType::DateTime2 { scale } => {
            let (day, ticks) = rounded(scale);
            Value::DateTime2 { days: u32::try_from(day).ok()?, ticks: u64::try_from(ticks).ok()? }
        }
        SqlType::DateTimeOffset { scale } => {
            let (day, ticks) = rounded(scale);
            let utc = day * TICKS_PER_DAY + ticks - i64::from(moment.offset_minutes) * TICKS_PER_MINUTE;
            Value::DateTimeOffset {
                days: u32::try_from(utc.div_euclid(TICKS_PER_DAY)).ok().filter(|day| i64::from(*day) <= LAST_DAY)?,
                ticks: u64::try_from(utc.rem_euclid(TICKS_PER_DAY)).ok()?,
                offset_minutes: moment.offset_minutes,
            }
        }
        _ => return None,
    })
}

fn last_tick(scale: u8) -> i64 {
    TICKS_PER_DAY - 10_i64.pow(7 - u32::from(scale.min(7)))
}

/// Cuts a text to a type's length, and pads `char` and `nchar` to it.
pub fn fit_text(value: Value, to: SqlType) -> Value {
    let text = match value {
        Value::Text(text) if types::is_unicode(to) => text,
        Value::Text(text) => store::in_code_page(&text),
        Value::Utf16(units) if types::is_unicode(to) => return fit_units(units, to),
        Value::Utf16(units) => store::in_code_page(&String::from_utf16_lossy(&units).replace('\u{fffd}', "?")),
        other => return other,
    };
    let Some(Length::Limited(limit)) = types::length_of(to) else { return Value::Text(text) };
    let limit = usize::from(limit);
    let length = if types::is_unicode(to) { text.encode_utf16().count() } else { text.chars().count() };
    let padded = matches!(to, SqlType::Char { .. } | SqlType::NChar { .. });
    if length > limit {
        if types::is_unicode(to) {
            return fit_units(text.encode_utf16().collect(), to);
        }
        Value::Text(text.chars().take(limit).collect())
    } else if padded && length < limit {
        Value::Text(text + &" ".repeat(limit - length))
    } else {
        Value::Text(text)
    }
}

fn fit_units(mut units: Vec<u16>, to: SqlType) -> Value {
    if let Some(Length::Limited(limit)) = types::length_of(to) {
        units.truncate(usize::from(limit));
        if matches!(to, SqlType::NChar { .. }) {
            units.resize(usize::from(limit), u16::from(b' '));
        }
    }
    String::from_utf16(&units).map_or_else(|_| Value::Utf16(units), Value::Text)
}

fn fit_bytes(mut bytes: Vec<u8>, to: SqlType) -> Value {
    if let Some(Length::Limited(limit)) = types::length_of(to) {
        bytes.truncate(usize::from(limit));
        if matches!(to, SqlType::Binary { .. }) {
            bytes.resize(usize::from(limit), 0);
        }
    }
    if to == SqlType::RowVersion {
        bytes.resize(8, 0);
    }
    Value::Bytes(bytes)
}

fn to_binary(value: Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<Vec<u8>, SqlError> {
    Ok(match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) if matches!(style, Some(1 | 2)) => {
            let digits = if style == Some(1) { text.strip_prefix("0x").unwrap_or("?") } else { &text };
            bytes_from_hexadecimal(digits).ok_or_else(|| errors::converting(from, to))?
        }
        Value::Text(text) if types::is_unicode(from) => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Value::Text(text) => store::to_code_page(&text),
        Value::Utf16(units) => units.into_iter().flat_map(u16::to_le_bytes).collect(),
        Value::Bit(bit) => fixed(&[u8::from(bit)], to),
        Value::Int(integer) => {
            let bytes = integer.to_be_bytes();
            let width = usize::try_from(types::facts(from).max_length).unwrap_or(8).min(8);
            fixed(&bytes[8 - width..], to)
        }
        Value::Uuid(uuid) => uuid::Uuid::from_bytes(uuid).to_bytes_le().to_vec(),
        _ => return Err(errors::no_explicit_conversion(from, to)),
    })
}

/// A number's bytes as `binary(n)`: padded on the left, where text would be padded on the right.
fn fixed(bytes: &[u8], to: SqlType) -> Vec<u8> {
    let length = match to {
        SqlType::Binary { length } => usize::from(length),
        _ => bytes.len(),
    };
    let mut padded = vec![0; length.saturating_sub(bytes.len())];
    padded.extend(&bytes[bytes.len().saturating_sub(length)..]);
    padded
}

/// Bytes of an even number of hexadecimal digits.
pub fn bytes_from_hexadecimal(digits: &str) -> Option<Vec<u8>> {
    if digits.len() % 2 == 1 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

/// A value that may be finer or shorter than its type, made a value of the type: times rounded, text padded.
pub fn refit(value: Value, sql_type: SqlType) -> Value {
    match (&value, sql_type) {
        (Value::Time { .. }, SqlType::Time { .. })
        | (Value::DateTime2 { .. }, SqlType::DateTime2 { .. })
        | (Value::DateTimeOffset { .. }, SqlType::DateTimeOffset { .. }) => {
            match moment_of(&value).and_then(|moment| temporal(moment, sql_type)) {
                Some(refitted) => refitted,
                None => value,
            }
        }
        (Value::Text(_) | Value::Utf16(_), SqlType::Char { .. } | SqlType::NChar { .. }) => fit_text(value, sql_type),
        (Value::Bytes(_), SqlType::Binary { .. }) => match value {
            Value::Bytes(bytes) => fit_bytes(bytes, sql_type),
            other => other,
        },
        _ => value,
    }
}

//! Values as text: what CAST to a text type and the styles of CONVERT write.

use super::calendar::{self, Moment};
use super::convert::{float_of, moment_of};
use super::{errors, number, store, types};
use crate::values::{SqlError, SqlType, Value};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A value as text of any length.
///
/// # Errors
///
/// 529 for types that have no text form; the fake SQL Server's own error for styles it does not know.
pub fn to_text(value: Value, from: SqlType, to: SqlType, style: Option<i64>) -> Result<Value, SqlError> {
    let text = match value {
        Value::Text(_) | Value::Utf16(_) => return Ok(value),
        Value::Bit(bit) => u8::from(bit).to_string(),
        Value::Int(integer) => integer.to_string(),
        Value::Decimal { unscaled, .. } if matches!(from, SqlType::Money | SqlType::SmallMoney) => match style {
            Some(2) => number::format(unscaled, 4),
            _ => number::format(number::rescale(unscaled, 4, 2).unwrap_or(unscaled), 2),
        },
        Value::Decimal { unscaled, scale } => number::format(unscaled, scale),
        Value::Real(_) | Value::Float(_) => {
            let float = float_of(&value).unwrap_or(f64::NAN);
            match style {
                Some(1) => scientific(float, 8),
                Some(2) => scientific(float, 16),
                Some(3) if from == SqlType::Real => scientific(float, 9),
                Some(3) => scientific(float, 17),
                _ => general(float, 6),
            }
        }
        Value::Bytes(bytes) => match style {
            Some(1) => format!("0x{}", store::hexadecimal(&bytes)),
            Some(2) => store::hexadecimal(&bytes),
            _ if types::is_unicode(to) => {
                let units: Vec<u16> =
                    bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)])).collect();
                return Ok(String::from_utf16(&units).map_or_else(|_| Value::Utf16(units), Value::Text));
            }
            _ => store::from_code_page(&bytes),
        },
        Value::Uuid(uuid) => uuid::Uuid::from_bytes(uuid).hyphenated().to_string().to_uppercase(),
        value => match moment_of(&value) {
            Some(moment) => moment_text(moment, from, style)?,
            None => return Err(errors::no_explicit_conversion(from, to)),
        },
    };
    Ok(Value::Text(text))
}

fn fraction_digits(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::Time { scale } | SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => scale,
        SqlType::DateTime => 3,
        _ => 0,
    }
}

fn moment_text(moment: Moment, from: SqlType, style: Option<i64>) -> Result<String, SqlError> {
    let digits = fraction_digits(from);
    let day = calendar::format_day(moment.day);
    let time = |digits| calendar::format_ticks(moment.ticks, digits);
    let offset = match from {
        SqlType::DateTimeOffset { .. } => format!(" {}", calendar::format_offset(moment.offset_minutes)),
        _ => String::new(),
    };
    let (has_day, has_time) = (!matches!(from, SqlType::Time { .. }), from != SqlType::Date);
    let joined = |between: &str, time: String| match (has_day, has_time) {
        (true, true) => format!("{day}{between}{time}"),
        (true, false) => day.clone(),
        _ => time,
    };
    let default = if matches!(from, SqlType::DateTime | SqlType::SmallDateTime) { 0 } else { 121 };
    Ok(match style.unwrap_or(default) {
        // Without a style the newer types write ISO.
        0 | 100 if default == 121 => joined(" ", time(digits)) + &offset,
        0 | 100 => old_default(moment),
        20 | 120 => joined(" ", time(0)) + &offset,
        21 | 25 | 121 => joined(" ", time(digits)) + &offset,
        23 => day,
        112 => day.replace('-', ""),
        108 | 8 => time(0),
        114 | 14 => time(digits.max(3)).replace('.', ":"),
        126 => {
            joined("T", if moment.ticks % calendar::TICKS_PER_SECOND == 0 { time(0) } else { time(digits) })
                + offset.trim()
        }
        127 => joined("T", if moment.ticks % calendar::TICKS_PER_SECOND == 0 { time(0) } else { time(digits) }) + "Z",
        other => return Err(errors::unsupported(format_args!("style {other} of CONVERT for dates"))),
    })
}

/// `Jan  2 2024  3:04PM`, what `datetime` has been since Sybase.
fn old_default(moment: Moment) -> String {
    let (year, month, day) = calendar::civil_from_day(moment.day);
    let minutes = moment.ticks / calendar::TICKS_PER_MINUTE;
    let (hour, minute) = (minutes / 60, minutes % 60);
    let month = usize::try_from(month - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"");
    let half = if hour < 12 { "AM" } else { "PM" };
    format!("{month} {day:>2} {year} {:>2}:{minute:02}{half}", (hour + 11) % 12 + 1)
}

/// C's `%.{digits}g`, with SQL Server's exponents of three digits.
fn general(float: f64, digits: usize) -> String {
    if float == 0.0 {
        return "0".to_owned();
    }
    let written = format!("{float:.*e}", digits - 1);
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits_after = i32::try_from(digits).unwrap_or(6);
    if exponent < -5 || exponent >= digits_after {
        return format!("{}e{}{:03}", trim_zeros(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    let places = usize::try_from(digits_after - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{float:.places$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn scientific(float: f64, digits: usize) -> String {
    let written = format!("{float:.*e}", digits - 1);
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:03}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::convert::convert;
    use crate::values::Length;

    fn shown(value: Value, from: SqlType, style: Option<i64>) -> String {
        match convert(value, from, SqlType::VarChar(Length::Max), style).unwrap() {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_read_as_sql_server_writes_them() {
        let leap = Value::DateTime2 { days: 738_944, ticks: 541_230_000_000 };
        let type7 = SqlType::DateTime2 { scale: 7 };
        insta::assert_debug_snapshot!([
            shown(leap.clone(), type7, None),
            shown(leap.clone(), type7, Some(112)),
            shown(leap, SqlType::DateTime2 { scale: 3 }, Some(126)),
            shown(Value::DateTime { days: 45_349, three_hundredths: 16_236_900 }, SqlType::DateTime, None),
            shown(Value::Float(1e10), SqlType::Float, None),
            shown(Value::Float(1234.5678), SqlType::Float, None),
            shown(Value::Float(0.1), SqlType::Float, Some(3)),
            shown(Value::Decimal { unscaled: -123_456, scale: 4 }, SqlType::Money, None),
            shown(Value::Decimal { unscaled: -5, scale: 3 }, SqlType::Decimal { precision: 9, scale: 3 }, None),
            shown(Value::Bytes(vec![0xca, 0xfe]), SqlType::VarBinary(Length::Limited(2)), Some(1)),
            shown(Value::Uuid([0xab; 16]), SqlType::UniqueIdentifier, None),
        ]);
    }
}

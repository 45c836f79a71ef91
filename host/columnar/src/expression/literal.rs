//! Literals and the types CAST may name.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

/// Digits of the largest decimal.
const MAX_PRECISION: usize = 38;

/// The value of a number: an integer is Int64, beyond that an exact decimal; with a point an exact decimal; with an
/// exponent Float64. None: it has more than 38 digits, or is not of this form.
pub(super) fn number(text: &str, negative: bool) -> Option<ScalarValue> {
    let sign = if negative { "-" } else { "" };
    if text.contains(['e', 'E']) {
        let value: f64 = format!("{sign}{text}").parse().ok()?;
        return value.is_finite().then_some(ScalarValue::Float64(Some(value)));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !text.contains('.')
        && let Ok(value) = format!("{sign}{text}").parse::<i64>()
    {
        return Some(ScalarValue::Int64(Some(value)));
    }
    let digits = format!("{}{fraction}", whole.trim_start_matches('0'));
    if digits.len() > MAX_PRECISION || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude: i128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let scale = i8::try_from(fraction.len()).ok()?;
    let precision = u8::try_from(digits.len().max(1)).ok()?;
    Some(ScalarValue::Decimal128(Some(if negative { -magnitude } else { magnitude }), precision, scale))
}

/// The Arrow type of a type name of CAST; none if the language does not have it.
pub(super) fn cast_type(sql: &SqlType) -> Option<DataType> {
    Some(match sql {
        SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt(None) => DataType::Int16,
        SqlType::Int(None) | SqlType::Integer(None) => DataType::Int32,
        SqlType::BigInt(None) => DataType::Int64,
        SqlType::Real => DataType::Float32,
        SqlType::DoublePrecision | SqlType::Double(ExactNumberInfo::None) => DataType::Float64,
        SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(precision, scale))
        | SqlType::Numeric(ExactNumberInfo::PrecisionAndScale(precision, scale)) => {
            let precision = u8::try_from(*precision).ok().filter(|p| (1..=38).contains(p))?;
            let scale = i8::try_from(*scale).ok().filter(|s| (0..=precision.cast_signed()).contains(s))?;
            DataType::Decimal128(precision, scale)
        }
        SqlType::Varchar(None) | SqlType::Text => DataType::Utf8,
        SqlType::Varbinary(None) => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Time(None, TimezoneInfo::None) => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        SqlType::Timestamp(None | Some(6), TimezoneInfo::WithTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        _ => return None,
    })
}

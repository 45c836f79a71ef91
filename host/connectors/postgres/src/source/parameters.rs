//! A datakit's parameters as literals of exactly the types their names promise.
//!
//! COPY takes no parameters, and the planner sees constants, so that ranges of a key and of `ctid` are known when it plans. A
//! literal is a string with a cast, in parentheses: nothing in it but the closing quote ends a string (the session has
//! `standard_conforming_strings`), and quotes are doubled.

use std::borrow::Cow;
use std::ops::Range;

use datakit_model::source::{Value, ValueType};

use super::error::PostgresError;

/// The literals of parameters.
///
/// # Errors
/// [`PostgresError::Parameter`] with the number of the first that is not of its type, or has a type of SQL Server only.
pub(super) fn literals(values: &[Value]) -> Result<Vec<String>, PostgresError> {
    values
        .iter()
        .enumerate()
        .map(|(i, value)| literal(value).map_err(|reason| PostgresError::Parameter { number: i + 1, reason }))
        .collect()
}

/// The query with literals in place of its parameters.
pub(super) fn splice(query: &str, places: &[(Range<usize>, usize)], literals: &[String]) -> String {
    let mut text = String::with_capacity(query.len() + literals.iter().map(String::len).sum::<usize>());
    let mut at = 0;
    for (place, number) in places {
        text.push_str(&query[at..place.start]);
        text.push_str(literals.get(*number).map_or("", String::as_str));
        at = place.end;
    }
    text.push_str(&query[at..]);
    text
}

fn literal(value: &Value) -> Result<String, String> {
    let text: Cow<'_, str> = match value {
        Value::Null(value_type) => return Ok(format!("(NULL::{})", type_name(*value_type)?)),
        Value::Boolean(value) => if *value { "true" } else { "false" }.into(),
        Value::Int32(value) => value.to_string().into(),
        Value::Int64(value) => value.to_string().into(),
        // The shortest text that reads back as the same number; the server spells infinity and NaN alike.
        Value::Float64(value) => format!("{value:?}").into(),
        Value::Decimal(text) => shaped(text, is_decimal, "a decimal")?,
        Value::Text(text) if text.contains('\0') => {
            return Err("a text with U+0000, which PostgreSQL cannot hold".to_owned());
        }
        Value::Text(text) | Value::AnsiText(text) => text.replace('\'', "''").into(),
        Value::Bytes(bytes) => hexadecimal(bytes).into(),
        Value::Uuid(text) => shaped(text, is_uuid, "a hyphenated UUID")?,
        Value::Date(text) => shaped(text, |text| fits(text, "####-##-##"), "a date YYYY-MM-DD")?,
        Value::Timestamp(text) | Value::LegacyDatetime(text) => {
            shaped(text, is_timestamp, "a timestamp YYYY-MM-DDThh:mm:ss[.ffffff]")?
        }
        Value::TimestampTz(text) => {
            shaped(text, is_timestamp_with_offset, "a timestamp YYYY-MM-DDThh:mm:ss[.ffffff]±hh:mm")?
        }
    };
    Ok(format!("('{text}'::{})", type_name(value.value_type())?))
}

/// The server's own type of that name, whatever the search path.
fn type_name(value_type: ValueType) -> Result<&'static str, String> {
    Ok(match value_type {
        ValueType::Boolean => "boolean",
        ValueType::Int32 => "integer",
        ValueType::Int64 => "bigint",
        ValueType::Float64 => "double precision",
        ValueType::Decimal => "numeric",
        ValueType::Text => "pg_catalog.text",
        ValueType::Bytes => "pg_catalog.bytea",
        ValueType::Uuid => "pg_catalog.uuid",
        ValueType::Date => "pg_catalog.date",
        ValueType::Timestamp => "timestamp",
        ValueType::TimestampTz => "pg_catalog.timestamptz",
        ValueType::AnsiText | ValueType::LegacyDatetime => {
            return Err("a type that PostgreSQL does not have".to_owned());
        }
    })
}

fn shaped<'a>(text: &'a str, fine: impl Fn(&str) -> bool, what: &str) -> Result<Cow<'a, str>, String> {
    if fine(text) { Ok(text.into()) } else { Err(format!("`{text}` is not {what}")) }
}

/// Whether a text has the form of a pattern, in which `#` stands for a digit.
fn fits(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(b, p)| if p == b'#' { b.is_ascii_digit() } else { b == p })
}

fn is_timestamp(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    fits(whole, "####-##-##T##:##:##")
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn is_timestamp_with_offset(text: &str) -> bool {
    let at = text.len().saturating_sub(6);
    let (moment, offset) = (text.get(..at).unwrap_or_default(), text.get(at..).unwrap_or_default());
    is_timestamp(moment) && (fits(offset, "+##:##") || fits(offset, "-##:##"))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Value) -> String {
        literal(&value).unwrap()
    }

    #[test]
    fn each_type_has_its_literal() {
        assert_eq!(text(Value::Null(ValueType::TimestampTz)), "(NULL::pg_catalog.timestamptz)");
        assert_eq!(text(Value::Boolean(true)), "('true'::boolean)");
        assert_eq!(text(Value::Int32(i32::MIN)), "('-2147483648'::integer)");
        assert_eq!(text(Value::Int64(i64::MIN)), "('-9223372036854775808'::bigint)");
        assert_eq!(text(Value::Float64(0.1)), "('0.1'::double precision)");
        assert_eq!(text(Value::Float64(f64::NEG_INFINITY)), "('-inf'::double precision)");
        assert_eq!(text(Value::Float64(f64::NAN)), "('NaN'::double precision)");
        assert_eq!(text(Value::Decimal("-12.50".into())), "('-12.50'::numeric)");
        assert_eq!(text(Value::Text("it's \\ $1 \"x\" 🦀".into())), "('it''s \\ $1 \"x\" 🦀'::pg_catalog.text)");
        assert_eq!(text(Value::Bytes(vec![0, 39, 255])), "('\\x0027ff'::pg_catalog.bytea)");
        assert_eq!(
            text(Value::Uuid("6F9619ff-8b86-d011-b42d-00c04fc964ff".into())),
            "('6F9619ff-8b86-d011-b42d-00c04fc964ff'::pg_catalog.uuid)"
        );
        assert_eq!(text(Value::Date("2024-02-29".into())), "('2024-02-29'::pg_catalog.date)");
        assert_eq!(text(Value::Timestamp("2024-02-29T23:59:59.5".into())), "('2024-02-29T23:59:59.5'::timestamp)");
        assert_eq!(
            text(Value::TimestampTz("2024-02-29T23:59:59-03:30".into())),
            "('2024-02-29T23:59:59-03:30'::pg_catalog.timestamptz)"
        );
    }

    #[test]
    fn what_is_not_of_its_type_never_becomes_text() {
        for value in [
            Value::Decimal("1'; DROP TABLE x --".into()),
            Value::Decimal("1e5".into()),
            Value::Decimal(".5".into()),
            Value::Decimal("NaN".into()),
            Value::Text("a\0b".into()),
            Value::Uuid("{6F9619ff-8b86-d011-b42d-00c04fc964f}".into()),
            Value::Date("2024-2-29".into()),
            Value::Date("infinity".into()),
            Value::Timestamp("2024-02-29 23:59:59".into()),
            Value::Timestamp("2024-02-29T23:59:59.1234567".into()),
            Value::TimestampTz("2024-02-29T23:59:59".into()),
            Value::TimestampTz("é".into()),
            Value::AnsiText("a".into()),
            Value::LegacyDatetime("2024-02-29T23:59:59".into()),
            Value::Null(ValueType::AnsiText),
            Value::Null(ValueType::LegacyDatetime),
        ] {
            assert!(literal(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn literals_stand_where_parameters_stood() {
        let query = "SELECT $2 AS a WHERE b = '$1' AND c < $1";
        let places = [(7..9, 1), (38..40, 0)];
        let values = [Value::Int32(5), Value::Text("$1".into())];
        assert_eq!(
            splice(query, &places, &literals(&values).unwrap()),
            "SELECT ('$1'::pg_catalog.text) AS a WHERE b = '$1' AND c < ('5'::integer)"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_text_ends_where_its_literal_does(value in proptest::prelude::any::<String>()) {
            if let Ok(literal) = literal(&Value::Text(value.clone())) {
                let inner = literal.strip_prefix("('").unwrap().strip_suffix("'::pg_catalog.text)").unwrap();
                proptest::prop_assert_eq!(inner.replace("''", "'"), value);
                proptest::prop_assert!(!inner.replace("''", "").contains('\''));
            }
        }
    }
}

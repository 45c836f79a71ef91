//! Functions of text, over UTF-16 code units, as T-SQL counts.

use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::{Value as Stored, ValueRef};

use super::{add, integer_at, is_null, str_at, type_at};
use crate::sql::{convert, errors, store, types};
use crate::values::{Length, SqlError, SqlType, Value};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    add(connection, "t_text", -1, function)?;
    add(connection, "t_concat", 3, concatenate)?;
    add(connection, "t_join_bytes", 3, join_bytes)?;
    add(connection, "t_subbytes", 3, sub_bytes)
}

/// Longest text a function makes, in UTF-16 units: enough for every test of large values.
const MAX_UNITS: usize = 256 << 20;

/// A text argument as code units; `None` when it is null.
fn units_at(context: &Context<'_>, at: usize) -> Option<Vec<u16>> {
    match context.get_raw(at) {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).encode_utf16().collect()),
        ValueRef::Blob(bytes) => {
            Some(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
        }
        _ => None,
    }
}

/// A text as it is stored, cut to its type.
fn stored(units: Vec<u16>, sql_type: SqlType) -> Result<Stored, SqlError> {
    store::encode(sql_type, convert::fit_text(Value::Utf16(units), sql_type))
}

const SPACE: u16 = b' ' as u16;

fn trim_start(units: &[u16]) -> &[u16] {
    let start = units.iter().position(|unit| *unit != SPACE).unwrap_or(units.len());
    &units[start..]
}

fn trim_end(units: &[u16]) -> &[u16] {
    let end = units.iter().rposition(|unit| *unit != SPACE).map_or(0, |at| at + 1);
    &units[..end]
}

/// Characters `start` (from 1) to `start + length`, as SUBSTRING counts them: what lies before the first is skipped.
fn slice(units: &[u16], start: i64, length: i64) -> &[u16] {
    let end = start.saturating_add(length).saturating_sub(1);
    let clamp = |at: i64| usize::try_from(at.max(0)).unwrap_or(usize::MAX).min(units.len());
    let (from, to) = (clamp(start.saturating_sub(1)), clamp(end));
    units.get(from..to.max(from)).unwrap_or(&[])
}

fn negative_length(name: &str) -> SqlError {
    SqlError::new(537, format!("Invalid length parameter passed to the {name} function.")).with_state(3)
}

fn recased(units: &[u16], upper: bool) -> Vec<u16> {
    let text = String::from_utf16_lossy(units);
    let text = if upper { text.to_uppercase() } else { text.to_lowercase() };
    text.encode_utf16().collect()
}

fn function(context: &Context<'_>) -> Result<Stored, SqlError> {
    let name = str_at(context, 0).unwrap_or_default();
    let sql_type = type_at(context, 1)?;
    if matches!(name, "CONCAT" | "CONCAT_WS") {
        return concat_all(context, name, sql_type);
    }
    // A missing third argument is no null: only those given are looked at.
    if (2..context.len()).any(|at| is_null(context, at)) {
        return Ok(Stored::Null);
    }
    let number = |at: usize| integer_at(context, at).unwrap_or(0);
    let text = units_at(context, 2).unwrap_or_default();
    let integer = |value: usize| Ok(Stored::Integer(i64::try_from(value).unwrap_or(i64::MAX)));
    let units = match name {
        "LEN" => return integer(trim_end(&text).len()),
        "ASCII" => {
            return Ok(store::to_code_page(&String::from_utf16_lossy(&text))
                .first()
                .map_or(Stored::Null, |byte| Stored::Integer(i64::from(*byte))));
        }
        "UNICODE" => return Ok(text.first().map_or(Stored::Null, |unit| Stored::Integer(i64::from(*unit)))),
        "CHARINDEX" => return integer(find(context, &text)),
        "UPPER" => recased(&text, true),
        "LOWER" => recased(&text, false),
        "LTRIM" => trim_start(&text).to_vec(),
        "RTRIM" => trim_end(&text).to_vec(),
        "TRIM" => trim_end(trim_start(&text)).to_vec(),
        "REVERSE" => text.iter().rev().copied().collect(),
        "LEFT" if number(3) < 0 => return Err(negative_length("left")),
        "RIGHT" if number(3) < 0 => return Err(negative_length("right")),
        "SUBSTRING" if number(4) < 0 => return Err(negative_length("substring")),
        "LEFT" => slice(&text, 1, number(3)).to_vec(),
        "RIGHT" => {
            let kept = usize::try_from(number(3)).unwrap_or(usize::MAX).min(text.len());
            text[text.len() - kept..].to_vec()
        }
        "SUBSTRING" => slice(&text, number(3), number(4)).to_vec(),
        "REPLACE" => {
            replace(&text, &units_at(context, 3).unwrap_or_default(), &units_at(context, 4).unwrap_or_default())
        }
        "REPLICATE" => match replicate(&text, number(3), sql_type) {
            Some(units) => units,
            None => return Ok(Stored::Null),
        },
        "QUOTENAME" => match quote_name(&text, context) {
            Some(units) => units,
            None => return Ok(Stored::Null),
        },
        "SPACE" => match usize::try_from(number(2)) {
            Ok(count) => vec![SPACE; count.min(8000)],
            Err(_) => return Ok(Stored::Null),
        },
        "CHAR" => match u8::try_from(number(2)) {
            Ok(byte) => store::from_code_page(&[byte]).encode_utf16().collect(),
            Err(_) => return Ok(Stored::Null),
        },
        "NCHAR" => match u16::try_from(number(2)) {
            Ok(unit) => vec![unit],
            Err(_) => return Ok(Stored::Null),
        },
        "STR" => {
            let width = if context.len() > 3 { usize::try_from(number(3)).unwrap_or(10) } else { 10 };
            format!("{:>width$}", number(2), width = width.min(30)).encode_utf16().collect()
        }
        other => return Err(errors::unknown_function(other)),
    };
    stored(units, sql_type)
}

fn lowered(units: &[u16]) -> Vec<u16> {
    // Letters whose lower case has another length would move every place after them: they stay as they are.
    units.iter().map(|unit| char::from_u32(u32::from(*unit)).and_then(lower_unit).unwrap_or(*unit)).collect()
}

fn lower_unit(character: char) -> Option<u16> {
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).ok(),
        _ => None,
    }
}

fn position(text: &[u16], wanted: &[u16], from: usize) -> Option<usize> {
    if wanted.is_empty() || text.len() < wanted.len() {
        return None;
    }
    (from..=text.len() - wanted.len()).find(|at| text[*at..].starts_with(wanted))
}

fn find(context: &Context<'_>, wanted: &[u16]) -> usize {
    let text = lowered(&units_at(context, 3).unwrap_or_default());
    let from = if context.len() > 4 { integer_at(context, 4).unwrap_or(1) } else { 1 };
    let from = usize::try_from(from.max(1) - 1).unwrap_or(usize::MAX);
    position(&text, &lowered(wanted), from).map_or(0, |at| at + 1)
}

fn replace(text: &[u16], wanted: &[u16], by: &[u16]) -> Vec<u16> {
    let (folded, wanted) = (lowered(text), lowered(wanted));
    let mut result = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = position(&folded, &wanted, at) {
        result.extend(&text[at..found]);
        result.extend(by);
        at = found + wanted.len();
    }
    result.extend(&text[at.min(text.len())..]);
    result
}

fn replicate(text: &[u16], count: i64, sql_type: SqlType) -> Option<Vec<u16>> {
    let count = usize::try_from(count).ok()?;
    let limit = match types::length_of(sql_type) {
        Some(Length::Limited(limit)) => usize::from(limit),
        _ => MAX_UNITS,
    };
    let count = if text.is_empty() { 0 } else { count.min(limit / text.len() + 1) };
    let mut units = text.repeat(count);
    units.truncate(limit);
    Some(units)
}

/// QUOTENAME: null for names over 128 characters and for quotes it does not know.
fn quote_name(text: &[u16], context: &Context<'_>) -> Option<Vec<u16>> {
    if text.len() > 128 {
        return None;
    }
    let quote = if context.len() > 3 { units_at(context, 3)?.first().copied()? } else { u16::from(b'[') };
    let (open, close) = match u8::try_from(quote).ok()? {
        b'[' | b']' => (b'[', b']'),
        b'"' => (b'"', b'"'),
        b'\'' => (b'\'', b'\''),
        b'(' | b')' => (b'(', b')'),
        b'{' | b'}' => (b'{', b'}'),
        b'<' | b'>' => (b'<', b'>'),
        b'`' => (b'`', b'`'),
        _ => return None,
    };
    let close = u16::from(close);
    let mut quoted = vec![u16::from(open)];
    for unit in text {
        quoted.push(*unit);
        if *unit == close {
            quoted.push(close);
        }
    }
    quoted.push(close);
    Some(quoted)
}

fn concat_all(context: &Context<'_>, name: &str, sql_type: SqlType) -> Result<Stored, SqlError> {
    let with_separator = name == "CONCAT_WS";
    let separator = if with_separator { units_at(context, 2).unwrap_or_default() } else { Vec::new() };
    let mut result: Vec<u16> = Vec::new();
    let mut first = true;
    for at in (if with_separator { 3 } else { 2 })..context.len() {
        let Some(units) = units_at(context, at) else { continue };
        if !first {
            result.extend(&separator);
        }
        first = false;
        result.extend(units);
    }
    stored(result, sql_type)
}

fn concatenate(context: &Context<'_>) -> Result<Stored, SqlError> {
    if is_null(context, 0) || is_null(context, 1) {
        return Ok(Stored::Null);
    }
    let sql_type = type_at(context, 2)?;
    if let (Some(left), Some(right)) = (str_at(context, 0), str_at(context, 1)) {
        let joined = [left, right].concat();
        return store::encode(sql_type, convert::fit_text(Value::Text(joined), sql_type));
    }
    let mut units = units_at(context, 0).unwrap_or_default();
    units.extend(units_at(context, 1).unwrap_or_default());
    stored(units, sql_type)
}

fn bytes_at(context: &Context<'_>, at: usize) -> Option<Vec<u8>> {
    context.get_raw(at).as_blob().ok().map(<[u8]>::to_vec)
}

fn join_bytes(context: &Context<'_>) -> Result<Stored, SqlError> {
    let (Some(mut left), Some(right)) = (bytes_at(context, 0), bytes_at(context, 1)) else { return Ok(Stored::Null) };
    left.extend(right);
    Ok(Stored::Blob(left))
}

fn sub_bytes(context: &Context<'_>) -> Result<Stored, SqlError> {
    let (Some(bytes), Some(start), Some(length)) =
        (bytes_at(context, 0), integer_at(context, 1), integer_at(context, 2))
    else {
        return Ok(Stored::Null);
    };
    if length < 0 {
        return Err(negative_length("substring"));
    }
    let wide: Vec<u16> = bytes.iter().map(|byte| u16::from(*byte)).collect();
    Ok(Stored::Blob(slice(&wide, start, length).iter().filter_map(|unit| u8::try_from(*unit).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn substring_counts_from_one_and_skips_what_lies_before() {
        let text = units("abcdef");
        assert_eq!(slice(&text, 2, 3), units("bcd"));
        assert_eq!(slice(&text, 0, 3), units("ab"));
        assert_eq!(slice(&text, -5, 3), units(""));
        assert_eq!(slice(&text, 5, i64::MAX), units("ef"));
    }

    #[test]
    fn replace_finds_any_case() {
        assert_eq!(replace(&units("Abcabc"), &units("AB"), &units("x")), units("xcxc"));
        assert_eq!(replace(&units("abc"), &units(""), &units("x")), units("abc"));
    }
}

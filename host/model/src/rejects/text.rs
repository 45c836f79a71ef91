//! Values as text, for people who look for a row: exact where the value has a text, escaped where it has none.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;
use uuid::Uuid;

use super::MAX_TEXT_BYTES;

/// Cuts a text to [`MAX_TEXT_BYTES`], between two characters. U+0000, which not every sink can hold, is written `\x00`.
#[must_use]
pub fn cut(text: String) -> String {
    let mut text = if text.contains('\0') { text.replace('\0', "\\x00") } else { text };
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}

/// The values of the key's columns of a row as a JSON object, in the order of the key; none: there is no key, or not all of its columns
/// are there. `bad` says what stands in the place of a bad value.
pub fn key<'v>(
    batch: &RecordBatch,
    row: usize,
    columns: &[String],
    bad: impl Fn(&str) -> Option<Option<&'v str>>,
) -> Option<String> {
    if columns.is_empty() {
        return None;
    }
    let mut members = Vec::with_capacity(columns.len());
    for name in columns {
        let column = batch.column_by_name(name)?;
        let value = bad(name).map_or_else(|| json(column, row), Value::from);
        members.push(format!("{}:{value}", Value::from(name.as_str())));
    }
    Some(format!("{{{}}}", members.join(",")))
}

/// A value as JSON: integers and booleans as such, all others as text.
fn json(array: &dyn Array, row: usize) -> Value {
    let Some(text) = value(array, row) else { return Value::Null };
    match array.data_type() {
        DataType::Boolean => Value::from(text == "true"),
        data_type if data_type.is_integer() => serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text)),
        _ => Value::from(cut(text)),
    }
}

/// A value as text; none: it is null, or it has no text.
#[must_use]
pub fn value(array: &dyn Array, row: usize) -> Option<String> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::FixedSizeBinary(16) => {
            Some(Uuid::from_slice(array.as_fixed_size_binary().value(row)).ok()?.hyphenated().to_string())
        }
        // The formatter reads no name of a zone, and all moments are of UTC.
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let of_utc = array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(None::<&str>);
            Some(format!("{}Z", formatted(&of_utc, row)?))
        }
        _ => formatted(array, row),
    }
}

fn formatted(array: &dyn Array, row: usize) -> Option<String> {
    let options = FormatOptions::default();
    ArrayFormatter::try_new(array, &options).ok()?.value(row).try_to_string().ok()
}

/// Bytes that should be UTF-8: what is not is written `\xff`.
#[must_use]
pub fn utf8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(MAX_TEXT_BYTES));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        escape(&mut text, chunk.invalid());
        if text.len() > MAX_TEXT_BYTES {
            break;
        }
    }
    cut(text)
}

/// Bytes of an unknown code: what is not ASCII is written `\xff`.
#[must_use]
pub fn ascii(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().min(MAX_TEXT_BYTES));
    for byte in bytes.iter().take(MAX_TEXT_BYTES) {
        if byte.is_ascii() { text.push(char::from(*byte)) } else { escape(&mut text, &[*byte]) }
    }
    cut(text)
}

/// Bytes that should be UTF-16, the low one of each pair first: half a character is written `\ud83d`, a byte too many `\xff`.
#[must_use]
pub fn utf16(bytes: &[u8]) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len().min(MAX_TEXT_BYTES));
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).take(MAX_TEXT_BYTES);
    for unit in char::decode_utf16(units) {
        match unit {
            Ok(character) => text.push(character),
            Err(half) => {
                let _ = write!(text, "\\u{:04x}", half.unpaired_surrogate());
            }
        }
    }
    escape(&mut text, rest);
    cut(text)
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };

    use super::*;

    #[test]
    fn key_is_a_json_object_in_the_order_of_the_key() {
        let uuid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int64Array::from(vec![i64::MAX]))),
            ("b", Arc::new(BooleanArray::from(vec![true]))),
            ("t", Arc::new(StringArray::from(vec!["a\"b"]))),
            ("d", Arc::new(Decimal128Array::from(vec![-150]).with_precision_and_scale(5, 2).unwrap())),
            ("u", Arc::new(FixedSizeBinaryArray::try_from_iter([uuid].iter()).unwrap())),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1_000_001]).with_timezone("UTC"))),
            ("x", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff".as_slice()]))),
            ("none", Arc::new(Int64Array::from(vec![None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let names = ["u", "n", "b", "t", "d", "at", "x", "none"].map(str::to_owned);
        assert_eq!(
            key(&batch, 0, &names, |_| None).unwrap(),
            r#"{"u":"00010203-0405-0607-0809-0a0b0c0d0e0f","n":9223372036854775807,"b":true,"t":"a\"b","d":"-1.50","at":"1970-01-01T00:00:01.000001Z","x":"00ff","none":null}"#
        );
        let bad = |name: &str| (name == "n").then_some(Some("NaN"));
        assert_eq!(key(&batch, 0, &names[1..3], bad).unwrap(), r#"{"n":"NaN","b":true}"#);
        assert_eq!(key(&batch, 0, &["n".to_owned(), "gone".to_owned()], |_| None), None);
        assert_eq!(key(&batch, 0, &[], |_| None), None);
    }

    #[test]
    fn what_is_no_text_is_escaped() {
        assert_eq!(utf8(b"a\xffb\xc3"), "a\\xffb\\xc3");
        assert_eq!(ascii(b"a\xe4"), "a\\xe4");
        assert_eq!(utf16(&[0x61, 0, 0x3d, 0xd8, 0x62, 0]), "a\\ud83db");
        assert_eq!(utf16(&[0x61, 0, 0x62]), "a\\x62");
        assert_eq!(utf16(&[0x3d, 0xd8, 0x00, 0xde]), "\u{1f600}");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("é".repeat(1_000)).len(), 1_024);
        assert_eq!(cut(format!("a{}", "é".repeat(1_000))).len(), 1_023);
        assert!(utf8(&[0xff; 5_000]).len() <= MAX_TEXT_BYTES);
        assert_eq!(cut("a\0b".to_owned()), "a\\x00b");
    }
}

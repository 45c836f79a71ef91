//! The one mapping of names: reversible, so that the source's name can be read back from the sink's.
//!
//! What Delta, a file system or a reader cannot hold is written byte by byte, as an escape character and two hexadecimal
//! digits; the escape character itself too, so that no two names meet. Columns are escaped by `%`. Directories are escaped by
//! `@`, and hold nothing that a URI would have to encode: polars and delta-rs look for such directories under the wrong name.

use std::fmt::Write as _;

use datakit_connect::sink::SinkError;

/// In column names.
const COLUMN_ESCAPE: char = '%';
/// In directory names.
const SEGMENT_ESCAPE: char = '@';
/// What an empty column name becomes: nothing else is mapped to a lone escape character.
const EMPTY: &str = "%";
/// The longest file name of common file systems.
const MAX_SEGMENT_BYTES: usize = 255;

/// A source column's name as a Delta column's: Parquet's special characters, control characters and `%` are encoded.
///
/// ```
/// use datakit_delta::names::{column, source_column};
/// assert_eq!(column("Order No."), "Order%20No.");
/// assert_eq!(column("Größe"), "Größe");
/// assert_eq!(source_column("Order%20No."), Some("Order No.".into()));
/// ```
#[must_use]
pub fn column(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    encode(name, COLUMN_ESCAPE, |c| c.is_ascii_control() || " ,;{}()=%".contains(c))
}

/// The inverse of [`column()`]; none for a name that it does not produce.
#[must_use]
pub fn source_column(name: &str) -> Option<String> {
    let source = if name == EMPTY { String::new() } else { decode(name, COLUMN_ESCAPE)? };
    (column(&source) == name).then_some(source)
}

/// A source system, schema or table as a directory: everything but the letters and digits of ASCII, `-`, `.` and `_` is
/// encoded, and the dots of a name of dots.
///
/// ```
/// use datakit_delta::names::{segment, source_segment};
/// assert_eq!(segment("table", "Order Details")?, "Order@20Details");
/// assert_eq!(source_segment("Order@20Details"), Some("Order Details".into()));
/// # Ok::<(), datakit_connect::sink::SinkError>(())
/// ```
///
/// # Errors
/// An empty name, and one that takes more than 255 bytes.
pub fn segment(what: &'static str, name: &str) -> Result<String, SinkError> {
    if name.is_empty() {
        return Err(SinkError::Name { what, name: String::new(), reason: "it is empty" });
    }
    let only_dots = name.chars().all(|c| c == '.');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c) || (c == '.' && !only_dots);
    let text = encode(name, SEGMENT_ESCAPE, |c| !plain(c));
    if text.len() > MAX_SEGMENT_BYTES {
        return Err(SinkError::NameTooLong {
            what,
            name: name.to_owned(),
            bytes: text.len(),
            limit_bytes: MAX_SEGMENT_BYTES,
        });
    }
    Ok(text)
}

/// The inverse of [`segment`]; none for a directory that it does not produce.
#[must_use]
pub fn source_segment(segment_text: &str) -> Option<String> {
    let source = decode(segment_text, SEGMENT_ESCAPE)?;
    (segment("table", &source).ok()? == segment_text).then_some(source)
}

fn encode(name: &str, escape: char, special: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if special(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(text, "{escape}{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn decode(text: &str, escape: char) -> Option<String> {
    let mut parts = text.split(escape);
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        name.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn odd_names_have_known_forms() {
        assert_eq!(column(""), "%");
        assert_eq!(column("50%"), "50%25");
        assert_eq!(column("a,b;c{d}(e)\n\t=f"), "a%2Cb%3Bc%7Bd%7D%28e%29%0A%09%3Df");
        assert_eq!(column("a.b-c'\"[x]"), "a.b-c'\"[x]");
        assert_eq!(segment("table", " Order Details/2 ").unwrap(), "@20Order@20Details@2F2@20");
        assert_eq!(segment("table", "..").unwrap(), "@2E@2E");
        assert_eq!(segment("table", "a.b").unwrap(), "a.b");
        assert_eq!(segment("table", "Größe").unwrap(), "Gr@C3@B6@C3@9Fe");
    }

    #[test]
    fn directories_of_others_have_no_source() {
        for name in [" x", "a@2f", "a@2", "a@+F", "a@80", "@41", "..", "a/b", "50%", "ö"] {
            assert_eq!(source_segment(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(matches!(segment("table", ""), Err(SinkError::Name { .. })));
        let long = "表".repeat(29);
        let error = segment("table", &long).unwrap_err();
        assert!(matches!(error, SinkError::NameTooLong { bytes: 261, limit_bytes: 255, .. }), "{error:?}");
    }

    #[test]
    fn names_of_others_have_no_source() {
        for name in ["a b", "a%zz", "%41", "a%2cb", ""] {
            assert_eq!(source_column(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn columns_read_back(name in "\\PC{0,40}|[ ,;{}()=%\\x00-\\x1f\\x7f.a]{0,20}") {
            let mapped = column(&name);
            prop_assert!(!mapped.is_empty());
            let refused = mapped.contains(|c: char| " ,;{}()=".contains(c) || c.is_ascii_control());
            prop_assert!(!refused, "{}", mapped);
            prop_assert_eq!(source_column(&mapped), Some(name));
        }

        #[test]
        fn segments_read_back(name in "\\PC{1,20}|[./\\\\%:* \\x00-\\x1fa]{1,20}") {
            let mapped = segment("table", &name).unwrap();
            let refused = mapped == "." || mapped == ".." || mapped.contains(|c: char| !c.is_ascii_alphanumeric() && !"-._@".contains(c));
            prop_assert!(!refused, "{}", mapped);
            prop_assert_eq!(source_segment(&mapped), Some(name));
        }
    }
}

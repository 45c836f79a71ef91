//! The one mapping of names: reversible, so that the source's name can be read back from the sink's.
//!
//! What Delta or a file system cannot hold is written as `%` and two hexadecimal digits for each byte; `%` itself too, so
//! that no two names meet. Everything above ASCII stays as it is: names of 128 characters in any script then fit more
//! often into a file name's 255 bytes.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use crate::error::SinkError;

/// What an empty name becomes: nothing else is mapped to a lone `%`.
const EMPTY: &str = "%";
/// The longest file name of common file systems.
const MAX_SEGMENT_BYTES: usize = 255;

/// A source column's name as a Delta column's: Parquet's special characters, control characters and `%` are encoded.
///
/// ```
/// use datakit_sinks::delta::names::{column, source_column};
/// assert_eq!(column("Order No."), "Order%20No.");
/// assert_eq!(column("Größe"), "Größe");
/// assert_eq!(source_column("Order%20No."), Some("Order No.".into()));
/// ```
#[must_use]
pub fn column(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    encode(name, |c| c.is_ascii_control() || " ,;{}()=%".contains(c))
}

/// The inverse of [`column`]; none for a name that it does not produce.
#[must_use]
pub fn source_column(name: &str) -> Option<String> {
    let source = decode(name)?;
    (column(&source) == name).then_some(source)
}

/// A source system, schema or table as a directory: everything of ASCII but letters, digits, `-`, `.`, `_` and `~` is
/// encoded, and the dots of a name of dots.
///
/// # Errors
/// An empty name, and one that takes more than 255 bytes.
pub fn segment(what: &'static str, name: &str) -> Result<String, SinkError> {
    if name.is_empty() {
        return Err(SinkError::Name { what, name: String::new(), reason: "it is empty" });
    }
    let only_dots = name.chars().all(|c| c == '.');
    let text = encode(name, |c| c.is_ascii() && (only_dots || !(c.is_ascii_alphanumeric() || "-._~".contains(c))));
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
    let source = decode(segment_text)?;
    (segment("table", &source).ok()? == segment_text).then_some(source)
}

fn encode(name: &str, special: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if special(c) {
            // Only ASCII is special, one byte each. Writing to a String cannot fail.
            let _ = write!(text, "%{:02X}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    if text == EMPTY {
        return Some(String::new());
    }
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
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
        assert_eq!(segment("table", "Order Details/2").unwrap(), "Order%20Details%2F2");
        assert_eq!(segment("table", "..").unwrap(), "%2E%2E");
        assert_eq!(segment("table", "a.b").unwrap(), "a.b");
        assert_eq!(segment("table", "Straße").unwrap(), "Straße");
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        assert!(matches!(segment("table", ""), Err(SinkError::Name { .. })));
        let long = "表".repeat(86);
        let error = segment("table", &long).unwrap_err();
        assert!(matches!(error, SinkError::NameTooLong { bytes: 258, limit_bytes: 255, .. }), "{error:?}");
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
        fn segments_read_back(name in "\\PC{1,40}|[./\\\\%:* \\x00-\\x1fa]{1,20}") {
            let mapped = segment("table", &name).unwrap();
            prop_assert!(mapped != "." && mapped != ".." && !mapped.contains(['/', '\\', ':', '\0']));
            prop_assert_eq!(source_segment(&mapped), Some(name));
        }
    }
}

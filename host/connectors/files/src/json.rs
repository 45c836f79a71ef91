//! Lines that are one JSON object each.
//!
//! `serde_json` says whether a line is one; its members are then found by a scan that needs to know no more than strings
//! and nesting, and keep the text of their values: a number becomes a decimal without ever having been a float.

use std::borrow::Cow;
use std::io;

use serde::de::IgnoredAny;

use super::csv::RAW_BYTES;
use super::input::Input;

/// The lines of a text, one at a time.
pub(super) struct JsonLines {
    input: Input,
    max_line_bytes: usize,
    line: u64,
    next_line: u64,
    offset: u64,
    /// The line in the window; what was over the limit is not in it any more.
    length: usize,
    taken: usize,
    too_long: bool,
    start_of_long: Vec<u8>,
}

impl JsonLines {
    pub(super) fn new(input: Input, max_line_bytes: usize) -> Self {
        Self {
            input,
            max_line_bytes,
            line: 0,
            next_line: 1,
            offset: 0,
            length: 0,
            taken: 0,
            too_long: false,
            start_of_long: Vec::new(),
        }
    }

    /// Goes to the next line that is not empty; false at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.input.take(self.taken);
            (self.length, self.taken, self.too_long) = (0, 0, false);
            self.offset = self.input.position();
            (self.line, self.next_line) = (self.next_line, self.next_line + 1);
            if !self.find_end()? {
                return Ok(false);
            }
            if self.too_long || !self.raw().is_empty() {
                return Ok(true);
            }
        }
    }

    fn find_end(&mut self) -> io::Result<bool> {
        let mut searched = 0;
        loop {
            let window = self.input.window();
            if let Some(end) = memchr::memchr(b'\n', &window[searched..]) {
                self.length = searched + end;
                self.taken = self.length + 1;
                self.check_length();
                return Ok(true);
            }
            searched = window.len();
            if searched > self.max_line_bytes {
                self.cut();
                self.input.take(searched);
                searched = 0;
            }
            if !self.input.fill()? {
                self.length = self.input.window().len();
                self.taken = self.length;
                self.check_length();
                return Ok(self.length > 0 || self.too_long);
            }
        }
    }

    fn check_length(&mut self) {
        if self.too_long || self.length > self.max_line_bytes {
            self.cut();
        }
    }

    /// Keeps the start of a line that is too long, once.
    fn cut(&mut self) {
        if !self.too_long {
            self.too_long = true;
            let window = self.input.window();
            self.start_of_long = window[..window.len().min(RAW_BYTES)].to_vec();
        }
    }

    /// The number of the line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The byte of the text that the line begins at.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line as it stands in the file, without the blanks around it.
    pub(super) fn raw(&self) -> &[u8] {
        if self.too_long { &self.start_of_long } else { self.input.window()[..self.length].trim_ascii() }
    }

    /// The object's members in their order, into `members`, or why there is none.
    pub(super) fn members<'a>(&'a self, members: &mut Vec<(Cow<'a, str>, &'a str)>) -> Result<(), String> {
        members.clear();
        if self.too_long {
            return Err("the line is longer than `max_line_bytes`".to_owned());
        }
        let text = std::str::from_utf8(self.raw()).map_err(|_| "the line is no text in the file's encoding")?;
        split(text, members)
    }
}

/// The members of an object, with the text of their values.
pub(super) fn split<'a>(text: &'a str, members: &mut Vec<(Cow<'a, str>, &'a str)>) -> Result<(), String> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("the line is no JSON: {}", position(&error)))?;
    split_valid(text, members)
}

/// The same of a text that is known to be JSON.
pub(super) fn split_valid<'a>(text: &'a str, members: &mut Vec<(Cow<'a, str>, &'a str)>) -> Result<(), String> {
    let mut scan = Scan { text, at: 0 };
    if !scan.skip(b'{') {
        return Err("it is JSON, but no object".to_owned());
    }
    if scan.skip(b'}') {
        return Ok(());
    }
    loop {
        let key = string(scan.value()).ok_or_else(|| "a key of the object is no valid text".to_owned())?;
        scan.skip(b':');
        members.push((key, scan.value()));
        if !scan.skip(b',') {
            return Ok(());
        }
    }
}

/// Without its line, which is always the first.
pub(super) fn position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    format!("{what} at column {}", error.column())
}

/// The text of a JSON string, with its quotes; none when it escapes half of a surrogate pair.
pub(super) fn string(quoted: &str) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str::<String>(quoted).ok().map(Cow::Owned),
    }
}

/// A walk through text that is known to be JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn blanks(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    /// Passes over this byte, if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// The text of the next value.
    fn value(&mut self) -> &'a str {
        self.blanks();
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut depth = 0_usize;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => self.pass_string(),
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b']' | b',' | b':' if depth == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default().trim_ascii_end()
    }

    /// From the opening quote to the closing one.
    fn pass_string(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[self.at + 1..]) else { return };
            self.at += 1 + found;
            if bytes[self.at] == b'"' || self.at + 1 >= bytes.len() {
                return;
            }
            // Whatever is escaped is no end.
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use proptest::prelude::*;

    use super::*;
    use crate::request::Format;

    type Line = (u64, u64, Result<Vec<(String, String)>, String>);

    fn lines(text: &[u8], max_line_bytes: usize) -> Vec<Line> {
        let input = Input::new(Cursor::new(text.to_vec()), "f", &Format::default(), 1000).unwrap();
        let mut lines = JsonLines::new(input, max_line_bytes);
        let mut all = Vec::new();
        while lines.advance().unwrap() {
            let mut members = Vec::new();
            let read = lines.members(&mut members);
            let members = members.into_iter().map(|(k, v)| (k.into_owned(), v.to_owned())).collect();
            all.push((lines.line(), lines.offset(), read.map(|()| members)));
        }
        all
    }

    fn member(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn members_keep_the_text_of_their_values() {
        let text = br#"{"a": 1.10 , "b\n":{"x":[1,"}"]},"c":"d,\"e","f":null}"#;
        let expected = vec![
            member("a", "1.10"),
            member("b\n", r#"{"x":[1,"}"]}"#),
            member("c", r#""d,\"e""#),
            member("f", "null"),
        ];
        assert_eq!(lines(text, 100), [(1, 0, Ok(expected))]);
        assert_eq!(lines(b"\n{}\r\n\n { } ", 100), [(2, 1, Ok(vec![])), (4, 6, Ok(vec![]))]);
    }

    #[test]
    fn bad_lines_do_not_take_the_others_with_them() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000_000));
        let text = format!("[1]\n{{\"a\":}}\n{long}\n{{\"a\":1}}\nnull\n{{\"a\":1}}x\n");
        let read = lines(text.as_bytes(), 1000);
        let errors: Vec<String> = read.iter().map(|(line, _, r)| format!("{line} {:?}", r.as_ref().err())).collect();
        assert_eq!(
            errors,
            [
                "1 Some(\"it is JSON, but no object\")",
                "2 Some(\"the line is no JSON: expected value at column 6\")",
                "3 Some(\"the line is longer than `max_line_bytes`\")",
                "4 None",
                "5 Some(\"it is JSON, but no object\")",
                "6 Some(\"the line is no JSON: trailing characters at column 8\")",
            ]
        );
        assert!(lines(b"{\"a\":\"\xff\"}", 100)[0].2.is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(lines(deep.as_bytes(), 1 << 20).len(), 1, "neither crash nor endless");
    }

    #[test]
    fn an_endless_line_costs_no_memory() {
        let input = Input::new(io::repeat(b'x').take(50 << 20), "f", &Format::default(), 1000).unwrap();
        let mut lines = JsonLines::new(input, 1 << 20);
        assert!(lines.advance().unwrap());
        assert!(lines.members(&mut Vec::new()).is_err());
        assert_eq!(lines.raw().len(), RAW_BYTES);
        assert!(!lines.advance().unwrap());
    }

    proptest! {
        #[test]
        fn objects_come_back(pairs in prop::collection::vec((any::<String>(), any::<String>(), any::<i64>()), 0..6)) {
            let mut object = String::from("{");
            for (i, (key, value, number)) in pairs.iter().enumerate() {
                let comma = if i == 0 { "" } else { " , " };
                let value = serde_json::json!([value, number, {"x": value}]);
                object += &format!("{comma}{}\t: {value}", serde_json::Value::from(key.as_str()));
            }
            object.push('}');
            let mut members = Vec::new();
            split(&object, &mut members).unwrap();
            prop_assert_eq!(members.len(), pairs.len());
            for ((key, value), (k, v, n)) in members.iter().zip(&pairs) {
                prop_assert_eq!(key.as_ref(), k.as_str());
                let value: serde_json::Value = serde_json::from_str(value).unwrap();
                prop_assert_eq!(value, serde_json::json!([v, n, {"x": v}]));
            }
        }

        #[test]
        fn any_line_is_an_object_or_none(text in any::<String>(), json in "[\\[\\]{}\",:a1 \\\\]{0,40}") {
            for text in [text, json] {
                let _ = split(&text, &mut Vec::new());
            }
        }
    }
}

//! JSON documents: an array of objects, or objects one after the other, whatever lines they take.
//!
//! Lines can be told apart when one of them is broken; the values of a document cannot. So a document with invalid JSON fails as
//! a whole, as it does with every reader of JSON, and a value that is valid and no row of the table is a bad row.

use std::borrow::Cow;
use std::io;

use serde::de::IgnoredAny;

use super::input::Input;
use super::json::{self, JsonLines};
use super::request::FormatKind;

/// What is looked at to tell a document from lines, in bytes.
const PEEKED_BYTES: usize = 64 << 10;
/// Arrays and objects within one another: far more than the parser of the values takes.
const MAX_NESTING: usize = 10_000;

/// A document that is not JSON, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("the JSON document is broken in line {line}: {problem}")]
pub(super) struct Broken {
    /// From 1.
    pub(super) line: u64,
    pub(super) problem: String,
}

/// The objects of a file, one at a time.
pub(super) enum JsonRecords {
    Lines(JsonLines),
    Document(JsonDocument),
}

impl JsonRecords {
    pub(super) fn new(mut input: Input, kind: FormatKind, max_bytes: usize) -> io::Result<Self> {
        let is_document = kind == FormatKind::Json && is_document(&mut input)?;
        Ok(match is_document {
            true => Self::Document(JsonDocument::new(input, max_bytes)),
            false => Self::Lines(JsonLines::new(input, max_bytes)),
        })
    }

    /// Goes to the next record; false at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        match self {
            Self::Lines(lines) => lines.advance(),
            Self::Document(document) => document.advance(),
        }
    }

    /// The line that the record begins at, from 1.
    pub(super) fn line(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.line(),
            Self::Document(document) => document.line,
        }
    }

    /// The byte of the text that the record begins at, where files are read in parts.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.offset(),
            Self::Document(_) => 0,
        }
    }

    /// The record as it stands in the file, without the blanks around it.
    pub(super) fn raw(&self) -> &[u8] {
        match self {
            Self::Lines(lines) => lines.raw(),
            Self::Document(document) => &document.value,
        }
    }

    /// The object's members in their order, into `members`, or why there is none.
    pub(super) fn members<'a>(&'a self, members: &mut Vec<(Cow<'a, str>, &'a str)>) -> Result<(), String> {
        match self {
            Self::Lines(lines) => lines.members(members),
            Self::Document(document) => document.members(members),
        }
    }
}

/// Whether a file is one document: it begins with `[`, or with an object that goes on in its second line. Takes nothing.
pub(super) fn is_document(input: &mut Input) -> io::Result<bool> {
    let Some(start) = next_text(input, 0)? else { return Ok(false) };
    match input.window()[start] {
        b'[' => return Ok(true),
        b'{' => {}
        _ => return Ok(false),
    }
    let end = loop {
        match memchr::memchr(b'\n', &input.window()[start..]) {
            Some(end) => break start + end,
            None if input.window().len() > PEEKED_BYTES || !input.fill()? => return Ok(false),
            None => {}
        }
    };
    let is_cut = serde_json::from_slice::<IgnoredAny>(&input.window()[start..end]).is_err_and(|error| error.is_eof());
    let next = next_text(input, end)?;
    // A broken line would be followed by another object.
    Ok(is_cut && next.is_some_and(|next| matches!(input.window()[next], b'"' | b'}')))
}

/// Where the first byte that is not blank is in the window, from a place on.
fn next_text(input: &mut Input, from: usize) -> io::Result<Option<usize>> {
    loop {
        match input.window().iter().skip(from).position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(Some(from + at)),
            None if input.window().len() > PEEKED_BYTES || !input.fill()? => return Ok(None),
            None => {}
        }
    }
}

/// Where in a document one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind the `[`.
    FirstOfArray,
    /// Behind a value of the array.
    InArray,
    /// Behind the `]`.
    End,
    /// Among values that follow one another.
    Values,
}

/// The values of a document, one at a time.
pub(super) struct JsonDocument {
    input: Input,
    max_bytes: usize,
    place: Place,
    /// Where the text goes on, and where the value begins.
    next_line: u64,
    line: u64,
    value: Vec<u8>,
}

impl JsonDocument {
    fn new(input: Input, max_bytes: usize) -> Self {
        Self { input, max_bytes, place: Place::Start, next_line: 1, line: 1, value: Vec::new() }
    }

    fn broken(&self, problem: impl Into<String>) -> io::Error {
        io::Error::other(Broken { line: self.next_line, problem: problem.into() })
    }

    /// Goes to the next value; false at the end.
    ///
    /// # Errors
    /// The text cannot be read; or, as [`Broken`], it is no JSON.
    fn advance(&mut self) -> io::Result<bool> {
        let mut next = self.next_byte()?;
        if self.place == Place::Start {
            self.place = if next == Some(b'[') { Place::FirstOfArray } else { Place::Values };
            if next == Some(b'[') {
                next = self.pass_byte()?;
            }
        }
        match (self.place, next) {
            (Place::Values | Place::End, None) => return Ok(false),
            (Place::End, Some(_)) => return Err(self.broken("text follows the array")),
            (_, None) => return Err(self.broken("the array is not closed before the end of the file")),
            (Place::FirstOfArray | Place::InArray, Some(b']')) => {
                self.place = Place::End;
                return match self.pass_byte()? {
                    None => Ok(false),
                    Some(_) => Err(self.broken("text follows the array")),
                };
            }
            (Place::InArray, Some(b',')) => {
                self.pass_byte()?;
            }
            (Place::InArray, Some(_)) => return Err(self.broken("a comma is missing between two values of the array")),
            (Place::Start | Place::FirstOfArray | Place::Values, Some(_)) => {}
        }
        if self.place == Place::FirstOfArray {
            self.place = Place::InArray;
        }
        self.read_value()?;
        Ok(true)
    }

    /// Passes over blanks: the byte behind them, which is not taken.
    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        loop {
            let window = self.input.window();
            let blanks = window.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.next_line += memchr::memchr_iter(b'\n', &window[..blanks]).count() as u64;
            let next = window.get(blanks).copied();
            self.input.take(blanks);
            if next.is_some() || !self.input.fill()? {
                return Ok(next);
            }
        }
    }

    /// The same behind the current byte.
    fn pass_byte(&mut self) -> io::Result<Option<u8>> {
        self.input.take(1);
        self.next_byte()
    }

    fn read_value(&mut self) -> io::Result<()> {
        self.line = self.next_line;
        self.value.clear();
        let mut scan = Scan::default();
        loop {
            if self.input.window().is_empty() && !self.input.fill()? {
                if !scan.may_end() || self.value.is_empty() {
                    return Err(self.broken("a value is not complete before the end of the file"));
                }
                break;
            }
            let window = self.input.window();
            let (taken, is_end) = scan.pass(window).map_err(|problem| self.broken(problem))?;
            self.value.extend_from_slice(&window[..taken]);
            self.next_line += memchr::memchr_iter(b'\n', &window[..taken]).count() as u64;
            self.input.take(taken);
            if self.value.len() > self.max_bytes {
                return Err(self.broken("a value is longer than `max_line_bytes`"));
            }
            if is_end {
                break;
            }
        }
        if self.value.is_empty() {
            return Err(self.broken("a value is missing"));
        }
        // What is no text has its brackets and quotes nevertheless, and is a bad row.
        let Ok(text) = std::str::from_utf8(&self.value) else { return Ok(()) };
        serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| {
            let line = self.line + u64::try_from(error.line()).unwrap_or(1).saturating_sub(1);
            io::Error::other(Broken { line, problem: json::position(&error) })
        })
    }

    fn members<'a>(&'a self, members: &mut Vec<(Cow<'a, str>, &'a str)>) -> Result<(), String> {
        members.clear();
        let text = std::str::from_utf8(&self.value).map_err(|_| "the value is no text in the file's encoding")?;
        json::split_valid(text, members)
    }
}

/// The search for the end of a value.
#[derive(Debug, Default)]
struct Scan {
    /// What closes the arrays and objects that are open.
    open: Vec<u8>,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Whether the end of the text may be the end of the value.
    fn may_end(&self) -> bool {
        self.open.is_empty() && !self.in_string
    }

    /// How many bytes of a text belong to the value, and whether it ends there.
    fn pass(&mut self, text: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            at += 1;
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_string = false,
                    _ => at += memchr::memchr2(b'"', b'\\', &text[at..]).unwrap_or(text.len() - at),
                }
                if self.may_end() {
                    return Ok((at, true));
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.open.len() >= MAX_NESTING => return Err("values are nested too deep"),
                b'{' => self.open.push(b'}'),
                b'[' => self.open.push(b']'),
                b'}' | b']' => match self.open.pop() {
                    Some(closing) if closing != *byte => return Err("a bracket is closed by another one"),
                    Some(_) if self.open.is_empty() => return Ok((at, true)),
                    Some(_) => {}
                    None => return Ok((at - 1, true)),
                },
                b',' if self.open.is_empty() => return Ok((at - 1, true)),
                blank if self.open.is_empty() && blank.is_ascii_whitespace() => return Ok((at - 1, true)),
                _ => {}
            }
        }
        Ok((at, false))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::request::Format;

    type Values = Result<Vec<(u64, String)>, String>;

    fn values(text: &str, max_bytes: usize) -> Values {
        let input = Input::new(Cursor::new(text.as_bytes().to_vec()), "f", &Format::default(), 1000).unwrap();
        let mut records = JsonRecords::new(input, FormatKind::Json, max_bytes).unwrap();
        let mut all = Vec::new();
        while records.advance().map_err(|error| error.to_string())? {
            all.push((records.line(), String::from_utf8_lossy(records.raw()).into_owned()));
        }
        Ok(all)
    }

    fn told(list: &[(u64, &str)]) -> Values {
        Ok(list.iter().map(|(line, text)| (*line, (*text).to_owned())).collect())
    }

    #[test]
    fn document_is_read_whatever_lines_it_takes() {
        assert_eq!(values("[{\"a\":1},{\"a\":2}]\n", 100), told(&[(1, "{\"a\":1}"), (1, "{\"a\":2}")]));
        let pretty = "\n[\n  {\n    \"a\": \"]},\\\"\"\n  },\n  7 ,\n  \"x\",null]\n\n";
        let object = "{\n    \"a\": \"]},\\\"\"\n  }";
        assert_eq!(values(pretty, 100), told(&[(3, object), (6, "7"), (7, "\"x\""), (7, "null")]));
        assert_eq!(values("{\n\"a\": 1\n}\n{\n}", 100), told(&[(1, "{\n\"a\": 1\n}"), (4, "{\n}")]));
        assert_eq!(values(" [ ] ", 100), told(&[]));
        assert_eq!(values("", 100), told(&[]));
    }

    #[test]
    fn lines_of_objects_are_no_document() {
        assert_eq!(values("{\"a\":1}\n{\"a\":2}\n", 100), told(&[(1, "{\"a\":1}"), (2, "{\"a\":2}")]));
        let cut = values("{\"a\": \n{\"a\":2}\n", 100);
        assert_eq!(cut, told(&[(1, "{\"a\":"), (2, "{\"a\":2}")]), "a broken line costs itself");
        assert_eq!(values("x\n{\"a\":2}\n", 100), told(&[(1, "x"), (2, "{\"a\":2}")]));
    }

    #[test]
    fn broken_document_fails_with_its_line() {
        let failure = |text: &str| values(text, 20).unwrap_err();
        let prefix = "the JSON document is broken in line ";
        for (text, problem) in [
            ("[{\"a\":1}\n{\"a\":2}]", "2: a comma is missing between two values of the array"),
            ("[{\"a\":1},\n", "2: a value is not complete before the end of the file"),
            ("[{\"a\":1}\n", "2: the array is not closed before the end of the file"),
            ("[{\"a\":1}]\n[]", "2: text follows the array"),
            ("[1,,2]", "1: a value is missing"),
            ("[1,]", "1: a value is missing"),
            ("[{\"a\":1]]", "1: a bracket is closed by another one"),
            ("[{\"a\":}]", "1: expected value at column 6"),
            ("[\n\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]", "2: a value is longer than `max_line_bytes`"),
            ("[\"a]", "1: a value is not complete before the end of the file"),
        ] {
            assert_eq!(failure(text), format!("{prefix}{problem}"), "{text:?}");
        }
        let deep = format!("[{}", "[".repeat(100_000));
        assert!(values(&deep, 1 << 20).unwrap_err().contains("nested too deep"));
    }
}

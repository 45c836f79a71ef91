//! Records of delimited fields, by `csv-core`.

use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::input::{Input, LineEnds};
use super::quotes::Quotes;
use super::request::Format;

/// What is kept of a record as it stands in the file, in bytes.
pub(super) const RAW_BYTES: usize = 1024;
/// Fields that a record may have; tables have fewer columns by far.
const MAX_FIELDS: usize = 16_384;

const TOO_LONG: &str = "the record is longer than `max_line_bytes`";
const NOT_TEXT: &str = "the record is no text in the file's encoding";
const TEXT_BEHIND_QUOTE: &str = "text follows a closing quote";

/// A quote that takes the lines after it into its record, so that nobody can tell how many rows are lost in it.
#[derive(Debug, thiserror::Error)]
#[error("the record of line {line} opens a quote that {problem}")]
pub(super) struct OpenQuote {
    /// Where the record begins.
    pub(super) line: u64,
    pub(super) problem: &'static str,
}

/// The records of a text, one at a time.
pub(super) struct CsvRecords {
    input: Input,
    parser: Reader,
    quotes: Option<Quotes>,
    comment: Option<u8>,
    max_record_bytes: usize,
    /// Whether an empty line is a record of one empty field.
    keeps_empty_lines: bool,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_length: usize,
    fields: usize,
    raw: Vec<u8>,
    line: u64,
    offset: u64,
    /// Ends of lines that the record has taken so far, of those within its parts that were looked at.
    lines: Lines,
    /// The byte that was taken last, where it ended a record or a line. A line that ended with `\r` is not counted yet: a `\n`
    /// may be the rest of its end.
    last: Option<u8>,
    problem: Option<&'static str>,
}

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Text, or the end of the file.
    Text,
    /// The end of a line.
    EmptyLine,
}

/// Whether a text goes on behind the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    One,
    Ended,
    Several,
}

impl Lines {
    fn and(self, text: &[u8]) -> Self {
        let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let rest = match self {
            Self::Several => return self,
            Self::Ended => text,
            Self::One => match memchr::memchr2(b'\r', b'\n', text) {
                Some(end) => &text[end..],
                None => return self,
            },
        };
        if rest.iter().all(is_end) { Self::Ended } else { Self::Several }
    }
}

impl CsvRecords {
    pub(super) fn new(input: Input, format: &Format, max_record_bytes: usize) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(Format::byte(format.delimiter));
        match format.quote {
            Some(quote) => builder.quote(Format::byte(quote)),
            None => builder.quoting(false),
        };
        builder.escape(format.escape.map(Format::byte));
        let mut parser = builder.build();
        // From its second call on the parser takes nothing for a byte order mark: the file's own is gone already.
        parser.read_record(&[], &mut [], &mut []);
        Self {
            input,
            parser,
            quotes: Quotes::of(format),
            comment: format.comment.map(Format::byte),
            max_record_bytes,
            keeps_empty_lines: false,
            text: vec![0; 4096],
            ends: vec![0; 64],
            text_length: 0,
            fields: 0,
            raw: Vec::with_capacity(RAW_BYTES),
            line: 1,
            offset: 0,
            lines: Lines::One,
            last: None,
            problem: None,
        }
    }

    /// From here on an empty line is a record of one empty field, as it is in a file of one column. Where records have more fields,
    /// an empty line is no record.
    pub(super) fn keep_empty_lines(&mut self, keeps: bool) {
        self.keeps_empty_lines = keeps;
    }

    /// Passes over whole lines before the first record.
    pub(super) fn skip_lines(&mut self, lines: u32) -> io::Result<()> {
        for _ in 0..lines {
            if !self.input.pass_line(LineEnds::NewlineOrReturn)? {
                return Ok(());
            }
            self.count_line();
        }
        Ok(())
    }

    /// Goes to the next record; false at the end.
    ///
    /// # Errors
    /// The text cannot be read; or, as [`OpenQuote`], a quote is opened that does not close where it should.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        (self.text_length, self.fields, self.problem, self.lines) = (0, 0, None, Lines::One);
        self.raw.clear();
        if let Some(quotes) = &mut self.quotes {
            quotes.begin();
        }
        let is_empty = self.skip_to_record()? == Start::EmptyLine;
        self.line = self.parser.line();
        self.offset = self.input.position();
        if is_empty {
            self.take_empty_line();
            return Ok(true);
        }
        let (mut taken, mut is_open) = (0_u64, false);
        loop {
            let at_end = self.input.window().is_empty() && !self.input.fill()?;
            // The end of the file is told as the end of a line first, which ends no record within quotes.
            let window = match (at_end, is_open) {
                (false, _) => self.input.window(),
                (true, false) => b"\n",
                (true, true) => &[],
            };
            let (result, read, written, fields) =
                self.parser.read_record(window, &mut self.text[self.text_length..], &mut self.ends[self.fields..]);
            is_open |= at_end && read > 0 && result == ReadRecordResult::InputEmpty;
            let part = if at_end { &[] } else { &window[..read] };
            let kept = part.len().min(RAW_BYTES - self.raw.len());
            self.raw.extend_from_slice(&part[..kept]);
            taken += part.len() as u64;
            let is_long = taken > self.max_record_bytes as u64;
            if self.quotes.as_mut().is_some_and(|quotes| !quotes.follow(part)) {
                self.problem.get_or_insert(TEXT_BEHIND_QUOTE);
            }
            // Of most records there is but one part, which nobody has to look at again.
            if is_long || self.problem.is_some() || result != ReadRecordResult::Record {
                self.lines = self.lines.and(part);
            }
            self.last = window[..read].last().copied();
            let read = part.len();
            self.input.take(read);
            self.text_length += written;
            self.fields += fields;
            if is_long {
                self.give_up();
            }
            if is_long && self.lines == Lines::Several {
                return Err(self.open_quote("does not close within `max_line_bytes`"));
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow_text(),
                ReadRecordResult::OutputEndsFull => self.grow_ends(),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(false),
            }
        }
        if is_open && self.lines == Lines::Several {
            return Err(self.open_quote("does not close before the end of the file"));
        }
        if is_open {
            self.problem.get_or_insert("a quote is opened and not closed");
            // It is of one line: what ends the file is none of its own.
            self.parser.set_line(self.line);
            self.last = None;
        }
        Ok(true)
    }

    fn open_quote(&self, problem: &'static str) -> io::Error {
        io::Error::other(OpenQuote { line: self.line, problem })
    }

    fn count_line(&mut self) {
        self.parser.set_line(self.parser.line() + 1);
    }

    /// Passes over empty lines and comments, which the parser would take for the start of the record after them.
    fn skip_to_record(&mut self) -> io::Result<Start> {
        loop {
            let Some(first) = self.input.window().first().copied() else {
                if self.input.fill()? {
                    continue;
                }
                return Ok(Start::Text);
            };
            let is_end = matches!(first, b'\r' | b'\n');
            let is_rest_of_end = first == b'\n' && self.last == Some(b'\r');
            let is_empty_line = is_end && !is_rest_of_end && self.keeps_empty_lines;
            // The parser counts lines by `\n`; a `\r` without one is counted here.
            if self.last == Some(b'\r') || (first == b'\n' && !is_empty_line) {
                self.count_line();
            }
            if is_empty_line {
                return Ok(Start::EmptyLine);
            }
            self.last = is_end.then_some(first);
            if is_end {
                self.input.take(1);
            } else if self.comment == Some(first) {
                if self.input.pass_line(LineEnds::NewlineOrReturn)? {
                    self.count_line();
                }
            } else {
                return Ok(Start::Text);
            }
        }
    }

    /// Makes the end of a line at the window's start a record.
    fn take_empty_line(&mut self) {
        self.last = self.input.window().first().copied();
        if self.last == Some(b'\n') {
            self.count_line();
        }
        self.input.take(1);
        (self.ends[0], self.fields) = (0, 1);
    }

    fn grow_text(&mut self) {
        if self.problem.is_some() || self.text.len() > self.max_record_bytes {
            self.give_up();
        } else {
            self.text.resize(self.text.len() * 2, 0);
        }
    }

    fn grow_ends(&mut self) {
        if self.problem.is_some() || self.ends.len() >= MAX_FIELDS {
            self.problem.get_or_insert("the record has too many fields");
            self.fields = 0;
        } else {
            self.ends.resize(self.ends.len() * 2, 0);
        }
    }

    /// From here on nothing of the record is kept.
    fn give_up(&mut self) {
        self.problem.get_or_insert(TOO_LONG);
        (self.text_length, self.fields) = (0, 0);
    }

    /// The line that the record begins at, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Lines that the record has: more than one by quotes alone, or by one too many.
    pub(super) fn lines(&self) -> u64 {
        self.parser.line() - self.line + u64::from(self.last != Some(b'\n'))
    }

    /// The byte of the text that the record begins at.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The byte behind what has been taken.
    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// The record as it stands in the file, cut.
    pub(super) fn raw(&self) -> &[u8] {
        self.raw.trim_ascii_start().trim_ascii_end()
    }

    /// The fields of the record, or why it has none.
    pub(super) fn fields(&self) -> Result<Fields<'_>, &'static str> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let text = &self.text[..self.text_length];
        let text = std::str::from_utf8(text).map_err(|_| NOT_TEXT)?;
        let ends = &self.ends[..self.fields];
        // Without the delimiters between them, parts of a character can come together.
        if !ends.iter().all(|end| text.is_char_boundary(*end)) {
            return Err(NOT_TEXT);
        }
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err("the record holds a NUL character; is the file of another `encoding`?");
        }
        Ok(Fields { text, ends })
    }
}

/// The fields of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a str> {
        let start = match index {
            0 => 0,
            _ => *self.ends.get(index - 1)?,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = &'a str> {
        (0..self.len()).filter_map(move |index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    type Read = (u64, Result<Vec<String>, &'static str>);

    fn records(text: &str, format: &Format, max_record_bytes: usize) -> Vec<Read> {
        let input = Input::new(Cursor::new(text.as_bytes().to_vec()), "f", format, 1000).unwrap();
        let mut records = CsvRecords::new(input, format, max_record_bytes);
        records.skip_lines(format.skip_lines).unwrap();
        let mut all = Vec::new();
        while records.advance().unwrap() {
            all.push((records.line(), records.fields().map(|fields| fields.iter().map(str::to_owned).collect())));
        }
        all
    }

    fn fields(list: &[&str]) -> Result<Vec<String>, &'static str> {
        Ok(list.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn text_behind_a_closing_quote_makes_a_bad_row() {
        let format = Format::default();
        let problem = Err(TEXT_BEHIND_QUOTE);
        let merged = records("1,\"a,x\n2,\"b\",y\n3,c,z\n", &format, 100);
        assert_eq!(merged, [(1, problem.clone()), (3, fields(&["3", "c", "z"]))]);
        assert_eq!(records("\"a\"b\n", &format, 100), [(1, problem.clone())]);
        assert_eq!(records("\"a\" ,\"b\"\n", &format, 100), [(1, problem)]);
        let trimming = Format { trim: true, ..Format::default() };
        assert_eq!(records("\"a\" ,\"b\"\n", &trimming, 100), [(1, fields(&["a ", "b"]))]);
    }

    #[test]
    fn empty_lines_of_one_column_are_records_of_an_empty_field() {
        let format = Format { comment: Some('#'), ..Format::default() };
        for newline in ["\n", "\r", "\r\n"] {
            let text = ["", "a", "1", "", "#no", "3", "", "\"\"", "", ""].join(newline);
            let input = Input::new(Cursor::new(text.into_bytes()), "f", &format, 1000).unwrap();
            let mut records = CsvRecords::new(input, &format, 100);
            assert!(records.advance().unwrap());
            records.keep_empty_lines(true);
            let mut read = vec![(records.line(), records.lines(), 1)];
            while records.advance().unwrap() {
                let fields: Vec<&str> = records.fields().unwrap().iter().collect();
                assert_eq!(fields.len(), 1);
                read.push((records.line(), records.lines(), fields[0].len()));
            }
            let expected = [(2, 1, 1), (3, 1, 1), (4, 1, 0), (6, 1, 1), (7, 1, 0), (8, 1, 0), (9, 1, 0)];
            assert_eq!(read, expected, "{newline:?}");
        }
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        let format = Format::default();
        let expected = vec![(1, fields(&["a", "b"])), (2, fields(&["x\r\ny", "\"z\""])), (5, fields(&["", ""]))];
        assert_eq!(records("a,b\r\n\"x\r\ny\",\"\"\"z\"\"\"\r\n\r\n,", &format, 100), expected);
        let skipping = Format { skip_lines: 2, comment: Some('#'), ..Format::default() };
        assert_eq!(records("title\n\n#no\na\n", &skipping, 100).last().unwrap(), &(4, fields(&["a"])));
        assert_eq!(records("title", &skipping, 100), []);
    }

    #[test]
    fn bad_records_do_not_take_the_others_with_them() {
        let long = "x".repeat(1_000_000);
        let text = format!("a,b\n{long},1\nc,d\n\0,e\n");
        let read = records(&text, &Format::default(), 1000);
        assert_eq!(
            read.iter().map(|(line, record)| (*line, record.is_ok())).collect::<Vec<_>>(),
            [(1, true), (2, false), (3, true), (4, false)]
        );
        assert_eq!(read[1].1, Err("the record is longer than `max_line_bytes`"));
        assert_eq!(read[2].1, fields(&["c", "d"]));
        let many = records(&format!("{}\na\n", ",".repeat(20_000)), &Format::default(), 100_000);
        assert_eq!((many[0].1.is_err(), &many[1].1), (true, &fields(&["a"])));
    }

    #[test]
    fn the_end_of_a_file_ends_a_record_that_is_not_within_quotes() {
        let last = |text: &str, format: &Format| records(text, format, 1000).pop().unwrap().1;
        let format = Format::default();
        let escaping = Format { escape: Some('\\'), ..Format::default() };
        for (text, expected) in [
            ("a\n\"c\"", &["c"][..]),
            ("a\n1,5\" pipe", &["1", "5\" pipe"]),
            ("a\n\"c\"\"\"", &["c\""]),
            ("a\n1,", &["1", ""]),
            ("a\n\"x\ny\"", &["x\ny"]),
        ] {
            assert_eq!(last(text, &format), fields(expected), "{text:?}");
        }
        for (text, expected) in [(r#""a\"b""#, r#"a"b"#), (r#""a\\""#, r"a\"), (r#""a""b""#, r#"a"b"#)] {
            assert_eq!(last(text, &escaping), fields(&[expected]), "{text:?}");
        }
        let open = Err("a quote is opened and not closed");
        for text in ["a\n1,\"5", "a\n\"c\"\"", "a\n\"c\n", "a\n\""] {
            assert_eq!(last(text, &format), open, "{text:?}");
        }
        assert_eq!(last(r#""a\""#, &escaping), open);
    }

    #[test]
    fn a_quote_does_not_take_other_lines_with_it() {
        let told = |text: &str, max_record_bytes: usize| {
            let input = Input::new(Cursor::new(text.as_bytes().to_vec()), "f", &Format::default(), 1000).unwrap();
            let mut records = CsvRecords::new(input, &Format::default(), max_record_bytes);
            loop {
                match records.advance() {
                    Ok(true) => {}
                    Ok(false) => panic!("{text:?} was read to its end"),
                    Err(error) => break error.downcast::<OpenQuote>().unwrap().to_string(),
                }
            }
        };
        let rest = "e,f\n".repeat(100);
        let ends = "the record of line 2 opens a quote that does not close before the end of the file";
        assert_eq!(told("a,b\nc,\"d\ne,f\n", 1000), ends);
        assert_eq!(told("a,b\rc,\"d\re,f\r", 1000), ends);
        let long = "the record of line 3 opens a quote that does not close within `max_line_bytes`";
        assert_eq!(told(&format!("a,b\n\nc,\"d\n{rest}"), 300), long);
        assert_eq!(told(&format!("a,b\n\nc,\"d\n{rest}\",x\n"), 300), long, "closed too late");
        assert_eq!(told(&format!("a,b\n\n\"{}\n{rest}", "x".repeat(1_000_000)), 300), long);
    }

    #[test]
    fn a_record_knows_how_many_lines_it_has() {
        for newline in ["\n", "\r\n"] {
            let text = ["a,b", "\"x", "y\",1", "", "c,d", "\"", "", "\",1", "5,\"open", ""].join(newline);
            let input = Input::new(Cursor::new(text.into_bytes()), "f", &Format::default(), 1000).unwrap();
            let mut records = CsvRecords::new(input, &Format::default(), 100);
            let mut lines = Vec::new();
            while records.advance().unwrap() {
                lines.push((records.line(), records.lines()));
            }
            assert_eq!(lines, [(1, 1), (2, 2), (5, 1), (6, 3), (9, 1)], "{newline:?}");
        }
    }

    #[test]
    fn a_return_ends_lines_of_all_kinds() {
        let format = Format { skip_lines: 1, comment: Some('#'), quote: None, ..Format::default() };
        let expected = vec![(4, fields(&["a", "b"])), (6, fields(&["c", "d"])), (7, fields(&["e", "f"]))];
        for newline in ["\n", "\r", "\r\n"] {
            let text = ["title", "", "#no", "a,b", "#no,", "c,d", "e,f"].join(newline);
            assert_eq!(records(&text, &format, 100), expected, "{newline:?}");
        }
    }

    #[test]
    fn only_a_file_begins_with_a_mark() {
        let format = Format { skip_lines: 1, ..Format::default() };
        assert_eq!(records("title\n\u{feff}a\n", &format, 100), [(2, fields(&["\u{feff}a"]))]);
        assert_eq!(records("\u{feff}a\n", &Format::default(), 100), [(1, fields(&["a"]))]);
    }

    #[test]
    fn an_endless_record_costs_no_memory() {
        let input = Input::new(io::repeat(b'x').take(50 << 20), "f", &Format::default(), 1000).unwrap();
        let mut records = CsvRecords::new(input, &Format::default(), 1 << 20);
        assert!(records.advance().unwrap());
        assert!(records.fields().is_err());
        assert!(records.text.len() <= 2 << 20);
        assert_eq!(records.raw().len(), RAW_BYTES);
        assert!(!records.advance().unwrap());
    }

    use std::io::Read as _;

    fn quoted(field: &str, format: &Format) -> String {
        let quote = format.quote.unwrap();
        format!("{quote}{}{quote}", field.replace(quote, &format!("{quote}{quote}")))
    }

    proptest! {
        #[test]
        fn quoted_fields_come_back(
            rows in prop::collection::vec(prop::collection::vec("[a-z,;\"'\n\r\t é😀]{0,9}", 1..5), 1..20),
            delimiter in prop::sample::select(vec![',', ';', '\t', '|']),
            quote in prop::sample::select(vec!['"', '\'']),
            newline in prop::sample::select(vec!["\n", "\r\n"]),
        ) {
            let format = Format { delimiter, quote: Some(quote), ..Format::default() };
            let lines = rows.iter().map(|row| row.iter().map(|f| quoted(f, &format)).collect::<Vec<_>>().join(&delimiter.to_string()));
            let text = lines.collect::<Vec<_>>().join(newline);
            let read: Vec<Vec<String>> = records(&text, &format, 1000).into_iter().map(|(_, record)| record.unwrap()).collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..2000), max in 1_usize..100) {
            let format = Format::default();
            let input = Input::new(Cursor::new(bytes), "f", &format, 1000);
            if let Ok(input) = input {
                let mut records = CsvRecords::new(input, &format, max);
                while records.advance().unwrap_or(false) {
                    let _ = (records.fields().is_ok(), records.raw().len());
                }
            }
        }
    }
}

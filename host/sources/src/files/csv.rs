//! Records of delimited fields, by `csv-core`.

use std::io;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::input::Input;
use super::request::Format;

/// What is kept of a record as it stands in the file, in bytes.
pub(super) const RAW_BYTES: usize = 1024;
/// Fields that a record may have; tables have fewer columns by far.
const MAX_FIELDS: usize = 16_384;

/// The records of a text, one at a time.
pub(super) struct CsvRecords {
    input: Input,
    parser: Reader,
    quote: Option<u8>,
    comment: Option<u8>,
    max_record_bytes: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_length: usize,
    fields: usize,
    raw: Vec<u8>,
    line: u64,
    offset: u64,
    problem: Option<&'static str>,
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
        Self {
            input,
            parser: builder.build(),
            quote: format.quote.map(Format::byte),
            comment: format.comment.map(Format::byte),
            max_record_bytes,
            text: vec![0; 4096],
            ends: vec![0; 64],
            text_length: 0,
            fields: 0,
            raw: Vec::with_capacity(RAW_BYTES),
            line: 1,
            offset: 0,
            problem: None,
        }
    }

    /// Passes over whole lines before the first record.
    pub(super) fn skip_lines(&mut self, lines: u32) -> io::Result<()> {
        for _ in 0..lines {
            loop {
                match memchr::memchr(b'\n', self.input.window()) {
                    Some(end) => {
                        self.input.take(end + 1);
                        break;
                    }
                    None => self.input.take(self.input.window().len()),
                }
                if !self.input.fill()? {
                    return Ok(());
                }
            }
            self.parser.set_line(self.parser.line() + 1);
        }
        Ok(())
    }

    /// Goes to the next record; false at the end.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        (self.text_length, self.fields, self.problem) = (0, 0, None);
        self.raw.clear();
        self.skip_to_record()?;
        self.line = self.parser.line();
        self.offset = self.input.position();
        let (mut quotes, mut taken, mut at_end) = (0, 0_u64, false);
        loop {
            if self.input.window().is_empty() && !at_end {
                at_end = !self.input.fill()?;
            }
            let window = self.input.window();
            let (result, read, written, fields) =
                self.parser.read_record(window, &mut self.text[self.text_length..], &mut self.ends[self.fields..]);
            let part = &window[..read];
            let kept = part.len().min(RAW_BYTES - self.raw.len());
            self.raw.extend_from_slice(&part[..kept]);
            // They are asked for when a file ends within a record, whose parts all end like this.
            if let Some(quote) = self.quote.filter(|_| !matches!(result, ReadRecordResult::Record)) {
                quotes += memchr::memchr_iter(quote, part).count();
            }
            taken += read as u64;
            self.input.take(read);
            self.text_length += written;
            self.fields += fields;
            if taken > self.max_record_bytes as u64 {
                self.give_up();
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow_text(),
                ReadRecordResult::OutputEndsFull => self.grow_ends(),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(false),
            }
        }
        if at_end && quotes % 2 == 1 {
            self.problem.get_or_insert("a quote is opened and not closed");
        }
        Ok(true)
    }

    /// Passes over empty lines and comments, which the parser would take for the start of the record after them.
    fn skip_to_record(&mut self) -> io::Result<()> {
        let mut in_comment = false;
        loop {
            let window = self.input.window();
            let Some(first) = window.first() else {
                if self.input.fill()? {
                    continue;
                }
                return Ok(());
            };
            let length = if in_comment {
                memchr::memchr(b'\n', window).unwrap_or(window.len())
            } else {
                window.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
            };
            if length == 0 && !in_comment && self.comment == Some(*first) {
                in_comment = true;
                continue;
            }
            if length == 0 && !in_comment {
                return Ok(());
            }
            in_comment &= length == window.len();
            let lines = if in_comment { 0 } else { memchr::memchr_iter(b'\n', &window[..length]).count() };
            self.parser.set_line(self.parser.line() + lines as u64);
            self.input.take(length);
        }
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
        self.problem.get_or_insert("the record is longer than `max_line_bytes`");
        (self.text_length, self.fields) = (0, 0);
    }

    /// The line that the record begins at, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The byte of the text that the record begins at.
    pub(super) fn offset(&self) -> u64 {
        self.offset
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
        let text = std::str::from_utf8(text).map_err(|_| "the record is no text in the file's encoding")?;
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err("the record holds a NUL character; is the file of another `encoding`?");
        }
        Ok(Fields { text, ends: &self.ends[..self.fields] })
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
        let open = records("a,b\n\"c,d\ne,f\n", &Format::default(), 1000);
        assert_eq!(open, [(1, fields(&["a", "b"])), (2, Err("a quote is opened and not closed"))]);
        assert_eq!(records("a\n\"c\"", &Format::default(), 1000)[1].1, fields(&["c"]));
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

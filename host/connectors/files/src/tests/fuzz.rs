//! Fuzz targets: any bytes as a file of delimited fields or of JSON.

use std::io::Cursor;

use super::super::csv::CsvRecords;
use super::super::document::JsonRecords;
use super::super::input::Input;
use super::super::request::{Compression, Format, FormatKind};

const MAX_BYTES: usize = 512;

fn open(bytes: &[u8], format: &Format) -> Option<Input> {
    Input::new(Cursor::new(bytes.to_vec()), "f", format, 1000).ok()
}

/// Each way to write fields that a byte can choose.
fn format(choice: u8) -> Format {
    let has = |bit: u8| choice & (1 << bit) != 0;
    Format {
        delimiter: if has(0) { ';' } else { ',' },
        quote: (!has(1)).then_some('"'),
        escape: has(2).then_some('\\'),
        comment: has(3).then_some('#'),
        trim: has(4),
        compression: Compression::None,
        ..Format::default()
    }
}

/// The rows that can be read, and how many records there are.
fn rows(bytes: &[u8], format: &Format, keeps_empty_lines: bool) -> (Vec<Vec<String>>, usize) {
    let Some(input) = open(bytes, format) else { return (Vec::new(), 0) };
    let mut records = CsvRecords::new(input, format, MAX_BYTES);
    records.keep_empty_lines(keeps_empty_lines);
    let (mut rows, mut count, mut line) = (Vec::new(), 0, 0);
    while records.advance().unwrap_or(false) {
        count += 1;
        assert!(records.line() > line, "lines go forward");
        line = records.line();
        if let Ok(fields) = records.fields() {
            rows.push(fields.iter().map(str::to_owned).collect());
        }
    }
    (rows, count)
}

#[test]
fn fuzz_files_csv() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((choice, bytes)) = input.split_first() else { return };
        let format = format(*choice);
        let keeps_empty_lines = choice & (1 << 5) != 0;
        let (found, records) = rows(bytes, &format, keeps_empty_lines);
        assert!(records <= bytes.len() + 1);
        if format.quote.is_none() || format.escape.is_some() {
            return;
        }
        // What was read is read again when every field is quoted.
        let quoted = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(&format.delimiter.to_string());
        let text: String = found.iter().map(|row| line(row) + "\n").collect();
        let is_short = found.iter().all(|row| line(row).len() < MAX_BYTES);
        if is_short {
            assert_eq!(rows(text.as_bytes(), &format, false).0, found, "{text:?}");
        }
    });
}

#[test]
fn fuzz_files_json() {
    bolero::check!().for_each(|input: &[u8]| {
        let Some((choice, bytes)) = input.split_first() else { return };
        let is_document = choice % 2 == 1;
        let format = Format { compression: Compression::None, ..Format::default() };
        let kind = if is_document { FormatKind::Json } else { FormatKind::JsonLines };
        let Some(input) = open(bytes, &format) else { return };
        let Ok(mut records) = JsonRecords::new(input, kind, MAX_BYTES) else { return };
        let (mut values, mut is_whole) = (Vec::new(), true);
        loop {
            match records.advance() {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    is_whole = false;
                    break;
                }
            }
            let mut members = Vec::new();
            let value = serde_json::from_slice::<serde_json::Value>(records.raw());
            // A number that no float holds is JSON nevertheless.
            if let (Ok(()), Ok(value)) = (records.members(&mut members), &value) {
                let object = value.as_object().unwrap();
                assert!(members.len() >= object.len());
                for (key, text) in &members {
                    let member: serde_json::Value = serde_json::from_str(text).unwrap();
                    let is_last = members.iter().rfind(|(other, _)| other == key).is_some_and(|(_, last)| last == text);
                    assert!(!is_last || object[key.as_ref()] == member, "{key}: {text}");
                }
            }
            values.extend(value);
        }
        // Another reader finds the same values in an array.
        if let (true, Ok(serde_json::Value::Array(expected))) = (is_document, serde_json::from_slice(bytes)) {
            let is_short = bytes.len() <= MAX_BYTES && !bytes.starts_with(b"\xef\xbb\xbf");
            assert!(!is_short || (is_whole && values == expected), "{:?}", String::from_utf8_lossy(bytes));
        }
    });
}

/// The parser puts the fields of a record together.
#[test]
fn character_cut_by_a_delimiter_is_not_text() {
    let format = Format { compression: Compression::None, ..Format::default() };
    let mut records = CsvRecords::new(open(b"a,\xc3\xa9\nb\xc3,\xa9\n", &format).unwrap(), &format, MAX_BYTES);
    assert!(records.advance().unwrap());
    assert_eq!(records.fields().unwrap().iter().collect::<Vec<_>>(), ["a", "\u{e9}"]);
    assert!(records.advance().unwrap());
    assert_eq!(records.fields().unwrap_err(), "the record is no text in the file's encoding");
}

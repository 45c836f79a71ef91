//! The parsers against readers that share no code with them: Python's own `csv` and `json`.

use std::io::{Cursor, Write as _};
use std::process::{Command, Stdio};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::super::csv::CsvRecords;
use super::super::document::JsonRecords;
use super::super::input::Input;
use super::super::request::{Format, FormatKind};

/// What Python prints when it runs a script on texts: one JSON value each.
fn python(script: &str, texts: &[String]) -> Vec<serde_json::Value> {
    let interpreter = std::env::var("DATAKIT_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(interpreter);
    let mut child = command
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let input = serde_json::to_vec(texts).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same texts in each run.
fn texts(pattern: &str, count: usize) -> Vec<String> {
    let strategy = proptest::string::string_regex(pattern).unwrap();
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The rows before the first that cannot be read, and whether there is one.
fn rows(text: &str) -> (Vec<Vec<String>>, bool) {
    let format = Format::default();
    let input = Input::new(Cursor::new(text.as_bytes().to_vec()), "f", &format, 1000).unwrap();
    let mut records = CsvRecords::new(input, &format, 1000);
    let mut rows = Vec::new();
    loop {
        match records.advance() {
            Ok(false) => return (rows, false),
            Err(_) => return (rows, true),
            Ok(true) => match records.fields() {
                Ok(fields) => rows.push(fields.iter().map(str::to_owned).collect()),
                Err(_) => return (rows, true),
            },
        }
    }
}

const STRICT_CSV: &str = "
import csv, io, json, sys
def read(text):
    rows = []
    try:
        for row in csv.reader(io.StringIO(text, newline=''), strict=True):
            if row: rows.append(row)
    except csv.Error:
        return [rows, True]
    return [rows, False]
json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
";

#[test]
fn strict_python_csv_reads_the_same_rows_and_refuses_the_same_quotes() {
    let texts = texts("[a,\" \\n\\r]{0,24}", 4000);
    let refused = python(STRICT_CSV, &texts).into_iter().zip(&texts).filter(|(witness, text)| {
        let found = rows(text);
        assert_eq!(serde_json::json!(found), *witness, "{text:?}");
        found.1
    });
    let refused = refused.count();
    assert!((1000..3500).contains(&refused), "{refused} of 4000 texts have misplaced quotes");
}

const JSON: &str = "
import json, sys
def constant(text): raise ValueError(text)
def read(text):
    try: document = json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError): return None
    return document if isinstance(document, list) else None
json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
";

#[test]
fn python_json_reads_the_same_values_of_an_array_and_refuses_the_same_documents() {
    let mut texts = texts(
        r#"\[(1|\{"a":("x"|\[1, ?\{\}\])\}|"[\[\],]"|null)(, ?\n?(1|\{"a":\{\}\}|\[\]|"\\""|true)){0,3}\]"#,
        1000,
    );
    texts.extend(self::texts(r#"\[[\[\]{}",:1a \n\\]{0,12}\]?"#, 3000));
    let read = |text: &str| -> Option<Vec<serde_json::Value>> {
        let input = Input::new(Cursor::new(text.as_bytes().to_vec()), "f", &Format::default(), 1000).unwrap();
        let mut records = JsonRecords::new(input, FormatKind::Json, 1000).unwrap();
        let mut values = Vec::new();
        while records.advance().ok()? {
            values.push(serde_json::from_slice(records.raw()).ok()?);
        }
        Some(values)
    };
    let valid = python(JSON, &texts).into_iter().zip(&texts).filter(|(witness, text)| {
        assert_eq!(serde_json::json!(read(text)), *witness, "{text:?}");
        !witness.is_null()
    });
    let valid = valid.count();
    assert!((1000..3000).contains(&valid), "{valid} of 4000 texts are documents");
}

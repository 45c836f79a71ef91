//! What the guards accept is read a second time, by parsers that share no code with ours: PostgreSQL's own, and sqlglot's for
//! T-SQL. Both must find the same tables, only functions of the list, and nothing that is not one query that reads.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::testing::Grammar;

const TEXTS: usize = 6_000;
const BYTES_A_TEXT: usize = 16;

/// Compares the readings of honest texts and of texts made by the grammar. `tables` gives the tables that a text names, granted
/// ones and catalog views, where the guard accepts it; `is_listed` is asked about each function.
pub(crate) fn compare(
    dialect: &str,
    honest: &[&str],
    grammar: &Grammar,
    tables: impl Fn(&str) -> Option<BTreeSet<(String, String)>>,
    is_listed: impl Fn(&str) -> bool,
) {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    let made = (0..TEXTS).map(|_| grammar.query(&noise.bytes(BYTES_A_TEXT)));
    let texts = honest.iter().map(|text| (*text).to_owned()).chain(made);
    let accepted: BTreeSet<(String, BTreeSet<(String, String)>)> =
        texts.filter_map(|text| tables(&text).map(|tables| (text, tables))).collect();
    let readings = read(dialect, accepted.iter().map(|(text, _)| text.as_str()));
    assert_eq!(readings.len(), accepted.len());
    let (mut compared, mut different) = (0, Vec::new());
    for ((text, tables), reading) in accepted.iter().zip(&readings) {
        // What the server's own parser does not understand the server refuses.
        if reading.get("error").is_some() {
            continue;
        }
        compared += 1;
        let strings =
            |key: &str| reading[key].as_array().into_iter().flatten().filter_map(Json::as_str).collect::<Vec<_>>();
        let found: BTreeSet<(String, String)> = reading["tables"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()))
            .collect();
        let unlisted: Vec<&str> = strings("functions").into_iter().filter(|name| !is_listed(name)).collect();
        if found != *tables || !strings("bare").is_empty() || !strings("odd").is_empty() || !unlisted.is_empty() {
            different.push(format!("{text}\n    ours {tables:?}\n    theirs {reading}"));
        }
    }
    assert!(different.is_empty(), "{} of {compared} differ:\n{}", different.len(), different.join("\n"));
    assert!(compared > 200, "only {compared} of {} accepted texts were read a second time", accepted.len());
}

fn read<'t>(dialect: &str, texts: impl Iterator<Item = &'t str>) -> Vec<Json> {
    let python =
        std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names the tests' Python: run ./test");
    let mut reader = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/second_reading.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reader.stdin.take().unwrap();
    let lines: Vec<u8> =
        texts.flat_map(|sql| format!("{}\n", json!({ "dialect": dialect, "sql": sql })).into_bytes()).collect();
    let writer = std::thread::spawn(move || input.write_all(&lines));
    let output = reader.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the second reader failed");
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The same bytes in every run (xorshift).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0.to_le_bytes()[3]
        };
        (0..count).map(|_| next()).collect()
    }
}

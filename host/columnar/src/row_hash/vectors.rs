//! The test vectors of docs/bronze-columns.md, and its Python, run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, StringArray, Time64NanosecondArray, TimestampMicrosecondArray,
};

use super::keyed_tests::hashes as keyed_hashes;
use super::tests::{hashes, reference_bytes};
use crate::tests::{batch, decimals};
use crate::type_text;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bronze-columns.md");
const BEGIN: &str = "<!-- test vectors: written by a test -->\n";
const END: &str = "<!-- end of test vectors -->";

/// One value of each kind: SQL Server type, value as shown, value as Python, the array of one row.
fn vectors() -> Vec<(&'static str, &'static str, &'static str, ArrayRef)> {
    fn row<A: arrow::array::Array + 'static>(array: A) -> ArrayRef {
        Arc::new(array)
    }
    let uuid = hex::decode("6f9619ff8b86d011b42d00c04fc964ff").unwrap();
    let uuid = FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap();
    let at = |micros: i64| TimestampMicrosecondArray::from(vec![micros]);
    vec![
        ("any", "NULL", "None", row(Int32Array::from(vec![None]))),
        ("bit", "0", "False", row(BooleanArray::from(vec![false]))),
        ("bit", "1", "True", row(BooleanArray::from(vec![true]))),
        ("tinyint, smallint", "255", "255", row(Int16Array::from(vec![255]))),
        ("int", "-2147483648", "-2147483648", row(Int32Array::from(vec![i32::MIN]))),
        ("bigint", "9223372036854775807", "9223372036854775807", row(Int64Array::from(vec![i64::MAX]))),
        ("real", "1.1", "real(1.1)", row(Float32Array::from(vec![1.1]))),
        ("real", "NaN", "real(math.nan)", row(Float32Array::from(vec![f32::NAN]))),
        ("float", "1.1", "1.1", row(Float64Array::from(vec![1.1]))),
        ("float", "-0.0", "-0.0", row(Float64Array::from(vec![-0.0]))),
        ("float", "NaN", "math.nan", row(Float64Array::from(vec![f64::NAN]))),
        ("decimal(18,4)", "-0.0500", "Decimal('-0.0500')", row(decimals(&[Some(-500)], 18, 4))),
        ("decimal(18,4)", "0.0000", "Decimal('0.0000')", row(decimals(&[Some(0)], 18, 4))),
        ("decimal(5,0)", "12345", "Decimal('12345')", row(decimals(&[Some(12_345)], 5, 0))),
        (
            "decimal(38,38)",
            "0.00000000000000000000000000000000000001",
            "Decimal('0.00000000000000000000000000000000000001')",
            row(decimals(&[Some(1)], 38, 38)),
        ),
        (
            "money",
            "-922337203685477.5808",
            "Decimal('-922337203685477.5808')",
            row(decimals(&[Some(i64::MIN.into())], 19, 4)),
        ),
        ("date", "0001-01-01", "date(1, 1, 1)", row(Date32Array::from(vec![-719_162]))),
        ("date", "9999-12-31", "date(9999, 12, 31)", row(Date32Array::from(vec![2_932_896]))),
        (
            "time(7)",
            "23:59:59.9999999",
            "Time(86_399_999_999_900)",
            row(Time64NanosecondArray::from(vec![86_399_999_999_900])),
        ),
        (
            "datetime2",
            "2024-02-29 12:34:56.789012",
            "datetime(2024, 2, 29, 12, 34, 56, 789012)",
            row(at(1_709_210_096_789_012)),
        ),
        ("datetime2", "0001-01-01 00:00:00", "datetime(1, 1, 1)", row(at(-62_135_596_800_000_000))),
        (
            "datetimeoffset",
            "2024-02-29 12:34:56.789012 +02:00",
            "datetime(2024, 2, 29, 12, 34, 56, 789012, timezone(timedelta(hours=2)))",
            row(at(1_709_210_096_789_012 - 7_200_000_000).with_timezone("UTC")),
        ),
        ("varchar, nvarchar", "''", "''", row(StringArray::from(vec![""]))),
        (
            "varchar, nvarchar",
            "'Žluťoučký kůň 🐎'",
            "'Žluťoučký kůň 🐎'",
            row(StringArray::from(vec!["Žluťoučký kůň 🐎"])),
        ),
        ("varbinary", "0x00FF", "bytes.fromhex('00ff')", row(BinaryArray::from(vec![&b"\x00\xff"[..]]))),
        (
            "uniqueidentifier",
            "6F9619FF-8B86-D011-B42D-00C04FC964FF",
            "UUID('6F9619FF-8B86-D011-B42D-00C04FC964FF')",
            row(uuid),
        ),
    ]
}

/// All vectors as one row.
fn whole_row() -> String {
    let names: Vec<_> = (0..vectors().len()).map(|index| format!("c{index}")).collect();
    let columns = names.iter().map(String::as_str).zip(vectors().into_iter().map(|(.., array)| array));
    hashes(&batch(columns.collect())).unwrap().remove(0)
}

fn table() -> String {
    let mut table =
        String::from("| SQL Server | Arrow | value | canonical bytes (hex) | row hash of this column alone |\n");
    table.push_str("|---|---|---|---|---|\n");
    for (sql_type, value, _, array) in vectors() {
        let bytes = if array.is_null(0) { String::from("none") } else { hex::encode(reference_bytes(&array, 0)) };
        let bytes = if bytes.is_empty() { String::from("empty") } else { bytes };
        let arrow_type = if array.is_null(0) { "any".to_owned() } else { type_text::print(array.data_type()) };
        let hash = hashes(&batch(vec![("c", array)])).unwrap().remove(0);
        let _ = writeln!(table, "| {sql_type} | `{arrow_type}` | {value} | `{bytes}` | `{hash}` |");
    }
    let _ = writeln!(table, "| all of these, in this order | | | | `{}` |", whole_row());
    table
}

fn docs() -> String {
    std::fs::read_to_string(DOCS).unwrap()
}

#[test]
fn the_docs_hold_the_vectors_this_code_makes() {
    let docs = docs();
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(DOCS, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
    } else {
        assert_eq!(shown, table(), "run the test with INSTA_UPDATE=always to write the docs anew");
    }
}

#[test]
fn the_python_of_the_docs_finds_the_same_hashes() {
    let docs = docs();
    let (_, python) = docs.split_once("```python\n").unwrap();
    let (python, _) = python.split_once("```").unwrap();
    let values: Vec<_> = vectors().into_iter().map(|(_, _, value, _)| value).collect();
    let mut script = python.to_owned();
    for value in &values {
        let _ = writeln!(script, "print(row_hash([{value}]))");
    }
    let _ = writeln!(script, "print(row_hash([{}]))", values.join(", "));
    let mut expected: Vec<_> =
        vectors().into_iter().map(|(.., array)| hashes(&batch(vec![("c", array)])).unwrap().remove(0)).collect();
    expected.push(whole_row());
    assert_eq!(printed_by_python(&script), expected);
}

#[test]
fn the_python_of_the_docs_finds_the_same_keyed_hashes() {
    const KEY: &str = "klíč, dlouhý aspoň 32 bajtů";
    let docs = docs();
    let parts = docs.split("```python\n").skip(1).filter_map(|part| part.split_once("```"));
    let mut script: String = parts.map(|(python, _)| python).collect();
    let mut expected = Vec::new();
    for (_, _, value, array) in vectors().into_iter().filter(|(.., array)| !array.is_null(0)) {
        let _ = writeln!(script, "print(keyed_hash({KEY:?}, [{value}]))");
        expected.extend(keyed_hashes(KEY, vec![("c", array)]).into_iter().flatten());
    }
    assert_eq!(printed_by_python(&script), expected);
}

fn printed_by_python(script: &str) -> Vec<String> {
    let mut child = Command::new("python3")
        .args(["-X", "utf8", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed to check the Python of the docs");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

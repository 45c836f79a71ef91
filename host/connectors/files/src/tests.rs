//! The source as a datakit sees it: what is read exactly, what is rejected, what is refused.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::concat_batches;
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use datakit_model::source::{Access, Query, QueryOptions, RejectedRow};
use datakit_model::{MemoryBudget, ReadLimits, TablePatterns};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod fuzz;
mod parts;
mod witness;

struct Folder {
    root: tempfile::TempDir,
    source: FilesSource,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let read = ReadLimits { max_batch_rows: 7, ..ReadLimits::default() };
        let config = FilesConfig { read, max_line_bytes: 4096, ..FilesConfig::new(Root::Folder(root.path().into())) };
        Self { source: FilesSource::new(config).unwrap(), root }
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(""))).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What a request is answered: all rows, and the rejected ones.
    fn ask(&self, request: &Value) -> Result<(RecordBatch, Vec<RejectedRow>), Failure> {
        self.ask_text(&request.to_string())
    }

    fn ask_text(&self, request: &str) -> Result<(RecordBatch, Vec<RejectedRow>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let tables = TablePatterns::new(vec!["files.t*".parse().unwrap()]);
            let access = Access { tables, run_id: "run".into(), memory: MemoryBudget::new(1 << 20) };
            let connection = self.source.connect(access).await?;
            let query = Query { sql: request.to_owned(), parameters: vec![], options: QueryOptions::default() };
            let mut reader = connection.query(query).await?;
            let (mut batches, mut rejected) = (Vec::new(), Vec::new());
            while let Some(batch) = reader.next().await? {
                assert!(batch.batch().num_rows() <= 7 || reader.schema().field(0).name() != "a");
                batches.push(batch.batch().clone());
            }
            rejected.extend_from_slice(reader.report().rejected.rows());
            Ok((concat_batches(&reader.schema(), &batches).unwrap(), rejected))
        })
    }

    fn version(&self, path: &str) -> String {
        let (listing, _) = self.ask(&json!({"list": {}})).unwrap();
        let paths = listing.column_by_name("path").unwrap().as_string::<i32>().clone();
        let row = paths.iter().position(|found| found == Some(path)).unwrap();
        listing.column_by_name("version").unwrap().as_string::<i32>().value(row).to_owned()
    }

    /// A request for this file in the columns a (bigint), b (text), c (decimal), d (date), e (timestamp).
    fn read(&self, path: &str, format: Value) -> Value {
        let types = ["Int64", "Utf8", "Decimal128(20, 3)", "Date32", "Timestamp(us)"];
        let columns: Vec<Value> =
            ["a", "b", "c", "d", "e"].iter().zip(types).map(|(name, t)| json!({"name": name, "type": t})).collect();
        json!({"read": {
            "table": {"schema": "files", "name": "t"},
            "files": [{"path": path, "version": self.version(path)}],
            "format": format,
            "columns": columns,
            "max_rejected_rows": 100,
        }})
    }
}

type Row = (Option<i64>, Option<String>, Option<i64>, Option<i32>, Option<i64>);

fn rows(batch: &RecordBatch) -> Vec<Row> {
    (0..batch.num_rows())
        .map(|row| {
            fn at<T>(array: &dyn arrow::array::Array, row: usize, value: impl Fn() -> T) -> Option<T> {
                (!array.is_null(row)).then(value)
            }
            let columns = batch.columns();
            (
                at(&columns[0], row, || columns[0].as_primitive::<Int64Type>().value(row)),
                at(&columns[1], row, || columns[1].as_string::<i32>().value(row).to_owned()),
                at(&columns[2], row, || i64::try_from(columns[2].as_primitive::<Decimal128Type>().value(row)).unwrap()),
                at(&columns[3], row, || columns[3].as_primitive::<Date32Type>().value(row)),
                at(&columns[4], row, || columns[4].as_primitive::<TimestampMicrosecondType>().value(row)),
            )
        })
        .collect()
}

/// The texts of a row's values, as any writer would write them.
fn texts(row: &Row) -> [Option<String>; 5] {
    let day = |days: i32| chrono::NaiveDate::default() + chrono::Days::new(u64::try_from(days).unwrap());
    let moment = |micros: i64| chrono::DateTime::from_timestamp_micros(micros).unwrap();
    [
        row.0.map(|value| value.to_string()),
        row.1.clone(),
        row.2.map(|value| {
            let sign = if value < 0 { "-" } else { "" };
            format!("{sign}{}.{:03}", (value / 1000).abs(), (value % 1000).abs())
        }),
        row.3.map(|days| day(days).format("%Y-%m-%d").to_string()),
        row.4.map(|micros| moment(micros).format("%Y-%m-%d %H:%M:%S%.6f").to_string()),
    ]
}

fn a_row() -> impl Strategy<Value = Row> {
    (
        prop::option::of(any::<i64>()),
        prop::option::of("[a-zé😀 ,;|\t\"'\r\n\\\\]{1,12}"),
        prop::option::of(-1_000_000_000_000_000_i64..1_000_000_000_000_000),
        prop::option::of(0_i32..40_000),
        prop::option::of(0_i64..4_000_000_000_000_000),
    )
}

fn encoded(text: &str, encoding: usize) -> Vec<u8> {
    let units = || std::iter::once(0xfeff).chain(text.encode_utf16());
    match encoding {
        0 => text.as_bytes().to_vec(),
        1 => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        2 => units().flat_map(u16::to_le_bytes).collect(),
        _ => units().flat_map(u16::to_be_bytes).collect(),
    }
}

fn compressed(bytes: Vec<u8>, compression: usize) -> Vec<u8> {
    match compression {
        0 => bytes,
        1 => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::encode_all(bytes.as_slice(), 1).unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_come_back_from_delimited_fields(
        table in prop::collection::vec(a_row(), 0..30),
        delimiter in prop::sample::select(vec![',', ';', '|', '\t']),
        newline in prop::sample::select(vec!["\n", "\r\n"]),
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
        (encoding, compression) in (0_usize..4, 0_usize..3),
    ) {
        let line = |fields: Vec<String>| fields.join(&delimiter.to_string()) + newline;
        let quoted = |text: String| format!("\"{}\"", text.replace('"', "\"\""));
        let mut text = line(order.iter().map(|place| ["a", "b", "c", "d", "e"][*place].to_owned()).collect());
        for row in &table {
            let texts = texts(row);
            // A null is an empty field; the quotes around others are the writer's choice where nothing needs them.
            let field = |place: &usize| match &texts[*place] {
                None => String::new(),
                Some(text) if *place == 1 || text.len() % 2 == 0 => quoted(text.clone()),
                Some(text) => text.clone(),
            };
            text += &line(order.iter().map(field).collect());
        }
        let folder = Folder::new();
        folder.write("t/a.csv", compressed(encoded(&text, encoding), compression));
        let (batch, rejected) = folder.ask(&folder.read("t/a.csv", json!({"delimiter": delimiter}))).unwrap();
        prop_assert_eq!(rejected, vec![]);
        prop_assert_eq!(rows(&batch), table);
    }

    #[test]
    fn tables_come_back_from_json_lines_and_their_parts(
        table in prop::collection::vec(a_row(), 0..30),
        cuts in prop::collection::vec(0_u64..3000, 0..4),
        mark in any::<bool>(),
    ) {
        let mut text = String::new();
        for (number, row) in table.iter().enumerate() {
            let [_, b, c, d, e] = texts(row);
            let mut object = json!({"a": row.0, "b": b, "d": d, "e": e});
            if row.1.is_none() {
                object.as_object_mut().unwrap().remove("b");
            }
            let mut line = object.to_string();
            line.pop();
            // A number of more digits than a float has.
            text += &format!("{line}, \"c\": {}}}", c.unwrap_or_else(|| "null".into()));
            text += ["\n", "\r\n", "\n\n"][number % 3];
        }
        let folder = Folder::new();
        folder.write("t/a.jsonl", encoded(&text, usize::from(mark)));
        let whole = folder.read("t/a.jsonl", json!({"kind": "json_lines"}));
        prop_assert_eq!(rows(&folder.ask(&whole).unwrap().0), table.clone());
        let (found, _) = parts::in_parts(&folder, &whole, cuts);
        prop_assert_eq!(found, table);
    }

    #[test]
    fn any_request_is_refused_or_answered(request in any::<String>(), path in any::<String>()) {
        let folder = Folder::new();
        folder.write("t/a.csv", "a\n1\n");
        prop_assert!(folder.ask_text(&request).is_err());
        let read = json!({"sample": {"table": {"schema": "files", "name": "t"}, "files": [{"path": path, "version": ""}], "max_rows": 1}});
        prop_assert!(folder.ask(&read).is_err());
    }
}

#[test]
fn bad_rows_are_rejected_with_their_lines() {
    let folder = Folder::new();
    let mut text = b"a,b,c,d,e\n1,\"x\ny\",1.5,2026-01-01,2026-01-01T00:00:00\n".to_vec();
    for bad in [
        "1,2,3",
        "x,,,,",
        ",,1.2345,,",
        ",,,2026-02-30,",
        ",,,,2026-01-01T00:00:00Z",
        "9223372036854775808,,,,",
        ",a\0b,,,",
    ] {
        text.extend_from_slice(bad.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b",\xff,,,\n2,,,,\n");
    text.extend_from_slice(&[b'y'; 9000]);
    text.extend_from_slice(b"\n3,,,,\n4,\"open,,,\n");
    folder.write("t/a.csv", text);
    let (batch, rejected) = folder.ask(&folder.read("t/a.csv", json!({}))).unwrap();
    assert_eq!(rows(&batch).into_iter().map(|row| row.0).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    let shown = |row: &RejectedRow| {
        format!("{}:{} {} [{} characters]", row.file, row.line, row.reason, row.text.chars().count())
    };
    insta::assert_debug_snapshot!(rejected.iter().map(shown).collect::<Vec<_>>());
}

#[test]
fn bad_objects_are_rejected_with_their_lines() {
    let folder = Folder::new();
    let lines = [
        r#"{"a": 1, "b": {"x": [1, 2.0]}, "c": 1234567890123456.125}"#,
        r#"{"a": 1.5}"#,
        r#"{"a": 1, "a": 2}"#,
        r#"{"z": 1}"#,
        r#"[1]"#,
        r#"{"b": "\ud800"}"#,
        r#"{"b": "\u0000"}"#,
        r#"{"d": 20260101}"#,
        r#"{"a": true}"#,
        r#"{"a": "7", "b": "A"}"#,
    ];
    folder.write("t/a.jsonl", lines.join("\n"));
    let (batch, rejected) = folder.ask(&folder.read("t/a.jsonl", json!({"kind": "json_lines"}))).unwrap();
    let found = rows(&batch);
    assert_eq!(found[0], (Some(1), Some(r#"{"x": [1, 2.0]}"#.into()), Some(1_234_567_890_123_456_125), None, None));
    assert_eq!(found[1].1.as_deref(), Some("A"));
    insta::assert_debug_snapshot!(
        rejected.iter().map(|row| format!("{}: {}", row.line, row.reason)).collect::<Vec<_>>()
    );
}

#[test]
fn a_stray_quote_fails_its_file() {
    let folder = Folder::new();
    let rest = "2,,,,\n".repeat(5000);
    folder.write("t/a.csv", format!("a,b,c,d,e\n1,\"x,,,\n{rest}"));
    folder.write("t/b.csv", "a,b,c,d,e\n1,\"x,,,\n2,,,,\n");
    let failure = |path: &str| folder.ask(&folder.read(path, json!({}))).map(|_| ()).unwrap_err();
    let reported = |path: &str| format!("{} {}", failure(path).code(), failure(path).message());
    assert_eq!(
        [reported("t/a.csv"), reported("t/b.csv")],
        [
            "DK-SRC-226 `t/a.csv`, line 2: the record that begins here opens a quote that does not close within `max_line_bytes`",
            "DK-SRC-226 `t/b.csv`, line 2: the record that begins here opens a quote that does not close before the end of the file",
        ]
    );
}

#[test]
fn a_bad_row_of_many_lines_counts_as_many() {
    let folder = Folder::new();
    folder.write("t/a.csv", format!("a,b,c,d,e\nx,\"{}\",,,\n", "2,,,,\n".repeat(3)));
    let mut request = folder.read("t/a.csv", json!({}));
    request["read"]["max_rejected_rows"] = json!(4);
    assert_eq!(folder.ask(&request).unwrap().1.len(), 1);
    request["read"]["max_rejected_rows"] = json!(3);
    let failure = folder.ask(&request).unwrap_err();
    assert_eq!(
        failure.message(),
        "`t/a.csv`, line 2: column `a`: `x` is not an integer of 64 bits; it has 4 lines, and counts as so many rows"
    );
}

#[test]
fn files_without_a_header_are_read_by_place() {
    let folder = Folder::new();
    folder.write("t/a.csv", "1,\"x \\\"y\\\"\",1.5,,\n2,\"\\\\\",,,\n");
    let format = json!({"header": false, "escape": "\\"});
    let (batch, rejected) = folder.ask(&folder.read("t/a.csv", format)).unwrap();
    assert_eq!(rejected, []);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        rows(&batch),
        [(Some(1), text("x \"y\""), Some(1500), None, None), (Some(2), text("\\"), None, None, None)]
    );
}

#[test]
fn a_file_that_grows_while_it_is_read_fails() {
    let folder = Folder::new();
    let line = "1,some text,,,\n";
    folder.write("t/a.csv", format!("a,b,c,d,e\n{}", line.repeat(200_000)));
    let request = folder.read("t/a.csv", json!({})).to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (rows, failure) = runtime.block_on(async {
        let tables = TablePatterns::new(vec!["files.t".parse().unwrap()]);
        let access = Access { tables, run_id: "run".into(), memory: MemoryBudget::new(1 << 20) };
        let connection = folder.source.connect(access).await.unwrap();
        let query = Query { sql: request, parameters: vec![], options: QueryOptions::default() };
        let mut reader = connection.query(query).await.unwrap();
        // The thread that reads waits for us from here on, long before the end of the file.
        let mut rows = reader.next().await.unwrap().unwrap().batch().num_rows();
        let mut file = fs::OpenOptions::new().append(true).open(folder.root.path().join("t/a.csv")).unwrap();
        file.write_all(b"2,half a ro").unwrap();
        loop {
            match reader.next().await {
                Ok(Some(batch)) => rows += batch.batch().num_rows(),
                Ok(None) => panic!("it was read to its end"),
                Err(failure) => break (rows, failure),
            }
        }
    });
    assert_eq!(failure.code(), "DK-SRC-220");
    assert!(rows <= 200_000, "{rows}");
}

#[test]
fn what_is_not_granted_is_refused() {
    let folder = Folder::new();
    folder.write("t/a.csv", "a,b,c,d,e\n");
    folder.write("secret/a.csv", "a\n");
    folder.write("t/_hidden.csv", "a\n");
    let fine = folder.read("t/a.csv", json!({}));
    assert!(folder.ask(&fine).is_ok());
    let with = |change: &dyn Fn(&mut Value)| {
        let mut request = fine.clone();
        change(&mut request["read"]);
        let failure = folder.ask(&request).map(|_| ()).unwrap_err();
        format!("{} {}", failure.code(), failure.message()).replace(folder.root.path().to_str().unwrap(), "[root]")
    };
    let path = |path: &str| with(&|read: &mut Value| read["files"][0]["path"] = json!(path));
    let format = |key: &str, value: Value| with(&|read: &mut Value| read["format"][key] = value.clone());
    let refused = vec![
        path("../t/a.csv"),
        path("/etc/passwd"),
        path("t/../secret/a.csv"),
        path("t//a.csv"),
        path("./t/a.csv"),
        path("t/a.csv\0"),
        path(""),
        path("secret/a.csv"),
        path("t/_hidden.csv"),
        path("t/gone.csv"),
        with(&|read| read["table"]["name"] = json!("secret")),
        with(&|read| read["files"][0]["version"] = json!("another")),
        with(&|read| read["files"][0]["start"] = json!(1)),
        with(&|read| read["files"][0]["constants"] = json!(["x"])),
        with(&|read| read["columns"] = json!([])),
        with(&|read| read["columns"][1]["name"] = json!("a")),
        with(&|read| read["columns"][1]["type"] = json!("List(Utf8)")),
        with(&|read| read["columns"][1]["from"] = json!("modified")),
        with(&|read| read["max_rejected_rows"] = json!(100_001)),
        with(&|read| read["surprise"] = json!(1)),
        with(&|read| read["columns"].as_array_mut().unwrap().truncate(4)),
        with(&|read| read["columns"].as_array_mut().unwrap().push(json!({"name": "f", "type": "Utf8"}))),
        format("delimiter", json!("é")),
        format("delimiter", json!("\n")),
        format("quote", json!(",")),
        format("encoding", json!("klingon")),
        format("compression", json!("gzip")),
    ];
    insta::assert_debug_snapshot!(refused);
}

#[test]
fn columns_of_files_are_not_of_their_rows() {
    let folder = Folder::new();
    folder.write("t/a.csv", "v\n1\n");
    let request = json!({"read": {
        "table": {"schema": "files", "name": "t"},
        "files": [
            {"path": "t/a.csv", "version": folder.version("t/a.csv"), "constants": ["2026-01-01", null]},
            {"path": "t/a.csv", "version": folder.version("t/a.csv"), "constants": ["soon", "x"]},
        ],
        "columns": [
            {"name": "dt", "type": "Date32", "from": "constant"},
            {"name": "v", "type": "Int64"},
            {"name": "region", "type": "Utf8", "from": "constant"},
            {"name": "file", "type": "Utf8", "from": "path"},
            {"name": "at", "type": "Timestamp(us, UTC)", "from": "modified"},
        ],
        "max_rejected_rows": 1,
    }});
    let (batch, rejected) = folder.ask(&request).unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(batch.column(0).as_primitive::<Date32Type>().value(0), 20_454);
    assert!(batch.column(2).is_null(0));
    assert_eq!(batch.column(3).as_string::<i32>().value(0), "t/a.csv");
    assert!(batch.column(4).as_primitive::<TimestampMicrosecondType>().value(0) > 1_600_000_000_000_000);
    assert_eq!(rejected[0].reason, "column `dt`: `soon` is not a date (YYYY-MM-DD)");
}

#[test]
fn a_sample_shows_records_as_they_are() {
    let folder = Folder::new();
    folder.write("t/a.csv", "a;b\n\"1;2\";x\n\n\0\ny\n");
    let sample = json!({"sample": {
        "table": {"schema": "files", "name": "t"},
        "files": [{"path": "t/a.csv", "version": folder.version("t/a.csv")}],
        "format": {"delimiter": ";"},
        "max_rows": 10,
    }});
    let (batch, _) = folder.ask(&sample).unwrap();
    let records: Vec<&str> = batch.column(2).as_string::<i32>().iter().flatten().collect();
    assert_eq!(records, [r#"["a","b"]"#, r#"["1;2","x"]"#, r#"["y"]"#]);
    assert_eq!(batch.column(3).null_count(), 3, "a sample with a record has no problem");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values().as_ref(), [1, 2, 5]);
}

#[test]
fn sample_without_a_record_says_why_and_what_reads_the_file() {
    let folder = Folder::new();
    let reported = |path: &str, bytes: &[u8], format: Value| {
        folder.write(path, bytes);
        let files = [json!({"path": path, "version": folder.version(path)})];
        let table = json!({"schema": "files", "name": "t"});
        let sample = json!({"sample": {"table": table, "files": files, "format": format, "max_rows": 10}});
        let (batch, _) = folder.ask(&sample).unwrap();
        assert_eq!(batch.num_rows(), batch.column(2).null_count());
        batch.column(3).as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("|")
    };
    let lines = json!({"kind": "json_lines"});
    let array = reported("t/a.jsonl", br#"[{"a":1},{"a":2}]"#, lines.clone());
    assert_eq!(
        array,
        "no record can be read; line 1: it is JSON, but no object; hint: the file begins as a JSON document does: set `format = \"json\"`"
    );
    let header = reported("t/a.csv", b"caf\xe9,b\n1,2\n", json!({}));
    assert!(header.contains("line 1") && header.contains("windows-1252"), "a row is no header: {header}");
    assert!(reported("t/b.jsonl", b"\n\na,b\n1,2\n", json!({"kind": "json"})).contains("line 3"));
    assert_eq!(reported("t/c.jsonl", b"", lines), "", "an empty file has no problem");
}

#[test]
fn empty_lines_are_rows_of_a_file_with_one_column() {
    let folder = Folder::new();
    let read = |text: &str, header: bool| {
        folder.write("t/a.csv", text);
        let files = [json!({"path": "t/a.csv", "version": folder.version("t/a.csv")})];
        let columns = [json!({"name": "a", "type": "Int64"})];
        let format = json!({"header": header, "quote": null});
        let table = json!({"schema": "files", "name": "t"});
        let whole = json!({"read": {"table": table, "files": files, "format": format, "columns": columns}});
        let values = |request: &Value| -> Vec<Option<i64>> {
            folder.ask(request).unwrap().0.column(0).as_primitive::<Int64Type>().iter().collect()
        };
        let all = values(&whole);
        for cut in 1..text.len() {
            let mut parts = Vec::new();
            for (start, end) in [(0, json!(cut)), (cut, Value::Null)] {
                let mut part = whole.clone();
                part["read"]["files"][0]["start"] = json!(start);
                part["read"]["files"][0]["end"] = end;
                parts.extend(values(&part));
            }
            assert_eq!(parts, all, "{text:?} cut at {cut}");
        }
        all
    };
    for newline in ["\n", "\r", "\r\n"] {
        let text = ["a", "1", "", "3", "", ""].join(newline);
        assert_eq!(read(&text, true), [Some(1), None, Some(3), None], "{newline:?}");
        assert_eq!(read(&["", "1", "", ""].join(newline), false), [None, Some(1), None]);
    }
    folder.write("t/a.csv", "a,b,c,d,e\n\n1,,,,\n\n");
    assert_eq!(rows(&folder.ask(&folder.read("t/a.csv", json!({}))).unwrap().0).len(), 1, "of five columns none");
}

#[test]
fn documents_are_read_as_lines_are() {
    let folder = Folder::new();
    let read = |text: &str, cuts: Vec<u64>| {
        folder.write("t/a.json", text);
        let whole = folder.read("t/a.json", json!({"kind": "json"}));
        parts::in_parts(&folder, &whole, cuts)
    };
    let row = |a| (Some(a), Some("x".to_owned()), None, None, None);
    for text in [
        "[{\"a\": 1, \"b\": \"x\"}, {\"a\": 2, \"b\": \"x\"}]",
        "[\n  {\n    \"a\": 1,\n    \"b\": \"x\"\n  },\n  {\"a\": 2, \"b\": \"x\"}\n]\n",
        "{\n  \"a\": 1,\n  \"b\": \"x\"\n}\n{\n  \"a\": 2,\n  \"b\": \"x\"\n}\n",
        "{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2, \"b\": \"x\"}\n",
    ] {
        for cut in 0..text.len() as u64 {
            assert_eq!(read(text, vec![cut]), (vec![row(1), row(2)], vec![]), "{text:?} cut at {cut}");
        }
    }
    let (found, rejected) = read("[\n{\"a\": 1, \"b\": \"x\"},\n7,\n{\"a\": \"z\"}, null\n]", vec![]);
    assert_eq!(found, [row(1)]);
    let reported: Vec<String> =
        rejected.iter().map(|row| format!("{}: {} {}", row.line, row.reason, row.text)).collect();
    assert_eq!(
        reported,
        [
            "3: it is JSON, but no object 7",
            "4: column `a`: `z` is not an integer of 64 bits {\"a\": \"z\"}",
            "4: it is JSON, but no object null"
        ]
    );
    folder.write("t/a.json", "[{\"a\": 1},\n{\"a\": }]");
    let failure = folder.ask(&folder.read("t/a.json", json!({"kind": "json"}))).map(|_| ()).unwrap_err();
    assert_eq!(
        format!("{} {}", failure.code(), failure.message()),
        "DK-SRC-231 `t/a.json`, line 2: the JSON document is broken: expected value at column 7"
    );
}

#[test]
fn strict_columns_reject_what_is_written_in_another_form() {
    let folder = Folder::new();
    let read = |path: &str, text: &str, kind: &str| {
        folder.write(path, text);
        let mut request = folder.read(path, json!({"kind": kind}));
        for column in request["read"]["columns"].as_array_mut().unwrap() {
            column["strict"] = json!(true);
        }
        folder.ask(&request).unwrap()
    };
    let (batch, rejected) = read(
        "t/a.csv",
        "a,b,c,d,e\n1,007,1.5,,\n00737,,,,\n+7,,,,\n-0,,,,\n,,+1.5,,\n,,01.5,,\n2,+7,-1.500,,\n",
        "csv",
    );
    assert_eq!(rows(&batch).iter().map(|row| row.0).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(
        rejected[0].reason,
        "column `a`: `00737` is not written as an integer of 64 bits is, the type that was inferred; the setting `types` declares another"
    );
    let lines = ["{\"a\": 1}", "{\"a\": \"007\"}", "{\"a\": \"1\"}", "{\"b\": \"007\", \"d\": \"2026-01-01\"}"];
    let (batch, rejected) = read("t/a.jsonl", &lines.join("\n"), "json_lines");
    assert_eq!((batch.num_rows(), rejected.iter().map(|row| row.line).collect::<Vec<_>>()), (2, vec![2, 3]));
}

#[test]
fn dates_that_no_row_hash_takes_are_bad_rows() {
    let folder = Folder::new();
    folder.write("t/a.csv", "a,b,c,d,e\n1,,,0000-01-01,\n2,,,,0000-12-31T00:00:00\n3,,,9999-12-31,0001-01-01\n");
    let (batch, rejected) = folder.ask(&folder.read("t/a.csv", json!({}))).unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3]);
}

//! The source as a datakit sees it: what is read exactly, what is rejected, what is refused.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datakit_model::files::{FileColumn, FileFormat, FileOrigin, FilesRead};
use datakit_model::source::{Access, RejectedRow};
use datakit_model::{MemoryBudget, ReadLimits, TablePatterns};
use proptest::prelude::*;
use serde_json::json;

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

    async fn connect(&self) -> Box<dyn Connection> {
        let tables = TablePatterns::new(vec!["files.t*".parse().unwrap()]);
        let access = Access { tables, run_id: "run".into(), memory: MemoryBudget::new(1 << 20), rejecting: None };
        self.source.connect(access).await.unwrap()
    }

    /// What a request is answered: all rows, and the rejected ones.
    fn ask(&self, request: FilesRequest) -> Result<(RecordBatch, Vec<RejectedRow>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut reader = self.connect().await.files(request).await?;
            let (mut batches, mut rejected) = (Vec::new(), Vec::new());
            while let Some(batch) = reader.next().await? {
                assert!(batch.batch().num_rows() <= 7 || reader.schema().field(0).name() != "a");
                batches.push(batch.batch().clone());
            }
            rejected.extend_from_slice(reader.report().rejected.rows());
            Ok((concat_batches(&reader.schema(), &batches).unwrap(), rejected))
        })
    }

    fn rows(&self, read: &FilesRead) -> Result<(RecordBatch, Vec<RejectedRow>), Failure> {
        self.ask(FilesRequest::Read(read.clone()))
    }

    /// The first ten records of a file.
    fn sample(&self, path: &str, format: FileFormat) -> RecordBatch {
        let read = self.read_in(path, format, vec![]);
        self.ask(FilesRequest::Sample { read, max_rows: 10 }).unwrap().0
    }

    fn version(&self, path: &str) -> String {
        let (listing, _) = self.ask(FilesRequest::List).unwrap();
        let paths = listing.column_by_name("path").unwrap().as_string::<i32>().clone();
        let row = paths.iter().position(|found| found == Some(path)).unwrap();
        listing.column_by_name("version").unwrap().as_string::<i32>().value(row).to_owned()
    }

    /// A request for this file in the columns a (bigint), b (text), c (decimal), d (date), e (timestamp).
    fn read(&self, path: &str, format: FileFormat) -> FilesRead {
        let types = [
            DataType::Int64,
            DataType::Utf8,
            DataType::Decimal128(20, 3),
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ];
        let columns = ["a", "b", "c", "d", "e"].into_iter().zip(types);
        let columns = columns.map(|(name, data_type)| column(name, data_type, FileOrigin::Field)).collect();
        FilesRead { max_rejected_rows: 100, ..self.read_in(path, format, columns) }
    }

    fn read_in(&self, path: &str, format: FileFormat, columns: Vec<FileColumn>) -> FilesRead {
        let files = vec![part(path, self.version(path))];
        FilesRead { files, columns, ..FilesRead::new(TableId::new("files", "t"), format) }
    }
}

fn csv() -> FileFormat {
    FileFormat::new("csv")
}

fn column(name: &str, data_type: DataType, origin: FileOrigin) -> FileColumn {
    FileColumn { name: name.into(), data_type, origin, time_format: None, strict: false }
}

fn part(path: &str, version: String) -> FilePart {
    FilePart { path: path.into(), version, constants: vec![], start: 0, end: None }
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
        let (batch, rejected) = folder.rows(&folder.read("t/a.csv", FileFormat { delimiter, ..csv() })).unwrap();
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
        let whole = folder.read("t/a.jsonl", FileFormat::new("json-lines"));
        prop_assert_eq!(rows(&folder.rows(&whole).unwrap().0), table.clone());
        let (found, _) = parts::in_parts(&folder, &whole, cuts);
        prop_assert_eq!(found, table);
    }

    #[test]
    fn request_of_any_texts_is_refused(
        [path, name, schema, column_name, time_format] in prop::array::uniform5(any::<String>()),
        [kind, encoding, compression] in prop::array::uniform3(any::<String>()),
        [delimiter, quote] in prop::array::uniform2(any::<char>()),
        is_named in any::<bool>(),
    ) {
        let folder = Folder::new();
        folder.write("t/a.csv", "a\n1\n");
        let format = FileFormat { delimiter, quote: Some(quote), encoding, compression, ..FileFormat::new(kind) };
        let column = FileColumn { time_format: Some(time_format), ..column(&column_name, DataType::Date32, FileOrigin::Field) };
        let table = if is_named { TableId::new("files", "t") } else { TableId::new(schema, name) };
        let files = vec![part(&path, String::new())];
        for format in [csv(), format] {
            let read = FilesRead { files: files.clone(), columns: vec![column.clone()], ..FilesRead::new(table.clone(), format) };
            prop_assert!(folder.rows(&read).is_err());
            let sample = FilesRequest::Sample { read, max_rows: 1 };
            prop_assert!(folder.ask(sample).is_err());
        }
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
    let (batch, rejected) = folder.rows(&folder.read("t/a.csv", csv())).unwrap();
    assert_eq!(rows(&batch).into_iter().map(|row| row.0).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    let shown = |row: &RejectedRow| {
        let (file, text) = (row.file.as_deref().unwrap(), row.text.as_deref().unwrap());
        format!("{file}:{} {} [{} characters]", row.line.unwrap(), row.reason, text.chars().count())
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
    let (batch, rejected) = folder.rows(&folder.read("t/a.jsonl", FileFormat::new("json-lines"))).unwrap();
    let found = rows(&batch);
    assert_eq!(found[0], (Some(1), Some(r#"{"x": [1, 2.0]}"#.into()), Some(1_234_567_890_123_456_125), None, None));
    assert_eq!(found[1].1.as_deref(), Some("A"));
    insta::assert_debug_snapshot!(
        rejected.iter().map(|row| format!("{}: {}", row.line.unwrap(), row.reason)).collect::<Vec<_>>()
    );
}

#[test]
fn a_stray_quote_fails_its_file() {
    let folder = Folder::new();
    let rest = "2,,,,\n".repeat(5000);
    folder.write("t/a.csv", format!("a,b,c,d,e\n1,\"x,,,\n{rest}"));
    folder.write("t/b.csv", "a,b,c,d,e\n1,\"x,,,\n2,,,,\n");
    let failure = |path: &str| folder.rows(&folder.read(path, csv())).map(|_| ()).unwrap_err();
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
    let mut request = FilesRead { max_rejected_rows: 4, ..folder.read("t/a.csv", csv()) };
    assert_eq!(folder.rows(&request).unwrap().1.len(), 1);
    request.max_rejected_rows = 3;
    let failure = folder.rows(&request).unwrap_err();
    assert_eq!(
        failure.message(),
        "`t/a.csv`, line 2: column `a`: `x` is not an integer of 64 bits; it has 4 lines, and counts as so many rows"
    );
}

#[test]
fn files_without_a_header_are_read_by_place() {
    let folder = Folder::new();
    folder.write("t/a.csv", "1,\"x \\\"y\\\"\",1.5,,\n2,\"\\\\\",,,\n");
    let format = FileFormat { header: false, escape: Some('\\'), ..csv() };
    let (batch, rejected) = folder.rows(&folder.read("t/a.csv", format)).unwrap();
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
    let request = FilesRequest::Read(folder.read("t/a.csv", csv()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (rows, failure) = runtime.block_on(async {
        let mut reader = folder.connect().await.files(request).await.unwrap();
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
    let fine = folder.read("t/a.csv", csv());
    assert!(folder.rows(&fine).is_ok());
    let with = |change: &dyn Fn(&mut FilesRead)| {
        let mut request = fine.clone();
        change(&mut request);
        let failure = folder.rows(&request).map(|_| ()).unwrap_err();
        format!("{} {}", failure.code(), failure.message()).replace(folder.root.path().to_str().unwrap(), "[root]")
    };
    let path = |path: &str| with(&|read: &mut FilesRead| read.files[0].path = path.into());
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
        with(&|read| read.table.name = "secret".into()),
        with(&|read| read.files[0].version = "another".into()),
        with(&|read| read.files[0].start = 1),
        with(&|read| read.files[0].constants = vec![Some("x".into())]),
        with(&|read| read.columns.clear()),
        with(&|read| read.columns[1].name = "a".into()),
        with(&|read| read.columns[1].data_type = DataType::Binary),
        with(&|read| read.columns[1].origin = FileOrigin::Modified),
        with(&|read| read.columns[1].time_format = Some("%Y".into())),
        with(&|read| read.columns[3].time_format = Some("%!".into())),
        with(&|read| read.max_rejected_rows = 100_001),
        with(&|read| read.columns.truncate(4)),
        with(&|read| read.columns.push(column("f", DataType::Utf8, FileOrigin::Field))),
        with(&|read| read.format.kind = "json_lines".into()),
        with(&|read| read.format.delimiter = 'é'),
        with(&|read| read.format.delimiter = '\n'),
        with(&|read| read.format.quote = Some(',')),
        with(&|read| read.format.encoding = "klingon".into()),
        with(&|read| read.format.compression = "brotli".into()),
        with(&|read| read.format.compression = "gzip".into()),
    ];
    insta::assert_debug_snapshot!(refused);
}

#[test]
fn columns_of_files_are_not_of_their_rows() {
    let folder = Folder::new();
    folder.write("t/a.csv", "v\n1\n");
    let columns = vec![
        column("dt", DataType::Date32, FileOrigin::Constant),
        column("v", DataType::Int64, FileOrigin::Field),
        column("region", DataType::Utf8, FileOrigin::Constant),
        column("file", DataType::Utf8, FileOrigin::Path),
        column("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), FileOrigin::Modified),
    ];
    let with = |constants: [Option<&str>; 2]| FilePart {
        constants: constants.map(|constant| constant.map(str::to_owned)).into(),
        ..part("t/a.csv", folder.version("t/a.csv"))
    };
    let request = FilesRead {
        files: vec![with([Some("2026-01-01"), None]), with([Some("soon"), Some("x")])],
        max_rejected_rows: 1,
        ..folder.read_in("t/a.csv", csv(), columns)
    };
    let (batch, rejected) = folder.rows(&request).unwrap();
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
    let batch = folder.sample("t/a.csv", FileFormat { delimiter: ';', ..csv() });
    let records: Vec<&str> = batch.column(2).as_string::<i32>().iter().flatten().collect();
    assert_eq!(records, [r#"["a","b"]"#, r#"["1;2","x"]"#, r#"["y"]"#]);
    assert_eq!(batch.column(3).null_count(), 3, "a sample with a record has no problem");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values().as_ref(), [1, 2, 5]);
}

#[test]
fn sample_without_a_record_says_why_and_what_reads_the_file() {
    let folder = Folder::new();
    let reported = |path: &str, bytes: &[u8], format: FileFormat| {
        folder.write(path, bytes);
        let batch = folder.sample(path, format);
        assert_eq!(batch.num_rows(), batch.column(2).null_count());
        batch.column(3).as_string::<i32>().iter().flatten().collect::<Vec<_>>().join("|")
    };
    let lines = FileFormat::new("json-lines");
    let array = reported("t/a.jsonl", br#"[{"a":1},{"a":2}]"#, lines.clone());
    assert_eq!(
        array,
        "no record can be read; line 1: it is JSON, but no object; hint: the file begins as a JSON document does: set `format = \"json\"`"
    );
    let header = reported("t/a.csv", b"caf\xe9,b\n1,2\n", csv());
    assert!(header.contains("line 1") && header.contains("windows-1252"), "a row is no header: {header}");
    assert!(reported("t/b.jsonl", b"\n\na,b\n1,2\n", FileFormat::new("json")).contains("line 3"));
    assert_eq!(reported("t/c.jsonl", b"", lines), "", "an empty file has no problem");
}

#[test]
fn empty_lines_are_rows_of_a_file_with_one_column() {
    let folder = Folder::new();
    let read = |text: &str, header: bool| {
        folder.write("t/a.csv", text);
        let columns = vec![column("a", DataType::Int64, FileOrigin::Field)];
        let whole = folder.read_in("t/a.csv", FileFormat { header, quote: None, ..csv() }, columns);
        let values = |request: &FilesRead| -> Vec<Option<i64>> {
            folder.rows(request).unwrap().0.column(0).as_primitive::<Int64Type>().iter().collect()
        };
        let all = values(&whole);
        for cut in 1..text.len() as u64 {
            let mut parts = Vec::new();
            for (start, end) in [(0, Some(cut)), (cut, None)] {
                let mut part = whole.clone();
                (part.files[0].start, part.files[0].end) = (start, end);
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
    assert_eq!(rows(&folder.rows(&folder.read("t/a.csv", csv())).unwrap().0).len(), 1, "of five columns none");
}

#[test]
fn documents_are_read_as_lines_are() {
    let folder = Folder::new();
    let read = |text: &str, cuts: Vec<u64>| {
        folder.write("t/a.json", text);
        let whole = folder.read("t/a.json", FileFormat::new("json"));
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
    let shown = |row: &RejectedRow| format!("{}: {} {}", row.line.unwrap(), row.reason, row.text.as_deref().unwrap());
    let reported: Vec<String> = rejected.iter().map(shown).collect();
    assert_eq!(
        reported,
        [
            "3: it is JSON, but no object 7",
            "4: column `a`: `z` is not an integer of 64 bits {\"a\": \"z\"}",
            "4: it is JSON, but no object null"
        ]
    );
    folder.write("t/a.json", "[{\"a\": 1},\n{\"a\": }]");
    let failure = folder.rows(&folder.read("t/a.json", FileFormat::new("json"))).map(|_| ()).unwrap_err();
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
        let mut request = folder.read(path, FileFormat::new(kind));
        request.columns.iter_mut().for_each(|column| column.strict = true);
        folder.rows(&request).unwrap()
    };
    let (batch, rejected) = read(
        "t/a.csv",
        "a,b,c,d,e\n1,007,1.5,,\n00737,,,,\n+7,,,,\n-0,,,,\n,,+1.5,,\n,,01.5,,\n2,+7,-1.500,,\n",
        "csv",
    );
    assert_eq!(rows(&batch).iter().map(|row| row.0).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(rejected.iter().filter_map(|row| row.line).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    assert_eq!(
        rejected[0].reason,
        "column `a`: `00737` is not written as an integer of 64 bits is, the type that was inferred; the setting `types` declares another"
    );
    let lines = ["{\"a\": 1}", "{\"a\": \"007\"}", "{\"a\": \"1\"}", "{\"b\": \"007\", \"d\": \"2026-01-01\"}"];
    let (batch, rejected) = read("t/a.jsonl", &lines.join("\n"), "json-lines");
    assert_eq!((batch.num_rows(), rejected.iter().filter_map(|row| row.line).collect::<Vec<_>>()), (2, vec![2, 3]));
}

#[test]
fn dates_that_no_row_hash_takes_are_bad_rows() {
    let folder = Folder::new();
    folder.write("t/a.csv", "a,b,c,d,e\n1,,,0000-01-01,\n2,,,,0000-12-31T00:00:00\n3,,,9999-12-31,0001-01-01\n");
    let (batch, rejected) = folder.rows(&folder.read("t/a.csv", csv())).unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(rejected.iter().filter_map(|row| row.line).collect::<Vec<_>>(), [2, 3]);
}

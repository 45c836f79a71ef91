//! Files that are not what one expects: they cost their own table or their own row, and change no value in silence.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;

use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::{FilesWorld, python};
use serde_json::{Value, json};

/// Tables of a run that is expected to fail in part, with the codes of their errors.
#[track_caller]
fn outcome(world: &FilesWorld, arguments: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let mut all = vec!["run", "--output", "json"];
    all.extend(arguments);
    let output = world.host(&all);
    let summary = output.json();
    let of = |table: &Value| {
        let code = table["error"]["code"].as_str().or(table["status"].as_str()).unwrap();
        (table["table"].as_str().unwrap().to_owned(), code.to_owned())
    };
    (output.code, summary["tables"].as_array().unwrap().iter().map(of).collect())
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(table, code)| ((*table).to_owned(), (*code).to_owned())).collect()
}

/// Compares a file, its table and its rejected rows by readers that are not ours.
#[track_caller]
fn same_values(arguments: &[&Path]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/same_values.py");
    let output = Command::new(python()).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn table_that_cannot_be_loaded_fails_alone() {
    let world = FilesWorld::new();
    world.put("good.csv", "id\n1\n");
    let header: Vec<String> = (0..60).map(|number| format!("a_rather_long_column_name_{number:03}")).collect();
    world.put("delimiter.csv", format!("{}\n{}\n", header.join(";"), vec!["1"; 60].join(";")));
    world.put("key.jsonl", "{\"\":1,\"a\":2}\n");
    world.put("nul.jsonl", "{\"a\\u0000\":1}\n");
    world.put("twice.csv", "a,a\n1,2\n");
    let wide: Vec<String> = (0..5_000).map(|number| format!("c{number}")).collect();
    world.put("wide.csv", format!("{}\n{}\n", wide.join(","), vec!["1"; 5_000].join(",")));
    let expected = pairs(&[
        ("files.delimiter", "FILES-BRONZE-009"),
        ("files.good", "committed"),
        ("files.key", "FILES-BRONZE-009"),
        ("files.nul", "FILES-BRONZE-009"),
        ("files.twice", "DK-SRC-223"),
        ("files.wide", "DK-KIT-038"),
    ]);
    let plan = world.host(&["plan", "--output", "json"]);
    assert_eq!(plan.code, Some(1));
    let planned = plan.json();
    assert_eq!(planned.as_array().unwrap().len(), 6);
    assert_eq!(planned[0]["error"]["code"], "FILES-BRONZE-009");
    assert_eq!((&planned[1]["error"], &planned[5]["error"]["code"]), (&Value::Null, &json!("DK-KIT-038")));
    assert!(plan.stderr.contains("set `delimiter` to it") && plan.stderr.contains("files.wide"), "{}", plan.stderr);
    let discovered = world.host(&["discover", "--output", "json"]).json();
    assert_eq!(discovered.as_array().unwrap().len(), 6);
    assert_eq!(discovered[5]["error"]["code"], "DK-KIT-038");
    assert_eq!(outcome(&world, &[]), (Some(3), expected));
    assert_eq!(world.column("good", "id"), [json!(1)]);
}

#[test]
fn file_whose_name_the_sink_cannot_hold_fails_alone() {
    let world = FilesWorld::new().with_postgres();
    let long = "n".repeat(70);
    world.put(&format!("{long}.csv"), "id\n1\n");
    world.put("orders.csv", "id\n1\n2\n");
    let table = format!("files.{long}");
    assert_eq!(outcome(&world, &[]), (Some(3), pairs(&[(&table, "DK-SNK-002"), ("files.orders", "committed")])));
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"LANDING_files\".orders"), "2");
    let plan = world.host(&["plan"]);
    assert!(plan.code == Some(1) && plan.stdout.contains("orders"), "{}", plan.stdout);
    assert!(plan.stderr.contains("DK-SNK-002"), "{}", plan.stderr);
}

#[test]
fn values_of_fields_are_loaded_as_written_or_their_row_is_rejected() {
    let world = FilesWorld::new();
    let names = ["zip", "flag", "price", "rate", "day", "at", "moment", "text"];
    let usual =
        ["10001", "true", "12.50", "1.5", "2026-01-31", "2026-01-31T10:00:00", "2026-01-31T10:00:00+01:00", "x"];
    let other =
        ["10002", "FALSE", "-3.99", "0.25", "2026-02-01", "2026-02-01 10:00:00.5", "2026-01-31 10:00:00Z", "007"];
    let late: [&[&str]; 8] = [
        &["00737", "+7", "-0", "7.0", "1e3", "0x7", "7", "-7", "0", "007"],
        &["1", "0", "yes", "T", "True", ""],
        &["012.50", "+1.50", ".5", "1.", "1.5", "7", "1e2", "12.505", "0.00", "-12.500"],
        &[
            "0.1234567890123456789",
            "NaN",
            "inf",
            "01.5",
            ".5",
            "0.30000000000000004",
            "1e3",
            "1e400",
            "12345678901234567.25",
        ],
        &["0000-01-01", "2026-2-1", "20260201", "2026-02-30", "9999-12-31", "0001-01-01"],
        &["2026-01-31T10:00:00Z", "2026-01-31T10:00", "2026-01-31", "2026-01-31T10:00:00.1234567"],
        &["2026-01-31T10:00:00", "2026-01-31T10:00:00+0100", "9999-12-31T23:59:59-01:00", "2026-01-31T10:00:00-00:30"],
        &["+7", "00737", "true", "é"],
    ];
    let mut text = format!("id,{}\n", names.join(","));
    let mut id = 0;
    let mut add = |fields: &[&str]| {
        id += 1;
        text += &format!("{id},{}\n", fields.join(","));
    };
    add(&usual);
    add(&other);
    for (place, forms) in late.iter().enumerate() {
        for form in *forms {
            let mut fields = usual;
            fields[place] = form;
            add(&fields);
        }
    }
    world.put("t.csv", &text);
    world.run(&["--settings", r#"{"sample_rows": 2, "max_bad_rows": 100}"#]);
    let bronze = world.path().join("bronze/LANDING/files");
    let file = world.path().join("landing/t.csv");
    let found = same_values(&[&file, &bronze.join("t"), &bronze.join("t__rejected")]);
    assert_eq!((&found["loaded"], found["rejected"].as_array().unwrap().len()), (&json!(23), 32), "{found}");
    world.put("u.csv", &text);
    let refused = world.refused(&["--tables", "files.u", "--settings", r#"{"sample_rows": 2}"#]);
    let expected = "DK-SRC-230: `u.csv`, line 4: column `zip`: `00737` is not written as an integer of 64 bits is, \
                    the type that was inferred; the setting `types` declares another";
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn values_of_objects_are_loaded_as_written_or_their_row_is_rejected() {
    let world = FilesWorld::new();
    let mut lines = vec![r#"{"id": 1, "zip": 10001, "flag": true, "rate": 1.5, "text": "a"}"#.to_owned()];
    let late = [
        r#""zip": "007""#,
        r#""zip": "7""#,
        r#""zip": true"#,
        r#""zip": 7.5"#,
        r#""zip": 7"#,
        r#""zip": null"#,
        r#""flag": 1"#,
        r#""flag": "true""#,
        r#""flag": false"#,
        r#""rate": 0.1234567890123456789"#,
        r#""rate": "1.5""#,
        r#""rate": 2.25"#,
        r#""text": "007""#,
        r#""text": "+7""#,
    ];
    for (place, member) in late.iter().enumerate() {
        lines.push(format!("{{\"id\": {}, {member}}}", place + 2));
    }
    world.put("t.jsonl", lines.join("\n") + "\n");
    world.run(&["--settings", r#"{"sample_rows": 1, "max_bad_rows": 100}"#]);
    let bronze = world.path().join("bronze/LANDING/files");
    let file = world.path().join("landing/t.jsonl");
    let found = same_values(&[&file, &bronze.join("t"), &bronze.join("t__rejected")]);
    assert_eq!((&found["loaded"], found["rejected"].as_array().unwrap().len()), (&json!(7), 8), "{found}");
}

#[test]
fn empty_lines_of_one_column_are_rows() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "a\n1\n\n3\n\n");
    world.put("many/a.csv", format!("a\r\n{}", "\r\n".repeat(19_999)));
    world.put("unnamed/a.csv", "\n".repeat(19_999));
    world.put("two/a.csv", "a,b\n\n1,2\n\n");
    let settings = r#"{"tables": {"files.unnamed": {"header": false}}}"#;
    world.run(&["--settings", settings]);
    // pyarrow's own reader, told that an empty line is a value.
    let count = |table: &str, names: &str| {
        let script = format!(
            "import pyarrow.csv as csv, sys; options = csv.ParseOptions(ignore_empty_lines=False); \
             names = csv.ReadOptions({names}); \
             print(csv.read_csv(sys.argv[1], parse_options=options, read_options=names).num_rows)"
        );
        let file = world.path().join(format!("landing/{table}/a.csv"));
        let output = Command::new(python()).args(["-c", &script]).arg(file).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<usize>().unwrap()
    };
    assert_eq!((world.column("t", "a").len(), count("t", "")), (4, 4));
    assert_eq!(world.column("t", "a"), [json!(1), json!(3), Value::Null, Value::Null]);
    assert_eq!((world.column("many", "a").len(), count("many", "")), (19_999, 19_999));
    assert_eq!(world.column("unnamed", "column_1").len(), 19_999);
    assert_eq!(count("unnamed", "column_names=['column_1']"), 19_999);
    assert_eq!(world.column("two", "a").len(), 1);
}

#[test]
fn documents_are_loaded_as_python_reads_them() {
    let world = FilesWorld::new();
    let array = "[{\"a\":1},{\"a\":2}]";
    world.put("array.json", array);
    world.put("pretty.json", "[\n  {\n    \"a\": 3,\n    \"b\": [\"]\", {}]\n  },\n  {\n    \"a\": 4\n  }\n]\n");
    world.put("object.json", "{\n  \"a\": 5\n}\n");
    world.put("lines.json", "{\"a\": 6}\n{\"a\": 7}\n");
    world.put("broken.json", "[{\"a\": 8}, {\"a\": }]");
    let (code, tables) = outcome(&world, &[]);
    assert_eq!(code, Some(3));
    assert_eq!(tables[1], ("files.broken".to_owned(), "DK-SRC-231".to_owned()));
    for table in ["array", "pretty", "object"] {
        let script = "import json, sys; found = json.load(open(sys.argv[1])); \
                      print(json.dumps([row['a'] for row in (found if isinstance(found, list) else [found])]))";
        let file = world.path().join(format!("landing/{table}.json"));
        let output = Command::new(python()).args(["-c", script]).arg(file).output().unwrap();
        let expected: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(world.column(table, "a"), expected, "{table}");
    }
    assert_eq!(world.column("lines", "a"), [json!(6), json!(7)]);
    world.put("odd.jsonl", array);
    let refused = world.refused(&["--tables", "files.odd"]);
    let expected = "FILES-BRONZE-010: `odd.jsonl`: no record can be read; line 1: it is JSON, but no object";
    assert!(refused.starts_with(expected) && refused.contains("set `format = \"json\"`"), "{refused}");
    let settings = r#"{"defaults": {"format": "json"}}"#;
    assert_eq!(world.run(&["--tables", "files.odd", "--settings", settings])["rows"], 2, "as the hint says");
}

#[test]
fn file_without_rows_freezes_no_type() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,born\n");
    world.put("u.csv", "id\n1\n");
    let output = world.host(&["run", "--output", "json"]).success();
    assert_eq!(output.json()["tables"].as_array().unwrap().len(), 1);
    assert!(output.stderr.contains("left out until one of its files has a row"), "{}", output.stderr);
    world.put("t/b.csv", "id,born\n1,2000-01-01\n");
    assert_eq!(world.run(&[])["rows"], 1);
    let header = world.delta("t");
    assert!(header.starts_with("{\"id\": \"Int64\", \"born\": \"Date\""), "{header}");
}

#[test]
fn date_that_the_row_hash_cannot_take_is_a_rejected_row() {
    let world = FilesWorld::new();
    world.put("t.csv", "id,born\n1,2000-01-01\n2,0000-12-31\n3,2001-01-01\n");
    let settings = |bad| format!(r#"{{"max_bad_rows": {bad}, "defaults": {{"types": {{"born": "date"}}}}}}"#);
    let refused = world.refused(&["--settings", &settings(0)]);
    assert!(refused.starts_with("DK-SRC-230: `t.csv`, line 3: column `born`: `0000-12-31`"), "{refused}");
    assert_eq!(world.run(&["--settings", &settings(1)])["rows"], 2);
    assert_eq!(world.column("t__rejected", "source_line"), [json!(3)]);
}

#[test]
fn deep_folders_are_read_and_names_that_are_not_utf8_are_named() {
    let world = FilesWorld::new();
    world.put(&format!("t/{}a.csv", "d/".repeat(100)), "id\n1\n");
    let odd = OsStr::from_bytes(b"caf\xe9.csv");
    fs::write(world.path().join("landing/t").join(odd), "id\n2\n").unwrap();
    let output = world.host(&["run", "--output", "json"]).success();
    assert_eq!(output.json()["rows"], 1);
    assert!(output.stderr.contains("names that are not UTF-8 are left out"), "{}", output.stderr);
    assert!(output.stderr.contains("t/caf"), "{}", output.stderr);
}

/// Keys that no path names are skipped and named; markers of folders are no files.
fn odd_keys(store: ObjectStoreServer, is_azure: bool) {
    let world = FilesWorld::in_store(store);
    world.put("t/a.csv", "id\n1\n");
    world.put("t/%2Fb.csv", "id\n2\n");
    world.put("u/", "");
    world.put("folder.csv/", "");
    world.put("folder.csv/d.csv", "id\n4\n");
    if is_azure {
        world.put_folder("marked.csv");
    } else {
        // The Azure emulator cannot list what it took under such a key.
        world.put("t/c%07.csv", "id\n3\n");
        world.put("t/%2E%2E/e.csv", "id\n5\n");
    }
    let output = world.host(&["run", "--output", "json"]).success();
    let summary = output.json();
    let tables: Vec<&str> =
        summary["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["files.folder.csv", "files.t"], "{}", output.stderr);
    assert_eq!(summary["rows"], 2);
    assert_eq!(world.column("t", "id"), [json!(1)]);
    assert!(output.stderr.contains("objects whose keys are no paths are left out"), "{}", output.stderr);
    assert!(output.stderr.contains("t//b.csv"), "{}", output.stderr);
    assert_eq!(world.run(&[])["rows"], 0);
}

#[test]
fn odd_keys_of_s3_cost_themselves_alone() {
    odd_keys(ObjectStoreServer::s3().unwrap(), false);
}

#[test]
fn odd_keys_of_azure_cost_themselves_alone() {
    odd_keys(ObjectStoreServer::azure().unwrap(), true);
}

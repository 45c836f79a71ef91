//! The datakit's decisions, against files in memory: no host, no store.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::ipc::writer::StreamWriter;
use datakit_sdk::datakit::parse_settings;
use datakit_sdk::files::{Files, FilesRead, Origin};
use datakit_sdk::{Datakit as _, Error, Rows, Run, TableId, TablePlan};
use proptest::prelude::*;
use serde_json::json;

use crate::memory::Memory;
use crate::planning::State;
use crate::settings::Settings;
use crate::{FilesBronze, discover, errors, plan};

/// Files with the records their samples have.
#[derive(Default)]
struct Store {
    files: Vec<(String, i64, i64, String)>,
    records: HashMap<String, Vec<String>>,
    sampled: RefCell<Vec<String>>,
}

impl Store {
    /// A file of the table that its first folder names.
    fn with(mut self, path: &str, records: &[&str]) -> Self {
        let number = i64::try_from(self.files.len()).unwrap();
        self.files.push((path.to_owned(), 100, number * 1_000_000, format!("v{number}")));
        self.records.insert(path.to_owned(), records.iter().map(|record| (*record).to_owned()).collect());
        self
    }

    fn sized(mut self, path: &str, size: i64) -> Self {
        self.files.push((path.to_owned(), size, 0, "v".into()));
        self
    }

    fn changed(mut self, path: &str) -> Self {
        self.files.iter_mut().filter(|file| file.0 == path).for_each(|file| file.3.push('x'));
        self
    }

    fn without(mut self, path: &str) -> Self {
        self.files.retain(|file| file.0 != path);
        self
    }
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Rows::from_ipc(&writer.into_inner().unwrap()).unwrap()
}

fn strings(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

impl Files for Store {
    fn all_files(&self) -> Result<Vec<Rows>, Error> {
        let files = || self.files.iter();
        let table = |path: &str| path.split('/').next().unwrap().to_owned();
        let times = TimestampMicrosecondArray::from_iter_values(files().map(|file| file.2)).with_timezone("UTC");
        Ok(vec![rows(vec![
            ("schema_name", strings(files().map(|_| "files".to_owned()))),
            ("table_name", strings(files().map(|file| table(&file.0)))),
            ("path", strings(files().map(|file| file.0.clone()))),
            ("size", Arc::new(Int64Array::from_iter_values(files().map(|file| file.1)))),
            ("modified", Arc::new(times)),
            ("version", strings(files().map(|file| file.3.clone()))),
        ])])
    }

    fn first_records(&self, request: &FilesRead, _: u32) -> Result<Vec<Rows>, Error> {
        let path = &request.files[0].path;
        self.sampled.borrow_mut().push(path.clone());
        if path.starts_with("secret/") {
            return Err(Error::datakit("DK-SRC-272", "the table is not granted"));
        }
        let records = self.records.get(path).cloned().unwrap_or_default();
        // A record that is none stands for the reason why there is none.
        let (good, bad): (Vec<_>, Vec<_>) = records
            .into_iter()
            .map(|record| if record.starts_with(['[', '{']) { (Some(record), None) } else { (None, Some(record)) })
            .unzip();
        let texts = |texts: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
        Ok(vec![rows(vec![("record", texts(good)), ("problem", texts(bad))])])
    }
}

fn id(name: &str) -> TableId {
    TableId::new("files", name)
}

fn run(settings: &str) -> Run<Settings> {
    Run {
        run_id: "r".into(),
        load_id: String::new(),
        started_at_micros: 10_000_000,
        source_system: "S".into(),
        settings: parse_settings::<Settings>(settings).unwrap(),
    }
}

fn planned(store: &Store, settings: &str, watermark: Option<&str>) -> Result<TablePlan, Error> {
    plan(store, &run(settings), &[id("t")], |_| watermark.map(str::to_owned)).map(|mut plans| plans.remove(0))
}

fn states(plan: &TablePlan) -> Vec<State> {
    plan.partitions.iter().map(|partition| serde_json::from_slice(&partition.state).unwrap()).collect()
}

fn paths(plan: &TablePlan) -> Vec<String> {
    states(plan).into_iter().flat_map(|state| state.read.files).map(|file| file.path).collect()
}

fn types(plan: &TablePlan) -> Vec<(String, String)> {
    let columns = states(plan).remove(0).read.columns;
    let own = |from| matches!(from, Origin::Path | Origin::Modified);
    columns.into_iter().filter(|column| !own(column.from)).map(|column| (column.name, column.arrow_type)).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn each_file_is_loaded_once() {
    let csv = &[r#"["id","name"]"#, r#"["1","a"]"#];
    let store = Store::default().with("t/a.csv", csv).with("t/b.csv", csv);
    let first = planned(&store, "{}", None).unwrap();
    assert_eq!(paths(&first), ["t/a.csv", "t/b.csv"]);
    let left = first.watermark.clone().unwrap();
    let second = planned(&store, "{}", Some(&left)).unwrap();
    assert_eq!(paths(&second), Vec::<String>::new());
    assert_eq!(second.partitions.len(), 1, "a partition without files has the table's columns");
    assert_eq!(types(&second), types(&first));
    assert_eq!(second.watermark, first.watermark);
    let store = store.with("t/c.csv", csv);
    let third = planned(&store, "{}", Some(&left)).unwrap();
    assert_eq!(paths(&third), ["t/c.csv"]);
    let everything = planned(&store, r#"{"load": "all_files"}"#, Some(&left)).unwrap();
    assert_eq!((paths(&everything).len(), everything.watermark), (3, None));
}

#[test]
fn a_changed_file_needs_a_decision() {
    let store =
        Store::default().with("t/a.csv", &[r#"["id"]"#, r#"["1"]"#]).with("t/b.csv", &[r#"["id"]"#, r#"["1"]"#]);
    let left = planned(&store, "{}", None).unwrap().watermark.unwrap();
    let store = store.changed("t/a.csv");
    let error = planned(&store, "{}", Some(&left)).unwrap_err();
    assert_eq!(error.code, errors::CHANGED_FILE);
    assert!(error.message.contains("t/a.csv") && error.message.contains("changed_files"), "{}", error.message);
    let load = planned(&store, r#"{"changed_files": "load"}"#, Some(&left)).unwrap();
    assert_eq!(paths(&load), ["t/a.csv"]);
    assert!(planned(&store, "{}", load.watermark.as_deref()).is_ok());
    assert_eq!(paths(&planned(&store, r#"{"changed_files": "skip"}"#, Some(&left)).unwrap()), Vec::<String>::new());
}

#[test]
fn a_file_that_comes_back_is_not_loaded_again() {
    let store =
        || Store::default().with("t/a.csv", &[r#"["id"]"#, r#"["1"]"#]).with("t/b.csv", &[r#"["id"]"#, r#"["1"]"#]);
    let left = planned(&store(), "{}", None).unwrap().watermark.unwrap();
    let gone = planned(&store().without("t/a.csv"), "{}", Some(&left)).unwrap().watermark.unwrap();
    assert_eq!(paths(&planned(&store(), "{}", Some(&gone)).unwrap()), Vec::<String>::new());
    let forget = r#"{"forget_gone_files": true}"#;
    let forgotten = planned(&store().without("t/a.csv"), forget, Some(&left)).unwrap().watermark.unwrap();
    assert_eq!(paths(&planned(&store(), forget, Some(&forgotten)).unwrap()), ["t/a.csv"]);
}

#[test]
fn files_that_are_too_young_wait() {
    let store =
        Store::default().with("t/old.csv", &[r#"["id"]"#, r#"["1"]"#]).with("t/young.csv", &[r#"["id"]"#, r#"["1"]"#]);
    let plan = planned(&store, r#"{"min_age_seconds": 10}"#, None).unwrap();
    assert_eq!(paths(&plan), ["t/old.csv"]);
    assert_eq!(paths(&planned(&store, "{}", plan.watermark.as_deref()).unwrap()), ["t/young.csv"]);
}

#[test]
fn columns_are_inferred_once_and_kept() {
    let store = Store::default()
        .with("t/dt=2026-01-01/a.csv", &[r#"["id"," price ","zip"]"#, r#"["1","1.50","01234"]"#, r#"["x"]"#])
        .with("t/dt=2026-01-02/b.csv", &[r#"["id","note","zip"]"#, r#"["2","","5"]"#]);
    let first = planned(&store, "{}", None).unwrap();
    let expected =
        pairs(&[("id", "Int64"), ("price", "Decimal128(38, 2)"), ("zip", "Utf8"), ("note", "Utf8"), ("dt", "Date32")]);
    assert_eq!(types(&first), expected);
    assert_eq!(states(&first)[0].read.files[1].constants, [Some("2026-01-02".to_owned())]);
    let asked = store.sampled.borrow().len();
    let store = store.with("t/dt=2026-01-03/c.csv", &[r#"["id","price","zip"]"#, r#"["n/a","x","y"]"#]);
    let second = planned(&store, "{}", first.watermark.as_deref()).unwrap();
    assert_eq!(types(&second), expected, "what a later file holds changes no type");
    assert_eq!(store.sampled.borrow().len(), asked, "and is not even looked at");
    let store = store.with("t/dt=2026-01-04/region=eu/d.csv", &[]);
    let error = planned(&store, "{}", second.watermark.as_deref()).unwrap_err();
    assert_eq!(error.code, errors::NEW_FOLDER);
}

#[test]
fn objects_keep_the_order_of_their_keys() {
    let store = Store::default().with(
        "t/a.jsonl",
        &[
            r#"{"z": 1, "a": "2026-01-01", "n": null, "o": {"x": 1}, "f": 1.0, "b": true, "big": 9007199254740993}"#,
            r#"{"late": 2, "f": 3}"#,
        ],
    );
    let expected = [
        ("z", "Int64"),
        ("a", "Utf8"),
        ("n", "Utf8"),
        ("o", "Utf8"),
        ("f", "Float64"),
        ("b", "Boolean"),
        ("big", "Int64"),
        ("late", "Int64"),
    ];
    assert_eq!(types(&planned(&store, "{}", None).unwrap()), pairs(&expected));
}

#[test]
fn numbers_of_objects_keep_their_digits() {
    let store = Store::default().with(
        "t/a.jsonl",
        &[
            r#"{"amount": 12345678901234.567, "id": 18446744073709551616, "rate": 1.5, "far": 1e400}"#,
            r#"{"rate": 2.5}"#,
        ],
    );
    let expected = [("amount", "Decimal128(38, 3)"), ("id", "Decimal128(38, 0)"), ("rate", "Float64"), ("far", "Utf8")];
    assert_eq!(types(&planned(&store, "{}", None).unwrap()), pairs(&expected));
}

#[test]
fn a_format_that_would_lose_something_is_refused() {
    let store = Store::default().with("t/a.csv", &[]);
    let fails = |column_type: &str, format: &str| {
        let schema = json!([{"name": "at", "type": column_type, "format": format}]);
        planned(&store, &json!({"defaults": {"schema": schema}}).to_string(), None).unwrap_err()
    };
    let error = fails("timestamp", "%d.%m.%Y %H:%M %z");
    assert_eq!(error.code, errors::SETTING);
    assert!(error.message.contains("the column `at` of files.t") && error.message.contains("timestamptz"), "{error:?}");
    assert_eq!(fails("date", "%d.%m.%Y %H:%M").code, errors::SETTING);
    let fine = r#"{"defaults": {"schema": [{"name": "at", "type": "timestamptz", "format": "%d.%m.%Y %H:%M %z"}]}}"#;
    assert!(planned(&store, fine, None).is_ok());
}

#[test]
fn declared_columns_are_what_they_are() {
    let store = Store::default().with("t/dt=1/a.csv", &[r#"["x"]"#, r#"["1"]"#]);
    let declared = r#"{"tables": {"files.t": {
        "schema": [{"name": "id", "type": "integer"}, {"name": "at", "type": "date", "format": "%d.%m.%Y"}],
        "types": {"dt": "text"}}}}"#;
    let plan = planned(&store, declared, None).unwrap();
    assert_eq!(types(&plan), pairs(&[("id", "Int32"), ("at", "Date32"), ("dt", "Utf8")]));
    assert!(store.sampled.borrow().is_empty(), "nothing is left to infer");
    let fails = |settings: &str| planned(&store, settings, None).unwrap_err().code;
    assert_eq!(fails(r#"{"defaults": {"types": {"y": "text"}}}"#), errors::NO_COLUMNS);
    assert_eq!(fails(r#"{"defaults": {"types": {"x": "varchar"}}}"#), errors::SETTING);
    assert_eq!(fails(r#"{"columns": {"files.t": {"exclude": ["xx"]}}}"#), errors::NO_COLUMNS);
    assert_eq!(fails(r#"{"defaults": {"schema": [{"name": "dt", "type": "date"}]}}"#), errors::COLUMN_TWICE);
    assert_eq!(fails(r#"{"defaults": {"schema": [{"name": "_source_file", "type": "text"}]}}"#), errors::COLUMN_TWICE);
    assert_eq!(fails(r#"{"exclude": ["files.*"]}"#), errors::NO_TABLE);
    assert!(planned(&store, r#"{"defaults": {"hive_partitions": false}}"#, None).is_ok());
}

#[test]
fn excluded_columns_are_read_as_text_and_go_no_further() {
    let store = Store::default().with("t/a.csv", &[r#"["id","born"]"#, r#"["1","2000-01-01"]"#]);
    let plan = planned(&store, r#"{"columns": {"files.t": {"exclude": ["born"]}}}"#, None).unwrap();
    assert_eq!(types(&plan), pairs(&[("id", "Int64"), ("born", "Utf8")]));
    assert_eq!(states(&plan)[0].selected, ["id"]);
}

#[test]
fn files_are_grouped_and_large_ones_cut_where_lines_are_records() {
    let cut = r#"{"partition_bytes": 2000, "defaults": {"schema": [{"name": "id", "type": "bigint"}]}}"#;
    let jsonl = Store::default().sized("t/a.jsonl", 10_001).sized("t/b.jsonl", 100).sized("t/c.jsonl", 100);
    let plan = planned(&jsonl, cut, None).unwrap();
    let parts: Vec<Vec<(String, u64, Option<u64>)>> = states(&plan)
        .into_iter()
        .map(|state| state.read.files.into_iter().map(|file| (file.path, file.start, file.end)).collect())
        .collect();
    assert_eq!(parts.len(), 6);
    assert_eq!(parts[0], [("t/a.jsonl".to_owned(), 0, Some(1666))]);
    assert_eq!(parts[5][0], ("t/a.jsonl".to_owned(), 8334, None), "the last part has no end");
    assert_eq!(parts[5].len(), 3, "small files share a partition");
    let whole = |store: &Store, settings: &str| states(&planned(store, settings, None).unwrap())[0].read.files[0].end;
    assert_eq!(whole(&Store::default().sized("t/a.csv", 10_000), cut), None, "a quoted field may hold a line's end");
    assert_eq!(whole(&Store::default().sized("t/a.jsonl.gz", 10_000), cut), None);
    let unquoted = cut.replace(r#""schema""#, r#""quote": "", "schema""#);
    assert_eq!(whole(&Store::default().sized("t/a.csv", 10_000), &unquoted), Some(2000));
}

#[test]
fn states_stay_below_their_limit() {
    let mut store = Store::default();
    for number in 0..3000 {
        store = store.sized(&format!("t/{}/{number:05}.csv", "long".repeat(20)), 10);
    }
    let plan = planned(&store, r#"{"defaults": {"schema": [{"name": "id", "type": "bigint"}]}}"#, None).unwrap();
    assert_eq!(paths(&plan).len(), 3000);
    assert!(plan.partitions.iter().all(|partition| partition.state.len() <= 64 << 10));
}

#[test]
fn discovery_looks_into_no_table_it_may_not_read() {
    let store =
        Store::default().with("t/a.csv", &[r#"["id"]"#, r#"["1"]"#]).with("secret/a.csv", &[r#"["id"]"#, r#"["1"]"#]);
    let tables = discover(&store, &run("{}"), |_| None).unwrap();
    let listed: Vec<(&str, usize)> = tables.iter().map(|table| (table.id.name.as_str(), table.columns.len())).collect();
    assert_eq!(listed, [("secret", 0), ("t", 1)]);
    assert_eq!(tables[1].estimated_bytes, Some(100));
}

#[test]
fn table_without_a_row_is_left_out_and_freezes_no_type() {
    let store = Store::default().with("t/a.csv", &[r#"["id","born"]"#]).with("other/a.jsonl", &[]);
    let names = |store: &Store, settings: &str| -> Vec<String> {
        discover(store, &run(settings), |_| None).unwrap().into_iter().map(|table| table.id.name).collect()
    };
    assert_eq!(names(&store, "{}"), [""; 0]);
    assert_eq!(planned(&store, "{}", None).unwrap_err().code, errors::NO_ROW);
    let typed = r#"{"tables": {"files.t": {"types": {"id": "bigint", "born": "date"}}}}"#;
    assert_eq!(names(&store, typed), ["t"]);
    assert_eq!(types(&planned(&store, typed, None).unwrap()), pairs(&[("id", "Int64"), ("born", "Date32")]));
    let store = store.with("t/b.csv", &[r#"["id","born"]"#, r#"["1","2000-01-01"]"#]);
    let plan = planned(&store, "{}", None).unwrap();
    assert_eq!(types(&plan), pairs(&[("id", "Int64"), ("born", "Date32")]));
    assert_eq!(paths(&plan), ["t/a.csv", "t/b.csv"], "the file without a row is loaded as well");
}

#[test]
fn a_row_in_the_largest_file_is_found_among_files_without_one() {
    let mut store = Store::default();
    for number in 0..50 {
        store = store.with(&format!("t/{number:02}.csv"), &[r#"["id"]"#]);
    }
    store.files[17].1 = 200;
    store.records.insert("t/17.csv".into(), vec![r#"["id"]"#.into(), r#"["1"]"#.into()]);
    assert_eq!(types(&planned(&store, "{}", None).unwrap()), pairs(&[("id", "Int64")]));
    assert_eq!(store.sampled.borrow().len(), 6);
}

#[test]
fn file_without_a_readable_record_is_named_with_the_reason() {
    let store =
        Store::default().with("t/a.jsonl", &["no record can be read; line 1: it is JSON, but no object; hint: set it"]);
    let error = planned(&store, "{}", None).unwrap_err();
    assert_eq!(error.code, errors::NO_RECORD);
    assert_eq!(error.message, "`t/a.jsonl`: no record can be read; line 1: it is JSON, but no object; hint: set it");
    let store = store.with("t/b.jsonl", &[r#"{"id": 1}"#]);
    assert_eq!(types(&planned(&store, "{}", None).unwrap()), pairs(&[("id", "Int64")]), "reading says it");
}

#[test]
fn names_that_no_table_has_fail_their_table_or_are_left_out() {
    let long = "x".repeat(1025);
    let store = Store::default()
        .with("t/a.jsonl", &[&json!({"": 1, "a\0": 2, &long: 3, "b": 4}).to_string()])
        .with("u/a.csv", &[r#"["id"]"#, r#"["1"]"#]);
    let error = planned(&store, "{}", None).unwrap_err();
    assert_eq!(error.code, errors::COLUMN_NAME);
    assert!(error.message.contains("t/a.jsonl") && error.message.contains("extra_columns"), "{}", error.message);
    let tables = discover(&store, &run("{}"), |_| None).unwrap();
    let listed: Vec<(&str, usize)> = tables.iter().map(|table| (table.id.name.as_str(), table.columns.len())).collect();
    assert_eq!(listed, [("t", 0), ("u", 1)], "the other table is known");
    let ignoring = planned(&store, r#"{"defaults": {"extra_columns": "ignore"}}"#, None).unwrap();
    assert_eq!(types(&ignoring), pairs(&[("b", "Int64")]));
}

#[test]
fn inferred_columns_are_strict_and_declared_ones_are_not() {
    let store = Store::default().with("t/dt=1/a.csv", &[r#"["id","zip"]"#, r#"["1","2"]"#]);
    let strict = |settings: &str, watermark: Option<&str>| -> Vec<(String, bool)> {
        let columns = states(&planned(&store, settings, watermark).unwrap()).remove(0).read.columns;
        columns.into_iter().map(|column| (column.name, column.strict)).collect()
    };
    let expected = |list: &[(&str, bool)]| -> Vec<(String, bool)> {
        let own = [("_source_file", false), ("_source_modified_at", false)];
        list.iter().chain(&own).map(|(name, strict)| ((*name).to_owned(), *strict)).collect()
    };
    let all = expected(&[("id", true), ("zip", true), ("dt", true)]);
    assert_eq!(strict("{}", None), all);
    let remembered = planned(&store, "{}", None).unwrap().watermark.unwrap();
    assert!(!remembered.contains("strict"), "it follows from the settings of each run: {remembered}");
    assert_eq!(strict("{}", Some(&remembered)), all);
    let typed = r#"{"defaults": {"types": {"zip": "integer"}}}"#;
    assert_eq!(strict(typed, None), expected(&[("id", true), ("zip", false), ("dt", true)]));
    let declared = r#"{"defaults": {"schema": [{"name": "id", "type": "bigint"}]}}"#;
    assert_eq!(strict(declared, None), expected(&[("id", false), ("dt", true)]));
}

#[test]
fn a_memory_of_something_else_is_reported() {
    let store = Store::default().with("t/a.csv", &[r#"["id"]"#, r#"["1"]"#]);
    assert_eq!(planned(&store, "{}", Some("2026-01-01")).unwrap_err().code, errors::WATERMARK);
    let memory = Memory::parse(planned(&store, "{}", None).unwrap().watermark.as_deref().unwrap()).unwrap();
    assert_eq!(memory.columns.len(), 1);
}

#[test]
fn the_description_is_of_this_package() {
    let description = FilesBronze::describe();
    assert_eq!((description.name.as_str(), description.version.as_str()), ("files-bronze", "0.1.0"));
    assert_eq!(description.roles[0].kinds, ["files"]);
}

proptest! {
    /// Whatever comes when: over all runs every file is loaded once.
    #[test]
    fn files_that_come_in_any_order_are_loaded_once(arrivals in prop::collection::vec(0_usize..6, 1..40)) {
        let settings = r#"{"partition_bytes": 1024, "defaults": {"schema": [{"name": "id", "type": "bigint"}]}}"#;
        let mut store = Store::default();
        let (mut loaded, mut watermark, mut number) = (Vec::new(), None::<String>, 0);
        for arriving in arrivals {
            for _ in 0..arriving {
                // Later files may come before earlier ones in the order of names.
                store = store.sized(&format!("t/{:03}.csv", (number * 37) % 241), 700);
                number += 1;
            }
            let Ok(plan) = planned(&store, settings, watermark.as_deref()) else { continue };
            loaded.extend(paths(&plan));
            watermark = plan.watermark;
        }
        loaded.sort();
        let mut expected: Vec<String> = store.files.iter().map(|file| file.0.clone()).collect();
        expected.sort();
        prop_assert_eq!(loaded, expected);
    }
}

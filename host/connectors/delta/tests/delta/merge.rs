//! Merges into tables: which files they read and rewrite, what other writers do meanwhile, and what readers see afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datakit_connect::sink::conformance::{TextRow, batch, extremes, field, rows_of};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::datakit::RoleColumns;
use datakit_model::sink::{Committed, Sink, Target, WriteMode};
use datakit_model::{Failure, TrackedBatch};
use serde_json::Value;

use super::suite::{text_rows, with_values};
use super::{live_files, live_parts, load, rows, schema, sink, target};

pub(crate) fn directory(root: &Path) -> PathBuf {
    root.join("ERP/dbo/orders")
}

fn merging(run_id: &str, schema: &SchemaRef, keys: &[&str]) -> Target {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    Target { mode: WriteMode::Merge, keys, ..target(run_id, Arc::clone(schema)) }
}

async fn merge(sink: &DeltaSink, run_id: &str, batches: &[RecordBatch]) -> Result<Committed, Failure> {
    load(sink, merging(run_id, &schema(), &["id"]), batches).await
}

pub(crate) fn renamed(ids: std::ops::Range<i32>) -> RecordBatch {
    let names: StringArray = ids.clone().map(|_| Some("renamed")).collect();
    batch(&schema(), vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)]).unwrap()
}

pub(crate) async fn held(directory: &Path, schema: &Schema) -> Vec<TextRow> {
    let mut held = Vec::new();
    for (file, values) in live_parts(directory).await.unwrap() {
        let file = std::fs::File::open(file).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap() {
            held.extend(text_rows(&with_values(batch.unwrap(), &values).unwrap(), schema).unwrap());
        }
    }
    held.sort();
    held
}

pub(crate) fn sorted(batches: &[RecordBatch]) -> Vec<TextRow> {
    let mut rows = rows_of(batches).unwrap();
    rows.sort();
    rows
}

pub(crate) async fn files(root: &Path) -> BTreeSet<PathBuf> {
    live_files(&directory(root)).await.unwrap().into_iter().collect()
}

/// The newest log entry's actions.
pub(crate) fn newest_entry(directory: &Path) -> Vec<Value> {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    let text = std::fs::read_to_string(entries.iter().max().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn python(script: &str, arguments: &[&str]) -> String {
    let python = std::env::var("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names a Python");
    let script = format!("{}/tests/readers/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_hold_matched_keys_are_rewritten() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    for (run_id, first) in [("1", 0), ("2", 100), ("3", 200)] {
        load(&sink, target(run_id, schema()), &[rows(first..first + 100)]).await.unwrap();
    }
    let before = files(root.path()).await;
    let committed = merge(&sink, "4", &[renamed(150..151), renamed(400..402)]).await.unwrap();
    assert_eq!((committed.written.rows, committed.holds.rows), (3, 302));
    let after = files(root.path()).await;
    assert_eq!(before.difference(&after).count(), 1, "one of three files");
    assert_eq!(after.difference(&before).count(), 2, "its other rows, and the rows of the load");
    let expected = [rows(0..150), renamed(150..151), rows(151..300), renamed(400..402)];
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&expected));

    let entry = newest_entry(&directory(root.path()));
    let of = |kind: &str| entry.iter().filter_map(|action| action.get(kind)).collect::<Vec<_>>();
    assert!(of("remove").iter().chain(&of("add")).all(|action| action["dataChange"] == true));
    let information = of("commitInfo")[0];
    assert_eq!(information["operation"], "MERGE");
    let metrics: BTreeMap<String, String> = serde_json::from_value(information["operationMetrics"].clone()).unwrap();
    let metric = |name: &str| metrics[name].as_str();
    assert_eq!(
        ["numSourceRows", "numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsCopied"].map(metric),
        ["3", "2", "1", "99"]
    );
    for engine in ["polars", "duckdb", "deltalake"] {
        let printed: Value =
            serde_json::from_str(&python("read_delta.py", &[engine, directory(root.path()).to_str().unwrap()]))
                .unwrap();
        assert_eq!(printed["rows"].as_array().unwrap().len(), 302, "{engine}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_without_a_key_of_the_load_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..10)]).await.unwrap();
    let unread = files(root.path()).await;
    load(&sink, target("2", schema()), &[rows(20..30)]).await.unwrap();
    unread.iter().for_each(|file| std::fs::write(file, "damaged").unwrap());
    merge(&sink, "3", &[renamed(25..26), renamed(15..16), renamed(31..32)]).await.unwrap();
    let failure = merge(&sink, "4", &[renamed(5..6)]).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-054", "{failure}");
    assert_eq!(files(root.path()).await.intersection(&unread).count(), 1);
}

/// Bounds of such columns are not the values themselves.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_found_by_bounds_that_are_cut() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("text", DataType::Utf8, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("number", DataType::Float64, true),
        field("value", DataType::Int32),
    ]));
    let keys = |value: i32| {
        let long = "x".repeat(100);
        let texts =
            StringArray::from(vec![format!("{long}b"), format!("{long}\u{10ffff}"), long.clone(), "é".repeat(64)]);
        let times = TimestampMicrosecondArray::from(vec![Some(1_600_000_000_000_999), Some(-1), None, Some(1)]);
        let numbers = arrow::array::Float64Array::from(vec![Some(f64::NAN), Some(-0.0), None, Some(f64::INFINITY)]);
        let values = Int32Array::from(vec![value; 4]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(texts), Arc::new(times.with_timezone("UTC")), Arc::new(numbers), Arc::new(values)];
        batch(&schema, columns).unwrap()
    };
    for (number, key) in
        [["text"].as_slice(), &["text", "at"], &["number", "text"], &["at", "number"]].iter().enumerate()
    {
        let root = tempfile::tempdir().unwrap();
        let mut config = DeltaConfig::new(root.path().to_string_lossy());
        config.checkpoint_interval = 1 + u32::try_from(number).unwrap() % 2;
        let sink = DeltaSink::new(config).unwrap();
        for row in 0..4 {
            let rows = keys(0).slice(row, 1);
            load(&sink, merging(&row.to_string(), &schema, key), &[rows]).await.unwrap();
        }
        let committed = load(&sink, merging("5", &schema, key), &[keys(1)]).await.unwrap();
        assert_eq!(committed.holds.rows, 4, "{key:?}");
        assert_eq!(held(&directory(root.path()), &schema).await, sorted(&[keys(1)]), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_kept_by_a_rewrite() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    let values = extremes(7).unwrap();
    let rows = i64::try_from(values.num_rows()).unwrap();
    let with_key = |first: i64| {
        let key: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
        let of_values = values.schema();
        let fields = of_values.fields().iter().cloned().chain([Arc::new(Field::new("key", DataType::Int64, false))]);
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        batch(&schema, values.columns().iter().cloned().chain([key]).collect()).unwrap()
    };
    let (first, second) = (with_key(0), with_key(1));
    let schema = first.schema();
    load(&sink, merging("1", &schema, &["key"]), std::slice::from_ref(&first)).await.unwrap();
    load(&sink, merging("2", &schema, &["key"]), std::slice::from_ref(&second)).await.unwrap();
    let expected = sorted(&[first.slice(0, 1), second]);
    assert_eq!(held(&directory(root.path()), &schema).await, expected);
}

/// The log entry with other actions.
fn changed(entry: &str, change: impl Fn(&mut Value)) -> String {
    let mut actions: Vec<Value> = entry.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    actions.iter_mut().for_each(change);
    actions.iter().map(|action| format!("{action}\n")).collect()
}

/// Rows that [`delete_rows`] deletes.
pub(crate) const DELETED: [i32; 6] = [3, 4, 7, 11, 18, 29];

/// Has the first file of the table a deletion vector.
pub(crate) fn delete_rows(root: &Path) {
    let log = directory(root).join("_delta_log/00000000000000000000.json");
    let deleted = changed(&std::fs::read_to_string(&log).unwrap(), |action| {
        if let Some(protocol) = action.get_mut("protocol") {
            let features = ["deletionVectors", "invariants"];
            *protocol = serde_json::json!({
                "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features[..1], "writerFeatures": features,
            });
        }
        if let Some(add) = action.get_mut("add") {
            // Of the rows 3, 4, 7, 11, 18 and 29.
            add["deletionVector"] = serde_json::json!({
                "storageType": "i", "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
                "sizeInBytes": 44, "cardinality": 6,
            });
        }
    });
    std::fs::write(&log, deleted).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_deletion_vector_names_are_not_there() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..40)]).await.unwrap();
    delete_rows(root.path());
    let committed = merge(&sink, "2", &[renamed(4..6)]).await.unwrap();
    assert_eq!(committed.holds.rows, 35);
    let ids = (0..40).filter(|id| !DELETED.contains(id) && *id != 5).map(|id| rows(id..id + 1));
    let expected: Vec<RecordBatch> = ids.chain([renamed(4..6)]).collect();
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_a_merge_cannot_honour_is_refused_before_a_file_is_written() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..3)]).await.unwrap();
    let log = directory(root.path()).join("_delta_log/00000000000000000000.json");
    let entry = std::fs::read_to_string(&log).unwrap();
    let append_only = changed(&entry, |action| {
        if let Some(metadata) = action.get_mut("metaData") {
            metadata["configuration"]["delta.appendOnly"] = "true".into();
        }
    });
    let files = files(root.path()).await;
    std::fs::write(&log, append_only).unwrap();
    let failure = sink.open(merging("2", &schema(), &["id"])).await.map(|_| ()).unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-009", "{failure}");
    assert!(failure.message().contains("append-only"), "{failure}");
    std::fs::write(&log, entry).unwrap();
    assert_eq!(super::suite::files_below(&directory(root.path())).into_iter().collect::<BTreeSet<_>>(), files);
}

/// What another writer commits while a load is written.
async fn merge_beside(action: &[&str], ids: std::ops::Range<i32>) -> (tempfile::TempDir, Result<Committed, Failure>) {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..10)]).await.unwrap();
    load(&sink, target("2", schema()), &[rows(10..20)]).await.unwrap();
    let writer = sink.open(merging("3", &schema(), &["id"])).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(TrackedBatch::untracked(renamed(ids))).await.unwrap();
    partition.finish().await.unwrap();
    let path = directory(root.path());
    let arguments: Vec<&str> = [&action[..1], &[path.to_str().unwrap()], &action[1..]].concat();
    python("other_writer.py", &arguments);
    let outcome = writer.commit(datakit_model::sink::CommitNote::default()).await;
    (root, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_takes_the_rows_that_others_commit_while_it_is_read() {
    let (root, outcome) = merge_beside(&["append", "1000"], 999..1001).await;
    assert_eq!(outcome.unwrap().holds.rows, 23, "1000 is theirs and ours");
    assert_eq!(held(&directory(root.path()), &schema()).await.len(), 23);
    let (root, outcome) = merge_beside(&["optimize"], 5..15).await;
    assert_eq!(outcome.unwrap().holds.rows, 20);
    let expected = [rows(0..5), renamed(5..15), rows(15..20)];
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_writer_are_merged_and_vacuum_takes_what_was_replaced() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..10)]).await.unwrap();
    let path = directory(root.path());
    python("other_writer.py", &["append", path.to_str().unwrap(), "10"]);
    merge(&sink, "2", &[renamed(8..11)]).await.unwrap();
    let live = files(root.path()).await;
    python("other_writer.py", &["vacuum", path.to_str().unwrap()]);
    assert_eq!(super::suite::files_below(&path).into_iter().collect::<BTreeSet<_>>(), live);
    let names: Vec<_> = held(&path, &schema()).await.into_iter().map(|row| row[1].clone()).collect();
    assert_eq!(names.iter().filter(|name| name.as_deref() == Some("renamed")).count(), 3);
    assert_eq!(names.len(), 12);
    let next = merge(&sink, "3", &[renamed(0..1)]).await.unwrap();
    assert_eq!((next.state.sequence, next.holds.rows), (3, 12), "the state holds after VACUUM");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_load_is_merged_in_parts() {
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    config.max_merge_bytes = 64 * 1024;
    config.max_file_bytes = 64 * 1024;
    let sink = DeltaSink::new(config).unwrap();
    let batches: Vec<RecordBatch> = (0..10).map(|part| rows(part * 2000..(part + 1) * 2000)).collect();
    merge(&sink, "1", &batches).await.unwrap();
    let parts = live_parts(&directory(root.path())).await.unwrap();
    assert!(parts.len() > 1);
    let roles = RoleColumns { operation: Some("name".to_owned()), ..RoleColumns::default() };
    let delete: StringArray = (0..19_990).map(|_| Some("delete")).collect();
    let deletes = batch(&schema(), vec![Arc::new(Int32Array::from_iter_values(0..19_990)), Arc::new(delete)]).unwrap();
    let target = Target { roles, ..merging("2", &schema(), &["id"]) };
    let committed = load(&sink, target, &[deletes]).await.unwrap();
    assert_eq!(committed.holds.rows, 10);
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&[rows(19_990..20_000)]));
}

/// Rows that come sorted leave files whose bounds do not meet.
#[tokio::test(flavor = "multi_thread")]
async fn merged_rows_keep_their_order() {
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    config.max_file_bytes = 4 * 1024;
    config.row_group_bytes = 4 * 1024;
    let sink = DeltaSink::new(config).unwrap();
    let batches: Vec<RecordBatch> = (0..10).map(|part| rows(part * 2000..(part + 1) * 2000)).collect();
    merge(&sink, "1", &batches).await.unwrap();
    let entry = newest_entry(&directory(root.path()));
    let mut bounds: Vec<(i64, i64)> = entry
        .iter()
        .filter_map(|action| action.get("add"))
        .map(|add| {
            let statistics: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            let bound = |bounds: &str| statistics[bounds]["id"].as_i64().unwrap();
            (bound("minValues"), bound("maxValues"))
        })
        .collect();
    bounds.sort_unstable();
    assert!(bounds.len() > 1);
    assert!(bounds.is_sorted_by(|(_, high), (low, _)| high < low), "{bounds:?}");
}

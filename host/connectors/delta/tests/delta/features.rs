//! Table features by the protocol document, before and after other writers have changed a table.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datakit_connect::sink::conformance::{batch, extremes};
use datakit_model::sink::WriteMode;
use datakit_model::{DriftRule, Retry};
use serde_json::Value;

use super::{load, rows, schema, sink, target};

/// Each of other code than the others, but for polars, which reads by deltalake's.
const ENGINES: [&str; 5] = ["polars", "duckdb", "deltalake", "chdb", "sail"];

fn python(script: &str, arguments: &[&str], directory: &Path) -> String {
    let python =
        std::env::var("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names a Python, as in CONTRIBUTING.md");
    let script = format!("{}/tests/readers/{script}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python).arg(script).args(arguments).arg(directory).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Another writer changes the table.
pub(super) fn another_writer(action: &str, directory: &Path) {
    python("write_delta.py", &[action], directory);
}

fn assert_ids(directory: &Path, expected: &[i32]) {
    for engine in ENGINES {
        let ids: Vec<i32> = serde_json::from_str(&python("open_delta.py", &[engine], directory)).unwrap();
        assert_eq!(ids, expected, "{engine}");
    }
}

/// The newest of each kind of action.
fn newest(directory: &Path, kind: &str) -> Value {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory.join("_delta_log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    entries.sort();
    let actions = entries.iter().rev().flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    });
    actions.filter_map(|action| action.get(kind).cloned()).next().unwrap()
}

/// What the protocol document and delta-spark find wrong with the newest protocol and metadata; empty: nothing.
///
/// "Reader Version Requirements", "Writer Version Requirements" and "Table Features" of PROTOCOL.md; a column that may not be null
/// counts as an invariant in delta-spark's `Invariants.getFromSchema`.
fn faults(directory: &Path) -> Vec<String> {
    let (protocol, metadata) = (newest(directory, "protocol"), newest(directory, "metaData"));
    let version = |key: &str| protocol[key].as_i64().unwrap();
    let list = |key: &str| -> Option<BTreeSet<String>> {
        let names = protocol.get(key)?.as_array().unwrap().iter();
        Some(names.map(|name| name.as_str().unwrap().to_owned()).collect())
    };
    let (reader, writer) = (version("minReaderVersion"), version("minWriterVersion"));
    let (reader_list, writer_list) = (list("readerFeatures"), list("writerFeatures"));
    let mut faults = Vec::new();
    if (reader == 3) != reader_list.is_some() || (writer == 7) != writer_list.is_some() || (reader == 3 && writer != 7)
    {
        faults.push(format!("versions and lists do not agree: {protocol}"));
    }
    let listed = writer_list.clone().unwrap_or_default();
    faults.extend(
        reader_list
            .iter()
            .flatten()
            .filter(|name| !listed.contains(*name))
            .map(|name| format!("{name} is for readers alone")),
    );
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
    let fields = schema["fields"].as_array().unwrap();
    let property = |name: &str| metadata["configuration"][name] == "true";
    let has_key = |key: &str| fields.iter().any(|field| field["metadata"].get(key).is_some());
    // Name, whether the metadata makes it active, the writer version that implies it, whether readers need it.
    let features = [
        ("appendOnly", property("delta.appendOnly"), 2, false),
        ("invariants", fields.iter().any(|field| field["nullable"] == false) || has_key("delta.invariants"), 2, false),
        ("changeDataFeed", property("delta.enableChangeDataFeed"), 4, false),
        ("generatedColumns", has_key("delta.generationExpression"), 4, false),
        ("identityColumns", has_key("delta.identity.start"), 6, false),
        ("timestampNtz", fields.iter().any(|field| field["type"] == "timestamp_ntz"), 7, true),
        ("deletionVectors", property("delta.enableDeletionVectors"), 7, true),
        ("rowTracking", property("delta.enableRowTracking"), 7, false),
    ];
    for (name, is_active, implied_by, for_readers) in features {
        let has = if writer == 7 { listed.contains(name) } else { writer >= implied_by };
        if is_active && !has {
            faults.push(format!("{name} is active and not in the protocol"));
        }
        if is_active && for_readers && !reader_list.as_ref().is_some_and(|names| names.contains(name)) {
            faults.push(format!("{name} is active and not listed for readers"));
        }
    }
    faults
}

/// A column that may not be null beside a timestamp without zone: two features.
fn timed_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]))
}

fn timed(ids: std::ops::Range<i32>) -> RecordBatch {
    let times: TimestampMicrosecondArray = ids.clone().map(|id| Some(i64::from(id))).collect();
    batch(&timed_schema(), vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(times)]).unwrap()
}

#[tokio::test]
async fn protocol_of_a_new_table_lists_every_feature_its_metadata_needs() {
    let every_type = extremes(7).unwrap();
    for (batches, expected) in [
        (rows(0..2), r#"{"minReaderVersion":1,"minWriterVersion":2}"#),
        (
            timed(0..2),
            r#"{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timestampNtz"],"writerFeatures":["invariants","timestampNtz"]}"#,
        ),
        (every_type, ""),
    ] {
        let root = tempfile::tempdir().unwrap();
        load(&sink(root.path()), target("1", batches.schema()), std::slice::from_ref(&batches)).await.unwrap();
        let directory = root.path().join("ERP/dbo/orders");
        assert_eq!(faults(&directory), Vec::<String>::new());
        if !expected.is_empty() {
            assert_eq!(newest(&directory, "protocol"), serde_json::from_str::<Value>(expected).unwrap());
        }
    }
}

#[tokio::test]
async fn table_of_an_earlier_release_gets_the_features_that_it_lacks() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", timed_schema()), &[timed(0..1)]).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let entry = directory.join(format!("_delta_log/{:020}.json", 0));
    let text = std::fs::read_to_string(&entry).unwrap();
    assert!(text.contains(r#""invariants","#), "{text}");
    std::fs::write(&entry, text.replace(r#""invariants","#, "")).unwrap();
    assert_eq!(faults(&directory), ["invariants is active and not in the protocol"]);
    for (run, mode) in [(2, WriteMode::Append), (3, WriteMode::Overwrite)] {
        let again = datakit_model::sink::Target { mode, ..target(&run.to_string(), timed_schema()) };
        load(&sink, again, &[timed(run..run + 1)]).await.unwrap();
        assert_eq!(faults(&directory), Vec::<String>::new());
    }
    // Once is enough.
    let last = std::fs::read_to_string(directory.join(format!("_delta_log/{:020}.json", 2))).unwrap();
    assert!(!last.contains(r#"{"protocol":"#), "{last}");
    assert_ids(&directory, &[3]);
}

#[tokio::test]
async fn table_whose_properties_another_writer_has_set_is_written_on() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", timed_schema()), &[timed(0..1)]).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    another_writer("properties", &directory);
    let features = newest(&directory, "protocol")["writerFeatures"].to_string();
    assert!(features.contains("appendOnly") && features.contains("invariants"), "{features}");
    let committed = load(&sink, target("2", timed_schema()), &[timed(1..2)]).await.unwrap();
    assert_eq!((committed.state.sequence, committed.holds.rows), (2, 2));
    assert_eq!(faults(&directory), Vec::<String>::new());
    assert_eq!(newest(&directory, "metaData")["configuration"]["delta.logRetentionDuration"], "interval 7 days");
    another_writer("append", &directory);
    assert_ids(&directory, &[0, 1, 1000]);
}

/// Opens, lets another writer commit, and commits.
async fn behind(
    action: &str,
    mode: WriteMode,
) -> (tempfile::TempDir, Result<datakit_model::sink::Committed, datakit_model::Failure>) {
    behind_by(action, mode, DriftRule::Evolve).await
}

async fn behind_by(
    action: &str,
    mode: WriteMode,
    drift: DriftRule,
) -> (tempfile::TempDir, Result<datakit_model::sink::Committed, datakit_model::Failure>) {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    for (run, ids) in [("1", 0..1), ("2", 1..2)] {
        load(&sink, target(run, schema()), &[rows(ids)]).await.unwrap();
    }
    let writer =
        datakit_model::sink::Sink::open(&sink, datakit_model::sink::Target { mode, drift, ..target("3", schema()) })
            .await
            .unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(datakit_model::TrackedBatch::untracked(rows(2..3))).await.unwrap();
    partition.finish().await.unwrap();
    another_writer(action, &root.path().join("ERP/dbo/orders"));
    let committed = writer.commit(datakit_model::sink::CommitNote::default()).await;
    if committed.is_err() {
        writer.abort().await;
    }
    (root, committed)
}

#[tokio::test]
async fn commit_goes_behind_what_another_writer_has_appended_compacted_or_set() {
    for (action, mode, expected) in [
        ("append", WriteMode::Append, vec![0, 1, 2, 1000]),
        ("compact", WriteMode::Append, vec![0, 1, 2]),
        ("properties", WriteMode::Append, vec![0, 1, 2]),
        // It replaces what is there when it commits, the compacted file too.
        ("append", WriteMode::Overwrite, vec![2]),
        ("compact", WriteMode::Overwrite, vec![2]),
    ] {
        let (root, committed) = behind(action, mode).await;
        let committed = committed.unwrap();
        let directory = root.path().join("ERP/dbo/orders");
        assert_eq!(committed.state.sequence, 3, "{action}");
        assert_eq!(committed.holds.rows, expected.len() as u64, "{action}");
        assert_eq!(faults(&directory), Vec::<String>::new(), "{action}");
        let ids: Vec<i32> = serde_json::from_str(&python("open_delta.py", &["deltalake"], &directory)).unwrap();
        assert_eq!(ids, expected, "{action} {mode:?}");
    }
}

#[tokio::test]
async fn commit_behind_a_new_column_holds_where_the_rule_allows_it() {
    let (root, committed) = behind("add-column", WriteMode::Append).await;
    assert_eq!(committed.unwrap().state.sequence, 3);
    assert_eq!(faults(&root.path().join("ERP/dbo/orders")), Vec::<String>::new());
}

#[tokio::test]
async fn commit_behind_another_schema_fails_and_leaves_no_file() {
    let (root, committed) = behind_by("add-column", WriteMode::Append, DriftRule::Fail).await;
    let failure = committed.unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("DK-SNK-065", Retry::NextRun));
    let directory = root.path().join("ERP/dbo/orders");
    let files = std::fs::read_dir(&directory).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!((files, super::live_files(&directory).await.unwrap().len()), (2, 2));
}

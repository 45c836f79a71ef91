//! Tables that are not ours to write, and disks that do not take it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Schema};
use datakit_connect::sink::conformance::{batch, field};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::sink::{Sink, WriteMode};
use datakit_model::{Kind, Retry, TableId};
use serde_json::{Value, json};

use super::{load, rows, schema, sink, target};

/// A table that somebody else made, without rows.
pub(crate) fn foreign_table(root: &Path, protocol: &Value, partitions: &[&str], configuration: &Value, column: &Value) {
    let fields = json!([
        { "name": "id", "type": "integer", "nullable": true, "metadata": column },
        { "name": "name", "type": "string", "nullable": true, "metadata": {} },
    ]);
    let metadata = json!({
        "id": "00000000-0000-0000-0000-000000000000", "format": { "provider": "parquet", "options": {} },
        "schemaString": json!({ "type": "struct", "fields": fields }).to_string(),
        "partitionColumns": partitions, "configuration": configuration, "createdTime": 0,
    });
    let log = root.join("ERP/dbo/orders/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    let entry = format!("{}\n{}\n", json!({ "protocol": protocol }), json!({ "metaData": metadata }));
    std::fs::write(log.join(format!("{:020}.json", 0)), entry).unwrap();
}

pub(crate) fn plain_protocol() -> Value {
    json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
}

#[tokio::test]
async fn a_plain_table_of_others_is_written() {
    let root = tempfile::tempdir().unwrap();
    foreign_table(root.path(), &plain_protocol(), &[], &json!({ "owner": "them" }), &json!({}));
    let sink = sink(root.path());
    assert_eq!(sink.state("ERP", &super::orders()).await.unwrap(), None);
    let committed = load(&sink, target("1", schema()), &[rows(0..2)]).await.unwrap();
    assert_eq!(committed.state.sequence, 1);
    let entry = root.path().join(format!("ERP/dbo/orders/_delta_log/{:020}.json", 1));
    assert!(std::fs::read_to_string(entry).unwrap().contains(r#""owner":"them""#));
}

#[tokio::test]
async fn tables_that_need_more_than_we_do_are_refused() {
    let seven = |feature: &str| json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature] });
    let none = json!({});
    let identity = json!({ "delta.identity.start": 1, "delta.identity.step": 1 });
    let invariant = json!({ "delta.invariants": r#"{"expression":{"expression":"id > 0"}}"# });
    let cases = [
        ("identity columns", seven("identityColumns"), none.clone(), identity),
        ("row tracking", seven("rowTracking"), none.clone(), none.clone()),
        ("change data feed", seven("changeDataFeed"), json!({ "delta.enableChangeDataFeed": "true" }), none.clone()),
        (
            "constraints",
            json!({ "minReaderVersion": 1, "minWriterVersion": 3 }),
            json!({ "delta.constraints.positive": "id > 0" }),
            none.clone(),
        ),
        ("invariant", plain_protocol(), none.clone(), invariant),
        ("append-only", plain_protocol(), json!({ "delta.appendOnly": "true" }), none),
    ];
    let mut reports = String::new();
    for (name, protocol, configuration, column) in cases {
        let root = tempfile::tempdir().unwrap();
        foreign_table(root.path(), &protocol, &[], &configuration, &column);
        let mut target = target("1", schema());
        target.mode = WriteMode::Overwrite;
        let failure = sink(root.path()).open(target).await.map(|_| ()).unwrap_err();
        assert_eq!((failure.code(), failure.kind()), ("DK-SNK-009", Kind::User), "{name}: {failure}");
        let text = failure.message().replace(&root.path().display().to_string(), "ROOT");
        reports.push_str(&format!("{name}: {text}\n"));
    }
    insta::assert_snapshot!(reports);
}

#[tokio::test]
async fn feature_that_a_table_lists_and_does_not_use_is_no_obstacle() {
    for protocol in [
        json!({ "minReaderVersion": 1, "minWriterVersion": 6 }),
        json!({ "minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["checkConstraints", "generatedColumns", "identityColumns", "invariants"] }),
    ] {
        let root = tempfile::tempdir().unwrap();
        foreign_table(root.path(), &protocol, &[], &json!({}), &json!({}));
        let committed = load(&sink(root.path()), target("1", schema()), &[rows(0..2)]).await.unwrap();
        assert_eq!(committed.holds.rows, 2, "{protocol}");
    }
}

#[tokio::test]
async fn log_folder_without_an_entry_is_no_obstacle() {
    let root = tempfile::tempdir().unwrap();
    // As a run of an earlier release left it when it was killed: empty, or with an entry that was never linked.
    for left in [None, Some("00000000000000000000.json#1")] {
        let log = root.path().join("ERP/dbo/orders/_delta_log");
        std::fs::create_dir_all(&log).unwrap();
        if let Some(name) = left {
            std::fs::write(log.join(name), "{").unwrap();
        }
        assert_eq!(sink(root.path()).state("ERP", &super::orders()).await.unwrap(), None);
        load(&sink(root.path()), target("1", schema()), &[rows(0..2)]).await.unwrap();
        assert_eq!(super::live_files(&root.path().join("ERP/dbo/orders")).await.unwrap().len(), 1);
        std::fs::remove_dir_all(root.path().join("ERP")).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("ERP/dbo/orders/_delta_log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join(format!("{:020}.json", 0)), "{\"metaData\":").unwrap();
    let failure = sink(root.path()).open(target("1", schema())).await.map(|_| ()).unwrap_err();
    assert_eq!(
        (failure.code(), failure.kind(), failure.retry()),
        ("DK-SNK-035", Kind::Sink, Retry::Never),
        "{failure}"
    );
    let failure = sink(root.path()).state("ERP", &super::orders()).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-035");
}

#[tokio::test]
async fn names_that_do_not_fit_are_reported() {
    let root = tempfile::tempdir().unwrap();
    let failure = sink(root.path()).locate("ERP", &TableId::new("dbo", "表".repeat(100))).unwrap_err();
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-002", Kind::User));
    let place = sink(root.path()).locate("ERP", &TableId::new("dbo", "Order Details")).unwrap();
    assert_eq!(place, format!("{}/ERP/dbo/Order@20Details", root.path().display()));
}

#[tokio::test]
async fn a_root_that_is_a_file_is_reported() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("ERP"), "not a directory").unwrap();
    let failure = load(&sink(root.path()), target("1", schema()), &[rows(0..1)]).await.unwrap_err();
    assert_eq!(failure.kind(), Kind::Sink, "{failure} {:?}", failure.causes());
}

/// The body of the next test, in a process of its own that may not write large files.
#[tokio::test]
#[ignore = "runs as a child of `a_full_disk_commits_nothing`"]
async fn full_disk_child() {
    let Ok(root) = std::env::var("DATAKIT_TEST_FULL_DISK") else { return };
    let mut config = DeltaConfig::new(&root);
    config.row_group_bytes = 64 * 1024;
    let sink = DeltaSink::new(config).unwrap();
    let schema = Arc::new(Schema::new(vec![field("id", DataType::Utf8)]));
    let texts: StringArray = (0..10_000).map(|_| Some(uuid::Uuid::new_v4().to_string())).collect();
    let noise = batch(&schema, vec![Arc::new(texts)]).unwrap();
    let writer = sink.open(target("1", schema)).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    let mut outcome = Ok(());
    for _ in 0..100 {
        outcome = partition.write(datakit_model::TrackedBatch::untracked(noise.clone())).await;
        if outcome.is_err() {
            break;
        }
    }
    let failure = match outcome {
        Err(failure) => failure,
        Ok(()) => partition.finish().await.unwrap_err(),
    };
    assert_eq!(
        (failure.code(), failure.kind(), failure.retry()),
        ("DK-SNK-012", Kind::Sink, Retry::Never),
        "{failure}"
    );
    assert!(failure.hint().unwrap().starts_with("free some space"));
    writer.abort().await;
    let left: Vec<_> = std::fs::read_dir(format!("{root}/ERP/dbo")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::write(format!("{root}/done"), "").unwrap();
}

#[test]
fn a_full_disk_commits_nothing() {
    let root = tempfile::tempdir().unwrap();
    // The system's answer to a file above the limit: an error instead of a signal, as a full disk gives.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact resistance::full_disk_child --ignored"])
        .arg(std::env::current_exe().unwrap())
        .env("DATAKIT_TEST_FULL_DISK", root.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(root.path().join("done").exists(), "the child did not run");
}

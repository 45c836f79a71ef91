//! What stands in the log, and what survives its clean-up.

use std::path::Path;

use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::sink::Sink;
use datakit_model::sink::{CommitNote, WriteMode};
use serde_json::Value;

use super::{live_files, load, orders, rows, schema, sink, target};

/// One version's actions, without what differs from run to run.
fn actions(directory: &Path, version: u64) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join(format!("_delta_log/{version:020}.json"))).unwrap();
    let mut actions: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for action in &mut actions {
        for (path, with) in [
            ("/add/path", "part-00000-UUID-c000.zstd.parquet"),
            ("/add/modificationTime", "NOW"),
            ("/add/size", "SIZE"),
            ("/remove/path", "PATH"),
            ("/remove/deletionTimestamp", "NOW"),
            ("/remove/size", "SIZE"),
            ("/metaData/id", "UUID"),
            ("/metaData/createdTime", "NOW"),
            ("/txn/lastUpdated", "NOW"),
            ("/commitInfo/timestamp", "NOW"),
            ("/commitInfo/clientVersion", "LIBRARY"),
            ("/commitInfo/engineInfo", "LIBRARY"),
        ] {
            if let Some(value) = action.pointer_mut(path) {
                assert!(!value.is_null());
                *value = with.into();
            }
        }
        for text in ["/add/stats", "/metaData/schemaString"] {
            if let Some(value) = action.pointer_mut(text) {
                *value = serde_json::from_str(value.as_str().unwrap()).unwrap();
            }
        }
        action.sort_all_objects();
    }
    actions
}

/// A document, without what differs from run to run.
fn document(directory: &Path, number: u64) -> Value {
    let text = std::fs::read_to_string(directory.join(format!("_datakit/state/{number:020}.json"))).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    for (path, with) in [("/target/id", "UUID"), ("/written/files/0", "part-00000-UUID-c000.zstd.parquet")] {
        if let Some(value) = document.pointer_mut(path) {
            *value = with.into();
        }
    }
    document
}

#[tokio::test]
async fn a_version_holds_everything_at_once() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("run-1", schema()), &[rows(0..3)]).await.unwrap();
    let mut second = target("run-2", schema());
    second.mode = WriteMode::Overwrite;
    let writer = sink.open(second).await.unwrap();
    let note = CommitNote { watermark: Some("42".into()), consistent_snapshot: false, ..CommitNote::default() };
    writer.commit(note).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    insta::assert_json_snapshot!("first_version", actions(&directory, 0));
    insta::assert_json_snapshot!("overwriting_version", actions(&directory, 1));
    insta::assert_json_snapshot!("first_document", document(&directory, 1));
    insta::assert_json_snapshot!("document_of_the_overwriting_version", document(&directory, 2));
}

#[tokio::test]
async fn state_survives_checkpoints_and_clean_up() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    for i in 0..16 {
        let committed = load(&sink, target(&format!("run-{i}"), schema()), &[rows(i..i + 1)]).await.unwrap();
        assert_eq!(committed.state.sequence, i64::from(i) + 1);
    }
    let directory = root.path().join("ERP/dbo/orders");
    let log = directory.join("_delta_log");
    assert!(log.join("00000000000000000009.checkpoint.parquet").exists());
    for version in 0..=9 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let state = sink.state("ERP", &orders()).await.unwrap().unwrap();
    assert_eq!((state.run_id.as_str(), state.sequence, state.rows), ("run-15", 16, 1));
    let committed = load(&sink, target("run-16", schema()), &[rows(16..17)]).await.unwrap();
    assert_eq!(committed.state.sequence, 17);
    assert_eq!(live_files(&directory).await.unwrap().len(), 17);

    // The newest version a checkpoint too, and its own entry gone: the state is only in the checkpoint.
    for i in 17..20 {
        load(&sink, target(&format!("run-{i}"), schema()), &[rows(i..i + 1)]).await.unwrap();
    }
    for version in 10..=19 {
        std::fs::remove_file(log.join(format!("{version:020}.json"))).unwrap();
    }
    let state = sink.state("ERP", &orders()).await.unwrap().unwrap();
    assert_eq!((state.run_id.as_str(), state.sequence), ("run-19", 20));
}

#[tokio::test]
async fn large_partitions_become_several_files() {
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    (config.max_file_bytes, config.row_group_bytes) = (2_000, 500);
    let sink = DeltaSink::new(config).unwrap();
    let batches: Vec<_> = (0..20).map(|i| rows(i * 100..(i + 1) * 100)).collect();
    let committed = load(&sink, target("1", schema()), &batches).await.unwrap();
    assert_eq!(committed.written.rows, 2_000);
    let directory = root.path().join("ERP/dbo/orders");
    let adds: Vec<_> = actions(&directory, 0).into_iter().filter_map(|a| a.get("add").cloned()).collect();
    assert!(adds.len() > 3, "{}", adds.len());
    assert_eq!(adds.iter().map(|a| a["stats"]["numRecords"].as_i64().unwrap()).sum::<i64>(), 2_000);
    let sizes = live_files(&directory).await.unwrap().iter().map(|f| f.metadata().unwrap().len()).sum::<u64>();
    assert_eq!(committed.written.bytes, sizes);
}

#[tokio::test]
async fn a_foreign_commit_between_open_and_commit_is_no_conflict() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..1)]).await.unwrap();
    let writer = sink.open(target("2", schema())).await.unwrap();
    // What a maintenance job would leave: neither rows nor metadata.
    let log = root.path().join("ERP/dbo/orders/_delta_log");
    let foreign = r#"{"commitInfo":{"timestamp":0,"operation":"VACUUM END","operationParameters":{}}}"#;
    std::fs::write(log.join(format!("{:020}.json", 1)), foreign).unwrap();
    let committed = writer.commit(CommitNote::default()).await.unwrap();
    assert_eq!(committed.state.sequence, 2);
    assert!(log.join(format!("{:020}.json", 2)).exists());
}

#[tokio::test]
async fn of_many_runs_at_once_every_committed_one_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut runs = tokio::task::JoinSet::new();
    for i in 0..8 {
        let sink = sink(root.path());
        runs.spawn(async move { load(&sink, target(&format!("run-{i}"), schema()), &[rows(i..i + 2)]).await });
    }
    let mut committed = 0;
    while let Some(run) = runs.join_next().await {
        match run.unwrap() {
            Ok(_) => committed += 1,
            Err(failure) => assert_eq!(failure.code(), "DK-SNK-010", "{failure} {:?}", failure.causes()),
        }
    }
    assert!(committed > 0);
    let state = sink(root.path()).state("ERP", &orders()).await.unwrap().unwrap();
    assert_eq!(state.sequence, committed);
    let files = live_files(&root.path().join("ERP/dbo/orders")).await.unwrap();
    assert_eq!(i64::try_from(files.len()).unwrap(), committed);
}

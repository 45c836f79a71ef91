//! Merges behind commits of other writers.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::sink::{Sink, WriteMode};
use datakit_model::{Retry, RunIdentity, TableId, TrackedBatch};
use serde_json::{Value, json};

use super::*;
use crate::{DeltaConfig, DeltaSink};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]))
}

fn target(run_id: &str, mode: WriteMode) -> Target {
    let run = RunIdentity {
        run_id: run_id.to_owned(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 0,
        source_system: "ERP".to_owned(),
        datakit: "kit".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:0".to_owned(),
    };
    Target { keys: vec!["id".to_owned()], ..Target::new(TableId::new("dbo", "t"), schema(), mode, run) }
}

async fn write(writer: &dyn TableWriter, ids: std::ops::Range<i32>) {
    let mut partition = writer.partition(0).await.unwrap();
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int32Array::from_iter_values(ids))]).unwrap();
    partition.write(TrackedBatch::untracked(rows)).await.unwrap();
    partition.finish().await.unwrap();
}

/// The action of this kind of a version.
fn action(log: &Path, version: u64, kind: &str) -> Value {
    let entry = std::fs::read_to_string(log.join(format!("{version:020}.json"))).unwrap();
    let mut actions = entry.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.find_map(|action| action.get(kind).cloned()).unwrap()
}

fn file_with(path: &str, statistics: Option<(i32, i32)>) -> Value {
    let statistics = statistics.map(|(low, high)| {
        let bounds = |id: i32| json!({ "id": id });
        json!({ "numRecords": 2, "minValues": bounds(low), "maxValues": bounds(high), "nullCount": { "id": 0 } })
            .to_string()
    });
    json!({ "add": {
        "path": path, "partitionValues": {}, "size": 1, "modificationTime": 0, "dataChange": true, "stats": statistics,
    } })
}

/// A merge of 5 and 15 into files of 0 to 9 and 10 to 19, behind a commit of another writer. Gives the code of its error, and how
/// many data files there are then.
async fn merge_behind(other: impl Fn(&Path) -> Vec<Value>) -> (Option<(String, Retry)>, usize) {
    let root = tempfile::tempdir().unwrap();
    let sink = DeltaSink::new(DeltaConfig::new(root.path().to_string_lossy())).unwrap();
    for (run_id, first) in [("1", 0), ("2", 10)] {
        let writer = sink.open(target(run_id, WriteMode::Append)).await.unwrap();
        write(writer.as_ref(), first..first + 10).await;
        writer.commit(CommitNote::default()).await.unwrap();
    }
    let merging = target("3", WriteMode::Merge);
    let (plan, log, _) = sink.prepare(&merging).await.unwrap();
    let writer = sink.merge_writer(plan, log, merging).unwrap();
    write(&writer, 5..6).await;
    let read = writer.log.now(&writer.plan.form, &writer.target).await.unwrap();
    let merged = writer.merge(&read, ReceiptLevel::Off).await.unwrap();
    let log = root.path().join("ERP/dbo/t/_delta_log");
    let entry: String = other(&log).iter().map(|action| format!("{action}\n")).collect();
    std::fs::write(log.join(format!("{:020}.json", 2)), entry).unwrap();
    let outcome = writer.commit_merged(&read, &merged, CommitNote::default()).await;
    let files = std::fs::read_dir(root.path().join("ERP/dbo/t")).unwrap();
    let parquet =
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "parquet")).count();
    (outcome.err().map(|failure| (failure.code().to_owned(), failure.retry())), parquet)
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_goes_behind_commits_that_leave_its_keys_alone() {
    let commits: [fn(&Path) -> Vec<Value>; 2] = [
        |_| vec![file_with("other.parquet", Some((100, 101)))],
        |_| vec![json!({ "txn": { "appId": "other", "version": 1 } })],
    ];
    for commit in commits {
        // Two files of loads, the other rows of one of them, and the rows of the merge.
        assert_eq!(merge_behind(commit).await, (None, 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_fails_behind_a_commit_that_concerns_its_keys() {
    let compacted = |log: &Path| {
        let path = action(log, 0, "add")["path"].clone();
        let mut file = file_with("compacted.parquet", Some((0, 9)));
        file["add"]["dataChange"] = false.into();
        vec![json!({ "remove": { "path": path, "dataChange": false, "deletionTimestamp": 0 } }), file]
    };
    let added_column = |log: &Path| {
        let mut metadata = action(log, 0, "metaData");
        let mut schema: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        let column = json!({ "name": "new", "type": "string", "nullable": true, "metadata": {} });
        schema["fields"].as_array_mut().unwrap().push(column);
        metadata["schemaString"] = schema.to_string().into();
        vec![json!({ "metaData": metadata })]
    };
    type Commit<'a> = &'a dyn Fn(&Path) -> Vec<Value>;
    let overlapping = |_: &Path| vec![file_with("other.parquet", Some((3, 7)))];
    let unknown = |_: &Path| vec![file_with("other.parquet", None)];
    let commits: [Commit<'_>; 4] = [&compacted, &added_column, &overlapping, &unknown];
    for commit in commits {
        let (error, files) = merge_behind(commit).await;
        assert_eq!(error, Some(("DK-SNK-052".to_owned(), Retry::NextRun)));
        assert_eq!(files, 2, "files of the merge were removed");
    }
}

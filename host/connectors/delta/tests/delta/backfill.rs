//! Columns of rows that get new values: which files are written anew, and what stays in them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int32Type;
use datakit_model::sink::{Target, WriteMode};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::merge::{DELETED, delete_rows, directory, files, held, newest_entry, renamed, sorted};
use super::{load, rows, schema, sink, target};

fn filling(run_id: &str) -> Target {
    let keys = vec!["id".to_owned()];
    Target { mode: WriteMode::Merge, updates_only: true, keys, ..target(run_id, Arc::clone(&schema())) }
}

/// The keys of a file, in its order.
fn ids(file: &Path) -> Vec<i32> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let batches = reader.build().unwrap().map(Result::unwrap);
    batches
        .flat_map(|batch| batch.column_by_name("id").unwrap().as_primitive::<Int32Type>().values().to_vec())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_with_other_values_are_written_anew_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    for (run_id, first) in [("1", 0), ("2", 100), ("3", 200)] {
        load(&sink, target(run_id, schema()), &[rows(first..first + 100)]).await.unwrap();
    }
    let before = files(root.path()).await;
    // The rows of the third file have the values already; those of a fourth would be new.
    let values = [renamed(180..190), rows(200..300), renamed(150..151), renamed(400..402)];
    let committed = load(&sink, filling("4"), &values).await.unwrap();
    assert_eq!((committed.written.rows, committed.holds.rows), (11, 300));
    let after = files(root.path()).await;
    assert_eq!(before.difference(&after).count(), 1, "one of three files");
    let written: Vec<_> = after.difference(&before).collect();
    assert_eq!(written.len(), 1);
    assert_eq!(ids(written[0]), (100..200).collect::<Vec<i32>>());
    let expected = [rows(0..150), renamed(150..151), rows(151..180), renamed(180..190), rows(190..300)];
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&expected));
    let entry = newest_entry(&directory(root.path()));
    let information = entry.iter().find_map(|action| action.get("commitInfo")).unwrap();
    let metrics = &information["operationMetrics"];
    assert_eq!((&metrics["numTargetRowsInserted"], &metrics["numTargetRowsUpdated"]), (&"0".into(), &"11".into()));
    assert_eq!(information["operationParameters"]["notMatchedPredicates"], "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_deletion_vector_names_are_not_filled() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..40)]).await.unwrap();
    delete_rows(root.path());
    let committed = load(&sink, filling("2"), &[renamed(0..20)]).await.unwrap();
    assert_eq!((committed.written.rows, committed.holds.rows), (15, 34));
    let live = |ids: std::ops::Range<i32>| ids.filter(|id| !DELETED.contains(id));
    let filled = live(0..20).map(|id| renamed(id..id + 1));
    let expected: Vec<RecordBatch> = filled.chain(live(20..40).map(|id| rows(id..id + 1))).collect();
    assert_eq!(held(&directory(root.path()), &schema()).await, sorted(&expected));
}

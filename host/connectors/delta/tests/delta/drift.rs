//! Columns that change with a load: what the log says, what other readers find, and commits of other writers meanwhile.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datakit_connect::sink::conformance::{batch, field};
use datakit_model::sink::{CommitNote, Committed, Sink, Target, WriteMode};
use datakit_model::{DriftRule, Failure, Retry, TrackedBatch};
use serde_json::Value;

use super::features::another_writer;
use super::readers::{ENGINES, assert_reads};
use super::{live_files, load, orders, rows, schema, sink, target};

/// The schema of most tests and a timestamp without a zone.
fn wider_schema() -> SchemaRef {
    let at = field("at", DataType::Timestamp(TimeUnit::Microsecond, None));
    Arc::new(Schema::new(schema().fields().iter().cloned().chain([Arc::new(at)]).collect::<Vec<_>>()))
}

fn wider(ids: std::ops::Range<i32>, at: Option<i64>) -> RecordBatch {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![at; ids.len()]));
    batch(&wider_schema(), rows(ids).columns().iter().cloned().chain([times]).collect()).unwrap()
}

/// The actions of a version, by their kinds.
fn actions(directory: &Path, version: u64, kind: &str) -> Vec<Value> {
    let entry = std::fs::read_to_string(directory.join(format!("_delta_log/{version:020}.json"))).unwrap();
    let actions = entry.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.filter_map(|action| action.get(kind).cloned()).collect()
}

/// Writes a batch while another writer commits.
async fn behind(root: &Path, action: &str, target: Target, rows: RecordBatch) -> Result<Committed, Failure> {
    let writer = sink(root).open(target).await?;
    let mut partition = writer.partition(0).await?;
    partition.write(TrackedBatch::untracked(rows)).await?;
    partition.finish().await?;
    another_writer(action, &root.join("ERP/dbo/orders"));
    let committed = writer.commit(CommitNote::default()).await;
    if committed.is_err() {
        writer.abort().await;
    }
    committed
}

#[tokio::test]
async fn new_column_is_in_the_log_with_its_rows_and_every_reader_finds_it() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[rows(0..2)]).await.unwrap();
    load(&sink, target("2", wider_schema()), &[wider(2..4, Some(1_700_000_000_000_001))]).await.unwrap();
    load(&sink, target("3", wider_schema()), &[wider(4..5, None)]).await.unwrap();
    let counts = |version| ["metaData", "protocol", "add"].map(|kind| actions(&directory, version, kind).len());
    assert_eq!(counts(1), [1, 1, 1], "columns and the feature that they need come with the rows");
    assert_eq!(counts(2), [0, 0, 1], "and only once");
    let id = |version| actions(&directory, version, "metaData")[0]["id"].clone();
    assert_eq!(id(0), id(1), "it is the same table");
    let expected = [wider(0..2, None), wider(2..4, Some(1_700_000_000_000_001)), wider(4..5, None)];
    ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, &expected));
    // The other way round: a column that the source has no more.
    let narrow: SchemaRef = Arc::new(schema().project(&[0]).unwrap());
    load(&sink, target("4", narrow), &[rows(5..6).project(&[0]).unwrap()]).await.unwrap();
    assert_eq!(counts(3), [0, 0, 1]);
    let nameless = wider(5..6, None);
    let nameless = {
        let columns = nameless.columns();
        let names: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        batch(&wider_schema(), vec![Arc::clone(&columns[0]), names, Arc::clone(&columns[2])]).unwrap()
    };
    let expected = [expected.to_vec(), vec![nameless]].concat();
    ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, &expected));
}

#[tokio::test]
async fn merge_rewrites_files_of_before_with_the_new_column() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    load(&sink(root.path()), target("1", schema()), &[rows(0..4)]).await.unwrap();
    let keys = vec!["id".to_owned()];
    let merge = Target { mode: WriteMode::Merge, keys, ..target("2", wider_schema()) };
    load(&sink(root.path()), merge, &[wider(3..5, Some(1))]).await.unwrap();
    let expected = [wider(0..3, None), wider(3..5, Some(1))];
    ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, &expected));
}

#[tokio::test]
async fn new_column_goes_behind_rows_of_another_writer_and_not_behind_other_columns() {
    let root = tempfile::tempdir().unwrap();
    load(&sink(root.path()), target("1", schema()), &[rows(0..2)]).await.unwrap();
    behind(root.path(), "append", target("2", wider_schema()), wider(2..3, Some(1))).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let printed = super::readers::read("duckdb", &directory);
    assert_eq!((printed.columns.len(), printed.rows.len()), (3, 4));

    let root = tempfile::tempdir().unwrap();
    load(&sink(root.path()), target("1", schema()), &[rows(0..2)]).await.unwrap();
    let failure =
        behind(root.path(), "add-column", target("2", wider_schema()), wider(2..3, Some(1))).await.unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("DK-SNK-065", Retry::NextRun), "{failure}");
    let directory = root.path().join("ERP/dbo/orders");
    let files = std::fs::read_dir(&directory).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!(files, live_files(&directory).await.unwrap().len(), "what was written is removed");
    load(&sink(root.path()), target("2", wider_schema()), &[wider(2..3, Some(1))]).await.unwrap();
}

#[tokio::test]
async fn type_changes_only_where_all_rows_go() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let of = |data_type: DataType| -> SchemaRef { Arc::new(Schema::new(vec![Field::new("id", data_type, false)])) };
    let narrow = batch(&of(DataType::Int32), vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
    let wide = batch(&of(DataType::Int64), vec![Arc::new(Int64Array::from(vec![i64::MAX]))]).unwrap();
    load(&sink(root.path()), target("1", narrow.schema()), &[narrow]).await.unwrap();
    let failure = sink(root.path()).open(target("2", wide.schema())).await.map(|_| ()).unwrap_err();
    insta::assert_snapshot!(
        format!("{}: {}\n{}", failure.code(), failure.to_string().replace(root.path().to_str().unwrap(), "[root]"), failure.hint().unwrap()),
        @r"
        DK-SNK-008: [root]/ERP/dbo/orders has another schema: `id` is integer in the table, not long
        `host run --full-refresh` replaces the rows of the table and gives it the columns of the source; or exclude the column in the datakit's settings
        "
    );
    let overwrite = Target { mode: WriteMode::Overwrite, ..target("3", wide.schema()) };
    load(&sink(root.path()), overwrite, std::slice::from_ref(&wide)).await.unwrap();
    ENGINES.iter().for_each(|engine| assert_reads(engine, &directory, std::slice::from_ref(&wide)));
}

#[tokio::test]
async fn partition_column_is_never_lost() {
    let root = tempfile::tempdir().unwrap();
    let by_name = Target { partition_by: vec!["name".to_owned()], ..target("1", schema()) };
    load(&sink(root.path()), by_name, &[rows(0..2)]).await.unwrap();
    let narrow: SchemaRef = Arc::new(schema().project(&[0]).unwrap());
    for (drift, mode) in [
        (DriftRule::Evolve, WriteMode::Append),
        (DriftRule::Freeze, WriteMode::Append),
        (DriftRule::Replace, WriteMode::Overwrite),
    ] {
        let failure =
            sink(root.path()).open(Target { drift, mode, ..target("2", Arc::clone(&narrow)) }).await.map(|_| ());
        let failure = failure.unwrap_err();
        assert_eq!(failure.code(), "DK-SNK-008");
        assert!(failure.message().contains("`name` partitions the table"), "{failure}");
    }
    assert_eq!(sink(root.path()).rows("ERP", &orders()).await.unwrap().rows, 2);
}

#[tokio::test]
async fn full_refresh_goes_behind_rows_of_another_writer() {
    let root = tempfile::tempdir().unwrap();
    load(&sink(root.path()), target("1", schema()), &[rows(0..2)]).await.unwrap();
    let refresh = Target { mode: WriteMode::Overwrite, drift: DriftRule::Replace, ..target("2", wider_schema()) };
    let only = wider(7..8, Some(5)).project(&[0, 2]).unwrap();
    let refresh = Target { schema: only.schema(), ..refresh };
    behind(root.path(), "append", refresh, only.clone()).await.unwrap();
    ENGINES
        .iter()
        .for_each(|engine| assert_reads(engine, &root.path().join("ERP/dbo/orders"), std::slice::from_ref(&only)));
}

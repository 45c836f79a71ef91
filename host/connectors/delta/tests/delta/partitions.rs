//! Partitioned tables: what the log says of them, and that readers that are not ours see every value.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    Time64NanosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datakit_connect::sink::conformance::{TextRow, rows_of};
use datakit_delta::{DeltaConfig, DeltaSink, names};
use datakit_model::sink::{CommitNote, Sink, Target, WriteMode};
use datakit_model::{Kind, TrackedBatch};
use serde_json::{Value, json};

use super::resistance::{foreign_table, plain_protocol};
use super::suite::files_below;
use super::{live_files, live_parts, load, schema, sink, target};

const ENGINES: [&str; 3] = ["polars", "duckdb", "deltalake"];

/// Texts that some escaping, some file system or some reader takes for something else.
const ODD_TEXTS: [&str; 22] = [
    "a/b",
    "../up",
    "100%",
    "100%25",
    "a%2Fb",
    "two words",
    " leading",
    "trailing ",
    "dots...",
    ".",
    "..",
    "k=v",
    "'single'",
    "\"double\"",
    "back\\slash",
    "tab\tand\nline",
    "Größe 列 😀",
    "null",
    "a+b&c?d#e:f*g|h",
    "{x}[y]<z>^~`",
    "\u{7f}\u{1}",
    "__HIVE_DEFAULT_PARTITION",
];

fn partitioned(run_id: &str, schema: SchemaRef, columns: &[&str]) -> Target {
    Target { partition_by: columns.iter().map(|name| (*name).to_owned()).collect(), ..target(run_id, schema) }
}

/// `id` and one more column.
fn with_ids(name: &str, column: ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values((0..column.len()).map(|row| row as i32)));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), (name, column, true)]).unwrap()
}

#[derive(serde::Deserialize)]
struct Printed {
    rows: Vec<TextRow>,
    /// Column → each of its values, and how many files were read for it.
    files: HashMap<String, Vec<(Option<String>, usize)>>,
}

fn read(engine: &str, directory: &Path, columns: &[&str]) -> Printed {
    let python = std::env::var("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON must name a Python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/read_partitions.py");
    let columns = columns.iter().map(|name| names::column(name));
    let output = Command::new(python).arg(script).arg(engine).arg(directory).args(columns).output().unwrap();
    assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Columns by which DuckDB skips no files, of tables of other writers neither.
const NOT_SKIPPED: [&str; 3] = ["at", "local", "amount"];

/// Every engine reads these rows, each of which has a file of its own. For a value DuckDB reads only the files that have it.
fn assert_reads(directory: &Path, columns: &[&str], expected: &RecordBatch) {
    let mut expected = rows_of(std::slice::from_ref(expected)).unwrap();
    expected.sort();
    for engine in ENGINES {
        let Printed { mut rows, files } = read(engine, directory, columns);
        rows.sort();
        assert_eq!(rows, expected, "{engine}: {columns:?}");
        for (place, column) in columns.iter().enumerate().filter(|(_, name)| !NOT_SKIPPED.contains(*name)) {
            let read = files.get(&names::column(column));
            assert_eq!(read.is_some(), engine == "duckdb", "{engine}: {column}");
            for (value, read) in read.into_iter().flatten() {
                let having = expected.iter().filter(|row| row[place + 1] == *value).count();
                assert_eq!(*read, having, "{engine}: files of {column} = {value:?}");
            }
        }
    }
}

/// The actions of one kind in a version of the log.
fn actions(directory: &Path, version: u64, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join(format!("_delta_log/{version:020}.json"))).unwrap();
    let actions = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.filter_map(|action| action.get(kind).cloned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_that_partitions_is_read_by_others() {
    const DAY: i64 = 86_400_000_000;
    let long = "long".repeat(60);
    let texts = ODD_TEXTS.iter().map(|text| Some(*text)).chain([None, Some(long.as_str())]);
    let micros = || {
        TimestampMicrosecondArray::from(vec![
            Some(-1),
            None,
            Some(0),
            Some(-62_135_596_800_000_000),
            Some(19_000 * DAY + 123_456),
        ])
    };
    let columns: [(&str, ArrayRef); 8] = [
        ("text", Arc::new(texts.collect::<StringArray>())),
        ("number", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(0), Some(i64::MAX)]))),
        ("day", Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(-1), Some(19_000), Some(2_932_896)]))),
        ("at", Arc::new(micros().with_timezone("UTC"))),
        ("local", Arc::new(micros())),
        ("open", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        (
            "amount",
            Arc::new(
                Decimal128Array::from(vec![Some(-5), None, Some(0), Some(999_999_999_999_999_999)])
                    .with_precision_and_scale(18, 4)
                    .unwrap(),
            ),
        ),
        ("Größe der Menge, %", Arc::new(Int32Array::from(vec![Some(1), None, Some(2)]))),
    ];
    // As many rows as texts: the other columns begin anew.
    let count = columns[0].1.len();
    let again = |column: &ArrayRef| {
        let indices = UInt32Array::from_iter_values((0..count).map(|row| (row % column.len()) as u32));
        take(column, &indices, None).unwrap()
    };
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values((0..count).map(|row| row as i32)));
    let partition_columns = columns.iter().map(|(name, column)| (*name, again(column), true));
    let rows =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false)].into_iter().chain(partition_columns)).unwrap();
    let root = tempfile::tempdir().unwrap();
    let names = columns.each_ref().map(|(name, _)| *name);
    load(&sink(root.path()), partitioned("1", rows.schema(), &names), std::slice::from_ref(&rows)).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    assert_eq!(live_files(&directory).await.unwrap().len(), count);
    assert_reads(&directory, &names, &rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_names_columns_values_and_paths() {
    let root = tempfile::tempdir().unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("Côte d'Ivoire"), None, Some("50%")]));
    let times: ArrayRef = Arc::new(Time64NanosecondArray::from(vec![1, 2, 3]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, 0, -1]));
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("country", texts, true),
        ("time", Arc::clone(&times), true),
        ("day", days, true),
    ])
    .unwrap();
    load(&sink(root.path()), partitioned("1", rows.schema(), &["day", "country"]), &[rows]).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let metadata = actions(&directory, 0, "metaData");
    assert_eq!(metadata[0]["partitionColumns"], json!(["day", "country"]));
    let mut adds: Vec<(Value, String)> = actions(&directory, 0, "add")
        .into_iter()
        .map(|add| {
            let statistics: Value = serde_json::from_str(add["stats"].as_str().unwrap()).unwrap();
            assert_eq!(statistics["nullCount"], json!({ "time": 0 }), "the files hold no other column");
            let folder = add["path"].as_str().unwrap().rsplit_once('/').unwrap().0.to_owned();
            (add["partitionValues"].clone(), folder)
        })
        .collect();
    adds.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!(
        adds,
        [
            (json!({ "day": "1969-12-31", "country": "50%" }), "day=1969-12-31/country=50%2525".to_owned()),
            (
                json!({ "day": "1970-01-01", "country": "Côte d'Ivoire" }),
                "day=1970-01-01/country=C%C3%B4te%2520d%2527Ivoire".to_owned()
            ),
            (
                json!({ "day": "1970-01-01", "country": null }),
                "day=1970-01-01/country=__HIVE_DEFAULT_PARTITION__".to_owned()
            ),
        ]
    );
    assert!(directory.join("day=1970-01-01/country=Côte%20d%27Ivoire").is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_loads_and_an_overwrite_read_back_after_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    config.checkpoint_interval = 2;
    let sink = DeltaSink::new(config).unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let texts =
        || -> ArrayRef { Arc::new(ODD_TEXTS.iter().map(|text| Some(*text)).chain([None]).collect::<StringArray>()) };
    let rows = with_ids("text", texts());
    for run_id in ["1", "2", "3"] {
        load(&sink, partitioned(run_id, rows.schema(), &["text"]), std::slice::from_ref(&rows)).await.unwrap();
    }
    // By the table's own partition columns, since none are proposed.
    let overwrite = Target { mode: WriteMode::Overwrite, ..target("4", rows.schema()) };
    let committed = load(&sink, overwrite, std::slice::from_ref(&rows)).await.unwrap();
    assert_eq!(committed.holds.rows, rows.num_rows() as u64);
    let paths = |kind: &str, version| -> Vec<String> {
        let actions = actions(&directory, version, kind).into_iter();
        let mut paths: Vec<_> = actions.map(|action| action["path"].as_str().unwrap().to_owned()).collect();
        paths.sort();
        paths
    };
    let mut added: Vec<String> = (0..3).flat_map(|version| paths("add", version)).collect();
    added.sort();
    assert_eq!(paths("remove", 3), added, "every earlier file, by the path that added it");
    assert!(directory.join("_delta_log/00000000000000000003.checkpoint.parquet").exists());
    for version in 0..=3 {
        std::fs::remove_file(directory.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    assert_reads(&directory, &["text"], &rows);
}

#[tokio::test]
async fn table_of_others_is_written_by_its_own_partition_columns() {
    let root = tempfile::tempdir().unwrap();
    foreign_table(root.path(), &plain_protocol(), &["name"], &json!({}), &json!({}));
    let sink = sink(root.path());
    load(&sink, target("1", schema()), &[super::rows(0..3)]).await.unwrap();
    let directory = root.path().join("ERP/dbo/orders");
    let mut values: Vec<_> =
        live_parts(&directory).await.unwrap().into_iter().map(|(_, values)| values["name"].clone()).collect();
    values.sort();
    assert_eq!(values, ["name 0", "name 1", "name 2"].map(|name| Some(name.to_owned())));
    assert_reads(&directory, &["name"], &super::rows(0..3));
}

#[tokio::test]
async fn other_partition_columns_than_the_tables_are_refused() {
    for (there, wanted) in [(vec![], vec!["name"]), (vec!["name"], vec!["id"])] {
        let root = tempfile::tempdir().unwrap();
        foreign_table(root.path(), &plain_protocol(), &there, &json!({}), &json!({}));
        let failure = sink(root.path()).open(partitioned("1", schema(), &wanted)).await.map(|_| ()).unwrap_err();
        assert_eq!((failure.code(), failure.kind()), ("DK-SNK-042", Kind::User), "{failure}");
        let text = failure.message();
        assert!(text.ends_with(&format!("and the load is partitioned by {}", wanted.join(", "))), "{text}");
    }
}

#[tokio::test]
async fn value_without_a_form_in_the_log_fails_the_table_and_leaves_no_file() {
    let root = tempfile::tempdir().unwrap();
    let rows = with_ids("text", Arc::new(StringArray::from(vec!["a", "b", ""])));
    let sink = sink(root.path());
    let writer = sink.open(partitioned("1", rows.schema(), &["text"])).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(TrackedBatch::untracked(rows.slice(0, 2))).await.unwrap();
    let failure = match partition.write(TrackedBatch::untracked(rows)).await {
        Err(failure) => failure,
        Ok(()) => partition.finish().await.unwrap_err(),
    };
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-011", Kind::Data), "{failure}");
    assert!(failure.message().contains("column `text` of table `dbo.orders`, row 2"), "{failure}");
    writer.abort().await;
    assert!(!root.path().join("ERP/dbo/orders").exists(), "{:?}", files_below(root.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_values_open_few_files_and_lose_no_row() {
    const ROWS: i32 = 6_000;
    let root = tempfile::tempdir().unwrap();
    let mut config = DeltaConfig::new(root.path().to_string_lossy());
    config.max_open_files = 4;
    config.max_encoding_bytes = 64 * 1024;
    let sink = DeltaSink::new(config).unwrap();
    // Each value comes again after all others.
    let batch = |first: i32| {
        let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(first..first + 1_000));
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values((first..first + 1_000).map(|id| id % 20)));
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("bucket", values, true)]).unwrap()
    };
    let batches: Vec<_> = (0..ROWS).step_by(1_000).map(batch).collect();
    let writer = sink.open(partitioned("1", batches[0].schema(), &["bucket"])).await.unwrap();
    for (ordinal, half) in batches.chunks(3).enumerate() {
        let mut partition = writer.partition(ordinal as u32).await.unwrap();
        for batch in half {
            partition.write(TrackedBatch::untracked(batch.clone())).await.unwrap();
        }
        partition.finish().await.unwrap();
    }
    let committed = writer.commit(CommitNote::default()).await.unwrap();
    assert_eq!(committed.written.rows, ROWS as u64);
    let directory = root.path().join("ERP/dbo/orders");
    assert_eq!(
        live_files(&directory).await.unwrap().len(),
        120,
        "20 values in each of 6 batches, since 4 files are open at most"
    );
    let printed = read("duckdb", &directory, &["bucket"]);
    let mut rows: Vec<(i32, i32)> = printed
        .rows
        .iter()
        .map(|row| {
            let number = |cell: &Option<String>| cell.as_ref().unwrap().parse().unwrap();
            (number(&row[0]), number(&row[1]))
        })
        .collect();
    rows.sort();
    assert_eq!(rows, (0..ROWS).map(|id| (id, id % 20)).collect::<Vec<_>>());
}

//! Recorded conversations with a real TDS server, read by both readers.

use crate::common::{READERS, Replay, query, read, reported};
use arrow::array::AsArray;
use arrow::util::pretty::pretty_format_batches;
use datakit_model::source::Value;

const ANY: &str = "SELECT * FROM dbo.t_types ORDER BY id";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_the_same_through_both_readers() {
    let replay = Replay::start("01-types").await;
    let [bulk, rows] = READERS.map(|reader| replay.source(reader));
    let bulk = read(&bulk, query(ANY, vec![])).await.unwrap();
    let rows = read(&rows, query(ANY, vec![])).await.unwrap();
    assert_eq!(bulk.schema, rows.schema);
    assert_eq!(bulk.one_batch(), rows.one_batch());
    assert_eq!(bulk.adjustments, rows.adjustments);

    let fields: Vec<String> = bulk
        .schema
        .fields()
        .iter()
        .map(|f| {
            format!(
                "{} {}{} from {}",
                f.name(),
                f.data_type(),
                if f.is_nullable() { "" } else { " not null" },
                f.metadata()["datakit.source-type"]
            )
        })
        .collect();
    insta::assert_snapshot!("types-schema", fields.join("\n"));
    let batch = bulk.one_batch();
    let columns: Vec<String> = (0..batch.num_columns())
        .map(|i| pretty_format_batches(&[batch.project(&[i]).unwrap()]).unwrap().to_string())
        .collect();
    insta::assert_snapshot!("types-values", columns.join("\n"));
    insta::assert_debug_snapshot!("types-adjustments", bulk.adjustments);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_tables_are_the_same_through_both_readers() {
    for (capture, rows) in [("02-orders-top5", 5), ("04-primary-keys", 4), ("07-empty-result", 0)] {
        let replay = Replay::start(capture).await;
        let [a, b] = READERS.map(|reader| replay.source(reader));
        let a = read(&a, query(ANY, vec![])).await.unwrap();
        let b = read(&b, query(ANY, vec![])).await.unwrap();
        assert_eq!(a.rows(), rows, "{capture}");
        assert_eq!(a.schema, b.schema, "{capture}");
        assert_eq!(a.one_batch(), b.one_batch(), "{capture}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_over_many_packets_arrive_whole() {
    let replay = Replay::start("09-large-values").await;
    let [a, b] = READERS.map(|reader| replay.source(reader));
    let a = read(&a, query(ANY, vec![])).await.unwrap();
    let b = read(&b, query(ANY, vec![])).await.unwrap();
    assert_eq!(a.one_batch(), b.one_batch());
    let batch = a.one_batch();
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "日本x".repeat(20_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_read_back() {
    let replay = Replay::start("12-parameters").await;
    for reader in READERS {
        let parameters = vec![Value::Int64(42), Value::Text("ünï".into()), Value::Float64(1.25)];
        let answer =
            read(&replay.source(reader), query("SELECT @P1 AS i, @P2 AS s, @P3 AS f", parameters)).await.unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(pretty_format_batches(&answer.batches).unwrap(), @r"
            +----+-----+------+
            | i  | s   | f    |
            +----+-----+------+
            | 42 | ünï | 1.25 |
            +----+-----+------+
            ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_keeps_its_number() {
    for (capture, code, number) in [
        ("05-missing-table", "DK-SRC-300", "33557097"),
        ("06-error-after-rows", "DK-SRC-038", "8134"),
        ("11-print-and-raiserror", "DK-SRC-040", "50000"),
        ("10-wrong-password", "DK-SRC-030", "18456"),
    ] {
        let replay = Replay::start(capture).await;
        for reader in READERS {
            let failure = read(&replay.source(reader), query(ANY, vec![])).await.unwrap_err();
            assert_eq!(failure.code(), code, "{capture} {reader:?} {}", reported(&failure));
            assert!(failure.context().contains(&("sql_server_error".into(), number.into())), "{capture} {reader:?}");
            assert!(!reported(&failure).contains("secret"));
        }
    }
}

//! Reading from the fake SQL Server.

use std::sync::Arc;
use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use datakit_fake_sqlserver::Options;
use datakit_fake_sqlserver::erp;
use datakit_fake_sqlserver::fast::FastTable;
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_fake_sqlserver::values::SqlError;
use datakit_model::source::{Isolation, QueryOptions, Source, Value, ValueType};
use datakit_model::{Failure, MemoryBudget, ReadLimits};
use datakit_sqlserver::{Login, ReaderKind};

use crate::common::{READERS, access, query, read, reported};
use crate::world::{World, in_clear_text};

const THREE: &str = "CREATE TABLE dbo.t (id int NOT NULL, note nvarchar(40) NULL);
INSERT INTO dbo.t VALUES (1, N'één'), (2, NULL), (3, N'')";
const SELECT_THREE: &str = "SELECT id, note FROM dbo.t ORDER BY id";

fn fault(effect: Effect, after_rows: u64) -> Fault {
    Fault { table: "dbo.t".into(), after_rows, effect, times: 1 }
}

/// A fake SQL Server with a generated table of many rows.
pub fn big(rows: u64) -> World {
    let fast_tables = vec![Arc::new(FastTable::orders("orders", rows))];
    World::start(Options::default(), SqlEngineOptions { fast_tables, ..SqlEngineOptions::default() }, "SELECT 1 AS a")
}

pub const BIG: &str = "SELECT * FROM fast.orders";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_the_same_through_both_readers() {
    let world = World::of("SELECT 1 AS a");
    erp::load(&world.engine, 100).unwrap();
    let [bulk, rows] = READERS.map(|reader| world.source(reader));
    let all = read(&bulk, query("SELECT * FROM dbo.all_types ORDER BY id", vec![])).await.unwrap();
    assert_eq!(all.rows() as u64, erp::EVERY_TYPE_ROWS);
    insta::assert_debug_snapshot!("every-type-adjustments", all.adjustments);

    let mut lines = Vec::new();
    for field in all.schema.fields() {
        let name = field.name().replace(']', "]]");
        // What tiberius cannot read exactly it refuses; the same column without its extremes is then compared.
        let mut verdict = format!("{} {} {}", field.name(), field.metadata()["datakit.source-type"], field.data_type());
        let without_extremes = match field.name().as_str() {
            "c_money" => " WHERE c_money > -100000000 AND c_money < 100000000",
            _ => " WHERE id IN (1, 2, 6, 7, 8)",
        };
        for condition in ["", without_extremes] {
            let sql = format!("SELECT [{name}] AS [{name}] FROM dbo.all_types{condition} ORDER BY id");
            let ours = read(&bulk, query(&sql, vec![])).await.unwrap();
            match read(&rows, query(&sql, vec![])).await {
                Ok(theirs) => {
                    assert_eq!(ours.schema, theirs.schema, "{sql}");
                    assert_eq!(ours.one_batch(), theirs.one_batch(), "{sql}");
                    assert_eq!(ours.adjustments, theirs.adjustments, "{sql}");
                    verdict.push_str(if condition.is_empty() { ": same" } else { "; others same" });
                    break;
                }
                Err(failure) => {
                    assert_eq!(failure.code(), "DK-SRC-051", "{sql}: {}", reported(&failure));
                    verdict.push_str(&format!(": {failure}"));
                }
            }
        }
        lines.push(verdict);
    }
    insta::assert_snapshot!("every-type-verdicts", lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_are_the_same_through_both_readers() {
    let world = big(20_000);
    let limits = ReadLimits { max_batch_bytes: 256 << 10, ..ReadLimits::default() };
    let mut answers = Vec::new();
    for reader in READERS {
        let source = world.source_with(reader, |c| c.read = limits.clone());
        let answer = read(&source, query(&format!("{BIG} ORDER BY id"), vec![])).await.unwrap();
        assert!(answer.batches.len() > 5);
        assert!(answer.batches.iter().all(|batch| batch.get_array_memory_size() < 512 << 10));
        answers.push(answer);
    }
    assert_eq!(answers[0].rows(), 20_000);
    assert_eq!(answers[0].one_batch(), answers[1].one_batch());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_parameter_arrives_as_its_type() {
    let world = World::of("SELECT 1 AS a");
    let parameters = || {
        vec![
            Value::Null(ValueType::Text),
            Value::Boolean(true),
            Value::Int32(-1),
            Value::Int64(i64::MIN),
            Value::Float64(0.1),
            Value::Decimal("-12.50".into()),
            Value::Text("日本 é".into()),
            Value::Bytes(vec![0, 255]),
            Value::Uuid("6F9619FF-8B86-D011-B42D-00C04FC964FF".into()),
            Value::Date("0001-01-01".into()),
            Value::Timestamp("9999-12-31T23:59:59.999999".into()),
            Value::LegacyDatetime("2024-02-29T12:34:56.127".into()),
            Value::TimestampTz("2024-02-29T12:34:56.5+02:00".into()),
        ]
    };
    let select = |n: usize| {
        let list: Vec<String> = (1..=n).map(|i| format!("@P{i} AS p{i}")).collect();
        format!("SELECT {}", list.join(", "))
    };
    let mut with_ansi = parameters();
    with_ansi.push(Value::AnsiText("café".into()));
    let bulk = world.source(ReaderKind::MssqlTds);
    let answer = read(&bulk, query(&select(with_ansi.len()), with_ansi)).await.unwrap();
    let types: Vec<&str> =
        answer.schema.fields().iter().map(|f| f.metadata()["datakit.source-type"].as_str()).collect();
    insta::assert_snapshot!(types.join(", "));
    let batch = answer.one_batch();
    let columns: Vec<String> = (0..batch.num_columns())
        .map(|i| pretty_format_batches(&[batch.project(&[i]).unwrap()]).unwrap().to_string())
        .collect();
    insta::assert_snapshot!(columns.join("\n"));
    // tiberius declares some types wider; the values are the same.
    let theirs = read(&world.source(ReaderKind::Tiberius), query(&select(13), parameters())).await.unwrap();
    let theirs = theirs.one_batch();
    for i in (0..13).filter(|i| *i != 5) {
        assert_eq!(theirs.column(i), batch.column(i), "@P{}", i + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_arrives_as_its_type() {
    let world = World::of("SELECT 1 AS a");
    let nulls: Vec<Value> = ValueType::ALL.into_iter().map(Value::Null).collect();
    let list: Vec<String> = (1..=nulls.len()).map(|i| format!("@P{i} AS p{i}")).collect();
    let mut types = Vec::new();
    for reader in READERS {
        let answer =
            read(&world.source(reader), query(&format!("SELECT {}", list.join(", ")), nulls.clone())).await.unwrap();
        let batch = answer.one_batch();
        assert!(batch.columns().iter().all(|column| column.is_null(0)));
        types.push(
            batch.schema().fields().iter().map(|f| f.metadata()["datakit.source-type"].clone()).collect::<Vec<_>>(),
        );
    }
    let expected = "bit, int, bigint, float, decimal(38,0), nvarchar(4000), varchar(8000), varbinary(8000), uniqueidentifier, \
                    date, datetime2(7), datetime, datetimeoffset(7)";
    assert_eq!(types[0].join(", "), expected);
    // tiberius has no varchar, and declares some types at their widest.
    let theirs = [
        ("decimal(38,0)", "numeric(18,0)"),
        ("varchar(8000)", "nvarchar(4000)"),
        ("varbinary(8000)", "varbinary(max)"),
    ];
    let same =
        |ours: &String| theirs.iter().find(|(name, _)| name == ours).map_or(ours.clone(), |(_, name)| (*name).into());
    assert_eq!(types[1], types[0].iter().map(same).collect::<Vec<String>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn options_reach_the_server_and_do_not_stay() {
    let world = World::of(THREE);
    for reader in READERS {
        let source = world.source_with(reader, |c| c.pool.max_connections = 1);
        let mut first = query(SELECT_THREE, vec![]);
        first.options =
            QueryOptions { isolation: Some(Isolation::ReadUncommitted), max_parallelism: Some(2), timeout: None };
        world.engine.take_records();
        read(&source, first).await.unwrap();
        for _ in 0..2 {
            read(&source, query(SELECT_THREE, vec![])).await.unwrap();
        }
        let records = world.engine.take_records();
        let selects: Vec<_> = records.iter().filter(|r| r.text.contains("SELECT id")).collect();
        // A record's isolation is the one that its batch found.
        let (first, last) = (selects[0], selects[selects.len() - 1]);
        assert_eq!(first.options, ["MAXDOP 2"], "{reader:?}");
        assert!(first.text.contains("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;"), "{}", first.text);
        assert!(selects.iter().any(|r| r.isolation == "READ UNCOMMITTED" && r.text.contains("LEVEL READ COMMITTED;")));
        assert_eq!((last.isolation, last.text.contains("SET ")), ("READ COMMITTED", false), "{reader:?} {selects:?}");
        assert!(last.options.is_empty());
        assert!(records.iter().any(|r| r.text.starts_with("/* datakit run test-run */")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reader_cancels_and_gives_its_connection_back() {
    let world = big(20_000_000);
    let source = world.source_with(ReaderKind::MssqlTds, |c| c.pool.max_connections = 1);
    let connection = source.connect(access(&["*.*"])).await.unwrap();
    world.engine.take_records();
    for _ in 0..3 {
        let mut reader = connection.query(query(BIG, vec![])).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
    }
    let answer = read(&source, query("SELECT 7 AS a", vec![])).await.unwrap();
    assert_eq!(answer.rows(), 1);
    let processes: std::collections::BTreeSet<i64> = world.engine.take_records().iter().map(|r| r.process).collect();
    assert_eq!(processes.len(), 1, "one connection served all: {processes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tiberius_serves_on_after_a_dropped_reader() {
    let world = big(2_000_000);
    let source = world.source_with(ReaderKind::Tiberius, |c| c.pool.max_connections = 1);
    let connection = source.connect(access(&["*.*"])).await.unwrap();
    let mut reader = connection.query(query(BIG, vec![])).await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    drop(reader);
    assert_eq!(read(&source, query("SELECT 7 AS a", vec![])).await.unwrap().rows(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn query_ends_at_the_smaller_timeout_and_the_next_one_works() {
    let world = World::of(THREE);
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3_600));
    for (reader, operator, datakit) in
        READERS.into_iter().flat_map(|r| [(r, long, Some(short)), (r, short, Some(long)), (r, short, None)])
    {
        let source = world.source_with(reader, |c| {
            c.pool.max_connections = 1;
            c.timeouts.cancel = Duration::from_secs(1);
            c.timeouts.query = operator;
        });
        for after_rows in [0, 1] {
            world.engine.add_fault(fault(Effect::Pause(Duration::from_secs(60)), after_rows));
            let mut slow = query(SELECT_THREE, vec![]);
            slow.options.timeout = datakit;
            let failure = read(&source, slow).await.unwrap_err();
            assert_eq!(failure.code(), "DK-SRC-060", "{}", reported(&failure));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reader_a_session_and_as_many_connections_as_the_pool_has() {
    let world = big(20_000_000);
    let source = world.source_with(ReaderKind::MssqlTds, |c| {
        c.pool.max_connections = 1;
        c.pool.checkout_timeout = Duration::from_millis(200);
    });
    let first = source.connect(access(&["*.*"])).await.unwrap();
    let second = source.connect(access(&["*.*"])).await.unwrap();
    let reader = first.query(query(BIG, vec![])).await.unwrap();
    let busy = first.query(query("SELECT 1 AS a", vec![])).await.err().unwrap();
    assert_eq!(busy.code(), "DK-SRC-081");
    let empty = second.query(query("SELECT 1 AS a", vec![])).await.err().unwrap();
    insta::assert_snapshot!(reported(&empty).replace(&world.running.port().to_string(), "PORT"));
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_over_the_limit_ends_the_query_before_it_is_gathered() {
    let world = World::of(
        "CREATE TABLE dbo.t (id int NOT NULL, doc nvarchar(max) NULL);
INSERT INTO dbo.t VALUES (1, N'short'), (2, REPLICATE(CAST(N'x' AS nvarchar(max)), 50000))",
    );
    for reader in READERS {
        let source = world.source_with(reader, |c| {
            c.read.max_cell_bytes = 1000;
            c.pool.max_connections = 1;
        });
        let failure = read(&source, query("SELECT id, doc FROM dbo.t ORDER BY id", vec![])).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(reported(&failure), @r"
            DK-SRC-052 Data Never: row 2, column `doc`: a value of 50000 bytes is over the limit `max_cell_bytes` of 1000
            hint: raise `limits.read.max_cell_bytes`, or exclude the column
            ");
        }
        assert_eq!(read(&source, query("SELECT id FROM dbo.t", vec![])).await.unwrap().rows(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_wait_for_memory_and_give_it_back() {
    let world = big(100_000);
    let source = world.source(ReaderKind::MssqlTds);
    let memory = MemoryBudget::new(5 << 20);
    let connection =
        source.connect(datakit_model::source::Access { memory: memory.clone(), ..access(&["*.*"]) }).await.unwrap();
    let mut reader = connection.query(query(BIG, vec![])).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = reader.next().await.unwrap() {
        assert!(memory.available_bytes() < memory.capacity_bytes());
        rows += batch.batch().num_rows();
    }
    assert_eq!(rows, 100_000);
    assert_eq!(memory.available_bytes(), memory.capacity_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_errors_say_what_to_do() {
    let world = World::of(THREE);
    let mut lines = Vec::new();
    for reader in READERS {
        let source = world.source(reader);
        let mut report =
            |what: &str, failure: Failure| lines.push(format!("{what} ({reader:?})\n{}", reported(&failure)));
        report("missing table", read(&source, query("SELECT a FROM dbo.nothing", vec![])).await.unwrap_err());
        report("missing column", read(&source, query("SELECT nope FROM dbo.t", vec![])).await.unwrap_err());
        world.engine.set_denied("dbo.t", true);
        report("denied", read(&source, query(SELECT_THREE, vec![])).await.unwrap_err());
        world.engine.set_denied("dbo.t", false);
        let password = world.source_with(reader, |c| {
            c.login =
                Login::Sql { user: "sa".into(), password: datakit_model::Secret::new("Pl4nted-not-it".into()).into() };
        });
        report("wrong password", read(&password, query(SELECT_THREE, vec![])).await.unwrap_err());
        let database = world.source_with(reader, |c| c.database = "nowhere".into());
        report("unknown database", read(&database, query(SELECT_THREE, vec![])).await.unwrap_err());
        report("no name", read(&source, query("SELECT id, id + 1 FROM dbo.t", vec![])).await.unwrap_err());
        report("one name twice", read(&source, query("SELECT id, id FROM dbo.t", vec![])).await.unwrap_err());
        report("not granted", {
            let connection = source.connect(access(&["hr.*"])).await.unwrap();
            connection.query(query(SELECT_THREE, vec![])).await.err().unwrap()
        });
    }
    insta::assert_snapshot!(lines.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_in_the_middle_may_be_tried_again() {
    let world = World::of(THREE);
    let source = world.source(ReaderKind::MssqlTds);
    let victim = SqlError::new(1205, "Transaction was deadlocked on lock resources").with_class(13);
    world.engine.add_fault(fault(Effect::Error(victim), 2));
    let failure = read(&source, query(SELECT_THREE, vec![])).await.unwrap_err();
    assert_eq!((failure.code(), failure.retry()), ("DK-SRC-034", datakit_model::Retry::AfterBackoff));
    assert!(failure.context().contains(&("rows_before".into(), "2".into())), "{failure:?}");
    assert_eq!(read(&source, query(SELECT_THREE, vec![])).await.unwrap().rows(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_reported_step_by_step() {
    let world = World::of(THREE);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for reader in READERS {
        let code = |failure: Failure| failure.code().to_owned();
        let refused = world.source_with(reader, |c| c.port = closed);
        assert_eq!(code(read(&refused, query(SELECT_THREE, vec![])).await.unwrap_err()), "DK-SRC-011", "{reader:?}");
        let unknown = world.source_with(reader, |c| c.host = "no-such-host.invalid".into());
        assert_eq!(code(read(&unknown, query(SELECT_THREE, vec![])).await.unwrap_err()), "DK-SRC-010", "{reader:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_introduces_itself() {
    let world = World::of(THREE);
    let pinned = world.source(ReaderKind::MssqlTds).check().await.unwrap();
    let trusted = world.source(ReaderKind::Tiberius).check().await.unwrap();
    assert_eq!(pinned, trusted);
    assert_eq!((pinned.database.as_str(), pinned.login.as_str()), (world.engine.database(), "sa"));
    assert!(!pinned.version.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_encryption_rows_come_in_clear_text() {
    for encrypt in [datakit_fake_sqlserver::Encrypt::Off, datakit_fake_sqlserver::Encrypt::On] {
        let options = Options { encrypt, ..Options::default() };
        let world = World::start(options, SqlEngineOptions::default(), THREE);
        for reader in READERS {
            let source = world.source_with(reader, in_clear_text);
            assert_eq!(read(&source, query(SELECT_THREE, vec![])).await.unwrap().rows(), 3, "{encrypt:?} {reader:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_encryption_works_where_the_certificate_is_known() {
    let options = Options { encrypt: datakit_fake_sqlserver::Encrypt::Strict, ..Options::default() };
    let world = World::start(options, SqlEngineOptions::default(), THREE);
    let source = world.source_with(ReaderKind::MssqlTds, |c| c.encrypt = datakit_sqlserver::Encrypt::Strict);
    assert_eq!(read(&source, query(SELECT_THREE, vec![])).await.unwrap().rows(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_which_only_columns_are_granted_is_not_readable() {
    let world = World::of(
        "CREATE TABLE dbo.pay (id int NOT NULL, name nvarchar(40) NULL, salary money NULL);
CREATE TABLE dbo.notes (id int NOT NULL, secret nvarchar(40) NULL);
CREATE TABLE dbo.free (id int NOT NULL)",
    );
    for column in ["id", "name"] {
        world.engine.set_column_fact("dbo.pay", column, "granted", 1).unwrap();
    }
    world.engine.set_column_fact("dbo.notes", "secret", "denied", 1).unwrap();
    for reader in READERS {
        let source = world.source(reader);
        let permissions = source.permissions().await.unwrap();
        let all = datakit_model::TablePatterns::new(vec!["dbo.*".parse().unwrap()]);
        let failure = Failure::from(permissions.check(&all).unwrap_err());
        insta::allow_duplicates! {
            insta::assert_snapshot!(reported(&failure));
        }
        let read_columns = ["id".to_owned()];
        assert_eq!(permissions.reading(|_| Some(&read_columns)).check(&all).unwrap(), 3);
        assert_eq!(read(&source, query("SELECT id, name FROM dbo.pay", vec![])).await.unwrap().rows(), 0);
        let refused = read(&source, query("SELECT id, salary FROM dbo.pay", vec![])).await.unwrap_err();
        assert_eq!(refused.code(), "DK-SRC-032", "{}", reported(&refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_table_that_lost_a_column_is_missing_a_column() {
    let world = World::of("CREATE TABLE dbo.base (a int, b int)");
    world.engine.run_script("CREATE VIEW dbo.v AS SELECT a, b FROM dbo.base").unwrap();
    world.engine.run_script("DROP TABLE dbo.base").unwrap();
    world.engine.run_script("CREATE TABLE dbo.base (a int)").unwrap();
    for reader in READERS {
        let failure = read(&world.source(reader), query("SELECT a, b FROM dbo.v", vec![])).await.unwrap_err();
        assert_eq!(
            (failure.code(), failure.kind()),
            ("DK-SRC-033", datakit_model::Kind::Source),
            "{}",
            reported(&failure)
        );
        assert!(reported(&failure).contains("sp_refreshview"), "{}", reported(&failure));
    }
}

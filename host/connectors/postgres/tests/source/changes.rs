//! Changes of a table by a column that only grows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datakit_model::changes::{ChangeRequest, ROLE_KEY, Strategy, Validity};
use datakit_model::source::Source as _;
use datakit_model::{Failure, TableId, TablePatterns};
use datakit_postgres::source::{PostgresSource, RowSecurity};
use datakit_postgres::testing::PASSWORD;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::world::{Answer, World, access, admin, reported, rest};

/// What one feed gave.
struct Fed {
    validity: Validity,
    upper: Option<String>,
    answer: Answer,
}

impl Fed {
    /// The texts of a column.
    fn texts(&self, column: &str) -> Vec<String> {
        let batch = self.answer.one_batch();
        let texts = cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
        let mut texts: Vec<String> =
            texts.as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()).collect();
        texts.sort();
        texts
    }

    fn ids(&self) -> String {
        self.texts("id").join(" ")
    }

    /// The position without what it knows of rows.
    fn place(&self) -> &str {
        place(self.upper.as_deref().unwrap_or("-"))
    }
}

fn place(position: &str) -> &str {
    position.split(['/', '~']).next().unwrap_or_default()
}

fn request(table: &str, column: &str, position: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        table: TableId::new("s", table),
        strategy: Strategy::Watermark { column: column.to_owned(), lag: 0, overlap: 0 },
        columns: Some(vec!["id".to_owned()]),
        position: position.map(str::to_owned),
        upper: None,
    }
}

fn with_lag(mut request: ChangeRequest, milliseconds: u64) -> ChangeRequest {
    if let Strategy::Watermark { lag, .. } = &mut request.strategy {
        *lag = milliseconds;
    }
    request
}

/// One feed in a run of its own.
async fn feed(source: &PostgresSource, run_id: &str, request: ChangeRequest) -> Result<Fed, Failure> {
    let connection = source.connect(access(run_id)).await?;
    let mut feed = connection.changes(request).await?;
    let answer = rest(feed.rows().await?).await?;
    Ok(Fed { validity: feed.validity().clone(), upper: feed.upper().map(str::to_owned), answer })
}

const TYPES: &str = "\
CREATE SCHEMA s;
CREATE DOMAIN s.version AS bigint;
CREATE DOMAIN s.newer AS s.version;
CREATE TABLE s.t (id int, c_small smallint, c_int int, c_big bigint, c_domain s.newer, c_numeric numeric(38,10), c_round numeric(5,-2),
    c_date date, c_stamp timestamp, c_milli timestamp(3), c_zoned timestamptz);
INSERT INTO s.t VALUES
    (1, -32768, -2147483648, -9223372036854775808, -1, -9999999999999999999999999999.9999999999, -9999900, '4713-01-01 BC',
     '4713-01-01 00:00:00 BC', '0001-12-31 23:59:59.999 BC', '0001-01-01 00:00:00+00'),
    (2, 0, 0, 0, 0, 0.0000000001, 0, '0001-01-01', '2016-03-29 02:30:00.000001', '2016-01-01', '2016-10-25 01:30:00.000001+02'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 32766, 2147483646, 9223372036854775806, 1, 9999999999999999999999999999.9999999998, 9999800, '5874897-12-30',
     '294276-12-31 23:59:59.999998', '9999-12-31 23:59:59.998', '294276-12-31 23:59:59.999998+00')";
/// Each the next of the greatest.
const LATER: &str = "INSERT INTO s.t VALUES (5, 32767, 2147483647, 9223372036854775807, 2,
    9999999999999999999999999999.9999999999, 9999900, '5874897-12-31', '294276-12-31 23:59:59.999999', '9999-12-31 23:59:59.999',
    '294276-12-31 23:59:59.999999+00')";

#[tokio::test]
async fn every_type_is_read_onward_from_its_last_digit() {
    let world = World::of(TYPES).await;
    let columns =
        ["c_small", "c_int", "c_big", "c_domain", "c_numeric", "c_round", "c_date", "c_stamp", "c_milli", "c_zoned"];
    let mut positions = Vec::new();
    let first = world.source();
    for column in columns {
        let fed = feed(&first, "first", request("t", column, None)).await.unwrap();
        assert_eq!((&fed.validity, fed.ids().as_str()), (&Validity::Whole, "1 2 3 4"), "{column}");
        assert_eq!(fed.texts("datakit:operation"), ["read"; 4]);
        assert!(fed.texts("datakit:change-version").contains(&String::new()), "a row without a value has no place");
        positions.push(fed.upper.unwrap());
    }
    insta::assert_snapshot!(positions.iter().map(|position| place(position)).collect::<Vec<_>>().join("\n"));
    world.admin.batch_execute(LATER).await.unwrap();
    let second = world.source();
    for (column, position) in columns.iter().zip(&positions) {
        let fed = feed(&second, "second", request("t", column, Some(position))).await.unwrap();
        assert_eq!((&fed.validity, fed.ids().as_str()), (&Validity::Onward, "5"), "{column}");
        assert_eq!(fed.texts("datakit:operation"), ["upsert"]);
        let newest = fed.upper.unwrap();
        let again = feed(&second, "second", request("t", column, Some(&newest))).await.unwrap();
        assert_eq!((again.ids().as_str(), again.place()), ("", place(&newest)), "{column}: nothing is read twice");
    }
}

#[tokio::test]
async fn rows_have_the_columns_of_the_host_behind_their_own() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int NOT NULL, note text, at timestamptz NOT NULL); \
         INSERT INTO s.t VALUES (1, 'a', '2026-01-01 00:00:00.5+00'), (2, NULL, '2026-01-02 00:00+00')",
    )
    .await;
    let whole = ChangeRequest { columns: None, ..request("t", "at", None) };
    let fed = feed(&world.source(), "run", whole).await.unwrap();
    let line = |field: &arrow::datatypes::FieldRef| {
        let null = if field.is_nullable() { "" } else { " not null" };
        let role = field.metadata().get(ROLE_KEY).map(|role| format!(" = {role}")).unwrap_or_default();
        format!("{}: {}{null}{role}", field.name(), field.data_type())
    };
    insta::assert_snapshot!(fed.answer.schema.fields().iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
    id: Int32 not null
    note: Utf8
    at: Timestamp(µs, "UTC") not null
    datakit:operation: Utf8 not null = operation
    datakit:change-version: Utf8 not null = change-version
    datakit:commit-time: Timestamp(µs, "UTC") = commit-time
    datakit:missing-columns: Utf8 = missing-columns
    "#);
    assert_eq!(fed.texts("datakit:change-version"), ["2026-01-01 00:00:00.5+00", "2026-01-02 00:00:00+00"]);
    let batch = fed.answer.one_batch();
    assert_eq!([batch.column(5).null_count(), batch.column(6).null_count()], [2, 2]);
}

#[tokio::test]
async fn values_without_a_place_are_read_in_the_first_copy_alone() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int, at timestamp, d date, n numeric(5,2)); \
         INSERT INTO s.t VALUES (1, 'infinity', 'infinity', 'NaN'), (2, '-infinity', '-infinity', -1), (3, NULL, NULL, NULL)",
    )
    .await;
    let none = feed(&world.source(), "none", request("t", "at", None)).await.unwrap();
    assert_eq!((none.ids().as_str(), none.upper), ("1 2 3", None), "no row has a value");
    world.admin.batch_execute("INSERT INTO s.t VALUES (4, '2026-01-01', '2026-01-01', 7)").await.unwrap();
    for (column, reached) in
        [("at", "timestamp:at=2026-01-01T00:00:00.000000"), ("d", "date:d=2026-01-01"), ("n", "numeric:n=7.00")]
    {
        let first = feed(&world.source(), "first", request("t", column, None)).await.unwrap();
        assert_eq!((first.ids().as_str(), first.place()), ("1 2 3 4", format!("w2:{reached}").as_str()));
    }
    world.admin.batch_execute("INSERT INTO s.t VALUES (5, 'infinity', 'infinity', 'NaN'), (6, NULL, NULL, NULL), (7, '2026-01-02', '2026-01-02', 8)").await.unwrap();
    for position in ["timestamp:at=2026-01-01T00:00:00.000000", "date:d=2026-01-01", "numeric:n=7.00"] {
        let column = &position[position.find(':').unwrap() + 1..position.find('=').unwrap()];
        let onward =
            feed(&world.source(), "onward", request("t", column, Some(&format!("w1:{position}")))).await.unwrap();
        assert_eq!(onward.ids(), "7", "{column}");
    }
}

#[tokio::test]
async fn empty_table_has_no_position_and_no_rows() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (id int, v bigint)").await;
    let source = world.source();
    let empty = feed(&source, "run", request("t", "v", None)).await.unwrap();
    assert_eq!((empty.validity, empty.upper, empty.answer.rows()), (Validity::Whole, None, 0));
    let position = "w1:int8:v=7";
    let emptied = feed(&source, "run", request("t", "v", Some(position))).await.unwrap();
    assert_eq!(
        (emptied.validity, emptied.upper.as_deref(), emptied.answer.rows()),
        (Validity::Onward, Some("w2:int8:v=7/>7/"), 0)
    );
}

#[tokio::test]
async fn change_after_the_snapshot_is_for_the_next_run() {
    let world =
        World::of("CREATE SCHEMA s; CREATE TABLE s.t (id int, v bigint); INSERT INTO s.t VALUES (1, 1), (2, 2)").await;
    let source = world.source();
    let connection = source.connect(access("run")).await.unwrap();
    let mut opened = connection.changes(request("t", "v", None)).await.unwrap();
    let bound = opened.upper().unwrap().to_owned();
    world.admin.batch_execute("UPDATE s.t SET v = 3 WHERE id = 1; INSERT INTO s.t VALUES (3, 4)").await.unwrap();
    let rows = rest(opened.rows().await.unwrap()).await.unwrap();
    let position = opened.upper().unwrap().to_owned();
    assert_eq!((rows.rows(), bound.as_str(), place(&position)), (2, "w2:int8:v=2", "w2:int8:v=2"));
    let next = feed(&world.source(), "next", request("t", "v", Some(&position))).await.unwrap();
    assert_eq!((next.ids().as_str(), next.place()), ("1 3", "w2:int8:v=4"));
    // The same span again, in another run: what has moved on is for the span that it moved to.
    let again = ChangeRequest { upper: Some(bound), ..request("t", "v", None) };
    assert_eq!(feed(&world.source(), "retry", again).await.unwrap().ids(), "2");
}

#[tokio::test]
async fn lag_longer_than_the_open_transaction_loses_nothing_and_no_lag_does() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int, at timestamptz); INSERT INTO s.t VALUES (1, '2026-01-01 00:00:00+00')",
    )
    .await;
    let late = admin(&world.server).await;
    late.batch_execute("BEGIN; INSERT INTO s.t VALUES (2, '2026-01-01 00:00:10+00')").await.unwrap();
    world.admin.batch_execute("INSERT INTO s.t VALUES (3, '2026-01-01 00:00:15+00')").await.unwrap();
    let lagging = |position: Option<&str>| with_lag(request("t", "at", position), 10_000);
    let first = feed(&world.source(), "first", lagging(None)).await.unwrap();
    let hasty = feed(&world.source(), "hasty", request("t", "at", None)).await.unwrap();
    assert_eq!((first.ids().as_str(), hasty.ids().as_str()), ("1", "1 3"));
    assert_eq!(first.place(), "w2:timestamptz:at=2026-01-01T00:00:05.000000Z");
    late.batch_execute("COMMIT").await.unwrap();
    world.admin.batch_execute("INSERT INTO s.t VALUES (4, '2026-01-01 00:01:00+00')").await.unwrap();
    let next = feed(&world.source(), "next", lagging(first.upper.as_deref())).await.unwrap();
    let lost = feed(&world.source(), "lost", request("t", "at", hasty.upper.as_deref())).await.unwrap();
    assert_eq!((next.ids().as_str(), lost.ids().as_str()), ("2 3", "4"), "without a lag row 2 is lost");
}

#[tokio::test]
async fn what_cannot_be_read_as_changes_is_refused_with_its_names() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int, f float8, t text, u uuid, n numeric, b bytea, h time, \"datakit:operation\" int); \
         CREATE TYPE s.date AS (a int); ALTER TABLE s.t ADD own s.date",
    )
    .await;
    let source = world.source();
    let mut verdicts = Vec::new();
    for column in ["f", "t", "u", "n", "b", "h", "own", "ID", "gone"] {
        verdicts.push(feed(&source, "run", request("t", column, None)).await.err().unwrap());
    }
    verdicts.push(feed(&source, "run", request("gone", "id", None)).await.err().unwrap());
    let unknown = ChangeRequest { columns: Some(vec!["nothing".into()]), ..request("t", "id", None) };
    verdicts.push(feed(&source, "run", unknown).await.err().unwrap());
    let reserved = ChangeRequest { columns: None, ..request("t", "id", None) };
    verdicts.push(feed(&source, "run", reserved).await.err().unwrap());
    verdicts.push(feed(&source, "run", request("t", "id", Some("2026-01-01"))).await.err().unwrap());
    let catalog = ChangeRequest { table: TableId::new("pg_catalog", "pg_authid"), ..request("t", "oid", None) };
    verdicts.push(feed(&source, "run", catalog).await.err().unwrap());
    let elsewhere = ChangeRequest { table: TableId::new("s", "t").in_catalog("other"), ..request("t", "id", None) };
    verdicts.push(feed(&source, "run", elsewhere).await.err().unwrap());
    let mut narrow = access("run");
    narrow.tables = TablePatterns::new(vec!["s.other".parse().unwrap()]);
    verdicts.push(source.connect(narrow).await.unwrap().changes(request("t", "id", None)).await.err().unwrap());
    insta::assert_snapshot!(verdicts.iter().map(reported).collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn column_of_another_type_is_a_gap_without_rows() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (id int, v int); INSERT INTO s.t VALUES (1, 1)").await;
    let source = world.source();
    let first = feed(&source, "first", request("t", "v", None)).await.unwrap();
    world.admin.batch_execute("ALTER TABLE s.t ALTER v TYPE bigint").await.unwrap();
    let connection = world.source().connect(access("next")).await.unwrap();
    let mut gap = connection.changes(request("t", "v", first.upper.as_deref())).await.unwrap();
    assert_eq!(
        *gap.validity(),
        Validity::Gap(
            "the position is of the column `v` of type int4, and the watermark is now the column `v` of type int8"
                .into()
        )
    );
    assert_eq!(gap.upper(), None);
    assert_eq!(gap.rows().await.err().unwrap().code(), "DK-SRC-405");
}

#[tokio::test]
async fn login_reads_what_it_may_and_hidden_rows_are_told() {
    let world = World::of(
        &format!("CREATE SCHEMA s; CREATE TABLE s.t (id int, secret text, v bigint); INSERT INTO s.t VALUES (1, 'x', 1), (2, 'y', 2); \
         CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT USAGE ON SCHEMA s TO reader; GRANT SELECT (id, v) ON s.t TO reader"),
    )
    .await;
    let as_reader = |row_security: RowSecurity| {
        world.source_with(|config| {
            config.server.user = "reader".into();
            config.row_security = row_security;
        })
    };
    let all = || ChangeRequest { columns: None, ..request("t", "v", None) };
    let fed = feed(&as_reader(RowSecurity::Refuse), "run", all()).await.unwrap();
    assert_eq!((fed.ids().as_str(), fed.answer.schema.field(1).name().as_str()), ("1 2", "v"));
    world
        .admin
        .batch_execute("ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON s.t USING (id = 1)")
        .await
        .unwrap();
    let refused = feed(&as_reader(RowSecurity::Refuse), "run", all()).await.err().unwrap();
    assert_eq!(refused.code(), "DK-SRC-361");
    let connection = as_reader(RowSecurity::Filter).connect(access("run")).await.unwrap();
    let mut feed = connection.changes(all()).await.unwrap();
    let mut reader = feed.rows().await.unwrap();
    while reader.next().await.unwrap().is_some() {}
    assert!(reader.report().filtered);
}

#[tokio::test]
async fn feed_takes_the_place_of_the_sessions_one_reader() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (id int, v bigint); INSERT INTO s.t VALUES (1, 1)").await;
    let connection = world.source().connect(access("run")).await.unwrap();
    let mut feed = connection.changes(request("t", "v", None)).await.unwrap();
    let reader = feed.rows().await.unwrap();
    let busy = connection.changes(request("t", "v", None)).await.err().unwrap();
    assert_eq!(busy.code(), "DK-SRC-181");
    drop(reader);
    assert!(connection.changes(request("t", "v", None)).await.is_ok());
}

/// A step of a table's life.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert,
    Update(usize),
    Run,
}

#[tokio::test]
async fn every_change_is_read_once_over_any_runs() {
    let world = World::of("CREATE SCHEMA s; CREATE SEQUENCE s.version").await;
    let step = proptest::prop_oneof![
        2 => proptest::strategy::Just(Step::Insert),
        3 => (0_usize..20).prop_map(Step::Update),
        1 => proptest::strategy::Just(Step::Run),
    ];
    let steps = proptest::collection::vec(step, 10..40);
    let mut runner = TestRunner::deterministic();
    for case in 0..8 {
        let mut life = steps.new_tree(&mut runner).unwrap().current();
        life.push(Step::Run);
        let table = format!("t{case}");
        world.admin.batch_execute(&format!("CREATE TABLE s.{table} (id serial, v bigint)")).await.unwrap();
        let (mut position, mut seen, mut copy) = (None, BTreeSet::new(), BTreeMap::new());
        for (number, step) in life.iter().enumerate() {
            let sql = match step {
                Step::Insert => format!("INSERT INTO s.{table} (v) VALUES (nextval('s.version'))"),
                Step::Update(row) => format!("UPDATE s.{table} SET v = nextval('s.version') WHERE id = {row}"),
                Step::Run => {
                    let request = request(&table, "v", position.as_deref());
                    let request = ChangeRequest { columns: None, ..request };
                    let fed = feed(&world.source(), &format!("{case}-{number}"), request).await.unwrap();
                    let batch = fed.answer.one_batch();
                    let [ids, versions] = [0, 1].map(|column| cast(batch.column(column), &DataType::Int64).unwrap());
                    let numbers = |array: &arrow::array::ArrayRef| {
                        array.as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
                    };
                    for (id, version) in numbers(&ids).into_iter().zip(numbers(&versions)) {
                        assert!(seen.insert(version), "{life:?}: {version} is read twice");
                        copy.insert(id, version);
                    }
                    position = fed.upper;
                    continue;
                }
            };
            world.admin.batch_execute(&sql).await.unwrap();
        }
        let rows = world.admin.query(&format!("SELECT id::bigint, v FROM s.{table}"), &[]).await.unwrap();
        let table: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(copy, table, "{life:?}");
    }
}

//! Values of changes: as the first copy has them, or declared missing.

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::concat_batches;
use datakit_model::source::Source as _;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use super::{Mirror, each, request, source};
use crate::world::{World, access, rest};

/// Long enough to be stored apart.
const LONG: &str = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i)";

#[tokio::test]
async fn values_that_are_stored_apart_are_kept_or_declared_missing() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v int, doc text); \
         ALTER TABLE s.t ALTER COLUMN doc SET STORAGE EXTERNAL; CREATE PUBLICATION shop FOR TABLE s.t",
    )
    .await;
    each(&world, &[&format!("INSERT INTO s.t VALUES (1, 0, {LONG})")]).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    // Inserted and updated in one span; updated alone; deleted by an explicit NULL.
    each(&world, &[&format!("INSERT INTO s.t VALUES (2, 0, {LONG})"), "UPDATE s.t SET v = 1"]).await;
    let fed = mirror.read(&source(&world)).await;
    let missing: Vec<_> = fed.rows.iter().map(|row| (row.operation.as_str(), row.missing.as_deref())).collect();
    assert_eq!(missing, [("insert", None), ("update", Some(r#"["doc"]"#)), ("update", Some(r#"["doc"]"#))]);
    mirror.apply(&fed);
    mirror.assert_same(&world).await;
    each(&world, &["UPDATE s.t SET doc = NULL WHERE id = 1"]).await;
    let fed = mirror.read(&source(&world)).await;
    assert_eq!((&fed.rows[0].missing, &fed.rows[0].values["doc"]), (&None, &None));
    mirror.apply(&fed);
    mirror.assert_same(&world).await;
    // A row with another key leaves its value behind: nobody could find it.
    each(&world, &["UPDATE s.t SET id = 3 WHERE id = 2"]).await;
    let gap = mirror.read(&source(&world)).await;
    assert!(gap.gap().contains("does not send its unchanged value of `doc`"), "{gap:?}");
    let other = datakit_model::changes::ChangeRequest {
        columns: Some(vec!["id".to_owned(), "v".to_owned()]),
        ..request("t", mirror.position.as_deref())
    };
    let fed = super::feed(&source(&world), "other", other).await.unwrap();
    assert_eq!(fed.told("id"), "delete 2, insert 3", "where the column is not read, nothing is missing");
}

#[tokio::test]
async fn whole_old_rows_have_the_values_that_new_ones_lack() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v int, doc text); \
         ALTER TABLE s.t ALTER COLUMN doc SET STORAGE EXTERNAL; ALTER TABLE s.t REPLICA IDENTITY FULL; \
         CREATE TABLE s.bag (a int, b text); ALTER TABLE s.bag REPLICA IDENTITY FULL; \
         CREATE TABLE s.longkey (k text PRIMARY KEY, v int); ALTER TABLE s.longkey ALTER COLUMN k SET STORAGE EXTERNAL; \
         CREATE PUBLICATION shop FOR TABLE s.t, s.bag, s.longkey",
    )
    .await;
    let key = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 70) AS i)";
    each(
        &world,
        &[
            &format!("INSERT INTO s.t VALUES (1, 0, {LONG})"),
            "INSERT INTO s.bag VALUES (1, 'a'), (2, 'b')",
            &format!("INSERT INTO s.longkey VALUES ({key}, 0)"),
        ],
    )
    .await;
    let mut mirrors = [Mirror::new("t", &["id"]), Mirror::new("bag", &["a", "b"]), Mirror::new("longkey", &["k"])];
    for mirror in &mut mirrors {
        mirror.run_beside_others(&world).await;
    }
    each(
        &world,
        &[
            "UPDATE s.t SET v = 1",
            "UPDATE s.t SET id = 9",
            "INSERT INTO s.t VALUES (5, 5, NULL)",
            "DELETE FROM s.t WHERE id = 5",
            "UPDATE s.bag SET b = 'c' WHERE a = 2",
            "DELETE FROM s.bag WHERE a = 1",
            "UPDATE s.longkey SET v = 1",
        ],
    )
    .await;
    for mirror in &mut mirrors {
        let fed = mirror.read(&source(&world)).await;
        assert!(fed.rows.iter().all(|row| row.missing.is_none()), "{fed:?}");
        mirror.apply(&fed);
        mirror.assert_same(&world).await;
    }
}

/// Columns of every type that is read, and values at the edges of each.
const TYPES: &[(&str, &[&str])] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "32767"]),
    ("integer", &["-2147483648", "2147483647"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("oid", &["0", "4294967295"]),
    ("real", &["0.1", "'-0'", "'NaN'", "'-Infinity'", "3.4028235e38"]),
    ("double precision", &["0.1", "'-0'", "'NaN'", "'Infinity'", "5e-324"]),
    ("numeric(38,10)", &["0.1", "-9999999999999999999999999999.9999999999", "100000"]),
    ("numeric(5,-2)", &["9999900", "0"]),
    ("date", &["'0001-12-31 BC'", "'5874897-12-31'", "'2026-03-29'"]),
    ("time", &["'00:00'", "'23:59:59.999999'"]),
    ("timestamp", &["'0001-01-01 00:00:00 BC'", "'294247-01-10 04:00:54.775807'", "'2026-03-29 02:30:00.000001'"]),
    ("timestamptz", &["'2026-03-29 02:30:00.000001+05:30'", "'0001-01-01 00:00:00+00 BC'", "'2026-10-25 01:30:00+02'"]),
    ("text", &["''", "'null'", "E'a\\n\\t\\\\\"''ü€😀'", "repeat('x', 5000)"]),
    ("varchar(5)", &["'abc'", "''"]),
    ("char(5)", &["'abc'", "''"]),
    ("name", &["'n'"]),
    ("json", &["'{\"a\":  1}'"]),
    ("jsonb", &["'{\"a\":  [1, null]}'", "'null'"]),
    ("bytea", &["'\\x00ff'", "''"]),
    ("uuid", &["'00000000-0000-0000-0000-000000000001'"]),
    ("s.mood", &["'fine'", "'with \"quotes\"'"]),
    ("s.positive", &["7"]),
    ("s.citext", &["'MiXed'"]),
];

#[tokio::test]
async fn changes_have_the_values_of_the_first_copy_for_every_type() {
    let columns: Vec<String> = TYPES.iter().enumerate().map(|(at, (kind, _))| format!("c{at} {kind}")).collect();
    let world = World::logical(&format!(
        "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('fine', 'with \"quotes\"'); CREATE DOMAIN s.positive AS int CHECK (VALUE > 0); \
         CREATE DOMAIN s.citext AS text; CREATE TABLE s.t (id serial PRIMARY KEY, {}); CREATE PUBLICATION shop FOR TABLE s.t",
        columns.join(", ")
    ))
    .await;
    // Settings of the role do not matter.
    each(
        &world,
        &[
            "ALTER ROLE postgres SET datestyle = 'German'",
            "ALTER ROLE postgres SET timezone = 'Asia/Kolkata'",
            "ALTER ROLE postgres SET bytea_output = 'escape'",
            "ALTER ROLE postgres SET extra_float_digits = -10",
            "ALTER ROLE postgres SET intervalstyle = 'sql_standard'",
        ],
    )
    .await;
    let position = super::feed(&source(&world), "first", request("t", None)).await.unwrap().upper;
    let value = TYPES.iter().map(|(_, values)| {
        let one = proptest::sample::select(values.to_vec()).prop_map(str::to_owned);
        proptest::option::weighted(0.9, one).prop_map(|value| value.unwrap_or_else(|| "NULL".to_owned()))
    });
    let row = value.collect::<Vec<_>>();
    let mut runner = TestRunner::deterministic();
    for _ in 0..60 {
        let values = row.new_tree(&mut runner).unwrap().current().join(", ");
        each(&world, &[&format!("INSERT INTO s.t VALUES (DEFAULT, {values})")]).await;
    }
    let read = async |position: Option<&str>| {
        let source = source(&world);
        let connection = source.connect(access("run")).await.unwrap();
        let mut feed = connection.changes(request("t", position)).await.unwrap();
        let answer = rest(feed.rows().await.unwrap()).await.unwrap();
        let own: Vec<usize> = (0..=TYPES.len()).collect();
        concat_batches(&answer.schema, &answer.batches).unwrap().project(&own).unwrap()
    };
    let (copy, changes) = (read(None).await, read(position.as_deref()).await);
    assert_eq!(copy.num_rows(), 60);
    assert_eq!(copy, changes);
}

#[tokio::test]
async fn value_that_has_no_exact_form_fails_the_table_with_its_column() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, d date); CREATE PUBLICATION shop FOR TABLE s.t",
    )
    .await;
    let position = super::feed(&source(&world), "first", request("t", None)).await.unwrap().upper;
    each(&world, &["INSERT INTO s.t VALUES (1, '2026-01-01'), (2, 'infinity')"]).await;
    let failure = super::feed(&source(&world), "run", request("t", position.as_deref())).await.unwrap_err();
    assert_eq!(
        crate::world::reported(&failure).lines().next().unwrap(),
        "DK-SRC-151 Data Never: row 2, column `d`: an infinite date"
    );
}

#[tokio::test]
async fn commit_time_is_the_servers() {
    let world =
        World::logical("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY); CREATE PUBLICATION shop FOR TABLE s.t")
            .await;
    let position = super::feed(&source(&world), "first", request("t", None)).await.unwrap().upper;
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text";
    let before: i64 = world.ask(now).await.parse().unwrap();
    each(&world, &["INSERT INTO s.t VALUES (1)"]).await;
    let after: i64 = world.ask(now).await.parse().unwrap();
    let source = source(&world);
    let connection = source.connect(access("run")).await.unwrap();
    let mut feed = connection.changes(request("t", position.as_deref())).await.unwrap();
    let batch = rest(feed.rows().await.unwrap()).await.unwrap().one_batch();
    let times = batch.column_by_name("datakit:commit-time").unwrap();
    let times = times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(times.null_count(), 0);
    assert!((before..=after).contains(&times.value(0)), "{before} {} {after}", times.value(0));
}

//! Every type, with its extremes and nulls.

use arrow::array::AsArray as _;
use datakit_model::source::{Value, ValueType};

use crate::world::{World, read, read_with, reported};

const TYPES: &str = "\
CREATE EXTENSION IF NOT EXISTS citext;
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'ok', 'größer');
CREATE DOMAIN s.percent AS numeric(5,2) CHECK (VALUE <= 100);
CREATE DOMAIN s.share AS s.percent;
CREATE TABLE s.every_type (
    id integer PRIMARY KEY,
    a_bool bool, a_small smallint, an_int integer NOT NULL, a_big bigint, a_real real, a_double double precision,
    a_numeric numeric(38,10), a_fraction numeric(3,5), a_round numeric(5,-2), a_share s.share,
    a_text text, a_varchar varchar(20), a_char char(5), a_name name, a_citext citext, a_mood s.mood,
    a_bytea bytea, a_date date, a_time time, a_timestamp timestamp, a_timestamptz timestamptz(3), a_uuid uuid,
    a_json json, a_jsonb jsonb, an_oid oid
);
SET TimeZone = 'America/New_York';
INSERT INTO s.every_type VALUES
    (1, true, -32768, -2147483648, -9223372036854775808, -3.4028235e38, -1.7976931348623157e308,
     -9999999999999999999999999999.9999999999, 0.00999, -9999900, 100, '', 'ä''\"\\\\', 'ab', 'n', 'Ci', 'sad',
     '\\x', '4713-01-01 BC', '00:00', '4713-01-01 00:00:00 BC', '0001-01-01 00:00:00+00', '00000000-0000-0000-0000-000000000000',
     '{\"b\": 1,  \"a\": 2}', '{\"b\": 1,  \"a\": 2}', 0),
    (2, false, 32767, 2147483647, 9223372036854775807, 'NaN', 'Infinity',
     0.0000000001, -0.00001, 12300, -0.01, '日本 🦀', repeat('x', 20), 'abcde', repeat('n', 63), 'cI', 'größer',
     '\\x00ff27', '5874897-12-31', '23:59:59.999999', '9999-12-31 23:59:59.999999', '9999-12-31 23:59:59.999+00',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '[]', 4294967295),
    (3, null, null, 0, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
     null, null, null, null);
";

#[tokio::test]
async fn every_type_is_read_exactly() {
    let world = World::of(TYPES).await;
    let columns = "id, a_bool, a_small, an_int, a_big, a_real, a_double, a_numeric, a_fraction, a_round, a_share, a_text, \
                   a_varchar, a_char, a_name, a_citext, a_mood, a_bytea, a_date, a_time, a_timestamp, a_timestamptz, a_uuid, \
                   a_json, a_jsonb, an_oid";
    let answer = read(&world.source(), &format!("SELECT {columns} FROM s.every_type ORDER BY id")).await.unwrap();
    insta::assert_snapshot!(answer.columns());
    assert_eq!(answer.schema.field_with_name("a_uuid").unwrap().metadata()["ARROW:extension:name"], "arrow.uuid");
}

/// What a datakit casts: the text is the same whatever the server's own settings are.
#[tokio::test]
async fn other_types_are_read_as_text() {
    let world = World::of(
        "CREATE SCHEMA s;
         CREATE TYPE s.pair AS (a int, b text);
         CREATE TABLE s.others (
            a_numeric numeric, an_interval interval, a_timetz timetz, a_money money, an_inet inet, a_mac macaddr, a_bit bit(3),
            a_varbit varbit, an_xml xml, a_range int4range, a_multirange nummultirange, a_point point, a_char \"char\",
            an_array int[], dates timestamptz[], a_pair s.pair, a_vector tsvector, a_lsn pg_lsn);
         ALTER ROLE postgres SET DateStyle = 'SQL, DMY';
         ALTER ROLE postgres SET IntervalStyle = 'postgres_verbose';
         ALTER ROLE postgres SET TimeZone = 'Asia/Kolkata';
         ALTER ROLE postgres SET bytea_output = 'escape';
         ALTER ROLE postgres SET search_path = s, public;
         INSERT INTO s.others VALUES ('Infinity', '-1 year 2 days 03:04:05.5', '12:00:00+05:30', 1234567.89, '10.0.0.1/8',
            '08:00:2b:01:02:03', B'101', B'1', '<a>ä</a>', '[1,5)', '{[1,2),[3,4)}', '(1,-2.5)', 'x',
            '{1,null,-3}', '{2024-02-29 12:00:00+00}', (1, 'it''s'), 'a:1 b:2', '16/B374D848')",
    )
    .await;
    let sql = "SELECT a_numeric::text AS a_numeric, an_interval::text AS an_interval, a_timetz::text AS a_timetz, \
               a_money::numeric(23, 4) AS a_money, an_inet::text AS an_inet, a_mac::text AS a_mac, a_bit::text AS a_bit, \
               a_varbit::text AS a_varbit, an_xml::text AS an_xml, a_range::text AS a_range, a_multirange::text AS a_multirange, \
               a_point::text AS a_point, a_char::text AS a_char, to_json(an_array)::text AS an_array, \
               to_json(dates)::text AS dates, to_json(a_pair)::text AS a_pair, a_vector::text AS a_vector, a_lsn::text AS a_lsn \
               FROM s.others";
    insta::assert_snapshot!(read(&world.source(), sql).await.unwrap().columns());
}

#[tokio::test]
async fn what_has_no_exact_form_is_refused_by_name() {
    let world = World::of(
        "CREATE SCHEMA s;
         CREATE TABLE s.odd (d date, t timestamptz, n numeric(5,2), u numeric, w numeric(60,2), a int[], i interval, m time);
         INSERT INTO s.odd VALUES ('infinity', '-infinity', 'NaN', 1, 1, '{1}', '1 day', '24:00')",
    )
    .await;
    let source = world.source();
    let mut verdicts = Vec::new();
    for column in ["d", "t", "n", "m", "u", "w", "a", "i"] {
        let failure = read(&source, &format!("SELECT {column} FROM s.odd")).await.unwrap_err();
        verdicts.push(reported(&failure));
    }
    insta::assert_snapshot!(verdicts.join("\n"));
    // By policy: the datakit's SQL maps them.
    let sql = "SELECT nullif(nullif(d, 'infinity'), '-infinity') AS d, nullif(nullif(t, 'infinity'), '-infinity') AS t, \
               nullif(n, 'NaN')::numeric(5, 2) AS n FROM s.odd";
    insta::assert_snapshot!(read(&source, sql).await.unwrap().columns());
}

/// The name that CREATE TABLE AS gives a column without one.
#[tokio::test]
async fn a_column_may_be_called_as_one_without_a_name() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1, 'x'::text AS t").await;
    let source = world.source();
    for sql in [
        "SELECT \"?column?\", t FROM s.t",
        "SELECT * FROM s.t",
        "SELECT \"?column?\"::text AS \"?column?\", t FROM s.t",
        "SELECT q.\"?column?\" FROM (SELECT \"?column?\" FROM s.t) AS q",
    ] {
        let answer = read(&source, sql).await.unwrap();
        assert_eq!((answer.rows(), answer.schema.field(0).name().as_str()), (1, "?column?"), "{sql}");
    }
    let failure = read(&source, "SELECT t || t FROM s.t").await.unwrap_err();
    assert_eq!(failure.to_string(), "column 1 of the query has no name");
}

#[tokio::test]
async fn parameters_arrive_as_their_types() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (i int)").await;
    let values = vec![
        Value::Null(ValueType::Text),
        Value::Boolean(true),
        Value::Int32(-5),
        Value::Int64(i64::MIN),
        Value::Float64(0.1),
        Value::Decimal("-12.50".into()),
        Value::Text("it's \\ \"x\" $1 日本".into()),
        Value::Bytes(vec![0, 39, 92, 255]),
        Value::Uuid("6F9619ff-8b86-d011-b42d-00c04fc964ff".into()),
        Value::Date("2024-02-29".into()),
        Value::Timestamp("2024-02-29T23:59:59.123456".into()),
        Value::TimestampTz("2024-02-29T23:59:59-05:00".into()),
    ];
    let list: Vec<String> = (1..=values.len())
        .map(|n| match n {
            6 => "$6::numeric(10, 2) AS p6".to_owned(),
            n => format!("${n} AS p{n}"),
        })
        .collect();
    let answer = read_with(&world.source(), &format!("SELECT {}", list.join(", ")), values).await.unwrap();
    insta::assert_snapshot!(answer.columns());
}

#[tokio::test]
async fn null_arrives_as_its_type() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (i int)").await;
    let foreign = [ValueType::AnsiText, ValueType::LegacyDatetime];
    let nulls: Vec<Value> =
        ValueType::ALL.into_iter().filter(|value_type| !foreign.contains(value_type)).map(Value::Null).collect();
    let types: Vec<String> = (1..=nulls.len()).map(|n| format!("pg_typeof(${n})::text AS t{n}")).collect();
    let answer = read_with(&world.source(), &format!("SELECT {}", types.join(", ")), nulls).await.unwrap();
    let batch = answer.one_batch();
    let names: Vec<&str> = batch.columns().iter().map(|column| column.as_string::<i32>().value(0)).collect();
    assert_eq!(
        names.join(", "),
        "boolean, integer, bigint, double precision, numeric, text, bytea, uuid, date, timestamp without time zone, \
         timestamp with time zone"
    );
}

#[tokio::test]
async fn empty_tables_have_columns_and_no_batches() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t (id bigint NOT NULL, note text)").await;
    let answer = read(&world.source(), "SELECT id, note FROM s.t").await.unwrap();
    assert_eq!(answer.batches.len(), 0);
    let fields: Vec<bool> = answer.schema.fields().iter().map(|field| field.is_nullable()).collect();
    assert_eq!(fields, [false, true]);
    let outer = read(&world.source(), "SELECT u.id FROM s.t LEFT JOIN s.t AS u ON false").await.unwrap();
    assert!(outer.schema.field(0).is_nullable(), "an outer join makes nulls");
}

#[tokio::test]
async fn large_values_and_many_rows_arrive_whole() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i, repeat('ab', i % 5000) AS t FROM generate_series(1, 20000) AS i").await;
    let source = world.source_with(|config| config.read.max_batch_bytes = 1 << 20);
    let answer = read(&source, "SELECT i, t FROM s.t ORDER BY i").await.unwrap();
    assert_eq!(answer.rows(), 20_000);
    assert!(answer.batches.len() > 50, "{}", answer.batches.len());
    let batch = answer.one_batch();
    let texts = batch.column(1).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
    assert!((0..20_000).all(|row| texts.value(row).len() == 2 * ((row + 1) % 5000)));
    let limited = world.source_with(|config| config.read.max_cell_bytes = 100);
    let failure = read(&limited, "SELECT i, t FROM s.t ORDER BY i").await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "row 51, column `t`: a value of 102 bytes is over the limit `max_cell_bytes` of 100"
    );
}

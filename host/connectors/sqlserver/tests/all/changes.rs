//! Changes of a table by a column that only grows.

use datakit_model::TableId;
use datakit_model::changes::{ChangeRequest, ROLE_KEY, Strategy, Validity};
use datakit_model::source::Source as _;

use crate::common::{READERS, access, reported};
use crate::feeds::{Fed, feed, place};
use crate::world::World;

/// The ids, sorted.
fn ids(fed: &Fed) -> String {
    fed.texts("id").join(" ")
}

fn request(table: &str, column: &str, position: Option<&str>) -> ChangeRequest {
    ChangeRequest {
        table: TableId::new("dbo", table),
        strategy: Strategy::Watermark { column: column.to_owned(), lag: 0, overlap: 0 },
        columns: Some(vec!["id".to_owned()]),
        position: position.map(str::to_owned),
        upper: None,
    }
}

const TYPES: &str = "\
CREATE TABLE dbo.t (id int NOT NULL, c_tiny tinyint NULL, c_small smallint NULL, c_int int NULL, c_big bigint NULL,
    c_decimal decimal(38,10) NULL, c_money money NULL, c_smallmoney smallmoney NULL, c_date date NULL, c_minute smalldatetime NULL,
    c_legacy datetime NULL, c_second datetime2(0) NULL, c_milli datetime2(3) NULL, c_stamp datetime2(7) NULL,
    c_offset datetimeoffset(7) NULL, c_version rowversion NOT NULL);
INSERT INTO dbo.t (id, c_tiny, c_small, c_int, c_big, c_decimal, c_money, c_smallmoney, c_date, c_minute, c_legacy, c_second, c_milli,
    c_stamp, c_offset) VALUES
    (1, 0, -32768, -2147483648, -9223372036854775808, -9999999999999999999999999999.9999999999, -922337203685477.5808,
     -214748.3648, '0001-01-01', '1900-01-01T00:00:00', '1753-01-01T00:00:00', '0001-01-01T00:00:00', '0001-01-01T00:00:00.001',
     '0001-01-01T00:00:00.0000001', '0001-01-01T00:00:00.0000001+00:00'),
    (2, 7, 0, 0, 0, 0.0000000001, -0.0001, 0, '2024-02-29', '2024-02-29T23:59:00', '2024-02-29T23:59:59.997', '2024-02-29T23:59:59',
     '2024-02-29T23:59:59.999', '2024-02-29T23:59:59.9999999', '2024-03-01T01:59:59.9999998+02:00'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 254, 32766, 2147483646, 9223372036854775806, 9999999999999999999999999999.9999999998, 922337203685477.5806, 214748.3646,
     '9999-12-30', '2079-06-06T23:58:00', '9999-12-31T23:59:59.993', '9999-12-31T23:59:58', '9999-12-31T23:59:59.998',
     '9999-12-31T23:59:59.9999998', '9999-12-31T23:59:59.9999998+00:00')";
/// Each the next of the greatest.
const LATER: &str = "\
INSERT INTO dbo.t (id, c_tiny, c_small, c_int, c_big, c_decimal, c_money, c_smallmoney, c_date, c_minute, c_legacy, c_second, c_milli,
    c_stamp, c_offset) VALUES
    (5, 255, 32767, 2147483647, 9223372036854775807, 9999999999999999999999999999.9999999999, 922337203685477.5807, 214748.3647,
     '9999-12-31', '2079-06-06T23:59:00', '9999-12-31T23:59:59.997', '9999-12-31T23:59:59', '9999-12-31T23:59:59.999',
     '9999-12-31T23:59:59.9999999', '9999-12-31T23:59:59.9999999+00:00')";
const COLUMNS: [&str; 15] = [
    "c_tiny",
    "c_small",
    "c_int",
    "c_big",
    "c_decimal",
    "c_money",
    "c_smallmoney",
    "c_date",
    "c_minute",
    "c_legacy",
    "c_second",
    "c_milli",
    "c_stamp",
    "c_offset",
    "c_version",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_onward_from_its_last_digit() {
    for reader in READERS {
        let world = World::of(TYPES);
        let source = world.source(reader);
        let mut positions = Vec::new();
        for column in COLUMNS {
            let fed = feed(&source, request("t", column, None)).await.unwrap();
            assert_eq!((&fed.validity, ids(&fed).as_str()), (&Validity::Whole, "1 2 3 4"), "{reader:?} {column}");
            assert_eq!(fed.texts("datakit:operation"), ["read"; 4]);
            positions.push(fed.upper.unwrap());
        }
        insta::allow_duplicates! { insta::assert_snapshot!("positions-of-every-type", positions.iter().map(|position| place(position)).collect::<Vec<_>>().join("\n")) };
        world.engine.run_script(LATER).unwrap();
        for (column, position) in COLUMNS.iter().zip(&positions) {
            let fed = feed(&source, request("t", column, Some(position))).await.unwrap();
            assert_eq!((&fed.validity, ids(&fed).as_str()), (&Validity::Onward, "5"), "{reader:?} {column}");
            assert_eq!(fed.texts("datakit:operation"), ["upsert"]);
            let newest = fed.upper.unwrap();
            let again = feed(&source, request("t", column, Some(&newest))).await.unwrap();
            assert_eq!((ids(&again).as_str(), again.place()), ("", place(&newest)), "{column}: nothing is read twice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_the_columns_of_the_host_and_a_place_with_all_digits() {
    let world = World::of(
        "CREATE TABLE dbo.t (id int NOT NULL, at datetime2(7) NOT NULL); \
         INSERT INTO dbo.t VALUES (1, '2026-01-01T00:00:00.1234567'), (2, '2026-01-01T00:00:00.1234568')",
    );
    for reader in READERS {
        let whole = ChangeRequest { columns: None, ..request("t", "AT", None) };
        let fed = feed(&world.source(reader), whole).await.unwrap();
        assert_eq!(fed.place(), "w2:datetime2(7):at=2026-01-01T00:00:00.1234568", "{reader:?}");
        assert_eq!(
            fed.texts("datakit:change-version"),
            ["2026-01-01T00:00:00.1234567", "2026-01-01T00:00:00.1234568"],
            "{reader:?}"
        );
        let schema = fed.batch.schema();
        let roles: Vec<&str> =
            schema.fields().iter().filter_map(|field| Some(field.metadata().get(ROLE_KEY)?.as_str())).collect();
        assert_eq!(roles, ["operation", "change-version", "commit-time", "missing-columns"]);
        assert_eq!(schema.fields()[..2].iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["id", "at"]);
    }
}

/// The batches that ran, with the types of their parameters.
fn sent(world: &World) -> String {
    let texts: Vec<String> = world
        .engine
        .take_records()
        .into_iter()
        .filter(|record| record.text.contains("dbo"))
        .map(|record| [record.text, record.parameters.join(", ")].join("\n"))
        .collect();
    texts.join("\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_parameters_of_the_columns_own_type_and_rows_are_versions() {
    let world = World::of(TYPES);
    world.engine.run_script("CREATE VIEW dbo.v AS SELECT id, c_stamp FROM dbo.t").unwrap();
    let source = world.source(READERS[0]);
    let mut texts = Vec::new();
    for (column, position) in [
        ("c_stamp", "datetime2(7):c_stamp=2024-02-29T23:59:59.9999999"),
        ("c_minute", "smalldatetime:c_minute=2024-02-29T23:59:00"),
        ("c_offset", "datetimeoffset(7):c_offset=2024-02-29T23:59:59.9999998Z"),
        ("c_money", "money:c_money=-0.0001"),
        ("c_version", "rowversion:c_version=0x00000000000007D2"),
    ] {
        world.engine.take_records();
        feed(&source, request("t", column, Some(&format!("w1:{position}")))).await.unwrap();
        texts.push(sent(&world));
    }
    for position in [None, Some("w1:datetime2(7):c_stamp=2024-02-29T23:59:59.9999999")] {
        feed(&source, request("v", "c_stamp", position)).await.unwrap();
        texts.push(sent(&world));
    }
    insta::assert_snapshot!(texts.join("\n=====\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_keeps_the_upper_bound_behind_and_the_rows_come_later() {
    let world = World::of(
        "CREATE TABLE dbo.t (id int NOT NULL, at datetime NULL); INSERT INTO dbo.t VALUES (1, '2026-01-01T00:00:00'), \
         (2, '2026-01-01T00:00:09.997'), (3, '2026-01-01T00:00:10.003')",
    );
    let source = world.source(READERS[0]);
    let lagging = |position: Option<&str>| ChangeRequest {
        strategy: Strategy::Watermark { column: "at".to_owned(), lag: 5, overlap: 0 },
        ..request("t", "at", position)
    };
    let first = feed(&source, lagging(None)).await.unwrap();
    assert_eq!((ids(&first).as_str(), first.place()), ("1", "w2:datetime:at=2026-01-01T00:00:09.990"));
    world.engine.run_script("INSERT INTO dbo.t VALUES (4, '2026-01-01T00:00:20')").unwrap();
    let next = feed(&source, lagging(first.upper.as_deref())).await.unwrap();
    assert_eq!((ids(&next).as_str(), next.place()), ("2 3", "w2:datetime:at=2026-01-01T00:00:19.990"));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_without_values_is_read_whole_each_time() {
    let world = World::of("CREATE TABLE dbo.t (id int NOT NULL, v bigint NULL)");
    let source = world.source(READERS[0]);
    let empty = feed(&source, request("t", "v", None)).await.unwrap();
    assert_eq!((empty.validity, empty.upper, empty.batch.num_rows()), (Validity::Whole, None, 0));
    world.engine.run_script("INSERT INTO dbo.t VALUES (1, NULL)").unwrap();
    let nulls = feed(&source, request("t", "v", None)).await.unwrap();
    assert_eq!((nulls.validity.clone(), ids(&nulls).as_str(), nulls.upper), (Validity::Whole, "1", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_as_changes_is_refused_with_its_names() {
    let world = World::of(
        "CREATE TABLE dbo.t (id int NOT NULL, f float NULL, n nvarchar(10) NULL, u uniqueidentifier NULL, h time(3) NULL, \
         b varbinary(8) NULL, masked datetime2(7) NULL, secret bigint NULL, [datakit:operation] int NULL); \
         CREATE TABLE dbo.other (id int NOT NULL)",
    );
    world.engine.set_column_fact("dbo.t", "masked", "is_masked", 1).unwrap();
    world.engine.set_column_fact("dbo.t", "secret", "denied", 1).unwrap();
    let source = world.source(READERS[0]);
    let mut verdicts = Vec::new();
    for column in ["f", "n", "u", "h", "b", "masked", "secret", "gone"] {
        verdicts.push(feed(&source, request("t", column, None)).await.err().unwrap());
    }
    verdicts.push(feed(&source, request("gone", "id", None)).await.err().unwrap());
    let reserved = ChangeRequest { columns: None, ..request("t", "id", None) };
    verdicts.push(feed(&source, reserved).await.err().unwrap());
    verdicts.push(feed(&source, request("t", "id", Some("2026-01-01"))).await.err().unwrap());
    verdicts.push(feed(&source, request("t", "id", Some("w1:int:id=99999999999999999999"))).await.err().unwrap());
    let narrow = source.connect(access(&["dbo.other"])).await.unwrap();
    verdicts.push(narrow.changes(request("t", "id", None)).await.err().unwrap());
    insta::assert_snapshot!(verdicts.iter().map(reported).collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_another_type_is_a_gap_and_a_second_reader_is_refused() {
    let world = World::of("CREATE TABLE dbo.t (id int NOT NULL, v bigint NULL); INSERT INTO dbo.t VALUES (1, 1)");
    let connection = world.source(READERS[0]).connect(access(&["dbo.*"])).await.unwrap();
    let gap = connection.changes(request("t", "v", Some("w1:int:v=1"))).await.unwrap();
    assert!(matches!(gap.validity(), Validity::Gap(reason) if reason.contains("of type int,")));
    let mut whole = connection.changes(request("t", "v", None)).await.unwrap();
    let reader = whole.rows().await.unwrap();
    assert_eq!(connection.changes(request("t", "v", None)).await.err().unwrap().code(), "DK-SRC-081");
    drop(reader);
    assert!(connection.changes(request("t", "v", None)).await.is_ok());
}

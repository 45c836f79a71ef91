//! Changes by a column of type rowversion.

use datakit_model::changes::{ChangeRequest, Strategy, Validity};
use datakit_sqlserver::ReaderKind;

use crate::common::{READERS, reported};
use crate::feeds::{Copy, Event, Writer, at_every_moment, feed};
use crate::world::World;

const TABLE: &str = "\
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a int NULL, v rowversion NOT NULL);
CREATE TABLE dbo.other (id int NOT NULL, v rowversion NOT NULL);
INSERT INTO dbo.t (id, a) VALUES (1, 1), (2, 2)";

fn copy() -> Copy {
    Copy::new(Strategy::RowVersion, &["id", "a"])
}

#[tokio::test(flavor = "multi_thread")]
async fn late_commit_is_neither_read_early_nor_lost_nor_read_twice() {
    for (reader, is_snapshot_allowed) in READERS.into_iter().flat_map(|reader| [(reader, true), (reader, false)]) {
        let world = World::of(TABLE);
        if !is_snapshot_allowed {
            world.engine.run_script("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF").unwrap();
        }
        let source = world.source(reader);
        let mut copy = copy();
        assert_eq!(copy.run(&source).await.rows(), 2);
        let mut late = Writer::of(&world);
        late.run("BEGIN TRANSACTION; INSERT INTO dbo.t (id, a) VALUES (3, 3)");
        world.engine.run_script("INSERT INTO dbo.t (id, a) VALUES (4, 4)").unwrap();
        assert_eq!(copy.run(&source).await.rows(), 0, "{reader:?} {is_snapshot_allowed}: neither of both yet");
        late.run("COMMIT TRANSACTION");
        let fed = feed(&source, copy.request()).await.unwrap();
        assert_eq!(fed.texts("id"), ["3", "4"], "{reader:?}");
        assert_eq!(fed.texts("datakit:operation"), ["upsert"; 2]);
        assert_eq!(copy.run(&source).await.rows(), 2);
        assert_eq!(copy.run(&source).await.rows(), 0);
        copy.agrees(&source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_written_right_at_the_bound_is_read_once() {
    let world = World::of(TABLE);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    for id in 10..15 {
        world.engine.run_script(&format!("INSERT INTO dbo.t (id, a) VALUES ({id}, 0)")).unwrap();
        assert_eq!(copy.run(&source).await.rows(), 1, "{id}");
    }
    world.engine.run_script("UPDATE dbo.t SET a = a").unwrap();
    assert_eq!(copy.run(&source).await.rows(), 7, "an update without another value counts");
    world.engine.run_script("INSERT INTO dbo.other (id) VALUES (1)").unwrap();
    let before = copy.position.clone();
    assert_eq!(copy.run(&source).await.rows(), 0);
    assert_ne!(copy.position, before, "the bound follows the database");
}

#[tokio::test(flavor = "multi_thread")]
async fn counter_that_went_back_and_another_table_are_gaps() {
    let world = World::of(TABLE);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.set_last_row_version(2001).unwrap();
    assert!(copy.run(&source).await.gap().contains("went back"));
    let world = World::of(TABLE);
    let source = world.source(ReaderKind::MssqlTds);
    let mut again = self::copy();
    again.run(&source).await.rows();
    world
        .engine
        .run_script("DROP TABLE dbo.t; CREATE TABLE dbo.t (id int NOT NULL, a int NULL, v rowversion NOT NULL)")
        .unwrap();
    assert!(again.run(&source).await.gap().contains("dropped and made anew"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_say_their_version_and_the_table_needs_the_column() {
    let world = World::of(TABLE);
    world.engine.run_script("CREATE TABLE dbo.plain (id int NOT NULL)").unwrap();
    let source = world.source(ReaderKind::MssqlTds);
    let whole = feed(&source, copy().request()).await.unwrap();
    assert_eq!(whole.validity, Validity::Whole);
    assert_eq!(whole.texts("datakit:change-version"), ["0x00000000000007D1", "0x00000000000007D2"]);
    assert!(whole.upper.unwrap().ends_with(":v=0x00000000000007D3"));
    let plain = ChangeRequest { table: datakit_model::TableId::new("dbo", "plain"), columns: None, ..copy().request() };
    let refused = feed(&source, plain).await.err().unwrap();
    assert_eq!(refused.code(), "DK-SRC-410", "{}", reported(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_at_any_moment_loses_a_change_in_silence() {
    let changes = "INSERT INTO dbo.t (id, a) VALUES (3, 3); UPDATE dbo.t SET a = 9 WHERE id = 1";
    let events: [(&str, Event); 2] = [
        ("commit", |engine| {
            let script = "INSERT INTO dbo.t (id, a) VALUES (8, 8); UPDATE dbo.t SET a = 7 WHERE id = 3";
            engine.run_script(script).map(drop).unwrap();
        }),
        ("of another table", |engine| {
            engine.run_script("INSERT INTO dbo.other (id) VALUES (8)").map(drop).unwrap();
        }),
    ];
    for (name, event) in events {
        let outcomes = at_every_moment(|| World::of(TABLE), &copy(), changes, event).await;
        assert_eq!(outcomes, ["read, read"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_eight_bytes_of_the_column() {
    let world = World::of(TABLE);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.take_records();
    copy.run(&source).await.rows();
    let records = world.engine.take_records();
    let rows = records.iter().find(|record| record.text.contains("binary(8)) AND")).unwrap();
    insta::assert_snapshot!([rows.text.clone(), rows.parameters.join(", ")].join("\n"));
}

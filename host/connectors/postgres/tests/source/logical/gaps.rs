//! What no change tells of: the feed says that changes are lost, before any row.

use datakit_model::changes::Validity;
use datakit_model::source::Source as _;

use super::{Mirror, each, feed, request, source, source_with};
use crate::world::World;

const TABLE: &str = "\
CREATE SCHEMA s;
CREATE TABLE s.t (id int PRIMARY KEY, v int, note varchar(20));
INSERT INTO s.t VALUES (1, 10, 'a'), (2, 20, 'b');
CREATE TABLE s.fixed (id int PRIMARY KEY);
CREATE PUBLICATION shop FOR TABLE s.t, s.fixed";

/// What is done to the table, and how the reason for the gap begins; none: changes go on.
const CASES: &[(&[&str], Option<&str>)] = &[
    (&["TRUNCATE s.t", "INSERT INTO s.t VALUES (7, 7, 'c')"], Some("the table was emptied (TRUNCATE)")),
    (
        &["BEGIN; INSERT INTO s.t VALUES (7, 7, 'c'); TRUNCATE s.t CASCADE; COMMIT"],
        Some("the table was emptied (TRUNCATE)"),
    ),
    (
        &[
            "UPDATE s.t SET v = 11 WHERE id = 1",
            "ALTER TABLE s.t ADD COLUMN n int DEFAULT 7",
            "UPDATE s.t SET v = 21 WHERE id = 2",
        ],
        Some("the column `n` was added since the position, and older rows may have got values in it"),
    ),
    (&["ALTER TABLE s.t ADD COLUMN n uuid DEFAULT gen_random_uuid()"], Some("the column `n` was added")),
    (&["ALTER TABLE s.t RENAME v TO w"], Some("the column `v` was renamed to `w`")),
    (&["ALTER TABLE s.t RENAME v TO x", "ALTER TABLE s.t RENAME note TO v"], Some("the column `v` was renamed to `x`")),
    (
        &["ALTER TABLE s.t DROP COLUMN v", "ALTER TABLE s.t ADD COLUMN v int"],
        Some("the column `v` was dropped and added again"),
    ),
    (&["ALTER TABLE s.t ALTER COLUMN v TYPE bigint USING v * 100"], Some("the type of the column `v` was changed")),
    (
        &["DROP TABLE s.t", "CREATE TABLE s.t (id int PRIMARY KEY, v int)", "ALTER PUBLICATION shop ADD TABLE s.t"],
        Some("the table was dropped and made again"),
    ),
    (
        &["ALTER PUBLICATION shop DROP TABLE s.t", "DELETE FROM s.t", "ALTER PUBLICATION shop ADD TABLE s.t"],
        Some("the publication, or the table's place in it, was changed"),
    ),
    (
        &[
            "ALTER PUBLICATION shop SET (publish = 'insert')",
            "DELETE FROM s.t",
            "ALTER PUBLICATION shop SET (publish = 'insert, update, delete, truncate')",
        ],
        Some("the publication, or the table's place in it, was changed"),
    ),
    (
        &["DROP PUBLICATION shop", "UPDATE s.t SET v = 0", "CREATE PUBLICATION shop FOR TABLE s.t"],
        Some("the publication `shop` was not there"),
    ),
    (
        &[
            "ALTER TABLE s.t DROP CONSTRAINT t_pkey",
            "ALTER TABLE s.t ADD PRIMARY KEY (v)",
            "ALTER TABLE s.t ALTER COLUMN id DROP NOT NULL",
        ],
        Some("the key of the table was (id) at the position and is (v) now"),
    ),
    // Nothing is lost by these.
    (
        &[
            "UPDATE s.t SET v = 11 WHERE id = 1",
            "ALTER TABLE s.t ADD COLUMN n int",
            "UPDATE s.t SET n = 5 WHERE id = 2",
        ],
        None,
    ),
    (&["UPDATE s.t SET v = 11 WHERE id = 1", "ALTER TABLE s.t DROP COLUMN v", "INSERT INTO s.t VALUES (7, 'c')"], None),
    (
        &[
            "ALTER TABLE s.t ALTER COLUMN note TYPE varchar(40)",
            "ALTER TABLE s.t ALTER COLUMN note TYPE text",
            "UPDATE s.t SET note = 'z'",
        ],
        None,
    ),
    (&["UPDATE s.t SET v = 11", "VACUUM FULL s.t", "CLUSTER s.t USING t_pkey", "UPDATE s.t SET v = 12"], None),
    (
        &[
            "ALTER TABLE s.t REPLICA IDENTITY FULL",
            "UPDATE s.t SET v = 11",
            "ALTER TABLE s.t REPLICA IDENTITY DEFAULT",
            "DELETE FROM s.t WHERE id = 1",
        ],
        None,
    ),
    (
        &[
            "CREATE TABLE s.more (id int PRIMARY KEY)",
            "ALTER PUBLICATION shop ADD TABLE s.more",
            "UPDATE s.t SET v = 11",
        ],
        None,
    ),
];

#[tokio::test]
async fn changes_of_a_table_that_no_row_tells_of_are_gaps_and_others_are_not() {
    let world = World::logical("").await;
    for (change, reason) in CASES {
        each(&world, &["DROP SCHEMA IF EXISTS s CASCADE", "DROP PUBLICATION IF EXISTS shop", TABLE]).await;
        let mut mirror = Mirror::new("t", &["id"]);
        mirror.run(&world).await;
        each(&world, change).await;
        let fed = mirror.read(&source(&world)).await;
        match reason {
            Some(reason) => {
                assert!(fed.gap().starts_with(reason), "{change:?}: {fed:?}");
                // The table is loaded anew, and goes on from there.
                let key: &[&str] = if reason.starts_with("the key") { &["v"] } else { &["id"] };
                mirror = Mirror::new("t", key);
                mirror.run(&world).await;
                each(&world, &["DELETE FROM s.t WHERE id = 1"]).await;
                mirror.run(&world).await;
            }
            None => {
                assert_eq!(fed.validity, Validity::Onward, "{change:?}");
                mirror.apply(&fed);
                drop_gone_columns(&mut mirror, &fed);
                mirror.run(&world).await;
            }
        }
        mirror.assert_same(&world).await;
    }
}

/// Rows that were not changed have a dropped column still, and not yet a new one.
fn drop_gone_columns(mirror: &mut Mirror, fed: &super::Fed) {
    let Some(shape) = fed.rows.iter().find(|row| row.operation != "delete") else { return };
    for row in mirror.rows.values_mut() {
        row.retain(|column, _| shape.values.contains_key(column));
        for column in shape.values.keys() {
            row.entry(column.clone()).or_default();
        }
    }
}

#[tokio::test]
async fn column_that_was_not_read_before_is_a_gap() {
    let world = World::logical(TABLE).await;
    let asked = |columns: &[&str], position: Option<&str>| datakit_model::changes::ChangeRequest {
        columns: Some(columns.iter().map(|column| (*column).to_owned()).collect()),
        ..request("t", position)
    };
    let first = feed(&source(&world), "first", asked(&["id", "v"], None)).await.unwrap();
    let position = first.upper.as_deref();
    let more = feed(&source(&world), "more", asked(&["id", "v", "note"], position)).await.unwrap();
    assert_eq!(more.gap(), "the column `note` was not read up to the position");
    let fewer = feed(&source(&world), "fewer", asked(&["id"], position)).await.unwrap();
    assert_eq!(fewer.validity, Validity::Onward);
}

#[tokio::test]
async fn slot_that_is_not_the_positions_any_more_is_a_gap() {
    let world = World::logical(TABLE).await;
    let mut mirror = Mirror::new("t", &["id"]);
    let mut next = async |change: &[&str]| {
        mirror.position = None;
        mirror.rows.clear();
        mirror.run(&world).await;
        each(&world, change).await;
        let fed = mirror.read(&source(&world)).await;
        fed.gap().to_owned()
    };
    let anew = "SELECT pg_create_logical_replication_slot('shop', 'pgoutput')";
    let gone = "SELECT pg_drop_replication_slot('shop')";
    assert_eq!(next(&[gone]).await, "the replication slot `shop` is not there any more");
    let made_anew = next(&[gone, "UPDATE s.t SET v = v + 1", anew, "UPDATE s.t SET v = v + 1"]).await;
    assert!(
        made_anew.starts_with("the replication slot `shop` was made anew or moved on by another program"),
        "{made_anew}"
    );
    let advance = "SELECT pg_replication_slot_advance('shop', pg_current_wal_lsn())";
    let moved = next(&["UPDATE s.t SET v = v + 1", advance]).await;
    assert!(moved.starts_with("the replication slot `shop` was made anew or moved on by another program"), "{moved}");
    let consumed = next(&[
        "UPDATE s.t SET v = v + 1",
        "SELECT count(*) FROM pg_logical_slot_get_binary_changes('shop', NULL, NULL, 'proto_version', '1', 'publication_names', 'shop')",
    ]);
    assert!(consumed.await.starts_with("the replication slot `shop` was made anew or moved on by another program"));
}

#[tokio::test]
async fn log_that_the_server_removed_is_a_gap_and_the_slot_is_made_anew() {
    let world = World::logical(TABLE).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    each(
        &world,
        &[
            "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'",
            "SELECT pg_reload_conf()",
            "UPDATE s.t SET v = 11",
            "CREATE TABLE s.noise AS SELECT i FROM generate_series(1, 100000) AS i",
        ],
    )
    .await;
    let lost = "SELECT wal_status = 'lost' FROM pg_replication_slots";
    while !world.admin.query_one(lost, &[]).await.unwrap().get::<_, bool>(0) {
        each(&world, &["SELECT pg_switch_wal()", "INSERT INTO s.noise VALUES (1)", "CHECKPOINT"]).await;
    }
    let fed = mirror.read(&source(&world)).await;
    assert!(fed.gap().starts_with("the replication slot `shop` is lost"), "{fed:?}");
    each(&world, &["ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()"]).await;
    let mut anew = Mirror::new("t", &["id"]);
    anew.run(&world).await;
    each(&world, &["UPDATE s.t SET v = 12"]).await;
    assert_eq!(anew.run(&world).await, 2);
    anew.assert_same(&world).await;
}

#[tokio::test]
async fn position_of_another_slot_or_server_is_a_gap_and_other_texts_are_errors() {
    let world = World::logical(TABLE).await;
    let first = feed(&source(&world), "first", request("t", None)).await.unwrap();
    let position = first.upper.unwrap();
    let other = |from: &str, to: &str| {
        assert!(position.contains(from), "{position}");
        position.replace(from, to)
    };
    let system = world.ask("SELECT system_identifier::text FROM pg_control_system()").await;
    let gap = async |position: &str| {
        let fed = feed(&source(&world), position, request("t", Some(position))).await.unwrap();
        fed.gap().to_owned()
    };
    assert!(
        gap(&other("\"slot\":\"shop\"", "\"slot\":\"old\""))
            .await
            .starts_with("the position is of the replication slot `old`")
    );
    for moved in [other(&system, "1"), other("\"timeline\":\"00000001\"", "\"timeline\":\"00000002\"")] {
        assert_eq!(gap(&moved).await, "the server is another one, was restored, or was promoted since the position");
    }
    let ahead = other("\"lsn\":\"0/", "\"lsn\":\"F/");
    assert!(gap(&ahead).await.contains("the server was restored from a copy"));
    for text in ["w1:int8:v=1", "0/1", "l1:", ""] {
        let failure = feed(&source(&world), "run", request("t", Some(text))).await.unwrap_err();
        assert_eq!(failure.code(), "DK-SRC-400", "{text}");
    }
    // A position of another slot does not move this one.
    let before = world.ask("SELECT confirmed_flush_lsn::text FROM pg_replication_slots").await;
    let foreign = [other("\"slot\":\"shop\"", "\"slot\":\"old\""), other(&system, "1"), "w1:int8:v=1".to_owned()];
    source(&world).confirm(&foreign).await.unwrap();
    source_with(&world, |config| config.logical = None).confirm(std::slice::from_ref(&position)).await.unwrap();
    assert_eq!(world.ask("SELECT confirmed_flush_lsn::text FROM pg_replication_slots").await, before);
}

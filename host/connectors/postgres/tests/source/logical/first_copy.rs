//! The first copy, and what comes after it.

use datakit_model::changes::{ChangeRequest, Validity};
use datakit_model::source::Source as _;

use super::{Mirror, each, feed, request, rows_of, source, source_with};
use crate::world::{World, access, admin, query, rest};

const TABLE: &str = "\
CREATE SCHEMA s;
CREATE TABLE s.t (id int PRIMARY KEY, v int, note text);
INSERT INTO s.t SELECT i, 0, 'note ' || i FROM generate_series(1, 100) AS i;
CREATE PUBLICATION shop FOR TABLE s.t";

#[tokio::test]
async fn copy_and_changes_of_a_busy_table_are_the_table() {
    let world = World::logical(TABLE).await;
    let writer = admin(&world.server).await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        for number in 1000.. {
            let sql = format!(
                "BEGIN; INSERT INTO s.t VALUES ({number}, {number}, 'new'); UPDATE s.t SET v = {number} WHERE id = {}; \
                 DELETE FROM s.t WHERE id = {number} - 50; COMMIT",
                number % 100
            );
            writer.batch_execute(&sql).await.unwrap();
            if stopped.try_recv() != Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                return;
            }
        }
    });
    let mut mirror = Mirror::new("t", &["id"]);
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
        mirror.run(&world).await;
    }
    stop.send(()).unwrap();
    writing.await.unwrap();
    mirror.run(&world).await;
    mirror.assert_same(&world).await;
    assert_eq!(mirror.run(&world).await, 0, "nothing is read twice");
}

#[tokio::test]
async fn transactions_that_are_open_at_the_copy_are_read_once_when_they_commit() {
    let world = World::logical(TABLE).await;
    let mut mirror = Mirror::new("t", &["id"]);
    let open = admin(&world.server).await;
    open.batch_execute("BEGIN; INSERT INTO s.t VALUES (200, 1, 'open')").await.unwrap();
    let source = source(&world);
    // The server waits for it before it knows all that is running.
    let (fed, ()) = tokio::join!(mirror.read(&source), async {
        world.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walsender')").await;
        open.batch_execute("INSERT INTO s.t VALUES (201, 1, 'open'); COMMIT").await.unwrap();
    });
    mirror.apply(&fed);
    mirror.run(&world).await;
    mirror.assert_same(&world).await;
}

#[tokio::test]
async fn run_leaves_nothing_on_the_server_but_the_named_slot() {
    let world = World::logical(TABLE).await;
    let run = source(&world);
    let fed = feed(&run, "first", request("t", None)).await.unwrap();
    assert_eq!((&fed.validity, fed.rows.len()), (&Validity::Whole, 100));
    assert!(fed.rows.iter().all(|row| row.operation == "read" && row.missing.is_none()));
    let slots = "SELECT string_agg(slot_name || ' ' || temporary, ', ') FROM pg_replication_slots";
    assert_eq!(world.ask(slots).await, "shop false");
    // Another first copy makes no other.
    let again = source(&world);
    assert_eq!(feed(&again, "again", request("t", None)).await.unwrap().rows.len(), 100);
    world.wait_until("SELECT count(*) = 1 FROM pg_replication_slots").await;
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'walsender')").await;
    drop((run, again));
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit')").await;
}

#[tokio::test]
async fn copy_in_parts_is_of_the_position() {
    let world = World::logical(TABLE).await;
    let source = source(&world);
    let connection = source.connect(access("run")).await.unwrap();
    let feed = connection.changes(request("t", None)).await.unwrap();
    each(&world, &["UPDATE s.t SET v = 7", "DELETE FROM s.t WHERE id > 90"]).await;
    let mut versions = Vec::new();
    for part in ["id <= 50", "id > 50"] {
        let session = source.connect(access("run")).await.unwrap();
        let rows = session.query(query(&format!("SELECT id, v, note FROM s.t WHERE {part}"))).await.unwrap();
        let rows = rows_of(&rest(feed.copied(rows).unwrap()).await.unwrap());
        assert_eq!(rows.len(), 50, "{part}");
        assert!(rows.iter().all(|row| row.operation == "read" && row.values["v"].as_deref() == Some("0")));
        versions.extend(rows.into_iter().map(|row| row.version));
    }
    versions.dedup();
    assert_eq!(versions.len(), 1);
    let onward = super::feed(&source, "next", request("t", feed.upper())).await.unwrap();
    assert_eq!(onward.rows.len(), 100 + 10);
    assert!(onward.rows.iter().all(|row| row.version > versions[0]), "a change comes after the copy");
    // Rows of another moment are no part of it.
    let other = source.connect(access("other")).await.unwrap();
    let rows = other.query(query("SELECT id, v, note FROM s.t")).await.unwrap();
    assert_eq!(feed.copied(rows).err().unwrap().code(), "DK-SRC-438");
}

#[tokio::test]
async fn snapshot_that_was_there_before_is_not_that_of_the_copy() {
    let world = World::logical(&format!("{TABLE}; CREATE TABLE s.other AS SELECT 1 AS i")).await;
    let source = source(&world);
    let session = source.connect(access("run")).await.unwrap();
    rest(session.query(query("SELECT i FROM s.other")).await.unwrap()).await.unwrap();
    each(&world, &["UPDATE s.t SET v = 7 WHERE id = 1", "INSERT INTO s.other VALUES (2)"]).await;
    let fed = super::feed(&source, "run", request("t", None)).await.unwrap();
    assert_eq!(fed.rows.iter().filter(|row| row.values["v"].as_deref() == Some("7")).count(), 1);
    // The other table stays as it was.
    let rows = session.query(query("SELECT i FROM s.other")).await.unwrap();
    assert_eq!(rest(rows).await.unwrap().rows(), 1);
    let onward = super::feed(&source, "next", request("t", fed.upper.as_deref())).await.unwrap();
    assert_eq!(onward.rows.len(), 0);
}

#[tokio::test]
async fn retry_of_a_copy_is_of_its_snapshot_or_fails() {
    let world = World::logical(TABLE).await;
    let first = source(&world);
    let fed = feed(&first, "run", request("t", None)).await.unwrap();
    each(&world, &["DELETE FROM s.t WHERE id > 10"]).await;
    let again = ChangeRequest { upper: fed.upper.clone(), ..request("t", None) };
    let retried = feed(&first, "run", again.clone()).await.unwrap();
    assert_eq!((retried.rows.len(), &retried.upper), (100, &fed.upper));
    let failure = feed(&source(&world), "run", again).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-438", "another process has another snapshot");
}

#[tokio::test]
async fn table_that_is_emptied_during_its_copy_is_an_error() {
    let world = World::logical(TABLE).await;
    let source = source(&world);
    let connection = source.connect(access("run")).await.unwrap();
    let mut feed = connection.changes(request("t", None)).await.unwrap();
    each(&world, &["TRUNCATE s.t"]).await;
    let read = async { rest(feed.rows().await?).await };
    assert_eq!(read.await.unwrap_err().code(), "DK-SRC-360");
}

#[tokio::test]
async fn open_transaction_that_the_slot_waits_for_is_named() {
    let world = World::logical(TABLE).await;
    let open = admin(&world.server).await;
    open.batch_execute("BEGIN; INSERT INTO s.t VALUES (200, 1, 'open')").await.unwrap();
    let source = source_with(&world, |config| config.timeouts.query = std::time::Duration::from_millis(300));
    let failure = feed(&source, "run", request("t", None)).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-434");
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_replication_slots)").await;
}

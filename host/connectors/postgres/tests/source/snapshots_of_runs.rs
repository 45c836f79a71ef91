//! One snapshot for all queries of a run.

use crate::world::{World, read, reported, rest, start};

const ACCOUNTS: &str = "\
CREATE SCHEMA s;
CREATE TABLE s.accounts (id int PRIMARY KEY, amount bigint NOT NULL);
INSERT INTO s.accounts SELECT i, 100 FROM generate_series(1, 1000) AS i;
";

/// Rows move from the part that is not read yet into the one that is, and back, while partitions are read.
const MOVE: &str = "\
UPDATE s.accounts SET id = -id WHERE id > 900;
UPDATE s.accounts SET amount = amount + 50 WHERE id BETWEEN 1 AND 10;
DELETE FROM s.accounts WHERE id BETWEEN 600 AND 650;
INSERT INTO s.accounts VALUES (700000, 1);
";

const LOW: &str = "SELECT id, amount FROM s.accounts WHERE id < 500";
const HIGH: &str = "SELECT id, amount FROM s.accounts WHERE id >= 500";

#[tokio::test]
async fn partitions_are_of_one_snapshot_whatever_changes_between_them() {
    let world = World::of(ACCOUNTS).await;
    let source = world.source();
    let (_session, mut low) = start(&source, "run-1", LOW).await.unwrap();
    let snapshot = low.report().snapshot;
    assert!(snapshot.is_some());
    let low = rest(low).await.unwrap();
    world.admin.batch_execute(MOVE).await.unwrap();
    let (_session, mut high) = start(&source, "run-1", HIGH).await.unwrap();
    assert_eq!(high.report().snapshot, snapshot);
    let high = rest(high).await.unwrap();
    assert_eq!(
        (low.rows(), high.rows()),
        (499, 501),
        "as of the first query: nothing lost, nothing twice, nothing new"
    );
    // Another run sees what is there now.
    let now = read(&source, LOW).await.unwrap().rows() + read(&source, HIGH).await.unwrap().rows();
    assert_eq!(now, 1000 - 51 + 1);
}

#[tokio::test]
async fn blocks_are_of_one_snapshot_too_and_the_table_stays_in_place() {
    let world = World::of(ACCOUNTS).await;
    let source = world.source();
    let part = |condition: &str| format!("SELECT id, amount FROM s.accounts WHERE {condition}");
    let (first, second) = (part("ctid < '(3,0)'::tid"), part("ctid >= '(3,0)'::tid"));
    let count = async |sql: &str| {
        let (_session, reader) = start(&source, "run-1", sql).await.unwrap();
        rest(reader).await.unwrap().rows()
    };
    let low = count(&first).await;
    // Every row gets a new place.
    world.admin.batch_execute("UPDATE s.accounts SET amount = amount + 1").await.unwrap();
    world.admin.batch_execute("SET lock_timeout = '100ms'").await.unwrap();
    for rewrite in ["VACUUM FULL s.accounts", "TRUNCATE s.accounts"] {
        let refused = world.admin.batch_execute(rewrite).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "55P03", "a lock timeout: {refused}");
    }
    let high = count(&second).await;
    assert!(low > 0 && high > 0);
    assert_eq!(low + high, 1000);
    // The run's end gives the table free.
    drop(source);
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit')").await;
    world.admin.batch_execute("TRUNCATE s.accounts").await.unwrap();
}

#[tokio::test]
async fn a_lost_snapshot_is_an_error_and_never_replaced() {
    let world = World::of(ACCOUNTS).await;
    let source = world.source();
    let (_session, low) = start(&source, "run-1", LOW).await.unwrap();
    rest(low).await.unwrap();
    let ended =
        "SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity WHERE state = 'idle in transaction'";
    assert_eq!(world.ask(ended).await, "1");
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction')").await;
    let failure = start(&source, "run-1", HIGH).await.err().unwrap();
    assert!(
        reported(&failure).starts_with("DK-SRC-162 Source Never: the snapshot of this run is lost"),
        "{}",
        reported(&failure)
    );
    // The catalog is still read, and so is another run.
    assert!(start(&source, "run-1", "SELECT relname FROM pg_catalog.pg_class").await.is_ok());
    assert_eq!(read(&source, HIGH).await.unwrap().rows(), 501);
}

#[tokio::test]
async fn other_isolations_have_no_shared_snapshot() {
    use datakit_model::source::{Isolation, QueryOptions, Source};
    let world = World::of(ACCOUNTS).await;
    let source = world.source();
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted, Isolation::Serializable] {
        let session = source.connect(crate::world::access("run-1")).await.unwrap();
        let options = QueryOptions { isolation: Some(isolation), ..QueryOptions::default() };
        let mut reader =
            session.query(datakit_model::source::Query { options, ..crate::world::query(LOW) }).await.unwrap();
        assert_eq!(reader.report().snapshot, None);
        assert_eq!(rest(reader).await.unwrap().rows(), 499);
    }
    assert_eq!(world.ask("SELECT count(*)::text FROM pg_stat_activity WHERE state = 'idle in transaction'").await, "0");
}

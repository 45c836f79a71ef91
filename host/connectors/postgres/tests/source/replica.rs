//! A replica that applies the changes of its primary.

use datakit_postgres::source::PostgresSource;
use datakit_postgres::testing::PostgresServer;

use crate::world::{World, admin, reported, rest, start};

const TABLES: &str = "
    CREATE SCHEMA s;
    CREATE TABLE s.first AS SELECT 1 AS i;
    CREATE TABLE s.t AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 100000) AS i;";

/// Rows that the run's snapshot needs are taken away, and the replica hears of it.
const CHANGE: &str = "DELETE FROM s.t WHERE i > 10; VACUUM s.t";

fn source(world: &World, replica: &PostgresServer) -> PostgresSource {
    world.source_with(|config| config.server.port = replica.port())
}

async fn applied(world: &World, replica: &PostgresServer) {
    let lsn = world.ask("SELECT pg_current_wal_lsn()::text").await;
    until(replica, &format!("pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn")).await;
}

async fn until(replica: &PostgresServer, condition: &str) {
    let there = admin(replica).await;
    let sql = format!("SELECT coalesce({condition}, false)");
    while !there.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_conflict_with_the_primary_names_the_settings_of_the_replica() {
    let world = World::of(TABLES).await;
    let replica = world.server.replica("max_standby_streaming_delay=0\nwal_receiver_status_interval=1").unwrap();
    applied(&world, &replica).await;
    let source = source(&world, &replica);
    let (_session, mut reader) = start(&source, "run-1", "SELECT i, t FROM s.t").await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    let (delete, vacuum) = CHANGE.split_once("; ").unwrap();
    world.admin.batch_execute(delete).await.unwrap();
    applied(&world, &replica).await;
    world.admin.batch_execute(vacuum).await.unwrap();
    // What conflicts is the next that the replica applies, and it waits for the reader to be ended.
    let lsn = world.ask("SELECT pg_current_wal_lsn()::text").await;
    until(&replica, &format!("pg_last_wal_receive_lsn() >= '{lsn}'::pg_lsn")).await;
    let conflict = loop {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the rows ended without a conflict"),
            Err(failure) => break failure,
        }
    };
    let lost = loop {
        match start(&source, "run-1", "SELECT i FROM s.first").await {
            // The session that keeps the snapshot is ended a little later.
            Ok((_session, reader)) => drop(rest(reader).await),
            Err(failure) => break failure,
        }
    };
    for (failure, code) in [(conflict, "DK-SRC-362 Source AfterBackoff"), (lost, "DK-SRC-162 Source Never")] {
        let text = reported(&failure);
        assert!(text.starts_with(code), "{text}");
        assert!(
            text.contains("`hot_standby_feedback = on`") && text.contains("`max_standby_streaming_delay`"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_replica_with_feedback_is_read_to_the_end() {
    let world = World::of(TABLES).await;
    let settings = "max_standby_streaming_delay=0\nhot_standby_feedback=on\nwal_receiver_status_interval=1";
    let replica = world.server.replica(settings).unwrap();
    applied(&world, &replica).await;
    let source = source(&world, &replica);
    let (_session, first) = start(&source, "run-1", "SELECT i FROM s.first").await.unwrap();
    rest(first).await.unwrap();
    world.wait_until("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE backend_xmin IS NOT NULL)").await;
    for statement in CHANGE.split("; ") {
        world.admin.batch_execute(statement).await.unwrap();
    }
    applied(&world, &replica).await;
    let (_session, reader) = start(&source, "run-1", "SELECT i, t FROM s.t").await.unwrap();
    assert_eq!(rest(reader).await.unwrap().rows(), 100_000, "as of the snapshot");
}

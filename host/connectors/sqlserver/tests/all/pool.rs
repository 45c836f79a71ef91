//! The pool, as a server sees it.

use std::sync::Arc;
use std::time::Duration;

use datakit_connect::config::ServerLimit;
use datakit_model::Diagnostic as _;
use datakit_model::source::Source;
use datakit_sqlserver::{ReaderKind, SqlServerSource};

use crate::common::{READERS, access, query, read};
use crate::fake_sqlserver::{BIG, big};
use crate::world::World;

const SELECT: &str = "SELECT 1 AS a";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closed_is_replaced() {
    for reader in READERS {
        let world = World::of(SELECT);
        let source = world.source_with(reader, |c| c.pool.validate_after = Duration::ZERO);
        read(&source, query(SELECT, vec![])).await.unwrap();
        read(&source, query(SELECT, vec![])).await.unwrap();
        let before = source.pool().unwrap();
        assert_eq!((before.opened, before.idle, before.closed.total()), (1, 1, 0), "{reader:?}");
        world.running.close_connections();
        read(&source, query(SELECT, vec![])).await.unwrap();
        let after = source.pool().unwrap();
        assert_eq!((after.opened, after.closed.closed_by_server), (2, 1), "{reader:?}");
    }
}

/// Within the time in which no sign of life is asked for: tiberius' socket can be looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_seen_without_a_question() {
    let world = World::of(SELECT);
    let source = world.source_with(ReaderKind::Tiberius, |c| c.pool.validate_after = Duration::from_secs(3_600));
    for _ in 0..2 {
        read(&source, query(SELECT, vec![])).await.unwrap();
    }
    assert_eq!(source.pool().unwrap().opened, 1);
    world.running.close_connections();
    while world.running.connections().0 > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    read(&source, query(SELECT, vec![])).await.unwrap();
    let after = source.pool().unwrap();
    assert_eq!((after.opened, after.closed.closed_by_server), (2, 1));
}

/// Reads so often at one time.
async fn many(sources: [&Arc<SqlServerSource>; 2], times: usize) {
    let tasks: Vec<_> = (0..times)
        .map(|i| {
            let source = Arc::clone(sources[i % 2]);
            tokio::spawn(async move { read(&source, query(SELECT, vec![])).await.map(drop) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_of_one_server_keep_to_its_limit() {
    let world = World::of(SELECT);
    let limit = ServerLimit::new(3);
    let source = |reader| Arc::new(world.source_with(reader, |c| c.server_limit = Some(limit.clone())));
    let (bulk, rows) = (source(ReaderKind::MssqlTds), source(ReaderKind::Tiberius));
    many([&bulk, &rows], 60).await;
    let pools: Vec<_> = [&bulk, &rows].iter().filter_map(|source| source.pool()).collect();
    assert!(pools.iter().map(|pool| pool.in_use + pool.idle).sum::<u64>() <= 3, "{pools:?}");
    assert!(pools.iter().map(|pool| pool.waits).sum::<u64>() > 0, "{pools:?}");
    assert!(pools.iter().map(|pool| pool.closed.displaced).sum::<u64>() > 0, "{pools:?}");
    // The server notices a moment later that a connection was closed; `pool::tests` counts where they are closed.
    while world.running.connections().0 > 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a datakit can do: open sessions, and keep readers whose rows have not all come.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_readers_are_kept_the_bound_holds() {
    for reader in READERS {
        let world = big(20_000);
        let source = world.source_with(reader, |c| {
            c.pool.max_connections = 3;
            c.read.max_batch_bytes = 64 << 10;
            c.pool.checkout_timeout = Duration::from_millis(200);
        });
        let mut kept = Vec::new();
        let refused = loop {
            let session = source.connect(access(&["*.*"])).await.unwrap();
            match session.query(query(BIG, vec![])).await {
                Ok(rows) => kept.push((session, rows)),
                Err(failure) => break failure,
            }
            assert!(kept.len() <= 3, "{reader:?}");
        };
        assert_eq!((refused.code(), kept.len(), world.running.connections().1), ("DK-SRC-061", 3, 3), "{reader:?}");
    }
}

/// The same where the server's own limit is the lower one.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_readers_are_kept_the_servers_limit_holds() {
    for reader in READERS {
        let world = big(20_000);
        let limit = ServerLimit::new(2);
        let source = world.source_with(reader, |c| {
            c.pool.max_connections = 8;
            c.server_limit = Some(limit.clone());
            c.read.max_batch_bytes = 64 << 10;
            c.pool.checkout_timeout = Duration::from_millis(200);
        });
        let mut kept = Vec::new();
        for _ in 0..2 {
            let session = source.connect(access(&["*.*"])).await.unwrap();
            let rows = session.query(query(BIG, vec![])).await.unwrap();
            kept.push((session, rows));
        }
        let session = source.connect(access(&["*.*"])).await.unwrap();
        let refused = session.query(query(BIG, vec![])).await.err().unwrap();
        assert_eq!((refused.code(), world.running.connections().1), ("DK-SRC-061", 2), "{reader:?}");
        // Nor does the host itself go around it.
        assert_eq!(source.check().await.unwrap_err().code(), "DK-SRC-061", "{reader:?}");
        drop(kept);
        // They are free once their tasks have seen it.
        while let Err(refused) = source.check().await {
            assert_eq!(refused.code(), "DK-SRC-061", "{reader:?}");
        }
    }
}

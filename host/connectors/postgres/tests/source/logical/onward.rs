//! Changes since a position.

use datakit_model::changes::{ChangeRequest, Validity};
use datakit_model::source::Source as _;

use super::{Mirror, each, feed, request, source, source_with};
use crate::world::{World, admin};

const TABLES: &str = "\
CREATE SCHEMA s;
CREATE TABLE s.t (id int PRIMARY KEY, v int);
CREATE TABLE s.u (a int, b int, c int, v text, PRIMARY KEY (a, b, c));
CREATE TABLE s.unpublished (id int);
INSERT INTO s.t VALUES (1, 10), (2, 20);
CREATE PUBLICATION shop FOR TABLE s.t, s.u";

/// The server's place in its log.
async fn confirmed(world: &World) -> String {
    world.ask("SELECT confirmed_flush_lsn::text FROM pg_replication_slots").await
}

#[tokio::test]
async fn each_kind_of_change_is_told_with_its_operation() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    each(
        &world,
        &[
            "INSERT INTO s.t VALUES (3, 30)",
            "UPDATE s.t SET v = 11 WHERE id = 1",
            "UPDATE s.t SET id = 20 WHERE id = 2",
            "DELETE FROM s.t WHERE id = 3",
            "BEGIN; INSERT INTO s.t VALUES (4, 40); SAVEPOINT a; INSERT INTO s.t VALUES (5, 50); ROLLBACK TO a; \
             UPDATE s.t SET v = NULL WHERE id = 4; COMMIT",
            "BEGIN; INSERT INTO s.t VALUES (6, 60); ROLLBACK",
            "INSERT INTO s.t VALUES (1, 12) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        ],
    )
    .await;
    let fed = mirror.read(&source(&world)).await;
    assert_eq!(fed.told("id"), "insert 3, update 1, delete 2, insert 20, delete 3, insert 4, update 4, update 1");
    let deleted = &fed.rows[2];
    assert_eq!((deleted.missing.as_deref(), &deleted.values["v"]), (Some(r#"["v"]"#), &None));
    assert!(fed.rows.windows(2).all(|pair| pair[0].version < pair[1].version), "{fed:?}");
    mirror.apply(&fed);
    mirror.assert_same(&world).await;
}

#[tokio::test]
async fn idle_runs_move_the_position_and_the_slot_on() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    for _ in 0..2 {
        assert_eq!(mirror.run(&world).await, 0);
    }
    let before = confirmed(&world).await;
    // What is written elsewhere moves the log on: a table that is not published, another database.
    each(&world, &["INSERT INTO s.unpublished SELECT generate_series(1, 10000)", "CREATE DATABASE other"]).await;
    assert_eq!(mirror.run(&world).await, 0);
    assert_eq!(mirror.run(&world).await, 0);
    assert_ne!(confirmed(&world).await, before, "the server need not keep the log of a quiet table");
    each(&world, &["INSERT INTO s.t VALUES (3, 30)"]).await;
    assert_eq!(mirror.run(&world).await, 1);
    mirror.assert_same(&world).await;
}

#[tokio::test]
async fn reading_consumes_nothing_until_it_is_confirmed() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    let before = confirmed(&world).await;
    each(&world, &["INSERT INTO s.t SELECT i, i FROM generate_series(1000, 20999) AS i"]).await;
    // A run that is killed when it has read a part, and one that is killed before its commit.
    let part = {
        use crate::world::access;
        let source = source(&world);
        let connection = source.connect(access("killed")).await.unwrap();
        let mut feed = connection.changes(request("t", mirror.position.as_deref())).await.unwrap();
        let mut rows = feed.rows().await.unwrap();
        rows.next().await.unwrap().unwrap().batch().num_rows()
    };
    assert!(part < 20_000);
    assert_eq!(mirror.read(&source(&world)).await.rows.len(), 20_000);
    each(&world, &["INSERT INTO s.unpublished VALUES (1)"]).await;
    assert_eq!(confirmed(&world).await, before);
    assert_eq!(mirror.run(&world).await, 20_000);
    mirror.assert_same(&world).await;
    assert_eq!(mirror.run(&world).await, 0);
}

#[tokio::test]
async fn transactions_that_overlap_are_told_whole_in_the_order_of_their_commits() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    let (a, b) = (admin(&world.server).await, admin(&world.server).await);
    a.batch_execute("BEGIN; INSERT INTO s.t VALUES (100, 1)").await.unwrap();
    b.batch_execute("BEGIN; INSERT INTO s.t VALUES (200, 2); COMMIT").await.unwrap();
    let fed = mirror.read(&source(&world)).await;
    assert_eq!(fed.told("id"), "insert 200");
    mirror.apply(&fed);
    source(&world).confirm(&[mirror.position.clone().unwrap()]).await.unwrap();
    a.batch_execute("INSERT INTO s.t VALUES (101, 1); COMMIT").await.unwrap();
    let fed = mirror.read(&source(&world)).await;
    assert_eq!(fed.told("id"), "insert 100, insert 101");
    mirror.apply(&fed);
    mirror.assert_same(&world).await;
}

#[tokio::test]
async fn key_that_moves_takes_its_row_along() {
    let world = World::logical(TABLES).await;
    each(&world, &["INSERT INTO s.u VALUES (1, 1, 1, 'x'), (1, 2, 1, 'y'), (1, 3, 1, 'z')"]).await;
    let mut mirror = Mirror::new("u", &["a", "b", "c"]);
    mirror.run(&world).await;
    each(
        &world,
        &[
            "UPDATE s.u SET b = 9 WHERE b = 1",
            // A row moves onto a key that another gave up in the same transaction.
            "BEGIN; UPDATE s.u SET b = 8 WHERE b = 2; UPDATE s.u SET b = 2 WHERE b = 3; COMMIT",
            "BEGIN; DELETE FROM s.u WHERE b = 9; INSERT INTO s.u VALUES (1, 9, 1, 'again'); COMMIT",
            "UPDATE s.u SET v = NULL WHERE b = 8",
        ],
    )
    .await;
    mirror.run(&world).await;
    mirror.assert_same(&world).await;
}

#[tokio::test]
async fn tables_of_a_run_reach_the_same_place_and_the_slot_stays_with_the_slowest() {
    let world = World::logical(TABLES).await;
    let (mut t, mut u) = (Mirror::new("t", &["id"]), Mirror::new("u", &["a", "b", "c"]));
    t.run_beside_others(&world).await;
    u.run_beside_others(&world).await;
    each(&world, &["INSERT INTO s.t VALUES (3, 30)", "INSERT INTO s.u VALUES (1, 1, 1, 'x')"]).await;
    let run = source(&world);
    let first = feed(&run, "run", request("t", t.position.as_deref())).await.unwrap();
    each(&world, &["INSERT INTO s.u VALUES (2, 2, 2, 'later')"]).await;
    let second = feed(&run, "run", request("u", u.position.as_deref())).await.unwrap();
    assert_eq!(second.told("a"), "insert 1", "what came after the run began is for the next");
    let place = |fed: &super::Fed| fed.upper.as_deref().unwrap().split('"').nth(3).unwrap().to_owned();
    assert_eq!(place(&first), place(&second));
    // Only one of them was committed.
    t.apply(&first);
    run.confirm(&[t.position.clone().unwrap(), u.position.clone().unwrap(), "w1:int8:v=7".to_owned()]).await.unwrap();
    assert_eq!(u.run_beside_others(&world).await, 2);
    u.assert_same(&world).await;
    assert_eq!(t.run_beside_others(&world).await, 0);
}

#[tokio::test]
async fn span_that_is_opened_again_has_the_same_rows() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    each(&world, &["INSERT INTO s.t VALUES (3, 30)"]).await;
    let run = source(&world);
    let fed = mirror.read(&run).await;
    each(&world, &["INSERT INTO s.t VALUES (4, 40)"]).await;
    let again = ChangeRequest { upper: fed.upper.clone(), ..request("t", mirror.position.as_deref()) };
    // In the same run, and in another process after a later one has read further.
    let later = feed(&run, "later", request("t", mirror.position.as_deref())).await.unwrap();
    assert_eq!(later.rows.len(), 2);
    for (source, run_id) in [(&run, "t-2"), (&run, "later"), (&source(&world), "retry")] {
        let retried = feed(source, run_id, again.clone()).await.unwrap();
        assert_eq!((&retried.rows, &retried.upper), (&fed.rows, &fed.upper), "{run_id}");
    }
}

#[tokio::test]
async fn changes_over_the_limit_are_read_in_whole_transactions_over_several_runs() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    for number in 0..10 {
        let sql =
            format!("INSERT INTO s.t SELECT i, i FROM generate_series({number}000, {number}000 + 99) AS i WHERE i > 2");
        each(&world, &[&sql]).await;
    }
    let limited = || source_with(&world, |config| config.read.max_spooled_bytes = 20_000);
    let mut runs = 0;
    loop {
        let source = limited();
        let fed = mirror.read(&source).await;
        assert_eq!(fed.validity, Validity::Onward);
        if fed.rows.is_empty() {
            break;
        }
        runs += 1;
        mirror.apply(&fed);
        source.confirm(&[mirror.position.clone().unwrap()]).await.unwrap();
    }
    assert!((3..=10).contains(&runs), "{runs}");
    mirror.assert_same(&world).await;
    each(&world, &["INSERT INTO s.t SELECT i, i FROM generate_series(100000, 102000) AS i"]).await;
    let failure = feed(&limited(), "large", request("t", mirror.position.as_deref())).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-435");
}

#[tokio::test]
async fn slot_that_another_reads_is_waited_for() {
    let world = World::logical(TABLES).await;
    let mut mirror = Mirror::new("t", &["id"]);
    mirror.run(&world).await;
    let blocker = std::process::Command::new("/usr/lib/postgresql/15/bin/pg_recvlogical")
        .env("PGPASSWORD", datakit_postgres::testing::PASSWORD)
        .args(["-h", "127.0.0.1", "-p", &world.server.port().to_string(), "-U", "postgres", "-d", "postgres"])
        .args(["--slot", "shop", "--start", "-f", "/dev/null", "-o", "proto_version=1", "-o", "publication_names=shop"])
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut blocker = blocker.unwrap();
    world.wait_until("SELECT active FROM pg_replication_slots").await;
    let failure = feed(&source(&world), "run", request("t", mirror.position.as_deref())).await.unwrap_err();
    let confirmed = source(&world).confirm(&[mirror.position.clone().unwrap()]).await;
    blocker.kill().unwrap();
    blocker.wait().unwrap();
    assert_eq!(
        crate::world::reported(&failure).lines().next().unwrap().split(':').next(),
        Some("DK-SRC-432 Source AfterBackoff")
    );
    // There was nothing to confirm, or it was refused for the same reason.
    assert!(confirmed.is_ok() || confirmed.unwrap_err().code() == "DK-SRC-432");
}

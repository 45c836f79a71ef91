//! What happens to a table between a run's snapshot and its query.

use datakit_model::source::{Isolation, Query, QueryOptions, Source};

use crate::world::{World, access, admin, query, rest, start};

const TABLES: &str = "
    CREATE SCHEMA s;
    CREATE TABLE s.first AS SELECT 1 AS i;
    CREATE TABLE s.t AS SELECT i FROM generate_series(1, 10) AS i;
    CREATE TABLE s.other AS SELECT i FROM generate_series(1, 7) AS i;
    CREATE VIEW s.v AS SELECT i FROM s.t;
    CREATE FUNCTION s.counted() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM s.t); END';
    CREATE VIEW s.by_function AS SELECT s.counted() AS i;
    CREATE MATERIALIZED VIEW s.m AS SELECT i FROM s.other;
    CREATE TABLE s.p (i int) PARTITION BY RANGE (i);
    CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (10);
    CREATE TABLE s.p2 PARTITION OF s.p FOR VALUES FROM (10) TO (20);
    INSERT INTO s.p SELECT generate_series(0, 19);
    CREATE TABLE s.detached (i int); INSERT INTO s.detached VALUES (25);
    CREATE TABLE s.parent (i int);
    CREATE TABLE s.child () INHERITS (s.parent);
    INSERT INTO s.parent VALUES (1); INSERT INTO s.child VALUES (2), (3);";

const SWAP: &str = "CREATE TABLE s.n AS SELECT * FROM s.t; ALTER TABLE s.t RENAME TO o; ALTER TABLE s.n RENAME TO t; DROP TABLE s.o CASCADE";

/// What is done, which table is read afterwards, and what the run gets: a number of rows, or the table that is not the same.
const CASES: &[(&str, &str, Result<usize, &str>)] = &[
    ("TRUNCATE s.t; INSERT INTO s.t VALUES (1)", "s.t", Err("s.t")),
    ("TRUNCATE s.t", "s.v", Err("s.t")),
    ("TRUNCATE s.t", "s.by_function", Err("s.t")),
    (SWAP, "s.t", Err("s.t")),
    (
        "BEGIN; CREATE TABLE s.n AS SELECT * FROM s.t; DROP TABLE s.t CASCADE; ALTER TABLE s.n RENAME TO t; \
      CREATE VIEW s.v AS SELECT i FROM s.t; COMMIT",
        "s.v",
        Err("s.t"),
    ),
    (
        "ALTER TABLE s.t RENAME TO x; ALTER TABLE s.other RENAME TO t; ALTER TABLE s.x RENAME TO other",
        "s.t",
        Err("s.t"),
    ),
    ("TRUNCATE s.other", "s.m", Ok(7)),
    ("DROP VIEW s.v; ALTER TABLE s.t ALTER COLUMN i TYPE bigint", "s.t", Err("s.t")),
    ("DELETE FROM s.other; REFRESH MATERIALIZED VIEW s.m", "s.m", Err("s.m")),
    ("TRUNCATE s.p1", "s.p", Err("s.p1")),
    ("DROP TABLE s.p2", "s.p", Err("s.p2")),
    ("ALTER TABLE s.p DETACH PARTITION s.p2", "s.p", Err("s.p2")),
    ("ALTER TABLE s.p ATTACH PARTITION s.detached FOR VALUES FROM (20) TO (30)", "s.p", Err("s.detached")),
    ("TRUNCATE s.child", "s.parent", Err("s.child")),
    ("DROP TABLE s.child", "s.parent", Err("s.child")),
    // Rows that are not there yet, or still there: nothing is lost.
    ("CREATE TABLE s.p3 PARTITION OF s.p FOR VALUES FROM (20) TO (30); INSERT INTO s.p VALUES (20)", "s.p", Ok(20)),
    ("CREATE TABLE s.child2 () INHERITS (s.parent); INSERT INTO s.child2 VALUES (4)", "s.parent", Ok(3)),
    ("DELETE FROM s.t; INSERT INTO s.t VALUES (99)", "s.t", Ok(10)),
    ("UPDATE s.t SET i = -i; VACUUM s.t", "s.v", Ok(10)),
    ("CREATE INDEX ON s.t (i); REINDEX TABLE s.t; ANALYZE s.t", "s.t", Ok(10)),
    ("ALTER TABLE s.t ADD COLUMN note text DEFAULT 'x'", "s.t", Ok(10)),
    ("ALTER VIEW s.v RENAME TO w; CREATE VIEW s.v AS SELECT i FROM s.t WHERE i > 4", "s.v", Ok(6)),
    ("TRUNCATE s.other", "s.t", Ok(10)),
];

#[tokio::test]
async fn tables_that_a_snapshot_cannot_see_any_more_are_errors() {
    let world = World::of("").await;
    for (i, (change, table, expected)) in CASES.iter().enumerate() {
        world.admin.batch_execute(&format!("DROP SCHEMA IF EXISTS s CASCADE; {TABLES}")).await.unwrap();
        let (source, run) = (world.source(), format!("run-{i}"));
        let (_session, first) = start(&source, &run, "SELECT i FROM s.first").await.unwrap();
        rest(first).await.unwrap();
        for statement in change.split("; ") {
            world.admin.batch_execute(statement).await.unwrap();
        }
        let read = async {
            let (_session, reader) = start(&source, &run, &format!("SELECT i FROM {table}")).await?;
            rest(reader).await
        };
        let found = read.await.map(|answer| answer.rows()).map_err(|failure| {
            assert_eq!(failure.code(), "DK-SRC-360", "{change}: {failure}");
            failure.context()[0].1.clone()
        });
        assert_eq!(found.as_ref().map_err(String::as_str).copied(), *expected, "{table} after {change}");
        // The catalog is still read, and another run reads what is there.
        assert!(start(&source, &run, "SELECT relname FROM pg_catalog.pg_class").await.is_ok());
        let (_session, reader) = start(&source, "another", &format!("SELECT i FROM {table}")).await.unwrap();
        rest(reader).await.unwrap();
    }
}

/// A copy's snapshot is older than the locks it waits for.
#[tokio::test]
async fn read_committed_reads_what_a_partition_holds_after_a_truncate_that_it_waited_for() {
    let world = World::of(TABLES).await;
    let source = world.source();
    let loader = admin(&world.server).await;
    loader.batch_execute("BEGIN; TRUNCATE s.p1; INSERT INTO s.p VALUES (1), (2), (3)").await.unwrap();
    let reading = async {
        let session = source.connect(access("run-1")).await.unwrap();
        let options = QueryOptions { isolation: Some(Isolation::ReadCommitted), ..QueryOptions::default() };
        let reader = session.query(Query { options, ..query("SELECT i FROM s.p") }).await.unwrap();
        rest(reader).await.unwrap().rows()
    };
    let loading = async {
        world.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')").await;
        loader.batch_execute("COMMIT").await.unwrap();
    };
    let (rows, ()) = tokio::join!(reading, loading);
    assert_eq!(rows, 3 + 10);
}

/// Whoever wants to rewrite a table that is read by places waits for the run, and the run does not wait for them.
#[tokio::test]
async fn a_query_by_places_does_not_wait_behind_a_rewrite_without_end() {
    let world = World::of(TABLES).await;
    let source = world.source();
    let (session, low) = start(&source, "run-1", "SELECT i FROM s.t WHERE ctid < '(1,0)'::tid").await.unwrap();
    assert_eq!(rest(low).await.unwrap().rows(), 10);
    let rewriting = admin(&world.server).await;
    let truncate = tokio::spawn(async move { rewriting.batch_execute("TRUNCATE s.t").await });
    world.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')").await;
    let failure = start(&source, "run-1", "SELECT i FROM s.t WHERE ctid >= '(1,0)'::tid").await.err().unwrap();
    assert_eq!(failure.code(), "DK-SRC-135", "{failure}");
    // The run's end.
    drop((session, source));
    truncate.await.unwrap().unwrap();
}

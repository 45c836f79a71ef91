//! Tables in several partitions: every row once, whatever they are cut by.

use datakit_tests::PostgresWorld;

use crate::numbers;

/// Settings that cut even small tables.
fn cut(by: &str) -> String {
    format!(r#"{{"partition_row_threshold": 500, "partition_rows": 1000, "partition_by": "{by}"}}"#)
}

/// Rows that move and go while a run reads are neither lost nor doubled: it has its snapshot.
#[test]
fn a_table_in_many_partitions_is_of_one_snapshot() {
    // Changes everything as soon as a session waits for the table, which is the run's with its snapshot taken.
    const CHANGE: &str = "DO $$ BEGIN
        LOCK TABLE big IN ACCESS EXCLUSIVE MODE;
        WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock') LOOP
            PERFORM pg_sleep(0.01);
            PERFORM pg_stat_clear_snapshot();
        END LOOP;
        UPDATE big SET id = 60000 - id WHERE id % 2 = 0;
        DELETE FROM big WHERE k % 7 = 3;
    END $$";
    for by in ["auto", "key"] {
        let world = PostgresWorld::new(
            "CREATE TABLE big (id int PRIMARY KEY, k int NOT NULL);
             INSERT INTO big SELECT i * 3 - 7000, i FROM generate_series(0, 19999) AS i;
             ANALYZE big",
        );
        let output = std::thread::scope(|scope| {
            let change = scope.spawn(|| world.execute(CHANGE));
            while world.source(
                "SELECT count(*)::text FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'big'::regclass",
            ) == "0"
            {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let output = world.host(&["run", "--output", "json", "--settings", &cut(by)]).success();
            change.join().unwrap();
            output
        });
        assert_eq!(world.source("SELECT count(*)::text FROM big"), "17143", "rows are gone");
        let summary = output.json();
        assert!(summary["tables"][0]["partitions"].as_u64().unwrap() > 5, "{summary}");
        assert_ne!(summary["tables"][0]["consistent_snapshot"], false, "by {by}");
        assert_eq!(summary["rows"], 20_000, "by {by}");
        assert!(numbers(&world.delta("SHOP/public/big"), "k").into_iter().eq(0..20_000), "by {by}: every row once");
    }
}

#[test]
fn partitions_without_a_shared_snapshot_are_not_consistent() {
    let world = PostgresWorld::new(
        "CREATE TABLE big (id int PRIMARY KEY); INSERT INTO big SELECT generate_series(1, 2000); ANALYZE big",
    );
    let settings = r#"{"partition_row_threshold": 500, "partition_rows": 500, "isolation": "read_committed"}"#;
    let summary = world.run(&["--settings", settings]);
    assert_eq!(summary["tables"][0]["partitions"], 4);
    assert_eq!(summary["tables"][0]["consistent_snapshot"], false);
    assert_eq!(summary["rows"], 2000);
}

/// Blocks are those of each partition's own file, the last part of all of them is open.
#[test]
fn a_partitioned_table_is_cut_by_the_blocks_of_its_partitions() {
    let world = PostgresWorld::new(
        "CREATE TABLE parted (k int NOT NULL, note text) PARTITION BY RANGE (k);
         CREATE TABLE short PARTITION OF parted FOR VALUES FROM (0) TO (10);
         CREATE TABLE long PARTITION OF parted FOR VALUES FROM (10) TO (9000);
         CREATE TABLE deep PARTITION OF parted FOR VALUES FROM (9000) TO (20000) PARTITION BY LIST ((k % 2));
         CREATE TABLE even PARTITION OF deep FOR VALUES IN (0);
         CREATE TABLE odd PARTITION OF deep FOR VALUES IN (1);
         INSERT INTO parted SELECT i, repeat('x', i % 50) FROM generate_series(0, 11999) AS i;
         ANALYZE parted;
         INSERT INTO parted SELECT i, 'since the count' FROM generate_series(12000, 15999) AS i",
    );
    world.edit("tables = [\"*.*\"]", "tables = [\"public.parted\"]");
    let summary = world.run(&["--settings", &cut("auto")]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() >= 12, "{summary}");
    assert_ne!(summary["tables"][0]["consistent_snapshot"], false, "{summary}");
    assert!(numbers(&world.delta("SHOP/public/parted"), "k").into_iter().eq(0..16_000), "every row once");
}

#[test]
fn a_materialized_view_is_cut_by_blocks() {
    let world = PostgresWorld::new(
        "CREATE TABLE t AS SELECT generate_series(0, 7999) AS k;
         CREATE MATERIALIZED VIEW doubled AS SELECT k FROM t UNION ALL SELECT k + 8000 FROM t;
         ANALYZE doubled",
    );
    world.edit("tables = [\"*.*\"]", "tables = [\"public.doubled\"]");
    let summary = world.run(&["--settings", &cut("auto")]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() >= 16, "{summary}");
    assert!(numbers(&world.delta("SHOP/public/doubled"), "k").into_iter().eq(0..16_000), "every row once");
}

/// Days that no bound can name are in the first and the last range.
#[test]
fn days_without_end_are_in_a_partition() {
    let days = "INSERT INTO days SELECT '2000-01-01'::date + i, i FROM generate_series(0, 4999) AS i";
    let sparse = "INSERT INTO days SELECT '2000-01-01'::date + i * i % 500000, i FROM generate_series(0, 4999) AS i \
                  ON CONFLICT DO NOTHING";
    for rows in [days, sparse] {
        let world = PostgresWorld::new(&format!(
            "CREATE TABLE days (day date PRIMARY KEY, k int NOT NULL); {rows};
             INSERT INTO days VALUES ('-infinity', -1), ('infinity', -2), ('0044-03-15 BC', -3), ('10000-01-01', -4),
                ('5874897-12-31', -5), ('0001-01-01', -6), ('9999-12-31', -7);
             ANALYZE days"
        ))
        .with_postgres_sink();
        let settings = r#"{"partition_row_threshold": 500, "partition_rows": 1000, "partition_by": "key", "infinity": "null",
            "row_hash": false}"#;
        let summary = world.run(&["--settings", settings]);
        assert!(summary["tables"][0]["partitions"].as_u64().unwrap() >= 3, "{summary}");
        let all = "SELECT count(*) || ' ' || sum(k) || ' ' || count(DISTINCT k) || ' ' || count(day) FROM ";
        let expected = world.source(&format!("{all} days")).split_once(' ').unwrap().1.to_owned();
        let found = world.sink(&format!("{all} \"SHOP_public\".days"));
        let infinite = world.source("SELECT (count(*) - 2)::text FROM days");
        assert_eq!(found.rsplit_once(' ').unwrap().1, infinite, "two of them are null");
        assert_eq!(found.split_once(' ').unwrap().1.rsplit_once(' ').unwrap().0, expected.rsplit_once(' ').unwrap().0);
        let odd = "SELECT string_agg(coalesce(day::text, 'null'), ', ' ORDER BY k DESC) FROM ";
        assert_eq!(
            world.sink(&format!("{odd} \"SHOP_public\".days WHERE k < 0")),
            "null, null, 0044-03-15 BC, 10000-01-01, 5874897-12-31, 0001-01-01, 9999-12-31"
        );
    }
}

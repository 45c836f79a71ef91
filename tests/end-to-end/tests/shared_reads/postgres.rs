//! Rows of a PostgreSQL, into Postgres and Delta.

use std::time::{Duration, Instant};

use datakit_tests::PostgresWorld;

use super::ended;

/// How often a table is scanned from its beginning to its end, once at least so many scans are told.
fn scans(world: &PostgresWorld, table: &str, at_least: u32) -> u32 {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        // The server tells of a session's scans when the session ends, or a while after.
        let query = format!("SELECT seq_scan::text FROM pg_stat_user_tables WHERE relname = '{table}'");
        let found = world.source(&query).parse().unwrap();
        if found >= at_least || Instant::now() > until {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The ingests `lake` and `pg`, into Delta and Postgres, with these settings.
fn two_sinks(world: &PostgresWorld, settings: &str) {
    let lake = "[sinks.lake]\nkind = \"delta\"\nuri = \"./bronze\"\n\n[[ingest]]\nname = \"lake\"\ndatakit = \"postgres-bronze@0.1.0\"\n\
        roles = { source = \"shop\" }\nsink = \"lake\"\nmode = \"append\"\ntables = [\"*.*\"]\n";
    let settings = format!("settings = {settings}\n");
    world.edit("[[ingest]]\ndatakit", &format!("{lake}{settings}\n[[ingest]]\nname = \"pg\"\n{settings}datakit"));
}

fn count(world: &PostgresWorld) -> (usize, String) {
    let held = world.sink("SELECT count(*)::text || ' ' || count(DISTINCT id) FROM \"SHOP_public\".orders");
    (world.delta("SHOP/public/orders").lines().count() - 1, held)
}

#[test]
fn table_is_scanned_once_for_two_sinks() {
    let world =
        PostgresWorld::new("CREATE TABLE orders AS SELECT i AS id, 'v' || i AS note FROM generate_series(1, 1000) i")
            .with_postgres_sink();
    two_sinks(&world, "{}");
    let before = scans(&world, "orders", 0);
    let summary = world.run(&[]);
    assert_eq!(ended(&summary, "pg"), "committed 1000, read with lake");
    assert_eq!(ended(&summary, "lake"), "committed 1000, read with pg");
    assert_eq!(scans(&world, "orders", before + 1) - before, 1);
    assert_eq!(count(&world), (1000, "1000 1000".to_owned()));
}

#[test]
fn loads_by_watermark_are_read_once_and_meet_again_after_one_failed() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, changed_at int NOT NULL); INSERT INTO orders SELECT i, i FROM generate_series(1, 100) i",
    )
    .with_postgres_sink();
    two_sinks(&world, r#"{ watermark = { "*.orders" = { column = "changed_at", overlap = 5 } } }"#);
    assert_eq!(ended(&world.run(&[]), "pg"), "committed 100, read with lake");
    world.execute("INSERT INTO orders SELECT i, i FROM generate_series(101, 110) i");
    assert_eq!(ended(&world.run(&[]), "pg"), "committed 10, read with lake");
    assert_eq!(ended(&world.run(&[]), "lake"), "unchanged 0, read with pg");
    // One goes on alone, and the other is behind.
    world.execute("INSERT INTO orders SELECT i, i FROM generate_series(111, 112) i");
    assert_eq!(world.run(&["--ingest", "pg"])["rows"], 2);
    world.execute("INSERT INTO orders VALUES (113, 113)");
    let apart = world.run(&[]);
    assert_eq!((ended(&apart, "pg").as_str(), ended(&apart, "lake").as_str()), ("committed 1", "committed 3"));
    world.execute("INSERT INTO orders VALUES (114, 114)");
    assert_eq!(ended(&world.run(&[]), "pg"), "committed 1, read with lake", "both have reached the same place");
    assert_eq!(count(&world), (114, "114 114".to_owned()));
}

#[test]
fn log_is_decoded_once_for_two_sinks_and_the_slot_waits_for_both() {
    let world = PostgresWorld::with_logical_decoding(
        "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders SELECT i, 'v' FROM generate_series(1, 50) i;
         CREATE PUBLICATION bronze FOR TABLE orders",
    )
    .with_postgres_sink();
    two_sinks(&world, r#"{ strategy = { "*.*" = "auto" } }"#);
    assert_eq!(ended(&world.run(&[]), "pg"), "committed 50, read with lake");
    world.execute("INSERT INTO orders SELECT i, 'n' FROM generate_series(51, 60) i");
    assert_eq!(ended(&world.run(&[]), "lake"), "committed 10, read with pg");
    let confirmed =
        || world.source("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'bronze'");
    let before = confirmed();
    // Only one of them goes on: the slot keeps what the other has not read.
    world.execute("INSERT INTO orders SELECT i, 'n' FROM generate_series(61, 70) i");
    world.run(&["--ingest", "pg"]);
    assert_eq!(confirmed(), before);
    world.execute("INSERT INTO orders SELECT i, 'n' FROM generate_series(71, 75) i");
    let apart = world.run(&[]);
    assert_eq!((ended(&apart, "lake").as_str(), ended(&apart, "pg").as_str()), ("committed 15", "committed 5"));
    assert_ne!(confirmed(), before);
    world.execute("INSERT INTO orders VALUES (76, 'n')");
    assert_eq!(ended(&world.run(&[]), "pg"), "committed 1, read with lake", "both have reached the same place");
    assert_eq!(count(&world), (76, "76 76".to_owned()));
}

//! PgBouncer in transaction mode, before the source and before the sink.

use datakit_tests::PostgresWorld;
use tokio_postgres::{Client, NoTls};

const TABLES: &str = "
    CREATE EXTENSION citext;
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE size AS ENUM ('small', 'large');
    CREATE DOMAIN percent AS numeric(5,2);
    CREATE TABLE t1 AS SELECT i AS id, interval '1 day 02:00:00' AS iv FROM generate_series(1, 20000) AS i;
    CREATE TABLE t2 AS SELECT * FROM t1; CREATE TABLE t3 AS SELECT * FROM t1; CREATE TABLE t4 AS SELECT * FROM t1;
    CREATE TABLE t5 AS SELECT * FROM t1; CREATE TABLE t6 AS SELECT * FROM t1;
    CREATE TABLE moods (id int, mood mood, share percent); INSERT INTO moods VALUES (1, 'sad', 1), (2, 'ok', 2);
    CREATE TABLE sizes (id int, size size, name citext); INSERT INTO sizes VALUES (1, 'small', 'A'), (2, 'large', 'a');";

/// What another client of a pooler finds in each of the pool's sessions.
fn another_client(port: u16) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..4 {
            let client = connect(port).await;
            // Held until all are asked, so that each has a session of its own.
            client.batch_execute("BEGIN").await.unwrap();
            clients.push(client);
        }
        let mut found = Vec::new();
        for client in &clients {
            let sql = "SELECT concat_ws(' ', current_setting('default_transaction_read_only'), current_setting('search_path'), \
                       current_setting('intervalstyle'), current_setting('row_security'), current_setting('lock_timeout'), \
                       (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                       AND pid = pg_backend_pid()))";
            found.push(client.query_typed_one(sql, &[]).await.unwrap().get(0));
            client.batch_execute("COMMIT").await.unwrap();
        }
        clients[0].batch_execute("CREATE TABLE IF NOT EXISTS of_another (a int)").await.unwrap();
        found
    })
}

async fn connect(port: u16) -> Client {
    let mut options = tokio_postgres::Config::new();
    options.host("127.0.0.1").port(port).dbname("postgres").user("postgres");
    options.password(datakit_postgres::testing::PASSWORD);
    let (client, connection) = options.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[test]
fn runs_through_pgbouncer_leave_nothing_behind_and_read_all_tables_alike() {
    let mut world = PostgresWorld::new(TABLES).with_postgres_sink();
    world.edit("[sinks.bronze]\n", "[sinks.bronze]\nmax_connections = 4\n");
    let ports = world.with_poolers(&["postgres"], 4);
    let before: Vec<Vec<String>> = ports.iter().map(|port| another_client(*port)).collect();
    assert_eq!(before[0][0], "off \"$user\", public postgres on 0 0 0");
    world.execute("DROP TABLE of_another");
    for run in ["first", "second"] {
        let summary = world.run(&["--run-id", run, "--mode", "overwrite", "--parallel", "4"]);
        assert_eq!(summary["status"], "done", "{summary}");
        assert_eq!(summary["rows"], 6 * 20_000 + 4);
        let after: Vec<Vec<String>> = ports.iter().map(|port| another_client(*port)).collect();
        world.execute("DROP TABLE of_another");
        assert_eq!(after, before, "after the {run} run");
    }
    for table in ["t1", "t2", "t3", "t4", "t5", "t6"] {
        let texts = world.sink(&format!("SELECT string_agg(DISTINCT iv, ', ') FROM \"SHOP_public\".{table}"));
        assert_eq!(texts, "P1DT2H", "{table}");
    }
    assert_eq!(
        world.sink("SELECT string_agg(mood || share, ',' ORDER BY id) FROM \"SHOP_public\".moods"),
        "sad1.00,ok2.00"
    );
    assert_eq!(
        world.sink("SELECT string_agg(size || name, ',' ORDER BY id) FROM \"SHOP_public\".sizes"),
        "smallA,largea"
    );
    // The same run again changes nothing, which the ledger tells through the pooler.
    let again = world.run(&["--run-id", "second", "--mode", "overwrite"]);
    assert!(again["tables"].as_array().unwrap().iter().all(|table| table["status"] == "unchanged"), "{again}");
}

#[test]
fn a_pool_of_two_connections_at_both_ends_is_enough_for_four_workers() {
    let mut world = PostgresWorld::new(TABLES).with_postgres_sink();
    // Each partition waits in a table of its own: a second session beside that of its table.
    world.edit("[sinks.bronze]\n", "[sinks.bronze]\nmax_connections = 2\nkeep_partitions = true\n");
    world.with_poolers(&["postgres"], 2);
    let summary = world.run(&["--parallel", "4"]);
    assert_eq!((&summary["status"], &summary["rows"]), (&"done".into(), &(6 * 20_000 + 4).into()), "{summary}");
}

#[test]
fn a_pool_of_two_connections_is_enough() {
    let mut world = PostgresWorld::new(TABLES);
    world.with_poolers(&["postgres"], 2);
    assert_eq!(world.run(&["--parallel", "4"])["status"], "done");
    world.host(&["doctor", "shop"]).success();
}

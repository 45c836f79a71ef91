//! What is told when something is in the way, and what is left behind.

use std::time::Duration;

use datakit_model::Secret;
use datakit_model::source::{Isolation, Query, QueryOptions, Source};
use datakit_postgres::Encrypt;
use datakit_postgres::source::{PostgresConfig, PostgresSource};
use datakit_postgres::testing::Certificate;

use crate::world::{World, access, query, read, reported, start};

const SESSIONS: &str =
    "SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'datakit' AND state = 'active'";

#[tokio::test]
async fn every_trouble_says_what_to_do() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 0 AS i; CREATE ROLE reader LOGIN PASSWORD 'Pl4nted r'; GRANT USAGE ON SCHEMA s TO reader",
    )
    .await;
    let as_reader = world.source_with(|c| {
        c.server.user = "reader".into();
        c.server.password = Some(Secret::new("Pl4nted r".into()).into());
    });
    let mut cases: Vec<(&str, PostgresSource, &str)> = vec![
        (
            "wrong password",
            world.source_with(|c| c.server.password = Some(Secret::new("Pl4nted-wrong-password".into()).into())),
            "SELECT i FROM s.t",
        ),
        ("no password", world.source_with(|c| c.server.password = None), "SELECT i FROM s.t"),
        ("no database", world.source_with(|c| c.server.database = "nowhere".into()), "SELECT i FROM s.t"),
        ("no TLS", world.source_with(|c| c.server.encrypt = Encrypt::Required), "SELECT i FROM s.t"),
        ("nobody listens", world.source_with(|c| c.server.port = 1), "SELECT i FROM s.t"),
        ("no host", world.source_with(|c| c.server.host = "nowhere.invalid".into()), "SELECT i FROM s.t"),
        ("missing grant", as_reader, "SELECT i FROM s.t"),
    ];
    for (name, sql) in [
        ("no table", "SELECT i FROM s.gone"),
        ("no column", "SELECT j FROM s.t"),
        ("a failing expression", "SELECT 1 / i AS a FROM s.t"),
        ("wrong SQL", "SELECT i AS a FROM s.t WHERE i"),
        ("no name", "SELECT i + 1 FROM s.t"),
        ("two of a name", "SELECT i, i FROM s.t"),
        ("refused", "SELECT pg_read_file('/etc/passwd') AS a"),
    ] {
        cases.push((name, world.source(), sql));
    }
    let mut text = String::new();
    for (name, source, sql) in cases {
        let failure = read(&source, sql).await.unwrap_err();
        text += &format!("{name}: {}\n", reported(&failure).replace(&world.server.port().to_string(), "PORT"));
    }
    // The resolver's words differ by system.
    let text = regex_free(&text, "failed to lookup address information: ", "\n");
    assert!(!text.contains("Pl4nted"));
    insta::assert_snapshot!(text);
}

/// Replaces what stands between two marks.
fn regex_free(text: &str, from: &str, to: &str) -> String {
    match text.split_once(from) {
        Some((before, after)) => format!("{before}{from}…{to}{}", after.split_once(to).unwrap().1),
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn a_reader_dropped_in_the_middle_ends_the_query_on_the_server() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 200000) AS i",
    )
    .await;
    let source = world.source();
    let (_session, mut reader) = start(&source, "run-1", "SELECT i, t FROM s.t").await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    assert_eq!(world.ask(SESSIONS).await, "1");
    drop(reader);
    world
        .wait_until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit' AND state = 'active')",
        )
        .await;
    assert_eq!(read(&source, "SELECT count(*) AS n FROM s.t").await.unwrap().rows(), 1, "the next query is not hit");
}

#[tokio::test]
async fn query_ends_at_the_smaller_timeout_and_the_next_one_works() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS i; CREATE TABLE s.n AS SELECT i FROM generate_series(1, 3000) AS i").await;
    let slow = "SELECT count(*) AS n FROM s.n AS a CROSS JOIN s.n AS b CROSS JOIN s.n AS c";
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3_600));
    for (operator, datakit) in [(long, Some(short)), (short, Some(long)), (short, None)] {
        let source = world.source_with(|c| c.timeouts.query = operator);
        let session = source.connect(access("run-1")).await.unwrap();
        let options = QueryOptions { timeout: datakit, ..QueryOptions::default() };
        // The server announces a copy together with its first rows.
        let failure = session.query(Query { options, ..query(slow) }).await.err().unwrap();
        assert_eq!(failure.code(), "DK-SRC-160");
        world
            .wait_until(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit' AND state = 'active')",
            )
            .await;
        assert_eq!(read(&source, "SELECT i FROM s.t").await.unwrap().rows(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS i").await;
    let source = world.source_with(|c| c.pool.validate_after = Duration::ZERO);
    // For one query only: a run's snapshot does not outlive its session.
    let read_now = async || {
        let session = source.connect(access("run-1")).await.unwrap();
        let options = QueryOptions { isolation: Some(Isolation::ReadCommitted), ..QueryOptions::default() };
        let mut reader = session.query(Query { options, ..query("SELECT i FROM s.t") }).await.unwrap();
        while reader.next().await.unwrap().is_some() {}
    };
    read_now().await;
    read_now().await;
    assert_eq!(source.pool().unwrap().opened, 1);
    world
        .admin
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'datakit'")
        .await
        .unwrap();
    world.wait_until("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit')").await;
    read_now().await;
    let after = source.pool().unwrap();
    assert_eq!((after.opened, after.closed.closed_by_server), (2, 1));
}

#[tokio::test]
async fn one_reader_a_session_and_as_many_connections_as_the_pool_has() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 100000) AS i",
    )
    .await;
    let source = world.source_with(|c| {
        c.pool.max_connections = 1;
        c.pool.checkout_timeout = Duration::from_millis(200);
    });
    let (session, mut reader) = start(&source, "run-1", "SELECT i, t FROM s.t").await.unwrap();
    let failure = session.query(query("SELECT i FROM s.t")).await.err().unwrap();
    assert_eq!(failure.code(), "DK-SRC-181");
    let failure = start(&source, "run-1", "SELECT i FROM s.t").await.err().unwrap();
    assert_eq!(failure.code(), "DK-SRC-161");
    while reader.next().await.unwrap().is_some() {}
    assert!(session.query(query("SELECT i FROM s.t")).await.is_err(), "the reader still lives");
    drop(reader);
    assert!(session.query(query("SELECT i FROM s.t")).await.is_ok());
}

/// Whatever would pass the guard: the session itself cannot write.
#[tokio::test]
async fn sessions_cannot_write() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.log (i int);
         CREATE FUNCTION s.writes() RETURNS int LANGUAGE sql AS 'INSERT INTO s.log VALUES (1) RETURNING i';
         CREATE VIEW s.trap AS SELECT s.writes() AS a",
    )
    .await;
    for isolation in [None, Some(Isolation::ReadCommitted)] {
        let source = world.source();
        let session = source.connect(access("run-1")).await.unwrap();
        let options = QueryOptions { isolation, ..QueryOptions::default() };
        let started = session.query(Query { options, ..query("SELECT a FROM s.trap") }).await;
        let failure = match started {
            Ok(mut reader) => reader.next().await.unwrap_err(),
            Err(failure) => failure,
        };
        assert!(failure.to_string().contains("25006"), "{failure}");
    }
    assert_eq!(world.ask("SELECT count(*)::text FROM s.log").await, "0");
}

/// Somebody's function of the same name and a better match is not called.
#[tokio::test]
async fn names_without_a_schema_are_the_systems_own() {
    let world = World::of(
        "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 'a'::varchar AS v;
         CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''hijacked''::text';
         ALTER ROLE postgres SET search_path = public, pg_catalog",
    )
    .await;
    let answer = read(&world.source(), "SELECT upper(v) AS v FROM s.t").await.unwrap();
    assert!(answer.columns().ends_with("= A"), "{}", answer.columns());
}

#[tokio::test]
async fn encrypted_when_the_certificate_is_trusted() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (key.cert.pem(), key.signing_key.serialize_pem());
    let world = World::with_certificate(Certificate { certificate: &certificate, key: &key }).await;
    let file = Some(world.server.directory().join("server.crt"));
    let source = |change: fn(&mut PostgresConfig), file: &Option<std::path::PathBuf>| {
        world.source_with(|c| {
            c.server.host = "localhost".into();
            c.server.encrypt = Encrypt::Required;
            c.server.certificate_file.clone_from(file);
            change(c);
        })
    };
    let encrypted = "SELECT count(*)::text FROM pg_stat_ssl WHERE ssl";
    let code = async |source: PostgresSource| read(&source, "SELECT 1 AS a").await.err().map(|f| f.code().to_owned());
    assert_eq!(code(source(|_| {}, &None)).await.as_deref(), Some("DK-SRC-120"), "nobody vouches for it");
    assert_eq!(
        code(source(|c| c.server.host = "127.0.0.1".into(), &file)).await.as_deref(),
        Some("DK-SRC-121"),
        "another name"
    );
    assert_eq!(code(source(|c| c.server.trust_certificate = true, &None)).await, None);
    let missing = Some("/nowhere/ca.pem".into());
    assert_eq!(code(source(|_| {}, &missing)).await.as_deref(), Some("DK-SRC-102"));
    // Rows and the cancel request go the same way.
    let trusted = source(|_| {}, &file);
    world
        .admin
        .batch_execute("CREATE TABLE t AS SELECT i, repeat('x', 1000) AS t FROM generate_series(1, 100000) AS i")
        .await
        .unwrap();
    let (_session, mut reader) = start(&trusted, "run-1", "SELECT i, t FROM public.t").await.unwrap();
    assert!(reader.next().await.unwrap().is_some());
    assert_eq!(world.ask(encrypted).await, "2", "the reader and the snapshot's session");
    drop(reader);
    world
        .wait_until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'datakit' AND state = 'active')",
        )
        .await;
    assert_eq!(read(&trusted, "SELECT i FROM public.t").await.unwrap().rows(), 100_000);
}

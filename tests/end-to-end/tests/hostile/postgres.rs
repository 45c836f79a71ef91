//! SQL of a stranger's datakit, by the real `host`, against a real PostgreSQL.

use datakit_tests::{PostgresWorld, datakit};
use serde_json::json;

use crate::{RUN, attack, queries, reported, table};

const SCRIPT: &str = "\
CREATE TABLE public.t (id int NOT NULL PRIMARY KEY, note text);
INSERT INTO public.t VALUES (1, 'a'), (2, NULL), (3, 'c');
CREATE TABLE public.\"T\" (id int, note text);
INSERT INTO public.\"T\" VALUES (1, 'Pl4nted');
CREATE TABLE public.secret (id int, note text);
INSERT INTO public.secret VALUES (1, 'Pl4nted');
CREATE VIEW public.hidden AS SELECT id FROM public.secret;
CREATE TABLE public.many AS SELECT generate_series(1, 3000) AS id;
";

const GRANT: [&str; 5] = ["query.*", "public.t", "public.many", "public.s*", "!public.SECRET"];

fn world() -> PostgresWorld {
    let world = PostgresWorld::new(SCRIPT);
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "postgres-bronze@0.1.0", "shop", &GRANT);
    world
}

/// Names begin with what they are a case of.
const CASES: [(&str, &str); 52] = [
    ("honest", "SELECT id, note FROM public.t"),
    ("own-name", "WITH pg_authid AS (SELECT * FROM pg_authid) SELECT * FROM pg_authid"),
    ("own-name-secret", "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret"),
    (
        "own-name-recursive",
        "WITH RECURSIVE secret AS (SELECT 1 AS id UNION ALL SELECT id FROM secret) SELECT * FROM secret",
    ),
    ("catalog-views", "SELECT definition FROM pg_catalog.pg_views"),
    ("catalog-matviews", "SELECT definition FROM pg_catalog.pg_matviews"),
    ("catalog-relacl", "SELECT relacl::text AS a FROM pg_catalog.pg_class"),
    ("catalog-relowner", "SELECT c.relowner FROM pg_catalog.pg_class AS c"),
    ("catalog-nspacl", "SELECT nspacl::text AS a FROM pg_catalog.pg_namespace"),
    ("catalog-nspowner", "SELECT n.nspowner FROM pg_catalog.pg_namespace AS n"),
    ("catalog-all", "SELECT c.* FROM pg_catalog.pg_class AS c"),
    ("catalog-row", "SELECT c::text AS a FROM pg_catalog.pg_class AS c"),
    ("catalog-json", "SELECT to_json(c) AS a FROM pg_catalog.pg_class AS c"),
    ("catalog-view-definition", "SELECT view_definition FROM information_schema.views"),
    ("catalog-default", "SELECT column_default FROM information_schema.columns"),
    ("catalog-authid", "SELECT * FROM pg_catalog.pg_authid"),
    ("catalog-stats", "SELECT * FROM pg_catalog.pg_stats"),
    ("catalog-activity", "SELECT * FROM pg_catalog.pg_stat_activity"),
    ("catalog-renamed", "SELECT x.a FROM pg_catalog.pg_class AS x (a, b, c)"),
    ("name-case", "SELECT * FROM public.\"T\""),
    ("name-no-case", "SELECT id FROM public.T"),
    ("name-excluded", "SELECT * FROM public.secret"),
    ("name-excluded-case", "SELECT * FROM public.\"SECRET\""),
    ("name-temporary", "SELECT * FROM pg_temp.t"),
    ("name-view", "SELECT * FROM public.hidden"),
    ("name-bare", "SELECT * FROM t"),
    ("session-system-user", "SELECT system_user AS a"),
    ("session-system-user-upper", "SELECT SYSTEM_USER"),
    ("session-current-user", "SELECT current_user AS a"),
    ("session-role", "SELECT current_role AS a"),
    ("session-setting", "SELECT current_setting('data_directory') AS a"),
    ("session-version", "SELECT version() AS a"),
    ("pattern-substring", "SELECT substring(note, '(x+)+y') AS a FROM public.t"),
    ("pattern-substring-from", "SELECT substring(note FROM '(x+)+y') AS a FROM public.t"),
    ("pattern-substring-column", "SELECT substring(note, note) AS a FROM public.t"),
    ("pattern-substring-for", "SELECT substring(note FROM 'a' FOR '#') AS a FROM public.t"),
    ("pattern-operator", "SELECT note ~ '(x+)+y' AS a FROM public.t"),
    ("functional-row-to-json", "SELECT t.row_to_json AS a FROM public.t"),
    ("functional-array-agg", "SELECT public.t.array_agg AS a FROM public.t"),
    ("functional-quoted", "SELECT \"t\".\"row_to_json\" AS a FROM public.t"),
    ("functional-record-out", "SELECT t.record_out AS a FROM public.t"),
    ("function-file", "SELECT pg_read_file('/etc/passwd') AS a"),
    ("function-xml", "SELECT query_to_xml('SELECT * FROM public.secret', true, true, '') AS a"),
    ("function-sleep", "SELECT pg_sleep(60) AS a"),
    ("function-schema", "SELECT public.anything(note) AS a FROM public.t"),
    ("composite", "SELECT (t).note AS a FROM public.t"),
    ("cast-regclass", "SELECT 'pg_authid'::regclass AS a"),
    ("write-returning", "WITH q AS (DELETE FROM public.t RETURNING *) SELECT * FROM q"),
    ("write-lock", "SELECT id FROM public.t FOR UPDATE"),
    (
        "long-floor",
        "SELECT FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(1 1))))))))))))))))))))))))))))))",
    ),
    (
        "long-case",
        "SELECT CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (1 1))))))))))))))))))))",
    ),
    ("two-statements", "SELECT 1 AS a; DROP TABLE public.t"),
];

#[test]
fn each_query_is_refused_with_its_error_and_leaves_nothing() {
    let world = world();
    let output = world.host(&[&RUN[..], &["--settings", &queries(CASES)]].concat());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    insta::assert_snapshot!(reported(&output, &CASES));
    assert!(!output.stdout.contains("Pl4nted") && !output.stderr.contains("Pl4nted"));
    assert_eq!(world.source("SELECT count(*)::text FROM public.t"), "3");
}

#[test]
fn the_operators_timeout_counts_where_the_datakits_is_longer() {
    let world = world();
    world.edit("source_system = \"SHOP\"\n", "source_system = \"SHOP\"\ntimeouts = { query_seconds = 1 }\n");
    world.edit("[warehouse]", "[limits.run]\nmax_attempts = 1\n\n[warehouse]");
    // 27,000,000,000 rows to count: minutes of the server's time.
    let sql = "SELECT count(*) AS n FROM public.many AS a CROSS JOIN public.many AS b CROSS JOIN public.many AS c";
    let slow = json!({ "sql": sql, "timeout_ms": 3_600_000 });
    let settings = json!({ "attack": "queries", "queries": { "slow": slow } }).to_string();
    let output = world.host(&[&RUN[..], &["--settings", &settings]].concat());
    assert_ne!(output.code, Some(0), "{}", output.stderr);
    let summary = output.json();
    let error = &table(&summary, "slow")["error"];
    insta::assert_snapshot!(
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap()),
        @"DK-SRC-160: the query was cancelled after 1.0 s"
    );
    let running = "SELECT count(*)::text FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%many%many%' AND pid <> pg_backend_pid()";
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while world.source(running) != "0" {
        assert!(std::time::Instant::now() < until, "the server still counts");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

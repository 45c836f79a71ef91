//! What a datakit's SQL may name, held against a server.

use datakit_model::source::{Access, Source};
use datakit_model::{MemoryBudget, TablePatterns};

use crate::world::{World, query, start};

/// Functions that take a whole row, so that `t.name` calls them where the table has no such column.
const FUNCTIONS_OF_ROWS: &str = "\
SELECT string_agg(DISTINCT p.proname::text, ' ') FROM pg_catalog.pg_proc AS p \
LEFT JOIN pg_catalog.pg_aggregate AS g ON g.aggfnoid = p.oid \
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 \
AND (p.prokind = 'f' OR g.aggkind = 'n') AND (p.proargtypes[0] IN ('record'::regtype, '\"any\"'::regtype, \
'anyelement'::regtype, 'anynonarray'::regtype, 'anycompatible'::regtype, 'anycompatiblenonarray'::regtype) \
OR EXISTS (SELECT 1 FROM pg_catalog.pg_type AS t WHERE t.oid = p.proargtypes[0] AND t.typtype = 'c'))";

#[tokio::test]
async fn column_of_a_table_calls_no_function_that_is_not_on_the_list() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS i").await;
    let source = world.source();
    let names = world.ask(FUNCTIONS_OF_ROWS).await;
    let mut refused = 0;
    for name in names.split(' ') {
        let as_column = start(&source, "run-1", &format!("SELECT x.{name} AS a FROM s.t AS x")).await.err();
        if as_column.is_some_and(|failure| failure.code() == "DK-SRC-173") {
            refused += 1;
            continue;
        }
        let as_call = start(&source, "run-1", &format!("SELECT {name}(x) AS a FROM s.t AS x")).await.err();
        assert!(as_call.is_none_or(|failure| failure.code() != "DK-SRC-174"), "`x.{name}` calls a function");
    }
    assert!(refused > 10, "only {refused} of {names}");
}

#[tokio::test]
async fn case_counts_in_a_grant() {
    let world = World::of("CREATE TABLE public.t AS SELECT 1 AS i; CREATE TABLE public.\"T\" AS SELECT 2 AS i").await;
    let source = world.source();
    let read = async |patterns: &[&str], table: &str| {
        let tables = TablePatterns::new(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect());
        let access =
            Access { tables, run_id: "run-1".to_owned(), memory: MemoryBudget::new(64 << 20), rejecting: None };
        let session = source.connect(access).await.unwrap();
        session.query(query(&format!("SELECT i FROM {table}"))).await.err().map(|failure| failure.code().to_owned())
    };
    assert_eq!(read(&["public.t"], "public.t").await, None);
    assert_eq!(read(&["public.t"], "public.\"T\"").await.as_deref(), Some("DK-SRC-175"));
    assert_eq!(read(&["public.T"], "public.t").await.as_deref(), Some("DK-SRC-175"));
    assert_eq!(read(&["public.T"], "public.\"T\"").await, None);
    assert_eq!(read(&["public.*", "!public.T"], "public.t").await.as_deref(), Some("DK-SRC-175"));
}

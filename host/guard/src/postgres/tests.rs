use datakit_model::TablePatterns;

use super::*;

fn patterns(list: &[&str]) -> TablePatterns {
    TablePatterns::new(list.iter().map(|p| p.parse().unwrap()).collect())
}

pub(super) fn grant() -> TablePatterns {
    patterns(&["public.*", "[odd.schema].*", "!public.secret*"])
}

pub(super) fn verdict(sql: &str, parameters: usize) -> Result<Accepted, Refusal> {
    check(sql, parameters, &grant(), &SqlLimits::default())
}

/// A golden of verdicts: each text with the code and the reason.
fn verdicts(texts: &[&str]) -> String {
    let line = |sql: &&str| match verdict(sql, 2) {
        Ok(_) => format!("{sql}\n    PASSED"),
        Err(refusal) => format!("{sql}\n    {} {refusal}", refusal.code(&CODES)),
    };
    texts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a datakit honestly sends.
pub(super) const HONEST: &[&str] = &[
    "SELECT n.nspname AS schema_name FROM pg_catalog.pg_namespace AS n",
    "SELECT c.relname AS table_name FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg!_%' ESCAPE '!' AND n.nspname IN ($1, $2)",
    "SELECT n.nspname AS schema_name, c.relkind::text AS kind, c.reltuples::int8 AS row_count FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'",
    "SELECT format_type(a.atttypid, a.atttypmod) AS declared_type FROM pg_catalog.pg_attribute AS a WHERE a.attnum > 0 AND NOT a.attisdropped",
    "SELECT i.indkey::text AS column_numbers FROM pg_catalog.pg_index AS i WHERE i.indisprimary",
    "SELECT table_name FROM information_schema.tables",
    "SELECT a.attnotnull AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conrelid = a.attrelid AND NOT k.convalidated AND a.attnum = ANY (k.conkey)) AS is_not_null FROM pg_catalog.pg_attribute AS a",
    "SELECT i.character_value AS version FROM information_schema.sql_implementation_info AS i WHERE i.implementation_info_name = 'DBMS VERSION'",
    "SELECT min(\"id\") AS low, max(\"id\") AS high FROM \"public\".\"t\"",
    "SELECT q.bound AS bound FROM (SELECT \"id\" AS bound, row_number() OVER (ORDER BY \"id\") AS ordinal FROM \"public\".\"t\") AS q WHERE q.ordinal % 25000 = 1 AND q.ordinal > 1 ORDER BY q.ordinal",
    "SELECT \"a\", \"b\"::text AS \"b\", to_json(\"c\")::text AS \"c\", \"d\"::numeric(23, 4) AS \"d\" FROM \"public\".\"t\" WHERE \"id\" < $1 OR \"id\" IS NULL",
    "SELECT min(\"day\") AS low, max(\"day\") AS high FROM \"public\".\"t\" WHERE \"day\" >= '0001-01-01'::date AND \"day\" <= '9999-12-31'::date",
    "SELECT nullif(\"n\", 'NaN')::numeric(18, 4) AS \"n\", nullif(\"t\", '24:00:00') AS \"t\" FROM \"public\".\"t\"",
    "SELECT nullif(nullif(\"at\", 'infinity'), '-infinity') AS \"at\" FROM \"public\".\"t\" WHERE \"id\" >= $1 AND \"id\" < $2",
    "SELECT \"a\" FROM \"public\".\"t\" WHERE ctid >= '(100,0)'::tid AND ctid < '(200,0)'::tid",
    "SELECT \"a\"\"b\", \"größe\" FROM \"odd.schema\".\"sp ace, and \"\"more\"",
    "SELECT PUBLIC.T.a FROM PUBLIC.T",
    "SELECT * FROM public.t ORDER BY id LIMIT 10 OFFSET 5",
    "WITH q AS (SELECT a FROM public.t), r AS (SELECT a FROM q) SELECT * FROM r UNION ALL SELECT a FROM q",
    "SELECT a FROM public.t WHERE EXISTS (SELECT 1 FROM public.u WHERE u.id = t.id) AND b IN (SELECT b FROM public.v)",
    "SELECT CASE WHEN a > 0 AND b IS NOT TRUE THEN 'über' ELSE 'it''s' END AS x, CAST(b AS double precision) AS y FROM public.t",
    "SELECT coalesce(a, 'x') || b AS c, -a + 1.5e3 * 2 AS d, count(*) AS n FROM public.t GROUP BY a, b HAVING count(*) > 1",
    "SELECT sum(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s FROM public.t",
    "SELECT substring(a, 1, 2) AS a, trim(b) AS b, floor(c) AS c, true AS d FROM public.t LEFT JOIN public.u ON t.id = u.id",
    "-- what is read\nSELECT a /* the /* nested */ one */ FROM public.t -- all\n;",
    "SELECT 'DROP TABLE public.t; --' AS a, \"COPY x TO PROGRAM\" FROM public.t",
    "SELECT 'a\\' AS a, 'b' AS b FROM public.t",
    "SELECT x.b AS b FROM public.t AS x (a, b)",
    "SELECT relname FROM pg_catalog.pg_class WHERE relkind = 'r' ORDER BY relname",
    "SELECT c.relname AS name, count(*) AS n FROM pg_catalog.pg_class AS c GROUP BY c.relname ORDER BY n DESC",
    "SELECT substring(a, 1, 2) AS a, substring(b FROM length(b) - 3) AS b, substring(c, d::int) AS c, substr(e, f) AS e FROM public.t",
    "SELECT t.count, t.rank, t.name, t.max, \"system_user\" AS u FROM public.t",
    "SELECT upper(lower(upper(lower(a)))) AS a FROM public.t",
];

/// What somebody tries.
const ATTACKS: &[&str] = &[
    // More than a query.
    "",
    "-- nothing",
    "DELETE FROM public.t",
    "SELECT 1 AS a; DROP TABLE public.t",
    "SELECT 1 AS a; SELECT 2 AS b",
    "COPY public.t TO PROGRAM 'rm -rf /'",
    "SELECT a FROM public.t) TO PROGRAM 'rm -rf /' --",
    "SELECT 1 AS a) TO STDOUT; DROP TABLE public.t; COPY (SELECT 1 AS a",
    "EXPLAIN ANALYZE SELECT 1 AS a",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SET ROLE postgres",
    "SHOW data_directory",
    "TABLE public.t",
    "VALUES (1); COMMIT",
    "BEGIN; SELECT 1 AS a",
    "SELECT $3 AS a",
    "SELECT $0 AS a",
    "SELECT $1a AS a",
    // Writing through a query.
    "SELECT a INTO public.copy FROM public.t",
    "WITH q AS (DELETE FROM public.t RETURNING *) SELECT * FROM q",
    "WITH q AS (INSERT INTO public.t VALUES (1) RETURNING *) SELECT * FROM q",
    "SELECT a FROM public.t FOR UPDATE",
    "SELECT a FROM public.t FOR SHARE",
    "SELECT nextval('public.s') AS a",
    "SELECT setval('public.s', 1) AS a",
    "SELECT set_config('search_path', 'public', false) AS a",
    "SELECT lo_import('/etc/passwd') AS a",
    "SELECT pg_advisory_lock(1) AS a",
    "SELECT pg_terminate_backend(1) AS a",
    // Other places.
    "SELECT pg_read_file('/etc/passwd') AS a",
    "SELECT pg_ls_dir('/') AS a",
    "SELECT * FROM pg_read_file('/etc/passwd')",
    "SELECT * FROM generate_series(1, 10)",
    "SELECT * FROM dblink('host=other', 'SELECT 1') AS t(a int)",
    "SELECT query_to_xml('SELECT * FROM public.secret', true, true, '') AS a",
    "SELECT table_to_xml('public.secret', true, true, '') AS a",
    "SELECT * FROM other.public.t",
    "SELECT * FROM t",
    "SELECT * FROM \"public.t\"",
    "SELECT public.anything(a) AS a FROM public.t",
    "SELECT \"count\"(*) AS a FROM public.t",
    "SELECT pg_catalog.lower(a) AS a FROM public.t",
    "SELECT a OPERATOR(public.+) b AS c FROM public.t",
    "SELECT a ~ '(x+)+y' AS a FROM public.t",
    "SELECT a -> 'b' AS a FROM public.t",
    "SELECT a::public.evil AS a FROM public.t",
    "SELECT 'pg_authid'::regclass AS a",
    "SELECT (t).secret AS a FROM public.t",
    "SELECT a FROM public.t, LATERAL (SELECT 1 AS b) AS x",
    "SELECT a FROM ONLY public.t",
    "SELECT a FROM public.t TABLESAMPLE SYSTEM (1)",
    // Tables outside of the grant.
    "SELECT * FROM hr.people",
    "SELECT * FROM public.secret",
    "SELECT * FROM public.SECRET_plans",
    "SELECT * FROM \"public\".\"Secret\"",
    "SELECT (SELECT a FROM public.secret LIMIT 1) AS a",
    "SELECT a FROM public.t ORDER BY (SELECT a FROM public.secret)",
    "SELECT a FROM public.t WHERE a = CASE WHEN 1 = 1 THEN (SELECT a FROM public.secret) END",
    "SELECT a FROM public.t UNION ALL SELECT a FROM public.secret",
    "SELECT a FROM public.t LIMIT (SELECT a FROM public.secret)",
    "SELECT count(*) FILTER (WHERE a > (SELECT 1 FROM public.secret)) AS a FROM public.t",
    "WITH a AS (SELECT * FROM people), people AS (SELECT 1 AS x) SELECT * FROM a",
    "WITH pg_authid AS (SELECT * FROM pg_authid) SELECT * FROM pg_authid",
    "WITH RECURSIVE pg_authid AS (SELECT * FROM pg_authid) SELECT * FROM pg_authid",
    "WITH \"T\" AS (SELECT 1 AS x) SELECT * FROM t",
    "WITH secret AS (SELECT 1 AS a UNION ALL SELECT a FROM secret) SELECT * FROM secret",
    "WITH RECURSIVE secret AS (SELECT 1 AS a UNION ALL SELECT a FROM secret) SELECT * FROM secret",
    // Columns of the catalog that are not on the list, and ways around a list of columns.
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT c.* FROM pg_catalog.pg_class AS c",
    "SELECT relacl FROM pg_catalog.pg_class",
    "SELECT c.relacl FROM pg_catalog.pg_class AS c",
    "SELECT C.\"relacl\" FROM pg_catalog.pg_class AS c",
    "SELECT pg_class.relacl FROM pg_catalog.pg_class",
    "SELECT pg_catalog.pg_class.relacl FROM pg_catalog.pg_class",
    "SELECT c.relowner FROM pg_catalog.pg_class AS c",
    "SELECT nspacl FROM pg_catalog.pg_namespace",
    "SELECT definition FROM pg_catalog.pg_views",
    "SELECT definition FROM pg_catalog.pg_matviews",
    "SELECT view_definition FROM information_schema.views",
    "SELECT column_default FROM information_schema.columns",
    "SELECT k.conbin FROM pg_catalog.pg_constraint AS k",
    "SELECT a.attmissingval FROM pg_catalog.pg_attribute AS a",
    "SELECT c FROM pg_catalog.pg_class AS c",
    "SELECT c::text FROM pg_catalog.pg_class AS c",
    "SELECT to_json(c) AS a FROM pg_catalog.pg_class AS c",
    "SELECT to_json(relname) AS a FROM pg_catalog.pg_class AS relname",
    "SELECT c.to_json AS a FROM pg_catalog.pg_class AS c",
    "SELECT x.a FROM pg_catalog.pg_class AS x (a, b, d, e, f)",
    "SELECT j.relacl FROM (pg_catalog.pg_class AS c INNER JOIN public.t ON true) AS j",
    "SELECT c.relname FROM pg_catalog.pg_class AS c ORDER BY c.relacl::text",
    "(SELECT c.relname FROM pg_catalog.pg_class AS c) ORDER BY relacl",
    "SELECT c.relname AS relacl FROM pg_catalog.pg_class AS c ORDER BY relacl || ''",
    "SELECT a FROM public.t WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relacl IS NULL)",
    "SELECT (SELECT relacl::text FROM public.u LIMIT 1) AS a FROM pg_catalog.pg_class AS c",
    "SELECT obj_description(c.oid, 'pg_class') AS a FROM pg_catalog.pg_class AS c",
    // A column that is a function of the row where there is no such column.
    "SELECT t.row_to_json AS a FROM public.t",
    "SELECT \"t\".\"row_to_json\" AS a FROM public.t",
    "SELECT public.t.array_agg AS a FROM public.t",
    "SELECT x.quote_literal AS a FROM (SELECT 1 AS b) AS x",
    // A regular expression by the name of a substring.
    "SELECT substring(a, '(x+)+y') AS a FROM public.t",
    "SELECT substring(a FROM '(x+)+y') AS a FROM public.t",
    "SELECT substring(a, b) AS a FROM public.t",
    "SELECT substring(a, $1) AS a FROM public.t",
    "SELECT substring(a, 'x' || 'y', '#') AS a FROM public.t",
    "SELECT substring(a, CASE WHEN true THEN 'x' END) AS a FROM public.t",
    // The system's own.
    "SELECT * FROM pg_catalog.pg_authid",
    "SELECT * FROM pg_catalog.pg_shadow",
    "SELECT * FROM pg_catalog.pg_stats",
    "SELECT * FROM pg_catalog.pg_stat_activity",
    "SELECT * FROM pg_catalog.pg_proc",
    "SELECT * FROM PG_CATALOG.PG_AUTHID",
    "SELECT * FROM pg_toast.pg_toast_1234",
    "SELECT * FROM pg_temp.t",
    "SELECT * FROM information_schema.role_table_grants",
    "SELECT * FROM \"PG_CATALOG\".pg_class",
    "SELECT current_user AS a",
    "SELECT system_user AS a",
    "SELECT SYSTEM_USER",
    "SELECT current_role AS a",
    "SELECT current_catalog AS a",
    "SELECT current_schema AS a",
    "SELECT session_user AS a",
    "SELECT current_setting('data_directory') AS a",
    "SELECT version() AS a",
    "SELECT inet_server_addr() AS a",
    // Texts that two readers cut differently.
    "SELECT $$ ' $$ AS a, '; DROP TABLE public.t --'",
    "SELECT $a$ x $a$ AS a",
    "SELECT E'\\'; DROP TABLE public.t --' AS a",
    "SELECT e'\\x41' AS a",
    "SELECT U&'\\0041' AS a",
    "SELECT U&\"\\0041\" AS a FROM public.t",
    "SELECT B'1' AS a",
    "SELECT 'a'\n'b' AS a",
    "SELECT 1 AS a --\rDROP TABLE public.t",
    "SELECT 1 AS a /* /* */ DROP TABLE public.t",
    "SELECT 1 +/* x */ 2 AS a, 3 +-- y\n 4 AS b, 5 @- 6 AS c",
    "SELECT\u{A0}1 AS a",
    "SELECT 1 AS größe",
    "ＳＥＬＥＣＴ 1 AS a",
    // Changes of tables: the host reads them, with queries of its own.
    "SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)",
    "SELECT * FROM pg_catalog.pg_logical_slot_peek_changes('s', NULL, NULL) AS c",
    "SELECT * FROM pg_logical_slot_get_binary_changes('s', NULL, NULL)",
    "SELECT * FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL)",
    "SELECT pg_logical_slot_get_changes('s', NULL, NULL) AS c",
    "SELECT pg_create_logical_replication_slot('s', 'pgoutput') AS c",
    "SELECT pg_create_physical_replication_slot('s') AS c",
    "SELECT pg_copy_logical_replication_slot('s', 't') AS c",
    "SELECT pg_replication_slot_advance('s', '0/1') AS c",
    "SELECT pg_drop_replication_slot('s') AS c",
    "SELECT pg_replication_origin_create('o') AS c",
    "SELECT pg_logical_emit_message(false, 'p', 'm') AS c",
    "SELECT s.slot_name FROM pg_catalog.pg_replication_slots AS s",
    "SELECT slot_name FROM pg_replication_slots",
    "SELECT s.pid FROM pg_catalog.pg_stat_replication AS s",
    "SELECT p.pubname FROM pg_catalog.pg_publication AS p",
    "SELECT s.subname FROM pg_catalog.pg_subscription AS s",
    "SELECT pg_current_wal_lsn() AS c",
    "SELECT pg_export_snapshot() AS c",
    "SELECT pg_current_snapshot() AS c",
    "SELECT pg_xact_commit_timestamp(xmin) AS c FROM public.t",
];

#[test]
fn documentation_names_what_is_allowed() {
    crate::testing::check_page("PostgreSQL", lists::FUNCTIONS, lists::TYPES, &lists::CATALOG);
}

#[test]
fn honest_queries_pass() {
    let refused: Vec<String> =
        HONEST.iter().filter_map(|sql| verdict(sql, 2).err().map(|refusal| format!("{sql}\n    {refusal}"))).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn attacks_are_refused() {
    let all = verdicts(ATTACKS);
    assert!(!all.contains("PASSED"), "{all}");
    insta::assert_snapshot!(all);
}

#[test]
fn what_is_sent_ends_with_the_query() {
    let query = |sql| verdict(sql, 0).unwrap().query;
    assert_eq!(query("-- x\nSELECT a FROM public.t -- LIMIT\n;"), "SELECT a FROM public.t");
    assert_eq!(query("  SELECT \"a\"\"b\" FROM public.t ; /* y */"), "SELECT \"a\"\"b\" FROM public.t");
}

#[test]
fn parameters_are_found_where_they_stand() {
    let accepted = verdict("/* $1 */ SELECT '$1' AS a, $2 AS b FROM public.t WHERE \"$1\" < $1", 2).unwrap();
    let places: Vec<(&str, usize)> =
        accepted.parameters.iter().map(|(place, number)| (&accepted.query[place.clone()], *number)).collect();
    assert_eq!(places, [("$2", 1), ("$1", 0)]);
    assert_eq!(accepted.parameters[1].0.end, accepted.query.len());
}

#[test]
fn tables_are_reported_as_the_server_names_them() {
    let tables = |sql| {
        let accepted = verdict(sql, 0).unwrap();
        (accepted.tables.iter().map(ToString::to_string).collect::<Vec<_>>(), accepted.by_place)
    };
    assert_eq!(tables("SELECT relname FROM pg_catalog.pg_class"), (vec![], false));
    assert_eq!(
        tables("SELECT 1 AS a FROM Public.T, public.t AS u, \"odd.schema\".\"T\" WHERE u.CTID < '(1,0)'::tid"),
        (vec!["[odd.schema].T".to_owned(), "public.t".to_owned()], true)
    );
}

#[test]
fn declarations_hold_only_where_nothing_adds_nulls() {
    let keeps = |sql| verdict(sql, 0).unwrap().keeps_not_null;
    assert!(keeps("SELECT a, t.b AS c FROM public.t WHERE a > 1 ORDER BY a LIMIT 5"));
    assert!(keeps("SELECT a FROM public.t INNER JOIN public.u ON t.id = u.id"));
    assert!(!keeps("SELECT u.a FROM public.t LEFT JOIN public.u ON t.id = u.id"));
    assert!(!keeps("SELECT u.a FROM public.u RIGHT JOIN public.t ON t.id = u.id"));
    assert!(!keeps("SELECT a FROM public.t UNION ALL SELECT NULL"));
    assert!(!keeps("SELECT a FROM (SELECT a FROM public.t) AS x"));
    assert!(!keeps("SELECT (SELECT a FROM public.t WHERE a < 0) AS a"));
    assert!(!keeps("WITH q AS (SELECT a FROM public.t) SELECT a FROM q"));
}

#[test]
fn limits_are_counted_before_parsing() {
    let limits = SqlLimits { max_sql_bytes: 500_000, max_tokens: 4_000, ..SqlLimits::default() };
    let message = |sql: &str| check(sql, 0, &grant(), &limits).unwrap_err().to_string();
    let nested = |open: &str, close: &str, n: usize| format!("SELECT {}1{} AS a", open.repeat(n), close.repeat(n));
    insta::assert_snapshot!(message(&format!("SELECT 1{}", "+ 1 ".repeat(100_000))), @"a number of tokens of 4001 is over the limit `max_sql_tokens` of 4000");
    insta::assert_snapshot!(message(&nested("(", ")", 1_500)), @"a syntax depth of 129 is over the limit `max_syntax_depth` of 128");
    insta::assert_snapshot!(message(&nested("- ", "", 1_500)), @"a syntax depth of 129 is over the limit `max_syntax_depth` of 128");
    insta::assert_snapshot!(message(&"x".repeat(500_001)), @"a text of 500001 is over the limit `max_sql_bytes` of 500000");
}

/// Texts that make the parser read each part again for every part around it: 2.8 times the work for each level of the first.
#[test]
fn texts_that_can_be_read_in_many_ways_are_refused_after_a_bounded_number_of_steps() {
    let nested = |open: &str, inner: &str, close: &str| {
        format!("SELECT {}{inner}{} AS a FROM public.t", open.repeat(30), close.repeat(30))
    };
    for open in ["FLOOR(", "CEIL(", "CAST(", "NOT (", "CASE (", "EXTRACT(", "substring(", "trim(", "t.f(", "position("]
    {
        let text = nested(open, "1 1", ")");
        assert!(verdict(&text, 0).is_err(), "{text}");
    }
    for open in ["1 IN ((SELECT ", "(SELECT a FROM (("] {
        let text = nested(open, "1 1", "))");
        assert!(verdict(&text, 0).is_err(), "{text}");
    }
    insta::assert_snapshot!(
        verdict(&nested("FLOOR(", "1 1", ")"), 0).unwrap_err().to_string(),
        @"it cannot be read as PostgreSQL: its parts can be read in too many ways"
    );
    for open in ["upper(", "floor(", "("] {
        let text = nested(open, "1", ")");
        assert!(verdict(&text, 0).is_ok(), "{:?}", verdict(&text, 0));
    }
}

/// Nothing that the parser makes is deeper than the stack: not a chain, whatever it is a chain of.
#[test]
fn long_chains_are_refused() {
    let refused = |sql: &str| matches!(check(sql, 0, &grant(), &SqlLimits::default()), Err(Refusal::Construct(_)));
    assert!(refused(&format!("SELECT 1{}", "+ 1 ".repeat(10_000))));
    assert!(refused(&format!("SELECT a{} FROM public.t", " IS NULL".repeat(10_000))));
    assert!(refused(&format!("SELECT 1, 2{}", " UNION SELECT 1, 2".repeat(2_000))));
    // What stands in parentheses stands within what follows them.
    let mut within = "1".to_owned();
    for _ in 0..40 {
        within = format!("({within}{})", "+1".repeat(100));
    }
    assert!(refused(&format!("SELECT {within}")));
    let list: Vec<String> = (0..4_000).map(|i| format!("a::text AS a{i}")).collect();
    assert!(!refused(&format!("SELECT {} FROM public.t", list.join(", "))));
}

/// What is sent of a query that reads tables.
#[test]
fn everything_that_a_query_calls_is_qualified() {
    let literals = ["('5'::integer)".to_owned(), "('x'::pg_catalog.text)".to_owned()];
    for sql in HONEST {
        let text = verdict(sql, 2).unwrap().qualified(&literals).unwrap();
        assert!(!text.contains(" = ") && !text.contains(" LIKE ") && !text.contains("::text"), "{text}");
    }
}

/// Constructs whose operators have no name in the text.
#[test]
fn hidden_operators_are_written_out() {
    let qualified = |condition: &str| {
        let sql = format!("SELECT {condition} FROM public.t");
        let text = verdict(&sql, 0).unwrap().qualified(&[]).unwrap();
        text.strip_prefix("SELECT ").unwrap().strip_suffix(" FROM public.t").unwrap().to_owned()
    };
    let conditions = [
        "a = b AND c <> d OR NOT e < f + 1 * 2",
        "-a - -1",
        "a IN (1, 2)",
        "a NOT IN (SELECT b FROM public.u)",
        "a NOT BETWEEN 1 AND 2",
        "a NOT LIKE 'x!%' ESCAPE '!'",
        "a IS DISTINCT FROM b",
        "a IS NOT DISTINCT FROM b",
        "CASE a WHEN 1 THEN 'x' ELSE nullif(b, 'y') END",
        "nullif(a, 'x')::varchar(3)",
        "a = ANY (b) OR a <> ALL (SELECT c FROM public.u)",
        "a COLLATE \"C\" || b::bpchar(3)::double precision::timestamptz(3)",
        "count(DISTINCT a) + coalesce(max(b), 0)",
    ];
    for condition in conditions {
        let text = qualified(condition);
        let hidden = [" IN (", "BETWEEN", " LIKE ", "DISTINCT FROM", "nullif(", " = ", " < ", " + ", "CASE a"];
        assert!(text.contains("pg_catalog.") && hidden.iter().all(|word| !text.contains(word)), "{condition}: {text}");
    }
    assert_eq!(qualified("a IN (1, 2)"), "(((a OPERATOR(pg_catalog.=) 1) OR (a OPERATOR(pg_catalog.=) 2)))");
}

/// A table of as many columns as the server allows, of the longest names, each cast.
#[test]
fn the_widest_table_is_within_the_limits() {
    let column = |i: usize| format!("\"{}{i:04}\"", "n".repeat(59));
    let items: Vec<String> = (0..1_600)
        .map(|i| format!("nullif(nullif({0}, 'infinity'), '-infinity')::numeric(38, 10) AS {0}", column(i)))
        .collect();
    let sql = format!("SELECT {} FROM public.t", items.join(", "));
    let text = verdict(&sql, 0).unwrap().qualified(&[]).unwrap();
    assert!(text.len() > sql.len());
}

/// Operands that are written twice, within each other: the text is bounded.
#[test]
fn a_text_does_not_grow_without_bound() {
    let mut expression = "a".to_owned();
    for _ in 0..20 {
        expression = format!("({expression} IN (1, 2))");
    }
    let sql = format!("SELECT {expression} AS x FROM public.t");
    let refusal = verdict(&sql, 0).unwrap().qualified(&[]).unwrap_err();
    assert_eq!(refusal.code(&CODES), "DK-SRC-170");
}

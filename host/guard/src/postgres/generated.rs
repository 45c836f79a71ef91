//! Texts that are made: of any bytes, of words, and by a grammar.

use super::tests::{HONEST, grant, verdict};
use super::*;
use crate::testing::Grammar;

/// Harmless and harmful words of PostgreSQL.
const GRAMMAR: Grammar = Grammar {
    tables: &[
        "public.t",
        "public.u",
        "\"public\".\"t\"",
        "\"odd.schema\".\"a\"\"b\"",
        "PUBLIC.T",
        "q",
        "x",
        "pg_catalog.pg_class",
        "pg_catalog.pg_namespace",
        "information_schema.tables",
        "public.secret",
        "secret",
        "hr.people",
        "pg_catalog.pg_authid",
        "pg_authid",
        "other.public.t",
        "ONLY public.t",
        "generate_series(1, 2)",
        "LATERAL (SELECT 1)",
        "\"public\".\"T\"",
    ],
    aliases: &[
        "",
        " AS x",
        " AS y",
        " q",
        " AS c",
        " AS x (a)",
        " AS x (a, b)",
        " TABLESAMPLE SYSTEM (1)",
        " WITH ORDINALITY",
    ],
    values: &[
        "a",
        "x.a",
        "1",
        "'it''s'",
        "NULL",
        "c.relname",
        "\"b\"",
        "true",
        "1.5e3",
        "$1",
        "public.t.a",
        "c.relacl",
        "relname",
        "c",
        "x",
        "current_user",
        "system_user",
        "current_date",
        "count(*)",
        "x.*",
        "x.row_to_json",
        "-1",
        "date '2024-01-01'",
        "ctid",
        "interval '1 day'",
        "x.count",
    ],
    calls: &[
        "count(",
        "upper(",
        "coalesce(",
        "floor(",
        "ceil(",
        "left(",
        "nullif(",
        "abs(",
        "substring(",
        "trim(",
        "substr(",
        "to_json(",
        "version(",
        "public.f(",
        "pg_catalog.lower(",
        "greatest(",
        "NOT (",
        "- (",
        "row(",
        "extract(year FROM ",
        "position('a' IN ",
        "array_agg(",
        "CAST(",
    ],
    operators: &[
        "=",
        "<>",
        "AND",
        "OR",
        "+",
        "-",
        "*",
        "/",
        "%",
        "LIKE",
        "<=",
        "||",
        "~",
        "IS DISTINCT FROM",
        "= ANY",
        "-> ",
    ],
    suffixes: &[
        "",
        "",
        "",
        "",
        " IS NULL",
        " COLLATE \"C\"",
        " AT TIME ZONE 'UTC'",
        " BETWEEN 1 AND 2",
        " OVER (ORDER BY a)",
        "::text",
        "::numeric(18, 4)",
        "::regclass",
        "::double precision",
        " IS NOT TRUE",
        " FILTER (WHERE true)",
        "[1]",
        "::interval",
    ],
    quantifiers: &["", "", "", "DISTINCT ", "ALL ", "DISTINCT ON (a) "],
    tails: &["", "", "", "", " LIMIT 5 OFFSET 1", " FETCH FIRST 2 ROWS ONLY", " FOR UPDATE", "; SELECT 1", " INTO z"],
};

#[test]
fn a_second_parser_finds_the_same_tables_and_functions() {
    let tables = |sql: &str| {
        let (grant, limits) = (grant(), SqlLimits::default());
        verdict(sql, 1).ok()?;
        let tokens = lexical::read(sql, 1, &limits).ok()?.lexed.tokens;
        let mut walk = Walk::<Postgres>::new(Profile::Datakit, &grant, &limits);
        walk.query(&crate::parse::<Postgres>(tokens, &limits).ok()?).ok()?;
        let named = walk.tables.into_iter().chain(walk.catalog_views);
        Some(named.map(|table| (table.schema, table.name)).collect())
    };
    crate::second_reading::compare("postgres", HONEST, &GRAMMAR, tables, |name| {
        lists::is_function(name) || ["substring", "like_escape"].contains(&name)
    });
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    /// What texts are made of, one entry a byte of the input.
    const WORDS: &[&str] = &[
        "SELECT",
        "FROM",
        "(",
        ")",
        "public.t",
        "public.secret",
        "secret",
        "pg_catalog.pg_class",
        "c",
        "c.relname",
        "c.relacl",
        "relname",
        "'x'",
        "\"a\"",
        ",",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "UNION ALL",
        "UNION",
        "JOIN",
        "ON",
        "1",
        ".",
        "*",
        "WITH",
        "AS",
        "OVER",
        "BETWEEN",
        "AND",
        "NOT",
        "IN",
        "WHERE",
        "EXISTS",
        "ORDER BY",
        "GROUP BY",
        "HAVING",
        "floor(",
        "CAST(",
        "substring(",
        "trim(",
        "count(",
        "to_json(",
        "::",
        "text",
        "int",
        "$1",
        "||",
        "ILIKE",
        "LIMIT",
        "OFFSET",
        "LEFT JOIN",
        "=",
        "+",
        "-",
        "DISTINCT",
        "NULL",
        "IS",
        "LIKE",
        "COLLATE",
        "AT TIME ZONE",
        "VALUES",
        ";",
        "--",
        "/*",
        "*/",
        "\n",
        "E'",
        "$$",
        "\"",
        "EXCEPT",
        "q",
        "x",
        "hr.people",
        "system_user",
        "row_to_json",
        "ctid",
        "true",
        "RECURSIVE",
        "ANY",
        "interval",
        "FOR",
        "PARTITION BY",
        "double precision",
        "numeric(",
        "U&'",
        "..",
    ];

    #[test]
    fn fuzz_postgres_guard() {
        bolero::check!().for_each(|input: &[u8]| {
            crate::testing::fuzz(input, WORDS, &GRAMMAR, |text| {
                let accepted = verdict(text, 1).ok()?;
                Some((accepted.query.to_owned(), (accepted.tables, accepted.by_place, accepted.keeps_not_null)))
            })
        });
    }

    proptest! {
        #[test]
        fn a_quoted_table_is_granted_by_its_pattern_alone(name in "[^\\p{Cc}\u{2028}\u{2029}]{1,15}") {
            let quoted = name.replace('"', "\"\"");
            let sql = format!("SELECT a FROM \"hr\".\"{quoted}\"");
            prop_assert!(matches!(verdict(&sql, 0), Err(Refusal::NotGranted(_))));
        }
    }
}

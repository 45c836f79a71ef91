//! Texts that are made: of any bytes, of words, and by a grammar.

use super::tests::{HONEST, grant, verdict};
use super::*;
use crate::testing::Grammar;

/// Harmless and harmful words of T-SQL.
const GRAMMAR: Grammar = Grammar {
    tables: &[
        "dbo.t",
        "dbo.u",
        "[dbo].[t]",
        "[odd.schema].[a b]",
        "q",
        "x",
        "sys.objects",
        "sys.columns",
        "INFORMATION_SCHEMA.TABLES",
        "dbo.secret",
        "secret",
        "hr.people",
        "sys.sql_logins",
        "other.dbo.t",
        "dbo.[#t]",
        "\"dbo\".\"u\"",
        "dbo.t (NOLOCK)",
        "OPENROWSET('a', 'b', 'c')",
        "sys.fn_my_permissions(NULL, 'SERVER')",
    ],
    aliases: &[
        "",
        " AS x",
        " AS y",
        " q",
        " AS o WITH (NOLOCK)",
        " WITH (READCOMMITTED)",
        " AS x (a)",
        " AS x (NOLOCK)",
        " WITH (XLOCK)",
    ],
    values: &[
        "a",
        "x.a",
        "1",
        "'it''s'",
        "N'x'",
        "NULL",
        "o.name",
        "[b]",
        "0x1F",
        "1.5e3",
        "@P1",
        "dbo.t.a",
        "o.principal_id",
        "name",
        "@@VERSION",
        "SYSTEM_USER",
        "COUNT(*)",
        "x.*",
        "-1",
    ],
    calls: &[
        "COUNT(",
        "UPPER(",
        "COALESCE(",
        "FLOOR(",
        "CEILING(",
        "LEFT(",
        "ISNULL(",
        "ABS(",
        "SUBSTRING(",
        "TRIM(",
        "CAST(",
        "OBJECT_ID(",
        "OBJECT_NAME(",
        "SUSER_SNAME(",
        "dbo.f(",
        "CONVERT(int, ",
        "NOT (",
        "- (",
    ],
    operators: &["=", "<>", "AND", "OR", "+", "-", "*", "/", "%", "LIKE", "<=", "||", "&"],
    suffixes: &[
        "",
        "",
        "",
        "",
        " IS NULL",
        " COLLATE Latin1_General_BIN2",
        " AT TIME ZONE 'UTC'",
        " BETWEEN 1 AND 2",
        " OVER (ORDER BY a)",
        ".value('/a')",
    ],
    quantifiers: &["", "", "", "DISTINCT ", "TOP (5) ", "TOP 5 PERCENT ", "ALL "],
    tails: &[
        "",
        "",
        "",
        "",
        " OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY",
        " FOR XML AUTO",
        " OPTION (MAXDOP 1)",
        "; SELECT 1",
        " LIMIT 1",
    ],
};

#[test]
fn a_second_parser_finds_the_same_tables_and_functions() {
    let tables = |sql: &str| {
        let (grant, limits) = (grant(), SqlLimits::default());
        verdict(sql, 1).ok()?;
        let tokens = lexical::read(sql, 1, &limits).ok()?.tokens;
        let mut walk = Walk::<TSql>::new(Profile::Datakit, &grant, &limits);
        walk.query(&crate::parse::<TSql>(tokens, &limits).ok()?).ok()?;
        let named = walk.tables.into_iter().chain(walk.catalog_views);
        Some(named.map(|table| (table.schema, table.name)).collect())
    };
    crate::second_reading::compare("tsql", HONEST, &GRAMMAR, tables, |name| {
        name.strip_prefix("hint ").map_or_else(|| lists::is_function(name), lists::is_table_hint)
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
        "dbo.t",
        "dbo.secret",
        "secret",
        "sys.objects",
        "sys.tables",
        "o",
        "o.name",
        "o.principal_id",
        "'x'",
        "[a]",
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
        "TOP",
        "WHERE",
        "EXISTS",
        "ORDER BY",
        "GROUP BY",
        "HAVING",
        "FLOOR(",
        "CAST(",
        "CONVERT(int,",
        "OBJECT_ID(",
        "COUNT(",
        "NOLOCK",
        "CROSS APPLY",
        "LEFT JOIN",
        "=",
        "+",
        "-",
        "OFFSET",
        "ROWS",
        "FETCH NEXT",
        "ONLY",
        "DISTINCT",
        "NULL",
        "IS",
        "LIKE",
        "COLLATE",
        "AT TIME ZONE",
        "VALUES",
        "[#t]",
        ";",
        "--",
        "/*",
        "*/",
        "\n",
        "@P1",
        "N'",
        "]",
        "\"",
        "EXCEPT",
        "q",
        "x",
        "hr.people",
        "other.dbo.t",
        "..",
        "::",
        "0x1F",
        "1e5",
        "PARTITION BY",
        "PIVOT",
        "FOR",
    ];

    #[test]
    fn fuzz_tsql_guard() {
        bolero::check!().for_each(|input: &[u8]| {
            crate::testing::fuzz(input, WORDS, &GRAMMAR, |text| {
                let accepted = verdict(text, 1).ok()?;
                Some((accepted.query.to_owned(), accepted.catalog))
            })
        });
    }

    proptest! {
        #[test]
        fn a_bracketed_table_is_granted_by_its_pattern_alone(name in "[^\\p{Cc}\u{2028}\u{2029}]{1,30}") {
            let quoted = name.replace(']', "]]");
            let sql = format!("SELECT a FROM [hr].[{quoted}]");
            prop_assert!(verdict(&sql, 0).is_err());
        }
    }
}

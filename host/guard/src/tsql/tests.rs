use datakit_model::TablePatterns;

use super::*;

fn patterns(list: &[&str]) -> TablePatterns {
    TablePatterns::new(list.iter().map(|p| p.parse().unwrap()).collect())
}

pub(super) fn grant() -> TablePatterns {
    patterns(&["dbo.*", "[odd.schema].*", "!dbo.secret*"])
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
    "SELECT c.max_length AS max_length, c.precision AS numeric_precision, c.scale AS numeric_scale FROM sys.columns AS c",
    "SELECT s.name AS schema_name, o.name AS object_name FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0",
    "SELECT o.object_id AS object_id FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.is_ms_shipped = 0 AND s.name IN (@P1, @P2)",
    "SELECT s.name AS schema_name FROM sys.schemas AS s",
    "SELECT p.object_id AS object_id, SUM(p.rows) AS row_count FROM sys.partitions AS p WHERE p.index_id IN (0, 1) GROUP BY p.object_id",
    "SELECT c.name FROM sys.columns AS c LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id",
    "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES",
    "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t]",
    "SELECT MIN([id]) AS [low] FROM [dbo].[t] WITH (NOLOCK)",
    "SELECT q.[bound] AS [bound] FROM (SELECT [id] AS [bound], ROW_NUMBER() OVER (ORDER BY [id]) AS [ordinal] FROM [dbo].[t]) AS q WHERE q.[ordinal] % 25000 = 1 AND q.[ordinal] > 1 ORDER BY q.[ordinal]",
    "SELECT [a], CONVERT(varchar(27), [b], 121) AS [b], [c], DATEPART(TZOFFSET, [c]) AS [c_offset_minutes] FROM [dbo].[t] WHERE [id] < @P1 OR [id] IS NULL",
    "SELECT [a] FROM [dbo].[t] WHERE [id] >= @P1 AND [id] < @P2",
    "SELECT [a]]b], [50%*], [größe] FROM [odd.schema].[sp ace, and ]]more]",
    "SELECT \"a\"\"b\" FROM \"dbo\".\"t\"",
    "SELECT TOP (1000) * FROM dbo.t ORDER BY id OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY",
    "SELECT DISTINCT TOP 10 PERCENT a FROM dbo.t AS x WITH (READCOMMITTED, FORCESEEK)",
    "WITH q AS (SELECT a FROM dbo.t), r AS (SELECT a FROM q) SELECT * FROM r UNION ALL SELECT a FROM q",
    "SELECT a FROM dbo.t WHERE EXISTS (SELECT 1 FROM dbo.u WHERE u.id = t.id) AND b IN (SELECT b FROM dbo.v)",
    "SELECT x.n FROM dbo.t CROSS APPLY (SELECT COUNT(*) AS n FROM dbo.u WHERE u.id = t.id) AS x",
    "SELECT a FROM (dbo.t INNER JOIN dbo.u ON t.id = u.id)",
    "SELECT CASE WHEN a > 0 THEN N'über' ELSE 'it''s' END AS x, CAST(b AS decimal(18, 4)), TRY_CONVERT(date, c) FROM dbo.t",
    "SELECT COALESCE(a, ISNULL(b, 0x1F)), LEN(c), DATALENGTH(c), -a + 1.5e3 * 2 FROM dbo.t WHERE c LIKE '50!%%' ESCAPE '!'",
    "SELECT LEFT(a, 3), RIGHT(a, 3), SUBSTRING(a, 1, 2), TRIM(a), UPPER(a), REPLACE(a, 'x', 'y'), CEILING(b), FLOOR(b) FROM dbo.t",
    "SELECT a COLLATE Latin1_General_BIN2 FROM dbo.t WHERE a BETWEEN 'a' AND 'b' AND NOT b = 1 AND c <> 2 AND d != 3",
    "SELECT COUNT_BIG(*), COUNT(DISTINCT a), NTILE(4) OVER (PARTITION BY a ORDER BY b DESC) FROM dbo.t GROUP BY a HAVING COUNT(*) > 1",
    "SELECT SUM(a) OVER (ORDER BY b ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM dbo.t",
    "SELECT STRING_AGG(a, ',') WITHIN GROUP (ORDER BY a) FROM dbo.t",
    "SELECT a AT TIME ZONE 'UTC' FROM dbo.t",
    "SELECT v.a FROM (VALUES (1), (2)) AS v(a)",
    "SELECT a FROM dbo.t WHERE a > ALL (SELECT b FROM dbo.u)",
    "-- what is read\nSELECT a /* the /* nested */ one */ FROM dbo.t -- all\n;",
    "SELECT a\r\nFROM dbo.t;",
    "SELECT OBJECT_ID(N'dbo.t') AS id, OBJECT_NAME(7) AS o, OBJECT_ID('[a.b].\"c.d\"') AS i, SCHEMA_NAME(1) AS s, TYPE_NAME(56) AS t",
    "SELECT name FROM sys.tables WHERE object_id = OBJECT_ID('dbo.t') ORDER BY name",
    "SELECT sys.columns.name, COUNT(*) AS n FROM sys.columns GROUP BY sys.columns.name ORDER BY n DESC",
    "SELECT q.* FROM (SELECT o.name AS name FROM sys.objects AS o) AS q",
    "SELECT o.name FROM sys.objects AS o CROSS APPLY (SELECT COUNT(*) AS n FROM sys.columns AS c WHERE c.object_id = o.object_id) AS x WHERE x.n > 1",
    "WITH q (a) AS (SELECT t.a FROM dbo.t AS t UNION ALL SELECT q.a + 1 FROM q WHERE q.a < 10 UNION ALL SELECT t.a FROM dbo.t AS t INNER JOIN q ON q.a = t.a) SELECT * FROM q",
    "SELECT floor, position FROM dbo.t",
    "SELECT a FROM ((dbo.t INNER JOIN dbo.u ON t.id = u.id) INNER JOIN dbo.v ON v.id = u.id)",
    "SELECT 'DROP TABLE dbo.t; --' AS a, [EXEC xp_cmdshell] FROM dbo.t",
];

/// What somebody tries.
const ATTACKS: &[&str] = &[
    // More than a query.
    "",
    "-- nothing",
    "DELETE FROM dbo.t",
    "SELECT 1 AS a; DROP TABLE dbo.t",
    "SELECT 1 AS a; SELECT 2 AS b",
    "SELECT 1 AS a DROP TABLE dbo.t",
    "SELECT a FROM dbo.t SHUTDOWN",
    "SELECT a FROM dbo.t END SELECT * FROM hr.people",
    "SELECT a FROM dbo.t AS x CHECKPOINT",
    "SELECT 1 ROLLBACK",
    "SELECT a FROM dbo.t KILL 53",
    "SELECT a FROM dbo.t WAITFOR DELAY '00:01:00'",
    "WAITFOR DELAY '00:01:00'",
    "EXEC xp_cmdshell 'dir'",
    "xp_cmdshell 'dir'",
    "SELECT * FROM dbo.t EXEC sp_who",
    "USE master SELECT 1 AS a",
    "BEGIN TRAN SELECT 1 AS a",
    "IF 1 = 1 SELECT 1 AS a",
    "DECLARE @x int SELECT 1 AS a",
    "SET NOCOUNT ON SELECT 1 AS a",
    "SELECT @P1 = a FROM dbo.t",
    "SELECT @x = a FROM dbo.t",
    "SELECT @@VERSION AS v",
    "SELECT @P3 AS a",
    "SELECT a FROM @t",
    // Writing through a query.
    "SELECT * INTO dbo.copy FROM dbo.t",
    "SELECT * FROM (DELETE FROM dbo.t OUTPUT deleted.*) AS d",
    "SELECT * FROM (UPDATE dbo.t SET a = 1 OUTPUT inserted.*) AS d",
    "SELECT * FROM (INSERT INTO dbo.t OUTPUT inserted.* VALUES (1)) AS d",
    "WITH q AS (DELETE FROM dbo.t OUTPUT deleted.*) SELECT * FROM q",
    "SELECT NEXT VALUE FOR dbo.counter",
    "SELECT a FROM dbo.t WITH (TABLOCKX)",
    "SELECT a FROM dbo.t WITH (UPDLOCK, HOLDLOCK)",
    "SELECT a FROM dbo.t WITH (READPAST)",
    "SELECT a FROM dbo.t FOR UPDATE",
    "SELECT a FROM dbo.t FOR XML AUTO",
    "SELECT a FROM dbo.t FOR BROWSE",
    "SELECT a FROM dbo.t OPTION (MAXDOP 64)",
    "SELECT a FROM dbo.t LIMIT 5",
    // Other places.
    "SELECT * FROM other.dbo.t",
    "SELECT * FROM [other].[dbo].[t]",
    "SELECT * FROM server.other.dbo.t",
    "SELECT * FROM other..t",
    "SELECT * FROM t",
    "SELECT * FROM [dbo.t]",
    "SELECT * FROM [master.dbo].t",
    "SELECT * FROM #temp",
    "SELECT * FROM dbo.#temp",
    "SELECT * FROM OPENROWSET('SQLNCLI', 'Server=x;', 'SELECT 1')",
    "SELECT * FROM OPENROWSET(BULK 'c:\\secret.txt', SINGLE_CLOB) AS f",
    "SELECT * FROM OPENQUERY(linked, 'SELECT 1')",
    "SELECT * FROM OPENDATASOURCE('SQLNCLI', 'x').db.dbo.t",
    "SELECT * FROM OPENXML(1, '/a')",
    // Tables outside of the grant.
    "SELECT * FROM hr.people",
    "SELECT * FROM dbo.secret",
    "SELECT * FROM dbo.SECRET_plans",
    "SELECT * FROM dbo.[secret ]",
    "SELECT * FROM dbo.[ｓecret]",
    "SELECT * FROM dbo.[se\u{AD}cret]",
    "SELECT * FROM dbo.[\u{17F}ecret]",
    "SELECT * FROM [odd.schema].t, dbo.secret",
    "SELECT (SELECT TOP 1 a FROM dbo.secret) AS a",
    "SELECT a FROM dbo.t ORDER BY (SELECT a FROM dbo.secret)",
    "SELECT a FROM dbo.t WHERE a = CASE WHEN 1 = 1 THEN (SELECT a FROM dbo.secret) END",
    "SELECT a FROM dbo.t UNION ALL SELECT a FROM dbo.secret",
    "SELECT a FROM dbo.t CROSS APPLY (SELECT b FROM dbo.secret) AS x",
    "WITH a AS (SELECT * FROM people), people AS (SELECT 1 AS x) SELECT * FROM a",
    "WITH People AS (SELECT 1 AS x) SELECT * FROM people",
    "SELECT * FROM (WITH t AS (SELECT 1 AS x) SELECT * FROM t) AS a, t",
    // A common table expression that names itself is the table of that name to some servers.
    "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret",
    "WITH syslogins AS (SELECT * FROM syslogins) SELECT * FROM syslogins",
    "WITH secret AS (SELECT * FROM secret UNION ALL SELECT 1) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION SELECT a FROM secret) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a EXCEPT SELECT a FROM secret) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION SELECT a FROM secret UNION ALL SELECT 2) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION ALL (SELECT a FROM secret)) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION ALL SELECT a FROM dbo.t WHERE a IN (SELECT a FROM secret)) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION ALL SELECT a FROM (SELECT * FROM secret) AS x) SELECT * FROM secret",
    "WITH secret AS (SELECT 1 AS a UNION ALL SELECT (SELECT TOP 1 b FROM secret) FROM dbo.t) SELECT * FROM secret",
    "WITH a AS (SELECT 1 AS x UNION ALL SELECT x FROM a) SELECT * FROM (SELECT * FROM a) AS b, secret",
    // Names of temporary tables, with whatever schema.
    "SELECT * FROM dbo.[#t]",
    "SELECT * FROM dbo.[##t]",
    "SELECT * FROM dbo.\"#t\"",
    "WITH [#t] AS (SELECT 1 AS a) SELECT * FROM [#t]",
    // Table hints in the place of names for columns.
    "SELECT a FROM dbo.t AS x (NOLOCK)",
    "SELECT a FROM dbo.t AS x (TABLOCKX)",
    "SELECT a FROM dbo.t x (READPAST)",
    "SELECT a FROM dbo.t x (XLOCK, HOLDLOCK)",
    "SELECT a FROM dbo.t x (UPDLOCK) WITH (NOLOCK)",
    "SELECT a FROM dbo.t INNER JOIN dbo.u AS y (UPDLOCK) ON t.id = y.id",
    "SELECT a FROM dbo.t CROSS APPLY dbo.u AS y (XLOCK)",
    "SELECT a FROM (dbo.t AS x (XLOCK) INNER JOIN dbo.u ON x.id = u.id)",
    "SELECT a FROM (dbo.t AS x INNER JOIN dbo.u ON x.id = u.id) AS j (XLOCK)",
    "WITH q AS (SELECT a FROM dbo.t) SELECT a FROM q AS x (XLOCK)",
    // Columns of the catalog that are not on the list, and ways around a list of columns.
    "SELECT VIEW_DEFINITION FROM INFORMATION_SCHEMA.VIEWS",
    "SELECT v.* FROM sys.tables AS v",
    "SELECT * FROM sys.tables",
    "SELECT * FROM (SELECT * FROM sys.objects) AS o",
    "SELECT principal_id FROM sys.tables",
    "SELECT s.principal_id FROM sys.schemas AS s",
    "SELECT S.PRINCIPAL_ID FROM sys.schemas AS s",
    "SELECT [s ].principal_id FROM sys.schemas AS s",
    "SELECT sys.schemas.principal_id FROM sys.schemas",
    "SELECT schemas.principal_id FROM sys.schemas",
    "SELECT definition FROM sys.computed_columns",
    "SELECT value FROM sys.extended_properties",
    "SELECT i.filter_definition FROM sys.indexes AS i",
    "SELECT s.name FROM sys.schemas AS s ORDER BY s.principal_id",
    "SELECT s.name FROM sys.schemas AS s ORDER BY principal_id",
    "SELECT s.name AS principal_id FROM sys.schemas AS s ORDER BY principal_id + 1",
    "SELECT s.name FROM sys.schemas AS s WHERE s.principal_id = 1",
    "SELECT s.name FROM sys.schemas AS s WHERE EXISTS (SELECT 1 FROM dbo.t WHERE principal_id = 1)",
    "SELECT s.name FROM sys.schemas AS s WHERE EXISTS (SELECT 1 FROM dbo.t AS t WHERE s.principal_id = t.a)",
    "SELECT s.name FROM sys.schemas AS s CROSS APPLY (SELECT s.principal_id AS p) AS x",
    "SELECT s.name FROM sys.schemas AS s INNER JOIN dbo.t AS t ON t.a = s.principal_id",
    "SELECT x.name FROM (sys.schemas AS s INNER JOIN sys.objects AS x ON s.principal_id = x.schema_id)",
    "SELECT c.default_object_id FROM dbo.t AS t, sys.columns AS c",
    "SELECT COLUMN_DEFAULT FROM INFORMATION_SCHEMA.COLUMNS",
    "SELECT s.name FROM sys.schemas AS [ｓ]",
    // Functions of the catalog that reach other databases or say more than names.
    "SELECT OBJECT_NAME(5, 2) AS a",
    "SELECT OBJECT_SCHEMA_NAME(5, 2) AS a",
    "SELECT OBJECT_ID('other.dbo.t') AS a",
    "SELECT OBJECT_ID(N'[other].[dbo].[t]') AS a",
    "SELECT OBJECT_ID('tempdb..#t') AS a",
    "SELECT OBJECT_ID('t') AS a",
    "SELECT OBJECT_ID(a) AS a FROM dbo.t",
    "SELECT OBJECT_ID('other' + '.dbo.t') AS a",
    "SELECT OBJECT_ID(@P1) AS a",
    "SELECT OBJECT_ID('dbo.t', 'U') AS a",
    "SELECT TYPE_ID('other.dbo.t') AS a",
    "SELECT SCHEMA_NAME() AS a",
    "SELECT COL_LENGTH('other.dbo.t', 'a') AS a",
    "SELECT INDEX_COL('other.dbo.t', 1, 1) AS a",
    "SELECT OBJECTPROPERTY(5, 'OwnerId') AS a",
    // The system's own.
    "SELECT SYSTEM_USER AS a",
    "SELECT * FROM sys.sql_logins",
    "SELECT * FROM sys.dm_exec_sessions",
    "SELECT * FROM [SYS].[server_principals]",
    "SELECT * FROM dbo.sysusers",
    "SELECT * FROM dbo.[syslogins ]",
    "SELECT * FROM sys.fn_my_permissions(NULL, 'SERVER')",
    "SELECT * FROM fn_trace_getinfo(1)",
    "SELECT * FROM dbo.t (NOLOCK)",
    "SELECT dbo.anything(a) FROM dbo.t",
    "SELECT [COUNT](*) FROM dbo.t",
    "SELECT SUSER_SNAME() AS login",
    "SELECT doc.value('/a', 'int') FROM dbo.t",
    // Methods and properties of values, which run code of their types.
    "SELECT t.place.STAsText() AS a FROM dbo.t",
    "SELECT place.ToString() AS a FROM dbo.t",
    "SELECT dbo.t.place.ToString() AS a FROM dbo.t",
    "SELECT place.Lat AS a FROM dbo.t",
    "SELECT t.place.Lat AS a FROM dbo.t",
    "SELECT x.place.Lat AS a FROM dbo.t AS x",
    "SELECT dbo.x.place AS a FROM dbo.t AS x",
    "SELECT t.a FROM dbo.t AS x",
    "SELECT dbo.t.place.Lat AS a FROM dbo.t",
    "SELECT (place).Lat AS a FROM dbo.t",
    "SELECT a FROM dbo.t ORDER BY place.Lat",
    "SELECT a FROM dbo.t WHERE place.Lat > 1",
    "SELECT a FROM dbo.t INNER JOIN dbo.u AS u ON t.id = place.Lat",
    "SELECT a FROM (SELECT a FROM dbo.t AS inside) AS x WHERE inside.a = 1",
    "SELECT 1 AS a FROM dbo.t AS one UNION ALL SELECT one.a FROM dbo.u",
    "SELECT CAST(a AS dbo.Evil) FROM dbo.t",
    "SELECT geometry::Parse(a) FROM dbo.t",
    // Changes of tables: the host reads them, with queries of its own.
    "SELECT * FROM CHANGETABLE(CHANGES dbo.t, 0) AS c",
    "SELECT * FROM CHANGETABLE(VERSION dbo.t, (id), (1)) AS c",
    "SELECT CHANGE_TRACKING_CURRENT_VERSION() AS v",
    "SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID('dbo.t')) AS v",
    "SELECT CHANGE_TRACKING_IS_COLUMN_IN_MASK(1, a) AS v FROM dbo.t",
    "WITH CHANGE_TRACKING_CONTEXT (0x1) SELECT a FROM dbo.t",
    "SELECT c.object_id FROM sys.change_tracking_tables AS c",
    "SELECT d.database_id FROM sys.change_tracking_databases AS d",
    "SELECT MIN_ACTIVE_ROWVERSION() AS v",
    "SELECT @@DBTS AS v",
    "SELECT c.source_object_id FROM cdc.change_tables AS c",
    "SELECT * FROM cdc.dbo_t_CT",
    "SELECT * FROM cdc.fn_cdc_get_all_changes_dbo_t(0x01, 0x02, N'all')",
    "SELECT * FROM cdc.fn_cdc_get_net_changes_dbo_t(0x01, 0x02, N'all') AS c",
    "SELECT sys.fn_cdc_get_max_lsn() AS v",
    "SELECT sys.fn_cdc_get_min_lsn('dbo_t') AS v",
    "SELECT sys.fn_cdc_increment_lsn(0x01) AS v",
    "SELECT sys.fn_cdc_map_time_to_lsn('largest less than', GETDATE()) AS v",
    "SELECT sys.fn_cdc_is_bit_set(1, a) AS v FROM dbo.t",
    "SELECT e.session_id FROM sys.dm_cdc_errors AS e",
    "SELECT * FROM sys.fn_dblog(NULL, NULL)",
    // Texts that two readers cut differently.
    "SELECT $$ ' $$ AS a, '; DROP TABLE dbo.t --'",
    "SELECT 1 AS a --\rDROP TABLE dbo.t",
    "SELECT 1 AS a /* /* */ DROP TABLE dbo.t",
    "SELECT\u{A0}1 AS a",
    "ＳＥＬＥＣＴ 1 AS a",
];

#[test]
fn documentation_names_what_is_allowed() {
    crate::testing::check_page("SQL Server", lists::FUNCTIONS, lists::TYPES, &lists::CATALOG);
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
    assert_eq!(query("-- x\nSELECT a FROM dbo.t -- OPTION\n;"), "SELECT a FROM dbo.t");
    assert_eq!(query("  SELECT [a]]b] FROM dbo.t ; /* y */"), "SELECT [a]]b] FROM dbo.t");
}

#[test]
fn limits_are_counted_before_parsing() {
    let limits = SqlLimits { max_sql_bytes: 500_000, max_tokens: 4_000, ..SqlLimits::default() };
    let message = |sql: &str, limits: &SqlLimits| check(sql, 0, &grant(), limits).unwrap_err().to_string();
    let nested = |open: &str, close: &str, n: usize| format!("SELECT {}1{} AS a", open.repeat(n), close.repeat(n));
    insta::assert_snapshot!(message(&"x".repeat(500_001), &limits), @"a text of 500001 is over the limit `max_sql_bytes` of 500000");
    insta::assert_snapshot!(message(&format!("SELECT 1{}", "+1".repeat(200_000)), &limits), @"a number of tokens of 4001 is over the limit `max_sql_tokens` of 4000");
    insta::assert_snapshot!(message(&nested("(", ")", 1_500), &limits), @"a syntax depth of 129 is over the limit `max_syntax_depth` of 128");
    insta::assert_snapshot!(message(&nested("- ", "", 1_500), &limits), @"a syntax depth of 129 is over the limit `max_syntax_depth` of 128");
    insta::assert_snapshot!(message(&nested("CASE WHEN 1=1 THEN ", " END", 400), &limits), @"a syntax depth of 129 is over the limit `max_syntax_depth` of 128");
    insta::assert_snapshot!(
        check("SELECT 1 AS a", 2_001, &grant(), &limits).unwrap_err().to_string(),
        @"parameters of 2001 is over the limit `max_parameters` of 2000"
    );
}

/// The parser takes a reserved word that it cannot use for a name: a CASE too deep for it is a column to it, and the rest
/// of the text then means something else to it than to the server.
#[test]
fn reserved_words_are_no_names() {
    let refused = |sql: &str| verdict(sql, 0).unwrap_err().to_string();
    insta::assert_snapshot!(refused("SELECT a END FROM dbo.t"), @"it is a query followed by END, and only one query is allowed");
    insta::assert_snapshot!(refused("SELECT t.when FROM dbo.t"), @"the reserved word WHEN as a name is not allowed");
    insta::assert_snapshot!(refused("SELECT a FROM dbo.t primary"), @"the reserved word PRIMARY as a name is not allowed");
    assert!(verdict("SELECT a AS [end] FROM dbo.t AS [primary] WHERE [case] = 1", 0).is_ok());
}

#[test]
fn long_chains_are_fine_and_deep_ones_are_not() {
    let chain = format!("SELECT a FROM dbo.t WHERE a = 1{}", " OR a = 1".repeat(900));
    assert!(verdict(&chain, 0).is_ok(), "{:?}", verdict(&chain, 0));
    let unions = vec!["SELECT a FROM dbo.t"; 500].join(" UNION ALL ");
    assert!(verdict(&unions, 0).is_ok());
}

#[test]
fn nothing_is_granted_by_an_empty_grant_but_the_catalog() {
    let none = TablePatterns::default();
    let limits = SqlLimits::default();
    assert!(check("SELECT name FROM sys.tables", 0, &none, &limits).is_ok());
    assert!(check("SELECT a FROM dbo.t", 0, &none, &limits).is_err());
    let all = patterns(&["*.*"]);
    assert!(check("SELECT a FROM hr.people", 0, &all, &limits).is_ok());
    assert!(check("SELECT * FROM sys.sql_logins", 0, &all, &limits).is_err());
    assert!(check("SELECT * FROM [sys ].sql_logins", 0, &all, &limits).is_err());
    assert!(check("SELECT * FROM [ｓys].sql_logins", 0, &all, &limits).is_err());
    for change_table in ["cdc.change_tables", "CDC.dbo_t_CT", "[cdc ].dbo_t_CT", "[ｃdc].dbo_t_CT"] {
        assert!(check(&format!("SELECT a FROM {change_table}"), 0, &all, &limits).is_err(), "{change_table}");
    }
}

/// Texts that make the parser read each part again for every part around it: 2.8 times the work for each level of the first.
#[test]
fn texts_that_can_be_read_in_many_ways_are_refused_after_a_bounded_number_of_steps() {
    let nested = |open: &str, inner: &str, close: &str| {
        format!("SELECT {}{inner}{} AS a FROM dbo.t", open.repeat(30), close.repeat(30))
    };
    for open in ["FLOOR(", "CEILING(", "CAST(", "NOT (", "CASE (", "CURRENT_TIMESTAMP(", "SUBSTRING(", "TRIM(", "t.f("]
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
        @"it cannot be read as T-SQL: its parts can be read in too many ways"
    );
    for open in ["UPPER(", "FLOOR(", "("] {
        let text = nested(open, "1", ")");
        assert!(verdict(&text, 0).is_ok(), "{:?}", verdict(&text, 0));
    }
}

#[test]
fn queries_of_the_catalog_alone_are_told_apart() {
    let is_catalog = |sql: &str| verdict(sql, 0).unwrap().catalog;
    for sql in [
        "SELECT name FROM sys.tables",
        "SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES",
        "WITH t AS (SELECT name FROM sys.tables) SELECT name FROM t",
        "SELECT c.name FROM sys.columns AS c WHERE c.object_id IN (SELECT object_id FROM [SYS].[views])",
    ] {
        assert!(is_catalog(sql), "{sql}");
    }
    for sql in [
        "SELECT 1 AS a",
        "SELECT a FROM dbo.t",
        "SELECT v.a FROM (VALUES (1)) AS v(a)",
        "SELECT t.a FROM dbo.t AS t CROSS JOIN sys.types AS y",
        "SELECT name FROM sys.tables WHERE EXISTS (SELECT 1 FROM dbo.t)",
        "SELECT name FROM sys.tables UNION ALL SELECT a FROM dbo.t",
    ] {
        assert!(!is_catalog(sql), "{sql}");
    }
}

#[test]
fn three_part_names_are_of_an_operators_own_files() {
    let grant = TablePatterns::new(["dbo.*", "crm.dbo.*", "!crm.dbo.secret"].map(|p| p.parse().unwrap()).to_vec());
    let limits = SqlLimits::default();
    let as_operator = |sql: &str| check_as(Profile::OperatorFile, sql, 0, &grant, &limits);
    let accepted = as_operator("SELECT c.id FROM crm.dbo.customers AS c JOIN dbo.orders AS o ON o.id = c.id").unwrap();
    assert!(!accepted.catalog);
    for sql in [
        "SELECT id FROM crm.dbo.secret",
        "SELECT id FROM hr.dbo.customers",
        "SELECT id FROM crm.sys.sql_logins",
        "SELECT id FROM crm.hr.t",
    ] {
        assert!(matches!(as_operator(sql), Err(Refusal::NotGranted(_))), "{sql}");
    }
    for sql in ["SELECT id FROM srv.crm.dbo.customers", "SELECT id FROM crm..customers"] {
        assert!(as_operator(sql).is_err(), "{sql}");
    }
    let by_a_datakit = check("SELECT id FROM crm.dbo.customers", 0, &grant, &limits);
    assert!(matches!(by_a_datakit, Err(Refusal::NameParts(_))), "{by_a_datakit:?}");
}

use insta::assert_snapshot;

use super::*;

fn orders() -> SqlEngine {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, customer nvarchar(40) NULL, amount decimal(18,4) NOT NULL, \
             placed datetime2(3) NULL, guid uniqueidentifier NULL, code char(5) NULL)
             GO
             INSERT INTO dbo.orders VALUES
              (1, N'Ada', 10.5, '2024-01-02 03:04:05.678', '6F9619FF-8B86-D011-B42D-00C04FC964FF', 'ab'),
              (2, N'ada ', 20, '2024-02-29', '00000000-0000-0000-0000-000000000001', NULL),
              (3, N'Bob', -0.0001, NULL, 'FFFFFFFF-FFFF-FFFF-0000-000000000000', 'zzzzz'),
              (4, NULL, 99999999999999.9999, '9999-12-31 23:59:59.999', NULL, 'AB')",
        )
        .unwrap();
    engine
}

#[test]
fn expressions_have_sql_servers_types() {
    assert_snapshot!(run(
        &engine(),
        "SELECT 1 AS a, 3000000000 AS b, 1.25 AS c, 1e3 AS d, 'x' AS e, N'ü' AS f, 0xCAFE AS g, NULL AS h, -5 AS i;
         SELECT 7/2 AS a, 7%2 AS b, 7.0/2 AS c, 1+1.5 AS d, 'a'+N'b' AS e, 2*1e0 AS f, CAST(5 AS bigint)+1 AS g, 6 & 3 AS h;
         SELECT CAST(1.5 AS int) AS a, CAST('12' AS smallint) AS b, CONVERT(varchar(10), 123) AS c, CAST('abc' AS char(5)) AS d"
    ));
}

#[test]
fn functions_answer_as_in_t_sql() {
    assert_snapshot!(run(
        &engine(),
        "SELECT LEN('ab  ') AS a, DATALENGTH(N'ab') AS b, UPPER(N'straße') AS c, SUBSTRING('hello', 2, 3) AS d, \
           LEFT('hello', 2) AS e, RIGHT('hello', 2) AS f, REPLACE('aXbx', 'x', '-') AS g, CHARINDEX('L', 'hello') AS h, \
           QUOTENAME('a]b') AS i, LTRIM(RTRIM('  x ')) AS j, CONCAT('a', NULL, 1) AS k, REPLICATE('ab', 3) AS l;
         SELECT ISNULL(NULL, 5) AS a, COALESCE(NULL, 'x', N'yy') AS b, NULLIF(1, 1) AS c, IIF(1 < 2, 'y', 'no') AS d, \
           CASE WHEN 1 = 2 THEN 1 ELSE 2.5 END AS e, ABS(-3) AS f, ROUND(1.256, 2) AS g, FLOOR(-1.5) AS h;
         SELECT DATEADD(month, 1, CAST('2024-01-31' AS date)) AS a, DATEDIFF(day, '2024-01-01', '2024-03-01') AS b, \
           DATEPART(TZOFFSET, CAST('2024-01-01 00:00:00 +05:30' AS datetimeoffset(0))) AS c, YEAR('2024-05-06') AS d, \
           CAST('2024-01-01 12:00 +02:00' AS datetimeoffset(0)) AS e, CONVERT(varchar(30), CAST('2024-05-06' AS datetime), 126) AS f;
         SELECT DB_NAME() AS a, SCHEMA_NAME(1) AS b, TYPE_NAME(231) AS c, SUSER_SNAME() AS d, SERVERPROPERTY('ProductMajorVersion') AS e, \
           SQL_VARIANT_PROPERTY(CAST(1.5 AS sql_variant), 'BaseType') AS f, OBJECT_ID('dbo.nothing') AS g"
    ));
}

#[test]
fn rows_are_filtered_grouped_and_ordered() {
    assert_snapshot!(run(
        &orders(),
        "SELECT TOP (2) id, customer, amount FROM dbo.orders WITH (NOLOCK) WHERE id > 1 ORDER BY id OPTION (MAXDOP 4);
         SELECT customer, COUNT(*) AS n, SUM(amount) AS total, AVG(amount) AS mean FROM dbo.orders GROUP BY customer ORDER BY n DESC, 1;
         SELECT id FROM dbo.orders WHERE customer = 'ADA' AND code LIKE 'A%';
         SELECT id, ROW_NUMBER() OVER (ORDER BY amount DESC) AS r, NTILE(2) OVER (ORDER BY id) AS t FROM dbo.orders ORDER BY r;
         SELECT id FROM dbo.orders ORDER BY id OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY;
         SELECT DISTINCT customer FROM dbo.orders WHERE customer IS NOT NULL;
         SELECT MIN(guid) AS lo, MAX(guid) AS hi, COUNT_BIG(*) AS n FROM dbo.orders WHERE guid >= '00000000-0000-0000-0000-000000000000';
         SELECT id FROM dbo.orders WHERE amount > 10.49999 AND placed BETWEEN '2024-01-01' AND '2024-12-31';
         WITH big AS (SELECT id, amount FROM dbo.orders WHERE amount > 0) SELECT b.id, o.code FROM big b LEFT JOIN dbo.orders o ON o.id = b.id + 1 ORDER BY 1"
    ));
}

#[test]
fn the_captured_conversations_come_out_alike() {
    let engine = engine();
    assert_snapshot!(
        [
            run(&engine, "SELECT * FROM dbo.no_such_table"),
            run(
                &engine,
                "SELECT 1 / (3 - id) AS boom FROM (SELECT 1 AS id UNION ALL SELECT 2 UNION ALL SELECT 3) q ORDER BY id"
            ),
            run(&engine, "SELECT 1 AS a; SELECT N'two' AS b, CAST(NULL AS decimal(38,10)) AS c"),
            run(&engine, "PRINT 'hello'; SELECT 1 AS a; RAISERROR('custom failure', 16, 1)"),
            run_with(
                &engine,
                "SELECT @P1 AS i, @P2 AS s, @P3 AS f",
                &[
                    ("@P1", SqlType::BigInt, Value::Int(42)),
                    ("@P2", SqlType::NVarChar(Length::Limited(4000)), Value::Text("ünï".to_owned())),
                    ("@P3", SqlType::Float, Value::Float(1.25)),
                ],
            ),
        ]
        .join("--\n")
    );
}

#[test]
fn large_values_are_made_on_the_server() {
    let results = engine()
        .run_script(
            "SELECT REPLICATE(CAST(N'日本x' AS nvarchar(max)), 20000) AS nv, REPLICATE(CAST('abc' AS varchar(max)), 30000) AS v, \
             CAST(REPLICATE(CAST('z' AS varchar(max)), 70000) AS varbinary(max)) AS vb",
        )
        .unwrap();
    let types: Vec<SqlType> = results[0].columns.iter().map(|column| column.sql_type).collect();
    assert_eq!(types, [SqlType::NVarChar(Length::Max), SqlType::VarChar(Length::Max), SqlType::VarBinary(Length::Max)]);
    let sizes: Vec<usize> = results[0].rows[0]
        .iter()
        .map(|value| match value {
            Value::Text(text) => text.encode_utf16().count(),
            Value::Bytes(bytes) => bytes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [60_000, 90_000, 70_000]);
}

#[test]
fn wrong_queries_get_sql_servers_numbers() {
    let engine = orders();
    let cases = [
        ("SELECT nothing FROM dbo.orders", 207),
        ("SELECT x.id FROM dbo.orders o", 4104),
        ("SELECT a.id, b.id FROM dbo.orders a JOIN dbo.orders b ON id = 1", 209),
        ("SELECT FROM", 102),
        ("SELECT 1 WHERE 1", 4145),
        ("SELECT 1 FROM FROM", 156),
        ("SELECT order FROM dbo.orders", 156),
        ("SELECT CAST(GETDATE() AS date) - 0", 206),
        ("SELECT customer, COUNT(*) FROM dbo.orders", 8120),
        ("SELECT customer, amount FROM dbo.orders GROUP BY customer", 8120),
        ("SELECT CAST('abc' AS int)", 245),
        ("SELECT CAST('abc' AS date)", 241),
        ("SELECT CAST('abc' AS uniqueidentifier)", 8169),
        ("SELECT CAST('x' AS decimal(5,2))", 8114),
        ("SELECT 2147483647 + 1", 8115),
        ("SELECT 1 % 0", 8134),
        ("SELECT nonsense(1)", 195),
        ("SELECT @x", 137),
        ("SELECT CAST(1 AS nothing)", 2715),
        ("SELECT id FROM dbo.orders WHERE placed = 5", 206),
        ("SELECT id FROM dbo.orders UNION SELECT 1, 2", 205),
        ("SELECT * FROM (SELECT 1) q", 8155),
        ("SELECT * FROM (SELECT id FROM dbo.orders ORDER BY id) q", 1033),
        ("SELECT id FROM dbo.orders ORDER BY 2", 108),
        ("SELECT * FROM other.dbo.orders", 208),
        ("SELECT * FROM OPENROWSET('a', 'b', 'c')", 40000),
        ("SELECT CHECKSUM(1)", 40000),
        ("SELECT MIN(CAST(1 AS bit))", 8117),
        ("SELECT ROW_NUMBER() OVER (PARTITION BY id) FROM dbo.orders", 4112),
        ("USE nowhere", 911),
        ("EXEC sp_nothing", 2812),
    ];
    let found: Vec<(&str, i32)> = cases.iter().map(|(text, _)| (*text, error_number(&engine, text))).collect();
    assert_eq!(found, cases);
}

#[test]
fn an_error_in_the_middle_leaves_the_rows_before_it() {
    let engine = orders();
    assert_snapshot!(run(&engine, "SELECT id, 10 / (id - 3) AS q FROM dbo.orders ORDER BY id; SELECT 'still here' AS x"), @r"
    [id int not null, q int]
    1 | -5
    2 | -10
    error Msg 8134, Level 16, State 1, Line 1: Divide by zero error encountered.
    [x varchar(10) not null]
    still here
    Done { rows: Some(1) }
    ");
}

#[test]
fn every_offset_and_zone_is_one_moment() {
    assert_snapshot!(run(
        &engine(),
        "SELECT CASE WHEN CAST('2024-01-01 12:00 +02:00' AS datetimeoffset) = CAST('2024-01-01 10:00 +00:00' AS datetimeoffset) THEN 1 ELSE 0 END AS same;
         SELECT SWITCHOFFSET(CAST('2024-01-01 12:00 +02:00' AS datetimeoffset(0)), '-05:00') AS moved"
    ), @r"
    [same int not null]
    1
    Done { rows: Some(1) }
    [moved datetimeoffset(0)]
    2024-01-01 05:00:00 -05:00
    Done { rows: Some(1) }
    ");
}

#[test]
fn options_and_isolation_are_remembered() {
    let engine = orders();
    engine
        .run_script(
            "SET TRANSACTION ISOLATION LEVEL SNAPSHOT\nGO\nSELECT id FROM dbo.orders OPTION (MAXDOP 2, RECOMPILE)",
        )
        .unwrap();
    let last = engine.take_records().pop().unwrap();
    assert_eq!((last.options, last.isolation), (vec!["MAXDOP 2, RECOMPILE".to_owned()], "SNAPSHOT"));
}

#[test]
fn what_is_set_inside_a_procedure_ends_with_it() {
    let engine = orders();
    let mut session = engine.sql_session(&Login::default()).unwrap();
    let text = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; SET NOCOUNT ON; SELECT 1 AS a".to_owned();
    let mut ended = Vec::new();
    for request in
        [Request::Parameterized { text, parameters: Vec::new() }, Request::Batch { text: "SELECT 2 AS b".to_owned() }]
    {
        session.execute(request, &mut |event| {
            if let Event::Done { rows } = event {
                ended.push(rows);
            }
            ControlFlow::Continue(())
        });
    }
    assert_eq!(ended, [None, None, None, Some(1)]);
    assert_eq!(engine.take_records().pop().unwrap().isolation, "READ COMMITTED");
}

/// Texts that the host and its datakits send, as they send them.
#[test]
fn the_projects_own_queries_are_known() {
    let engine = crate::erp::open(SqlEngineOptions::default(), 100).unwrap();
    let key = [("@P1", SqlType::Int, Value::Int(3)), ("@P2", SqlType::Int, Value::Int(5))];
    let name = |text: &str| Value::Text(text.to_owned());
    let sysname = SqlType::NVarChar(Length::Limited(4000));
    let schemas = [("@P1", sysname, name("sales")), ("@P2", sysname, name("none"))];
    assert_snapshot!([
        run(
            &engine,
            "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version, CAST(SERVERPROPERTY('Edition') AS \
             nvarchar(128)) AS edition, DB_NAME() AS database_name, SUSER_SNAME() AS login_name",
        ),
        run(
            &engine,
            "/* datakit run r1 */\nSET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED;\nSELECT s.name AS schema_name, o.name AS \
             object_name, o.type AS object_type\nFROM sys.objects AS o\nINNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id\n\
             WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0\nOPTION (MAXDOP 1)",
        ),
        run(
            &engine,
            "SELECT c.column_id AS column_id, c.name AS column_name, t.name AS declared_type, b.name AS base_type, c.max_length AS \
             max_length, c.precision AS numeric_precision, c.scale AS numeric_scale, c.is_nullable AS is_nullable\nFROM sys.columns \
             AS c\nINNER JOIN sys.objects AS o ON o.object_id = c.object_id\nINNER JOIN sys.types AS t ON t.user_type_id = \
             c.user_type_id\nLEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id\nWHERE o.type IN ('U', 'V') AND \
             o.is_ms_shipped = 0 AND o.name = 'all_types'",
        ),
        run_with(
            &engine,
            "SELECT o.name AS object_name, COUNT(*) AS columns FROM sys.columns AS c\nINNER JOIN sys.objects AS o ON o.object_id = \
             c.object_id\nINNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id\nWHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 \
             AND s.name IN (@P1, @P2) GROUP BY o.name ORDER BY o.name",
            &schemas,
        ),
        run(
            &engine,
            "SELECT o.name, SUM(p.rows) AS row_count FROM sys.partitions AS p JOIN sys.objects o ON o.object_id = p.object_id \
             WHERE p.index_id IN (0, 1) GROUP BY o.name ORDER BY o.name",
        ),
        run(&engine, "SELECT MIN([order_id]) AS [low], MAX([order_id]) AS [high] FROM [sales].[orders] WITH (NOLOCK)"),
        run(
            &engine,
            "SELECT q.[bound] AS [bound] FROM (SELECT [product_id] AS [bound], ROW_NUMBER() OVER (ORDER BY [product_id]) AS [ordinal] \
             FROM [sales].[products]) AS q WHERE q.[ordinal] % 4 = 1 AND q.[ordinal] > 1 ORDER BY q.[ordinal]",
        ),
        run_with(&engine, "SELECT [customer_id] FROM [sales].[customers] WHERE [customer_id] < @P1 OR [customer_id] IS NULL", &key),
        run_with(
            &engine,
            "/* datakit run r1 */\nSELECT [customer_id], CONVERT(varchar(27), [created_at], 121) AS [created_at] FROM \
             [sales].[customers] WHERE [customer_id] >= @P1 AND [customer_id] < @P2\nOPTION (MAXDOP 4)",
            &key,
        ),
    ]
    .join("--\n"));
}

use std::time::Duration;

use insta::assert_snapshot;

use super::*;
use crate::sql::{Effect, Fault, errors};

const ALL_TYPES: &str = "CREATE TABLE dbo.all_types (id int NOT NULL, c_bit bit, c_tinyint tinyint, c_smallint smallint, c_bigint bigint, \
    c_real real, c_float float, c_decimal decimal(38,10), c_numeric numeric(9,2), c_money money, c_smallmoney smallmoney, c_date date, \
    c_time time(7), c_datetime datetime, c_smalldatetime smalldatetime, c_datetime2 datetime2(7), c_offset datetimeoffset(7), \
    c_char char(10), c_varchar varchar(50), c_varchar_max varchar(max), c_nchar nchar(5), c_nvarchar nvarchar(50), \
    c_nvarchar_max nvarchar(max), c_text text, c_ntext ntext, c_xml xml, c_json json, c_binary binary(4), c_varbinary varbinary(10), \
    c_varbinary_max varbinary(max), c_image image, c_version rowversion, c_guid uniqueidentifier, c_variant sql_variant, \
    c_hierarchy hierarchyid, c_geometry geometry, c_geography geography, CONSTRAINT PK_all PRIMARY KEY CLUSTERED (id))";

#[test]
fn every_type_can_be_declared_filled_and_read() {
    let engine = engine();
    engine.run_script(ALL_TYPES).unwrap();
    engine
        .run_script(
            "INSERT INTO dbo.all_types (id, c_bit, c_tinyint, c_smallint, c_bigint, c_real, c_float, c_decimal, c_numeric, c_money, \
             c_smallmoney, c_date, c_time, c_datetime, c_smalldatetime, c_datetime2, c_offset, c_char, c_varchar, c_varchar_max, \
             c_nchar, c_nvarchar, c_nvarchar_max, c_text, c_ntext, c_xml, c_json, c_binary, c_varbinary, c_varbinary_max, c_image, \
             c_guid, c_variant, c_hierarchy, c_geometry, c_geography) VALUES \
             (1, 1, 255, -32768, -9223372036854775808, 1.5, -2.5e300, 1234567890123456789012345678.0123456789, -1234567.89, \
             922337203685477.5807, -214748.3648, '0001-01-01', '23:59:59.9999999', '1753-01-01', '2079-06-06 23:59', \
             '9999-12-31 23:59:59.9999999', '0001-01-01 00:00:00 +00:00', 'abc', 'né €', 'long', N'日本', N'😀', N'x', 't', N'n', \
             '<a/>', '{}', 0x01, 0xCAFE, 0x00, 0xFF, '6F9619FF-8B86-D011-B42D-00C04FC964FF', CAST(1.5 AS decimal(4,2)), 0x5AC0, \
             0x00, 0x01); INSERT INTO dbo.all_types (id) VALUES (2)",
        )
        .unwrap();
    assert_snapshot!(run(&engine, "SELECT * FROM dbo.all_types ORDER BY id"));
}

#[test]
fn changes_are_counted_and_refused_as_by_sql_server() {
    let engine = engine();
    engine
        .run_script(
            "CREATE SCHEMA sales\nGO\nCREATE TABLE sales.item (id int IDENTITY(10,5) PRIMARY KEY, name nvarchar(5) NOT NULL, price money NULL \
             DEFAULT 1.5, code varchar(3) NULL)\nGO\nCREATE TABLE sales.pair (a int NOT NULL, b varchar(10) NOT NULL, CONSTRAINT PK_pair \
             PRIMARY KEY (a, b DESC))",
        )
        .unwrap();
    assert_snapshot!(run(
        &engine,
        "INSERT INTO sales.item (name) VALUES (N'a'), (N'b'); SELECT SCOPE_IDENTITY() AS last; SELECT id, name, price FROM sales.item;
         INSERT INTO sales.item (name) VALUES (NULL);
         INSERT INTO sales.item (name) VALUES (N'too long');
         INSERT INTO sales.pair VALUES (1, 'X'); INSERT INTO sales.pair VALUES (1, 'x ');
         UPDATE sales.item SET price = price * 2, name = N'c' WHERE id = 15; SELECT @@ROWCOUNT AS n, @@ERROR AS e;
         DELETE FROM sales.item WHERE name = 'C';
         INSERT INTO sales.pair SELECT id, name FROM sales.item;
         SELECT COUNT(*) AS n FROM sales.pair;
         INSERT INTO sales.pair VALUES (1);"
    ));
    let rows = "SELECT SUM(row_count) AS n FROM sys.dm_db_partition_stats WHERE object_id = OBJECT_ID('sales.pair') AND index_id IN (0, 1)";
    assert!(run(&engine, rows).contains("\n2\n"));
}

#[test]
fn transactions_roll_back_whole() {
    let engine = engine();
    engine.run_script("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)").unwrap();
    assert_snapshot!(run(
        &engine,
        "BEGIN TRAN; INSERT INTO dbo.t VALUES (1); SELECT @@TRANCOUNT AS n; ROLLBACK; SELECT COUNT(*) AS n FROM dbo.t;
         BEGIN TRANSACTION; INSERT INTO dbo.t VALUES (2); COMMIT TRANSACTION; SELECT id FROM dbo.t; COMMIT"
    ));
}

#[test]
fn variables_and_conditions_work() {
    assert_snapshot!(run(
        &engine(),
        "DECLARE @n int = 3, @s nvarchar(10); SET @s = N'x' + CAST(@n AS nvarchar(5)); SELECT @n = @n + 1; \
         IF @n = 4 BEGIN SELECT @s AS s, @n AS n END ELSE SELECT 0 AS wrong; IF EXISTS (SELECT 1 WHERE 1 = 0) PRINT 'no' ELSE PRINT 'yes'"
    ));
}

#[test]
fn what_is_denied_cannot_be_read_but_through_a_view() {
    let engine = engine();
    engine
        .run_script("CREATE TABLE dbo.secret (id int)\nGO\nCREATE VIEW dbo.shown AS SELECT id FROM dbo.secret")
        .unwrap();
    engine.set_denied("dbo.Secret", true);
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.secret"), 229);
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.shown"), 0);
    assert_snapshot!(run(
        &engine,
        "SELECT o.name, HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') AS may_select, \
         HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT', N'id', 'COLUMN') AS may_select_id \
         FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.name IN ('secret', 'shown') ORDER BY o.name; \
         SELECT HAS_PERMS_BY_NAME('dbo.SECRET', 'OBJECT', 'SELECT') AS denied, HAS_PERMS_BY_NAME(NULL, NULL, 'CONNECT SQL') AS server"
    ));
    engine.set_denied("dbo.secret", false);
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.secret"), 0);
}

#[test]
fn faults_strike_where_and_as_often_as_asked() {
    let engine = engine();
    engine
        .run_script("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.t VALUES (1), (2), (3)")
        .unwrap();
    engine.add_fault(Fault {
        table: "dbo.T".to_owned(),
        after_rows: 2,
        effect: Effect::Error(errors::deadlock(51)),
        times: 1,
    });
    assert_eq!(error_number(&engine, "SELECT name FROM sys.tables"), 0);
    let first = run(&engine, "SELECT id FROM dbo.t");
    assert!(first.starts_with("[id int not null]\n1\n2\nerror Msg 1205, Level 13"), "{first}");
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.t"), 0);
    engine.add_fault(Fault {
        table: String::new(),
        after_rows: 0,
        effect: Effect::Pause(Duration::from_millis(1)),
        times: 1,
    });
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.t"), 0);
}

#[test]
fn definitions_are_checked() {
    let engine = engine();
    let cases = [
        ("CREATE TABLE nowhere.t (id int)", 2760),
        ("CREATE TABLE dbo.t (id int, ID int)", 2705),
        ("CREATE TABLE dbo.t (id decimal(39,0))", 1001),
        ("CREATE TABLE dbo.t (id int)", 0),
        ("CREATE TABLE dbo.T (id int)", 2714),
        ("ALTER TABLE dbo.t ADD extra varchar(10) NULL", 0),
        ("SELECT extra FROM dbo.t", 0),
        ("INSERT INTO dbo.t (id, extra) VALUES ('x', 'y')", 245),
        ("DROP TABLE dbo.nothing", 3701),
        ("DROP TABLE IF EXISTS dbo.nothing", 0),
        ("DROP VIEW dbo.t", 3701),
        ("DROP TABLE dbo.t", 0),
        ("SELECT * FROM dbo.t", 208),
    ];
    let found: Vec<(&str, i32)> = cases.iter().map(|(text, _)| (*text, error_number(&engine, text))).collect();
    assert_eq!(found, cases);
}

#[test]
fn columns_are_dropped_altered_and_renamed() {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a int NULL, b varchar(5) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, 2, '3')",
        )
        .unwrap();
    let mut client = Client::of(&engine);
    client.run("ALTER TABLE dbo.t ALTER COLUMN a decimal(9, 2) NOT NULL; ALTER TABLE dbo.t ALTER COLUMN b int");
    assert_eq!(client.ask("SELECT a, b + 1 AS b FROM dbo.t"), "2.00 4");
    assert_eq!(client.ask("INSERT INTO dbo.t VALUES (2, NULL, 1)"), "error 515");
    client.run(
        "ALTER TABLE dbo.t DROP COLUMN a; ALTER TABLE dbo.t ADD c int NULL; EXEC sp_rename 'dbo.t.b', 'd', 'COLUMN'",
    );
    assert_eq!(
        client.ask("SELECT name, column_id FROM sys.columns WHERE object_id = OBJECT_ID('dbo.t') ORDER BY column_id"),
        "id 1; d 3; c 4"
    );
    client.run("EXEC sp_rename 'dbo.t', 'u'");
    assert_eq!(client.ask("SELECT id, d, c FROM dbo.u"), "1 3 NULL");
    assert_eq!(client.ask("ALTER TABLE dbo.u DROP COLUMN id"), "error 4922");
    assert_eq!(client.ask("ALTER TABLE dbo.u ALTER COLUMN x int"), "error 4924");
}

#[test]
fn a_lone_surrogate_survives() {
    let engine = engine();
    engine.run_script("CREATE TABLE dbo.t (id int NOT NULL, s nvarchar(10) NULL)").unwrap();
    let lone = Value::Utf16(vec![0x61, 0xd83d, 0x62]);
    engine.load_rows("dbo", "t", [vec![Value::Int(1), lone.clone()]]).unwrap();
    let results = engine.run_script("SELECT s FROM dbo.t WHERE LEN(s) = 3").unwrap();
    assert_eq!(results[0].rows, [[lone]]);
}

#[test]
fn data_in_a_file_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqlEngineOptions { file: Some(directory.path().join("erp.sqlite")), ..SqlEngineOptions::default() };
    SqlEngine::open(options.clone())
        .unwrap()
        .run_script("CREATE TABLE dbo.t (id int)\nGO\nINSERT INTO dbo.t VALUES (7)")
        .unwrap();
    let results = SqlEngine::open(options).unwrap().run_script("SELECT id FROM dbo.t").unwrap();
    assert_eq!(results[0].rows, [[Value::Int(7)]]);
}

#[test]
fn a_database_of_ones_own_holds_its_own_tables() {
    let engine = engine();
    assert_eq!(run(&engine, "CREATE DATABASE [other one]"), "Done { rows: None }\n");
    assert_eq!(error_number(&engine, "CREATE DATABASE [Other One]"), 1801);
    let other = Login { database: "OTHER one".to_owned(), ..Login::default() };
    let mut session = engine.sql_session(&other).unwrap();
    assert_eq!(session.database(), "other one");
    let mut numbers = Vec::new();
    for text in ["CREATE TABLE dbo.t (id int)", "SELECT id FROM dbo.t", "CREATE DATABASE nested"] {
        session.execute(Request::Batch { text: text.to_owned() }, &mut |event| {
            if let Event::Error(error) = event {
                numbers.push(error.number);
            }
            ControlFlow::Continue(())
        });
    }
    assert_eq!(numbers, [262]);
    assert_eq!(error_number(&engine, "SELECT id FROM dbo.t"), 208);
    assert_eq!(run(&engine, "DROP DATABASE [other one]"), "Done { rows: None }\n");
    assert_eq!(error_number(&engine, "DROP DATABASE [other one]"), 3701);
    assert_eq!(engine.sql_session(&other).unwrap_err().number, 4060);
}

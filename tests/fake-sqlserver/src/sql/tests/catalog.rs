use insta::assert_snapshot;

use super::*;

fn shop() -> SqlEngine {
    let engine = engine();
    engine
        .run_script(
            "CREATE SCHEMA sales\nGO\nCREATE TABLE dbo.t_types (id int NOT NULL PRIMARY KEY, name nvarchar(50) NULL, amount decimal(10,2) NOT NULL, \
             at datetime2(3) NULL, big varchar(max) NULL, f float NULL, d date NULL)\nGO\n\
             CREATE TABLE sales.[odd ]]name] (a int NOT NULL, [b c] varchar(5) NOT NULL, CONSTRAINT [PK odd] PRIMARY KEY ([b c], a))\nGO\n\
             CREATE TABLE sales.heap (x int)\nGO\nCREATE VIEW sales.v AS SELECT id, name AS [the name] FROM dbo.t_types\nGO\n\
             INSERT INTO dbo.t_types (id, amount) VALUES (1, 1), (2, 2)",
        )
        .unwrap();
    engine
}

#[test]
fn information_schema_describes_columns() {
    assert_snapshot!(run(
        &shop(),
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, \
         NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 't_types' \
         ORDER BY ORDINAL_POSITION"
    ));
}

#[test]
fn primary_keys_are_found_by_joins_of_sys() {
    assert_snapshot!(run(
        &shop(),
        "SELECT s.name AS schema_name, t.name AS table_name, c.name AS column_name, ic.key_ordinal FROM sys.tables t JOIN sys.schemas s \
         ON s.schema_id = t.schema_id JOIN sys.indexes i ON i.object_id = t.object_id AND i.is_primary_key = 1 JOIN sys.index_columns ic \
         ON ic.object_id = i.object_id AND ic.index_id = i.index_id JOIN sys.columns c ON c.object_id = ic.object_id AND \
         c.column_id = ic.column_id ORDER BY 1, 2, 4"
    ));
}

#[test]
fn tables_views_rows_and_types_are_described() {
    assert_snapshot!(run(
        &shop(),
        "SELECT s.name, o.name, RTRIM(o.type) AS kind, SUM(p.row_count) AS n, SUM(p.used_page_count) * 8192 AS bytes FROM sys.objects o \
         JOIN sys.schemas s ON s.schema_id = o.schema_id LEFT JOIN sys.dm_db_partition_stats p ON p.object_id = o.object_id AND \
         p.index_id IN (0, 1) WHERE o.type IN ('U', 'V') GROUP BY s.name, o.name, o.type ORDER BY 1, 2;
         SELECT c.name, ty.name AS type_name, c.max_length, c.precision, c.scale, c.is_nullable, c.is_identity, TYPE_NAME(c.user_type_id) AS tn \
         FROM sys.columns c JOIN sys.types ty ON ty.user_type_id = c.user_type_id WHERE c.object_id = OBJECT_ID(N'dbo.t_types') ORDER BY c.column_id;
         SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('[sales].[odd ]]name]') ORDER BY column_id;
         SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES ORDER BY 1, 2;
         SELECT CONSTRAINT_NAME, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION FROM INFORMATION_SCHEMA.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = 'sales' ORDER BY 4;
         SELECT name, snapshot_isolation_state_desc FROM sys.databases ORDER BY database_id;
         SELECT i.type_desc, i.index_id FROM sys.indexes i WHERE i.object_id = OBJECT_ID('sales.heap')"
    ));
}

#[test]
fn every_catalog_view_can_be_read_whole() {
    let engine = shop();
    engine.run_script("EXEC sys.sp_cdc_enable_db").unwrap();
    for view in crate::sql::catalog::views::every_view() {
        let text = format!("SELECT * FROM {}.{}", view.schema, view.name);
        let answer = run(&engine, &text);
        assert!(!answer.contains("error"), "{text}: {answer}");
    }
}

#[test]
fn internal_hidden_and_refused_columns_are_reported_and_guarded() {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.node (graph_id_A bigint NOT NULL, [$node_id_A] nvarchar(1000) NULL, name nvarchar(40) NULL, \
             since datetime2(3) NULL, pay money NULL)\nGO\nCREATE VIEW dbo.shown AS SELECT name, pay FROM dbo.node",
        )
        .unwrap();
    for (column, fact, value) in [
        ("graph_id_A", "graph_type", 1),
        ("$node_id_A", "graph_type", 2),
        ("since", "is_hidden", 1),
        ("name", "is_masked", 1),
    ] {
        engine.set_column_fact("dbo.node", column, fact, value).unwrap();
    }
    assert_snapshot!(run(
        &engine,
        "SELECT c.name, c.graph_type, c.is_hidden, c.is_masked, c.is_column_set, c.encryption_type FROM sys.columns AS c \
         WHERE c.object_id = OBJECT_ID('dbo.node') ORDER BY c.column_id; SELECT * FROM dbo.node; \
         SELECT c.name AS column_name FROM sys.all_columns AS c INNER JOIN sys.all_objects AS o ON o.object_id = c.object_id \
         WHERE o.name = 'columns' AND o.is_ms_shipped = 1 AND c.name IN ('is_masked', 'graph_type')"
    ));
    assert_eq!(error_number(&engine, "SELECT graph_id_A FROM dbo.node"), 13908);
    assert_eq!(error_number(&engine, "SELECT [$node_id_A], since FROM dbo.node"), 0);
    engine.set_column_fact("dbo.node", "pay", "denied", 1).unwrap();
    assert_eq!(error_number(&engine, "SELECT pay FROM dbo.node"), 230);
    assert_eq!(error_number(&engine, "SELECT * FROM dbo.node"), 230);
    assert_eq!(error_number(&engine, "SELECT pay FROM dbo.shown"), 0);
    assert_eq!(error_number(&engine, "SELECT nothing FROM dbo.node"), 207);
}

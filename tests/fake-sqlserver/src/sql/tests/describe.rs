use insta::assert_snapshot;

use super::*;
use crate::engine::Request;
use crate::erp;
use crate::fast::FastTable;
use crate::sql::describe;

/// The columns of a description that differ from column to column.
fn described(engine: &SqlEngine, text: &str) -> String {
    const SHOWN: [&str; 13] = [
        "column_ordinal",
        "name",
        "is_nullable",
        "system_type_id",
        "system_type_name",
        "max_length",
        "precision",
        "scale",
        "collation_name",
        "user_type_name",
        "tds_type_id",
        "tds_collation_id",
        "tds_collation_sort_id",
    ];
    let names: Vec<String> = describe::columns().into_iter().map(|column| column.name).collect();
    let places: Vec<usize> = SHOWN.iter().map(|name| names.iter().position(|n| n == name).unwrap()).collect();
    let mut lines = vec![SHOWN.join(" | ")];
    let mut session = engine.sql_session(&Login::default()).unwrap();
    session.execute(Request::Batch { text: text.to_owned() }, &mut |event| {
        match event {
            Event::Row(row) => {
                let shown: Vec<String> =
                    places.iter().map(|at| cell_text(&row[*at], describe::columns()[*at].sql_type)).collect();
                lines.push(shown.join(" | "));
            }
            Event::Error(error) => lines.push(format!("error {error}")),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    lines.join("\n")
}

#[test]
fn every_type_is_described() {
    let engine = engine();
    erp::load(&engine, 10).unwrap();
    assert_snapshot!(described(&engine, "EXEC sp_describe_first_result_set N'SELECT * FROM dbo.all_types'"));
}

#[test]
fn a_description_is_of_the_columns_that_the_query_gives() {
    let fast_tables = vec![std::sync::Arc::new(FastTable::orders("orders", 1000))];
    let engine = SqlEngine::open(SqlEngineOptions { fast_tables, ..SqlEngineOptions::default() }).unwrap();
    assert_snapshot!(
        [
            described(&engine, "EXEC sys.sp_describe_first_result_set @tsql = N'SELECT * FROM fast.orders'"),
            described(
                &engine,
                "DECLARE @t nvarchar(100) = N'SELECT id, @P1 AS p, @P2 + 1 AS q, 1 FROM fast.orders WHERE id > @P2';
                 EXEC [sys].[sp_describe_first_result_set] @params = N'@P1 decimal(9,2), @P2 bigint', @tsql = @t"
            ),
            described(&engine, "EXEC sp_describe_first_result_set N'SET NOCOUNT ON', NULL, 0"),
        ]
        .join("\n--\n")
    );
    let whole = run(&engine, "EXEC sp_describe_first_result_set N'SELECT TOP (1) id FROM fast.orders'");
    assert_snapshot!(whole);
}

#[test]
fn what_cannot_be_described_is_an_error() {
    let engine = engine();
    assert_snapshot!(
        [
            "EXEC sp_describe_first_result_set N'SELECT a FROM dbo.missing'",
            "EXEC sp_describe_first_result_set N'SELECT FROM'",
            "EXEC sp_describe_first_result_set N'SELECT @P1 AS a'",
            "EXEC sp_describe_first_result_set",
            "EXEC sp_describe_first_result_set N'SELECT 1 AS a', @nothing = 1",
            "EXEC sp_describe_first_result_set N'SELECT 1 AS a', NULL, 0, 0",
            "EXEC sp_describe_first_result_set N'SELECT 1 AS a', NULL, 1",
            "EXEC sp_describe_first_result_set 1",
            "EXEC dbo.sp_something",
        ]
        .map(|text| format!("{text}\n{}", run(&engine, text)))
        .join("--\n")
    );
}

use std::sync::Arc;

use insta::assert_snapshot;

use super::*;
use crate::fast::FastTable;

fn fast() -> SqlEngine {
    let fast_tables = vec![Arc::new(FastTable::orders("orders", 100_000)), Arc::new(FastTable::narrow("narrow", 10))];
    SqlEngine::open(SqlEngineOptions { fast_tables, ..SqlEngineOptions::default() }).unwrap()
}

#[test]
fn key_ranges_go_out_as_prepared_rows() {
    let engine = fast();
    let key = ("@P1", SqlType::BigInt, Value::Int(50_000));
    assert_snapshot!(
        [
            run(&engine, "SELECT * FROM fast.orders"),
            run(&engine, "SELECT id, guid FROM fast.orders WHERE id >= 10 AND id < 20 ORDER BY id"),
            run(&engine, "SELECT o.id FROM fast.orders AS o WITH (NOLOCK) WHERE (o.id < 5 OR o.id IS NULL)"),
            run(&engine, "SELECT TOP (3) id FROM fast.orders WHERE id BETWEEN 99999 AND 2000000"),
            run_with(&engine, "SELECT [id] FROM [fast].[orders] WHERE [id] >= @P1", &[key]),
        ]
        .join("--\n")
    );
}

#[test]
fn every_other_query_runs_over_the_virtual_table() {
    assert_snapshot!(run(
        &fast(),
        "SELECT MIN(id) AS lo, MAX(id) AS hi, COUNT_BIG(*) AS n FROM fast.orders;
         SELECT id, value FROM fast.narrow WHERE id > 7 ORDER BY id DESC;
         SELECT id FROM fast.narrow WHERE id = 3 AND value IS NOT NULL;
         SELECT t, MIN(id) AS lo FROM (SELECT id, NTILE(4) OVER (ORDER BY id) AS t FROM fast.orders) q GROUP BY t ORDER BY t;
         SELECT t.name, p.rows FROM sys.tables t JOIN sys.partitions p ON p.object_id = t.object_id ORDER BY 1"
    ));
}

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

/// What ConnectorX and SQLAlchemy make of a plain SELECT.
#[test]
fn a_query_around_a_key_range_is_a_key_range() {
    let engine = fast();
    assert_snapshot!(
        [
            run(
                &engine,
                "SELECT * FROM (SELECT id, guid AS g FROM fast.orders) AS p WHERE p.id >= 99998 AND p.id < 200000"
            ),
            run(&engine, "SELECT p.g FROM (SELECT TOP 3 id, guid AS g FROM fast.orders) AS p WHERE p.id > 1"),
            run(
                &engine,
                "SELECT fast.orders.id, orders.is_open FROM fast.orders WHERE fast.orders.id<@P1 - 99997"
                    .replace("@P1", "100000")
                    .as_str()
            ),
            run(&engine, "SELECT COUNT(*) FROM (SELECT id AS k, guid FROM fast.orders) AS c WHERE c.k BETWEEN 5 AND 7"),
            run(
                &engine,
                "SELECT MIN(r.id), MAX(r.id), COUNT_BIG(*) AS n FROM (SELECT * FROM fast.orders WHERE id > 10) AS r"
            ),
            run(&engine, "SELECT MIN(id) AS low, COUNT(*) AS n FROM fast.orders WHERE id > 100000"),
        ]
        .join("--\n")
    );
}

/// Both ways to a row give the same row, whatever digits a type has.
#[test]
fn prepared_rows_are_those_of_the_virtual_table() {
    let tables =
        [FastTable::orders("orders", 5_000), FastTable::wide("wide", 5_000), FastTable::long_text("text", 5_000)];
    let fast_tables = tables.into_iter().map(Arc::new).collect();
    let engine = SqlEngine::open(SqlEngineOptions { fast_tables, ..SqlEngineOptions::default() }).unwrap();
    for table in ["orders", "wide", "text"] {
        let fast = engine.run_script(&format!("SELECT * FROM fast.{table} WHERE id < 300")).unwrap();
        // A condition that no plan knows.
        let slow = engine.run_script(&format!("SELECT * FROM fast.{table} WHERE id + 0 < 300")).unwrap();
        assert_eq!(slow[0].rows.len(), 299);
        assert!(fast == slow, "{table}");
    }
}

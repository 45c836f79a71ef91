//! The ERP over the wire: every table read by both drivers, and read alike.

use std::sync::Arc;

use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_fake_sqlserver::{FakeSqlServer, Options, erp};

use crate::common::{mssql, tib};

/// Types that tiberius does not read.
const NOT_BY_TIBERIUS: [&str; 5] = ["sql_variant", "hierarchyid", "geometry", "geography", "json"];

fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// The text of a cell, without the quotes it prints in.
fn plain(cell: &str) -> String {
    serde_json::from_str(cell).unwrap_or_else(|_| cell.to_owned())
}

#[tokio::test]
async fn every_table_of_the_erp_reads_alike_by_both_drivers() {
    let options = SqlEngineOptions { database: "testdb".to_owned(), ..SqlEngineOptions::default() };
    let engine = erp::open(options, 300).unwrap();
    let running = FakeSqlServer::start(Options::default(), Arc::new(engine)).unwrap();
    let mut first = mssql::to(&running).await;
    let mut second = tib::to(&running).await;
    let columns = "SELECT s.name, o.name, c.name, TYPE_NAME(c.user_type_id) FROM sys.columns c JOIN sys.objects o \
                   ON o.object_id = c.object_id JOIN sys.schemas s ON s.schema_id = o.schema_id ORDER BY 1, 2, c.column_id";
    let listed = mssql::batch(&mut first, columns).await;
    assert_eq!(tib::lines(second.simple_query(columns).await).await, listed);
    let mut tables: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
    for line in &listed[1..] {
        let cells: Vec<String> = line.trim_start_matches("row ").split(" | ").map(plain).collect();
        let [schema, table, column, sql_type] = cells.as_slice() else { panic!("{line}") };
        let name = format!("{}.{}", quoted(schema), quoted(table));
        if tables.last().is_none_or(|last| last.0 != name) {
            tables.push((name, Vec::new(), Vec::new()));
        }
        let (_, every, common) = tables.last_mut().unwrap();
        every.push(quoted(column));
        if !NOT_BY_TIBERIUS.contains(&sql_type.as_str()) {
            common.push(quoted(column));
        }
    }
    assert_eq!(tables.len(), 17);
    for (name, every, common) in tables {
        let count = mssql::batch(&mut first, &format!("SELECT COUNT(*) FROM {name}")).await;
        let whole = mssql::batch(&mut first, &format!("SELECT {} FROM {name}", every.join(", "))).await;
        assert_eq!(count[1], format!("row {}", whole.len() - 1), "{name}");
        assert!(!whole.iter().any(|line| line.starts_with("error")), "{name}: {:?}", whole.last());
        let sql = format!("SELECT {} FROM {name}", common.join(", "));
        let by_tiberius = tib::lines(second.simple_query(sql.as_str()).await).await;
        assert_eq!(mssql::batch(&mut first, &sql).await, by_tiberius, "{name}");
    }
}

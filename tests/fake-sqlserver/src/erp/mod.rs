//! A small company's ERP: the tables that demos and end-to-end tests move.
//!
//! Names are as people make them (spaces, brackets, dots, quotes, umlauts, emoji, reserved words), and so are the tables:
//! one without a primary key, one without rows, one with a key of several columns, one with a skewed key, one keyed by
//! uniqueidentifier, one keyed by date, a view, and a table of every type with nulls and extremes. All rows follow from
//! [`SEED`]: the same scale gives the same rows, on every machine.

mod every_type;
mod random;
mod sales;
mod schema;
mod works;

pub use every_type::ROWS as EVERY_TYPE_ROWS;

use std::path::PathBuf;

use crate::sql::{OpenError, SqlEngine, SqlEngineOptions};
use crate::values::{SqlError, Value};

/// Where all rows come from.
pub const SEED: u64 = 0x0045_5250;

/// Rows over all tables that [`load`] makes when it is asked for this many or fewer order lines.
pub const DEFAULT_SCALE: u64 = 100_000;

/// A table of the ERP and how many rows it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedTable {
    /// Schema.
    pub schema: &'static str,
    /// Name.
    pub name: &'static str,
    /// Rows.
    pub rows: u64,
}

type Rows = Box<dyn Iterator<Item = Vec<Value>>>;

/// Creates the ERP's tables and fills them. `scale` is the number of order lines; other tables follow in proportion, so that
/// [`DEFAULT_SCALE`] makes a little over 300,000 rows in all.
///
/// # Errors
///
/// Whatever the engine says: 2714 when the tables are there already.
pub fn load(engine: &SqlEngine, scale: u64) -> Result<Vec<LoadedTable>, SqlError> {
    engine.run_script(schema::TABLES)?;
    let mut loaded = Vec::new();
    for (schema, name, rows) in tables(scale.max(100)) {
        loaded.push(LoadedTable { schema, name, rows: engine.load_rows(schema, name, rows)? });
    }
    engine.run_script(schema::VIEWS)?;
    Ok(loaded)
}

/// Opens an engine that holds the ERP. One with a file is filled once: a file that is there is taken as it is, and a new one
/// appears under its name only when it is whole.
///
/// # Errors
///
/// [`OpenError`] when the storage cannot be opened or filled.
pub fn open(options: SqlEngineOptions, scale: u64) -> Result<SqlEngine, OpenError> {
    let Some(file) = options.file.clone().filter(|file| !file.exists()) else {
        let engine = SqlEngine::open(options)?;
        if !is_loaded(&engine)? {
            load(&engine, scale)?;
        }
        return Ok(engine);
    };
    let mut unfinished = file.clone().into_os_string();
    unfinished.push(format!(".{}.partial", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    load(&SqlEngine::open(SqlEngineOptions { file: Some(unfinished.clone()), ..options.clone() })?, scale)?;
    std::fs::rename(&unfinished, &file)?;
    SqlEngine::open(options)
}

/// Whether [`load`] has filled this engine before: one with a file keeps its data.
///
/// # Errors
///
/// Whatever the engine says.
pub fn is_loaded(engine: &SqlEngine) -> Result<bool, SqlError> {
    // The views come last: without them a load was cut short.
    let found = engine.run_script("SELECT name FROM sys.views WHERE object_id = OBJECT_ID('sales.open_orders')")?;
    Ok(found.first().is_some_and(|result| !result.rows.is_empty()))
}

fn tables(scale: u64) -> Vec<(&'static str, &'static str, Rows)> {
    vec![
        ("sales", "customers", sales::customers(scale)),
        ("sales", "addresses", sales::addresses(scale)),
        ("sales", "products", sales::products(scale)),
        ("sales", "orders", sales::orders(scale)),
        ("sales", "order_lines", sales::order_lines(scale)),
        ("sales", "Payments", sales::payments(scale)),
        ("finance", "invoices", sales::invoices(scale)),
        ("finance", "exchange_rates", works::exchange_rates()),
        ("hr", "employees", works::employees(scale)),
        ("warehouse", "Stock Movements", works::stock_movements(scale)),
        ("dbo", "audit_log", works::audit_log(scale)),
        ("dbo", "events", works::events(scale)),
        ("dbo", "all_types", every_type::rows()),
        ("odd.schema", "order]s \"2024\" 🦀, naïve; größe=1", works::odd(200)),
        ("odd.schema", "select", works::odd(20)),
        ("archive", "orders_2019", Box::new(std::iter::empty())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(engine: &SqlEngine, table: &str) -> i64 {
        match engine.run_script(&format!("SELECT COUNT_BIG(*) FROM {table}")).unwrap()[0].rows[0][0] {
            Value::Int(count) => count,
            ref other => panic!("{other:?}"),
        }
    }

    fn quoted(name: &str) -> String {
        format!("[{}]", name.replace(']', "]]"))
    }

    #[test]
    fn the_default_scale_is_a_real_companys() {
        let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
        assert!(!is_loaded(&engine).unwrap());
        let loaded = load(&engine, DEFAULT_SCALE).unwrap();
        assert!(is_loaded(&engine).unwrap());
        let total: u64 = loaded.iter().map(|table| table.rows).sum();
        assert!(total >= 200_000, "{total}");
        assert!(loaded.len() >= 8);
        assert!(loaded.iter().any(|table| table.rows == 0));
        for table in &loaded {
            let name = format!("{}.{}", quoted(table.schema), quoted(table.name));
            assert_eq!(count(&engine, &name), i64::try_from(table.rows).unwrap(), "{name}");
        }
        let without_key = "sys.tables t WHERE NOT EXISTS (SELECT 1 FROM sys.indexes i WHERE i.object_id = t.object_id AND i.is_primary_key = 1)";
        assert_eq!(count(&engine, without_key), 1);
        assert!(count(&engine, "sales.open_orders") > 1_000);
    }

    #[test]
    fn every_type_of_the_engine_is_used() {
        let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
        load(&engine, 100).unwrap();
        let unused = "SELECT name FROM sys.types t WHERE NOT EXISTS (SELECT 1 FROM sys.columns c WHERE c.user_type_id = t.user_type_id)";
        let rows = engine.run_script(unused).unwrap().remove(0).rows;
        assert_eq!(rows, [[Value::Text("sysname".to_owned())]], "sysname columns are nvarchar(128) once declared");
    }

    #[test]
    fn the_same_scale_gives_the_same_rows() {
        let contents = || {
            let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
            load(&engine, 300).unwrap();
            ["sales.customers", "sales.order_lines", "dbo.audit_log", "dbo.all_types", "[odd.schema].[select]"]
                .map(|table| engine.run_script(&format!("SELECT * FROM {table}")).unwrap())
        };
        assert_eq!(contents(), contents());
    }

    #[test]
    fn a_file_keeps_what_was_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let options =
            SqlEngineOptions { file: Some(directory.path().join("erp.sqlite")), ..SqlEngineOptions::default() };
        drop(open(options.clone(), 100).unwrap());
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, ["erp.sqlite"]);
        let engine = open(options, 100).unwrap();
        assert!(is_loaded(&engine).unwrap());
        assert_eq!(count(&engine, "dbo.all_types"), i64::try_from(EVERY_TYPE_ROWS).unwrap());
    }
}

//! The clients people use from Python: Microsoft's ODBC driver by way of mssql-python, pyodbc and arrow-odbc, and ConnectorX.
//!
//! Each reads the benchmark's table and the table of every type; `clients.py` compares what it got with what the fake SQL
//! Server holds, to the last digit that the client has room for.

use std::process::Command;
use std::sync::Arc;

use datakit_fake_sqlserver::fast::FastTable;
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::values::Value;
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, erp};
use serde_json::{Value as Json, json};

/// Rows of the generated table: more than the rows encoded once, and than a packet holds.
const FAST_ROWS: u64 = 10_000;

/// A value in JSON, nothing lost: what JSON has no type for is an object that says what it is.
fn exact(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bit(bit) => json!(bit),
        Value::Int(integer) => json!(integer),
        Value::Real(real) => json!(f64::from(*real)),
        Value::Float(float) => json!(float),
        Value::Decimal { unscaled, scale } => json!({ "decimal": [unscaled.to_string(), scale] }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => json!({ "bytes": hex::encode(bytes) }),
        Value::Date { days } => json!({ "date": days }),
        Value::Time { ticks } => json!({ "time": ticks }),
        Value::DateTime { days, three_hundredths } => json!({ "datetime": [days, three_hundredths] }),
        Value::SmallDateTime { days, minutes } => json!({ "smalldatetime": [days, minutes] }),
        Value::DateTime2 { days, ticks } => json!({ "datetime2": [days, ticks] }),
        Value::DateTimeOffset { days, ticks, offset_minutes } => {
            json!({ "datetimeoffset": [days, ticks, offset_minutes] })
        }
        Value::Uuid(bytes) => json!({ "uuid": uuid::Uuid::from_bytes(*bytes).to_string() }),
        Value::Variant(variant) => exact(&variant.value),
        Value::Utf16(_) => panic!("no table of these tests has a lone surrogate"),
    }
}

fn read_by(client: &str) {
    let python =
        std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names the tests' Python: run ./test");
    let fast = FastTable { schema: "dbo".into(), ..FastTable::orders("fast", FAST_ROWS) };
    let engine =
        SqlEngine::open(SqlEngineOptions { fast_tables: vec![Arc::new(fast)], ..SqlEngineOptions::default() }).unwrap();
    erp::load(&engine, 100).unwrap();
    let mut expected = serde_json::Map::new();
    for table in ["dbo.fast", "dbo.all_types"] {
        let held = engine.run_script(&format!("SELECT * FROM {table} ORDER BY id")).unwrap().remove(0);
        let columns: Vec<&str> = held.columns.iter().map(|column| column.name.as_str()).collect();
        let rows: Vec<Vec<Json>> = held.rows.iter().map(|row| row.iter().map(exact).collect()).collect();
        expected.insert(table.to_owned(), json!({ "columns": columns, "rows": rows }));
    }
    let running =
        FakeSqlServer::start(Options { encrypt: Encrypt::On, ..Options::default() }, Arc::new(engine)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("expected.json");
    std::fs::write(&file, Json::Object(expected).to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/clients.py");
    let output = Command::new(python)
        .arg(script)
        .args([client, &running.port().to_string()])
        .arg(&file)
        .arg(running.ca_pem_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // One line a check: a script that ended early has said fewer.
    insta::assert_snapshot!(format!("client_{client}"), String::from_utf8_lossy(&output.stdout));
}

#[test]
fn mssql_python_reads_what_is_there() {
    read_by("mssql_python");
}

#[test]
fn pyodbc_reads_what_is_there() {
    read_by("pyodbc");
}

#[test]
fn arrow_odbc_reads_what_is_there() {
    read_by("arrow_odbc");
}

#[test]
fn connectorx_reads_what_is_there() {
    read_by("connectorx");
}

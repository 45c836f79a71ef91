//! Clients that are not ours read text of every collation: Microsoft's ODBC driver, by way of pyodbc.

use std::process::Command;
use std::sync::Arc;

use datakit_fake_sqlserver::collations::{Server, documented};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options};
use serde_json::json;

#[test]
fn microsofts_driver_reads_every_documented_collation_as_pythons_codecs_do() {
    let python =
        std::env::var_os("DATAKIT_TEST_PYTHON").expect("DATAKIT_TEST_PYTHON names the tests' Python: run ./test");
    let collations = documented();
    let expected: serde_json::Map<String, serde_json::Value> =
        collations.iter().map(|it| (it.name.clone(), json!([it.code_page, it.text]))).collect();
    let running =
        FakeSqlServer::start(Options { encrypt: Encrypt::On, ..Options::default() }, Arc::new(Server::of(collations)))
            .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("expected.json");
    std::fs::write(&file, serde_json::Value::Object(expected).to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/collations.py");
    let output = Command::new(python).args([script, &running.port().to_string()]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    insta::assert_snapshot!("collations_pyodbc", String::from_utf8_lossy(&output.stdout));
}

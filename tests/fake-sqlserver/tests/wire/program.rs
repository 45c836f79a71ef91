//! The fake SQL Server as a program: its one line, its tables, its end.

use std::process::Stdio;

use tiberius::{AuthMethod, EncryptionLevel};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::common::tib;

async fn start(arguments: &[&str]) -> (Child, serde_json::Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-sqlserver"))
        .args(arguments)
        .env("FAKE_SQLSERVER_PASSWORD", "Another 1!")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn it_serves_what_it_was_told_and_ends_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("start.sql");
    std::fs::write(&script, "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL);\n").unwrap();
    let (mut child, ready) = start(&[
        "--certificate-dir",
        directory.path().to_str().unwrap(),
        "--script",
        script.to_str().unwrap(),
        "--fast-table",
        "orders=10_000",
        "--user",
        "reader",
        "--database-name",
        "shop",
        "--switch",
        "capture=on-command",
    ])
    .await;
    let mut config = tib::config(ready["address"].as_str().unwrap().parse().unwrap(), EncryptionLevel::Required);
    config.authentication(AuthMethod::sql_server("reader", "Another 1!"));
    config.database(ready["database"].as_str().unwrap());
    config.trust_cert_ca(ready["ca_file"].as_str().unwrap());
    let mut client = tib::connect(config).await.unwrap();
    assert_eq!(tib::lines(client.simple_query("SELECT name FROM dbo.t").await).await, ["columns name"]);
    let sql = "SELECT [id], [guid] FROM [fast].[orders] WHERE [id] >= 9998 AND [id] < 20000";
    let lines = tib::lines(client.simple_query(sql).await).await;
    assert_eq!((lines.len(), lines[0].as_str()), (4, "columns id guid"));
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn it_says_what_is_missing() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fake-sqlserver"))
        .env_remove("FAKE_SQLSERVER_PASSWORD")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reported = String::new();
    child.stderr.take().unwrap().read_to_string(&mut reported).await.unwrap();
    assert!(!child.wait().await.unwrap().success());
    assert!(reported.contains("FAKE_SQLSERVER_PASSWORD must hold the password"), "{reported}");
}

//! FreeTDS' `tsql`: a client of other people, written from the same specification. Debian package `freetds-bin`.

use std::process::Stdio;

use datakit_fake_sqlserver::values::{Column, Length, SqlError, SqlType, Value};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::common::scripted::{Scripted, emit, text};

fn fake_sqlserver(encrypt: Encrypt) -> Running {
    let engine = Scripted::new(|request, out| {
        if !text(request).contains("types") {
            // What tsql sends by itself.
            let _stop = out(datakit_fake_sqlserver::engine::Event::Done { rows: None });
            return;
        }
        if text(request).contains("missing") {
            let _stop =
                out(datakit_fake_sqlserver::engine::Event::Error(SqlError::new(208, "Invalid object name 'missing'.")));
            return;
        }
        let cases: Vec<(Column, Value)> = vec![
            (Column::new("i", SqlType::Int).not_null(), Value::Int(-42)),
            (Column::new("b", SqlType::BigInt), Value::Int(i64::MIN)),
            (Column::new("bit", SqlType::Bit), Value::Bit(true)),
            (Column::new("nv", SqlType::NVarChar(Length::Limited(40))), Value::Text("Zoë 日本".to_owned())),
            (Column::new("v", SqlType::VarChar(Length::Limited(40))), Value::Text("Straße".to_owned())),
            (
                Column::new("d", SqlType::Decimal { precision: 38, scale: 4 }),
                Value::Decimal { unscaled: -(10i128.pow(37)) - 5, scale: 4 },
            ),
            (Column::new("m", SqlType::Money), Value::Decimal { unscaled: -12_345, scale: 4 }),
            (Column::new("f", SqlType::Float), Value::Float(1.25)),
            (Column::new("dt", SqlType::DateTime), Value::DateTime { days: 45_000, three_hundredths: 300 }),
            (Column::new("max", SqlType::NVarChar(Length::Max)), Value::Text("long".to_owned())),
            (Column::new("t", SqlType::Text), Value::Text("text".to_owned())),
            (Column::new("vb", SqlType::VarBinary(Length::Limited(4))), Value::Bytes(vec![0xde, 0xad])),
            (Column::new("id", SqlType::UniqueIdentifier), Value::Uuid([0x11; 16])),
            (Column::new("null", SqlType::Int), Value::Null),
            (Column::new("xml", SqlType::Xml), Value::Text("<a/>".to_owned())),
        ];
        let (columns, row): (Vec<Column>, Vec<Value>) = cases.into_iter().unzip();
        emit(out, &columns, &[row]);
    });
    FakeSqlServer::start(Options { encrypt, ..Options::default() }, engine).unwrap()
}

/// What tsql prints for a batch, errors included.
pub async fn tsql(running: &Running, encryption: &str, password: &str, sql: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("freetds.conf");
    let entry = format!(
        "[fake_sqlserver]\nhost = 127.0.0.1\nport = {}\ntds version = 7.4\nencryption = {encryption}\nclient charset = UTF-8\n",
        running.port()
    );
    std::fs::write(&configuration, entry).unwrap();
    let mut child = Command::new("tsql")
        .args(["-S", "fake_sqlserver", "-U", "sa", "-P", password, "-D", "testdb", "-o", "qf", "-t", "|"])
        .env("FREETDSCONF", &configuration)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tsql of Debian's freetds-bin");
    let mut input = child.stdin.take().unwrap();
    // tsql that was not let in does not read its input.
    let _sent = input.write_all(format!("{sql}\ngo\nexit\n").as_bytes()).await;
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn tsql_logs_in_and_reads_types_plain_and_in_tls() {
    let plain = tsql(&fake_sqlserver(Encrypt::Off), "off", "Pl4nted 1!", "select types").await;
    insta::assert_snapshot!("tsql-types", plain);
    for (server, client) in
        [(Encrypt::On, "off"), (Encrypt::On, "request"), (Encrypt::On, "require"), (Encrypt::Required, "require")]
    {
        let read = tsql(&fake_sqlserver(server), client, "Pl4nted 1!", "select types").await;
        assert_eq!(read, plain, "{server:?} {client}");
    }
}

#[tokio::test]
async fn tsql_shows_errors_by_number() {
    let running = fake_sqlserver(Encrypt::Required);
    let wrong = tsql(&running, "require", "wrong", "select types").await;
    assert!(wrong.contains("Msg 18456 (severity 14, state 1)"), "{wrong}");
    let missing = tsql(&running, "require", "Pl4nted 1!", "select types from missing").await;
    assert!(missing.contains("Msg 208 (severity 16, state 1)"), "{missing}");
}

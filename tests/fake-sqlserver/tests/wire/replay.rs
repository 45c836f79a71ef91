//! A server that only plays recorded answers: both drivers must read in them what the recorded driver read.

use std::net::SocketAddr;

use datakit_fake_sqlserver::tds::packet::PacketWriter;
use datakit_fake_sqlserver::tds::token::{self, EnvChange};
use mssql_tds::core::EncryptionSetting;
use mssql_tds::datatypes::sql_string::SqlString;
use mssql_tds::datatypes::sqltypes::SqlType;
use mssql_tds::message::parameters::rpc_parameters::{RpcParameter, StatusFlags};
use tiberius::EncryptionLevel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::captures::{self, Capture};
use crate::common::{mssql, tib};

/// Serves one client the answers of a capture, one for each message it sends.
async fn replay(capture: Capture) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for exchange in capture.exchanges {
            skip_message(&mut stream).await;
            stream.write_all(&hex::decode(exchange.server).unwrap()).await.unwrap();
        }
        // The client closes.
        let _end = stream.read(&mut [0]).await;
    });
    address
}

async fn skip_message(stream: &mut TcpStream) {
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.unwrap();
        let mut payload = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]])) - 8];
        stream.read_exact(&mut payload).await.unwrap();
        if header[1] & 1 == 1 {
            return;
        }
    }
}

async fn by_tiberius(name: &str) -> Vec<String> {
    let capture = captures::load(name);
    let sql = capture.sql.clone();
    let address = replay(capture).await;
    let mut client = match tib::connect(tib::config(address, EncryptionLevel::NotSupported)).await {
        Ok(client) => client,
        Err(error) => return vec![format!("error {}", tib::error_text(&error))],
    };
    if name == "12-parameters" {
        let answer = client.query("SELECT @P1 AS i, @P2 AS s, @P3 AS f", &[&42i64, &"ünï", &1.25f64]).await;
        return tib::lines(answer).await;
    }
    tib::lines(client.simple_query(sql).await).await
}

/// Adds the ENVCHANGE of the packet size before the final DONE of a login's answer.
///
/// SQL Server always sends it, the recorded server does not, and mssql-tds 0.3 then takes the packet size for 0 and
/// panics with its first request.
fn tell_packet_size(capture: &mut Capture) {
    let [_, login, _] = capture.exchanges.as_mut_slice() else {
        return; // turned away: there is no request to come
    };
    let mut tokens = captures::tokens(&login.server);
    let done = tokens.split_off(tokens.len() - 13);
    token::env_change(&mut tokens, &EnvChange::PacketBytes(4096, 4096));
    tokens.extend(done);
    let mut packets = PacketWriter::new(4096);
    packets.put(&tokens);
    login.server = hex::encode(packets.finish());
}

async fn by_mssql(name: &str) -> Vec<String> {
    let mut capture = captures::load(name);
    tell_packet_size(&mut capture);
    let sql = capture.sql.clone();
    let address = replay(capture).await;
    let mut client = match mssql::connect(mssql::context(EncryptionSetting::PreferOff), address).await {
        Ok(client) => client,
        Err(error) => return vec![format!("error {}", mssql::error_text(&error))],
    };
    if name == "12-parameters" {
        let parameter = |name: &str, value| RpcParameter::new(Some(name.to_owned()), StatusFlags::NONE, value);
        let text = SqlString::from_utf8_string("ünï".to_owned());
        let parameters = vec![
            parameter("@P1", SqlType::BigInt(Some(42))),
            parameter("@P2", SqlType::NVarchar(Some(text), 4000)),
            parameter("@P3", SqlType::Float(Some(1.25))),
        ];
        let sql = "SELECT @P1 AS i, @P2 AS s, @P3 AS f".to_owned();
        let answer = client.execute_sp_executesql(sql, parameters, ()).await;
        return mssql::lines(&mut client, answer).await;
    }
    mssql::batch(&mut client, &sql).await
}

#[tokio::test]
async fn both_drivers_read_the_recorded_answers_alike() {
    for name in captures::NAMES {
        let (tiberius, mssql) = (by_tiberius(name).await, by_mssql(name).await);
        insta::assert_snapshot!(format!("replay-{name}"), tiberius.join("\n"));
        assert_eq!(tiberius, mssql, "{name}");
    }
}

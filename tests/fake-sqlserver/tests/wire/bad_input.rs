//! What is not TDS ends its own connection and nothing else.

use datakit_fake_sqlserver::tds::packet::PacketWriter;
use datakit_fake_sqlserver::tds::packet_type;
use datakit_fake_sqlserver::values::{Column, SqlType, Value};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::captures;
use crate::common::scripted::{Scripted, emit};
use crate::common::tib;

fn packet(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut writer = PacketWriter::with_type(kind, 4096);
    writer.put(payload);
    writer.finish()
}

/// A LOGIN7 message with user and password and nothing else.
pub fn login_packet(user: &str, password: &str) -> Vec<u8> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let coded: Vec<u8> = utf16(password).iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    let mut payload = vec![0; 94];
    payload[4..8].copy_from_slice(&0x7400_0004u32.to_le_bytes());
    let mut variable = Vec::new();
    for (index, bytes) in [(1, utf16(user)), (2, coded)] {
        let place = 36 + 4 * index;
        payload[place..place + 2].copy_from_slice(&((94 + variable.len()) as u16).to_le_bytes());
        payload[place + 2..place + 4].copy_from_slice(&((bytes.len() / 2) as u16).to_le_bytes());
        variable.extend(bytes);
    }
    payload.extend(variable);
    let length = (payload.len() as u32).to_le_bytes();
    payload[..4].copy_from_slice(&length);
    packet(packet_type::LOGIN, &payload)
}

/// A batch message.
pub fn batch_packet(sql: &str) -> Vec<u8> {
    let mut payload = 4u32.to_le_bytes().to_vec();
    payload.extend(sql.encode_utf16().flat_map(u16::to_le_bytes));
    packet(packet_type::BATCH, &payload)
}

fn fake_sqlserver() -> Running {
    let engine = Scripted::new(|_, out| emit(out, &[Column::new("n", SqlType::Int)], &[vec![Value::Int(1)]]));
    FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap()
}

async fn logged_in(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.address()).await.unwrap();
    let mut buffer = [0; 4096];
    let hello = hex::decode(&captures::load("01-types").exchanges[0].client).unwrap();
    for message in [hello, login_packet("sa", "Pl4nted 1!")] {
        stream.write_all(&message).await.unwrap();
        assert!(stream.read(&mut buffer).await.unwrap() > 8);
    }
    stream
}

/// The answer to a request of one packet.
async fn ask(running: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = logged_in(running).await;
    stream.write_all(bytes).await.unwrap();
    let mut buffer = vec![0; 4096];
    let read = stream.read(&mut buffer).await.unwrap();
    buffer.truncate(read);
    buffer
}

/// Sends bytes, perhaps after a login, and answers what comes back until the server closes.
async fn send(running: &Running, after_login: bool, bytes: &[u8]) -> Vec<u8> {
    let mut stream =
        if after_login { logged_in(running).await } else { TcpStream::connect(running.address()).await.unwrap() };
    // The server may close before it has read everything.
    let _sent = stream.write_all(bytes).await;
    let _shut = stream.shutdown().await;
    let mut answer = Vec::new();
    let _end = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn bytes_that_are_no_login_close_the_connection() {
    let running = fake_sqlserver();
    let mut long_login = vec![0xff; 200_000];
    long_login[..4].copy_from_slice(&200_000u32.to_le_bytes());
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 100],
        packet(packet_type::PRELOGIN, &[]),
        packet(packet_type::PRELOGIN, &[1, 0xff, 0xff, 0xff, 0xff]),
        packet(packet_type::BATCH, b"SELECT"),
        packet(packet_type::LOGIN, &[]),
        packet(packet_type::PRELOGIN, &long_login),
        vec![packet_type::PRELOGIN, 1, 0, 3, 0, 0, 1, 0],
    ] {
        let answer = send(&running, false, &bytes).await;
        assert!(answer.is_empty(), "{bytes:x?} was answered {answer:x?}");
    }
    assert_eq!(tib::lines(tib::to(&running).await.simple_query("x").await).await, ["columns n", "row 1"]);
}

#[tokio::test]
async fn messages_that_are_no_requests_close_the_connection() {
    let running = fake_sqlserver();
    let headers = 4u32.to_le_bytes();
    let rpc = |rest: &[u8]| packet(packet_type::RPC, &[headers.as_slice(), rest].concat());
    for bytes in [
        packet(packet_type::BATCH, &[1]),
        packet(packet_type::BATCH, &[0xff, 0xff, 0xff, 0x7f]),
        packet(packet_type::BATCH, &[4, 0, 0, 0, 0x41]),
        rpc(&[0xff, 0xff]),
        rpc(&[5, 0, 0x41]),
        rpc(&[0xff, 0xff, 10, 0, 0, 0, 0, 0, 0xe7, 0xff]),
        // A decimal of precision 200.
        rpc(&[0xff, 0xff, 10, 0, 0, 0, 0, 0, 0x6a, 17, 200, 4, 0]),
        // A chunked value without its end.
        rpc(&[
            0xff, 0xff, 10, 0, 0, 0, 0, 0, 0xa5, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9, 0, 0, 0,
        ]),
        packet(packet_type::TRANSACTION, &[4, 0, 0, 0, 7]),
        packet(packet_type::LOGIN, &[0; 94]),
        packet(packet_type::BULK_LOAD, &[0; 10]),
        packet(0x55, &[]),
        batch_packet("x")[..10].to_vec(),
    ] {
        let answer = send(&running, true, &bytes).await;
        assert!(answer.is_empty(), "{bytes:x?} was answered {answer:x?}");
    }
    let answer = ask(&running, &batch_packet("x")).await;
    assert!(answer.len() > 20);
}

#[tokio::test]
async fn a_call_with_a_type_we_do_not_take_gets_an_error() {
    let running = fake_sqlserver();
    // A table-valued parameter.
    let call = [4, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0, 0, 0, 0xf3, 0, 0, 0];
    let answer = ask(&running, &packet(packet_type::RPC, &call)).await;
    assert_eq!((answer[8], &answer[11..15]), (0xaa, 8009i32.to_le_bytes().as_slice()));
}

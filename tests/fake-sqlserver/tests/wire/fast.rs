//! Generated tables through both drivers, and how fast they are served.

use std::sync::Arc;

use datakit_fake_sqlserver::engine::Event;
use datakit_fake_sqlserver::fast::FastTable;
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running};

use crate::common::scripted::{Scripted, emit, text};
use crate::common::{mssql, tib};

/// Answers `fast FROM TO` with pre-encoded rows, `slow FROM TO` with the same rows encoded one by one.
fn fake_sqlserver(table: FastTable) -> Running {
    let table = Arc::new(table);
    let engine = Scripted::new(move |request, out| {
        let words: Vec<&str> = text(request).split(' ').collect();
        let (from, to): (u64, u64) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        if words[0] == "slow" {
            let rows: Vec<_> =
                (from..to).map(|row| columns.iter().map(|column| table.value(row, *column)).collect()).collect();
            emit(out, &table.columns, &rows);
            return;
        }
        let events = [
            Event::Columns(Arc::new(table.columns.clone())),
            Event::FastRows { table: Arc::clone(&table), columns, rows: from..to },
            Event::Done { rows: Some(to - from) },
        ];
        for event in events {
            if out(event).is_break() {
                return;
            }
        }
    });
    FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap()
}

#[tokio::test]
async fn fast_rows_are_the_rows_of_the_table() {
    for table in [FastTable::orders("orders", 20_000), FastTable::wide("wide", 20_000)] {
        let running = fake_sqlserver(table);
        let mut tiberius = tib::to(&running).await;
        let mut mssql = mssql::to(&running).await;
        for range in ["0 10", "4000 4200", "19990 20000", "7 7"] {
            let slow = tib::lines(tiberius.simple_query(format!("slow {range}")).await).await;
            let fast = tib::lines(tiberius.simple_query(format!("fast {range}")).await).await;
            assert_eq!(fast, slow, "{range}");
            assert_eq!(mssql::batch(&mut mssql, &format!("fast {range}")).await, slow, "{range}");
        }
    }
}

#[tokio::test]
async fn the_shape_of_the_benchmark_stays_what_it_is() {
    let running = fake_sqlserver(FastTable::orders("orders", 20_000));
    let lines = tib::lines(tib::to(&running).await.simple_query("fast 5 9").await).await;
    insta::assert_snapshot!(lines.join("\n"));
}

/// Not a test but a measurement: `cargo test --release -p datakit-fake-sqlserver --test wire -- --ignored --nocapture
/// serve`.
#[tokio::test]
#[ignore = "measures, asserts nothing"]
async fn how_fast_ten_million_rows_are_served() {
    use std::io::Write as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rows = 10_000_000u64;
    let running = fake_sqlserver(FastTable::orders("orders", rows));
    let login = crate::captures::load("01-types");
    let mut stream = tokio::net::TcpStream::connect(running.address()).await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    stream.write_all(&hex::decode(&login.exchanges[0].client).unwrap()).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 8);
    stream.write_all(&crate::bad_input::login_packet("sa", "Pl4nted 1!")).await.unwrap();
    assert!(stream.read(&mut buffer).await.unwrap() > 8);
    stream.write_all(&crate::bad_input::batch_packet(&format!("fast 0 {rows}"))).await.unwrap();
    let start = std::time::Instant::now();
    let mut bytes = 0usize;
    // The last token is DONE with the count of rows.
    let mut tail = Vec::new();
    while !tail.ends_with(&rows.to_le_bytes()) {
        let read = stream.read(&mut buffer).await.unwrap();
        bytes += read;
        tail.extend_from_slice(&buffer[read.saturating_sub(16)..read]);
        let cut = tail.len().saturating_sub(16);
        tail.drain(..cut);
    }
    let seconds = start.elapsed().as_secs_f64();
    let (rate, megabytes) = (rows as f64 / seconds / 1e6, bytes as f64 / seconds / 1e6);
    writeln!(std::io::stderr(), "{rate:.2} M rows/s, {megabytes:.0} MB/s").unwrap();
}

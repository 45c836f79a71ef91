//! Attention: a client stops a long result and goes on with its connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datakit_fake_sqlserver::engine::Event;
use datakit_fake_sqlserver::values::{Column, SqlType, Value};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running};
use futures::TryStreamExt;
use mssql_tds::connection::tds_client::ResultSet;

use crate::common::scripted::{Scripted, emit, text};
use crate::common::{mssql, tib};

/// Answers `endless` with rows until it is stopped, and counts how often it was.
fn endless(encrypt: Encrypt) -> (Running, Arc<AtomicU64>) {
    let stopped = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&stopped);
    let engine = Scripted::new(move |request, out| {
        let columns = [Column::new("n", SqlType::BigInt)];
        if text(request) != "endless" {
            emit(out, &columns, &[vec![Value::Int(1)]]);
            return;
        }
        let mut n = 0;
        let mut flow = out(Event::Columns(Arc::new(columns.to_vec())));
        while flow.is_continue() {
            flow = out(Event::Row(vec![Value::Int(n)]));
            n += 1;
        }
        count.fetch_add(1, Ordering::SeqCst);
    });
    (FakeSqlServer::start(Options { encrypt, ..Options::default() }, engine).unwrap(), stopped)
}

#[tokio::test]
async fn tiberius_stops_an_endless_result() {
    for encrypt in [Encrypt::Off, Encrypt::Required] {
        let (running, stopped) = endless(encrypt);
        let mut client = tib::to(&running).await;
        for round in 1..=3 {
            let mut stream = client.simple_query("endless").await.unwrap();
            for _ in 0..100 {
                stream.try_next().await.unwrap().unwrap();
            }
            drop(stream);
            client.cancel_query().await.unwrap();
            assert_eq!(tib::lines(client.simple_query("short").await).await, ["columns n", "row 1"]);
            assert_eq!(stopped.load(Ordering::SeqCst), round);
        }
    }
}

#[tokio::test]
async fn mssql_tds_stops_an_endless_result() {
    for encrypt in [Encrypt::Off, Encrypt::Required] {
        let (running, stopped) = endless(encrypt);
        let mut client = mssql::to(&running).await;
        for round in 1..=3 {
            client.execute("endless".to_owned(), ()).await.unwrap();
            for _ in 0..100 {
                client.next_row().await.unwrap().unwrap();
            }
            client.cancel_query(10).await.unwrap();
            assert_eq!(mssql::batch(&mut client, "short").await, ["columns n", "row 1"]);
            assert_eq!(stopped.load(Ordering::SeqCst), round);
        }
    }
}

#[tokio::test]
async fn an_attention_with_nothing_to_stop_is_answered() {
    let (running, _) = endless(Encrypt::Off);
    let mut client = tib::to(&running).await;
    client.cancel_query().await.unwrap();
    assert_eq!(tib::lines(client.simple_query("short").await).await, ["columns n", "row 1"]);
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_engine() {
    let (running, stopped) = endless(Encrypt::Off);
    let mut client = tib::to(&running).await;
    let stream = client.simple_query("endless").await.unwrap();
    drop(stream);
    drop(client);
    while stopped.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
}

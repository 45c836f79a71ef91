//! The tests' use of tiberius.

use std::net::SocketAddr;

use datakit_fake_sqlserver::Running;
use futures::TryStreamExt;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, QueryItem, QueryStream};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::{decimal, shorten, shorten_bytes};

pub type Tiberius = Client<Compat<TcpStream>>;

/// A configuration that trusts the server's authority and logs in as its user.
pub fn config(address: SocketAddr, encryption: EncryptionLevel) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(address.port());
    config.database("testdb");
    config.authentication(AuthMethod::sql_server("sa", "Pl4nted 1!"));
    config.encryption(encryption);
    config
}

pub async fn connect(config: Config) -> tiberius::Result<Tiberius> {
    let tcp = TcpStream::connect(config.get_addr()).await?;
    tcp.set_nodelay(true)?;
    Client::connect(config, tcp.compat_write()).await
}

/// Connects to a fake SQL Server, in TLS where it has TLS.
pub async fn to(running: &Running) -> Tiberius {
    let encryption =
        if running.ca_pem().is_empty() { EncryptionLevel::NotSupported } else { EncryptionLevel::Required };
    let mut config = config(running.address(), encryption);
    if !running.ca_pem().is_empty() {
        config.trust_cert_ca(running.ca_pem_path().to_str().unwrap());
    }
    connect(config).await.unwrap()
}

/// All results as lines: names of columns, rows, at last an error.
pub async fn lines(stream: tiberius::Result<QueryStream<'_>>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return vec![format!("error {}", error_text(&error))],
    };
    loop {
        match stream.try_next().await {
            Ok(Some(QueryItem::Metadata(metadata))) => {
                let names: Vec<&str> = metadata.columns().iter().map(|column| column.name()).collect();
                lines.push(format!("columns {}", names.join(" ")));
            }
            Ok(Some(QueryItem::Row(row))) => {
                let cells: Vec<String> = row.into_iter().map(|cell| render(&cell)).collect();
                lines.push(format!("row {}", cells.join(" | ")));
            }
            Ok(None) => return lines,
            Err(error) => {
                lines.push(format!("error {}", error_text(&error)));
                return lines;
            }
        }
    }
}

pub fn error_text(error: &tiberius::error::Error) -> String {
    match error {
        tiberius::error::Error::Server(token) => {
            format!("{} class {} state {}: {}", token.code(), token.class(), token.state(), token.message())
        }
        other => other.to_string(),
    }
}

fn ticks(time: tiberius::time::Time) -> u64 {
    time.increments() * 10u64.pow(7 - u32::from(time.scale()))
}

/// One cell, in words that are the same for both drivers.
pub fn render(cell: &ColumnData<'_>) -> String {
    let null = || "null".to_owned();
    match cell {
        ColumnData::U8(n) => n.map_or_else(null, |n| n.to_string()),
        ColumnData::I16(n) => n.map_or_else(null, |n| n.to_string()),
        ColumnData::I32(n) => n.map_or_else(null, |n| n.to_string()),
        ColumnData::I64(n) => n.map_or_else(null, |n| n.to_string()),
        ColumnData::F32(n) => n.map_or_else(null, |n| format!("{n:?}")),
        ColumnData::F64(n) => n.map_or_else(null, |n| format!("{n:?}")),
        ColumnData::Bit(bit) => bit.map_or_else(null, |bit| bit.to_string()),
        ColumnData::String(text) => text.as_ref().map_or_else(null, |text| shorten(text)),
        ColumnData::Guid(id) => id.map_or_else(null, |id| id.to_string()),
        ColumnData::Binary(bytes) => bytes.as_ref().map_or_else(null, |bytes| shorten_bytes(bytes)),
        ColumnData::Numeric(n) => n.map_or_else(null, |n| decimal(n.value(), n.scale())),
        ColumnData::Xml(xml) => xml.as_ref().map_or_else(null, |xml| shorten(xml.as_ref().as_ref())),
        ColumnData::DateTime(t) => t.map_or_else(null, |t| format!("datetime {} {}", t.days(), t.seconds_fragments())),
        ColumnData::SmallDateTime(t) => {
            t.map_or_else(null, |t| format!("smalldatetime {} {}", t.days(), t.seconds_fragments()))
        }
        ColumnData::Time(t) => t.map_or_else(null, |t| format!("time {}", ticks(t))),
        ColumnData::Date(d) => d.map_or_else(null, |d| format!("date {}", d.days())),
        ColumnData::DateTime2(t) => {
            t.map_or_else(null, |t| format!("datetime2 {} {}", t.date().days(), ticks(t.time())))
        }
        ColumnData::DateTimeOffset(t) => t.map_or_else(null, |t| {
            let utc = t.datetime2();
            format!("datetimeoffset {} {} {}", utc.date().days(), ticks(utc.time()), t.offset())
        }),
    }
}

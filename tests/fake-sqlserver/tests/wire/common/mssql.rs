//! The tests' use of mssql-tds.

use std::net::SocketAddr;

use datakit_fake_sqlserver::Running;
use mssql_tds::connection::client_context::ClientContext;
use mssql_tds::connection::tds_client::{BatchErrorMode, ExecuteOptions, ResultSet, StatementResult, TdsClient};
use mssql_tds::connection_provider::tds_connection_provider::TdsConnectionProvider;
use mssql_tds::core::{EncryptionSetting, TdsResult};
use mssql_tds::datatypes::column_values::{ColumnValues, SqlTime};
use mssql_tds::error::Error;

use super::{decimal, shorten, shorten_bytes};

/// A context that logs in as the server's user and trusts whatever it shows.
pub fn context(encryption: EncryptionSetting) -> ClientContext {
    let mut context = ClientContext::default();
    context.user_name = "sa".to_owned();
    context.password = "Pl4nted 1!".to_owned();
    context.database = "testdb".to_owned();
    context.encryption_options.mode = encryption;
    context.encryption_options.trust_server_certificate = true;
    context.connect_retry_count = 0;
    context
}

pub async fn connect(context: ClientContext, address: SocketAddr) -> TdsResult<TdsClient> {
    let source = format!("tcp:127.0.0.1,{}", address.port());
    TdsConnectionProvider {}.create_client(context, &source, None).await
}

/// Connects to a fake SQL Server, in TLS where it has TLS.
pub async fn to(running: &Running) -> TdsClient {
    let mode = if running.ca_pem().is_empty() { EncryptionSetting::PreferOff } else { EncryptionSetting::Required };
    connect(context(mode), running.address()).await.unwrap()
}

/// All results of a batch as lines, as [`super::tib::lines`] prints them.
pub async fn batch(client: &mut TdsClient, sql: &str) -> Vec<String> {
    let options = ExecuteOptions::new().on_error(BatchErrorMode::Continue);
    let first = client.execute(sql.to_owned(), options).await;
    lines(client, first).await
}

/// Walks through what an execution answered. Ends at the first error, as tiberius does.
pub async fn lines(client: &mut TdsClient, first: TdsResult<StatementResult>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut at = first;
    loop {
        match at {
            Ok(StatementResult::Rows) => {
                let names: Vec<String> =
                    client.get_metadata().iter().map(|column| column.column_name.clone()).collect();
                lines.push(format!("columns {}", names.join(" ")));
                loop {
                    match client.next_row().await {
                        Ok(Some(row)) => {
                            let cells: Vec<String> = row.iter().map(render).collect();
                            lines.push(format!("row {}", cells.join(" | ")));
                        }
                        Ok(None) => break,
                        Err(error) => {
                            lines.push(format!("error {}", error_text(&error)));
                            let _rest = client.close_query().await;
                            return lines;
                        }
                    }
                }
            }
            Ok(StatementResult::NoRows { .. }) => {}
            Ok(StatementResult::End) => {
                client.close_query().await.unwrap();
                return lines;
            }
            Err(error) => {
                lines.push(format!("error {}", error_text(&error)));
                let _rest = client.close_query().await;
                return lines;
            }
        }
        at = client.advance().await;
    }
}

pub fn error_text(error: &Error) -> String {
    match error {
        Error::SqlServerError { diagnostics } => {
            let error = &diagnostics.errors[0];
            format!("{} class {} state {}: {}", error.number, error.class, error.state, error.message)
        }
        other => other.to_string(),
    }
}

/// mssql-tds gives ticks of 100 ns in a field named for nanoseconds.
fn ticks(time: &SqlTime) -> u64 {
    time.time_nanoseconds
}

/// One cell, in words that are the same for both drivers.
pub fn render(cell: &ColumnValues) -> String {
    match cell {
        ColumnValues::Null => "null".to_owned(),
        ColumnValues::TinyInt(n) => n.to_string(),
        ColumnValues::SmallInt(n) => n.to_string(),
        ColumnValues::Int(n) => n.to_string(),
        ColumnValues::BigInt(n) => n.to_string(),
        ColumnValues::Real(n) => format!("{n:?}"),
        ColumnValues::Float(n) => format!("{n:?}"),
        ColumnValues::Decimal(n) | ColumnValues::Numeric(n) => {
            let magnitude = n.magnitude() as i128;
            decimal(if n.is_positive { magnitude } else { -magnitude }, n.scale)
        }
        ColumnValues::Bit(bit) => bit.to_string(),
        ColumnValues::String(text) => shorten(&text.to_utf8_string()),
        ColumnValues::DateTime(t) => format!("datetime {} {}", t.days, t.time),
        ColumnValues::SmallDateTime(t) => format!("smalldatetime {} {}", t.days, t.time),
        ColumnValues::Date(d) => format!("date {}", d.get_days()),
        ColumnValues::Time(t) => format!("time {}", ticks(t)),
        ColumnValues::DateTime2(t) => format!("datetime2 {} {}", t.days, ticks(&t.time)),
        ColumnValues::DateTimeOffset(t) => {
            format!("datetimeoffset {} {} {}", t.datetime2.days, ticks(&t.datetime2.time), t.offset)
        }
        // tiberius makes floating-point numbers of money.
        ColumnValues::Money(n) => {
            let unscaled = (i64::from(n.msb_part) << 32) | i64::from(n.lsb_part as u32);
            format!("{:?}", unscaled as f64 / 1e4)
        }
        ColumnValues::SmallMoney(n) => format!("{:?}", f64::from(n.int_val) / 1e4),
        ColumnValues::Bytes(bytes) => shorten_bytes(bytes),
        ColumnValues::Xml(xml) => shorten(&xml.as_string()),
        ColumnValues::Uuid(id) => id.to_string(),
        ColumnValues::Json(json) => shorten(&json.as_string()),
        ColumnValues::Vector(_) => "vector".to_owned(),
    }
}

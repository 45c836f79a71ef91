//! The values of some columns of a table as it is now, by COPY.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datakit_connect::sink::SinkError;
use datakit_model::Failure;
use datakit_model::sink::TableValues;
use tokio_postgres::error::SqlState;

use super::connection::{Session, Sessions, statement_error};
use super::ledger;
use super::names::{TableName, column, quote};
use crate::server::Server;
use crate::source::CopiedRows;

/// So long the values of a table are waited for while others alter it, in seconds.
const LOCK_SECONDS: u32 = 10;

/// The values of these columns; none where there is no table.
pub(crate) async fn read(
    sessions: &Sessions,
    name: &TableName,
    columns: &[String],
) -> Result<Option<Box<dyn TableValues>>, SinkError> {
    let (client, config, location) = (sessions.open().await?, sessions.server(), name.to_string());
    let failed = |error| statement_error(config, "read", &location, error);
    // The description and the rows are of one session, wherever a pooler stands between.
    // A load that has altered the table keeps readers out until its commit: the run itself must not wait for it without end.
    let begin = format!("BEGIN READ ONLY; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; {}", ledger::TRANSACTION);
    client.batch_execute(&begin).await.map_err(failed)?;
    if !ledger::exists(&client, config, &location).await? {
        return Ok(None);
    }
    let names = columns.iter().map(|name| Ok(quote(&column(name)?))).collect::<Result<Vec<_>, SinkError>>()?;
    let query = format!("SELECT {} FROM {name}", names.join(", "));
    let described = client.prepare(&query).await.map_err(|error| {
        if error.code() == Some(&SqlState::UNDEFINED_COLUMN) {
            return SinkError::NoColumn { location: location.clone(), column: columns.join(", ") };
        }
        failed(error)
    })?;
    let stream = client.copy_out(&format!("COPY ({query}) TO STDOUT (FORMAT binary)")).await.map_err(failed)?;
    let rows = CopiedRows::new(described.columns(), stream);
    let rows = rows.map_err(|error| unreadable(&location, error.into()))?;
    Ok(Some(Box::new(Values { client, config: config.clone(), location, rows })))
}

/// Rows of a transaction that ends with the connection.
struct Values {
    #[expect(dead_code, reason = "the connection lives as long as it")]
    client: Session,
    config: Server,
    location: String,
    rows: CopiedRows,
}

#[async_trait]
impl TableValues for Values {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        let batch = self.rows.next().await.map_err(|error| match error {
            Ok(error) => statement_error(&self.config, "read", &self.location, error),
            Err(error) => unreadable(&self.location, error.into()),
        });
        Ok(batch?)
    }
}

fn unreadable(location: &str, source: Box<dyn std::error::Error + Send + Sync>) -> SinkError {
    SinkError::Server { action: "read", location: location.to_owned(), transient: false, source }
}

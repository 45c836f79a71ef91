//! How many rows a table holds.

use tokio_postgres::Client;

use super::connection::statement_error;
use super::ledger;
use super::names::TableName;
use crate::server::Server;
use datakit_connect::sink::SinkError;
use datakit_model::sink::TableRows;

/// Rows are counted up to here: Postgres reads them all for it.
const MAX_COUNTED: u64 = 1_000_000;

/// None where there is no table.
pub(crate) async fn count(client: &Client, config: &Server, name: &TableName) -> Result<TableRows, SinkError> {
    let location = name.to_string();
    if !ledger::exists(client, config, &location).await? {
        return Ok(TableRows::default());
    }
    let sql = format!("SELECT count(*) FROM (SELECT FROM {name} LIMIT {}) AS counted", MAX_COUNTED + 1);
    let row = client
        .query_typed_one(&sql, &[])
        .await
        .map_err(|e| statement_error(config, "count the rows of", &location, e))?;
    let counted = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
    Ok(TableRows { rows: counted, at_least: counted > MAX_COUNTED })
}

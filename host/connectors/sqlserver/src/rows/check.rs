//! Who is on the other side.

use super::RowConnection;
use super::errors;
use crate::bulk::{self, BulkConnection};
use crate::config::SqlServerConfig;
use crate::error::SourceError;
use datakit_connect::pool::{Pool, give_back};

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `SERVERPROPERTY('ProductVersion')`: `16.0.4135.4`.
    pub version: String,
    /// `SERVERPROPERTY('Edition')`.
    pub edition: String,
    /// The current database.
    pub database: String,
    /// The login, as the server knows it.
    pub login: String,
}

const QUESTION: &str = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version, \
     CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition, \
     CAST(DB_NAME() AS nvarchar(128)) AS database_name, CAST(SUSER_SNAME() AS nvarchar(128)) AS login_name";

/// Asks, over a connection of the pool: bounds hold for this one as for others. With a pinned certificate by `mssql-tds`, which alone can pin.
pub(crate) async fn check(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<ServerInfo, SourceError> {
    let is_pinned = config.certificate_file.is_some();
    let answers = if is_pinned { by_bulk(config, pool).await? } else { by_rows(config, pool).await? };
    let [version, edition, database, login] = answers;
    Ok(ServerInfo { version, edition, database, login })
}

async fn by_rows(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<[String; 4], SourceError> {
    let mut connection = pool.lease::<RowConnection>().await?;
    let failed = |error| errors::of_query(config, error, 0);
    let stream = connection.client.simple_query(QUESTION).await.map_err(failed)?;
    let row = stream.into_row().await.map_err(failed)?.ok_or(SourceError::NoResult)?;
    give_back(connection);
    let text = |i: usize| row.try_get::<&str, _>(i).map(|text| text.unwrap_or_default().to_owned());
    let [version, edition, database, login] = [text(0), text(1), text(2), text(3)];
    Ok([version.map_err(failed)?, edition.map_err(failed)?, database.map_err(failed)?, login.map_err(failed)?])
}

async fn by_bulk(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<[String; 4], SourceError> {
    use mssql_tds::connection::tds_client::ResultSet;
    let mut connection = pool.lease::<BulkConnection>().await?;
    let failed = |error| bulk::of_query(config, error, 0);
    connection.client.execute(QUESTION.to_owned(), ()).await.map_err(failed)?;
    let row = connection.client.next_row().await.map_err(failed)?.ok_or(SourceError::NoResult)?;
    connection.client.close_query().await.map_err(failed)?;
    give_back(connection);
    let text = |i: usize| bulk::text_of(config, row.get(i)).map(Option::unwrap_or_default);
    Ok([text(0)?, text(1)?, text(2)?, text(3)?])
}

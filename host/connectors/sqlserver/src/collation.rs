//! How the database compares names.

use datakit_model::NameRule;

use super::bulk::{self, BulkConnection};
use super::config::SqlServerConfig;
use super::error::SourceError;
use super::rows::{self, RowConnection};
use datakit_connect::pool::{Pool, give_back};

const QUESTION: &str = "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Collation') AS nvarchar(128)) AS collation_name";

/// Asks the server, over a connection of the pool. With a pinned certificate by `mssql-tds`, which alone can pin.
pub(super) async fn ask(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<NameRule, SourceError> {
    let collation =
        if config.certificate_file.is_some() { by_bulk(config, pool).await? } else { by_rows(config, pool).await? };
    Ok(rule_of(&collation))
}

async fn by_rows(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<String, SourceError> {
    let mut connection = pool.lease::<RowConnection>().await?;
    let failed = |error| rows::of_query(config, error, 0);
    let stream = connection.client.simple_query(QUESTION).await.map_err(failed)?;
    let row = stream.into_row().await.map_err(failed)?.ok_or(SourceError::NoResult)?;
    give_back(connection);
    Ok(row.try_get::<&str, _>(0).ok().flatten().unwrap_or_default().to_owned())
}

async fn by_bulk(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<String, SourceError> {
    use mssql_tds::connection::tds_client::ResultSet;
    use mssql_tds::datatypes::column_values::ColumnValues;
    let mut connection = pool.lease::<BulkConnection>().await?;
    let failed = |error| bulk::of_query(config, error, 0);
    connection.client.execute(QUESTION.to_owned(), ()).await.map_err(failed)?;
    let row = connection.client.next_row().await.map_err(failed)?.ok_or(SourceError::NoResult)?;
    connection.client.close_query().await.map_err(failed)?;
    give_back(connection);
    Ok(match row.first() {
        Some(ColumnValues::String(text)) if text.is_utf16() => text.to_utf8_string(),
        _ => String::new(),
    })
}

/// The name of a collation says what it ignores. Where the server does not say, case counts: less is granted then.
fn rule_of(collation: &str) -> NameRule {
    let ignores_case = collation.split('_').any(|part| part.eq_ignore_ascii_case("CI"));
    if ignores_case { NameRule::CaseIgnored } else { NameRule::CaseCounts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collation_name_says_whether_case_counts() {
        for ignoring in ["SQL_Latin1_General_CP1_CI_AS", "Latin1_General_100_CI_AI_SC_UTF8", "bbf_unicode_cp1_ci_as"] {
            assert_eq!(rule_of(ignoring), NameRule::CaseIgnored, "{ignoring}");
        }
        for counting in ["Latin1_General_CS_AS", "Latin1_General_BIN2", "Japanese_BIN", ""] {
            assert_eq!(rule_of(counting), NameRule::CaseCounts, "{counting}");
        }
    }
}

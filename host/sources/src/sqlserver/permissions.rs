//! Which tables and views the login may read.

use datakit_model::TableId;

use super::bulk::{self, BulkConnection};
use super::config::{ReaderKind, SqlServerConfig};
use super::error::SourceError;
use super::rows::{self, RowConnection};
use crate::permissions::{Codes, Permissions, TablePermission};
use crate::pool::{Pool, give_back};

const CODES: Codes = Codes { denied: "DK-SRC-032", not_found: "DK-SRC-033" };

/// What people made and the login can see, whether it may read it (all of it, or at least a column), and the user's name in
/// this database. HAS_PERMS_BY_NAME counts in roles, ownership and DENY.
const QUESTION: &str = "\
SELECT s.name AS schema_name, o.name AS object_name, USER_NAME() AS user_name, \
CASE WHEN HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') = 1 THEN 1 \
WHEN EXISTS (SELECT 1 FROM sys.columns AS c WHERE c.object_id = o.object_id AND \
HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT', c.name, 'COLUMN') = 1) THEN 1 ELSE 0 END AS may_select \
FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 ORDER BY s.name, o.name";

/// One answer: schema, name, user, whether it may be read.
type Row = (String, String, String, bool);

/// Asks over a connection of the pool, of the driver that reads rows.
pub(super) async fn ask(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Permissions, SourceError> {
    let rows = match config.reader {
        ReaderKind::MssqlTds => by_bulk(config, pool).await?,
        ReaderKind::Tiberius => by_rows(config, pool).await?,
    };
    let user = rows.first().map(|row| row.2.clone()).unwrap_or_default();
    let tables = rows.into_iter().map(|(schema, name, user, may_select)| TablePermission {
        missing_grants: if may_select { Vec::new() } else { vec![grant(&schema, &name, &user)] },
        table: TableId::new(schema, name),
    });
    Ok(Permissions { tables: tables.collect(), user, codes: CODES })
}

fn grant(schema: &str, name: &str, user: &str) -> String {
    format!("GRANT SELECT ON {}.{} TO {};", quoted(schema), quoted(name), quoted(user))
}

fn quoted(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

async fn by_rows(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Vec<Row>, SourceError> {
    let mut connection = pool.lease::<RowConnection>().await?;
    let failed = |error| rows::of_query(config, error, 0);
    let stream = connection.client.simple_query(QUESTION).await.map_err(failed)?;
    let found = stream.into_first_result().await.map_err(failed)?;
    let text =
        |row: &tiberius::Row, at: usize| row.try_get::<&str, _>(at).ok().flatten().unwrap_or_default().to_owned();
    give_back(connection);
    let may = |row: &tiberius::Row| row.try_get::<i32, _>(3).ok().flatten() == Some(1);
    Ok(found.iter().map(|row| (text(row, 0), text(row, 1), text(row, 2), may(row))).collect())
}

async fn by_bulk(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Vec<Row>, SourceError> {
    use mssql_tds::connection::tds_client::ResultSet;
    use mssql_tds::datatypes::column_values::ColumnValues;
    let mut connection = pool.lease::<BulkConnection>().await?;
    let failed = |error| bulk::of_query(config, error, 0);
    let text = |row: &[ColumnValues], at: usize| match row.get(at) {
        Some(ColumnValues::String(text)) if text.is_utf16() => text.to_utf8_string(),
        _ => String::new(),
    };
    connection.client.execute(QUESTION.to_owned(), ()).await.map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = connection.client.next_row().await.map_err(failed)? {
        let may = matches!(row.get(3), Some(ColumnValues::Int(1)));
        found.push((text(&row, 0), text(&row, 1), text(&row, 2), may));
    }
    connection.client.close_query().await.map_err(failed)?;
    give_back(connection);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_anything() {
        assert_eq!(grant("dbo", "a]b", "CORP\\svc"), "GRANT SELECT ON [dbo].[a]]b] TO [CORP\\svc];");
    }
}

//! Which tables and views the login may read.

use datakit_model::{NameRule, TableId};

use super::bulk::{self, BulkConnection};
use super::config::{ReaderKind, SqlServerConfig};
use super::error::SourceError;
use super::rows::{self, RowConnection};
use super::statement::quote;
use datakit_connect::permissions::{Codes, Permissions, TablePermission};
use datakit_connect::pool::{Pool, give_back};

const CODES: Codes = Codes { denied: "DK-SRC-032", not_found: "DK-SRC-033" };

/// What people made and the login can see, whether it may read it, and the user's name in this database; one row for each
/// column that it may not read, and one for a table without any. HAS_PERMS_BY_NAME counts in roles, ownership and DENY; for the
/// columns it is asked only where the table as a whole is refused or somebody granted or denied columns of it: a database has
/// many columns. Names are cast, since servers that are not SQL Server send them as varchar.
const QUESTION: &str = "\
SELECT CAST(s.name AS nvarchar(128)) AS schema_name, CAST(o.name AS nvarchar(128)) AS object_name, \
CAST(USER_NAME() AS nvarchar(128)) AS user_name, \
HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') AS may_select, \
CAST(c.name AS nvarchar(128)) AS refused_column, \
(SELECT COUNT(*) FROM sys.columns AS a WHERE a.object_id = o.object_id) AS column_count \
FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
LEFT JOIN sys.columns AS c ON c.object_id = o.object_id AND \
(HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT') = 0 OR EXISTS \
(SELECT 1 FROM sys.database_permissions AS p WHERE p.class = 1 AND p.major_id = o.object_id AND p.minor_id > 0)) AND \
HAS_PERMS_BY_NAME(QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), 'OBJECT', 'SELECT', c.name, 'COLUMN') = 0 \
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 ORDER BY s.name, o.name, c.column_id";

/// One answer.
struct Row {
    schema: String,
    name: String,
    user: String,
    may_select: bool,
    /// A column that may not be read.
    refused: Option<String>,
    columns: usize,
}

/// Asks over a connection of the pool, of the driver that reads rows.
pub(super) async fn ask(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Permissions, SourceError> {
    let rows = match config.reader {
        ReaderKind::MssqlTds => by_bulk(config, pool).await?,
        ReaderKind::Tiberius => by_rows(config, pool).await?,
    };
    let user = rows.first().map(|row| row.user.clone()).unwrap_or_default();
    let tables = rows.chunk_by(|a, b| (&a.schema, &a.name) == (&b.schema, &b.name)).filter_map(permission).collect();
    Ok(Permissions { tables, user, names: NameRule::default(), codes: CODES })
}

/// Of the rows of one table.
fn permission(rows: &[Row]) -> Option<TablePermission> {
    let Row { schema, name, user, may_select, columns, .. } = rows.first()?;
    let refused: Vec<String> = rows.iter().filter_map(|row| row.refused.clone()).collect();
    // A server that knows no permissions of columns refuses none of a table that it refuses.
    let reads_some = !refused.is_empty() && refused.len() < *columns;
    let missing_grants = match (reads_some, may_select, refused.is_empty()) {
        (true, ..) => vec![grant(schema, name, &refused, user)],
        (false, false, _) | (false, _, false) => vec![grant(schema, name, &[], user)],
        (false, true, true) => Vec::new(),
    };
    let table = TableId::new(schema, name);
    let denied_columns = if reads_some { refused } else { Vec::new() };
    Some(TablePermission { table, missing_grants, denied_columns, hides_rows: false })
}

/// Of a whole table, or of some of its columns.
fn grant(schema: &str, name: &str, columns: &[String], user: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    format!("GRANT SELECT ON {}.{}{columns} TO {};", quote(schema), quote(name), quote(user))
}

async fn by_rows(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Vec<Row>, SourceError> {
    let mut connection = pool.lease::<RowConnection>().await?;
    let failed = |error| rows::of_query(config, error, 0);
    let stream = connection.client.simple_query(QUESTION).await.map_err(failed)?;
    let found = stream.into_first_result().await.map_err(failed)?;
    give_back(connection);
    let text = |row: &tiberius::Row, at: usize| -> Result<Option<String>, SourceError> {
        Ok(row.try_get::<&str, _>(at).map_err(failed)?.map(str::to_owned))
    };
    let number = |row: &tiberius::Row, at: usize| row.try_get::<i32, _>(at).map_err(failed);
    let read = |row: &tiberius::Row| -> Result<Row, SourceError> {
        Ok(Row {
            schema: text(row, 0)?.unwrap_or_default(),
            name: text(row, 1)?.unwrap_or_default(),
            user: text(row, 2)?.unwrap_or_default(),
            may_select: number(row, 3)? == Some(1),
            refused: text(row, 4)?,
            columns: count(number(row, 5)?),
        })
    };
    found.iter().map(read).collect()
}

async fn by_bulk(config: &SqlServerConfig, pool: &Pool<SqlServerConfig>) -> Result<Vec<Row>, SourceError> {
    use mssql_tds::connection::tds_client::ResultSet;
    use mssql_tds::datatypes::column_values::ColumnValues;
    let mut connection = pool.lease::<BulkConnection>().await?;
    let failed = |error| bulk::of_query(config, error, 0);
    let number = |row: &[ColumnValues], at: usize| match row.get(at) {
        Some(ColumnValues::Int(number)) => Some(*number),
        _ => None,
    };
    connection.client.execute(QUESTION.to_owned(), ()).await.map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = connection.client.next_row().await.map_err(failed)? {
        let text = |at: usize| bulk::text_of(config, row.get(at));
        found.push(Row {
            schema: text(0)?.unwrap_or_default(),
            name: text(1)?.unwrap_or_default(),
            user: text(2)?.unwrap_or_default(),
            may_select: number(&row, 3) == Some(1),
            refused: text(4)?,
            columns: count(number(&row, 5)),
        });
    }
    connection.client.close_query().await.map_err(failed)?;
    give_back(connection);
    Ok(found)
}

fn count(number: Option<i32>) -> usize {
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_names_anything() {
        assert_eq!(grant("dbo", "a]b", &[], "CORP\\svc"), "GRANT SELECT ON [dbo].[a]]b] TO [CORP\\svc];");
        let columns = ["a".to_owned(), "b]".to_owned()];
        assert_eq!(grant("dbo", "t", &columns, "svc"), "GRANT SELECT ON [dbo].[t] ([a], [b]]]) TO [svc];");
    }

    #[test]
    fn a_table_is_readable_only_with_all_its_columns() {
        let row = |may_select: bool, refused: Option<&str>| Row {
            schema: "dbo".into(),
            name: "t".into(),
            user: "svc".into(),
            may_select,
            refused: refused.map(str::to_owned),
            columns: 2,
        };
        let of = |rows: &[Row]| {
            let found = permission(rows).unwrap();
            (found.missing_grants.concat(), found.denied_columns.concat())
        };
        let whole = "GRANT SELECT ON [dbo].[t] TO [svc];".to_owned();
        let part = "GRANT SELECT ON [dbo].[t] ([a]) TO [svc];".to_owned();
        assert_eq!(of(&[row(true, None)]), (String::new(), String::new()));
        assert_eq!(of(&[row(false, None)]), (whole.clone(), String::new()));
        assert_eq!(of(&[row(false, Some("a")), row(false, Some("b"))]), (whole, String::new()));
        // A grant of columns, and a DENY of one.
        assert_eq!(of(&[row(false, Some("a"))]), (part.clone(), "a".into()));
        assert_eq!(of(&[row(true, Some("a"))]), (part, "a".into()));
    }
}

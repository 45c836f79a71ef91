//! Who is on the other side, and what the role may read there.

use datakit_model::TableId;
use datakit_model::source::Isolation;
use tokio_postgres::Row;

use super::config::{PostgresConfig, RowSecurity};
use super::connect::PostgresConnection;
use super::error::PostgresError;
use super::statement::{Transaction, quote};
use crate::wire::{ServerInfo, WHO};
use datakit_connect::permissions::{Codes, Permissions, TablePermission};
use datakit_connect::pool::{Pool, give_back};

const CODES: Codes = Codes { denied: "DK-SRC-132", not_found: "DK-SRC-133" };

/// Relations with rows that people made: whether the role may use their schema, read any of their columns, which columns it may
/// not read, and whether row-level security hides rows from it.
const PERMISSIONS: &str = "\
SELECT n.nspname::text, c.relname::text, has_schema_privilege(n.oid, 'USAGE'), has_any_column_privilege(c.oid, 'SELECT'), \
ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 \
AND NOT a.attisdropped AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT') ORDER BY a.attnum), \
c.relrowsecurity AND row_security_active(c.oid) \
FROM pg_catalog.pg_class AS c INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!' \
ORDER BY 1, 2";

/// Asks, over a connection of the pool: bounds hold for this one as for others.
pub(super) async fn who(config: &PostgresConfig, pool: &Pool<PostgresConfig>) -> Result<ServerInfo, PostgresError> {
    let rows = ask(config, pool, WHO).await?;
    let Some(row) = rows.first() else {
        return Err(PostgresError::Internal("the server does not say who it is".into()));
    };
    ServerInfo::of(row).map_err(|error| PostgresError::of_query(config, error, 0))
}

/// Asks, over a connection of the pool.
pub(super) async fn permissions(
    config: &PostgresConfig,
    pool: &Pool<PostgresConfig>,
) -> Result<Permissions, PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    let rows = ask(config, pool, PERMISSIONS).await?;
    let tables: Result<Vec<TablePermission>, _> = rows.iter().map(|row| permission(row, config)).collect();
    let names = datakit_model::NameRule::Bytes;
    Ok(Permissions { user: config.server.user.clone(), tables: tables.map_err(failed)?, names, codes: CODES })
}

/// One question in a transaction of its own: what it sets ends with it.
async fn ask(config: &PostgresConfig, pool: &Pool<PostgresConfig>, question: &str) -> Result<Vec<Row>, PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    let connection = pool.lease::<PostgresConnection>().await?;
    let begin = Transaction::own("doctor", Isolation::ReadCommitted, config.row_security).begin();
    connection.client.batch_execute(&begin).await.map_err(failed)?;
    let rows = connection.client.query_typed(question, &[]).await.map_err(failed)?;
    connection.client.batch_execute("COMMIT").await.map_err(failed)?;
    give_back(connection);
    Ok(rows)
}

fn permission(row: &Row, config: &PostgresConfig) -> Result<TablePermission, tokio_postgres::Error> {
    let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let (may_use, may_select): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    let denied: Vec<String> = row.try_get(4)?;
    let user = quote(&config.server.user);
    let usage = (!may_use).then(|| format!("GRANT USAGE ON SCHEMA {} TO {user};", quote(&schema)));
    let select = (!may_select || !denied.is_empty()).then(|| {
        let columns: Vec<String> = denied.iter().filter(|_| may_select).map(|column| quote(column)).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        format!("GRANT SELECT{columns} ON {}.{} TO {user};", quote(&schema), quote(&name))
    });
    Ok(TablePermission {
        table: TableId::new(schema, name),
        missing_grants: usage.into_iter().chain(select).collect(),
        denied_columns: if may_use && may_select { denied } else { Vec::new() },
        hides_rows: row.try_get::<_, bool>(5)? && config.row_security == RowSecurity::Refuse,
    })
}

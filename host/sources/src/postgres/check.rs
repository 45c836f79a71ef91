//! Who is on the other side, and what the role may read there.

use datakit_model::TableId;
use tokio_postgres::Row;

use super::config::PostgresConfig;
use super::connect::PostgresConnection;
use super::error::PostgresError;
use crate::permissions::{Codes, Permissions, TablePermission};
use crate::pool::{Pool, give_back};

const CODES: Codes = Codes { denied: "DK-SRC-132", not_found: "DK-SRC-133" };

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `server_version`: `15.8`.
    pub version: String,
    /// The current database.
    pub database: String,
    /// The role that logged in.
    pub user: String,
}

const WHO: &str = "SELECT current_setting('server_version'), current_database()::text, session_user::text";

/// Relations with rows that people made: whether the role may use their schema, and read them or at least a column.
const PERMISSIONS: &str = "\
SELECT n.nspname::text, c.relname::text, has_schema_privilege(n.oid, 'USAGE'), has_any_column_privilege(c.oid, 'SELECT') \
FROM pg_class AS c INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!' \
ORDER BY 1, 2";

/// Asks, over a connection of the pool: bounds hold for this one as for others.
pub(super) async fn who(config: &PostgresConfig, pool: &Pool<PostgresConfig>) -> Result<ServerInfo, PostgresError> {
    let connection = pool.lease::<PostgresConnection>().await?;
    let failed = |error| PostgresError::of_query(config, error, 0);
    let row = connection.client.query_one(WHO, &[]).await.map_err(failed)?;
    give_back(connection);
    Ok(ServerInfo { version: row.get(0), database: row.get(1), user: row.get(2) })
}

/// Asks, over a connection of the pool.
pub(super) async fn permissions(
    config: &PostgresConfig,
    pool: &Pool<PostgresConfig>,
) -> Result<Permissions, PostgresError> {
    let connection = pool.lease::<PostgresConnection>().await?;
    let failed = |error| PostgresError::of_query(config, error, 0);
    let rows = connection.client.query(PERMISSIONS, &[]).await.map_err(failed)?;
    give_back(connection);
    let tables = rows.iter().map(|row| permission(row, &config.user)).collect();
    Ok(Permissions { user: config.user.clone(), tables, codes: CODES })
}

fn permission(row: &Row, user: &str) -> TablePermission {
    let (schema, name): (String, String) = (row.get(0), row.get(1));
    let (may_use, may_select): (bool, bool) = (row.get(2), row.get(3));
    let usage = (!may_use).then(|| format!("GRANT USAGE ON SCHEMA {} TO {};", quoted(&schema), quoted(user)));
    let select =
        (!may_select).then(|| format!("GRANT SELECT ON {}.{} TO {};", quoted(&schema), quoted(&name), quoted(user)));
    TablePermission {
        table: TableId::new(schema, name),
        missing_grants: usage.into_iter().chain(select).collect(),
        denied_columns: Vec::new(),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

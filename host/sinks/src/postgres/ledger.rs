//! The ledger: one row a source table, written in the same transaction as its rows.

use datakit_model::{TableId, TableState};
use tokio_postgres::Client;

use super::config::PostgresConfig;
use super::connection::statement_error;
use super::names::{TableName, quote};
use super::types::Existing;
use crate::error::SinkError;

/// The ledger's schema; no source's table can be in it.
pub(crate) const SCHEMA: &str = "_datakit";
/// The ledger, as it stands in SQL and in messages.
pub(crate) const LEDGER: &str = r#""_datakit"."ledger""#;

/// The advisory lock of whoever creates a schema or the ledger: "datakit" in ASCII.
const CREATION_LOCK: i64 = 0x0064_6174_616b_6974;

const CREATE_LEDGER: &str = r#"
CREATE TABLE IF NOT EXISTS "_datakit"."ledger" (
    source_system text NOT NULL,
    source_schema text NOT NULL,
    source_table  text NOT NULL,
    target_schema text NOT NULL,
    target_table  text NOT NULL,
    state         json NOT NULL,
    committed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_system, source_schema, source_table),
    UNIQUE (target_schema, target_table)
)"#;

/// Creates what can be there before any row: the ledger and the table's schema, each in a transaction of its own, so
/// that runs of different tables do not wait for each other. What exists is not touched, so that a user without the
/// right to create can use what an administrator made.
pub(crate) async fn prepare(client: &Client, config: &PostgresConfig, name: &TableName) -> Result<(), SinkError> {
    create_schema(client, config, SCHEMA).await?;
    if !exists(client, config, LEDGER).await? {
        create(client, config, CREATE_LEDGER, LEDGER).await?;
    }
    create_schema(client, config, &name.schema).await
}

async fn create_schema(client: &Client, config: &PostgresConfig, schema: &str) -> Result<(), SinkError> {
    let location = quote(schema);
    let there = client.query_one("SELECT count(*) FROM pg_namespace WHERE nspname = $1", &[&schema]).await;
    let there: i64 = there.map_err(|e| statement_error(config, "look for", &location, e))?.get(0);
    if there > 0 {
        return Ok(());
    }
    create(client, config, &format!("CREATE SCHEMA IF NOT EXISTS {location}"), &location).await
}

/// `IF NOT EXISTS` still fails, in several ways, when another session creates the same at the same moment: so one session at
/// a time creates. Both statements are one transaction, whose end gives the lock back.
async fn create(client: &Client, config: &PostgresConfig, sql: &str, location: &str) -> Result<(), SinkError> {
    let locked = format!("SELECT pg_advisory_xact_lock({CREATION_LOCK}); {sql}");
    client.batch_execute(&locked).await.map_err(|error| statement_error(config, "create", location, error))
}

async fn exists(client: &Client, config: &PostgresConfig, relation: &str) -> Result<bool, SinkError> {
    let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&relation]).await;
    Ok(row.map_err(|e| statement_error(config, "look for", relation, e))?.get(0))
}

/// What the last commit of a source table left.
pub(crate) async fn read(
    client: &Client,
    config: &PostgresConfig,
    source_system: &str,
    table: &TableId,
) -> Result<Option<TableState>, SinkError> {
    if !exists(client, config, LEDGER).await? {
        return Ok(None);
    }
    let sql = r#"SELECT state::text FROM "_datakit"."ledger"
        WHERE source_system = $1 AND source_schema = $2 AND source_table = $3"#;
    let row = client.query_opt(sql, &[&source_system, &table.schema, &table.name]).await;
    let Some(row) = row.map_err(|e| statement_error(config, "read", LEDGER, e))? else { return Ok(None) };
    let json: &str = row.get(0);
    serde_json::from_str(json).map(Some).map_err(|source| SinkError::State { location: LEDGER.to_owned(), source })
}

/// The other source table whose rows are in this target, for two names can meet: `A_B` + `c` and `A` + `B_c`.
pub(crate) async fn other_owner(
    client: &Client,
    config: &PostgresConfig,
    source_system: &str,
    table: &TableId,
    name: &TableName,
) -> Result<Option<String>, SinkError> {
    let sql = r#"SELECT source_system || ': ' || source_schema || '.' || source_table FROM "_datakit"."ledger"
        WHERE target_schema = $1 AND target_table = $2
        AND (source_system, source_schema, source_table) <> ($3, $4, $5)"#;
    let row = client.query_opt(sql, &[&name.schema, &name.table, &source_system, &table.schema, &table.name]).await;
    Ok(row.map_err(|e| statement_error(config, "read", LEDGER, e))?.map(|row| row.get(0)))
}

/// Writes the state into the transaction.
pub(crate) async fn write(
    client: &Client,
    config: &PostgresConfig,
    source_system: &str,
    table: &TableId,
    name: &TableName,
    state: &TableState,
) -> Result<(), SinkError> {
    let json =
        serde_json::to_string(state).map_err(|source| SinkError::State { location: LEDGER.to_owned(), source })?;
    let sql = r#"INSERT INTO "_datakit"."ledger"
        (source_system, source_schema, source_table, target_schema, target_table, state)
        VALUES ($1, $2, $3, $4, $5, $6::text::json)
        ON CONFLICT (source_system, source_schema, source_table) DO UPDATE
        SET target_schema = excluded.target_schema, target_table = excluded.target_table, state = excluded.state,
            committed_at = now()"#;
    client
        .execute(sql, &[&source_system, &table.schema, &table.name, &name.schema, &name.table, &json])
        .await
        .map_err(|e| statement_error(config, "write to", LEDGER, e))?;
    Ok(())
}

/// The columns of the table that is there; none: there is none. A view, a foreign or a partitioned table is refused.
pub(crate) async fn existing_columns(
    client: &Client,
    config: &PostgresConfig,
    name: &TableName,
) -> Result<Option<Vec<Existing>>, SinkError> {
    let location = name.to_string();
    let failed = |e| statement_error(config, "look at", &location, e);
    let sql = "SELECT c.oid, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2";
    let Some(row) = client.query_opt(sql, &[&name.schema, &name.table]).await.map_err(failed)? else { return Ok(None) };
    let (oid, kind): (u32, &str) = (row.get(0), row.get(1));
    if kind != "r" {
        let reason = match kind {
            "v" | "m" => "it is a view",
            "p" => "it is partitioned",
            "f" => "it is a foreign table",
            _ => "it is no table",
        };
        return Err(SinkError::ForeignTable { location, reason: reason.to_owned() });
    }
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull,
            attgenerated <> '' OR attidentity <> '', atthasdef
        FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = client.query(sql, &[&oid]).await.map_err(failed)?;
    let columns = rows.iter().map(|row| Existing {
        name: row.get(0),
        type_name: row.get(1),
        not_null: row.get(2),
        generated: row.get(3),
        has_default: row.get(4),
    });
    Ok(Some(columns.collect()))
}

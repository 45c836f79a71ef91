//! The ledger: one row a source table, written in the same transaction as its rows.

use datakit_model::TableId;
use datakit_model::state::{SourceTable, StateDocument, TargetTable};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::connection::statement_error;
use super::names::{TableName, quote, quote_literal};
use super::types::Existing;
use crate::server::Server;
use datakit_connect::sink::SinkError;

/// The ledger's schema; no source's table can be in it.
pub(crate) const SCHEMA: &str = "_datakit";
/// The ledger, as it stands in SQL and in messages.
pub(crate) const LEDGER: &str = r#""_datakit"."ledger""#;

/// What each transaction begins with: policies hide no rows of ledger or table, the server refuses instead; a string holds no
/// escapes. It ends with the transaction: behind a pooler the session is others' as well.
pub(crate) const TRANSACTION: &str = "SET LOCAL row_security = off; SET LOCAL standard_conforming_strings = on";

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
pub(crate) async fn prepare(client: &Client, config: &Server, name: &TableName) -> Result<(), SinkError> {
    prepare_own(client, config, CREATE_LEDGER, LEDGER).await?;
    create_schema(client, config, &name.schema).await
}

/// Creates a table of the ledger's schema, if it is not there.
pub(crate) async fn prepare_own(
    client: &Client,
    config: &Server,
    sql: &str,
    relation: &'static str,
) -> Result<(), SinkError> {
    create_schema(client, config, SCHEMA).await?;
    if exists(client, config, relation).await? {
        return Ok(());
    }
    create(client, config, sql, relation).await
}

async fn create_schema(client: &Client, config: &Server, schema: &str) -> Result<(), SinkError> {
    let location = quote(schema);
    let sql = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let there = client.query_typed_one(sql, &[text(&schema)]).await;
    let there: i64 = there.map_err(|e| statement_error(config, "look for", &location, e))?.get(0);
    if there > 0 {
        return Ok(());
    }
    create(client, config, &format!("CREATE SCHEMA IF NOT EXISTS {location}"), &location).await
}

/// `IF NOT EXISTS` still fails, in several ways, when another session creates the same at the same moment: so one session at
/// a time creates. Both statements are one transaction, whose end gives the lock back.
async fn create(client: &Client, config: &Server, sql: &str, location: &str) -> Result<(), SinkError> {
    let locked = format!("SELECT pg_advisory_xact_lock({CREATION_LOCK}); {sql}");
    client.batch_execute(&locked).await.map_err(|error| statement_error(config, "create", location, error))
}

pub(crate) async fn exists(client: &Client, config: &Server, relation: &str) -> Result<bool, SinkError> {
    let row = client.query_typed_one("SELECT to_regclass($1) IS NOT NULL", &[text(&relation)]).await;
    Ok(row.map_err(|e| statement_error(config, "look for", relation, e))?.get(0))
}

/// A parameter of type text. Statements have no names: behind a pooler the next one may meet another session.
pub(crate) fn text<T: ToSql + Sync>(value: &T) -> (&(dyn ToSql + Sync), Type) {
    (value, Type::TEXT)
}

/// Which table a ledger's row is about, whatever its name is by now: [`TargetTable::Postgres`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    oid: u32,
    ledger_oid: u32,
    rows: u64,
}

impl Bound {
    /// None in a row that an earlier version wrote.
    fn of(document: &StateDocument) -> Option<Self> {
        match document.target {
            Some(TargetTable::Postgres { oid, ledger_oid, rows }) => Some(Self { oid, ledger_oid, rows }),
            _ => None,
        }
    }
}

/// What the last commit left, as far as the table that it was for is still there with its rows.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Its state; none also where the table is gone, was emptied, or is another one of the same name.
    pub(crate) document: Option<StateDocument>,
    /// Rows that the ledger counts in the table.
    pub(crate) rows: u64,
    /// Why a state does not count.
    pub(crate) lost: Option<Lost>,
}

/// Why a state does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// There is no table.
    Gone,
    /// It has no rows any more.
    Emptied,
    /// The table of this name is another one, and it has rows.
    Replaced,
}

/// Reads what the last commit of a source table left, in a transaction of its own.
pub(crate) async fn state(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
) -> Result<Option<StateDocument>, SinkError> {
    let failed = |e| statement_error(config, "read", LEDGER, e);
    client.batch_execute(&format!("BEGIN READ ONLY; {TRANSACTION}")).await.map_err(failed)?;
    let held = held(client, config, source_system, table).await?;
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(held.document)
}

/// What the last commit of a source table left, in a transaction that was begun.
pub(crate) async fn held(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
) -> Result<Held, SinkError> {
    let Some((document, now)) = entry(client, config, source_system, table).await? else {
        return Ok(Held::default());
    };
    let lost = |lost| Ok(Held { lost: Some(lost), ..Held::default() });
    let bound = Bound::of(&document);
    let counts = Held { rows: bound.map_or(0, |bound| bound.rows), document: Some(document), lost: None };
    let (Some(bound), Some(there)) = (bound, &now.table) else {
        // A row of an earlier version says no more than the name.
        return if now.table.is_some() { Ok(counts) } else { lost(Lost::Gone) };
    };
    let is_same = bound.oid == there.oid || bound.ledger_oid != now.ledger_oid;
    if is_same && (bound.rows == 0 || !there.is_readable) {
        return Ok(counts);
    }
    let has_rows = !there.is_readable || has_rows(client, config, &there.name).await?;
    match (is_same, has_rows) {
        (true, true) => Ok(counts),
        (_, false) => lost(Lost::Emptied),
        (false, true) => lost(Lost::Replaced),
    }
}

/// The run that committed a source table last, whatever has become of the table.
pub(crate) async fn committed(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
) -> Result<Option<StateDocument>, SinkError> {
    Ok(entry(client, config, source_system, table).await?.map(|(document, _)| document))
}

/// What is there now.
struct Now {
    ledger_oid: u32,
    /// None: no table has the name.
    table: Option<There>,
}

struct There {
    oid: u32,
    /// Both names, quoted.
    name: String,
    is_readable: bool,
}

async fn entry(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
) -> Result<Option<(StateDocument, Now)>, SinkError> {
    if !exists(client, config, LEDGER).await? {
        return Ok(None);
    }
    let sql = r#"SELECT l.state::text, '"_datakit"."ledger"'::regclass::oid, c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
            coalesce(has_table_privilege(c.oid, 'SELECT'), false)
        FROM "_datakit"."ledger" AS l
        LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = l.target_schema
        LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = l.target_table
        WHERE l.source_system = $1 AND l.source_schema = $2 AND l.source_table = $3"#;
    let source_schema = source_schema(table);
    let key = [text(&source_system), text(&source_schema), text(&table.name)];
    let row = client.query_typed_opt(sql, &key).await;
    let Some(row) = row.map_err(|e| statement_error(config, "read", LEDGER, e))? else { return Ok(None) };
    let document = StateDocument::parse(row.get(0), &SourceTable::new(source_system, table))
        .map_err(|source| SinkError::State { location: LEDGER.to_owned(), source })?;
    let there = |oid| There { oid, name: row.get(3), is_readable: row.get(4) };
    Ok(Some((document, Now { ledger_oid: row.get(1), table: row.get::<_, Option<u32>>(2).map(there) })))
}

/// The condition of a source table's row, for people.
pub(crate) fn where_row(source_system: &str, table: &TableId) -> String {
    format!(
        "source_system = {} AND source_schema = {} AND source_table = {}",
        quote_literal(source_system),
        quote_literal(&source_schema(table)),
        quote_literal(&table.name)
    )
}

/// Whether the table has rows; `name` is quoted.
pub(crate) async fn has_rows(client: &Client, config: &Server, name: &str) -> Result<bool, SinkError> {
    let row = client.query_typed_one(&format!("SELECT EXISTS (SELECT FROM {name})"), &[]).await;
    Ok(row.map_err(|e| statement_error(config, "look at", name, e))?.get(0))
}

/// The other source table whose rows are in this target, for two names can meet: `A_B` + `c` and `A` + `B_c`.
pub(crate) async fn other_owner(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
    name: &TableName,
) -> Result<Option<String>, SinkError> {
    let sql = r#"SELECT source_system || ': ' || source_schema || '.' || source_table FROM "_datakit"."ledger"
        WHERE target_schema = $1 AND target_table = $2
        AND (source_system, source_schema, source_table) <> ($3, $4, $5)"#;
    let source_schema = source_schema(table);
    let names = [text(&name.schema), text(&name.table), text(&source_system), text(&source_schema), text(&table.name)];
    let row = client.query_typed_opt(sql, &names).await;
    Ok(row.map_err(|e| statement_error(config, "read", LEDGER, e))?.map(|row| row.get(0)))
}

/// The table as a document names it; `rows` is what it holds with this commit.
pub(crate) async fn target(
    client: &Client,
    config: &Server,
    name: &TableName,
    rows: u64,
) -> Result<TargetTable, SinkError> {
    let location = name.to_string();
    let sql = "SELECT $1::text::regclass::oid, $2::text::regclass::oid";
    let ids = client.query_typed_one(sql, &[text(&location), text(&LEDGER)]).await;
    let ids = ids.map_err(|e| statement_error(config, "look for", LEDGER, e))?;
    Ok(TargetTable::Postgres { oid: ids.get(0), ledger_oid: ids.get(1), rows })
}

/// Writes the document into the transaction.
pub(crate) async fn write(
    client: &Client,
    config: &Server,
    source_system: &str,
    table: &TableId,
    name: &TableName,
    document: &StateDocument,
) -> Result<(), SinkError> {
    let failed = |e| statement_error(config, "write to", LEDGER, e);
    let json = serde_json::to_string(document)
        .map_err(|source| SinkError::State { location: LEDGER.to_owned(), source: source.into() })?;
    let sql = r#"INSERT INTO "_datakit"."ledger"
        (source_system, source_schema, source_table, target_schema, target_table, state)
        VALUES ($1, $2, $3, $4, $5, $6::json)
        ON CONFLICT (source_system, source_schema, source_table) DO UPDATE
        SET target_schema = excluded.target_schema, target_table = excluded.target_table, state = excluded.state,
            committed_at = now()"#;
    let source_schema = source_schema(table);
    let values = [
        text(&source_system),
        text(&source_schema),
        text(&table.name),
        text(&name.schema),
        text(&name.table),
        text(&json),
    ];
    client.execute_typed(sql, &values).await.map_err(failed)?;
    Ok(())
}

/// The columns of the table that is there; none: there is none. A view, a foreign or a partitioned table is refused.
pub(crate) async fn existing_columns(
    client: &Client,
    config: &Server,
    name: &TableName,
) -> Result<Option<Vec<Existing>>, SinkError> {
    let location = name.to_string();
    let failed = |e| statement_error(config, "look at", &location, e);
    let sql = "SELECT c.oid, c.relkind::text FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let names = [text(&name.schema), text(&name.table)];
    let Some(row) = client.query_typed_opt(sql, &names).await.map_err(failed)? else { return Ok(None) };
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
        FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = client.query_typed(sql, &[(&oid, Type::OID)]).await.map_err(failed)?;
    let columns = rows.iter().map(|row| Existing {
        name: row.get(0),
        type_name: row.get(1),
        not_null: row.get(2),
        generated: row.get(3),
        has_default: row.get(4),
    });
    Ok(Some(columns.collect()))
}

/// The table's schema as the ledger has it: `catalog.schema` where there is a catalog.
fn source_schema(table: &TableId) -> String {
    match &table.catalog {
        Some(catalog) => format!("{catalog}.{}", table.schema),
        None => table.schema.clone(),
    }
}

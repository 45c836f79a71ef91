//! The rows of `"_datakit"."unfinished"`: one a load with its plan, and one a partition that has a table.

use std::time::Duration;

use datakit_connect::sink::SinkError;
use datakit_model::TableId;
use datakit_model::resume::{FinishedPartition, LoadPlan};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::{Found, UNFINISHED};
use crate::server::Server;
use crate::sink::connection::statement_error;
use crate::sink::ledger::{self, text};
use crate::sink::names::TableName;

const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS "_datakit"."unfinished" (
    load_id        text NOT NULL,
    partition      integer NOT NULL,
    source_system  text NOT NULL,
    source_catalog text,
    source_schema  text NOT NULL,
    source_table   text NOT NULL,
    target_schema  text NOT NULL,
    target_table   text NOT NULL,
    run_id         text NOT NULL,
    fingerprint    text NOT NULL,
    document       json,
    written_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (load_id, partition)
)"#;

/// In the place of the partition of a load's own row.
const OF_LOAD: i32 = -1;

/// Creates the table, if it is not there.
pub(super) async fn prepare(client: &Client, config: &Server) -> Result<(), SinkError> {
    ledger::prepare_own(client, config, CREATE, UNFINISHED).await
}

/// Whose the rows of a load are.
pub(super) struct Key<'a> {
    pub(super) source_system: &'a str,
    pub(super) table: &'a TableId,
    pub(super) target: &'a TableName,
    pub(super) load: &'a LoadPlan,
}

/// Says that a partition has a table, in the transaction that made it. Its document follows.
pub(super) async fn add(client: &Client, config: &Server, key: &Key<'_>, ordinal: u32) -> Result<(), SinkError> {
    let plan = json(key.load)?;
    insert(client, config, key, OF_LOAD, Some(&plan)).await?;
    insert(client, config, key, number(ordinal), None).await
}

async fn insert(
    client: &Client,
    config: &Server,
    key: &Key<'_>,
    partition: i32,
    document: Option<&str>,
) -> Result<(), SinkError> {
    let sql = r#"INSERT INTO "_datakit"."unfinished" (load_id, partition, source_system, source_catalog, source_schema, source_table,
            target_schema, target_table, run_id, fingerprint, document)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json) ON CONFLICT (load_id, partition) DO NOTHING"#;
    let Key { source_system, table, target, load } = key;
    let values: &[(&(dyn ToSql + Sync), Type)] = &[
        text(&load.id),
        (&partition, Type::INT4),
        text(source_system),
        text(&table.catalog),
        text(&table.schema),
        text(&table.name),
        text(&target.schema),
        text(&target.table),
        text(&load.run_id),
        text(&load.fingerprint),
        text(&document),
    ];
    client.execute_typed(sql, values).await.map_err(|error| statement_error(config, "write to", UNFINISHED, error))?;
    Ok(())
}

/// Keeps finished partitions.
pub(super) async fn keep(
    client: &Client,
    config: &Server,
    load_id: &str,
    partitions: &[FinishedPartition],
) -> Result<(), SinkError> {
    let sql = r#"UPDATE "_datakit"."unfinished" SET document = $3::text::json, written_at = now() WHERE load_id = $1 AND partition = $2"#;
    for partition in partitions {
        let (ordinal, document) = (number(partition.ordinal), json(partition)?);
        let values: &[(&(dyn ToSql + Sync), Type)] = &[text(&load_id), (&ordinal, Type::INT4), text(&document)];
        let kept = client.execute_typed(sql, values).await;
        kept.map_err(|error| statement_error(config, "write to", UNFINISHED, error))?;
    }
    Ok(())
}

/// Forgets a partition.
pub(super) async fn remove(client: &Client, config: &Server, load_id: &str, ordinal: u32) -> Result<(), SinkError> {
    let sql = r#"DELETE FROM "_datakit"."unfinished" WHERE load_id = $1 AND partition = $2"#;
    let values: &[(&(dyn ToSql + Sync), Type)] = &[text(&load_id), (&number(ordinal), Type::INT4)];
    let removed = client.execute_typed(sql, values).await;
    removed.map(drop).map_err(|error| statement_error(config, "write to", UNFINISHED, error))
}

/// Forgets a load that has no partitions.
pub(super) async fn remove_empty(client: &Client, config: &Server, load_id: &str) -> Result<(), SinkError> {
    let sql = r#"DELETE FROM "_datakit"."unfinished" WHERE load_id = $1
        AND NOT EXISTS (SELECT FROM "_datakit"."unfinished" WHERE load_id = $1 AND partition >= 0)"#;
    let removed = client.execute_typed(sql, &[text(&load_id)]).await;
    removed.map(drop).map_err(|error| statement_error(config, "write to", UNFINISHED, error))
}

const SELECT: &str = r#"SELECT load_id, partition, source_system, source_catalog, source_schema, source_table, target_schema,
    target_table, fingerprint, document::text, extract(epoch FROM now() - written_at)::float8 FROM "_datakit"."unfinished""#;

/// The loads of a run into one table, newest first.
pub(super) async fn of_run(
    client: &Client,
    config: &Server,
    (source_system, table): (&str, &TableId),
    run_id: &str,
) -> Result<Vec<Found>, SinkError> {
    let condition = "WHERE source_system = $1 AND source_catalog IS NOT DISTINCT FROM $2::text AND source_schema = $3 AND source_table = $4 \
                     AND run_id = $5";
    let values = [text(&source_system), text(&table.catalog), text(&table.schema), text(&table.name), text(&run_id)];
    select(client, config, condition, &values).await
}

/// All loads.
pub(super) async fn all(client: &Client, config: &Server) -> Result<Vec<Found>, SinkError> {
    select(client, config, "", &[]).await
}

/// The kept partitions of a load.
pub(super) async fn of_load(
    client: &Client,
    config: &Server,
    load_id: &str,
) -> Result<Vec<FinishedPartition>, SinkError> {
    let found = select(client, config, "WHERE load_id = $1", &[text(&load_id)]).await?;
    Ok(found.into_iter().next().map(|found| found.finished).unwrap_or_default())
}

async fn select(
    client: &Client,
    config: &Server,
    condition: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Found>, SinkError> {
    if !ledger::exists(client, config, UNFINISHED).await? {
        return Ok(Vec::new());
    }
    let sql = format!("{SELECT} {condition} ORDER BY load_id, partition");
    let rows = client.query_typed(&sql, values).await;
    let rows = rows.map_err(|error| statement_error(config, "read", UNFINISHED, error))?;
    let mut loads: Vec<Found> = Vec::new();
    for row in &rows {
        let load_id: String = row.get(0);
        if loads.last().is_none_or(|load| load.load_id != load_id) {
            loads.push(found(load_id, row));
        }
        if let Some(load) = loads.last_mut() {
            take_in(load, row);
        }
    }
    loads.sort_by_key(|load| load.age);
    Ok(loads)
}

fn found(load_id: String, row: &Row) -> Found {
    let table = TableId { catalog: row.get(3), ..TableId::new(row.get::<_, String>(4), row.get::<_, String>(5)) };
    Found {
        load_id,
        source_system: row.get(2),
        table,
        target: TableName { schema: row.get(6), table: row.get(7) },
        fingerprint: row.get(8),
        plan: None,
        finished: Vec::new(),
        staged: Vec::new(),
        age: Duration::MAX,
    }
}

/// A document that cannot be understood counts as not there: a later release wrote it.
fn take_in(load: &mut Found, row: &Row) {
    let document: Option<String> = row.get(9);
    let age = Duration::try_from_secs_f64(row.get(10)).unwrap_or_default();
    load.age = load.age.min(age);
    let Ok(ordinal) = u32::try_from(row.get::<_, i32>(1)) else {
        let plan = document.and_then(|document| serde_json::from_str::<LoadPlan>(&document).ok());
        load.plan = plan.filter(|plan| plan.version == LoadPlan::VERSION && plan.id == load.load_id);
        return;
    };
    load.staged.push(ordinal);
    load.finished.extend(document.and_then(|document| serde_json::from_str::<FinishedPartition>(&document).ok()));
}

fn number(ordinal: u32) -> i32 {
    i32::try_from(ordinal).unwrap_or(i32::MAX)
}

fn json(value: &impl serde::Serialize) -> Result<String, SinkError> {
    serde_json::to_string(value)
        .map_err(|source| SinkError::Encode { location: UNFINISHED.to_owned(), source: Box::new(source) })
}

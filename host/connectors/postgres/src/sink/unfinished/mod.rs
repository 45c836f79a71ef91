//! Loads that are not committed yet: finished partitions wait in tables of their own, which `"_datakit"."unfinished"` names
//! (docs/resume.md).
//!
//! One process at a time works on a table: whoever has its advisory lock. So nothing here asks whose a load is.
//!
//! - [`rows`]: the rows of `"_datakit"."unfinished"`;
//! - [`staging`]: a partition on its way into its table;
//! - [`writer`]: the traits.

mod rows;
mod staging;
mod writer;

use std::time::Duration;

use datakit_connect::sink::SinkError;
use datakit_model::TableId;
use datakit_model::resume::{FinishedPartition, Leftover, LoadPlan, RETENTION, Stays, Unfinished};
use tokio_postgres::Client;

pub(crate) use staging::staging_table;
pub(crate) use writer::{StagedLoad, StagedWriter};

use super::connection::{Sessions, statement_error};
use super::ledger;
use super::names::TableName;
use super::transaction;
use super::types::TableSchema;
use crate::server::Server;

/// The table, as it stands in SQL and in messages.
pub(crate) const UNFINISHED: &str = r#""_datakit"."unfinished""#;

/// A load as its rows say it.
struct Found {
    load_id: String,
    source_system: String,
    table: TableId,
    target: TableName,
    fingerprint: String,
    /// None: it cannot be read.
    plan: Option<LoadPlan>,
    /// Finished partitions that are kept.
    finished: Vec<FinishedPartition>,
    /// Ordinals of all partitions that have a table.
    staged: Vec<u32>,
    /// Since the last sign of life.
    age: Duration,
}

/// What processes before have left of a run's load.
pub(crate) async fn unfinished(
    sessions: &Sessions,
    source_system: &str,
    table: &TableId,
    run_id: &str,
    fingerprint: &str,
) -> Result<Unfinished, SinkError> {
    let (client, config) = (sessions.open().await?, sessions.server());
    let mut unfinished = Unfinished::default();
    for found in rows::of_run(&client, config, (source_system, table), run_id).await? {
        let is_usable = found.fingerprint == fingerprint && found.age < RETENTION && unfinished.load.is_none();
        match found.plan.filter(|_| is_usable) {
            Some(plan) => unfinished.load = Some((plan, found.finished)),
            None => unfinished.others += 1,
        }
    }
    Ok(unfinished)
}

/// The partitions of a load whose rows are there, in the transaction that holds the table's lock. A table without a write-ahead log is
/// empty after a crash of the server: its partition is not among them, and neither is one whose table has other columns.
pub(crate) async fn finished(
    client: &Client,
    config: &Server,
    load: &LoadPlan,
    schema: &TableSchema,
) -> Result<Vec<FinishedPartition>, SinkError> {
    let mut there = Vec::new();
    for partition in rows::of_load(client, config, &load.id).await? {
        let name = staging_table(&load.id, partition.ordinal);
        let location = name.to_string();
        let columns = ledger::existing_columns(client, config, &name).await?;
        if columns.is_none_or(|columns| !schema.is_of(&columns)) {
            continue;
        }
        let counted = client.query_typed_one(&format!("SELECT count(*) FROM {name}"), &[]).await;
        let rows: i64 = counted.map_err(|error| statement_error(config, "count rows of", &location, error))?.get(0);
        if u64::try_from(rows) == Ok(partition.rows) {
            there.push(partition);
        } else {
            tracing::warn!(%location, "rows of a finished partition are gone: it is read again");
        }
    }
    Ok(there)
}

/// The loads that are not committed, and whether each may be removed.
pub(crate) async fn leftovers(sessions: &Sessions, older_than: Duration) -> Result<Vec<Leftover>, SinkError> {
    let (client, config) = (sessions.open().await?, sessions.server());
    let mut leftovers = Vec::new();
    for found in rows::all(&client, config).await? {
        let stays = if begin_locked(&client, config, &found.target).await? {
            commit(&client, config).await?;
            (found.age < older_than).then_some(Stays::Resumable)
        } else {
            Some(Stays::Live)
        };
        leftovers.push(Leftover {
            id: found.load_id.clone(),
            run_id: found.plan.as_ref().map(|plan| plan.run_id.clone()),
            place: format!("{UNFINISHED} load {}", found.load_id),
            partitions: found.finished.len(),
            rows: found.finished.iter().map(|partition| partition.rows).sum(),
            bytes: found.finished.iter().map(|partition| partition.bytes).sum(),
            age_seconds: found.age.as_secs(),
            source_system: found.source_system,
            table: found.table,
            stays,
        });
    }
    Ok(leftovers)
}

/// Removes a load with its tables. False: it is gone, or a process works on its table.
pub(crate) async fn remove(sessions: &Sessions, leftover: &Leftover) -> Result<bool, SinkError> {
    let (client, config) = (sessions.open().await?, sessions.server());
    let target = TableName::new(&leftover.source_system, &leftover.table)?;
    if !begin_locked(&client, config, &target).await? {
        return Ok(false);
    }
    // As it is now that nobody else works on it.
    let all = rows::all(&client, config).await?;
    let found = all.into_iter().find(|found| found.load_id == leftover.id && found.target == target);
    if let Some(found) = &found {
        drop_staged(&client, config, &found.load_id, &found.staged).await?;
    }
    commit(&client, config).await?;
    Ok(found.is_some())
}

/// Drops the tables of partitions of a load and the rows that name them, in a transaction that was begun. The load's own row goes with
/// the last of them.
pub(crate) async fn drop_staged(
    client: &Client,
    config: &Server,
    load_id: &str,
    ordinals: &[u32],
) -> Result<(), SinkError> {
    let failed = |error| statement_error(config, "remove", UNFINISHED, error);
    for ordinal in ordinals {
        let sql = format!("DROP TABLE IF EXISTS {}", staging_table(load_id, *ordinal));
        client.execute_typed(&sql, &[]).await.map_err(failed)?;
        rows::remove(client, config, load_id, *ordinal).await?;
    }
    rows::remove_empty(client, config, load_id).await
}

/// Begins a transaction that holds the lock of a table. False: a process works on it, and nothing is begun.
async fn begin_locked(client: &Client, config: &Server, target: &TableName) -> Result<bool, SinkError> {
    let failed = |error| statement_error(config, "look at", UNFINISHED, error);
    client.batch_execute(&format!("BEGIN; {}", ledger::TRANSACTION)).await.map_err(failed)?;
    match transaction::lock(client, config, target).await {
        Ok(()) => Ok(true),
        Err(error) => {
            client.batch_execute("ROLLBACK").await.map_err(failed)?;
            if matches!(error, SinkError::Conflict { .. }) { Ok(false) } else { Err(error) }
        }
    }
}

async fn commit(client: &Client, config: &Server) -> Result<(), SinkError> {
    let committed = client.batch_execute("COMMIT").await;
    committed.map_err(|error| statement_error(config, "commit", UNFINISHED, error))
}

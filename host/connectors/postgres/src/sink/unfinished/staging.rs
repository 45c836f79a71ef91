//! A partition on its way into a table of its own, by a connection of its own.
//!
//! The table is not logged: it costs half as much, and a crash of the server, which empties it, costs the reading of its rows.

use std::sync::Arc;

use datakit_connect::sink::SinkError;
use datakit_model::resume::LoadPlan;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::rows;
use crate::sink::connection::{Session, statement_error};
use crate::sink::copy::Copying;
use crate::sink::ledger::{self, SCHEMA};
use crate::sink::names::TableName;
use crate::sink::transaction::{Command, Plan};

/// The table of a partition.
pub(crate) fn staging_table(load_id: &str, ordinal: u32) -> TableName {
    let load: String = load_id.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    TableName { schema: SCHEMA.to_owned(), table: format!("load_{load}_{ordinal}") }
}

/// A partition whose rows arrive.
pub(super) struct Staging {
    /// None once it was waited for.
    task: Option<JoinHandle<Result<(Session, Copying), SinkError>>>,
    name: TableName,
}

impl Drop for Staging {
    /// The connection ends, and the server rolls back.
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn failed(plan: &Plan, action: &'static str, location: &TableName, error: tokio_postgres::Error) -> SinkError {
    statement_error(&plan.config, action, &location.to_string(), error)
}

impl Staging {
    /// Makes the table anew, in a transaction that ends with the partition. Rows that are sent to the channel go into it.
    pub(super) async fn begin(
        plan: &Arc<Plan>,
        load: &LoadPlan,
        ordinal: u32,
    ) -> Result<(Self, mpsc::Sender<Command>), SinkError> {
        let client = plan.sessions.open().await?;
        rows::prepare(&client, &plan.config).await?;
        let name = staging_table(&load.id, ordinal);
        let columns = plan.schema.definitions().join(", ");
        let sql = format!(
            "BEGIN; {}; SET LOCAL client_min_messages = warning; DROP TABLE IF EXISTS {name}; CREATE UNLOGGED TABLE {name} ({columns})",
            ledger::TRANSACTION
        );
        client.batch_execute(&sql).await.map_err(|error| failed(plan, "create", &name, error))?;
        let (sender, receiver) = mpsc::channel(1);
        let task = tokio::spawn(take_rows(Arc::clone(plan), name.clone(), client, receiver));
        Ok((Self { task: Some(task), name }, sender))
    }

    /// Commits the table when all who send have ended.
    ///
    /// # Errors
    /// What the server said to a row, or to the commit; nothing is there then, or will be made anew.
    pub(super) async fn finish(
        mut self,
        plan: &Plan,
        load: &LoadPlan,
        ordinal: u32,
        written: u64,
    ) -> Result<(), SinkError> {
        let location = || self.name.to_string();
        let Some(task) = self.task.take() else { return Ok(()) };
        let ended = task.await.map_err(|error| SinkError::Encode { location: location(), source: Box::new(error) })?;
        let (client, copying) = ended?;
        let copied = copying.end().await.map_err(|error| failed(plan, "write to", &self.name, error))?;
        if copied != written {
            let what = format!("{written} rows were written, and {copied} arrived");
            return Err(SinkError::Misuse { location: location(), what });
        }
        rows::remove(&client, &plan.config, &load.id, ordinal).await?;
        let (source_system, table) = (plan.target.run.source_system.as_str(), &plan.target.table);
        let key = rows::Key { source_system, table, target: &plan.name, load };
        rows::add(&client, &plan.config, &key, ordinal).await?;
        client.batch_execute("COMMIT").await.map_err(|error| failed(plan, "commit", &self.name, error))
    }
}

async fn take_rows(
    plan: Arc<Plan>,
    name: TableName,
    client: Session,
    mut receiver: mpsc::Receiver<Command>,
) -> Result<(Session, Copying), SinkError> {
    let (sql, mut copying) = (plan.schema.copy(&name), Copying::default());
    while let Some(command) = receiver.recv().await {
        let Command::Rows(rows) = command else { continue };
        copying.send(&client, &sql, rows).await.map_err(|error| failed(&plan, "write to", &name, error))?;
    }
    Ok((client, copying))
}

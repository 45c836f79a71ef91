//! From the server into Arrow, and no further.

use std::sync::Arc;
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use datakit_model::source::{Access, Query, QueryOptions, Reader, Source};
use datakit_model::{MemoryBudget, RunIdentity, RunLimits, Secret, TablePatterns};
use datakit_sqlserver::SqlServerSource;
use datakit_sqlserver::config::{Encrypt, Login, SqlServerConfig};
use serde_json::Value;

use crate::{Cost, TableArguments};

/// The source, as the host makes it.
pub(crate) fn source(table: &TableArguments) -> Result<Arc<SqlServerSource>> {
    let login = Login::Sql { user: table.user.clone(), password: Secret::new(table.password.clone()).into() };
    let mut config = SqlServerConfig::with_login("localhost", &table.database, login);
    config.port = table.port;
    config.encrypt = Encrypt::Off;
    Ok(Arc::new(SqlServerSource::new(config)?))
}

/// All tables.
pub(crate) fn patterns() -> Result<TablePatterns> {
    let all = "*.*".parse().map_err(|error| anyhow!("{error}"))?;
    Ok(TablePatterns::new(vec![all]))
}

/// The bytes a run may hold, by default.
pub(crate) fn memory() -> MemoryBudget {
    static MEMORY: OnceLock<MemoryBudget> = OnceLock::new();
    MEMORY.get_or_init(|| MemoryBudget::new(RunLimits::default().max_memory_bytes)).clone()
}

/// The run, as the host would name it.
pub(crate) fn run() -> RunIdentity {
    RunIdentity {
        run_id: "bench".to_owned(),
        batch_id: uuid::Uuid::nil(),
        started_at_micros: 1_700_000_000_000_000,
        source_system: "SRC".to_owned(),
        datakit: "bench-paths".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: format!("sha256:{}", "0".repeat(64)),
    }
}

/// The query that a datakit sends for the table.
pub(crate) fn sql(table: &TableArguments) -> String {
    let columns: Vec<String> = table.columns.iter().map(|name| format!("[{name}]")).collect();
    format!("SELECT {} FROM [dbo].[{}]", columns.join(", "), table.table)
}

/// The source with a connection that waits: logins are no part of what is compared.
pub(crate) async fn connected(table: &TableArguments) -> Result<Arc<SqlServerSource>> {
    let source = source(table)?;
    let mut reader = open(&source, "SELECT 1 AS one".to_owned()).await?;
    while reader.next().await?.is_some() {}
    Ok(source)
}

/// Starts a query.
pub(crate) async fn open(source: &SqlServerSource, sql: String) -> Result<Box<dyn Reader>> {
    let access = Access { tables: patterns()?, run_id: run().run_id, memory: memory(), rejecting: None };
    let connection = source.connect(access).await?;
    let query = Query { sql, parameters: Vec::new(), options: QueryOptions::default() };
    Ok(connection.query(query).await?)
}

/// Reads all rows and drops them.
pub(crate) async fn decode(table: &TableArguments) -> Result<Value> {
    let source = connected(table).await?;
    let cost = Cost::begin();
    let mut reader = open(&source, sql(table)).await?;
    let mut rows = 0;
    while let Some(batch) = reader.next().await? {
        rows += batch.batch().num_rows() as u64;
    }
    Ok(cost.of(rows))
}

//! The states that the ledger keeps, for people; and a word of theirs that a state is that of the rows that are there.

use datakit_connect::sink::SinkError;
use datakit_model::sink::KeptState;
use datakit_model::state::{SourceTable, StateDocument};
use datakit_model::{Failure, TableId};
use tokio_postgres::Client;

use super::connection::statement_error;
use super::ledger::{self, Held, LEDGER, Lost};
use super::names::TableName;
use super::transaction;
use crate::server::Server;

/// A source table, by the names of the ledger's row.
pub(crate) struct Key<'a> {
    pub(crate) source_system: &'a str,
    pub(crate) table: &'a TableId,
    /// The target.
    pub(crate) name: &'a TableName,
}

/// The document of a source table; none where the table is gone or was emptied.
pub(crate) async fn document(
    client: &Client,
    config: &Server,
    key: &Key<'_>,
) -> Result<Option<StateDocument>, SinkError> {
    begin(client, config, "BEGIN READ ONLY").await?;
    let held = ledger::held(client, config, key.source_system, key.table).await?;
    end(client, config).await?;
    checked(held, key)
}

/// The states of all source tables that count, and of those whose target is another table now.
pub(crate) async fn states(client: &Client, config: &Server) -> Result<Vec<KeptState>, SinkError> {
    if !ledger::exists(client, config, LEDGER).await? {
        return Ok(Vec::new());
    }
    begin(client, config, "BEGIN READ ONLY").await?;
    let sql = r#"SELECT source_system, source_schema, source_table FROM "_datakit"."ledger" ORDER BY 1, 2, 3"#;
    let rows = client.query_typed(sql, &[]).await.map_err(|e| statement_error(config, "read", LEDGER, e))?;
    let mut states = Vec::new();
    for row in rows {
        let (source_system, schema, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // A catalog is a part of the schema here; the document has it by itself.
        let table = TableId::new(schema, name);
        let target = TableName::new(&source_system, &table)?;
        let key = Key { source_system: &source_system, table: &table, name: &target };
        let held = ledger::held(client, config, &source_system, &table).await;
        let document = match held.and_then(|held| checked(held, &key)) {
            Ok(None) => continue,
            Ok(Some(document)) => Ok(document),
            Err(error) => Err(Failure::from(error)),
        };
        let known = document.as_ref().ok().and_then(|document| document.positions.first());
        let table = known.map_or_else(|| table.clone(), |position| table_of(&position.source));
        states.push(KeptState { target: target.to_string(), source_system, table, document });
    }
    end(client, config).await?;
    Ok(states)
}

/// Binds the state of a source table to the table that has its target's name now, if that is another one.
pub(crate) async fn accept(
    client: &Client,
    config: &Server,
    key: &Key<'_>,
) -> Result<Option<StateDocument>, SinkError> {
    lock(client, config, key).await?;
    let held = ledger::held(client, config, key.source_system, key.table).await?;
    let last = ledger::committed(client, config, key.source_system, key.table).await?;
    let (Some(Lost::Replaced), Some(last)) = (held.lost, last) else {
        end(client, config).await?;
        return Ok(held.document);
    };
    let location = key.name.to_string();
    let row = client.query_typed_one(&format!("SELECT count(*) FROM {location}"), &[]).await;
    let rows: i64 = row.map_err(|e| statement_error(config, "count the rows of", &location, e))?.get(0);
    let to = ledger::target(client, config, key.name, u64::try_from(rows).unwrap_or_default()).await?;
    let document = StateDocument { target: Some(to), ..last };
    ledger::write(client, config, key.source_system, key.table, key.name, &document).await?;
    end(client, config).await?;
    Ok(Some(document))
}

/// Writes the last document without a watermark of this source table. None: there is no state.
pub(crate) async fn forget(
    client: &Client,
    config: &Server,
    key: &Key<'_>,
) -> Result<Option<StateDocument>, SinkError> {
    lock(client, config, key).await?;
    let last = ledger::committed(client, config, key.source_system, key.table).await?;
    let source = SourceTable::new(key.source_system, key.table);
    let document = last.map(|last| last.without_watermark(&source));
    if let Some(document) = &document {
        ledger::write(client, config, key.source_system, key.table, key.name, document).await?;
    }
    end(client, config).await?;
    Ok(document)
}

fn checked(held: Held, key: &Key<'_>) -> Result<Option<StateDocument>, SinkError> {
    match held.lost {
        Some(Lost::Replaced) => {
            let (location, row) = (key.name.to_string(), ledger::where_row(key.source_system, key.table));
            Err(SinkError::Replaced { location, row })
        }
        Some(Lost::Gone | Lost::Emptied) | None => Ok(held.document),
    }
}

fn table_of(source: &SourceTable) -> TableId {
    TableId { catalog: source.catalog.clone(), ..TableId::new(&source.schema, &source.table) }
}

/// Begins a transaction that no load of the target runs beside.
async fn lock(client: &Client, config: &Server, key: &Key<'_>) -> Result<(), SinkError> {
    begin(client, config, "BEGIN").await?;
    transaction::lock(client, config, key.name).await
}

async fn begin(client: &Client, config: &Server, begin: &str) -> Result<(), SinkError> {
    let sql = format!("{begin}; {}", ledger::TRANSACTION);
    client.batch_execute(&sql).await.map_err(|e| statement_error(config, "read", LEDGER, e))
}

async fn end(client: &Client, config: &Server) -> Result<(), SinkError> {
    client.batch_execute("COMMIT").await.map_err(|e| statement_error(config, "commit to", LEDGER, e))
}

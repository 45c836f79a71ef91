//! The records of runs, a row each beside the ledger (docs/runs.md).

use datakit_connect::sink::SinkError;
use datakit_model::sink::{KeptRecord, RecordName};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::connection::statement_error;
use super::ledger::{self, text};
use crate::server::Server;

/// The table, as it stands in SQL and in messages.
const RECORDS: &str = r#""_datakit"."runs""#;

const CREATE: &str = r#"
CREATE TABLE IF NOT EXISTS "_datakit"."runs" (
    run_id         text NOT NULL,
    started_micros bigint NOT NULL,
    ingest         text NOT NULL,
    record         json NOT NULL,
    written_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, started_micros, ingest)
)"#;

/// Writes a record, in the place of one of the same name.
pub(crate) async fn put(client: &Client, config: &Server, name: &RecordName, json: &str) -> Result<(), SinkError> {
    ledger::prepare_own(client, config, CREATE, RECORDS).await?;
    let sql = r#"INSERT INTO "_datakit"."runs" (run_id, started_micros, ingest, record) VALUES ($1, $2, $3, $4::json)
        ON CONFLICT (run_id, started_micros, ingest) DO UPDATE SET record = excluded.record, written_at = now()"#;
    let values: &[(&(dyn ToSql + Sync), Type)] =
        &[text(&name.run_id), (&name.started_at_micros, Type::INT8), text(&name.ingest), text(&json)];
    client.execute_typed(sql, values).await.map_err(|error| statement_error(config, "write to", RECORDS, error))?;
    Ok(())
}

/// The newest records, newest first.
pub(crate) async fn newest(
    client: &Client,
    config: &Server,
    run_id: Option<&str>,
    newest: usize,
) -> Result<Vec<KeptRecord>, SinkError> {
    if !ledger::exists(client, config, RECORDS).await? {
        return Ok(Vec::new());
    }
    let sql = r#"SELECT run_id, started_micros, ingest, record::text FROM "_datakit"."runs"
        WHERE $1::text IS NULL OR run_id = $1 ORDER BY started_micros DESC, run_id DESC, ingest DESC LIMIT $2"#;
    let limit = i64::try_from(newest).unwrap_or(i64::MAX);
    let rows = client.query_typed(sql, &[text(&run_id), (&limit, Type::INT8)]).await;
    let rows = rows.map_err(|error| statement_error(config, "read", RECORDS, error))?;
    Ok(rows.iter().map(kept).collect())
}

fn kept(row: &Row) -> KeptRecord {
    let name = RecordName { run_id: row.get(0), started_at_micros: row.get(1), ingest: row.get(2) };
    KeptRecord { name, json: Ok(row.get(3)) }
}

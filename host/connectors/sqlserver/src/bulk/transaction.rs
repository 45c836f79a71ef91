//! A transaction over several statements of the host, on one connection that stays with it.

use std::time::Duration;

use datakit_connect::changes::Texts;
use datakit_connect::pool::Lease;
use datakit_model::source::{Isolation, QueryOptions};
use mssql_tds::connection::tds_client::{ResultSet, StatementResult};
use mssql_tds::error::Error;

use super::{BulkConnection, errors, text_of};
use crate::config::SqlServerConfig;
use crate::error::SourceError;
use crate::statement::{self, Statement};

/// Of its statements the last gives the rows and commits. Dropped before, it closes its connection, which rolls back.
pub(crate) struct Transaction {
    lease: Lease<BulkConnection>,
    run_id: String,
    timeout: Duration,
}

impl Transaction {
    /// Begins one with isolation SNAPSHOT. `first` reads from a table: the snapshot is of the moment of the first row read, not of
    /// BEGIN. (SET TRANSACTION ISOLATION LEVEL.)
    ///
    /// # Errors
    /// What the server reports, or that it takes longer than `timeout`.
    pub(crate) async fn begin(
        lease: Lease<BulkConnection>,
        config: &SqlServerConfig,
        run_id: &str,
        timeout: Duration,
        first: &str,
    ) -> Result<Self, SourceError> {
        let mut transaction = Self { lease, run_id: run_id.to_owned(), timeout };
        transaction.texts(config, &format!("BEGIN TRANSACTION;\n{first}")).await?;
        Ok(transaction)
    }

    /// The rows of a statement within it, whose columns are texts.
    ///
    /// # Errors
    /// What the server reports, or that it takes longer than `timeout`.
    pub(crate) async fn texts(&mut self, config: &SqlServerConfig, text: &str) -> Result<Vec<Texts>, SourceError> {
        let Statement { text, isolation } = self.statement(text);
        let asked = self.lease.ask(text, config);
        let late = |_| SourceError::QueryTimeout { seconds: self.timeout.as_secs_f64() };
        let rows = tokio::time::timeout(self.timeout, asked).await.map_err(late)??;
        self.lease.isolation = isolation;
        Ok(rows)
    }

    /// The connection, and the statement that gives the rows of `query` and commits.
    pub(crate) fn rows(self, query: &str) -> (Lease<BulkConnection>, Statement) {
        let statement = self.statement(&format!("{query};\nCOMMIT TRANSACTION"));
        (self.lease, statement)
    }

    fn statement(&self, text: &str) -> Statement {
        let options = QueryOptions { isolation: Some(Isolation::Snapshot), ..QueryOptions::default() };
        statement::compose(text, &options, &self.run_id, self.lease.isolation)
    }
}

impl BulkConnection {
    /// All rows of a batch of the host, as texts.
    async fn ask(&mut self, text: String, config: &SqlServerConfig) -> Result<Vec<Texts>, SourceError> {
        let failed = |error: Error| errors::of_query(config, error, 0);
        let client = &mut self.client;
        let mut on_rows = match Box::pin(client.execute(text, ())).await.map_err(failed)? {
            StatementResult::Rows => true,
            StatementResult::NoRows { .. } => client.advance_to_rows().await.map_err(failed)?,
            StatementResult::End => false,
        };
        let mut rows = Vec::new();
        while on_rows {
            match client.next_row().await.map_err(failed)? {
                Some(row) => {
                    let texts = row.iter().map(|value| text_of(config, Some(value)));
                    rows.push(texts.collect::<Result<Texts, SourceError>>()?);
                }
                None => on_rows = false,
            }
        }
        client.close_query().await.map_err(failed)?;
        Ok(rows)
    }
}

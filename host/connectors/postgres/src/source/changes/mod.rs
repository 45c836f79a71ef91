//! Changes of a table.
//!
//! | module | strategy |
//! |---|---|
//! | `watermark` | rows whose value of a column is greater than the position |
//! | [`logical`] | every change, from the server's log by a replication slot |

pub(super) mod logical;
mod watermark;

use std::sync::Arc;

use datakit_connect::changes::{ChangesError, Distances};
use datakit_connect::delivery::Message;
use datakit_guard::postgres as guard;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer, Strategy};
use datakit_model::source::{QueryOptions, Reader};
use datakit_model::{Failure, NameRule, TableId};
use tokio::sync::mpsc::Receiver;

use self::logical::LogicalError;
use super::error::PostgresError;
use super::types::Column;
use super::{Checked, PostgresSession};

/// Opens the changes of a table by the strategy of the request.
pub(super) async fn open(session: PostgresSession, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
    session.check_grant(&request.table)?;
    match &request.strategy {
        Strategy::Watermark { column, lag, overlap } => {
            let distances = Distances { lag: *lag, overlap: *overlap };
            watermark::open(session, &request, column, distances).await
        }
        Strategy::Logical => logical::open(session, request).await,
        Strategy::RowVersion => Err(PostgresError::from(LogicalError::RowVersion).into()),
        other => Err(ChangesError::no_strategy(other, "PostgreSQL").into()),
    }
}

/// What each of these tables offers.
pub(super) async fn offers(session: &PostgresSession, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
    tables.iter().try_for_each(|table| session.check_grant(table))?;
    let row_version = Offer { strategy: Strategy::RowVersion, refused: Some(LogicalError::RowVersion.to_string()) };
    let logical = logical::offers(session, tables).await?;
    let of_table = |refused| vec![Offer { strategy: Strategy::Logical, refused }, row_version.clone()];
    Ok(logical.into_iter().map(of_table).collect())
}

impl PostgresSession {
    fn check_grant(&self, table: &TableId) -> Result<(), ChangesError> {
        if guard::is_granted(&self.access.tables.under(NameRule::Bytes), table) {
            return Ok(());
        }
        Err(ChangesError::NotGranted { table: table.clone() })
    }

    /// Runs a text of the host. It names these tables, and each expression of its result.
    async fn ask(&self, text: String, tables: Vec<TableId>) -> Result<Box<dyn Reader>, Failure> {
        Ok(Box::new(self.read(host_text(text, tables), QueryOptions::default(), self.take_place()?).await?))
    }

    /// Runs a text of the host that reads no table; its rows are those of now.
    async fn stream(&self, text: String) -> Result<Receiver<Message<PostgresError>>, PostgresError> {
        let job = self.job(host_text(text, Vec::new()), QueryOptions::default(), None);
        let (_, messages) = self.start(job, self.shared.config.timeouts.of_query(None)).await?;
        Ok(messages)
    }

    /// The columns of a text of the host that reads a table and has no rows.
    async fn described(&self, text: String, table: TableId) -> Result<Arc<[Column]>, PostgresError> {
        let job = self.job(host_text(text, vec![table]), QueryOptions::default(), None);
        let (columns, mut messages) = self.start(job, self.shared.config.timeouts.of_query(None)).await?;
        while let Some(message) = messages.recv().await {
            if let Message::Failed(error) = message {
                return Err(error);
            }
        }
        Ok(columns)
    }
}

/// A text of the host that names these tables, and each expression of its result.
fn host_text(text: String, tables: Vec<TableId>) -> Checked {
    Checked { text, tables, by_place: false, names_all: true, keeps_not_null: true }
}

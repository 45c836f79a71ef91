//! Changes of a table: one file a strategy.
//!
//! | module | about |
//! |---|---|
//! | `catalog`, `watermark` | by a column that only grows |
//! | `row_version` | by the table's column of type rowversion |
//! | `tracking` | by Change Tracking |
//! | `capture` | by change data capture: `window` decides what is read, `query` asks |
//! | `offers` | which strategies a table has |
//! | `table` | a table as these strategies see it |
//! | `position` | texts of positions |
//! | `feed`, `verified`, `missing` | rows: taken once, checked at their end, with what they lack |
//! | `error` | what can go wrong |
//!
//! All questions are the host's own. A guest cannot name these objects: the guard refuses them.

mod capture;
mod catalog;
mod error;
mod feed;
mod missing;
mod offers;
mod position;
mod row_version;
mod table;
mod tracking;
mod verified;
mod watermark;

use datakit_connect::changes::{ChangesError, Distances, Texts, texts};
use datakit_guard::tsql;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Strategy};
use datakit_model::source::{QueryOptions, Reader, Value};
use datakit_model::{Failure, NameRule, TableId};

pub(super) use self::offers::offers;
use super::error::SourceError;
use super::statement::quote;
use super::{Checked, SqlServerConnection, parameters};

/// Opens a feed by the strategy of the request.
pub(super) async fn open(
    session: SqlServerConnection,
    request: &ChangeRequest,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let names = session.granted(&request.table).await?;
    match &request.strategy {
        Strategy::Watermark { column, lag, overlap } => {
            let distances = Distances { lag: *lag, overlap: *overlap };
            watermark::open(session, request, names, column, distances).await
        }
        Strategy::RowVersion => row_version::open(session, request, names).await,
        Strategy::ChangeTracking => tracking::open(session, request, names).await,
        Strategy::Cdc { net } => capture::open(session, request, names, *net).await,
        other @ Strategy::Logical => Err(ChangesError::no_strategy(other, "SQL Server").into()),
    }
}

impl SqlServerConnection {
    /// Refuses a table that is not granted. How the database compares names.
    async fn granted(&self, table: &TableId) -> Result<NameRule, Failure> {
        let names = self.shared.names().await?;
        match tsql::is_granted(&self.access.tables.under(names), table) {
            true => Ok(names),
            false => Err(ChangesError::NotGranted { table: table.clone() }.into()),
        }
    }

    /// Asks the catalog, at the server's default isolation: metadata has no versions.
    async fn catalog(&self, text: String, values: &[Value]) -> Result<Vec<Texts>, Failure> {
        texts(self.ask(text, values, QueryOptions::default(), true).await?).await
    }

    /// Runs a text of the host.
    async fn ask(
        &self,
        text: String,
        values: &[Value],
        options: QueryOptions,
        catalog: bool,
    ) -> Result<Box<dyn Reader>, Failure> {
        let checked = Checked { text, parameters: parameters::check(values)?, options, catalog };
        Ok(Box::new(self.read(checked, self.take_place()?).await?))
    }
}

/// `[schema].[name]`
fn quote_table(table: &TableId) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// An answer of another shape than the question has.
fn unexpected() -> SourceError {
    SourceError::Internal("the catalog answers otherwise than asked".to_owned())
}

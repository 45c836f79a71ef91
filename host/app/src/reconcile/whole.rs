//! Sources that give whole tables, whatever position a datakit asks for: for who reads a table without loading it.
//!
//! A datakit that loads changes asks for those since a position. Here it gets the first copy each time, as if there were none. That of
//! logical decoding would make a replication slot, or make one anew, so that it is read by a query instead.

use std::sync::Arc;

use async_trait::async_trait;
use datakit_connect::changes::ChangesError;
use datakit_connect::changes::roles::{ChangeReader, Common, Operation};
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer, Strategy, Validity};
use datakit_model::files::FilesRequest;
use datakit_model::source::{Access, Connection, PoolStatistics, Query, QueryOptions, Reader, Source};
use datakit_model::{Failure, Kind, Retry, TableId, TablePatterns};

/// The same source, of which no position is read on.
pub(crate) fn whole(source: Arc<dyn Source>) -> Arc<dyn Source> {
    Arc::new(WholeSource(source))
}

struct WholeSource(Arc<dyn Source>);

#[async_trait]
impl Source for WholeSource {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(WholeConnection(Arc::from(self.0.connect(access).await?))))
    }

    async fn compared(&self, patterns: &TablePatterns, tables: &[TableId]) -> Result<TablePatterns, Failure> {
        self.0.compared(patterns, tables).await
    }

    fn keeps_changes(&self) -> bool {
        self.0.keeps_changes()
    }

    async fn confirm(&self, positions: &[String]) -> Result<(), Failure> {
        self.0.confirm(positions).await
    }

    fn pool(&self) -> Option<PoolStatistics> {
        self.0.pool()
    }
}

struct WholeConnection(Arc<dyn Connection>);

#[async_trait]
impl Connection for WholeConnection {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        self.0.query(query).await
    }

    async fn files(&self, request: FilesRequest) -> Result<Box<dyn Reader>, Failure> {
        self.0.files(request).await
    }

    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        match request.strategy {
            Strategy::Logical => Ok(Box::new(Queried { connection: Arc::clone(&self.0), text: Some(text(&request)?) })),
            _ => self.0.changes(ChangeRequest { position: None, ..request }).await,
        }
    }

    /// What keeps a strategy from being loaded on does not keep the table from being read.
    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        let offers = self.0.offers(tables).await?;
        let possible = |offer: Offer| match offer.strategy {
            Strategy::Logical => Offer { refused: None, ..offer },
            _ => offer,
        };
        Ok(offers.into_iter().map(|of_table| of_table.into_iter().map(possible).collect()).collect())
    }
}

/// The rows of a table by a query of PostgreSQL, which alone has logical decoding.
fn text(request: &ChangeRequest) -> Result<String, Failure> {
    let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
    let TableId { schema, name, .. } = &request.table;
    let columns = request.columns.as_ref().ok_or_else(|| {
        let message = format!("the datakit does not say which columns of {} it reads", request.table);
        Failure::new("DK-RUN-062", Kind::Datakit, Retry::Never, message).with_hint(
            "report it to the datakit's author; until then, choose another strategy in the datakit's settings",
        )
    })?;
    let columns: Vec<String> = columns.iter().map(quote).collect();
    Ok(format!("SELECT {} FROM {}.{}", columns.join(", "), quote(schema), quote(name)))
}

/// A first copy that a query reads. It has no place in the order of changes.
struct Queried {
    connection: Arc<dyn Connection>,
    /// None: the rows were taken.
    text: Option<String>,
}

impl Queried {
    fn changes(rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        let common = Common { operation: Operation::Read, version: Some("") };
        Ok(Box::new(ChangeReader::new(rows, common)?.nullable_but(&[])))
    }
}

#[async_trait]
impl ChangeFeed for Queried {
    fn validity(&self) -> &Validity {
        &Validity::Whole
    }

    /// Without one, nobody cuts the table into parts.
    fn upper(&self) -> Option<&str> {
        None
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let sql = self.text.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let query = Query { sql, parameters: Vec::new(), options: QueryOptions::default() };
        Self::changes(self.connection.query(query).await?)
    }

    fn copied(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        Self::changes(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_query_are_quoted() {
        let request = ChangeRequest {
            table: TableId::new("s", "t\"x"),
            strategy: Strategy::Logical,
            columns: Some(vec!["id".to_owned(), "a \"b\"".to_owned()]),
            position: Some("l1:".to_owned()),
            upper: None,
        };
        assert_eq!(text(&request).unwrap(), "SELECT \"id\", \"a \"\"b\"\"\" FROM \"s\".\"t\"\"x\"");
        let failure = text(&ChangeRequest { columns: None, ..request }).unwrap_err();
        assert!(failure.hint().is_some_and(|hint| hint.contains("strategy")));
    }
}

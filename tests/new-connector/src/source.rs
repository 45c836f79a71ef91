//! What a datakit may ask of a logbook server, and the rows it gets.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_connect::config::Timeouts;
use datakit_connect::delivery::{Delivery, Stop};
use datakit_connect::permissions::{Permissions, TablePermission};
use datakit_connect::reader::{BatchReader, Busy};
use datakit_model::source::{Access, Connection, Query, Reader, Source};
use datakit_model::{Failure, NameRule, TableId};

use crate::error::{CODES, LogbookError};
use crate::protocol::{Server, Session};
use crate::rows;
use crate::settings::NAME;

/// A configured logbook server.
#[derive(Debug, Clone)]
pub struct LogbookSource {
    pub(crate) server: Arc<Server>,
}

impl LogbookSource {
    /// The books there are. A login may read all of them.
    pub(crate) async fn permissions(&self) -> Result<Permissions, LogbookError> {
        let mut session = self.server.log_in().await?;
        session.ask(&[BOOKS]).await?;
        let mut tables = Vec::new();
        while let Some(line) = session.row().await? {
            let name = line.split('\t').next().unwrap_or_default();
            tables.push(readable(TableId::new(NAME, name)));
        }
        Ok(Permissions { user: "the host".to_owned(), tables, names: NameRule::default(), codes: CODES })
    }
}

fn readable(table: TableId) -> TablePermission {
    TablePermission { table, missing_grants: Vec::new(), denied_columns: Vec::new(), hides_rows: false }
}

#[async_trait]
impl Source for LogbookSource {
    fn kind(&self) -> &'static str {
        NAME
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(LogbookSession { server: Arc::clone(&self.server), access, reading: Arc::default() }))
    }
}

/// The question for all books.
const BOOKS: &str = "BOOKS";
/// The question for the entries of one.
const READ: &str = "READ";

/// What a datakit asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Books,
    Entries(TableId),
}

impl Request {
    /// Reads the text of a query. A line end in it would be a second question.
    fn parse(text: &str) -> Result<Self, LogbookError> {
        if text.chars().any(char::is_control) {
            return Err(LogbookError::request("it has a control character"));
        }
        match text.split_once(' ') {
            None if text == BOOKS => Ok(Self::Books),
            Some((READ, book)) if !book.is_empty() => Ok(Self::Entries(TableId::new(NAME, book))),
            _ => Err(LogbookError::request("it is neither `BOOKS` nor `READ NAME`")),
        }
    }

    fn question(&self) -> Vec<&str> {
        match self {
            Self::Books => vec![BOOKS],
            Self::Entries(book) => vec![READ, " ", &book.name],
        }
    }

    fn schema(&self) -> SchemaRef {
        match self {
            Self::Books => rows::of_books(),
            Self::Entries(_) => rows::of_entries(),
        }
    }
}

/// One session of a datakit: its grant, and a place for one reader.
struct LogbookSession {
    server: Arc<Server>,
    access: Access,
    reading: Arc<AtomicBool>,
}

#[async_trait]
impl Connection for LogbookSession {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let taken = || LogbookError::request("a reader of this session is still open");
        let busy = Busy::take(&self.reading).ok_or_else(taken)?;
        let request = self.granted(&query)?;
        let mut session = self.server.log_in().await?;
        session.ask(&request.question()).await?;
        let timeout = Timeouts::default().of_query(query.options.timeout);
        let (delivery, messages) = Delivery::new(self.access.memory.clone(), timeout);
        let schema = request.schema();
        tokio::spawn(deliver(delivery, session, Arc::clone(&schema)));
        Ok(Box::new(BatchReader::<LogbookError>::new(schema, Vec::new(), messages, busy)))
    }
}

impl LogbookSession {
    fn granted(&self, query: &Query) -> Result<Request, LogbookError> {
        if !query.parameters.is_empty() {
            return Err(LogbookError::request("it has parameters"));
        }
        match Request::parse(&query.sql)? {
            Request::Entries(table) if !self.access.tables.allows(&table) => Err(LogbookError::NotGranted { table }),
            request => Ok(request),
        }
    }
}

/// Hands over the rows of an answer, to its end or until nobody waits for them.
async fn deliver(mut delivery: Delivery<LogbookError>, mut session: Session, schema: SchemaRef) {
    let outcome = ship(&mut delivery, &mut session, &schema).await;
    delivery.finish(outcome).await;
}

async fn ship(
    delivery: &mut Delivery<LogbookError>,
    session: &mut Session,
    schema: &SchemaRef,
) -> Result<(), Stop<LogbookError>> {
    loop {
        let next = tokio::select! {
            next = rows::next(session, schema) => next.map_err(Stop::Failed)?,
            stop = delivery.stopped() => return Err(stop),
        };
        let Some(batch) = next else { return Ok(()) };
        delivery.ship(batch, Vec::new()).await?;
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::source::{QueryOptions, Value, ValueType};
    use datakit_model::{Diagnostic as _, MemoryBudget, TablePatterns};

    use super::*;

    fn asked(sql: &str, parameters: Vec<Value>) -> Result<Request, LogbookError> {
        let tables = TablePatterns::new(vec!["logbook.deck".parse().unwrap()]);
        let access = Access { tables, run_id: "r1".to_owned(), memory: MemoryBudget::new(1 << 20), rejecting: None };
        let server = Arc::new(Server { host: "nowhere.invalid".to_owned(), port: 1, password: None });
        let session = LogbookSession { server, access, reading: Arc::default() };
        session.granted(&Query { sql: sql.to_owned(), parameters, options: QueryOptions::default() })
    }

    #[test]
    fn granted_book_may_be_read_and_another_is_refused() {
        assert_eq!(asked("BOOKS", Vec::new()).unwrap(), Request::Books);
        assert_eq!(asked("READ deck", Vec::new()).unwrap().question().concat(), "READ deck");
        assert_eq!(asked("READ engine", Vec::new()).unwrap_err().code(), "DK-LGB-006");
    }

    #[test]
    fn text_outside_of_the_language_is_refused() {
        for text in ["", "READ", "READ ", "books", "READ deck\nREAD engine", "SELECT 1"] {
            assert_eq!(asked(text, Vec::new()).unwrap_err().code(), "DK-LGB-008", "{text:?}");
        }
        assert_eq!(asked("BOOKS", vec![Value::Null(ValueType::Text)]).unwrap_err().code(), "DK-LGB-008");
    }
}

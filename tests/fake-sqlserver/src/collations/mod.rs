//! Every collation that SQL Server documents, and a server with one table for each: `dbo.[NAME]` with one row, `v varchar(300)`
//! in the collation's code page.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::engine::{Engine, Event, Login, Output, Request, Session};
use crate::sql::describe;
use crate::values::{Collation, Column, Length, SqlError, SqlType, Value};

/// A collation, and text as it stores it. `documented.py` says where each is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documented {
    /// Its name.
    pub name: String,
    /// Its five bytes on the wire.
    pub wire: [u8; 5],
    /// Its code page.
    pub code_page: u16,
    /// Text in that code page.
    pub bytes: Vec<u8>,
    /// The same text.
    pub text: String,
}

const TABLE: &str = include_str!("documented.tsv");

/// All of them.
///
/// # Panics
/// When the table is not as `documented.py` writes it.
#[must_use]
#[expect(clippy::expect_used, reason = "the table is a part of the program")]
pub fn documented() -> Vec<Documented> {
    let read = |line: &str| {
        let mut parts = line.split('\t');
        Some(Documented {
            name: parts.next()?.to_owned(),
            wire: hex::decode(parts.next()?).ok()?.try_into().ok()?,
            code_page: parts.next()?.parse().ok()?,
            bytes: hex::decode(parts.next()?).ok()?,
            text: parts.next()?.to_owned(),
        })
    };
    TABLE.split('\n').filter(|line| !line.is_empty()).map(|line| read(line).expect("a line of five columns")).collect()
}

/// A server of these tables.
#[derive(Debug)]
pub struct Server(Arc<Vec<Documented>>);

impl Server {
    /// With these collations, under these names.
    #[must_use]
    pub fn of(collations: Vec<Documented>) -> Self {
        Self(Arc::new(collations))
    }
}

impl Engine for Server {
    fn session(&self, _login: &Login) -> Result<Box<dyn Session>, SqlError> {
        Ok(Box::new(Tables(Arc::clone(&self.0))))
    }
}

struct Tables(Arc<Vec<Documented>>);

impl Tables {
    /// The table that a text names: `… FROM dbo.[NAME]`.
    fn table(&self, text: &str) -> Option<&Documented> {
        let (_, rest) = text.split_once("dbo.[")?;
        let (name, _) = rest.split_once(']')?;
        self.0.iter().find(|collation| collation.name == name)
    }
}

impl Session for Tables {
    fn database(&self) -> String {
        "testdb".to_owned()
    }

    fn execute(&mut self, request: Request, out: Output<'_>) {
        let (text, parameters) = match request {
            Request::Batch { text } => (text, Vec::new()),
            Request::Parameterized { text, parameters } => (text, parameters),
            Request::Procedure { name, parameters } => (name, parameters),
        };
        let asked = parameters.iter().find_map(|parameter| match &parameter.value {
            Value::Text(asked) if text.contains("sp_describe_first_result_set") => Some(asked.as_str()),
            _ => None,
        });
        let Some(found) = self.table(asked.unwrap_or(&text)) else {
            let _stop = out(Event::Done { rows: None });
            return;
        };
        let column = Column {
            collation: Collation::Raw(found.wire),
            ..Column::new("v", SqlType::VarChar(Length::Limited(300)))
        };
        let (columns, rows) = if asked.is_some() {
            let columns = describe::columns();
            let mut rows = describe::rows(&[column], "testdb");
            let at = columns.iter().position(|column| column.name == "collation_name");
            if let Some(cell) = rows.first_mut().zip(at).and_then(|(row, at)| row.get_mut(at)) {
                *cell = Value::Text(found.name.clone());
            }
            (columns, rows)
        } else {
            (vec![column], vec![vec![Value::Bytes(found.bytes.clone())]])
        };
        let count = rows.len() as u64;
        let events = std::iter::once(Event::Columns(Arc::new(columns)))
            .chain(rows.into_iter().map(Event::Row))
            .chain(std::iter::once(Event::Done { rows: Some(count) }));
        for event in events {
            if let ControlFlow::Break(()) = out(event) {
                return;
            }
        }
    }

    fn begin(&mut self, _isolation: u8) -> Result<(), SqlError> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    fn reset(&mut self) {}
}

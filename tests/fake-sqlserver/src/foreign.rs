//! A server that speaks TDS and is not SQL Server, as Babelfish for PostgreSQL is one.
//!
//! It answers as the engine behind it does, but for what Babelfish is known to do otherwise: names in the catalog are varchar;
//! `sp_describe_first_result_set` refuses NULL for `@params` (error 8009) and has no `tds_collation_sort_id`
//! (babelfish_extensions, `sp_describe_first_result_set_internal`); errors of PostgreSQL without a number of SQL Server have
//! the number 33557097.

use std::sync::Arc;

use crate::engine::{Engine, Event, Login, Output, Request, Session};
use crate::sql::describe;
use crate::values::{Column, Length, SqlError, SqlType, Value};

/// The number of every error that has none of SQL Server.
pub const CATCH_ALL: i32 = 33_557_097;

/// An engine behind the habits of another server.
pub struct Foreign<E>(pub E);

impl<E: Engine> Engine for Foreign<E> {
    fn session(&self, login: &Login) -> Result<Box<dyn Session>, SqlError> {
        Ok(Box::new(ForeignSession(self.0.session(login)?)))
    }
}

struct ForeignSession(Box<dyn Session>);

/// What a request is about.
#[derive(Clone, Copy)]
struct About {
    is_description: bool,
    is_catalog: bool,
}

impl Session for ForeignSession {
    fn database(&self) -> String {
        self.0.database()
    }

    fn execute(&mut self, request: Request, out: Output<'_>) {
        let (text, parameters) = match &request {
            Request::Batch { text } => (text, [].as_slice()),
            Request::Parameterized { text, parameters } => (text, parameters.as_slice()),
            Request::Procedure { name, parameters } => (name, parameters.as_slice()),
        };
        let is_description = text.contains("sp_describe_first_result_set");
        if is_description && parameters.iter().any(|parameter| parameter.value == Value::Null) {
            let text = "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect. \
                        Parameter 2 (\"@params\"): Data type 0x00 is unknown.";
            let _stop = out(Event::Error(SqlError::new(8009, text)));
            return;
        }
        let is_catalog = std::iter::once(text.as_str())
            .chain(parameters.iter().filter_map(|parameter| match &parameter.value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            }))
            .any(|text| text.contains("sys."));
        let about = About { is_description, is_catalog };
        self.0.execute(request, &mut |event| out(about.told(event)));
    }

    fn begin(&mut self, isolation: u8) -> Result<(), SqlError> {
        self.0.begin(isolation)
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        self.0.commit()
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        self.0.rollback()
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

impl About {
    fn told(self, event: Event) -> Event {
        match event {
            Event::Columns(columns) if self.is_description => {
                let kept = columns.iter().filter(|column| column.name != "tds_collation_sort_id");
                Event::Columns(Arc::new(kept.cloned().collect()))
            }
            Event::Columns(columns) if self.is_catalog => {
                Event::Columns(Arc::new(columns.iter().map(narrow).collect()))
            }
            Event::Row(row) if self.is_description => Event::Row(self.description(row)),
            Event::Error(error) if matches!(error.number, 207 | 208) => Event::Error(SqlError {
                number: CATCH_ALL,
                message: error.message.replace("Invalid object name", "relation does not exist:").to_lowercase(),
                ..error
            }),
            other => other,
        }
    }

    /// One described column.
    fn description(self, row: Vec<Value>) -> Vec<Value> {
        let mut told = Vec::with_capacity(row.len());
        for (column, value) in describe::columns().iter().zip(row) {
            told.push(match (column.name.as_str(), value) {
                ("tds_collation_sort_id", _) => continue,
                ("tds_collation_id", _) => Value::Null,
                ("collation_name", Value::Text(name)) => Value::Text(name.to_lowercase()),
                ("system_type_id", Value::Int(231)) if self.is_catalog => Value::Int(167),
                ("system_type_name", Value::Text(name)) if self.is_catalog => {
                    Value::Text(name.replace("nvarchar", "varchar"))
                }
                (_, value) => value,
            });
        }
        told
    }
}

/// The column as varchar.
fn narrow(column: &Column) -> Column {
    let sql_type = match column.sql_type {
        SqlType::NVarChar(Length::Limited(units)) => {
            SqlType::VarChar(Length::Limited(units.saturating_mul(2).min(8000)))
        }
        SqlType::NVarChar(Length::Max) => SqlType::VarChar(Length::Max),
        other => other,
    };
    Column { sql_type, ..column.clone() }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::sql::{SqlEngine, SqlEngineOptions};

    fn answer(text: &str) -> Vec<Event> {
        let engine = Foreign(SqlEngine::open(SqlEngineOptions::default()).unwrap());
        let mut session = engine.session(&Login::default()).unwrap();
        let mut events = Vec::new();
        session.execute(Request::Batch { text: text.to_owned() }, &mut |event| {
            events.push(event);
            ControlFlow::Continue(())
        });
        events
    }

    #[test]
    fn names_of_the_catalog_are_varchar() {
        let events = answer("SELECT s.name AS name FROM sys.schemas AS s WHERE s.name = 'dbo'");
        let Some(Event::Columns(columns)) = events.first() else { panic!("{events:?}") };
        assert_eq!(columns[0].sql_type, SqlType::VarChar(Length::Limited(256)));
    }

    #[test]
    fn a_missing_table_has_the_number_of_everything_else() {
        let events = answer("SELECT a FROM dbo.nothing");
        assert!(
            events.iter().any(|event| matches!(event, Event::Error(error) if error.number == CATCH_ALL)),
            "{events:?}"
        );
    }
}

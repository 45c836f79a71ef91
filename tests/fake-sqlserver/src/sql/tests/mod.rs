//! Tests of the engine without a wire: T-SQL in, types and rows out.

mod captured;
mod catalog;
mod changes;
mod describe;
mod described;
mod fast;
mod identifiers;
mod queries;
mod tracked;
mod transactions;

use std::fmt::Write;
use std::ops::ControlFlow;

use super::session::SqlSession;
use super::{SqlEngine, SqlEngineOptions, convert, types};
use crate::engine::{Event, Login, Parameter, Request, Session};
use crate::values::{Length, SqlType, Value};

fn engine() -> SqlEngine {
    SqlEngine::open(SqlEngineOptions::default()).unwrap()
}

fn cell_text(value: &Value, sql_type: SqlType) -> String {
    let shown = |value: Value, sql_type| {
        let text = SqlType::NVarChar(Length::Max);
        let style = if types::is_binary(sql_type) { Some(1) } else { None };
        match convert::convert(value, sql_type, text, style) {
            Ok(Value::Text(text)) => text,
            Ok(other) => format!("{other:?}"),
            Err(_) => "?".to_owned(),
        }
    };
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Variant(variant) => {
            format!("{}:{}", types::declaration(variant.sql_type), shown(variant.value.clone(), variant.sql_type))
        }
        Value::Bytes(_) if !types::is_binary(sql_type) => format!("{value:?}"),
        other => shown(other.clone(), sql_type),
    }
}

/// Every event of a request, one a line.
fn transcript(engine: &SqlEngine, request: Request) -> String {
    transcript_of(&mut engine.sql_session(&Login::default()).unwrap(), request)
}

fn transcript_of(session: &mut SqlSession, request: Request) -> String {
    let mut text = String::new();
    let mut types = Vec::new();
    session.execute(request, &mut |event| {
        match event {
            Event::Columns(columns) => {
                types = columns.iter().map(|column| column.sql_type).collect();
                let shown: Vec<String> = columns
                    .iter()
                    .map(|column| {
                        let null = if column.nullable { "" } else { " not null" };
                        format!("{} {}{null}", column.name, types::declaration(column.sql_type))
                    })
                    .collect();
                writeln!(text, "[{}]", shown.join(", ")).unwrap();
            }
            Event::Row(row) => {
                let shown: Vec<String> = row.iter().zip(&types).map(|(value, t)| cell_text(value, *t)).collect();
                writeln!(text, "{}", shown.join(" | ")).unwrap();
            }
            Event::Error(error) => writeln!(text, "error {error}").unwrap(),
            Event::Info(error) => writeln!(text, "info {error}").unwrap(),
            Event::FastRows { columns, rows, .. } => writeln!(text, "fast {columns:?} {rows:?}").unwrap(),
            other => writeln!(text, "{other:?}").unwrap(),
        }
        ControlFlow::Continue(())
    });
    text
}

fn run(engine: &SqlEngine, text: &str) -> String {
    transcript(engine, Request::Batch { text: text.to_owned() })
}

fn run_with(engine: &SqlEngine, text: &str, parameters: &[(&str, SqlType, Value)]) -> String {
    let parameters = parameters
        .iter()
        .map(|(name, sql_type, value)| Parameter {
            name: (*name).to_owned(),
            sql_type: *sql_type,
            value: value.clone(),
            output: false,
        })
        .collect();
    transcript(engine, Request::Parameterized { text: text.to_owned(), parameters })
}

/// A client with a session of its own.
struct Client(SqlSession);

impl Client {
    fn of(engine: &SqlEngine) -> Self {
        Self(engine.sql_session(&Login::default()).unwrap())
    }

    /// What a batch answers: rows joined by `; `, columns by spaces; errors by their numbers.
    fn ask(&mut self, text: &str) -> String {
        let mut answers = Vec::new();
        let mut types = Vec::new();
        self.0.execute(Request::Batch { text: text.to_owned() }, &mut |event| {
            match event {
                Event::Columns(columns) => types = columns.iter().map(|column| column.sql_type).collect(),
                Event::Row(row) => {
                    let shown: Vec<String> = row.iter().zip(&types).map(|(value, t)| cell_text(value, *t)).collect();
                    answers.push(shown.join(" "));
                }
                Event::Error(error) => answers.push(format!("error {}", error.number)),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        answers.join("; ")
    }

    /// Runs a batch that answers nothing.
    fn run(&mut self, text: &str) {
        assert_eq!(self.ask(text), "", "{text}");
    }
}

/// Number of the first error of a batch; 0 without one.
fn error_number(engine: &SqlEngine, text: &str) -> i32 {
    let mut session = engine.sql_session(&Login::default()).unwrap();
    let mut number = 0;
    session.execute(Request::Batch { text: text.to_owned() }, &mut |event| {
        if let Event::Error(error) = event {
            number = error.number;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    number
}

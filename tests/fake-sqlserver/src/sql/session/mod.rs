//! One client's session: its connection to SQLite, its settings, its transaction.

mod alter;
mod capture;
mod change;
mod create;
mod described;
mod insert;
mod own;
mod procedure;
mod read;
mod rows;
mod settings;
mod statement;
mod tracking;
mod transaction;

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::Connection;

use super::bind::{Surroundings, Variable};
use super::calendar::{DAY_1970, TICKS_PER_DAY};
use super::hooks::{self, Moment, Place};
use super::isolation::Isolation;
use super::shared::{Shared, StatementRecord};
use super::{SqlEngine, errors, parse, store, types};
use crate::engine::{Event, Output, Request, Session, TransactionChange};
use crate::values::{SqlError, SqlType, Value};

/// Whether a batch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    /// The client wants no more.
    Stop,
}

/// Errors that end their statement only; after all others the batch ends as well.
const STATEMENT_ERRORS: [i32; 13] = [220, 229, 515, 547, 1222, 2601, 2627, 2628, 3701, 8115, 8134, 2714, 50_000];
/// Errors that end their transaction as well: a deadlock, and those of SNAPSHOT transactions that cannot go on.
const TRANSACTION_ERRORS: [i32; 4] = [1205, 3951, 3960, 3961];

/// A session over the fake SQL Server's storage.
pub struct SqlSession {
    shared: Arc<Shared>,
    connection: Connection,
    surroundings: Surroundings,
    /// When the open transaction began, as a stored `datetime`.
    begun: i64,
    savepoints: Vec<(String, i64)>,
    /// Whether the open transaction has created, altered or dropped something.
    has_defined: bool,
    identity_insert: Option<i64>,
    no_count: bool,
    /// `IMPLICIT_TRANSACTIONS`: a statement that reads or changes a table begins a transaction where none is open.
    implicit: bool,
}

impl std::fmt::Debug for SqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlSession").field("process", &self.surroundings.process).finish_non_exhaustive()
    }
}

/// Now, in ticks of 100 ns since 0001-01-01 UTC.
pub(super) fn now() -> i64 {
    let since_1970 = chrono::Utc::now();
    DAY_1970 * TICKS_PER_DAY
        + since_1970.timestamp() * super::calendar::TICKS_PER_SECOND
        + i64::from(since_1970.timestamp_subsec_nanos() / 100)
}

impl SqlSession {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, surroundings: Surroundings) -> Self {
        Self {
            shared,
            connection,
            surroundings,
            begun: 0,
            savepoints: Vec::new(),
            has_defined: false,
            identity_insert: None,
            no_count: false,
            implicit: false,
        }
    }

    /// Runs a batch with its parameters.
    fn run(&mut self, text: &str, parameters: Vec<Variable>, out: Output<'_>) {
        let mut batch = match parse::parse_batch(text) {
            Ok(batch) => batch,
            Err(error) => {
                self.surroundings.error = i64::from(error.number);
                let _ = out(Event::Error(error));
                return;
            }
        };
        self.shared.record(StatementRecord {
            text: text.to_owned(),
            parameters: parameters
                .iter()
                .map(|parameter| format!("{} {}", parameter.name, types::declaration(parameter.sql_type)))
                .collect(),
            options: std::mem::take(&mut batch.options),
            isolation: self.surroundings.isolation.name(),
            process: self.surroundings.process,
        });
        self.surroundings.denied = self.shared.denied();
        self.surroundings.table_variables.clear();
        let mut variables = parameters;
        for parsed in &batch.statements {
            self.surroundings.now = now();
            self.pass(&parsed.statement, Place::Before);
            if self.begin_implicitly(&parsed.statement, out).is_break() {
                return;
            }
            let result = self.statement(&parsed.statement, text, &mut variables, out);
            self.pass(&parsed.statement, Place::After);
            match result {
                Ok(Flow::Next) => self.surroundings.error = 0,
                Ok(Flow::Stop) => return,
                Err(mut error) => {
                    self.surroundings.error = i64::from(error.number);
                    error.line = error.line.max(parsed.line);
                    let number = error.number;
                    let ends = TRANSACTION_ERRORS.contains(&number) && self.surroundings.transactions > 0;
                    if ends {
                        self.abandon();
                    }
                    if ends && out(Event::Transaction(TransactionChange::RolledBack)).is_break() {
                        return;
                    }
                    if out(Event::Error(error)) == ControlFlow::Break(()) || !STATEMENT_ERRORS.contains(&number) {
                        return;
                    }
                }
            }
        }
    }

    /// Tells whoever watches that the session is before or after a statement.
    fn pass(&self, statement: &sqlparser::ast::Statement, place: Place) {
        if self.shared.is_watched() && !hooks::is_inside() {
            self.pass_text(&statement.to_string(), place);
        }
    }

    fn pass_text(&self, statement: &str, place: Place) {
        hooks::guarded(|| {
            let moment = Moment { process: self.surroundings.process, statement, place };
            let (hook, scripts) = self.shared.at(&moment);
            if let Some(hook) = hook {
                hook(&moment);
            }
            for script in scripts {
                if let Err(error) = SqlEngine::of(Arc::clone(&self.shared)).run_script(&script) {
                    tracing::error!(%error, "an interruption failed");
                }
            }
        });
    }

    fn execute_batch(&self, sql: &str) -> Result<(), SqlError> {
        self.connection.execute_batch(sql).map_err(|error| self.write_error(&error))
    }

    /// Two writers that cannot both go on are a deadlock to SQL Server.
    fn write_error(&self, error: &rusqlite::Error) -> SqlError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                errors::deadlock(self.surroundings.process)
            }
            _ => errors::storage(error),
        }
    }

    fn done(&mut self, rows: Option<u64>, out: Output<'_>) -> Flow {
        self.surroundings.row_count = rows.map_or(0, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        let rows = if self.no_count { None } else { rows };
        flow(out(Event::Done { rows }))
    }
}

fn flow(control: ControlFlow<()>) -> Flow {
    match control {
        ControlFlow::Continue(()) => Flow::Next,
        ControlFlow::Break(()) => Flow::Stop,
    }
}

impl Session for SqlSession {
    fn database(&self) -> String {
        self.surroundings.database.clone()
    }

    fn execute(&mut self, request: Request, out: Output<'_>) {
        match request {
            Request::Batch { text } => self.run(&text, Vec::new(), out),
            Request::Parameterized { text, parameters } => {
                let variables = parameters
                    .into_iter()
                    .enumerate()
                    .map(|(at, parameter)| Variable {
                        name: if parameter.name.is_empty() { format!("@P{}", at + 1) } else { parameter.name },
                        sql_type: parameter.sql_type,
                        value: parameter.value,
                    })
                    .collect();
                // What SET changes inside a procedure, sp_executesql as well, ends with it.
                let outside = (
                    self.surroundings.isolation,
                    self.identity_insert,
                    self.no_count,
                    self.surroundings.lock_timeout,
                    self.implicit,
                );
                self.run(&text, variables, out);
                (
                    self.surroundings.isolation,
                    self.identity_insert,
                    self.no_count,
                    self.surroundings.lock_timeout,
                    self.implicit,
                ) = outside;
            }
            Request::Procedure { name, parameters } => {
                self.surroundings.denied = self.shared.denied();
                if let Err(error) = self.call(&name, parameters, out) {
                    let _ = out(Event::Error(error));
                }
            }
        }
    }

    fn begin(&mut self, isolation: u8) -> Result<(), SqlError> {
        if let Some(isolation) = Isolation::from_wire(isolation) {
            self.surroundings.isolation = isolation;
        }
        self.begin_transaction();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        self.commit_transaction()
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        self.roll_back_transaction()
    }

    fn reset(&mut self) {
        self.abandon();
        self.surroundings.isolation = Isolation::default();
        self.identity_insert = None;
        self.no_count = false;
        self.implicit = false;
        self.surroundings.lock_timeout = -1;
        self.surroundings.row_count = 0;
        self.surroundings.error = 0;
        self.surroundings.identity = None;
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A value of a type, out of one column of a row.
fn cell(row: &rusqlite::Row<'_>, at: usize, sql_type: SqlType) -> Result<Value, SqlError> {
    store::decode(sql_type, row.get_ref(at).map_err(|error| errors::storage(&error))?)
}

//! One client's session: its connection to SQLite, its settings, its transaction.

mod alter;
mod change;
mod create;
mod insert;
mod procedure;
mod read;
mod settings;
mod statement;

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, Statement as Prepared};

use super::bind::{Surroundings, Variable};
use super::calendar::{DAY_1970, TICKS_PER_DAY};
use super::shared::{Shared, StatementRecord};
use super::{errors, parse, store, types};
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
const STATEMENT_ERRORS: [i32; 12] = [220, 229, 515, 547, 2601, 2627, 2628, 3701, 8115, 8134, 2714, 50_000];

/// A session over the fake SQL Server's storage.
pub struct SqlSession {
    shared: Arc<Shared>,
    connection: Connection,
    surroundings: Surroundings,
    isolation: &'static str,
    identity_insert: Option<i64>,
    no_count: bool,
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
        Self { shared, connection, surroundings, isolation: "READ COMMITTED", identity_insert: None, no_count: false }
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
            isolation: self.isolation,
            process: self.surroundings.process,
        });
        self.surroundings.denied = self.shared.denied();
        let mut variables = parameters;
        for parsed in &batch.statements {
            self.surroundings.now = now();
            let result = self.statement(&parsed.statement, text, &mut variables, out);
            match result {
                Ok(Flow::Next) => self.surroundings.error = 0,
                Ok(Flow::Stop) => return,
                Err(mut error) => {
                    self.surroundings.error = i64::from(error.number);
                    error.line = error.line.max(parsed.line);
                    let number = error.number;
                    let open = self.surroundings.transactions > 0;
                    if number == 1205 {
                        self.abandon();
                    }
                    if number == 1205 && open && out(Event::Transaction(TransactionChange::RolledBack)).is_break() {
                        return;
                    }
                    if out(Event::Error(error)) == ControlFlow::Break(()) || !STATEMENT_ERRORS.contains(&number) {
                        return;
                    }
                }
            }
        }
    }

    /// Rolls back whatever is open, as the server does for the victim of a deadlock.
    fn abandon(&mut self) {
        if self.surroundings.transactions > 0 {
            // A failed rollback means that SQLite has rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.surroundings.transactions = 0;
        }
    }

    /// Prepares a bound statement and gives it the variables it asks for.
    fn prepare<'c>(connection: &'c Connection, sql: &str, variables: &[Variable]) -> Result<Prepared<'c>, SqlError> {
        let mut prepared = connection.prepare(sql).map_err(|error| errors::storage(&error))?;
        for at in 1..=prepared.parameter_count() {
            if let Some(variable) = variables.get(at - 1) {
                let stored = store::encode(variable.sql_type, variable.value.clone())?;
                prepared.raw_bind_parameter(at, stored).map_err(|error| errors::storage(&error))?;
            }
        }
        Ok(prepared)
    }

    /// Runs changes as one: all of them happen or none.
    fn atomically<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let nested = self.surroundings.transactions > 0;
        let (begin, commit, undo) = if nested {
            ("SAVEPOINT change", "RELEASE change", "ROLLBACK TO change; RELEASE change")
        } else {
            ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        };
        self.execute_batch(begin)?;
        match body(self) {
            Ok(value) => {
                self.execute_batch(commit)?;
                Ok(value)
            }
            Err(error) => {
                self.execute_batch(undo)?;
                Err(error)
            }
        }
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
                let outside = (self.isolation, self.identity_insert, self.no_count, self.surroundings.lock_timeout);
                self.run(&text, variables, out);
                (self.isolation, self.identity_insert, self.no_count, self.surroundings.lock_timeout) = outside;
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
        self.isolation = match isolation {
            1 => "READ UNCOMMITTED",
            2 => "READ COMMITTED",
            3 => "REPEATABLE READ",
            4 => "SERIALIZABLE",
            5 => "SNAPSHOT",
            _ => self.isolation,
        };
        if self.surroundings.transactions == 0 {
            self.execute_batch("BEGIN")?;
        }
        self.surroundings.transactions += 1;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        match self.surroundings.transactions {
            0 => Err(SqlError::new(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")),
            1 => {
                self.execute_batch("COMMIT")?;
                self.surroundings.transactions = 0;
                Ok(())
            }
            _ => {
                self.surroundings.transactions -= 1;
                Ok(())
            }
        }
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        if self.surroundings.transactions == 0 {
            return Err(SqlError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        }
        self.abandon();
        Ok(())
    }

    fn reset(&mut self) {
        self.abandon();
        self.isolation = "READ COMMITTED";
        self.identity_insert = None;
        self.no_count = false;
        self.surroundings.lock_timeout = -1;
        self.surroundings.row_count = 0;
        self.surroundings.error = 0;
        self.surroundings.identity = None;
    }
}

/// A value of a type, out of one column of a row.
fn cell(row: &rusqlite::Row<'_>, at: usize, sql_type: SqlType) -> Result<Value, SqlError> {
    store::decode(sql_type, row.get_ref(at).map_err(|error| errors::storage(&error))?)
}

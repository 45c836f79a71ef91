//! Transactions, and how each statement stands in them.
//!
//! A statement that reads holds a reading transaction of SQLite as long as it runs; under an isolation level that keeps its
//! first state, until the transaction ends. A statement that writes is a writing transaction of SQLite. What a session's
//! transaction has written so far lies in the log of changes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use sqlparser::ast::Statement;

use super::SqlSession;
use crate::engine::{Event, Output, TransactionChange};
use crate::sql::bind::Started;
use crate::sql::isolation::Isolation;
use crate::sql::switches::Capture;
use crate::sql::{capture, errors, log, tracking};
use crate::values::SqlError;

/// How long a session waits for another's rows if it has set no `LOCK_TIMEOUT`: then it is taken for the victim of a deadlock.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long between two looks at a locked row.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl SqlSession {
    /// Runs a statement that reads.
    pub(super) fn reading<T>(&mut self, mut body: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        if !self.connection.is_autocommit() {
            return body(self);
        }
        if self.surroundings.transactions == 0 {
            self.surroundings.accessed.set(false);
        }
        let definitions = self.shared.definitions();
        self.patiently(|session| {
            session.execute_batch("BEGIN")?;
            let result = body(session);
            let isolation = session.surroundings.isolation;
            let in_transaction = session.surroundings.transactions > 0 && session.surroundings.accessed.get();
            if in_transaction && session.surroundings.started.is_none() {
                session.surroundings.started = Some(Started { isolation, definitions });
            }
            if !(in_transaction && isolation.keeps_first_state()) {
                session.release();
            }
            result
        })
    }

    /// Runs a statement that changes rows: all of them, or none.
    pub(super) fn writing<T>(&mut self, mut body: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        if self.surroundings.isolation == Isolation::Snapshot && self.surroundings.transactions > 0 {
            return Err(errors::unsupported("changes in a SNAPSHOT transaction"));
        }
        self.release();
        let definitions = self.shared.definitions();
        self.patiently(|session| {
            let before = session.surroundings.transaction;
            session.execute_batch("BEGIN IMMEDIATE")?;
            let in_transaction = session.surroundings.transactions > 0;
            let result = body(session)
                .and_then(|value| if in_transaction { Ok(value) } else { session.complete().map(|()| value) });
            match result.and_then(|value| session.execute_batch("COMMIT").map(|()| value)) {
                Ok(value) => {
                    if in_transaction {
                        let isolation = session.surroundings.isolation;
                        session.surroundings.started.get_or_insert(Started { isolation, definitions });
                    } else {
                        session.forget_transaction();
                    }
                    Ok(value)
                }
                Err(error) => {
                    session.release();
                    // A number that was given in what is undone is free again.
                    let given = std::mem::replace(&mut session.surroundings.transaction, before);
                    if given != before {
                        session.shared.end_row_versions(given);
                    }
                    Err(error)
                }
            }
        })
    }

    /// Runs a statement that creates, alters or drops something.
    pub(super) fn defining<T>(&mut self, body: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let value = self.writing(body)?;
        self.has_defined |= self.surroundings.transactions > 0;
        Ok(value)
    }

    /// Tries again as long as rows are locked by others and the session has patience.
    fn patiently<T>(&mut self, mut body: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<T, SqlError> {
        let begun = Instant::now();
        loop {
            match body(self) {
                Err(error) if error.number == errors::LOCKED => {
                    let limit = u64::try_from(self.surroundings.lock_timeout).map(Duration::from_millis);
                    if begun.elapsed() >= limit.unwrap_or(PATIENCE) {
                        return Err(match limit {
                            Ok(_) => errors::lock_timeout(),
                            Err(_) => errors::deadlock(self.surroundings.process),
                        });
                    }
                    std::thread::sleep(LOOK_AGAIN);
                }
                result => return result,
            }
        }
    }

    /// Ends SQLite's transaction, whatever it is: that of a reader, or one that is to be undone.
    pub(super) fn release(&self) {
        if !self.connection.is_autocommit() {
            // A failed rollback means that SQLite has rolled back already.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The number of the open transaction or, without one, of the statement.
    pub(super) fn transaction_number(&mut self) -> Result<i64, SqlError> {
        if self.surroundings.transaction == 0 {
            self.surroundings.transaction =
                log::next_value(&self.connection, "transaction_number").map_err(|error| self.write_error(&error))?;
        }
        Ok(self.surroundings.transaction)
    }

    /// What a commit does, inside a writing transaction of SQLite.
    fn complete(&mut self) -> Result<(), SqlError> {
        let transaction = self.surroundings.transaction;
        if transaction == 0 {
            return Ok(());
        }
        let ended = self.created();
        let begun = if self.surroundings.transactions > 0 { self.begun } else { ended };
        let captured = tracking::commit(&self.connection, transaction)
            .and_then(|()| capture::commit(&self.connection, transaction, begun, ended))
            .map_err(|error| self.write_error(&error))?;
        log::end(&self.connection, transaction, &captured).map_err(|error| self.write_error(&error))?;
        match captured.is_empty() || self.shared.switches().capture == Capture::OnCommand {
            true => Ok(()),
            false => self.scan(),
        }
    }

    fn forget_transaction(&mut self) {
        let transaction = std::mem::take(&mut self.surroundings.transaction);
        if transaction != 0 {
            self.shared.end_row_versions(transaction);
        }
        self.surroundings.transactions = 0;
        self.surroundings.started = None;
        self.surroundings.accessed.set(false);
        self.savepoints.clear();
        self.has_defined = false;
    }

    pub(super) fn begin_transaction(&mut self) {
        if self.surroundings.transactions == 0 {
            self.forget_transaction();
            self.begun = self.created();
        }
        self.surroundings.transactions += 1;
    }

    /// "SET IMPLICIT_TRANSACTIONS": which statements begin a transaction.
    pub(super) fn begin_implicitly(&mut self, statement: &Statement, out: Output<'_>) -> ControlFlow<()> {
        let begins = match statement {
            Statement::Query(query) => query.body.as_select().is_none_or(|select| !select.from.is_empty()),
            Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Truncate(_)
            | Statement::CreateTable(_)
            | Statement::AlterTable(_)
            | Statement::Drop { .. } => true,
            _ => false,
        };
        if !(begins && self.implicit && self.surroundings.transactions == 0) {
            return ControlFlow::Continue(());
        }
        self.begin_transaction();
        out(Event::Transaction(TransactionChange::Began))
    }

    pub(super) fn commit_transaction(&mut self) -> Result<(), SqlError> {
        match self.surroundings.transactions {
            0 => Err(SqlError::new(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")),
            1 => {
                self.release();
                if self.surroundings.transaction != 0 {
                    self.execute_batch("BEGIN IMMEDIATE")?;
                    let result = self.complete().and_then(|()| self.execute_batch("COMMIT"));
                    if let Err(error) = result {
                        self.release();
                        return Err(error);
                    }
                }
                self.forget_transaction();
                Ok(())
            }
            _ => {
                self.surroundings.transactions -= 1;
                Ok(())
            }
        }
    }

    pub(super) fn roll_back_transaction(&mut self) -> Result<(), SqlError> {
        if self.surroundings.transactions == 0 {
            return Err(SqlError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        }
        let has_defined = self.has_defined;
        self.abandon();
        if has_defined { Err(errors::unsupported("ROLLBACK of CREATE, ALTER or DROP")) } else { Ok(()) }
    }

    /// Rolls back whatever is open, as the server does for the victim of a deadlock.
    pub(super) fn abandon(&mut self) {
        self.release();
        let transaction = self.surroundings.transaction;
        if self.surroundings.transactions > 0 && transaction != 0 {
            let undone = self.undo_to(0).and_then(|()| {
                self.connection
                    .execute("DELETE FROM __active WHERE txn = ?1", [transaction])
                    .map_err(|e| errors::storage(&e))
            });
            if let Err(error) = undone {
                tracing::error!(%error, "a transaction is not undone");
            }
        }
        self.forget_transaction();
    }

    fn undo_to(&self, since: i64) -> Result<(), SqlError> {
        self.execute_batch("BEGIN IMMEDIATE")?;
        let undone = log::undo(&self.connection, self.surroundings.transaction, since)
            .map_err(|error| self.write_error(&error))
            .and_then(|()| self.execute_batch("COMMIT"));
        if undone.is_err() {
            self.release();
        }
        undone
    }

    /// `SAVE TRANSACTION name`
    pub(super) fn save_transaction(&mut self, name: &str) -> Result<(), SqlError> {
        if self.surroundings.transactions == 0 {
            return Err(SqlError::new(628, "Cannot issue SAVE TRANSACTION when there is no active transaction."));
        }
        let at = log::value_of(&self.connection, "log_number").map_err(|error| errors::storage(&error))?;
        self.savepoints.push((name.to_lowercase(), at));
        Ok(())
    }

    /// `ROLLBACK TRANSACTION savepoint`: the transaction stays open.
    pub(super) fn roll_back_to(&mut self, name: &str) -> Result<(), SqlError> {
        let wanted = name.to_lowercase();
        let Some(place) = self.savepoints.iter().rposition(|(own, _)| *own == wanted) else {
            let text = format!("Cannot roll back {name}. No transaction or savepoint of that name was found.");
            return Err(SqlError::new(6401, text));
        };
        self.savepoints.truncate(place + 1);
        self.release();
        self.undo_to(self.savepoints[place].1)
    }
}

//! An engine whose answers a test writes in Rust.

use std::sync::Arc;

use datakit_fake_sqlserver::engine::{Engine, Event, Login, Output, Request, Session};
use datakit_fake_sqlserver::values::{Column, SqlError, Value};

type Answer = dyn Fn(&Request, Output<'_>) + Send + Sync;

/// Answers every request by a closure. Knows one database, `testdb`.
pub struct Scripted(Arc<Answer>);

impl Scripted {
    pub fn new(answer: impl Fn(&Request, Output<'_>) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Arc::new(answer)))
    }
}

impl Engine for Scripted {
    fn session(&self, login: &Login) -> Result<Box<dyn Session>, SqlError> {
        if !matches!(login.database.as_str(), "" | "testdb") {
            let text = format!("Cannot open database \"{}\" requested by the login. The login failed.", login.database);
            return Err(SqlError::new(4060, text).with_class(11));
        }
        Ok(Box::new(ScriptedSession { answer: Arc::clone(&self.0), in_transaction: false }))
    }
}

struct ScriptedSession {
    answer: Arc<Answer>,
    in_transaction: bool,
}

impl Session for ScriptedSession {
    fn database(&self) -> String {
        "testdb".to_owned()
    }

    fn execute(&mut self, request: Request, out: Output<'_>) {
        (self.answer)(&request, out);
    }

    fn begin(&mut self, _isolation: u8) -> Result<(), SqlError> {
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        if !std::mem::take(&mut self.in_transaction) {
            return Err(SqlError::new(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."));
        }
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), SqlError> {
        if !std::mem::take(&mut self.in_transaction) {
            return Err(SqlError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.in_transaction = false;
    }
}

/// Text of a request.
pub fn text(request: &Request) -> &str {
    match request {
        Request::Batch { text } | Request::Parameterized { text, .. } => text,
        Request::Procedure { name, .. } => name,
    }
}

/// Emits one result.
pub fn emit(out: Output<'_>, columns: &[Column], rows: &[Vec<Value>]) {
    let events = std::iter::once(Event::Columns(Arc::new(columns.to_vec())))
        .chain(rows.iter().map(|row| Event::Row(row.clone())))
        .chain(std::iter::once(Event::Done { rows: Some(rows.len() as u64) }));
    for event in events {
        if out(event).is_break() {
            return;
        }
    }
}

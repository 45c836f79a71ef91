//! The traits between the wire and whatever answers queries.
//!
//! The wire half logs a client in, decodes its requests and encodes [`Event`]s; an [`Engine`] turns requests into events.
//! Engines are synchronous: a request runs on a thread of its own, and its `out` blocks while the client is slow. When
//! `out` answers `Break`, the client sent an attention or went away: stop soon, emit nothing more.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::fast::FastTable;
use crate::values::{Column, SqlError, SqlType, Value};

/// What a client said when it logged in. The wire half has checked user and password already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// SQL login name.
    pub user: String,
    /// Database asked for; empty for the default one.
    pub database: String,
    /// Program name the client gave.
    pub application: String,
    /// Host name the client gave.
    pub host: String,
    /// Whether the client declared it would only read.
    pub read_only: bool,
}

/// A parameter of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// With its `@`; empty when passed by position.
    pub name: String,
    /// Type as declared by `sp_executesql`'s declaration text where it is known there, else as sent on the wire.
    pub sql_type: SqlType,
    /// The value.
    pub value: Value,
    /// Whether the client wants it back.
    pub output: bool,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A batch of statements (SQL batch message). Ends with one [`Event::Done`] a statement.
    Batch {
        /// The text, already decoded from UTF-16.
        text: String,
    },
    /// `sp_executesql`, or the execution of what `sp_prepexec`/`sp_prepare` prepared.
    Parameterized {
        /// The text.
        text: String,
        /// Its parameters, in order; the wire half has matched names with the declarations (`@P1 int, @P2 nvarchar(10)`).
        parameters: Vec<Parameter>,
    },
    /// Any other procedure. The wire half handles `sp_executesql`, `sp_prepare`, `sp_prepexec`, `sp_execute` and
    /// `sp_unprepare` itself. Answer with error 2812 when there is no such procedure.
    Procedure {
        /// Name as sent, quoting and schema included.
        name: String,
        /// Arguments.
        parameters: Vec<Parameter>,
    },
}

/// What an engine emits for a request, in the order the client shall see it.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A result begins.
    Columns(Arc<Vec<Column>>),
    /// A row of the current result: as many values as columns.
    Row(Vec<Value>),
    /// Rows of a generated table, served from pre-encoded bytes. The result's columns must be the table's columns at
    /// `columns`, types and nullability unchanged (names may differ).
    FastRows {
        /// The table.
        table: Arc<FastTable>,
        /// Which of its columns, in the order of the result; any column at most once.
        columns: Vec<usize>,
        /// Row numbers from 0, in key order.
        rows: Range<u64>,
    },
    /// A statement ended. `Some` for a statement with a count (SELECT, INSERT …).
    Done {
        /// Rows returned or changed.
        rows: Option<u64>,
    },
    /// A message: PRINT, RAISERROR below severity 11, changed database.
    Info(SqlError),
    /// An error. It ends the current statement (no [`Event::Done`] for it must follow); an engine that goes on with the
    /// batch may emit further events. May come after rows.
    Error(SqlError),
    /// The session's database changed (`USE`). The wire half adds message 5701.
    Database(String),
    /// A statement began or ended the session's transaction.
    Transaction(TransactionChange),
    /// Status of a procedure; without one 0 is sent.
    ReturnStatus(i32),
    /// The connection is closed in the middle of the answer, without a word. Nothing may follow.
    Cut,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionChange {
    /// It began.
    Began,
    /// It was committed.
    Committed,
    /// It was rolled back.
    RolledBack,
}

/// Takes events; `Break` means stop.
pub type Output<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// Something that answers queries.
pub trait Engine: Send + Sync + 'static {
    /// A session for a client that gave the right password.
    ///
    /// # Errors
    ///
    /// 4060 when the database does not exist; whatever else forbids the session.
    fn session(&self, login: &Login) -> Result<Box<dyn Session>, SqlError>;
}

/// One client's session: temporary tables, transaction, settings.
pub trait Session: Send + 'static {
    /// Name of the current database.
    fn database(&self) -> String;

    /// Runs a request to its end or until `out` breaks.
    fn execute(&mut self, request: Request, out: Output<'_>);

    /// Begins a transaction. The isolation level is MS-TDS's: 0 as it is, 1 read uncommitted … 5 snapshot.
    ///
    /// # Errors
    ///
    /// What SQL Server would say.
    fn begin(&mut self, isolation: u8) -> Result<(), SqlError>;

    /// Commits the transaction.
    ///
    /// # Errors
    ///
    /// What SQL Server would say, 3902 without a transaction for instance.
    fn commit(&mut self) -> Result<(), SqlError>;

    /// Rolls the transaction back.
    ///
    /// # Errors
    ///
    /// What SQL Server would say, 3903 without a transaction for instance.
    fn rollback(&mut self) -> Result<(), SqlError>;

    /// Brings the session back to its first state, as `sp_reset_connection` does.
    fn reset(&mut self);
}

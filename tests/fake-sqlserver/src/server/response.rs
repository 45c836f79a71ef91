//! From the engine's events to the packets of one response.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::{Event, TransactionChange};
use crate::fast::{FastTable, TemplateCache};
use crate::tds::packet::PacketWriter;
use crate::tds::row::RowEncoder;
use crate::tds::token::{self, Done, DoneKind, EnvChange, command, done};
use crate::tds::{Encoding, Features, metadata};
use crate::values::{Column, SqlError, Value};

/// Whole packets are handed on when this many bytes have gathered.
const CHUNK_BYTES: usize = 128 << 10;
/// Rows of a generated table between two looks for an attention.
const FAST_ROWS_AT_ONCE: u64 = 512;

/// What a response needs to know of its connection and server.
#[derive(Debug, Clone)]
pub struct Context {
    /// Server name in messages.
    pub server_name: Arc<str>,
    /// Choices of encoding.
    pub encoding: Encoding,
    /// What the client knows.
    pub features: Features,
    /// Size of packets.
    pub packet_bytes: usize,
    /// Pre-encoded rows.
    pub templates: Arc<TemplateCache>,
}

/// Whether statements run by themselves or inside a call: that decides which DONE they end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A batch.
    Batch,
    /// A procedure.
    Call,
}

/// A part of a response.
#[derive(Debug)]
pub enum Piece {
    /// Whole packets.
    Packets(Vec<u8>),
    /// The packets that end the message.
    Last(Vec<u8>),
}

/// What a response did beyond sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// It ended with the answer to an attention.
    pub attention_answered: bool,
    /// An error of severity 20 or more, or the connection was to be cut: it ends.
    pub fatal: bool,
}

/// Writes one response while the engine runs; lives on the engine's thread.
pub struct Response<'a> {
    context: &'a Context,
    writer: PacketWriter,
    tokens: Vec<u8>,
    /// Takes packets, blocks while the client is slow; false when the client is gone.
    send: &'a mut dyn FnMut(Piece) -> bool,
    cancelled: &'a AtomicBool,
    scope: Scope,
    rows: Option<RowEncoder>,
    row_count: u64,
    /// The last DONE, held back until it is known whether more follows.
    pending: Option<Done>,
    error_number: Option<i32>,
    return_status: Option<i32>,
    database: String,
    transaction: &'a mut Transaction,
    gone: bool,
    fatal: bool,
}

/// The transaction of a connection, as its client sees it.
#[derive(Debug, Default)]
pub struct Transaction {
    current: Option<u64>,
    last: u64,
}

impl Transaction {
    /// The change to tell the client, and the state after it.
    pub fn apply(&mut self, change: TransactionChange) -> Option<EnvChange<'static>> {
        match change {
            TransactionChange::Began => {
                self.last += 1;
                self.current = Some(self.last);
                Some(EnvChange::TransactionBegan(self.last))
            }
            TransactionChange::Committed => self.current.take().map(EnvChange::TransactionCommitted),
            TransactionChange::RolledBack => self.current.take().map(EnvChange::TransactionRolledBack),
        }
    }

    fn status(&self) -> u16 {
        if self.current.is_some() { done::IN_TRANSACTION } else { 0 }
    }
}

impl<'a> Response<'a> {
    /// A response that nothing was written to.
    pub fn new(
        context: &'a Context,
        scope: Scope,
        database: String,
        transaction: &'a mut Transaction,
        cancelled: &'a AtomicBool,
        send: &'a mut dyn FnMut(Piece) -> bool,
    ) -> Self {
        Self {
            context,
            writer: PacketWriter::new(context.packet_bytes),
            tokens: Vec::new(),
            send,
            cancelled,
            scope,
            rows: None,
            row_count: 0,
            pending: None,
            error_number: None,
            return_status: None,
            database,
            transaction,
            gone: false,
            fatal: false,
        }
    }

    /// Takes one event.
    pub fn event(&mut self, event: Event) -> ControlFlow<()> {
        if self.stopped() {
            return ControlFlow::Break(());
        }
        self.write_pending(done::MORE);
        match event {
            Event::Columns(columns) => self.columns(&columns),
            Event::Row(values) => self.row(&values)?,
            Event::FastRows { table, columns, rows } => self.fast_rows(&table, &columns, rows)?,
            Event::Done { rows } => self.done(rows),
            Event::Info(info) => token::info(&mut self.tokens, &info, &self.context.server_name),
            Event::Error(error) => self.error(&error),
            Event::Database(name) => self.changed_database(name),
            Event::Transaction(change) => self.transaction_changed(change),
            Event::ReturnStatus(status) => self.return_status = Some(status),
            Event::Cut => self.cut(),
        }
        self.flush();
        if self.stopped() || self.fatal { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// The client gets what there is in whole packets, and no end.
    fn cut(&mut self) {
        let packets = self.writer.take_whole_packets();
        let _gone = (self.send)(Piece::Packets(packets));
        (self.gone, self.fatal) = (true, true);
    }

    /// Whether to emit nothing more: the client is gone or sent an attention.
    fn stopped(&self) -> bool {
        self.gone || self.cancelled.load(Ordering::Relaxed)
    }

    fn columns(&mut self, columns: &[Column]) {
        metadata::write(&mut self.tokens, columns, self.context.features);
        self.rows = Some(RowEncoder::new(columns, self.context.encoding));
        self.row_count = 0;
    }

    fn row(&mut self, values: &[Value]) -> ControlFlow<()> {
        let before = self.tokens.len();
        let written = match &self.rows {
            Some(encoder) => encoder.write(&mut self.tokens, values),
            None => Err(SqlError::new(8101, "A row came before its columns.")),
        };
        match written {
            Ok(()) => {
                self.row_count += 1;
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.tokens.truncate(before);
                self.error(&error);
                ControlFlow::Break(())
            }
        }
    }

    fn fast_rows(&mut self, table: &Arc<FastTable>, columns: &[usize], rows: std::ops::Range<u64>) -> ControlFlow<()> {
        let template = match self.context.templates.get(table, columns, self.context.encoding) {
            Ok(template) => template,
            Err(error) => {
                self.error(&error);
                return ControlFlow::Break(());
            }
        };
        let mut next = rows.start;
        while next < rows.end {
            let appended = template.append(next..rows.end, FAST_ROWS_AT_ONCE, &mut self.tokens);
            next += appended;
            self.row_count += appended;
            self.flush();
            if self.stopped() || appended == 0 {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn done(&mut self, rows: Option<u64>) {
        let had_columns = self.rows.take().is_some();
        self.pending = Some(Done {
            kind: self.done_kind(),
            status: self.transaction.status() | if rows.is_some() { done::COUNT } else { 0 },
            command: if had_columns { command::SELECT } else { command::NONE },
            rows: rows.unwrap_or(0),
        });
    }

    fn done_kind(&self) -> DoneKind {
        match self.scope {
            Scope::Batch => DoneKind::Done,
            Scope::Call => DoneKind::InProcedure,
        }
    }

    /// Writes an error; it ends its statement.
    pub fn error(&mut self, error: &SqlError) {
        self.write_pending(done::MORE);
        token::error(&mut self.tokens, error, &self.context.server_name);
        let command = if self.rows.take().is_some() { command::SELECT } else { command::NONE };
        let status = done::ERROR | self.transaction.status();
        self.pending = Some(Done { kind: self.done_kind(), status, command, rows: 0 });
        self.error_number = Some(error.number);
        self.fatal |= error.class >= 20;
    }

    fn changed_database(&mut self, name: String) {
        write_changed_database(&mut self.tokens, &name, &self.database, &self.context.server_name);
        self.database = name;
    }

    /// Tells the client of its transaction.
    pub fn transaction_changed(&mut self, change: TransactionChange) {
        if let Some(change) = self.transaction.apply(change) {
            token::env_change(&mut self.tokens, &change);
        }
    }

    /// Tells the client that its session was reset, as it asked.
    pub fn reset_done(&mut self) {
        token::env_change(&mut self.tokens, &EnvChange::ResetDone);
    }

    fn write_pending(&mut self, more: u16) {
        if let Some(mut pending) = self.pending.take() {
            pending.status |= more;
            pending.write(&mut self.tokens);
        }
    }

    fn flush(&mut self) {
        self.writer.put(&self.tokens);
        self.tokens.clear();
        if self.writer.gathered_bytes() >= CHUNK_BYTES {
            let packets = self.writer.take_whole_packets();
            self.gone |= !(self.send)(Piece::Packets(packets));
        }
    }

    /// Ends a call: its status, the values it returns, DONEPROC.
    pub fn end_call(&mut self, returned: Option<(u16, &str, i32)>, last: bool) {
        if self.stopped() {
            return;
        }
        self.write_pending(done::MORE);
        let error = self.error_number.take();
        let status = self.return_status.take().or(error).unwrap_or(0);
        token::return_status(&mut self.tokens, status);
        if let Some((ordinal, name, value)) = returned {
            token::return_int(&mut self.tokens, ordinal, name, value);
        }
        let status = self.transaction.status()
            | if last { 0 } else { done::MORE }
            | if error.is_some() { done::ERROR } else { 0 };
        Done { kind: DoneKind::Procedure, status, command: command::EXECUTE, rows: 0 }.write(&mut self.tokens);
        self.flush();
    }

    /// Ends the response.
    pub fn finish(mut self) -> Outcome {
        let attention = self.cancelled.load(Ordering::Acquire);
        if attention {
            self.pending = None;
            let answer = Done { kind: DoneKind::Done, status: done::ATTENTION, command: command::NONE, rows: 0 };
            answer.write(&mut self.tokens);
        } else {
            if self.pending.is_none() && self.scope == Scope::Batch {
                self.pending = Some(Done {
                    kind: DoneKind::Done,
                    status: self.transaction.status(),
                    command: command::NONE,
                    rows: 0,
                });
            }
            self.write_pending(0);
        }
        self.writer.put(&self.tokens);
        if !self.gone {
            let _gone = (self.send)(Piece::Last(self.writer.finish()));
        }
        Outcome { attention_answered: attention, fatal: self.fatal }
    }
}

/// Tells a client its new database, as SQL Server does: ENVCHANGE and message 5701.
pub fn write_changed_database(to: &mut Vec<u8>, new: &str, old: &str, server_name: &str) {
    token::env_change(to, &EnvChange::Database(new, old));
    let text = format!("Changed database context to '{new}'.");
    let info = SqlError::new(5701, text).with_class(0).with_state(2);
    token::info(to, &info, server_name);
}

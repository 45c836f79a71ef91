//! Tokens of a response other than those of rows (MS-TDS 2.2.7).

use crate::values::{Collation, SqlError};

/// Status bits of DONE, DONEPROC and DONEINPROC.
pub mod done {
    /// More results follow in this response.
    pub const MORE: u16 = 0x0001;
    /// The statement ended in an error.
    pub const ERROR: u16 = 0x0002;
    /// A transaction is open.
    pub const IN_TRANSACTION: u16 = 0x0004;
    /// The row count counts.
    pub const COUNT: u16 = 0x0010;
    /// Answer to an attention.
    pub const ATTENTION: u16 = 0x0020;
}

/// Kinds of statements, as DONE tells them.
pub mod command {
    /// Nothing in particular.
    pub const NONE: u16 = 0x0000;
    /// SELECT.
    pub const SELECT: u16 = 0x00c1;
    /// EXECUTE.
    pub const EXECUTE: u16 = 0x00e0;
}

/// Which of the three DONE tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneKind {
    /// A statement of a batch ended.
    Done = 0xfd,
    /// A procedure ended.
    Procedure = 0xfe,
    /// A statement inside a procedure ended.
    InProcedure = 0xff,
}

/// A DONE token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Which one.
    pub kind: DoneKind,
    /// Bits of [`done`].
    pub status: u16,
    /// One of [`command`].
    pub command: u16,
    /// Rows, where [`done::COUNT`] is set.
    pub rows: u64,
}

impl Done {
    /// Writes it.
    pub fn write(self, to: &mut Vec<u8>) {
        to.push(self.kind as u8);
        to.extend_from_slice(&self.status.to_le_bytes());
        to.extend_from_slice(&self.command.to_le_bytes());
        to.extend_from_slice(&self.rows.to_le_bytes());
    }
}

const RETURN_STATUS: u8 = 0x79;
const RETURN_VALUE: u8 = 0xac;
const LOGIN_ACK: u8 = 0xad;
const FEATURE_EXT_ACK: u8 = 0xae;
const SSPI: u8 = 0xed;
const ERROR: u8 = 0xaa;
const INFO: u8 = 0xab;
const ENV_CHANGE: u8 = 0xe3;

/// Writes ERROR.
pub fn error(to: &mut Vec<u8>, error: &SqlError, server: &str) {
    message(to, ERROR, error, server);
}

/// Writes INFO.
pub fn info(to: &mut Vec<u8>, info: &SqlError, server: &str) {
    message(to, INFO, info, server);
}

fn message(to: &mut Vec<u8>, token: u8, message: &SqlError, server: &str) {
    let mut body = Vec::new();
    body.extend_from_slice(&message.number.to_le_bytes());
    body.push(message.state);
    body.push(message.class);
    // The token's own length is 16 bits of bytes; SQL Server cuts its texts at 2,047 units.
    long_text(&mut body, &message.message.chars().take(2047).collect::<String>());
    short_text(&mut body, server);
    short_text(&mut body, "");
    body.extend_from_slice(&message.line.to_le_bytes());
    with_length(to, token, &body);
}

/// Writes RETURNSTATUS.
pub fn return_status(to: &mut Vec<u8>, status: i32) {
    to.push(RETURN_STATUS);
    to.extend_from_slice(&status.to_le_bytes());
}

/// Writes RETURNVALUE of an `int` output parameter: the handle of a prepared statement.
pub fn return_int(to: &mut Vec<u8>, ordinal: u16, name: &str, value: i32) {
    to.push(RETURN_VALUE);
    to.extend_from_slice(&ordinal.to_le_bytes());
    short_text(to, name);
    to.push(0x01); // an output parameter
    to.extend_from_slice(&[0; 4]); // user type
    to.extend_from_slice(&[0; 2]); // flags
    to.extend_from_slice(&[0x26, 4, 4]); // INTN of four bytes, here with four
    to.extend_from_slice(&value.to_le_bytes());
}

/// Writes LOGINACK. The version is in the order of the wire's LOGIN7 field.
pub fn login_ack(to: &mut Vec<u8>, tds_version: u32) {
    let mut body = vec![1]; // T-SQL
    body.extend_from_slice(&tds_version.to_be_bytes());
    short_text(&mut body, "Microsoft SQL Server");
    body.extend_from_slice(&super::prelogin::SERVER_VERSION);
    with_length(to, LOGIN_ACK, &body);
}

/// Writes SSPI: what the other side of a login with tickets needs.
pub fn sspi(to: &mut Vec<u8>, bytes: &[u8]) {
    with_length(to, SSPI, bytes);
}

/// Writes FEATUREEXTACK.
pub fn feature_ext_ack(to: &mut Vec<u8>, features: &[(u8, Vec<u8>)]) {
    to.push(FEATURE_EXT_ACK);
    for (identifier, data) in features {
        to.push(*identifier);
        to.extend_from_slice(&(data.len() as u32).to_le_bytes());
        to.extend_from_slice(data);
    }
    to.push(super::login::feature::TERMINATOR);
}

/// What an ENVCHANGE tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvChange<'a> {
    /// Database: new, old.
    Database(&'a str, &'a str),
    /// Language: new, old.
    Language(&'a str, &'a str),
    /// Packet size: new, old.
    PacketBytes(usize, usize),
    /// Collation of the database.
    Collation(Collation),
    /// A transaction began.
    TransactionBegan(u64),
    /// It was committed.
    TransactionCommitted(u64),
    /// It was rolled back.
    TransactionRolledBack(u64),
    /// The session was reset, as the client asked.
    ResetDone,
    /// Another server is to be asked.
    Routing {
        /// Its name or address.
        host: &'a str,
        /// Its port.
        port: u16,
    },
}

/// Writes ENVCHANGE.
pub fn env_change(to: &mut Vec<u8>, change: &EnvChange<'_>) {
    let mut body = Vec::new();
    match change {
        EnvChange::Database(new, old) => two_texts(&mut body, 1, new, old),
        EnvChange::Language(new, old) => two_texts(&mut body, 2, new, old),
        EnvChange::PacketBytes(new, old) => two_texts(&mut body, 4, &new.to_string(), &old.to_string()),
        EnvChange::Collation(collation) => two_values(&mut body, 7, &collation.bytes(), &[]),
        EnvChange::TransactionBegan(id) => two_values(&mut body, 8, &id.to_le_bytes(), &[]),
        EnvChange::TransactionCommitted(id) => two_values(&mut body, 9, &[], &id.to_le_bytes()),
        EnvChange::TransactionRolledBack(id) => two_values(&mut body, 10, &[], &id.to_le_bytes()),
        EnvChange::ResetDone => two_values(&mut body, 18, &[], &[]),
        EnvChange::Routing { host, port } => routing(&mut body, host, *port),
    }
    with_length(to, ENV_CHANGE, &body);
}

/// `RoutingData`, whose lengths are of 16 bits: protocol TCP, the port, the name; and an old value that is empty.
fn routing(body: &mut Vec<u8>, host: &str, port: u16) {
    let mut data = vec![0];
    data.extend_from_slice(&port.to_le_bytes());
    long_text(&mut data, host);
    body.push(20);
    body.extend_from_slice(&(data.len() as u16).to_le_bytes());
    body.extend(data);
    body.extend_from_slice(&[0, 0]);
}

fn two_texts(body: &mut Vec<u8>, kind: u8, new: &str, old: &str) {
    body.push(kind);
    short_text(body, new);
    short_text(body, old);
}

fn two_values(body: &mut Vec<u8>, kind: u8, new: &[u8], old: &[u8]) {
    body.push(kind);
    for value in [new, old] {
        body.push(value.len() as u8);
        body.extend_from_slice(value);
    }
}

fn with_length(to: &mut Vec<u8>, token: u8, body: &[u8]) {
    to.push(token);
    to.extend_from_slice(&(body.len() as u16).to_le_bytes());
    to.extend_from_slice(body);
}

/// Appends a text of at most 255 UTF-16 units with its length before it (B_VARCHAR); longer ones are cut.
pub fn short_text(to: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(255).collect();
    to.push(units.len() as u8);
    to.extend(units.into_iter().flat_map(u16::to_le_bytes));
}

/// The same with a length of 16 bits (US_VARCHAR).
pub fn long_text(to: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(usize::from(u16::MAX)).collect();
    to.extend_from_slice(&(units.len() as u16).to_le_bytes());
    to.extend(units.into_iter().flat_map(u16::to_le_bytes));
}

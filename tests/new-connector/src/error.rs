//! What can go wrong with a logbook server.

use std::borrow::Cow;

use datakit_connect::permissions::Codes;
use datakit_model::{Diagnostic, Failure, Fault, Kind, Retry, TableId};

/// The codes that [`datakit_connect::permissions`] reports under.
pub(crate) const CODES: Codes = Codes { denied: "DK-LGB-006", not_found: "DK-LGB-007" };

/// Any error of this source.
#[derive(Debug, thiserror::Error)]
pub enum LogbookError {
    /// No connection, or one that was closed early.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// `host:port`
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The password cannot be fetched.
    #[error("{0}")]
    Password(Failure),
    /// The server refuses the password.
    #[error("{address} refuses the login: {reason}")]
    Login {
        /// `host:port`
        address: String,
        /// The server's words.
        reason: String,
    },
    /// The server refuses a question.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// `host:port`
        address: String,
        /// The server's words.
        reason: String,
    },
    /// A line that the protocol does not have.
    #[error("invalid answer from {address}: {reason}")]
    Answer {
        /// `host:port`
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row that does not fit its columns.
    #[error("a row from {address} cannot be read: {reason}")]
    Row {
        /// `host:port`
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The query took too long.
    #[error("the query did not end within {seconds} s")]
    Timeout {
        /// The bound.
        seconds: f64,
    },
    /// A book that the operator did not grant.
    #[error("{table} is not granted")]
    NotGranted {
        /// The book.
        table: TableId,
    },
    /// A query that is not one of the language.
    #[error("invalid request from the datakit: {reason}")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
    /// Something that cannot happen.
    #[error("bug in the connector: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

impl LogbookError {
    /// A query that is not one of the language.
    pub(crate) fn request(reason: impl Into<String>) -> Self {
        Self::Request { reason: reason.into() }
    }
}

impl From<Failure> for LogbookError {
    fn from(failure: Failure) -> Self {
        Self::Password(failure)
    }
}

impl Diagnostic for LogbookError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable { .. } => "DK-LGB-001".into(),
            Self::Password(failure) => failure.code().to_owned().into(),
            Self::Login { .. } => "DK-LGB-002".into(),
            Self::Refused { .. } => "DK-LGB-003".into(),
            Self::Answer { .. } => "DK-LGB-004".into(),
            Self::Timeout { .. } => "DK-LGB-005".into(),
            Self::NotGranted { .. } => CODES.denied.into(),
            Self::Request { .. } => "DK-LGB-008".into(),
            Self::Internal { .. } => "DK-LGB-009".into(),
            Self::Row { .. } => "DK-LGB-010".into(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Password(failure) => failure.kind(),
            Self::NotGranted { .. } => Kind::User,
            Self::Row { .. } => Kind::Data,
            Self::Request { .. } => Kind::Datakit,
            Self::Internal { .. } => Kind::Internal,
            _ => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Password(failure) => failure.retry(),
            Self::Unreachable { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { .. } => "check `host` and `port`, and that the server runs",
            Self::Login { .. } => "check `password`",
            Self::NotGranted { .. } => "add the book to `tables`",
            Self::Timeout { .. } => "try again when the server has less to do",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Password(failure) => Some(failure),
            _ => None,
        }
    }
}

impl Fault for LogbookError {
    fn query_timeout(seconds: f64) -> Self {
        Self::Timeout { seconds }
    }

    fn pool_timeout(address: String, seconds: f64, _: usize) -> Self {
        Self::Internal { what: format!("a wait of {seconds} s for a pool to {address}, which has no pool") }
    }

    fn internal(what: String) -> Self {
        Self::Internal { what }
    }
}

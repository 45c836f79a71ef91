//! Errors of tiberius into ours.

use tiberius::error::Error;

use crate::config::SqlServerConfig;
use crate::error::{ServerError, SourceError};
use datakit_connect::tls;

/// In the place of a column's name.
pub(super) const UNKNOWN_COLUMN: &str = "(tiberius does not say which)";

/// An error of a query.
pub(crate) fn of_query(config: &SqlServerConfig, error: Error, rows_before: u64) -> SourceError {
    let address = config.address();
    let text_error = |reason: String| SourceError::Value {
        row: rows_before + 1,
        column: UNKNOWN_COLUMN.to_owned(),
        reason,
        hint: "read it with `reader = \"mssql-tds\"`, which names the column",
    };
    match error {
        Error::Server(token) => SourceError::Server {
            error: ServerError {
                number: token.code(),
                class: token.class(),
                state: token.state(),
                message: token.message().to_owned(),
            },
            rows_before,
        },
        Error::Io { message, .. } => SourceError::Broken { address, reason: tls::plain(&message) },
        Error::Tls(reason) => {
            SourceError::Certificate { address, problem: tls::problem(&reason), reason: tls::plain(&reason) }
        }
        Error::Encoding(reason) => text_error(reason.into_owned()),
        Error::Utf8 => text_error("a text that is not UTF-8".to_owned()),
        Error::Utf16 => text_error("a text that is not UTF-16".to_owned()),
        Error::Protocol(reason) if reason.contains("UTF-16") => text_error(reason.into_owned()),
        other => SourceError::Protocol { address, reason: other.to_string() },
    }
}

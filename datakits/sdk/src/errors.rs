//! Errors a datakit returns: shown to the operator as they are.

use std::fmt::Display;

use crate::bindings::datakit::kit::types::{Error, ErrorKind, Retry};

/// Codes of errors this crate makes itself. A datakit's own codes start with the datakit's name.
pub mod codes {
    /// The settings do not fit the datakit.
    pub const SETTINGS: &str = "DATAKIT-SDK-001";
    /// Rows of the host are not the Arrow IPC this crate reads.
    pub const ROWS: &str = "DATAKIT-SDK-002";
    /// A column asked for is not there, or of another type.
    pub const COLUMN: &str = "DATAKIT-SDK-003";
    /// A name too long for its Bronze column.
    pub const BRONZE_NAME: &str = "DATAKIT-SDK-004";
    /// A source column bears the name of a Bronze column.
    pub const BRONZE_COLLISION: &str = "DATAKIT-SDK-005";
    /// A pattern that is none.
    pub const PATTERN: &str = "DATAKIT-SDK-006";
    /// A partition's state that this version of the datakit did not write.
    pub const STATE: &str = "DATAKIT-SDK-007";
    /// Columns that a datakit makes contradict each other, or are too large.
    pub const NEW_COLUMNS: &str = "DATAKIT-SDK-008";
}

impl Error {
    /// An error nothing but a change will cure.
    pub fn new(kind: ErrorKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), retry: Retry::Never, message: message.into(), context: Vec::new() }
    }

    /// The operator's settings are wrong.
    pub fn config(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, code, message)
    }

    /// A type or value of the source cannot be represented.
    pub fn data(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, code, message)
    }

    /// The source, or the way to it.
    pub fn source(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Source, code, message)
    }

    /// The datakit itself is at fault.
    pub fn datakit(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Datakit, code, message)
    }

    /// With what to do, at the end of the message.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Display) -> Self {
        self.message = format!("{}; hint: {hint}", self.message);
        self
    }

    /// With one more named fact.
    #[must_use]
    pub fn with_context(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.context.push((name.into(), value.to_string()));
        self
    }

    /// The cause may pass by itself.
    #[must_use]
    pub fn after_backoff(mut self) -> Self {
        self.retry = Retry::AfterBackoff;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_parts() {
        let error = Error::config("X-001", "no column `a`")
            .with_hint("remove it from `columns`")
            .with_context("table", "dbo.t")
            .after_backoff();
        assert_eq!(error.kind, ErrorKind::Config);
        assert_eq!(error.code, "X-001");
        assert_eq!(error.message, "no column `a`; hint: remove it from `columns`");
        assert_eq!(error.context, [("table".to_owned(), "dbo.t".to_owned())]);
        assert_eq!(error.retry, Retry::AfterBackoff);
    }
}

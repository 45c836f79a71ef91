use std::borrow::Cow;

use arrow::error::ArrowError;
use datakit_model::{Diagnostic, Kind, Retry};

use super::compare::Differences;

/// What a reconciliation finds, and what keeps it from finding anything.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Rows of the sink are not those of the source.
    #[error("{target} is not as {table} is in the source: {found}")]
    Different {
        /// The table.
        table: String,
        /// Where it is.
        target: String,
        /// What was found, in numbers.
        found: String,
    },
    /// The sink has no such table.
    #[error("{table} is not in the sink: there is no {target}")]
    NotLoaded {
        /// The table.
        table: String,
        /// Where it would be.
        target: String,
    },
    /// The rows of the sink do not say which of them is the row of now.
    #[error("{target} cannot be compared with {table}: {reason}")]
    Incomparable {
        /// The table.
        table: String,
        /// Where it is.
        target: String,
        /// Why not.
        reason: String,
    },
    /// Source or sink changed while they were compared.
    #[error("{table} could not be compared: {what}")]
    Moving {
        /// The table.
        table: String,
        /// What happened.
        what: &'static str,
    },
    /// There is no space for temporary files.
    #[error("the rows of {table} cannot be kept in a temporary file")]
    Spool {
        /// The table.
        table: String,
        /// Why.
        source: std::io::Error,
    },
    /// Values that could not be compared.
    #[error("the values of {table} could not be compared")]
    Values {
        /// The table.
        table: String,
        /// Why.
        source: ArrowError,
    },
}

impl ReconcileError {
    /// What keys differ, in words.
    pub(super) fn keys(found: Differences, ranges: u64) -> String {
        let plural = if ranges == 1 { "" } else { "s" };
        let Differences { missing, surplus, different } = found;
        format!(
            "{missing} keys are missing, {surplus} are surplus, {different} have other values, in {ranges} range{plural} of keys"
        )
    }
}

impl Diagnostic for ReconcileError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Different { .. } => "DK-RUN-060",
            Self::NotLoaded { .. } => "DK-RUN-061",
            Self::Incomparable { .. } => "DK-RUN-062",
            Self::Moving { .. } => "DK-RUN-063",
            Self::Spool { .. } => "DK-RUN-064",
            Self::Values { .. } => "DK-RUN-065",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Different { .. } | Self::Values { .. } => Kind::Sink,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Moving { .. } => Retry::NextRun,
            _ => Retry::Never,
        }
    }

    fn is_mismatch(&self) -> bool {
        matches!(self, Self::Different { .. })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Different { .. } => {
                "if rows changed in the source since the last load, load the table and compare again; else look for others who write into it, and replace its rows by `host run --full-refresh`".into()
            }
            Self::NotLoaded { .. } => "load it first, by `host run`".into(),
            Self::Incomparable { .. } => {
                "load it with `mode = \"overwrite\"` or `mode = \"merge\"`, or by a datakit that gives its rows a key, a load id and the start of the load".into()
            }
            Self::Moving { .. } => "compare again when no run loads the table and fewer rows of it change".into(),
            Self::Spool { .. } => {
                "free some space in the folder of temporary files, or name another one with TMPDIR".into()
            }
            Self::Values { .. } => "the cause says which values; replace the rows by `host run --full-refresh`".into(),
        })
    }
}

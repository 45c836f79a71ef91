//! What can go wrong at the edge itself.

use std::borrow::Cow;

use datakit_app::Reports;
use datakit_model::{Diagnostic, Failure, Kind};

/// An error of the command line or the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The arguments are not what a command takes.
    #[error("{message}")]
    Usage {
        /// What is wrong, in clap's words.
        message: String,
        /// How it is used, in clap's words.
        advice: String,
    },
    /// Standard output cannot be written, and not because its reader has gone.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// `DATAKIT_LOG` or `RUST_LOG` is not a filter.
    #[error("{variable} is not a log filter: {message}")]
    LogFilter {
        /// The variable.
        variable: &'static str,
        /// The parser's words.
        message: String,
    },
    /// The threads that do the work cannot be started.
    #[error("cannot start: {what}")]
    Start {
        /// What cannot be started.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A question that has to be answered with yes was not.
    #[error("nothing was done: the question was not answered with `yes`")]
    NotConfirmed,
    /// Traces cannot be sent as the environment says.
    #[error("traces cannot be sent: {message}")]
    Traces {
        /// Why not.
        message: String,
    },
    /// A value that could not be written as JSON.
    #[error("cannot write the answer as JSON")]
    Json(#[source] serde_json::Error),
    /// A value that could not be written as text.
    #[error("cannot show a value")]
    Show(#[source] arrow::error::ArrowError),
}

impl Diagnostic for CliError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Usage { .. } => "DK-CLI-001",
            Self::Output(_) => "DK-CLI-005",
            Self::LogFilter { .. } => "DK-CLI-006",
            Self::Start { .. } => "DK-CLI-011",
            Self::NotConfirmed => "DK-CLI-021",
            Self::Traces { .. } => "DK-CLI-022",
            Self::Json(_) => "DK-CLI-013",
            Self::Show(_) => "DK-CLI-014",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Json(_) | Self::Show(_) => Kind::Internal,
            _ => Kind::User,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Usage { advice, .. } if advice.is_empty() => return None,
            Self::Usage { advice, .. } => advice.clone(),
            Self::Output(_) => "check the path, who may write there, and the space left".into(),
            Self::LogFilter { .. } => "for example `info`, or `warn,datakit=debug`".into(),
            Self::Traces { .. } => "check OTEL_EXPORTER_OTLP_ENDPOINT and its siblings, or unset them".into(),
            Self::NotConfirmed => "answer `yes`, or give --yes where there is no terminal".into(),
            Self::Start { .. } => "the machine may be out of threads or memory".into(),
            Self::Json(_) | Self::Show(_) => "please report it, with the command and the log of -vv".into(),
        })
    }
}

impl From<CliError> for Reports {
    fn from(error: CliError) -> Self {
        Failure::from(error).into()
    }
}

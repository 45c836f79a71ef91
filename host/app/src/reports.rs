//! Everything that is wrong, at once: what happened, where, why, and what to do.

use std::error::Error;
use std::fmt;

use datakit_config::{ConfigError, ConfigErrors, Place};
use datakit_connect::connector::OpenError;
use datakit_model::{Failure, Kind, Retry, TableId, printable};
use datakit_pipeline::{RunStatus, TableError};

use crate::error::AppError;

/// An error as a person sees it. Its texts are bounded, and not escaped.
#[derive(Debug, Clone)]
pub struct Report {
    /// The stable code.
    pub code: String,
    /// Who has to act.
    pub kind: Kind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// A sink does not hold what the source delivered.
    pub is_mismatch: bool,
    /// What happened.
    pub message: String,
    /// Where in the configuration.
    pub place: Option<Place>,
    /// The errors below, outermost first.
    pub causes: Vec<String>,
    /// Named facts.
    pub context: Vec<(String, String)>,
    /// What to do.
    pub hint: Option<String>,
}

/// Everything that is wrong, at once. Never empty.
#[derive(Debug, Clone)]
pub struct Reports {
    all: Vec<Report>,
    was_stopped: bool,
}

/// What was found of each table, and what failed of some.
#[derive(Debug)]
pub struct Tables<T> {
    /// The tables, by name.
    pub tables: Vec<T>,
    /// One error for each table that failed.
    pub failures: Option<Reports>,
}

impl Reports {
    /// All of them, if there are any.
    #[must_use]
    pub fn of(all: Vec<Report>) -> Option<Self> {
        if all.is_empty() { None } else { Some(Self { all, was_stopped: false }) }
    }

    /// One error for each table that failed, naming the table; none when no table failed.
    pub(crate) fn of_tables(failures: Vec<(TableId, Failure)>) -> Option<Self> {
        let report = |(table, failure): (TableId, Failure)| {
            let is_named = failure.context().iter().any(|(name, _)| name == "table");
            Report::from(if is_named { failure } else { failure.with_context("table", table) })
        };
        Self::of(failures.into_iter().map(report).collect())
    }

    /// Each error.
    #[must_use]
    pub fn all(&self) -> &[Report] {
        &self.all
    }

    /// Whether the work was stopped by its token, rather than failed by itself.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        self.was_stopped
    }

    /// How a run ended that these kept from starting.
    #[must_use]
    pub fn run_status(&self) -> RunStatus {
        if self.was_stopped { RunStatus::Stopped } else { RunStatus::Failed }
    }

    /// As a summary shows them.
    #[must_use]
    pub fn table_errors(&self) -> Vec<TableError> {
        self.all.iter().map(TableError::from).collect()
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.all.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", report.code, report.message)?;
        }
        Ok(())
    }
}

impl Error for Reports {}

/// The longest text of a report, in characters.
const MAX_TEXT_CHARS: usize = 4_000;

fn bounded(text: &str) -> String {
    printable::cut(text, MAX_TEXT_CHARS).into_owned()
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let context = failure.context().iter().map(|(name, value)| (bounded(name), bounded(value)));
        Self {
            code: failure.code().to_owned(),
            kind: failure.kind(),
            retry: failure.retry(),
            is_mismatch: failure.is_mismatch(),
            message: bounded(failure.message()),
            place: None,
            causes: failure.causes().iter().map(|cause| bounded(cause)).collect(),
            context: context.collect(),
            hint: failure.hint().map(bounded),
        }
    }
}

impl From<ConfigError> for Report {
    fn from(error: ConfigError) -> Self {
        let place = error.place().cloned();
        // The place says what the context would.
        Self { place, context: Vec::new(), ..Self::from(Failure::from(error)) }
    }
}

impl From<&TableError> for Report {
    fn from(error: &TableError) -> Self {
        Self {
            code: error.code.clone(),
            kind: error.kind,
            retry: error.retry,
            is_mismatch: error.is_mismatch,
            message: bounded(&error.message),
            place: None,
            causes: error.causes.iter().map(|cause| bounded(cause)).collect(),
            context: Vec::new(),
            hint: error.hint.as_deref().map(bounded),
        }
    }
}

impl From<&Report> for TableError {
    fn from(report: &Report) -> Self {
        Self {
            code: report.code.clone(),
            kind: report.kind,
            retry: report.retry,
            is_mismatch: report.is_mismatch,
            message: report.message.clone(),
            hint: report.hint.clone(),
            causes: report.causes.clone(),
        }
    }
}

impl From<Vec<ConfigError>> for Reports {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self { all: errors.into_iter().map(Report::from).collect(), was_stopped: false }
    }
}

impl From<ConfigErrors> for Reports {
    fn from(errors: ConfigErrors) -> Self {
        errors.into_iter().collect::<Vec<ConfigError>>().into()
    }
}

impl From<Failure> for Reports {
    fn from(failure: Failure) -> Self {
        Self { all: vec![failure.into()], was_stopped: false }
    }
}

impl From<AppError> for Reports {
    fn from(error: AppError) -> Self {
        Self { was_stopped: matches!(error, AppError::Stopped), ..Self::from(Failure::from(error)) }
    }
}

macro_rules! reports_from_coded {
    ($($error:ty),*) => {
        $(impl From<$error> for Reports {
            fn from(error: $error) -> Self {
                Failure::from(error).into()
            }
        })*
    };
}

reports_from_coded!(datakit_kerberos::KerberosError, datakit_registry::RegistryError, datakit_wasm::WasmError);

impl From<OpenError> for Reports {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Config(error) => vec![*error].into(),
            OpenError::Failure(failure) => failure.into(),
        }
    }
}

use std::time::Duration;

use datakit_model::sink::TableRows;
use datakit_model::source::Adjustment;
use datakit_model::{Exit, Failure, Kind, Retry};
use serde::Serialize;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Every table is committed.
    Done,
    /// Some or all tables failed.
    Failed,
    /// The run was told to stop.
    Stopped,
}

/// How a table ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableStatus {
    /// Its rows are visible in the sink.
    Committed,
    /// A run of the same id had committed it before: nothing was done.
    Unchanged,
    /// Nothing of this run is visible.
    Failed,
    /// The run was told to stop first: nothing of it is visible.
    Stopped,
}

/// The one summary of a run: what `--output json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The run.
    pub run_id: String,
    /// The datakit's name.
    pub datakit: String,
    /// Its version.
    pub version: String,
    /// Its manifest digest.
    pub digest: String,
    /// How it ended.
    pub status: RunStatus,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// From the start of discovery to the last commit.
    pub seconds: f64,
    /// Each selected table, by name.
    pub tables: Vec<TableSummary>,
}

/// How one table went.
#[derive(Debug, Clone, Serialize)]
pub struct TableSummary {
    /// `schema.name`.
    pub table: String,
    /// How it ended.
    pub status: TableStatus,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// From its first query to its commit.
    pub seconds: f64,
    /// Where it is.
    pub target: String,
    /// Partitions read.
    pub partitions: usize,
    /// What the table holds now; none: nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<TableRows>,
    /// Several partitions were read, each at its own moment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub several_moments: bool,
    /// Read with dirty reads: rows may be missing or doubled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filtered: bool,
    /// Values that were cut to fit their Arrow type, and columns whose values the source may have changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// Rows of files that were set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedRows>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
}

/// Rows that were set aside.
#[derive(Debug, Clone, Serialize)]
pub struct RejectedRows {
    /// How many.
    pub rows: u64,
    /// The table they are in.
    pub target: String,
}

/// A failure as the summary shows it.
#[derive(Debug, Clone, Serialize)]
pub struct TableError {
    /// The stable code.
    pub code: String,
    /// Who has to act.
    pub kind: Kind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What happened.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The errors below, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl From<&Failure> for TableError {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code().to_owned(),
            kind: failure.kind(),
            retry: failure.retry(),
            message: failure.message().to_owned(),
            hint: failure.hint().map(ToOwned::to_owned),
            causes: failure.causes().to_vec(),
        }
    }
}

impl Summary {
    /// How the run ended, by the one table of exit codes.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.tables.is_empty() && self.status == RunStatus::Stopped {
            return Exit::Transient;
        }
        exit_of(&self.tables)
    }
}

/// How these tables ended together: where some are committed and others are not, that counts before what the others say.
#[must_use]
pub fn exit_of(tables: &[TableSummary]) -> Exit {
    let is_done = |t: &&TableSummary| matches!(t.status, TableStatus::Committed | TableStatus::Unchanged);
    let done = tables.iter().filter(is_done).count();
    let split = if done > 0 && done < tables.len() { Exit::Partial } else { Exit::Done };
    let missing = tables.iter().filter(|table| !is_done(table));
    missing.fold(split, |exit, table| {
        exit.or(match (&table.error, table.status) {
            (Some(error), TableStatus::Failed) => Exit::of(error.kind, error.retry),
            // Whatever broke while the run was being stopped broke because of that.
            _ => Exit::Transient,
        })
    })
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(status: TableStatus, failure: Option<(Kind, Retry)>) -> TableSummary {
        let failure = failure.map(|(kind, retry)| Failure::new("DK-TST-001", kind, retry, "test"));
        TableSummary {
            table: "dbo.t".into(),
            status,
            rows: 0,
            bytes: 0,
            seconds: 0.0,
            target: String::new(),
            partitions: 1,
            holds: None,
            several_moments: false,
            approximate: false,
            filtered: false,
            adjustments: Vec::new(),
            rejected: None,
            error: failure.as_ref().map(TableError::from),
        }
    }

    #[test]
    fn a_run_ends_with_the_code_that_counts_first() {
        let done = || table(TableStatus::Committed, None);
        let before = || table(TableStatus::Unchanged, None);
        let failed = |kind, retry| table(TableStatus::Failed, Some((kind, retry)));
        let stopped = || table(TableStatus::Stopped, Some((Kind::Source, Retry::Never)));
        let permanent = || failed(Kind::Source, Retry::Never);
        let transient = || failed(Kind::Sink, Retry::AfterBackoff);
        let bug = || failed(Kind::Internal, Retry::Never);
        for (tables, code) in [
            (vec![], 0),
            (vec![done(), before()], 0),
            (vec![permanent()], 1),
            (vec![permanent(), transient()], 1),
            (vec![transient(), stopped()], 4),
            (vec![failed(Kind::User, Retry::NextRun)], 4),
            (vec![stopped(), stopped()], 4),
            (vec![done(), stopped()], 3),
            (vec![before(), permanent(), transient()], 3),
            (vec![done(), transient()], 3),
            (vec![done(), bug()], 2),
            (vec![permanent(), bug()], 2),
        ] {
            assert_eq!(exit_of(&tables).code(), code, "{tables:?}");
        }
    }
}

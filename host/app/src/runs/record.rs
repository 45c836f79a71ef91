//! The record of a run: what is told of it beside the tables. docs/runs.md is its specification.

use chrono::{DateTime, SecondsFormat, Utc};
use datakit_config::{Config, Ingest};
use datakit_model::backfill::Backfilled;
use datakit_model::quality::RuleResult;
use datakit_model::receipt::Receipt;
use datakit_model::sink::{RecordName, TableRows};
use datakit_model::state::StateColumn;
use datakit_model::{ColumnChange, Kind, Retry, RunIdentity};
use datakit_pipeline::{RejectedRows, RunStatus, TableError, TableStatus, TableSummary};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A position of more bytes is told by its size and digest alone: the state document has it whole.
const MAX_POSITION_BYTES: usize = 4_096;
/// The longest text of an error, in characters.
const MAX_TEXT_CHARS: usize = 4_000;

/// One start of an ingest: what it read, what it committed, and how it ended.
///
/// The tables are the truth: a record is written beside them, and no commit depends on it. Readers pass over unknown keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Version of this form.
    pub version: u32,
    /// The run.
    pub run_id: String,
    /// The ingest: its name, or its number from 1; of an only one without a name, the datakit.
    pub ingest: String,
    /// How it ended.
    pub status: RecordStatus,
    /// Start, RFC 3339 in UTC.
    pub started_at: String,
    /// End, RFC 3339 in UTC; none: it has not ended, or nobody was left to write it.
    pub ended_at: Option<String>,
    /// From start to end, in seconds.
    pub seconds: Option<f64>,
    /// The version of the host.
    pub host: String,
    /// What ran.
    pub datakit: RecordedDatakit,
    /// The source system of the tables; none: the datakit was not loaded.
    pub source_system: Option<String>,
    /// Where the rows come from.
    pub sources: Vec<RecordedSource>,
    /// Where they go to.
    pub sink: RecordedSink,
    /// What the operator allows the datakit.
    pub grants: RecordedGrants,
    /// What happens to rows that are there, as the operator says: `append`, `overwrite`, `merge`; none: the operator does not say.
    /// `backfill`: the run loads no rows.
    pub mode: Option<String>,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// Units of retry that were started again.
    pub retries: u64,
    /// Each selected table, by name.
    pub tables: Vec<TableRecord>,
    /// Why it could not start. Errors of single tables are in `tables`.
    pub errors: Vec<RecordedError>,
}

/// How a recorded run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordStatus {
    /// It has begun and not ended: it is under way, or it was killed.
    Started,
    /// Every table is committed.
    Done,
    /// Every table is committed, and the columns of some were not those of the source.
    Drift,
    /// Some or all tables failed, or it could not start.
    Failed,
    /// It was told to stop.
    Stopped,
    /// Nothing but its commits is known: the record was rebuilt from the states of the tables.
    Rebuilt,
}

/// The datakit of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedDatakit {
    /// As the ingest names it: `name@version`, `name@digest` or a path.
    pub reference: String,
    /// Its name; none: it was not loaded.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its manifest digest.
    pub digest: Option<String>,
}

/// A source of a run. Never an address or a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedSource {
    /// The role that the datakit reads it in.
    pub role: String,
    /// The connection, by its name in the warehouse file.
    pub connection: String,
    /// The kind of connection.
    pub kind: String,
    /// Its source system.
    pub system: String,
}

/// The sink of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedSink {
    /// Its name in the warehouse file.
    pub name: String,
    /// Its kind.
    pub kind: String,
}

/// What the operator allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedGrants {
    /// Patterns of tables.
    pub tables: String,
    /// Names of keys of keyed hashes.
    pub keys: Vec<String>,
}

/// How one table of a run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TableRecord {
    /// `schema.name`.
    pub table: String,
    /// Where it is.
    pub target: String,
    /// `committed`, `unchanged`, `failed` or `stopped`.
    pub status: String,
    /// Its first query, RFC 3339 in UTC; none: it was not begun.
    pub started_at: Option<String>,
    /// Its commit or its end.
    pub ended_at: Option<String>,
    /// From its first query to its end, in seconds.
    pub seconds: f64,
    /// Rows committed.
    pub rows: u64,
    /// Bytes committed, in the sink's form.
    pub bytes: u64,
    /// Partitions read.
    pub partitions: usize,
    /// The other ingests whose rows are of the same read of the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_with: Vec<String>,
    /// Units of retry that were started again.
    pub retries: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// What the table holds after it; none: nobody knows.
    pub holds: Option<u64>,
    /// All rows are of one snapshot.
    pub consistent_snapshot: bool,
    /// Read with dirty reads.
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have.
    pub filtered: bool,
    /// The columns as the commit wrote them; empty: nothing was committed.
    pub schema: Vec<StateColumn>,
    /// Columns of the source that were not those of the table, and what became of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ColumnChange>,
    /// Where the load began.
    pub position_before: Option<RecordedPosition>,
    /// Where the next load goes on.
    pub position_after: Option<RecordedPosition>,
    /// What was found of each rule of quality.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<RuleResult>,
    /// What was delivered and held; none: nothing was compared.
    #[serde(default)]
    pub receipt: Option<Receipt>,
    /// What a backfill did; none: the run loads rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfilled>,
    /// Why it failed.
    pub error: Option<RecordedError>,
}

/// A position of a datakit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RecordedPosition {
    /// As the datakit wrote it.
    Text(String),
    /// One of more than 4,096 bytes. The state document has it whole.
    Long {
        /// Its size.
        bytes: usize,
        /// Of its text, in hexadecimal digits.
        sha256: String,
    },
}

/// An error, as the summary of the run has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedError {
    /// The stable code.
    pub code: String,
    /// Who has to act.
    pub kind: String,
    /// Whether trying again can help.
    pub retry: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl RunRecord {
    /// The version that this release writes.
    pub const VERSION: u32 = 1;

    /// Of an ingest that begins.
    pub(crate) fn begun(name: &RecordName, label: &str, config: &Config, ingest: &Ingest, sink_kind: &str) -> Self {
        let source = |(role, connection): (&String, &String)| {
            let found = config.connections.get(connection)?;
            Some(RecordedSource {
                role: role.clone(),
                connection: connection.clone(),
                kind: found.kind().to_owned(),
                system: found.source_system().to_owned(),
            })
        };
        Self {
            version: Self::VERSION,
            run_id: name.run_id.clone(),
            ingest: label.to_owned(),
            status: RecordStatus::Started,
            started_at: rfc3339(name.started_at_micros),
            ended_at: None,
            seconds: None,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            datakit: RecordedDatakit { reference: ingest.datakit.clone(), name: None, version: None, digest: None },
            source_system: None,
            sources: ingest.roles.iter().filter_map(source).collect(),
            sink: RecordedSink { name: ingest.sink.clone().unwrap_or_default(), kind: sink_kind.to_owned() },
            grants: RecordedGrants { tables: ingest.tables.to_string(), keys: ingest.keys.clone() },
            mode: ingest.mode.map(|mode| crate::job::sink_mode(mode).to_string()),
            rows: 0,
            bytes: 0,
            retries: 0,
            tables: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The datakit is loaded.
    pub(crate) fn loaded(&mut self, run: &RunIdentity) {
        self.datakit.name = Some(run.datakit.clone());
        self.datakit.version = Some(run.version.clone());
        self.datakit.digest = Some(run.digest.clone());
        self.source_system = Some(run.source_system.clone());
    }

    /// The run has ended.
    pub(crate) fn end(&mut self, status: RecordStatus, now_micros: i64) {
        self.status = status;
        let started = micros(&self.started_at).unwrap_or(now_micros);
        self.seconds = Some(now_micros.saturating_sub(started).max(0) as f64 / 1e6);
        self.ended_at = Some(rfc3339(now_micros));
        self.count();
    }

    /// Sums over the tables.
    pub(crate) fn count(&mut self) {
        self.tables.sort_by(|a, b| a.table.cmp(&b.table));
        self.rows = self.tables.iter().map(|table| table.rows).sum();
        self.bytes = self.tables.iter().map(|table| table.bytes).sum();
        self.retries = self.tables.iter().map(|table| table.retries).sum();
    }

    /// The first error: of the run, else of a table.
    #[must_use]
    pub fn first_error(&self) -> Option<&RecordedError> {
        self.errors.first().or_else(|| self.tables.iter().find_map(|table| table.error.as_ref()))
    }

    /// How many of its tables ended so.
    #[must_use]
    pub fn tables_of(&self, status: TableStatus) -> usize {
        self.tables.iter().filter(|table| table.status == word_of(status)).count()
    }
}

impl From<RunStatus> for RecordStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Done => Self::Done,
            RunStatus::Drift => Self::Drift,
            RunStatus::Failed => Self::Failed,
            RunStatus::Stopped => Self::Stopped,
        }
    }
}

impl std::fmt::Display for RecordStatus {
    /// As in the document.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Drift => "drift",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Rebuilt => "rebuilt",
        })
    }
}

/// A status of a table as records have it.
pub(crate) fn word_of(status: TableStatus) -> &'static str {
    match status {
        TableStatus::Committed => "committed",
        TableStatus::Unchanged => "unchanged",
        TableStatus::Failed => "failed",
        TableStatus::Stopped => "stopped",
    }
}

impl TableRecord {
    /// Of a table that has ended just now.
    pub(crate) fn of(summary: &TableSummary, started_at_micros: Option<i64>, now_micros: i64, retries: u64) -> Self {
        let commit = summary.commit.as_deref();
        let position = |text: &Option<String>| text.as_deref().map(RecordedPosition::of);
        Self {
            table: summary.table.clone(),
            target: summary.target.clone(),
            status: word_of(summary.status).to_owned(),
            started_at: started_at_micros.map(rfc3339),
            ended_at: Some(rfc3339(now_micros)),
            seconds: summary.seconds,
            rows: summary.rows,
            bytes: summary.bytes,
            partitions: summary.partitions,
            shared_with: summary.shared_with.clone(),
            retries,
            rejected: summary.rejected.as_ref().map_or(0, |RejectedRows { rows, .. }| *rows),
            holds: summary.holds.filter(|holds| !holds.at_least).map(|TableRows { rows, .. }| rows),
            consistent_snapshot: summary.consistent_snapshot,
            approximate: summary.approximate,
            filtered: summary.filtered,
            schema: commit
                .map(|commit| commit.schema.fields().iter().map(|field| StateColumn::from(field.as_ref())).collect())
                .unwrap_or_default(),
            drift: summary.drift.clone(),
            position_before: commit.and_then(|commit| position(&commit.position_before)),
            position_after: commit.and_then(|commit| position(&commit.position_after)),
            quality: summary.quality.clone(),
            receipt: summary.receipt.clone(),
            backfill: summary.backfill.clone(),
            error: summary.error.as_ref().map(RecordedError::from),
        }
    }
}

impl RecordedPosition {
    pub(crate) fn of(text: &str) -> Self {
        if text.len() <= MAX_POSITION_BYTES {
            return Self::Text(text.to_owned());
        }
        let digest = Sha256::digest(text.as_bytes());
        let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::Long { bytes: text.len(), sha256 }
    }
}

impl std::fmt::Display for RecordedPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Long { bytes, sha256 } => write!(f, "{bytes} bytes, sha256:{sha256}"),
        }
    }
}

impl From<&TableError> for RecordedError {
    fn from(error: &TableError) -> Self {
        let bounded = |text: &str| datakit_model::printable::cut(text, MAX_TEXT_CHARS).into_owned();
        Self {
            code: error.code.clone(),
            kind: kind(error.kind).to_owned(),
            retry: retry(error.retry).to_owned(),
            message: bounded(&error.message),
            hint: error.hint.as_deref().map(bounded),
        }
    }
}

/// As in the summary.
fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Source => "source",
        Kind::Data => "data",
        Kind::Sink => "sink",
        Kind::Datakit => "datakit",
        Kind::Internal => "internal",
    }
}

/// As in the summary.
fn retry(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::AfterBackoff => "after-backoff",
        Retry::NextRun => "next-run",
    }
}

/// Now, in microseconds since 1970-01-01 UTC.
pub(crate) fn now_micros() -> i64 {
    Utc::now().timestamp_micros()
}

/// A time as records write it: RFC 3339 in UTC, microseconds.
pub(crate) fn rfc3339(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Now, as records write it.
pub(crate) fn now() -> String {
    rfc3339(now_micros())
}

/// The microseconds of a time that [`rfc3339`] wrote; none: it is no time.
pub(crate) fn micros(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        let text = rfc3339(1_700_000_000_123_456);
        assert_eq!(text, "2023-11-14T22:13:20.123456Z");
        assert_eq!(micros(&text), Some(1_700_000_000_123_456));
        assert_eq!(micros("yesterday"), None);
    }

    #[test]
    fn long_position_is_recorded_by_its_digest() {
        assert_eq!(RecordedPosition::of("w1:int:id=7"), RecordedPosition::Text("w1:int:id=7".into()));
        let long = RecordedPosition::of(&"x".repeat(5_000));
        assert!(matches!(&long, RecordedPosition::Long { bytes: 5_000, sha256 } if sha256.len() == 64), "{long:?}");
        let json = serde_json::to_string(&long).unwrap();
        assert_eq!(serde_json::from_str::<RecordedPosition>(&json).unwrap(), long);
    }
}

//! Who is running, and what a commit must remember.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of one datakit: the same in logs, events, rows, the sink's state and the comment on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunIdentity {
    /// `--run-id`, or a UUID of version 7. Running with the id of a committed run again changes nothing.
    pub run_id: String,
    /// The id of the load: derived from `run_id` alone, so that a repeated run writes the same id.
    pub batch_id: Uuid,
    /// Start of the run, microseconds since 1970-01-01 UTC.
    pub started_at_micros: i64,
    /// `connections.X.source_system`: a name, never a server.
    pub source_system: String,
    /// The datakit's name.
    pub datakit: String,
    /// The datakit's version.
    pub version: String,
    /// The datakit's manifest digest, `sha256:…`.
    pub digest: String,
}

/// What the last commit of a table left with its rows. The sink is the state store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct TableState {
    /// The run that committed.
    pub run_id: String,
    /// The runs that committed before it, newest first, at most [`Self::MAX_EARLIER_RUNS`].
    #[serde(default)]
    pub earlier_run_ids: Vec<String>,
    /// Commits of this table by datakits so far, this one included; starts at 1.
    pub sequence: i64,
    /// The plan's `watermark-after`.
    pub watermark: Option<String>,
    /// Rows of that commit.
    pub rows: u64,
    /// All rows are of one snapshot. False: several partitions were read, each of its own. States before this key are false.
    #[serde(default)]
    pub consistent_snapshot: bool,
    /// Read with NOLOCK: rows may be missing or doubled.
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have, as the operator allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filtered: bool,
    /// The datakit that produced the rows, `name@version`.
    pub datakit: String,
    /// Its manifest digest.
    pub digest: String,
}

impl TableState {
    /// How many runs before the last one a table remembers.
    pub const MAX_EARLIER_RUNS: usize = 63;

    /// Whether a run has committed this table, as far as the table remembers: it must not do so again.
    #[must_use]
    pub fn was_committed_by(&self, run_id: &str) -> bool {
        self.run_id == run_id || self.earlier_run_ids.iter().any(|id| id == run_id)
    }
}

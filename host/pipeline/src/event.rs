//! Events: owned, serialisable and versioned, so that they can leave the process.

use std::sync::Arc;

use datakit_model::source::PoolStatistics;
use schemars::JsonSchema;
use serde::Serialize;

use crate::summary::{RunStatus, TableError, TableSummary};

/// The version of [`RunEvent`]. A new kind of event or a new key does not change it; every other change does.
pub const EVENT_VERSION: u32 = 1;

/// What happens while a job is prepared and run, as it happens. A table is named `schema.name`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// Something that the operator should know, and that ends nothing.
    Notice {
        /// How much it matters.
        level: NoticeLevel,
        /// One sentence. Names in it are not escaped.
        text: String,
    },
    /// The health endpoint answers.
    HealthEndpoint {
        /// `address:port`.
        address: String,
    },
    /// An ingest begins.
    IngestStarted {
        /// The ingest, by its name or its number from 1.
        ingest: String,
        /// Its place among the ingests of the run, from 1.
        number: usize,
        /// The number of ingests of the run.
        of: usize,
    },
    /// The datakit is fetched and loaded.
    Fetching {
        /// `name@version` or `name@digest`.
        datakit: String,
    },
    /// The datakit's component is compiled, which can take half a minute. Code of the cache is not compiled.
    Compiling {
        /// The reference or the file that the request names.
        datakit: String,
        /// The component's size.
        bytes: u64,
    },
    /// The component is compiled.
    Compiled {
        /// The reference or the file that the request names.
        datakit: String,
        /// The component's size.
        bytes: u64,
        /// How long it took, in milliseconds.
        elapsed_ms: u64,
    },
    /// The datakit is loaded, and its roles and settings are checked.
    Loaded {
        /// Its name.
        datakit: String,
        /// Its version. The key `version` is the event format's.
        datakit_version: String,
        /// Its manifest digest. A component of a file has the one that it gets when it is published.
        digest: String,
        /// The file that the component is from; none: from the registry.
        file: Option<String>,
        /// The run.
        run_id: String,
    },
    /// The datakit reads the catalog. This can take minutes.
    Discovering,
    /// The datakit listed its tables and the selection was made.
    Selected {
        /// Tables and views discovered.
        discovered: usize,
        /// Tables and views that the run reads.
        selected: usize,
        /// Their names.
        tables: Vec<String>,
    },
    /// A pattern of the selection matches no discovered table.
    Unmatched {
        /// The pattern.
        pattern: String,
        /// The tables whose names are nearest to the pattern.
        nearest: Vec<String>,
    },
    /// The datakit plans the selected tables. It can query their key ranges.
    Planning {
        /// The number of tables.
        tables: usize,
    },
    /// Discovery or planning failed and starts again after a pause.
    RetryingPlan {
        /// What failed.
        step: PlanningStep,
        /// The attempt that failed, from 1.
        attempt: u64,
        /// The pause, in milliseconds.
        pause_ms: u64,
        /// Why.
        error: TableError,
    },
    /// The host compares a table with its source.
    Comparing {
        /// The table.
        table: String,
    },
    /// The host starts to read a table.
    TableStarted {
        /// The table.
        table: String,
        /// The target table.
        target: String,
        /// The number of partitions.
        partitions: usize,
        /// Rows by the source's estimate.
        estimated_rows: Option<u64>,
    },
    /// A batch was handed to the sink.
    BatchWritten {
        /// The table.
        table: String,
        /// The batch's rows.
        rows: u64,
        /// The batch's Arrow buffers, in bytes.
        bytes: u64,
    },
    /// A unit of retry failed and starts again after a pause.
    Retrying {
        /// The table.
        table: String,
        /// The partition; none: the whole table.
        partition: Option<u32>,
        /// The attempt that failed, from 1.
        attempt: u64,
        /// Rows of earlier `batch_written` events that no longer count.
        rows_taken_back: u64,
        /// The pause, in milliseconds.
        pause_ms: u64,
        /// Why.
        error: TableError,
    },
    /// A table is committed, unchanged, failed or stopped.
    TableFinished {
        /// How the table ended.
        summary: Box<TableSummary>,
    },
    /// What a pool of connections has done so far: every ten seconds, and when the last table has ended.
    Connections {
        /// The counts.
        pool: PoolStatistics,
        /// Whether the last table has ended.
        is_last: bool,
    },
    /// An ingest has ended, or could not start.
    IngestFinished {
        /// The ingest, by its name or its number from 1.
        ingest: String,
        /// How it ended.
        status: RunStatus,
        /// Rows committed.
        rows: u64,
        /// Bytes committed, in the sink's form.
        bytes: u64,
        /// Why it could not start. Errors of single tables are in `table_finished`.
        errors: Vec<TableError>,
    },
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeLevel {
    /// Probably not intended.
    Warning,
    /// For information.
    Note,
}

/// What comes before the first table of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanningStep {
    /// The datakit reads the catalog.
    Discovery,
    /// The datakit plans tables.
    Planning,
}

impl std::fmt::Display for PlanningStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery",
            Self::Planning => "planning",
        })
    }
}

/// An event as it leaves the process: `{"version": 1, "event": "…", …}`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VersionedEvent {
    /// The version of the event's form.
    pub version: u32,
    /// The event.
    #[serde(flatten)]
    pub event: RunEvent,
}

impl From<RunEvent> for VersionedEvent {
    fn from(event: RunEvent) -> Self {
        Self { version: EVENT_VERSION, event }
    }
}

/// Who watches a run. Called from worker tasks: must return at once.
pub trait Observer: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: RunEvent);
}

impl Observer for () {
    fn event(&self, _: RunEvent) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn event(&self, event: RunEvent) {
        (**self).event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_is_one_object_with_its_version() {
        let event = RunEvent::BatchWritten { table: "dbo.orders".into(), rows: 2, bytes: 64 };
        let json = serde_json::to_value(VersionedEvent::from(event)).unwrap();
        let expected = serde_json::json!({
            "version": 1, "event": "batch_written", "table": "dbo.orders", "rows": 2, "bytes": 64
        });
        assert_eq!(json, expected);
    }
}

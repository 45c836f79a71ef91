//! What a caller can ask for: plain structs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use datakit_config::{Drift, Mode, Overrides, Selection};
use datakit_model::ReceiptLevel;
use datakit_pipeline::{BackfillRequest, new_run_id};

/// Which ingest of the configuration, and what replaces its settings.
#[derive(Debug, Clone, Default)]
pub struct IngestRequest {
    /// `NAME@VERSION`, `NAME@sha256:…` or the path of a component; none: what the ingest names.
    pub datakit: Option<String>,
    /// The ingest, by its name or its number from 1.
    pub ingest: Option<String>,
    /// Patterns of tables. They replace those of the ingest.
    pub tables: Vec<String>,
    /// Settings of the datakit, a JSON object, laid over those of the ingest key by key.
    pub settings: Option<String>,
    /// Refuse a datakit that the lock file does not pin.
    pub locked: bool,
}

impl IngestRequest {
    /// What goes over file and environment.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides { settings: self.settings.clone(), tables: self.tables.clone(), ..Overrides::default() }
    }

    pub(crate) fn selection(&self) -> Selection {
        Selection { datakit: self.datakit.clone(), ingest: self.ingest.clone(), all_tables: false }
    }
}

/// Read tables and commit them to the sink.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The run's id. A run with the id of an earlier one changes nothing that was committed.
    pub run_id: String,
    /// Which ingest; without one, all of the configuration.
    pub ingest: IngestRequest,
    /// Columns of one table that get the values of the source, in the rows that are there (docs/backfill.md); none: rows are loaded.
    /// The table takes the place of those of the ingest.
    pub backfill: Option<BackfillRequest>,
    /// What happens to the rows that a table already has; none: what the configuration says.
    pub mode: Option<Mode>,
    /// What happens where the columns of a table are not those of its source; none: what the configuration says.
    pub drift: Option<Drift>,
    /// Whether tables get the columns of their sources, whatever `drift` says: with the mode that replaces all rows.
    pub replaces_columns: bool,
    /// What is compared between source and sink before rows become visible; none: what the configuration says.
    pub receipt: Option<ReceiptLevel>,
    /// Partitions read at the same time; none: what the configuration says.
    pub parallel: Option<u64>,
    /// Where the health endpoint answers during the run.
    pub health: Option<SocketAddr>,
    /// Where the metrics are written after each ingest, as text of Prometheus; none: what the configuration says.
    pub metrics_file: Option<PathBuf>,
}

impl Default for RunRequest {
    /// Every ingest of the configuration, as the configuration says, with a new id.
    fn default() -> Self {
        Self {
            run_id: new_run_id(),
            ingest: IngestRequest::default(),
            backfill: None,
            mode: None,
            drift: None,
            replaces_columns: false,
            receipt: None,
            parallel: None,
            health: None,
            metrics_file: None,
        }
    }
}

/// Show how each table would be read.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// Which ingest.
    pub ingest: IngestRequest,
    /// What happens to the rows that a table already has; none: what the configuration says.
    pub mode: Option<Mode>,
    /// What happens where the columns of a table are not those of its source; none: what the configuration says.
    pub drift: Option<Drift>,
}

/// Show the first rows of each table.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    /// Which ingest.
    pub ingest: IngestRequest,
    /// Rows of each table.
    pub rows: usize,
}

/// Walk the way from ticket to table.
#[derive(Debug, Clone, Default)]
pub struct DoctorRequest {
    /// A connection, a sink or `registry`; none: everything that is configured.
    pub name: Option<String>,
    /// Patterns of tables. They replace those of the ingests.
    pub tables: Vec<String>,
    /// A new file for the certificate that the server of `name` presents.
    pub save_certificate: Option<PathBuf>,
    /// Whether to write an object to sinks in object stores, and to delete it.
    pub write_probe: bool,
}

/// Answer whether a run could work, until stopped.
#[derive(Debug, Clone)]
pub struct ServeHealthRequest {
    /// Connections and sinks; none: everything that is configured.
    pub names: Vec<String>,
    /// Where to answer.
    pub listen: SocketAddr,
}

/// Check the configuration without contacting anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValidateRequest {
    /// Whether to read every secret of a variable or a file.
    pub secrets: bool,
}

/// Fetch a datakit into the cache.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// `NAME@VERSION` or `NAME@sha256:…`.
    pub datakit: String,
    /// Where to write the component as well.
    pub to: Option<PathBuf>,
}

/// Pin datakits to digests.
#[derive(Debug, Clone, Default)]
pub struct LockRequest {
    /// `NAME@VERSION` …; none: every datakit of the configuration's ingests.
    pub datakits: Vec<String>,
    /// Pin what the registry has now, also where a version was replaced after it was pinned.
    pub accept_replaced: bool,
}

/// Keep a ticket cache fresh, until stopped.
#[derive(Debug, Clone)]
pub struct RenewRequest {
    /// The keytab.
    pub keytab: PathBuf,
    /// Whose key of the keytab: `NAME@REALM`.
    pub principal: String,
    /// The file of the cache.
    pub cache: PathBuf,
    /// The longest time between two tickets.
    pub interval: Duration,
    /// The group that may read the cache, by its name or number.
    pub group: Option<String>,
    /// Where the health endpoint answers.
    pub health: Option<SocketAddr>,
    /// Write one ticket and end.
    pub once: bool,
}

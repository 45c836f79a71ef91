//! The log entry that makes a table's new rows visible, and what an earlier one left.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datakit_model::{RunIdentity, TableId, TableState};
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt as _, Transaction, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use serde_json::Value;
use uuid::Uuid;

use super::config::Root;
use super::schema::{TableSchema, column_with_invariant};
use super::{first_entry, protocol};
use crate::storage::{classify, system_error};
use datakit_connect::sink::SinkError;
use datakit_model::sink::{CommitNote, TableRows, WriteMode};
use datakit_parquet::DataFile;

/// The key of `metaData.configuration` that holds a table's [`TableState`] as JSON. There it survives checkpoints and log
/// clean-up, which `commitInfo` does not.
pub const STATE_KEY: &str = "datakit.state";

/// So many times a commit is tried again behind commits of others.
const MAX_ATTEMPTS: u32 = 20;
/// The pause after the first attempt; each further one is longer by it.
const PAUSE: Duration = Duration::from_millis(20);
/// Commits from one checkpoint to the next, where a table does not say.
const DEFAULT_CHECKPOINT_INTERVAL: u64 = 100;

/// A table's log at the moment the table was opened.
pub(crate) struct Log {
    pub(crate) store: LogStoreRef,
    /// The table, for people.
    pub(crate) location: String,
    /// The table's directory, when it is one of this machine.
    directory: Option<PathBuf>,
    /// The `txn` action's appId.
    app_id: String,
    /// The version that was read; none: there is no table yet.
    snapshot: Option<DeltaTableState>,
    /// What the last commit of a datakit left in it.
    pub(crate) state: Option<TableState>,
}

impl Log {
    /// Reads the newest version.
    pub(crate) async fn open(root: &Root, source_system: &str, table: &TableId) -> Result<Self, SinkError> {
        let mut log = Self {
            store: root.log()?,
            location: root.to_string(),
            directory: root.local().cloned(),
            app_id: format!("datakit/{source_system}/{table}"),
            snapshot: None,
            state: None,
        };
        log.refresh().await?;
        Ok(log)
    }

    /// The same table's newest version.
    async fn newest(&self) -> Result<Self, SinkError> {
        let mut newest = Self {
            store: Arc::clone(&self.store),
            location: self.location.clone(),
            directory: self.directory.clone(),
            app_id: self.app_id.clone(),
            snapshot: None,
            state: None,
        };
        newest.refresh().await?;
        Ok(newest)
    }

    async fn refresh(&mut self) -> Result<(), SinkError> {
        let failed = |e| log_error(&self.location, e);
        if self.store.is_delta_table_location().await.map_err(failed)? {
            let snapshot = DeltaTableState::try_new(self.store.as_ref(), None).await.map_err(failed)?;
            self.state = match snapshot.metadata().configuration().get(STATE_KEY) {
                Some(json) => Some(
                    serde_json::from_str(json)
                        .map_err(|source| SinkError::State { location: self.location.clone(), source })?,
                ),
                None => None,
            };
            self.snapshot = Some(snapshot);
        }
        Ok(())
    }

    /// Whether a table is there.
    pub(crate) fn exists(&self) -> bool {
        self.snapshot.is_some()
    }

    /// How many rows the table holds, by the statistics of its files.
    pub(crate) fn rows(&self) -> TableRows {
        let mut sum = TableRows::default();
        for file in self.snapshot.iter().flat_map(|snapshot| snapshot.log_data().iter().collect::<Vec<_>>()) {
            let deleted = file.deletion_vector_descriptor().map_or(0, |deleted| deleted.cardinality);
            match file.num_records() {
                Some(rows) => sum.rows += (rows as u64).saturating_sub(u64::try_from(deleted).unwrap_or_default()),
                None => sum = TableRows { rows: sum.rows + 1, at_least: true },
            }
        }
        sum
    }

    /// The partition columns of a load that proposes these, none of them meaning any: those of the table that is there, in its
    /// own order, unless others are proposed.
    pub(crate) fn partition_columns(&self, proposed: Vec<String>) -> Vec<String> {
        let Some(snapshot) = &self.snapshot else { return proposed };
        let there = snapshot.metadata().partition_columns();
        let is_same = there.len() == proposed.len() && there.iter().all(|name| proposed.contains(name));
        if proposed.is_empty() || is_same { there.to_vec() } else { proposed }
    }

    /// Refuses a table that we cannot write, that holds other columns, or that is partitioned by others.
    pub(crate) fn check(
        &self,
        schema: &TableSchema,
        partition_columns: &[String],
        mode: WriteMode,
    ) -> Result<(), SinkError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let foreign = |reason: String| SinkError::ForeignTable { location: self.location.clone(), reason };
        if let Some(column) = column_with_invariant(&snapshot.schema()) {
            return Err(foreign(format!("its column `{column}` has an invariant")));
        }
        let needs = protocol::not_honoured(snapshot.protocol(), snapshot.metadata(), &snapshot.schema());
        let needs = needs.map_err(|error| foreign(error.to_string()))?;
        if !needs.is_empty() {
            return Err(foreign(format!("it needs table features that are not supported here: {}", needs.join(", "))));
        }
        let there = snapshot.metadata().partition_columns();
        if there != partition_columns {
            let (location, wanted) = (self.location.clone(), partition_columns.to_vec());
            return Err(SinkError::OtherPartitions { location, there: there.to_vec(), wanted });
        }
        if mode == WriteMode::Overwrite && snapshot.table_config().append_only == Some(true) {
            return Err(foreign("it is append-only, and the load overwrites".into()));
        }
        let differences = schema.differences(&snapshot.schema());
        if differences.is_empty() {
            Ok(())
        } else {
            Err(SinkError::SchemaMismatch { location: self.location.clone(), differences })
        }
    }

    /// Writes the one log entry, behind the commits that others have made meanwhile, when these change neither the state
    /// nor what the table is. An error after the attempt is resolved by reading, never by writing again.
    pub(crate) async fn commit(&self, commit: Commit<'_>) -> Result<(TableState, TableRows), CommitError> {
        let state = commit.state(self.state.as_ref());
        let mut newest: Option<Self> = None;
        for attempt in 1..=MAX_ATTEMPTS {
            let base = newest.as_ref().unwrap_or(self);
            let error = match base.write(&commit, &state).await {
                Ok(version) => {
                    base.maintain(version).await;
                    return Ok((state, base.rows_after(&commit)));
                }
                Err(error) => error,
            };
            let found = self.resolve(&state, error).await?;
            let Found::Others(log) = found else { return Ok((state, base.rows_after(&commit))) };
            log.check(commit.schema, commit.partition_columns, commit.mode).map_err(CommitError::Nothing)?;
            tracing::info!(location = %self.location, attempt, "another writer has committed: committing behind it");
            newest = Some(*log);
            tokio::time::sleep(PAUSE * attempt).await;
        }
        Err(CommitError::Nothing(SinkError::Busy { location: self.location.clone(), attempts: MAX_ATTEMPTS }))
    }

    fn rows_after(&self, commit: &Commit<'_>) -> TableRows {
        let before = if commit.mode == WriteMode::Overwrite { TableRows::default() } else { self.rows() };
        TableRows { rows: before.rows + commit.rows(), ..before }
    }

    /// The version that was written.
    async fn write(&self, commit: &Commit<'_>, state: &TableState) -> Result<u64, DeltaTableError> {
        let (version, mut actions) = match &self.snapshot {
            None => (0, Self::creation(commit, state)?),
            Some(snapshot) => (snapshot.version() + 1, Self::continuation(snapshot, commit, state)?),
        };
        actions.extend(commit.adds());
        let data = CommitData::new(actions, commit.operation(), commit.information(), vec![self.transaction(state)]);
        let entry = data.get_bytes()?;
        if let (0, Some(directory)) = (version, self.directory.clone()) {
            let entry = entry.clone();
            let created = tokio::task::spawn_blocking(move || first_entry::create(&directory, &entry)).await;
            if created.map_err(DeltaTableError::generic)?? {
                return Ok(version);
            }
        }
        self.store.write_commit_entry(version, CommitOrBytes::LogBytes(entry), Uuid::new_v4()).await?;
        Ok(version)
    }

    /// Version 0: protocol, schema and rows at once, so that no reader ever sees an empty table on its way.
    fn creation(commit: &Commit<'_>, state: &TableState) -> Result<Vec<Action>, DeltaTableError> {
        let configuration = [
            ("delta.checkpointInterval".to_owned(), commit.checkpoint_interval.max(1).to_string()),
            (STATE_KEY.to_owned(), serde_json::to_string(state)?),
        ];
        let metadata = new_metadata(&commit.schema.delta, commit.partition_columns, configuration)?;
        let protocol = protocol::of_new_table(&commit.schema.delta)?;
        Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    /// What comes before the rows in every later version.
    fn continuation(
        snapshot: &DeltaTableState,
        commit: &Commit<'_>,
        state: &TableState,
    ) -> Result<Vec<Action>, DeltaTableError> {
        let metadata =
            snapshot.metadata().clone().add_config_key(STATE_KEY.to_owned(), serde_json::to_string(state)?)?;
        let upgraded = protocol::upgraded(snapshot.protocol(), &metadata, &snapshot.schema())?;
        let mut actions: Vec<Action> = upgraded.map(Action::Protocol).into_iter().collect();
        actions.push(Action::Metadata(metadata));
        if commit.mode == WriteMode::Overwrite {
            actions.extend(snapshot.log_data().iter().map(|file| Action::Remove(file.remove_action(true))));
        }
        Ok(actions)
    }

    fn transaction(&self, state: &TableState) -> Transaction {
        let now = chrono::Utc::now().timestamp_millis();
        Transaction::new_with_last_update(&self.app_id, state.sequence, Some(now))
    }

    /// A checkpoint every so many commits, and then the end of entries that are too old. The rows are committed already: what
    /// fails here is tried again after the next commits.
    async fn maintain(&self, version: u64) {
        let Some(snapshot) = &self.snapshot else { return };
        let config = snapshot.table_config();
        let interval = config.checkpoint_interval.map_or(DEFAULT_CHECKPOINT_INTERVAL, std::num::NonZero::get);
        if !(version + 1).is_multiple_of(interval) {
            return;
        }
        let cleans_up = config.enable_expired_log_cleanup.unwrap_or(true);
        let upkeep = async {
            let mut table = DeltaTable::new(Arc::clone(&self.store));
            table.load_version(version).await?;
            create_checkpoint(&table, None).await?;
            if cleans_up {
                cleanup_metadata(&table, None).await?;
            }
            Ok::<(), DeltaTableError>(())
        };
        if let Err(error) = upkeep.await {
            tracing::warn!(location = %self.location, %error, "committed, but the upkeep of the table's log failed");
        }
    }

    /// Finds out what a failed attempt left: our commit, or those of others.
    async fn resolve(&self, state: &TableState, error: DeltaTableError) -> Result<Found, CommitError> {
        let unknown = |error: DeltaTableError| {
            CommitError::Unknown(SinkError::Unknown { location: self.location.clone(), source: Box::new(error) })
        };
        let Ok(now) = self.newest().await else { return Err(unknown(error)) };
        // Another run may have committed after ours.
        if now.state.as_ref().is_some_and(|now| now.was_committed_by(&state.run_id)) {
            tracing::warn!(location = %self.location, %error, "committed, though the attempt was reported as failed");
            return Ok(Found::Ours);
        }
        let forgotten = i64::try_from(TableState::MAX_EARLIER_RUNS).unwrap_or(i64::MAX);
        if now.state.as_ref().is_some_and(|now| now.sequence > state.sequence.saturating_add(forgotten)) {
            return Err(unknown(error));
        }
        if now.state != self.state {
            return Err(CommitError::Nothing(SinkError::Conflict { location: self.location.clone() }));
        }
        let lost_the_race = matches!(
            error,
            DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction { source: TransactionError::VersionAlreadyExists(_) }
        );
        if lost_the_race && now.exists() {
            return Ok(Found::Others(Box::new(now)));
        }
        Err(CommitError::Nothing(log_error(&self.location, error)))
    }

    /// Makes a commit on a local disk survive a power failure.
    pub(crate) fn sync(directory: &Path) {
        let log = directory.join("_delta_log");
        let newest = std::fs::read_dir(&log).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = newest.filter(|path| path.extension().is_some_and(|e| e == "json")).max();
        for path in newest.iter().map(|p| p.as_path()).chain([log.as_path(), directory]) {
            if let Err(error) = File::open(path).and_then(|file| file.sync_all()) {
                tracing::warn!(path = %path.display(), %error, "cannot flush a committed table to the disk");
            }
        }
    }
}

/// What a failed attempt left in the log.
enum Found {
    /// Our commit: only its answer was lost.
    Ours,
    /// Commits of others, and the state that was there before.
    Others(Box<Log>),
}

/// Why a commit failed, and what may be done with its files.
pub(crate) enum CommitError {
    /// It did not take effect: the files may go.
    Nothing(SinkError),
    /// It may have taken effect: the files must stay.
    Unknown(SinkError),
}

/// What is committed.
pub(crate) struct Commit<'a> {
    pub(crate) schema: &'a TableSchema,
    /// As the table calls them.
    pub(crate) partition_columns: &'a [String],
    /// Commits between two checkpoints, for a table that is created.
    pub(crate) checkpoint_interval: u32,
    pub(crate) mode: WriteMode,
    pub(crate) run: &'a RunIdentity,
    pub(crate) note: CommitNote,
    pub(crate) files: &'a [DataFile],
}

impl Commit<'_> {
    fn state(&self, before: Option<&TableState>) -> TableState {
        datakit_model::sink::next_state(before, self.run, &self.note, self.rows())
    }

    fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    fn adds(&self) -> impl Iterator<Item = Action> {
        let now = chrono::Utc::now().timestamp_millis();
        self.files.iter().map(move |file| {
            Action::Add(Add {
                // Encoded as a URI when it is written.
                path: file.name.clone(),
                partition_values: self.partition_columns.iter().cloned().zip(file.folder.values.clone()).collect(),
                size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
                modification_time: now,
                data_change: true,
                stats: Some(file.statistics.clone()),
                ..Add::default()
            })
        })
    }

    fn operation(&self) -> DeltaOperation {
        let mode = match self.mode {
            // A merge is refused when the table is opened.
            WriteMode::Append | WriteMode::Merge => SaveMode::Append,
            WriteMode::Overwrite => SaveMode::Overwrite,
        };
        let partition_by = (!self.partition_columns.is_empty()).then(|| self.partition_columns.to_vec());
        DeltaOperation::Write { mode, partition_by, predicate: None }
    }

    /// For the table's history.
    fn information(&self) -> HashMap<String, Value> {
        HashMap::from([
            ("runId".to_owned(), Value::from(self.run.run_id.as_str())),
            ("datakit".to_owned(), Value::from(format!("{}@{}", self.run.datakit, self.run.version))),
        ])
    }
}

/// A store that does not answer may answer later; a log that cannot be understood stays as it is.
fn log_error(location: &str, error: DeltaTableError) -> SinkError {
    let source: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
    if system_error(source.as_ref()).is_some() || datakit_stores::failure_of(source.as_ref()).is_some() {
        return classify("read or write the Delta log of", location, source);
    }
    let location = location.to_owned();
    if is_trouble_of_a_store(source.as_ref()) {
        return SinkError::Log { location, source };
    }
    SinkError::Damaged { location, source }
}

/// Whether the store said it, and not whoever read what the store gave.
fn is_trouble_of_a_store(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<object_store::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

//! The log entry that makes a table's new rows visible, and what an earlier one left.

mod accept;
mod check;
mod merged;
mod named;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use datakit_model::state::{SourceTable, StateDocument, TargetTable, WrittenRows};
use datakit_model::{TableId, TableState};
use deltalake::checkpoints::{cleanup_metadata, create_checkpoint};
use deltalake::kernel::transaction::{CommitData, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt as _, SchemaRef, StructType, Transaction, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError};
use serde_json::Value;
use uuid::Uuid;

use super::config::Root;
use super::merge::{Merged, TableFile};
use super::schema::TableSchema;
use super::state::{self, Documents, Held, STATE_KEY};
use super::{first_entry, protocol};
use crate::storage::{classify, system_error};
use datakit_connect::sink::SinkError;
use datakit_model::sink::{CommitNote, TableRows, Target, WriteMode};
use datakit_parquet::DataFile;

/// So many times a commit is tried again behind commits of others.
const MAX_ATTEMPTS: u32 = 20;
/// So many of them may be without an answer from the store.
const MAX_UNANSWERED: u32 = 3;
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
    /// Where the documents of the table's state are.
    documents: Documents,
    /// What the last commit of a datakit left.
    pub(crate) held: Held,
}

impl Log {
    /// Reads the newest version and the state.
    pub(crate) async fn open(root: &Root, source_system: &str, table: &TableId) -> Result<Self, SinkError> {
        let mut log = Self::look(root, source_system, table).await?;
        log.read_state().await?;
        Ok(log)
    }

    /// Reads the newest version alone.
    pub(crate) async fn look(root: &Root, source_system: &str, table: &TableId) -> Result<Self, SinkError> {
        let (store, location) = (root.log()?, root.to_string());
        let documents = Documents {
            store: store.object_store(None),
            directory: root.local().cloned(),
            location: location.clone(),
            source: SourceTable::new(source_system, table),
        };
        let mut log = Self {
            store,
            location,
            directory: root.local().cloned(),
            app_id: format!("datakit/{source_system}/{table}"),
            snapshot: None,
            documents,
            held: Held::default(),
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
            documents: self.documents.clone(),
            held: Held::default(),
        };
        newest.refresh().await?;
        newest.read_state().await?;
        Ok(newest)
    }

    async fn refresh(&mut self) -> Result<(), SinkError> {
        let failed = |e| log_error(&self.location, e);
        if self.store.is_delta_table_location().await.map_err(failed)? {
            self.snapshot = Some(DeltaTableState::try_new(self.store.as_ref(), None).await.map_err(failed)?);
        }
        Ok(())
    }

    async fn read_state(&mut self) -> Result<(), SinkError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let table = state::Table { log: &self.store, snapshot, documents: &self.documents, app_id: &self.app_id };
        self.held = state::read(&table, |e| log_error(&self.location, e)).await?;
        Ok(())
    }

    /// What the last commit left; with `mode` overwrite none where it does not fit the rows, which are replaced.
    pub(crate) fn state(&self, mode: WriteMode) -> Result<Option<TableState>, SinkError> {
        let document = match mode {
            WriteMode::Append | WriteMode::Merge => self.held.checked(&self.location)?,
            WriteMode::Overwrite => self.held.fitting(),
        };
        Ok(document.map(|document| document.state(&self.documents.source)))
    }

    /// Whether a table is there.
    pub(crate) fn exists(&self) -> bool {
        self.snapshot.is_some()
    }

    /// The files with rows.
    pub(crate) fn files(&self) -> Vec<TableFile> {
        self.snapshot.iter().flat_map(|snapshot| snapshot.log_data()).map(TableFile::new).collect()
    }

    /// The columns, where there is a table.
    pub(crate) fn columns(&self) -> Option<SchemaRef> {
        self.snapshot.as_ref().map(DeltaTableState::schema)
    }

    /// An empty directory of a table that never came to be is nobody's.
    pub(crate) fn remove_empty_directory(&self) {
        if let (false, Some(directory)) = (self.exists(), &self.directory) {
            // Fails, as it should, when another run has made it a table meanwhile.
            let _ = std::fs::remove_dir(directory);
        }
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

    /// Writes the document of the state and then the one log entry that names it, behind the commits that others have made
    /// meanwhile, when these change neither the state nor what the table is. An error after the attempt is resolved by reading.
    /// Where a store did not answer, the same entry is written to the same version once more, which at most one of both writes is.
    pub(crate) async fn commit(&self, commit: Commit<'_>) -> Result<(TableState, TableRows), CommitError> {
        let mut prepared = self.prepare(self, &commit).await?;
        let outcome = self.attempt(&commit, &mut prepared).await;
        if let Err(CommitError::Nothing(_)) = &outcome {
            self.documents.discard(prepared.number).await;
        }
        let rows = outcome?;
        Ok((prepared.document.state(&self.documents.source), rows))
    }

    async fn attempt(&self, commit: &Commit<'_>, prepared: &mut Prepared) -> Result<TableRows, CommitError> {
        let mut newest: Option<Self> = None;
        let mut unanswered = 0;
        for attempt in 1..=MAX_ATTEMPTS {
            let base = newest.as_ref().unwrap_or(self);
            let error = match base.write(commit, prepared).await {
                Ok(version) => {
                    base.maintain(version, prepared.number).await;
                    return Ok(base.rows_after(commit));
                }
                Err(error) => error,
            };
            let log = match self.resolve(prepared, error).await {
                Ok(Found::Ours) => return Ok(base.rows_after(commit)),
                Ok(Found::Others(log)) => log,
                Ok(Found::Unanswered(log, error)) => {
                    unanswered += 1;
                    if unanswered == MAX_UNANSWERED {
                        return Err(self.unknown(error));
                    }
                    log
                }
                // An earlier attempt may still take effect, unless another run has taken its place.
                Err(CommitError::Nothing(error)) if unanswered > 0 && !matches!(error, SinkError::Conflict { .. }) => {
                    return Err(self.unknown(error));
                }
                Err(error) => return Err(error),
            };
            log.check(commit.partition_columns, commit.target.mode).map_err(CommitError::Nothing)?;
            log.check_columns(self, commit.target, commit.schema).map_err(CommitError::Nothing)?;
            log.state(commit.target.mode).map_err(CommitError::Nothing)?;
            if let Some(merged) = commit.merged {
                log.still_fits(self, merged).map_err(CommitError::Nothing)?;
            }
            if log.exists() && log.id() != Some(prepared.table_id.as_str()) {
                // Another writer has created the table meanwhile.
                self.documents.discard(prepared.number).await;
                *prepared = self.prepare(&log, commit).await?;
            }
            tracing::info!(location = %self.location, attempt, "another writer has committed, or the store has not answered: committing again");
            newest = Some(*log);
            tokio::time::sleep(PAUSE * attempt).await;
        }
        Err(CommitError::Nothing(SinkError::Busy { location: self.location.clone(), attempts: MAX_ATTEMPTS }))
    }

    /// Writes the document of a commit to the table as `base` is.
    async fn prepare(&self, base: &Self, commit: &Commit<'_>) -> Result<Prepared, CommitError> {
        let table_id = base.id().map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        let version = base.snapshot.as_ref().map(DeltaTableState::version);
        let to = TargetTable::Delta { id: table_id.clone(), read_version: version };
        let files = commit.files.iter().map(|file| file.name.clone()).collect();
        let written = WrittenRows { rows: commit.rows(), files };
        let document = StateDocument::after(self.held.fitting(), commit.target, &commit.note, written, Some(to));
        let number = self.documents.write(base.first_number(), &document).await.map_err(CommitError::Nothing)?;
        Ok(Prepared { number, table_id, document })
    }

    /// `metaData.id`.
    fn id(&self) -> Option<&str> {
        self.snapshot.as_ref().map(|snapshot| snapshot.metadata().id())
    }

    fn rows_after(&self, commit: &Commit<'_>) -> TableRows {
        if let Some(Merged { counts, .. }) = commit.merged {
            let before = self.rows();
            let rows = (before.rows + counts.inserted + counts.updated).saturating_sub(counts.dead);
            return TableRows { rows, ..before };
        }
        let is_replaced = commit.target.mode == WriteMode::Overwrite;
        let before = if is_replaced { TableRows::default() } else { self.rows() };
        TableRows { rows: before.rows + commit.rows(), ..before }
    }

    /// The version that was written.
    async fn write(&self, commit: &Commit<'_>, prepared: &Prepared) -> Result<u64, DeltaTableError> {
        let (version, mut actions) = match &self.snapshot {
            None => (0, Self::creation(commit, &prepared.table_id)?),
            Some(snapshot) => {
                let altered = commit.schema.altered.as_ref();
                (snapshot.version() + 1, Self::continuation(snapshot, altered, commit.target.mode)?)
            }
        };
        let replaced = commit.merged.iter().flat_map(|merged| &merged.replaced);
        actions.extend(replaced.map(|file| Action::Remove(file.remove())));
        actions.extend(commit.adds());
        let transaction = self.transaction(prepared.number);
        let data = CommitData::new(actions, commit.operation(), commit.information(), vec![transaction]);
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
    fn creation(commit: &Commit<'_>, table_id: &str) -> Result<Vec<Action>, DeltaTableError> {
        let configuration = [("delta.checkpointInterval", commit.checkpoint_interval.max(1).to_string())];
        let metadata = new_metadata(&commit.schema.delta, commit.partition_columns, configuration)?;
        let metadata = metadata.with_table_id(table_id.to_owned())?;
        let protocol = protocol::of_new_table(&commit.schema.delta)?;
        Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    /// What comes before the rows in every later version. Metadata only where it changes: whoever appends at the same time would
    /// fail.
    fn continuation(
        snapshot: &DeltaTableState,
        altered: Option<&StructType>,
        mode: WriteMode,
    ) -> Result<Vec<Action>, DeltaTableError> {
        let mut metadata = snapshot.metadata().clone();
        let has_state = metadata.configuration().contains_key(STATE_KEY);
        if has_state {
            metadata = metadata.remove_config_key(STATE_KEY)?;
        }
        if let Some(altered) = altered {
            metadata = metadata.with_schema(altered)?;
        }
        let upgraded = protocol::upgraded(snapshot.protocol(), &metadata, altered.unwrap_or(&snapshot.schema()))?;
        let mut actions: Vec<Action> = upgraded.map(Action::Protocol).into_iter().collect();
        if has_state || altered.is_some() {
            actions.push(Action::Metadata(metadata));
        }
        if mode == WriteMode::Overwrite {
            actions.extend(snapshot.log_data().iter().map(|file| Action::Remove(file.remove_action(true))));
        }
        Ok(actions)
    }

    fn transaction(&self, number: i64) -> Transaction {
        let now = chrono::Utc::now().timestamp_millis();
        Transaction::new_with_last_update(&self.app_id, number, Some(now))
    }

    /// A checkpoint every so many commits, and then the end of entries that are too old. The rows are committed already: what
    /// fails here is tried again after the next commits.
    async fn maintain(&self, version: u64, number: i64) {
        let Some(snapshot) = &self.snapshot else { return };
        let config = snapshot.table_config();
        let interval = config.checkpoint_interval.map_or(DEFAULT_CHECKPOINT_INTERVAL, std::num::NonZero::get);
        if !(version + 1).is_multiple_of(interval) {
            return;
        }
        if let Err(error) = self.documents.prune(number).await {
            tracing::warn!(location = %self.location, %error, "committed, but old documents of the table's state cannot be removed");
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
    async fn resolve(&self, prepared: &Prepared, error: DeltaTableError) -> Result<Found, CommitError> {
        let Ok(now) = self.newest().await else { return Err(self.unknown(error)) };
        // Another run may have committed after ours.
        if now.held.number == Some(prepared.number) || now.held.was_committed_by(&prepared.document.load.run_id) {
            tracing::warn!(location = %self.location, %error, "committed, though the attempt was reported as failed");
            return Ok(Found::Ours);
        }
        if now.held.has_forgotten(&prepared.document) {
            return Err(self.unknown(error));
        }
        if now.held.number != self.held.number {
            return Err(CommitError::Nothing(SinkError::Conflict { location: self.location.clone() }));
        }
        if lost_the_race(&error) && now.exists() {
            return Ok(Found::Others(Box::new(now)));
        }
        match log_error(&self.location, error) {
            error @ (SinkError::Storage { transient: true, .. } | SinkError::Log { .. })
                if self.directory.is_none() =>
            {
                Ok(Found::Unanswered(Box::new(now), error))
            }
            error => Err(CommitError::Nothing(error)),
        }
    }

    fn unknown(&self, error: impl std::error::Error + Send + Sync + 'static) -> CommitError {
        CommitError::Unknown(SinkError::Unknown { location: self.location.clone(), source: Box::new(error) })
    }

    /// Makes a commit on a local disk survive a power failure. The first entry is flushed before it has its name.
    pub(crate) fn sync(directory: &Path) {
        let log = directory.join("_delta_log");
        let newest = std::fs::read_dir(&log).into_iter().flatten().flatten().map(|entry| entry.path());
        let newest = newest.filter(|path| path.extension().is_some_and(|e| e == "json")).max();
        let newest = newest.filter(|path| !first_entry::is_first(path));
        for path in newest.iter().map(|p| p.as_path()).chain([log.as_path(), directory]) {
            if let Err(error) = File::open(path).and_then(|file| file.sync_all()) {
                tracing::warn!(path = %path.display(), %error, "cannot flush a committed table to the disk");
            }
        }
    }
}

/// Whether another writer has taken the version.
fn lost_the_race(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction { source: TransactionError::VersionAlreadyExists(_) }
    )
}

/// A document that is written and that counts as soon as a commit names it.
struct Prepared {
    number: i64,
    /// `metaData.id` of the table that the document names.
    table_id: String,
    document: StateDocument,
}

/// What a failed attempt left in the log.
enum Found {
    /// Our commit: only its answer was lost.
    Ours,
    /// Commits of others, and the state that was there before.
    Others(Box<Log>),
    /// Nothing yet: the store has not answered, and what it was sent may still be on its way.
    Unanswered(Box<Log>, SinkError),
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
    pub(crate) target: &'a Target,
    pub(crate) note: CommitNote,
    pub(crate) files: &'a [DataFile],
    /// What the files replace; none: the load does not merge.
    pub(crate) merged: Option<&'a Merged>,
}

impl Commit<'_> {
    /// Rows of the load.
    fn rows(&self) -> u64 {
        if let Some(merged) = self.merged {
            return if self.target.updates_only { merged.counts.updated } else { merged.counts.source };
        }
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
        let mode = match self.target.mode {
            WriteMode::Append => SaveMode::Append,
            WriteMode::Overwrite => SaveMode::Overwrite,
            WriteMode::Merge => return self.merge_operation(),
        };
        let partition_by = (!self.partition_columns.is_empty()).then(|| self.partition_columns.to_vec());
        DeltaOperation::Write { mode, partition_by, predicate: None }
    }

    /// For the table's history.
    fn information(&self) -> HashMap<String, Value> {
        let run = &self.target.run;
        let metrics = self.merged.map(|merged| ("operationMetrics".to_owned(), merged.metrics()));
        let information = [
            ("runId".to_owned(), Value::from(run.run_id.as_str())),
            ("datakit".to_owned(), Value::from(format!("{}@{}", run.datakit, run.version))),
        ];
        information.into_iter().chain(metrics).collect()
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

//! The log entry that makes a table's new rows visible, and what an earlier one left.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datakit_model::{RunIdentity, TableId, TableState};
use deltalake::DeltaTableError;
use deltalake::kernel::transaction::{CommitBuilder, CommitData, CommitProperties, PROTOCOL, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt as _, Protocol, Transaction, new_metadata};
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use serde_json::Value;
use uuid::Uuid;

use super::config::{DeltaConfig, Root};
use super::file::DataFile;
use super::schema::{TableSchema, column_with_invariant};
use crate::error::SinkError;
use crate::storage::{classify, system_error};
use crate::{CommitNote, WriteMode};

/// The key of `metaData.configuration` that holds a table's [`TableState`] as JSON. There it survives checkpoints and log
/// clean-up, which `commitInfo` does not.
pub const STATE_KEY: &str = "datakit.state";

/// A table's log at the moment the table was opened.
pub(crate) struct Log {
    pub(crate) store: LogStoreRef,
    /// The table, for people.
    pub(crate) location: String,
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
        let location = root.to_string();
        let store = root.log()?;
        let app_id = format!("datakit/{source_system}/{table}");
        let mut log = Self { store, location, app_id, snapshot: None, state: None };
        log.refresh().await?;
        Ok(log)
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

    /// Refuses a table that we cannot write, or that holds other columns.
    pub(crate) fn check(&self, schema: &TableSchema, mode: WriteMode) -> Result<(), SinkError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let foreign = |reason: String| SinkError::ForeignTable { location: self.location.clone(), reason };
        if let Err(error) = PROTOCOL.can_write_to(snapshot) {
            return Err(foreign(match error {
                TransactionError::UnsupportedTableFeatures(features) => {
                    let mut features: Vec<String> = features.iter().map(ToString::to_string).collect();
                    features.sort();
                    format!("it needs table features that are not supported here: {}", features.join(", "))
                }
                other => other.to_string(),
            }));
        }
        if !snapshot.metadata().partition_columns().is_empty() {
            return Err(foreign(format!(
                "it is partitioned by {}",
                snapshot.metadata().partition_columns().join(", ")
            )));
        }
        if mode == WriteMode::Overwrite && snapshot.table_config().append_only == Some(true) {
            return Err(foreign("it is append-only, and the load overwrites".into()));
        }
        if let Some(column) = column_with_invariant(&snapshot.schema()) {
            return Err(foreign(format!("its column `{column}` has an invariant")));
        }
        let differences = schema.differences(&snapshot.schema());
        if differences.is_empty() {
            Ok(())
        } else {
            Err(SinkError::SchemaMismatch { location: self.location.clone(), differences })
        }
    }

    /// Writes the one log entry. An error after the attempt is resolved by reading, never by writing again.
    pub(crate) async fn commit(&self, commit: Commit<'_>) -> Result<TableState, CommitError> {
        let state = commit.state(self.state.as_ref());
        let attempted = match &self.snapshot {
            None => self.create(&commit, &state).await,
            Some(snapshot) => self.append(snapshot, &commit, &state).await,
        };
        if let Err(error) = attempted {
            self.resolve(&state, error).await?;
        }
        Ok(state)
    }

    /// Version 0: protocol, schema and rows at once, so that no reader ever sees an empty table on its way.
    async fn create(&self, commit: &Commit<'_>, state: &TableState) -> Result<(), DeltaTableError> {
        let configuration = [
            ("delta.checkpointInterval".to_owned(), commit.config.checkpoint_interval.max(1).to_string()),
            (STATE_KEY.to_owned(), serde_json::to_string(state)?),
        ];
        let metadata = new_metadata(&commit.schema.delta, Vec::<String>::new(), configuration)?;
        let mut actions = vec![Action::Protocol(protocol(commit.schema)?), Action::Metadata(metadata)];
        actions.extend(commit.adds());
        let data = CommitData::new(actions, commit.operation(), commit.information(), vec![self.transaction(state)]);
        // Not through a CommitBuilder: when version 0 exists meanwhile, that would go on with version 1.
        self.store.write_commit_entry(0, CommitOrBytes::LogBytes(data.get_bytes()?), Uuid::new_v4()).await?;
        Ok(())
    }

    async fn append(
        &self,
        snapshot: &DeltaTableState,
        commit: &Commit<'_>,
        state: &TableState,
    ) -> Result<(), DeltaTableError> {
        let metadata =
            snapshot.metadata().clone().add_config_key(STATE_KEY.to_owned(), serde_json::to_string(state)?)?;
        let mut actions = vec![Action::Metadata(metadata)];
        if commit.mode == WriteMode::Overwrite {
            actions.extend(snapshot.log_data().iter().map(|file| Action::Remove(file.remove_action(true))));
        }
        actions.extend(commit.adds());
        let properties = CommitProperties::default()
            .with_metadata(commit.information())
            .with_application_transaction(self.transaction(state));
        CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(snapshot), Arc::clone(&self.store), commit.operation())
            .await?;
        Ok(())
    }

    fn transaction(&self, state: &TableState) -> Transaction {
        let now = chrono::Utc::now().timestamp_millis();
        Transaction::new_with_last_update(&self.app_id, state.sequence, Some(now))
    }

    /// Finds out whether a failed attempt took effect: a checkpoint or a clean-up that failed after it is no failure.
    async fn resolve(&self, state: &TableState, error: DeltaTableError) -> Result<(), CommitError> {
        let mut now = Self {
            store: Arc::clone(&self.store),
            location: self.location.clone(),
            app_id: self.app_id.clone(),
            snapshot: None,
            state: None,
        };
        if now.refresh().await.is_err() {
            let source = Box::new(error);
            return Err(CommitError::Unknown(SinkError::Unknown { location: self.location.clone(), source }));
        }
        // Another run may have committed after ours.
        if now.state.as_ref().is_some_and(|now| now.was_committed_by(&state.run_id)) {
            tracing::warn!(location = %self.location, %error, "committed, but the upkeep of the table's log failed");
            return Ok(());
        }
        let forgotten = i64::try_from(TableState::MAX_EARLIER_RUNS).unwrap_or(i64::MAX);
        if now.state.as_ref().is_some_and(|now| now.sequence > state.sequence.saturating_add(forgotten)) {
            let source = Box::new(error);
            return Err(CommitError::Unknown(SinkError::Unknown { location: self.location.clone(), source }));
        }
        let version = |log: &Self| log.snapshot.as_ref().map(DeltaTableState::version);
        let conflict = matches!(
            error,
            DeltaTableError::VersionAlreadyExists(_)
                | DeltaTableError::Transaction {
                    source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_)
                }
        );
        Err(CommitError::Nothing(if conflict || version(&now) != version(self) && now.state != self.state {
            SinkError::Conflict { location: self.location.clone() }
        } else {
            log_error(&self.location, error)
        }))
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
    pub(crate) config: &'a DeltaConfig,
    pub(crate) mode: WriteMode,
    pub(crate) run: &'a RunIdentity,
    pub(crate) note: CommitNote,
    pub(crate) files: &'a [DataFile],
}

impl Commit<'_> {
    fn state(&self, before: Option<&TableState>) -> TableState {
        crate::next_state(before, self.run, &self.note, self.files.iter().map(|f| f.rows).sum())
    }

    fn adds(&self) -> impl Iterator<Item = Action> {
        let now = chrono::Utc::now().timestamp_millis();
        self.files.iter().map(move |file| {
            Action::Add(Add {
                path: file.name.clone(),
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
            WriteMode::Append => SaveMode::Append,
            WriteMode::Overwrite => SaveMode::Overwrite,
        };
        DeltaOperation::Write { mode, partition_by: None, predicate: None }
    }

    /// For the table's history.
    fn information(&self) -> HashMap<String, Value> {
        HashMap::from([
            ("runId".to_owned(), Value::from(self.run.run_id.as_str())),
            ("datakit".to_owned(), Value::from(format!("{}@{}", self.run.datakit, self.run.version))),
        ])
    }
}

/// The oldest protocol that the columns allow, so that many readers can read.
fn protocol(schema: &TableSchema) -> Result<Protocol, serde_json::Error> {
    serde_json::from_value(if schema.has_timestamp_without_zone() {
        serde_json::json!({
            "minReaderVersion": 3, "minWriterVersion": 7,
            "readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"],
        })
    } else {
        serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    })
}

fn log_error(location: &str, error: DeltaTableError) -> SinkError {
    let source: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
    if system_error(source.as_ref()).is_some() || datakit_stores::failure_of(source.as_ref()).is_some() {
        return classify("read or write the Delta log of", location, source);
    }
    SinkError::Log { location: location.to_owned(), source }
}

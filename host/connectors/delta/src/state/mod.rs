//! The state of a table: which document counts, and whether it fits the rows (docs/state.md).
//!
//! - [`documents`]: the files beside the table;
//! - [`history`]: what others have done since a commit.

mod documents;
mod history;

use std::collections::HashSet;

use datakit_connect::sink::SinkError;
use datakit_model::TableState;
use datakit_model::state::{StateDocument, TargetTable};
use deltalake::logstore::LogStoreRef;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaResult, DeltaTableError};

pub(crate) use documents::Documents;
use history::History;
pub(crate) use history::files_of_entry;

/// The key of `metaData.configuration` in which earlier releases kept the state, as JSON. The next commit takes it away.
pub const STATE_KEY: &str = "datakit.state";

/// What a table's log and the documents beside it say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// The highest number that the log names; none: it names none.
    pub(crate) number: Option<i64>,
    /// The document of that number; none: no datakit has committed the table, or the document is gone.
    pub(crate) document: Option<StateDocument>,
    /// Why the document does not count.
    doubt: Option<Doubt>,
}

/// Why a document does not count for the rows that are there.
#[derive(Debug, Clone)]
enum Doubt {
    RowsChanged(String),
    Lost(String),
}

impl Held {
    /// The document, if it fits the rows.
    ///
    /// # Errors
    /// There is a document, and it does not.
    pub(crate) fn checked(&self, location: &str) -> Result<Option<&StateDocument>, SinkError> {
        let location = location.to_owned();
        match self.doubt.clone() {
            None => Ok(self.document.as_ref()),
            Some(Doubt::RowsChanged(reason)) => Err(SinkError::RowsChanged { location, reason }),
            Some(Doubt::Lost(reason)) => Err(SinkError::StateLost { location, reason }),
        }
    }

    /// The document if it fits the rows, for whoever replaces them.
    pub(crate) fn fitting(&self) -> Option<&StateDocument> {
        self.document.as_ref().filter(|_| self.doubt.is_none())
    }

    /// Whether a run has committed the table, whatever has become of its rows.
    pub(crate) fn was_committed_by(&self, run_id: &str) -> bool {
        self.document.as_ref().is_some_and(|document| document.was_committed_by(run_id))
    }

    /// Whether more runs have committed since than a document remembers.
    pub(crate) fn has_forgotten(&self, document: &StateDocument) -> bool {
        let remembered = i64::try_from(TableState::MAX_EARLIER_RUNS).unwrap_or(i64::MAX);
        let now = self.document.as_ref().map_or(0, |now| now.sequence);
        now > document.sequence.saturating_add(remembered)
    }
}

/// A table at one version.
pub(crate) struct Table<'a> {
    pub(crate) log: &'a LogStoreRef,
    pub(crate) snapshot: &'a DeltaTableState,
    pub(crate) documents: &'a Documents,
    /// The appId of `txn`.
    pub(crate) app_id: &'a str,
}

/// Reads what the last commit left.
pub(crate) async fn read(table: &Table<'_>, failed: impl Fn(DeltaTableError) -> SinkError) -> Result<Held, SinkError> {
    if let Some(json) = table.snapshot.metadata().configuration().get(STATE_KEY) {
        let number = table.number().await.map_err(&failed)?;
        let location = table.documents.location.clone();
        let document = StateDocument::parse(json, &table.documents.source)
            .map_err(|source| SinkError::State { location, source })?;
        // A RESTORE to a version from before the first document brings the key back.
        let is_newest = number.is_none_or(|number| number <= document.sequence);
        if is_newest || table.documents.numbers().await?.is_empty() {
            return Ok(Held { number: number.max(Some(document.sequence)), document: Some(document), doubt: None });
        }
    }
    if let Some(held) = table.newest_commit().await? {
        return Ok(held);
    }
    let Some(number) = table.number().await.map_err(&failed)? else { return table.unnamed(failed).await };
    let Some(document) = table.documents.read(number).await? else {
        let reason = format!("its log names {}, which is not there", table.documents.place(number));
        return Ok(Held { number: Some(number), document: None, doubt: Some(Doubt::Lost(reason)) });
    };
    let doubt = table.doubt(&document, number).await.map_err(failed)?;
    Ok(Held { number: Some(number), document: Some(document), doubt })
}

impl Table<'_> {
    fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The number of the newest document that the log names.
    async fn number(&self) -> DeltaResult<Option<i64>> {
        self.snapshot.transaction_version(self.log.as_ref(), self.app_id).await
    }

    /// The document of the table's newest version, found by one read: it has the number that such a commit takes, it was prepared
    /// from the version before, and a file that it names is in the table.
    async fn newest_commit(&self) -> Result<Option<Held>, SinkError> {
        let number = number_of(self.version());
        let Some(document) = self.documents.read(number).await? else { return Ok(None) };
        let before = self.version().checked_sub(1);
        let is_prepared_from = |id: &str, read: Option<u64>| id == self.snapshot.metadata().id() && read == before;
        let fits = matches!(&document.target, Some(TargetTable::Delta { id, read_version }) if is_prepared_from(id, *read_version));
        if fits && self.has_a_file_of(&document) {
            return Ok(Some(Held { number: Some(number), document: Some(document), doubt: None }));
        }
        Ok(None)
    }

    /// File names have a UUID, so that those of the last part of a path are enough.
    fn live_names(&self) -> HashSet<String> {
        self.snapshot.log_data().iter().map(|file| last_part(file.path().as_ref()).to_owned()).collect()
    }

    fn has_a_file_of(&self, document: &StateDocument) -> bool {
        let Some(first) = document.written.files.first() else { return false };
        self.snapshot.log_data().iter().any(|file| last_part(file.path().as_ref()) == last_part(first))
    }

    fn has_all_files_of(&self, document: &StateDocument) -> bool {
        let live = self.live_names();
        document.written.files.iter().all(|file| live.contains(last_part(file)))
    }

    /// Why a document that the log names does not fit the rows.
    async fn doubt(&self, document: &StateDocument, number: i64) -> DeltaResult<Option<Doubt>> {
        let changed = |reason: String| Ok(Some(Doubt::RowsChanged(reason)));
        let Some(TargetTable::Delta { id, read_version }) = &document.target else { return Ok(None) };
        if id != self.snapshot.metadata().id() {
            return changed("it is another table now, which was created or replaced since the last load".to_owned());
        }
        let first = read_version.map_or(0, |version| version.saturating_add(1));
        match history::since(self.log, (self.app_id, number), (first, self.version())).await? {
            History::Kept => Ok(None),
            History::Restored { by, commit } => changed(format!(
                "version {by} of the table restored it to another version than {commit}, which the last load wrote"
            )),
            History::Replaced { by } => changed(format!("version {by} of the table replaced it")),
            History::Removed { by, files, commit } => changed(format!(
                "another writer removed or changed rows since version {commit}, which the last load wrote: {files} files, first by version {by}"
            )),
            History::Unknown if self.has_all_files_of(document) => Ok(None),
            History::Unknown => changed(
                "entries of its log since the last load are gone, and so are files that the last load wrote".to_owned(),
            ),
        }
    }

    /// The log names no document. There may be some all the same: of a run that was killed before its first commit, of another
    /// table that was here, or of this one when its log has forgotten which document counts.
    async fn unnamed(&self, failed: impl Fn(DeltaTableError) -> SinkError) -> Result<Held, SinkError> {
        for number in self.documents.numbers().await?.into_iter().rev() {
            let Some(document) = self.documents.read(number).await? else { continue };
            let Some(TargetTable::Delta { id, read_version }) = &document.target else { continue };
            if id != self.snapshot.metadata().id() {
                continue;
            }
            let versions = (read_version.map_or(0, |version| version.saturating_add(1)), self.version());
            let was_killed = !self.has_a_file_of(&document)
                && history::never_committed(self.log, self.app_id, versions).await.map_err(&failed)?;
            if !was_killed {
                let reason = format!(
                    "its log names none of the documents, of which the newest is {}",
                    self.documents.place(number)
                );
                let doubt = Some(Doubt::Lost(reason));
                return Ok(Held { number: None, document: Some(document), doubt });
            }
        }
        Ok(Held::default())
    }
}

/// The number that the document of a commit has, if it is not taken: one more than the version that the commit becomes.
pub(crate) fn number_of(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX).saturating_add(1)
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

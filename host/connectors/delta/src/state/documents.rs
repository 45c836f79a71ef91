//! The documents of a table, each a file that is written once: `_datakit/state/<number, 20 digits>.json`.
//!
//! Names that begin with `_` are left alone by VACUUM and by readers.

use std::path::PathBuf;
use std::sync::Arc;

use datakit_connect::sink::SinkError;
use datakit_model::state::{SourceTable, StateDocument, StateError};
use futures::TryStreamExt as _;
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};

use crate::once::{Created, Folder};
use crate::storage::storage_error;

/// The folder of the documents, below the table's.
const FOLDER: &str = "_datakit/state";
/// So many of the newest documents stay.
const KEPT: usize = 10;
/// So many numbers are tried for a document: each run that was killed between document and commit has taken one.
const MAX_ATTEMPTS: u32 = 20;

/// The documents of one table.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    /// Of the table's folder.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The table's folder, when it is one of this machine.
    pub(crate) directory: Option<PathBuf>,
    /// The table, for people.
    pub(crate) location: String,
    /// The source table whose rows the table holds.
    pub(crate) source: SourceTable,
}

fn name(number: i64) -> String {
    format!("{number:020}.json")
}

fn path(number: i64) -> StorePath {
    StorePath::from(FOLDER).join(name(number))
}

impl Documents {
    /// The document's file, for people.
    pub(crate) fn place(&self, number: i64) -> String {
        format!("{}/{FOLDER}/{}", self.location.trim_end_matches('/'), name(number))
    }

    /// The document of a number; none: there is none.
    pub(crate) async fn read(&self, number: i64) -> Result<Option<StateDocument>, SinkError> {
        let failed = |error| storage_error("read", &self.place(number), error);
        let bytes = match self.store.get(&path(number)).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let invalid = |source| SinkError::State { location: self.place(number), source };
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid(StateError::NotText))?;
        StateDocument::parse(text, &self.source).map(Some).map_err(invalid)
    }

    /// Writes a document under the first free number from `first` on, and returns it. It counts when a commit names the number.
    pub(crate) async fn write(&self, first: i64, document: &StateDocument) -> Result<i64, SinkError> {
        let invalid =
            |source: serde_json::Error| SinkError::State { location: self.place(first), source: source.into() };
        let json = serde_json::to_vec(document).map_err(invalid)?;
        let mut number = first;
        for _ in 0..MAX_ATTEMPTS {
            if self.create(number, &json).await? {
                return Ok(number);
            }
            // Of a run that was killed before its commit, or is about to commit.
            let newest = self.numbers().await?.last().copied();
            number = newest.unwrap_or(number).max(number).saturating_add(1);
        }
        Err(SinkError::Busy { location: self.location.clone(), attempts: MAX_ATTEMPTS })
    }

    /// False: there is one of this number.
    async fn create(&self, number: i64, json: &[u8]) -> Result<bool, SinkError> {
        Ok(matches!(self.folder().create(&name(number), json.to_vec()).await?, Created::New(_)))
    }

    fn folder(&self) -> Folder {
        let Self { store, directory, location, .. } = self.clone();
        Folder { store, directory, location, path: FOLDER.to_owned() }
    }

    /// The numbers that are there, in order.
    pub(crate) async fn numbers(&self) -> Result<Vec<i64>, SinkError> {
        let failed = |error| storage_error("list", &format!("{}/{FOLDER}", self.location), error);
        let objects: Vec<_> = self.store.list(Some(&StorePath::from(FOLDER))).try_collect().await.map_err(failed)?;
        let number = |path: &StorePath| path.filename()?.strip_suffix(".json")?.parse().ok();
        let mut numbers: Vec<i64> = objects.iter().filter_map(|object| number(&object.location)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Takes back a document that no commit names. It counts for nobody: what cannot be removed stays.
    pub(crate) async fn discard(&self, number: i64) {
        if let Err(error) = self.store.delete(&path(number)).await {
            tracing::warn!(document = %self.place(number), %error, "cannot remove a state document that no commit names");
        }
        self.folder().remove_empty();
    }

    /// Removes documents from before the newest ones, of which `current` counts.
    pub(crate) async fn prune(&self, current: i64) -> Result<(), SinkError> {
        let numbers: Vec<i64> = self.numbers().await?.into_iter().filter(|number| *number <= current).collect();
        for number in &numbers[..numbers.len().saturating_sub(KEPT)] {
            self.store.delete(&path(*number)).await.map_err(|e| storage_error("remove", &self.place(*number), e))?;
        }
        Ok(())
    }
}

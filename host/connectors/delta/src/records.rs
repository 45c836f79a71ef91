//! The records of runs, below the root: `_datakit/runs/<run>/<start, 20 digits>-<ingest>.json` (docs/runs.md).

use std::sync::Arc;

use datakit_connect::sink::SinkError;
use datakit_model::Failure;
use datakit_model::sink::{KeptRecord, RecordName};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::{Path as StorePath, PathPart};
use object_store::{ObjectStore, ObjectStoreExt as _};

use crate::config::Root;
use crate::names::{segment, source_segment};
use crate::storage::storage_error;
use crate::tables;

/// The folders of the records, below the root.
const FOLDERS: [&str; 2] = ["_datakit", "runs"];
/// Records that are read at one time.
const MAX_READS: usize = 16;

/// The records below one root.
pub(crate) struct Records {
    store: Arc<dyn ObjectStore>,
    folder: StorePath,
    /// The root, for people.
    location: String,
}

impl Records {
    pub(crate) fn open(root: &Root) -> Result<Self, SinkError> {
        let location = root.to_string();
        let (store, path) = tables::open(root).map_err(|error| storage_error("open", &location, error))?;
        let folder = FOLDERS.iter().fold(path, |path, name| path.join(*name));
        Ok(Self { store, folder, location })
    }

    /// Where a record is, for people.
    fn place(&self, path: &StorePath) -> String {
        let parts: Vec<String> = path.prefix_match(&self.folder).into_iter().flatten().map(text).collect();
        format!("{}/{}/{}", self.location.trim_end_matches('/'), FOLDERS.join("/"), parts.join("/"))
    }

    pub(crate) async fn put(&self, name: &RecordName, json: &str) -> Result<(), SinkError> {
        let path = self.path(name)?;
        let written = self.store.put(&path, json.to_owned().into()).await;
        written.map(drop).map_err(|error| storage_error("write", &self.place(&path), error))
    }

    fn path(&self, name: &RecordName) -> Result<StorePath, SinkError> {
        let file = format!("{:020}-{}.json", name.started_at_micros.max(0), segment("ingest", &name.ingest)?);
        Ok(self.folder.clone().join(segment("run", &name.run_id)?).join(file))
    }

    /// The newest ones, newest first. Files of other names are passed over.
    pub(crate) async fn newest(&self, run_id: Option<&str>, newest: usize) -> Result<Vec<KeptRecord>, SinkError> {
        let folder = match run_id {
            Some(run_id) => self.folder.clone().join(segment("run", run_id)?),
            None => self.folder.clone(),
        };
        let failed = |error| storage_error("list", &self.place(&folder), error);
        let objects: Vec<_> = self.store.list(Some(&folder)).try_collect().await.map_err(failed)?;
        let mut names: Vec<_> =
            objects.into_iter().filter_map(|it| Some((name_of(&it.location)?, it.location))).collect();
        names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        names.truncate(newest);
        let reading = futures::stream::iter(names).map(|(name, path)| async move {
            let json = self.read(&path).await.map_err(Failure::from);
            KeptRecord { name, json }
        });
        Ok(reading.buffered(MAX_READS).collect().await)
    }

    async fn read(&self, path: &StorePath) -> Result<String, SinkError> {
        let failed = |error| storage_error("read", &self.place(path), error);
        let bytes = self.store.get(path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn text(part: PathPart<'_>) -> String {
    part.as_ref().to_owned()
}

/// The name that a path stands for.
fn name_of(path: &StorePath) -> Option<RecordName> {
    let parts: Vec<String> = path.parts().map(text).collect();
    let [.., run, file] = parts.as_slice() else { return None };
    let (started, ingest) = file.strip_suffix(".json")?.split_once('-')?;
    let started_at_micros = started.parse().ok()?;
    Some(RecordName { started_at_micros, run_id: source_segment(run)?, ingest: source_segment(ingest)? })
}

#[cfg(test)]
mod tests {
    use datakit_stores::StoreOptions;

    use super::*;

    #[test]
    fn record_name_is_read_back_from_its_path() {
        let root = Root::parse("/data/bronze", &StoreOptions::default()).unwrap();
        let records = Records::open(&root).unwrap();
        let name = RecordName { started_at_micros: 7, run_id: "a:b+c".into(), ingest: "Größe-1".into() };
        let path = records.path(&name).unwrap();
        assert_eq!(
            records.place(&path),
            "/data/bronze/_datakit/runs/a@3Ab@2Bc/00000000000000000007-Gr@C3@B6@C3@9Fe-1.json"
        );
        assert_eq!(name_of(&path), Some(name));
        assert_eq!(name_of(&StorePath::from("_datakit/runs/r/other.json")), None);
    }
}

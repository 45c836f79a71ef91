//! Loads that are not committed yet, each a folder beside its table: `_datakit/unfinished/<run>/<fingerprint>` (docs/resume.md).
//!
//! | file | written | holds |
//! |---|---|---|
//! | `plan.json` | once | the plan |
//! | `owner-<number>.json` | once by each process that works on the load; the highest number counts | whether the process removes the load |
//! | `part-<owner>-<number>.json` | once | finished partitions with their files |
//!
//! - [`kept`]: what a process does that works on a load;
//! - [`mod@leftovers`]: what dead processes have left.

mod kept;
mod leftovers;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datakit_connect::sink::SinkError;
use datakit_model::resume::{FinishedPartition, LoadPlan, RETENTION, Unfinished};
use datakit_parquet::{DataFile, Folder as DataFolder};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

pub(crate) use kept::KeptLoad;
pub(crate) use leftovers::{leftovers, remove};

use crate::config::Root;
use crate::names::segment;
use crate::once::Folder;
use crate::storage::storage_error;

/// The folder of all loads of a table, below the table's.
const FOLDER: &str = "_datakit/unfinished";
const PLAN: &str = "plan.json";
const OWNER: &str = "owner-";
const PART: &str = "part-";
/// Records that are read, and files that are looked for, at one time.
const MAX_REQUESTS: usize = 16;
/// A process gives a sign of life so often.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// A process without a sign of life for so long is dead, where no lock says so.
const LIVE: Duration = Duration::from_secs(600);

/// Finished partitions that were kept at one time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The plan's id.
    plan: String,
    /// The columns that the table is partitioned by, and those of the files: other files do not fit them.
    form: Vec<String>,
    partitions: Vec<Kept>,
}

/// A finished partition and its files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    partition: FinishedPartition,
    files: Vec<KeptFile>,
}

/// [`DataFile`]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptFile {
    name: String,
    folder: String,
    values: Vec<Option<String>>,
    bytes: u64,
    rows: u64,
    statistics: String,
}

impl From<DataFile> for KeptFile {
    fn from(file: DataFile) -> Self {
        let DataFile { name, folder, bytes, rows, statistics } = file;
        Self { name, folder: folder.path.clone(), values: folder.values.clone(), bytes, rows, statistics }
    }
}

impl From<KeptFile> for DataFile {
    fn from(file: KeptFile) -> Self {
        let KeptFile { name, folder, values, bytes, rows, statistics } = file;
        Self { name, folder: Arc::new(DataFolder { path: folder, values }), bytes, rows, statistics }
    }
}

/// Who works on a load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Owner {
    /// The load is being removed: nobody goes on with it.
    #[serde(default)]
    removes: bool,
}

/// What a folder holds.
struct Found {
    /// None: there is none that can be read.
    plan: Option<LoadPlan>,
    /// The plan's finished partitions, by their ordinals.
    finished: BTreeMap<u32, (Vec<String>, Kept)>,
    /// Every file that a record names, also of partitions that were finished twice.
    files: Vec<KeptFile>,
    /// The number of the newest owner; 0: there is none.
    owner: u32,
    /// The newest owner removes the load.
    is_removed: bool,
    /// The newest change of a file.
    last_sign: DateTime<Utc>,
}

impl Found {
    /// Time since the last sign of life; none where a clock is behind.
    fn age(&self) -> Duration {
        (Utc::now() - self.last_sign).to_std().unwrap_or_default()
    }

    /// Whether a process may go on with the load.
    fn is_usable(&self) -> bool {
        !self.is_removed && self.age() < RETENTION
    }
}

/// The folder of a load.
fn folder(root: &Root, run_id: &str, fingerprint: &str) -> Result<Folder, SinkError> {
    let path = format!("{FOLDER}/{}/{}", segment("run", run_id)?, segment("load", fingerprint)?);
    at(root, path)
}

fn at(root: &Root, path: String) -> Result<Folder, SinkError> {
    let store = root.log()?.object_store(None);
    Ok(Folder { store, directory: root.local().cloned(), location: root.to_string(), path })
}

/// What processes before have left of a run's load.
pub(crate) async fn unfinished(root: &Root, run_id: &str, fingerprint: &str) -> Result<Unfinished, SinkError> {
    let own = folder(root, run_id, fingerprint)?;
    let of_run = at(root, format!("{FOLDER}/{}", segment("run", run_id)?))?;
    let mut unfinished = Unfinished::default();
    for path in folders_below(&of_run).await? {
        let found = match path == own.path {
            true => read(&own).await?.filter(Found::is_usable),
            false => None,
        };
        match found.and_then(|found| Some((found.plan?, found.finished))) {
            Some((plan, finished)) => {
                unfinished.load = Some((plan, finished.into_values().map(|(_, kept)| kept.partition).collect()));
            }
            None => unfinished.others += 1,
        }
    }
    Ok(unfinished)
}

/// The folders of loads in or below a folder, in the order of their names.
async fn folders_below(folder: &Folder) -> Result<Vec<String>, SinkError> {
    let failed = |error| storage_error("list", &folder.place(""), error);
    let prefix = StorePath::from(folder.path.as_str());
    let objects: Vec<_> = folder.store.list(Some(&prefix)).try_collect().await.map_err(failed)?;
    let parent = |path: &StorePath| path.as_ref().rsplit_once('/').map(|(parent, _)| parent.to_owned());
    let mut folders: Vec<String> = objects.iter().filter_map(|object| parent(&object.location)).collect();
    folders.sort_unstable();
    folders.dedup();
    Ok(folders)
}

/// What is in a folder; none: nothing. A file that cannot be understood counts as not there: it was cut off by a power failure, or a
/// later release wrote it.
async fn read(folder: &Folder) -> Result<Option<Found>, SinkError> {
    let failed = |error| storage_error("list", &folder.place(""), error);
    let prefix = StorePath::from(folder.path.as_str());
    let objects: Vec<_> = folder.store.list(Some(&prefix)).try_collect().await.map_err(failed)?;
    let Some(last_sign) = objects.iter().map(|object| object.last_modified).max() else { return Ok(None) };
    let names = objects.iter().filter_map(|object| object.location.filename().map(str::to_owned));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    let plan: Option<LoadPlan> = parsed(folder, PLAN).await?;
    let plan = plan.filter(|plan| plan.version == LoadPlan::VERSION);
    let owner = names.iter().filter_map(|name| number(name, OWNER)).max().unwrap_or_default();
    let newest: Option<Owner> = if owner > 0 { parsed(folder, &owner_name(owner)).await? } else { None };
    names.retain(|name| name.starts_with(PART));
    let reading = futures::stream::iter(names).map(|name| async move { parsed::<Record>(folder, &name).await });
    let records: Vec<Option<Record>> = reading.buffered(MAX_REQUESTS).try_collect().await?;
    let (mut finished, mut files) = (BTreeMap::new(), Vec::new());
    for Record { plan: id, form, partitions } in records.into_iter().flatten() {
        let is_of_plan = plan.as_ref().is_some_and(|plan| plan.id == id);
        for kept in partitions {
            files.extend(kept.files.iter().filter(|file| is_own(&file.name)).cloned());
            if is_of_plan {
                finished.entry(kept.partition.ordinal).or_insert_with(|| (form.clone(), kept));
            }
        }
    }
    let is_removed = newest.is_some_and(|newest| newest.removes);
    Ok(Some(Found { plan, finished, files, owner, is_removed, last_sign }))
}

async fn parsed<T: serde::de::DeserializeOwned>(folder: &Folder, name: &str) -> Result<Option<T>, SinkError> {
    let failed = |error| storage_error("read", &folder.place(name), error);
    let bytes = match folder.store.get(&folder.file(name)).await {
        Ok(found) => found.bytes().await.map_err(failed)?,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    Ok(match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(file = %folder.place(name), %error, "a file of an unfinished load cannot be read: it is not used");
            None
        }
    })
}

fn owner_name(number: u32) -> String {
    format!("{OWNER}{number:05}.json")
}

fn number(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.strip_suffix(".json")?.parse().ok()
}

/// Whether a name is one of a data file of the table's folder, and of nothing else.
fn is_own(name: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name.ends_with(".parquet") && !name.starts_with('_') && name.split('/').all(is_plain)
}

/// Whether a process holds the lock of an owner's file; none: nobody can say.
fn is_locked(folder: &Folder, owner: u32) -> Option<bool> {
    let path = folder.directory.as_ref()?.join(&folder.path).join(owner_name(owner));
    match File::open(path).ok()?.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_files_below_the_table_are_own() {
        for name in ["part-1.parquet", "day=2026-01-01/part-1.zstd.parquet", "a=%2F/b=_/p.parquet"] {
            assert!(is_own(name), "{name}");
        }
        for name in
            ["../p.parquet", "a/../../p.parquet", "/p.parquet", "_delta_log/p.parquet", "p.json", "a//p.parquet"]
        {
            assert!(!is_own(name), "{name}");
        }
    }

    #[test]
    fn numbers_are_read_from_names() {
        assert_eq!(number(&owner_name(7), OWNER), Some(7));
        assert_eq!(number("part-00001-00002.json", OWNER), None);
    }
}

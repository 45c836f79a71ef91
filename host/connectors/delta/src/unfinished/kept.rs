//! A load that a process works on.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use datakit_connect::sink::SinkError;
use datakit_model::resume::{FinishedPartition, LoadPlan};
use datakit_parquet::DataFile;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStoreExt as _};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{
    Found, HEARTBEAT, Kept, KeptFile, MAX_REQUESTS, Owner, PART, PLAN, Record, folder, is_locked, owner_name, parsed,
    read,
};
use crate::config::Root;
use crate::once::{Created, Folder};
use crate::storage::storage_error;

/// The files of partitions, by their ordinals.
type Files = BTreeMap<u32, Vec<DataFile>>;

/// A load whose finished partitions are kept.
pub(crate) struct KeptLoad {
    folder: Folder,
    plan: Arc<LoadPlan>,
    /// What the table's files must share.
    form: Vec<String>,
    /// What processes before have finished.
    pub(crate) finished: Vec<FinishedPartition>,
    claim: Mutex<Claim>,
}

/// Whose the load is.
enum Claim {
    /// Nothing is written yet.
    None,
    /// This process's.
    Own(Claimed),
    /// Another process has begun the same load: this one keeps nothing.
    Foreign,
}

struct Claimed {
    owner: u32,
    /// Records written.
    records: u32,
    _heartbeat: Heartbeat,
    /// Of this machine: it holds the lock, and nothing else keeps it open.
    _file: Option<Arc<File>>,
}

/// Tells that the process lives, until it is dropped.
struct Heartbeat(JoinHandle<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl KeptLoad {
    /// Takes over what processes before have left of the load, whose files are there. Nothing is written for a load that begins.
    ///
    /// # Errors
    /// Another process works on the load; the store cannot be read or written.
    pub(crate) async fn open(root: &Root, plan: &Arc<LoadPlan>, form: Vec<String>) -> Result<(Self, Files), SinkError> {
        let folder = folder(root, &plan.run_id, &plan.fingerprint)?;
        let plan = Arc::clone(plan);
        let mut load = Self { folder, plan, form, finished: Vec::new(), claim: Mutex::new(Claim::None) };
        let Some(found) = read(&load.folder).await? else { return Ok((load, Files::new())) };
        if found.is_usable() && found.plan.as_ref().is_some_and(|there| there.id == load.plan.id) {
            let files = load.take_over(found).await?;
            return Ok((load, files));
        }
        load.claim = Mutex::new(Claim::Foreign);
        Ok((load, Files::new()))
    }

    async fn take_over(&mut self, found: Found) -> Result<Files, SinkError> {
        if found.owner > 0 && is_locked(&self.folder, found.owner) == Some(true) {
            return Err(self.taken());
        }
        let claimed = claim(&self.folder, found.owner + 1, Owner::default()).await?.ok_or_else(|| self.taken())?;
        self.claim = Mutex::new(Claim::Own(claimed));
        let fitting = found.finished.into_values().filter(|(form, _)| *form == self.form);
        let looking = futures::stream::iter(fitting).map(|(_, kept)| self.with_files(kept));
        let there: Vec<Option<Kept>> = looking.buffered(MAX_REQUESTS).try_collect().await?;
        let mut files = Files::new();
        for Kept { partition, files: of_partition } in there.into_iter().flatten() {
            files.insert(partition.ordinal, of_partition.into_iter().map(DataFile::from).collect());
            self.finished.push(partition);
        }
        Ok(files)
    }

    /// A partition, if all of its files are there as they were written.
    async fn with_files(&self, kept: Kept) -> Result<Option<Kept>, SinkError> {
        for KeptFile { name, bytes, .. } in &kept.files {
            let path = StorePath::parse(name).unwrap_or_else(|_| StorePath::from(name.as_str()));
            match self.folder.store.head(&path).await {
                Ok(there) if there.size == *bytes => {}
                Ok(_) | Err(StoreError::NotFound { .. }) => {
                    let (location, ordinal) = (&self.folder.location, kept.partition.ordinal);
                    tracing::warn!(%location, ordinal, file = %name, "a file of a finished partition is gone: it is read again");
                    return Ok(None);
                }
                Err(error) => return Err(storage_error("read", &self.folder.location, error)),
            }
        }
        Ok(Some(kept))
    }

    fn taken(&self) -> SinkError {
        SinkError::LoadTaken { location: self.folder.location.clone(), run_id: self.plan.run_id.clone() }
    }

    /// Whether the load is this process's to keep: nothing else has begun it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) async fn is_own(&self) -> Result<bool, SinkError> {
        let mut claim = self.claim.lock().await;
        if matches!(*claim, Claim::None) {
            *claim = self.begin().await?;
        }
        Ok(matches!(*claim, Claim::Own(_)))
    }

    /// Keeps finished partitions of a load that is this process's.
    ///
    /// # Errors
    /// Another process has taken the load over; the store cannot be written.
    pub(crate) async fn keep(&self, partitions: Vec<(FinishedPartition, Vec<DataFile>)>) -> Result<(), SinkError> {
        let mut claim = self.claim.lock().await;
        let Claim::Own(claimed) = &mut *claim else { return Ok(()) };
        self.check_owner(claimed.owner).await?;
        let kept = partitions
            .into_iter()
            .map(|(partition, files)| Kept { partition, files: files.into_iter().map(KeptFile::from).collect() });
        let record = Record { plan: self.plan.id.clone(), form: self.form.clone(), partitions: kept.collect() };
        claimed.records += 1;
        let name = format!("{PART}{:05}-{:05}.json", claimed.owner, claimed.records);
        self.folder.create(&name, json(&self.folder, &name, &record)?).await?;
        Ok(())
    }

    /// Writes the plan, if no other process has done so.
    async fn begin(&self) -> Result<Claim, SinkError> {
        if let Created::Taken = self.folder.create(PLAN, json(&self.folder, PLAN, self.plan.as_ref())?).await? {
            // An attempt before whose answer was lost may have written it.
            let there: Option<LoadPlan> = parsed(&self.folder, PLAN).await?;
            if there.is_none_or(|there| there.id != self.plan.id) {
                return Ok(Claim::Foreign);
            }
        }
        Ok(claim(&self.folder, 1, Owner::default()).await?.map_or(Claim::Foreign, Claim::Own))
    }

    /// Whether this process may commit: no other one has taken the load over.
    ///
    /// # Errors
    /// Another process has; the store cannot be read.
    pub(crate) async fn check(&self) -> Result<(), SinkError> {
        match &*self.claim.lock().await {
            Claim::Own(claimed) => self.check_owner(claimed.owner).await,
            Claim::None | Claim::Foreign => Ok(()),
        }
    }

    async fn check_owner(&self, owner: u32) -> Result<(), SinkError> {
        let next = owner_name(owner + 1);
        match self.folder.store.head(&self.folder.file(&next)).await {
            Ok(_) => Err(self.taken()),
            Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error("read", &self.folder.place(&next), error)),
        }
    }

    /// The load is committed: nothing of it is needed any more. What cannot be removed counts for nobody.
    pub(crate) async fn remove(&self) {
        let claim = std::mem::replace(&mut *self.claim.lock().await, Claim::Foreign);
        if !matches!(claim, Claim::Own(_)) {
            return;
        }
        drop(claim);
        if let Err(error) = remove_files(&self.folder).await {
            let location = &self.folder.location;
            tracing::warn!(%location, %error, "committed, but what was kept of the unfinished load cannot be removed");
        }
    }
}

/// Makes this process the owner of a number; none: another one has it. The owner gives signs of life until it is dropped.
async fn claim(folder: &Folder, owner: u32, document: Owner) -> Result<Option<Claimed>, SinkError> {
    let name = owner_name(owner);
    let bytes = json(folder, &name, &document)?;
    let Created::New(file) = folder.create(&name, bytes.clone()).await? else { return Ok(None) };
    let file = file.map(Arc::new);
    let beats = heartbeat(folder.clone(), name, bytes, file.as_ref().map(Arc::downgrade));
    Ok(Some(Claimed { owner, records: 0, _heartbeat: Heartbeat(tokio::spawn(beats)), _file: file }))
}

async fn heartbeat(folder: Folder, name: String, bytes: Vec<u8>, file: Option<Weak<File>>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let beat = match &file {
            // The file stays the one that is locked.
            Some(file) => {
                let Some(file) = file.upgrade() else { return };
                file.set_modified(SystemTime::now()).map_err(|error| error.to_string())
            }
            None => {
                let put = folder.store.put(&folder.file(&name), bytes.clone().into()).await;
                put.map(drop).map_err(|error| error.to_string())
            }
        };
        if let Err(error) = beat {
            tracing::warn!(file = %folder.place(&name), %error, "an unfinished load gives no sign of life");
        }
    }
}

/// Takes a load from whoever worked on it, so that nobody goes on with it. False: somebody else was faster.
pub(super) async fn claim_removal(folder: &Folder, owner: u32) -> Result<bool, SinkError> {
    let name = owner_name(owner);
    let bytes = json(folder, &name, &Owner { removes: true })?;
    Ok(matches!(folder.create(&name, bytes).await?, Created::New(_)))
}

/// Removes all files of a load's folder: what says whose it is last.
pub(super) async fn remove_files(folder: &Folder) -> Result<(), SinkError> {
    let failed = |error| storage_error("remove", &folder.place(""), error);
    let prefix = StorePath::from(folder.path.as_str());
    let objects: Vec<_> = folder.store.list(Some(&prefix)).try_collect().await.map_err(failed)?;
    let mut paths: Vec<StorePath> = objects.into_iter().map(|object| object.location).collect();
    // `part-`, `plan.json` before `owner-`.
    paths.sort_unstable_by(|a, b| b.as_ref().cmp(a.as_ref()));
    for path in paths {
        match folder.store.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    folder.remove_empty();
    Ok(())
}

fn json(folder: &Folder, name: &str, value: &impl Serialize) -> Result<Vec<u8>, SinkError> {
    let invalid =
        |error: serde_json::Error| SinkError::Encode { location: folder.place(name), source: Box::new(error) };
    serde_json::to_vec(value).map_err(invalid)
}

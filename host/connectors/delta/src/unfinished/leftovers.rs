//! What dead processes have left of loads that are not committed.

use std::collections::HashSet;
use std::time::Duration;

use datakit_connect::sink::SinkError;
use datakit_model::TableId;
use datakit_model::resume::{Leftover, Stays};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStoreExt as _};

use super::kept::{claim_removal, remove_files};
use super::{FOLDER, Found, LIVE, MAX_REQUESTS, at, folders_below, is_locked, read};
use crate::commit::Log;
use crate::config::Root;
use crate::once::Folder;
use crate::storage::storage_error;

/// The loads of a table that are not committed, and whether each may be removed.
pub(crate) async fn leftovers(
    root: &Root,
    (source_system, table): (&str, &TableId),
    older_than: Duration,
) -> Result<Vec<Leftover>, SinkError> {
    let mut leftovers = Vec::new();
    for path in folders_below(&at(root, FOLDER.to_owned())?).await? {
        let folder = at(root, path.clone())?;
        let Some(found) = read(&folder).await? else { continue };
        leftovers.push(Leftover {
            id: path,
            source_system: source_system.to_owned(),
            table: table.clone(),
            run_id: found.plan.as_ref().map(|plan| plan.run_id.clone()),
            place: folder.place("").trim_end_matches('/').to_owned(),
            partitions: found.finished.len(),
            rows: found.files.iter().map(|file| file.rows).sum(),
            bytes: found.files.iter().map(|file| file.bytes).sum(),
            age_seconds: found.age().as_secs(),
            stays: stays(&folder, &found, older_than),
        });
    }
    Ok(leftovers)
}

fn stays(folder: &Folder, found: &Found, older_than: Duration) -> Option<Stays> {
    let locked = if found.owner > 0 { is_locked(folder, found.owner) } else { None };
    if locked.unwrap_or(found.age() < LIVE) {
        return Some(Stays::Live);
    }
    // A removal that was broken off is completed.
    (!found.is_removed && found.age() < older_than).then_some(Stays::Resumable)
}

/// Removes a load and the files that it names. False: it is gone, or a process works on it by now. Files that an entry of the table's
/// log names stay.
pub(crate) async fn remove(root: &Root, log: &Log, id: &str) -> Result<bool, SinkError> {
    if !id.starts_with(&format!("{FOLDER}/")) {
        return Ok(false);
    }
    let folder = at(root, id.to_owned())?;
    let Some(found) = read(&folder).await? else { return Ok(false) };
    if stays(&folder, &found, Duration::ZERO) == Some(Stays::Live) {
        return Ok(false);
    }
    // From here on nobody goes on with the load, so that no later commit names its files.
    if !claim_removal(&folder, found.owner + 1).await? {
        return Ok(false);
    }
    // What was kept last by whoever worked on it.
    let Some(found) = read(&folder).await? else { return Ok(false) };
    let named = log.named_files().await?;
    let unnamed = found.files.iter().map(|file| file.name.clone()).filter(|name| !named.contains(last_part(name)));
    let unnamed: HashSet<String> = unnamed.collect();
    let store = &folder.store;
    let removing = futures::stream::iter(unnamed).map(|name| async move {
        let path = StorePath::parse(&name).unwrap_or_else(|_| StorePath::from(name.as_str()));
        match store.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error("remove", &format!("{root}/{name}"), error)),
        }
    });
    removing.buffer_unordered(MAX_REQUESTS).try_collect::<Vec<()>>().await?;
    for file in &found.files {
        Folder { path: file.folder.clone(), ..folder.clone() }.remove_empty();
    }
    remove_files(&folder).await?;
    log.remove_empty_directory();
    Ok(true)
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

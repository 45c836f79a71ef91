//! The tables below a root, found by their folders.

use std::sync::Arc;

use datakit_connect::sink::SinkError;
use datakit_model::TableId;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStore};

use super::config::Root;
use super::names::source_segment;
use crate::storage::storage_error;

/// Folders that are listed at one time.
const MAX_LISTINGS: usize = 16;
/// Source system, catalog, schema, table.
const MAX_SEGMENTS: usize = 4;
/// The same without a catalog.
const MIN_SEGMENTS: usize = 3;

/// A folder below the root, by the names that its path stands for.
struct Folder {
    path: StorePath,
    names: Vec<String>,
}

/// The tables that have a log, each with its source system, in the order of their names.
pub(crate) async fn tables(root: &Root) -> Result<Vec<(String, TableId)>, SinkError> {
    with_any_of(root, &["_delta_log"]).await
}

/// The same, and those of which no load was committed yet.
pub(crate) async fn begun(root: &Root) -> Result<Vec<(String, TableId)>, SinkError> {
    with_any_of(root, &["_delta_log", "_datakit"]).await
}

async fn with_any_of(root: &Root, folders: &[&str]) -> Result<Vec<(String, TableId)>, SinkError> {
    let failed = |error| storage_error("list", &root.to_string(), error);
    let (store, path) = open(root).map_err(failed)?;
    let mut level = vec![Folder { path, names: Vec::new() }];
    let mut tables = Vec::new();
    while !level.is_empty() {
        let listing = futures::stream::iter(level).map(|folder| list(&store, folder));
        let listed: Vec<_> = listing.buffered(MAX_LISTINGS).try_collect().await.map_err(failed)?;
        level = Vec::new();
        for (folder, below) in listed {
            let is_table = below.iter().any(|path| path.filename().is_some_and(|name| folders.contains(&name)));
            match table(&folder.names).filter(|_| is_table) {
                Some(table) => tables.push(table),
                None if folder.names.len() < MAX_SEGMENTS => level.extend(below.into_iter().filter_map(|path| {
                    let name = source_segment(path.filename()?)?;
                    Some(Folder { path, names: [folder.names.as_slice(), &[name]].concat() })
                })),
                None => {}
            }
        }
    }
    tables.sort();
    Ok(tables)
}

/// The store that a root is in, and the root's path there.
pub(crate) fn open(root: &Root) -> object_store::Result<(Arc<dyn ObjectStore>, StorePath)> {
    match root {
        Root::Local(path) => Ok((Arc::new(LocalFileSystem::new()), StorePath::from_absolute_path(path)?)),
        Root::Store(url, store) => Ok((Arc::clone(store), StorePath::from_url_path(url.path())?)),
    }
}

/// The folders in a folder; none where it is missing.
async fn list(store: &Arc<dyn ObjectStore>, folder: Folder) -> object_store::Result<(Folder, Vec<StorePath>)> {
    match store.list_with_delimiter(Some(&folder.path)).await {
        Ok(listed) => Ok((folder, listed.common_prefixes)),
        Err(StoreError::NotFound { .. }) => Ok((folder, Vec::new())),
        Err(error) => Err(error),
    }
}

fn table(names: &[String]) -> Option<(String, TableId)> {
    let (system, rest) = names.split_first()?;
    let (name, rest) = rest.split_last()?;
    let (schema, rest) = rest.split_last()?;
    let catalog = (names.len() > MIN_SEGMENTS).then(|| rest.first().cloned()).flatten();
    Some((system.clone(), TableId { catalog, ..TableId::new(schema, name) }))
}

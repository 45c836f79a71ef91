//! Files that are written once: never seen half-written, and on the disk before something names them.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datakit_connect::sink::SinkError;
use object_store::path::Path as StorePath;
use object_store::{Error as StoreError, ObjectStore, PutMode, PutOptions};

use crate::storage::{io_error, storage_error};

/// Where files of a table are written.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    /// Of the table's folder.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The table's folder, when it is one of this machine.
    pub(crate) directory: Option<PathBuf>,
    /// The table, for people.
    pub(crate) location: String,
    /// Below the table's, with `/` between its parts.
    pub(crate) path: String,
}

/// What became of a file.
pub(crate) enum Created {
    /// It is there; of a file of this machine its handle, locked until it is dropped.
    New(Option<File>),
    /// There was one of this name.
    Taken,
}

impl Folder {
    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> StorePath {
        StorePath::from(self.path.as_str()).join(name)
    }

    /// The same, for people.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.location.trim_end_matches('/'), self.path)
    }

    /// Writes a file, if there is none of its name.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Created, SinkError> {
        let Some(directory) = self.directory.clone() else {
            let options = PutOptions::from(PutMode::Create);
            return match self.store.put_opts(&self.file(name), bytes.into(), options).await {
                Ok(_) => Ok(Created::New(None)),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(Created::Taken),
                Err(error) => Err(storage_error("write", &self.place(name), error)),
            };
        };
        let (path, file) = (self.path.clone(), name.to_owned());
        let writing = tokio::task::spawn_blocking(move || create_file(&directory, &path, &file, &bytes)).await;
        let created = writing.unwrap_or_else(|error| Err(io::Error::other(error)));
        created.map_err(|error| io_error("write", &self.place(name), error))
    }

    /// Removes it and the folders around it, as far as they are empty, when they are of this machine.
    pub(crate) fn remove_empty(&self) {
        let Some(directory) = &self.directory else { return };
        for path in Path::new(&self.path).ancestors().filter(|path| !path.as_os_str().is_empty()) {
            // Fails, as it should, when something is in it.
            if std::fs::remove_dir(directory.join(path)).is_err() {
                return;
            }
        }
    }
}

/// Each flush of a file or folder costs as much as a small table's rows, so that only what is new is flushed. The table's own folder
/// is flushed with the commit.
fn create_file(table: &Path, folder: &str, name: &str, bytes: &[u8]) -> io::Result<Created> {
    let folder = table.join(folder);
    let is_new = |path: &&Path| *path != table && !path.exists();
    let parents = folder.ancestors().take_while(is_new).filter_map(Path::parent);
    let parents: Vec<&Path> = parents.filter(|path| *path != table).collect();
    std::fs::create_dir_all(&folder)?;
    let mut file = tempfile::Builder::new()
        // As any other file: what others may do is the umask's affair.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(&folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    // A file system without locks gives none: then the time of the file alone says who is at work.
    let _ = file.as_file().try_lock();
    let file = match file.persist_noclobber(folder.join(name)) {
        Ok(file) => file,
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::Taken),
        Err(refused) => return Err(refused.error),
    };
    for folder in std::iter::once(folder.as_path()).chain(parents) {
        File::open(folder)?.sync_all()?;
    }
    Ok(Created::New(Some(file)))
}

//! The folder or object store: what is there, and bytes of it.

mod left_out;
mod local;
mod remote;

use std::sync::Arc;

use bytes::Bytes;

use self::local::Folder;
use self::remote::Prefix;
use super::config::{FilesConfig, Root};
use super::error::FilesError;

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Below the root, parted by `/`.
    pub(super) path: String,
    /// In bytes.
    pub(super) size: u64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub(super) modified_micros: i64,
    /// Equal as long as the content is: the store's tag, or time and size.
    pub(super) version: String,
}

/// Where files are.
#[derive(Debug)]
pub(super) enum Storage {
    Folder(Arc<Folder>),
    Prefix(Prefix),
}

/// A file that is open for reading.
pub(super) enum OpenFile {
    Local(local::LocalFile),
    Remote(remote::Object),
}

impl Storage {
    /// Contacts nothing.
    pub(super) fn new(config: &FilesConfig) -> Result<Self, FilesError> {
        Ok(match &config.root {
            Root::Folder(path) => Self::Folder(Arc::new(Folder::new(path))),
            Root::Store(url) => Self::Prefix(Prefix::new(url, &config.store)?),
        })
    }

    /// Whether the root can be listed; looks at no more than its first entry.
    pub(super) async fn reach(&self) -> Result<(), FilesError> {
        match self {
            Self::Folder(folder) => {
                let folder = Arc::clone(folder);
                let look = tokio::task::spawn_blocking(move || folder.reach());
                look.await.map_err(|crash| FilesError::Internal(crash.to_string()))?
            }
            Self::Prefix(prefix) => prefix.reach().await,
        }
    }

    /// All files below the root, by their paths.
    pub(super) async fn list(&self, max_files: u64) -> Result<Vec<FoundFile>, FilesError> {
        let mut files = match self {
            Self::Folder(folder) => {
                let folder = Arc::clone(folder);
                let walk = tokio::task::spawn_blocking(move || folder.list(max_files));
                walk.await.map_err(|crash| FilesError::Internal(crash.to_string()))??
            }
            Self::Prefix(prefix) => prefix.list(max_files).await?,
        };
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Opens a file and says what it is now.
    pub(super) async fn open(&self, path: &str) -> Result<(OpenFile, FoundFile), FilesError> {
        match self {
            Self::Folder(folder) => {
                let (folder, path) = (Arc::clone(folder), path.to_owned());
                let open = tokio::task::spawn_blocking(move || folder.open(&path));
                let (file, found) = open.await.map_err(|crash| FilesError::Internal(crash.to_string()))??;
                Ok((OpenFile::Local(file), found))
            }
            Self::Prefix(prefix) => {
                let (object, found) = prefix.open(path).await?;
                Ok((OpenFile::Remote(object), found))
            }
        }
    }
}

impl OpenFile {
    /// At most `length` bytes from `offset` on; fewer at the end that the file had when it was opened, and there alone.
    pub(super) async fn read(&self, offset: u64, length: usize) -> Result<Bytes, FilesError> {
        match self {
            Self::Remote(object) => object.read(offset, length).await,
            Self::Local(file) => file.read(offset, length),
        }
    }

    /// Whether the file is still the one that was opened, so that what was read of it is of one version.
    pub(super) async fn check(&self) -> Result<(), FilesError> {
        match self {
            Self::Remote(object) => object.check().await,
            Self::Local(file) => file.check(),
        }
    }
}

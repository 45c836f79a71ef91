//! What an operator says about files.

use std::path::PathBuf;

use datakit_model::ReadLimits;
use datakit_stores::StoreOptions;
use url::Url;

use super::error::FilesError;
use super::tables::TableRules;

/// Everything that a source of files needs to know.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// Where the files are; nothing outside of it is read.
    pub root: Root,
    /// Which file belongs to which table.
    pub tables: TableRules,
    /// How to reach and log in to an object store.
    pub store: StoreOptions,
    /// How rows are cut into batches.
    pub read: ReadLimits,
    /// Files below the root, at most.
    pub max_files: u64,
    /// A longer record is a bad row, and is not kept in memory. In bytes, after decompression and as UTF-8.
    pub max_line_bytes: usize,
    /// The maximum decompression ratio of a file that decompresses to more than [`Self::EXPANSION_FLOOR_BYTES`].
    pub max_expansion: u64,
}

impl FilesConfig {
    /// A file that is decompressed to less is no danger, whatever its size was.
    pub const EXPANSION_FLOOR_BYTES: u64 = 64 << 20;

    /// With defaults for all but the root.
    #[must_use]
    pub fn new(root: Root) -> Self {
        Self {
            root,
            tables: TableRules::default(),
            store: StoreOptions::default(),
            read: ReadLimits::default(),
            max_files: 100_000,
            max_line_bytes: 4 << 20,
            max_expansion: 1_000,
        }
    }
}

/// Where files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket or container, and the start of the paths in it.
    Store(Url),
}

impl Root {
    /// A folder's path, `file://` included, or the URL of an object store.
    ///
    /// # Errors
    /// A URL of another kind.
    pub fn parse(text: &str) -> Result<Self, FilesError> {
        let refuse = |reason: &str| FilesError::Root { root: text.to_owned(), reason: reason.to_owned() };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if !text.contains("://") {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|error| refuse(&error.to_string()))?;
        if url.scheme() == "file" {
            return url.to_file_path().map(Self::Folder).map_err(|()| refuse("it names no folder of this machine"));
        }
        if !datakit_stores::is_known(url.scheme()) || url.cannot_be_a_base() {
            return Err(refuse(&format!("files are not read by `{}://`", url.scheme())));
        }
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a password, query or fragment has no place in it"));
        }
        Ok(Self::Store(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_folders_and_stores() {
        assert_eq!(Root::parse("./in").unwrap(), Root::Folder("./in".into()));
        assert_eq!(Root::parse("file:///in").unwrap(), Root::Folder("/in".into()));
        assert!(matches!(Root::parse("s3://bucket/in").unwrap(), Root::Store(_)));
        assert!(matches!(Root::parse("abfss://c@a.dfs.core.windows.net/in").unwrap(), Root::Store(_)));
        for wrong in ["", "http://x/y", "s3://user:secret@bucket/x", "s3://bucket/x?sig=secret", "s3:bucket://"] {
            let error = Root::parse(wrong).unwrap_err();
            assert!(!error.to_string().is_empty(), "{wrong}");
        }
    }
}

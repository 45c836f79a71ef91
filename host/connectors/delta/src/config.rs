//! Where a Delta sink writes and how.

use std::path::PathBuf;

use datakit_stores::StoreOptions;
use deltalake::logstore::{LogStoreRef, ObjectStoreRef, StorageConfig, logstore_for, logstore_with};

use url::Url;

use super::stores;
use datakit_connect::sink::SinkError;

const MIB: u64 = 1024 * 1024;

/// Settings of a [`DeltaSink`](super::DeltaSink).
#[derive(Debug, Clone)]
pub struct DeltaConfig {
    /// The root of all tables: a directory, relative to the working directory or not, or a URL of `file`, `s3`, `abfss`
    /// or `az`.
    pub uri: String,
    /// How an object store is reached.
    pub store: StoreOptions,
    /// A row group is closed at about this encoded size, in bytes. One is held in memory for each partition being written.
    pub row_group_bytes: u64,
    /// About what all row groups being encoded hold in memory at one time, in bytes; the largest are closed early to keep to it.
    pub max_encoding_bytes: u64,
    /// About what the rows of a load that is merged hold in memory while they are reduced to one a key, in bytes; a larger load is
    /// reduced in parts.
    pub max_merge_bytes: u64,
    /// A file is closed after the batch with which it reaches this size, in bytes.
    pub max_file_bytes: u64,
    /// Files open at one time for each partition being written, of a table that is partitioned by columns.
    pub max_open_files: usize,
    /// Level of zstd, 1 to 22.
    pub compression_level: i32,
    /// A checkpoint is written every this many commits, for tables that the sink creates.
    pub checkpoint_interval: u32,
}

impl DeltaConfig {
    /// The defaults for tables under `uri`.
    #[must_use]
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            store: StoreOptions::default(),
            row_group_bytes: 16 * MIB,
            max_encoding_bytes: 16 * MIB,
            max_merge_bytes: 64 * MIB,
            max_file_bytes: 256 * MIB,
            max_open_files: 64,
            compression_level: 1,
            checkpoint_interval: 10,
        }
    }
}

/// The parsed root of all tables.
#[derive(Clone)]
pub(crate) enum Root {
    /// A directory of this machine, absolute.
    Local(PathBuf),
    /// A place in an object store, and the client of its bucket.
    Store(Url, ObjectStoreRef),
}

impl Root {
    pub(crate) fn parse(uri: &str, options: &StoreOptions) -> Result<Self, SinkError> {
        let refuse = |reason: String| SinkError::Uri { uri: uri.to_owned(), reason };
        if uri.trim().is_empty() {
            return Err(refuse("it is empty".into()));
        }
        if !uri.contains("://") {
            return std::path::absolute(uri).map(Self::Local).map_err(|e| refuse(e.to_string()));
        }
        let url = Url::parse(uri).map_err(|e| refuse(e.to_string()))?;
        if url.scheme() == "file" {
            return url.to_file_path().map(Self::Local).map_err(|()| refuse("it is no path of this machine".into()));
        }
        if !datakit_stores::is_known(url.scheme()) || url.cannot_be_a_base() {
            return Err(refuse(format!("this build has no store for `{}://`", url.scheme())));
        }
        let store = stores::open(&url, options).map_err(|e| refuse(e.to_string()))?;
        Ok(Self::Store(url, store))
    }

    /// The table under the root by the (already mapped) segments of its path.
    pub(crate) fn table(&self, segments: &[String]) -> Result<Self, SinkError> {
        match self {
            Self::Local(path) => {
                Ok(Self::Local(segments.iter().fold(path.clone(), |path, segment| path.join(segment))))
            }
            Self::Store(url, store) => {
                let mut url = url.clone();
                // `parse` refused URLs without a path.
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().extend(segments);
                }
                Ok(Self::Store(url, ObjectStoreRef::clone(store)))
            }
        }
    }

    /// The log of the table here.
    pub(crate) fn log(&self) -> Result<LogStoreRef, SinkError> {
        let log = match self {
            Self::Local(path) => logstore_for(&Self::file_url(path)?, StorageConfig::default()),
            Self::Store(url, store) => logstore_with(ObjectStoreRef::clone(store), url, StorageConfig::default()),
        };
        log.map_err(|e| SinkError::Uri { uri: self.to_string(), reason: e.to_string() })
    }

    fn file_url(path: &PathBuf) -> Result<Url, SinkError> {
        let reason = || "it is no absolute path".to_owned();
        Url::from_directory_path(path)
            .map_err(|()| SinkError::Uri { uri: path.display().to_string(), reason: reason() })
    }

    /// The directory, for a local root.
    pub(crate) fn local(&self) -> Option<&PathBuf> {
        match self {
            Self::Local(path) => Some(path),
            Self::Store(..) => None,
        }
    }
}

impl std::fmt::Debug for Root {
    /// Without the client of a store: what it says of itself holds the keys it logs in with.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Root({self})")
    }
}

impl std::fmt::Display for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Store(url, _) => f.write_str(url.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Root, SinkError> {
        Root::parse(uri, &StoreOptions::default())
    }

    #[test]
    fn paths_and_file_urls_are_the_same_place() {
        let path = parse("/data/bronze").unwrap();
        let url = parse("file:///data/bronze").unwrap();
        assert_eq!(path.to_string(), url.to_string());
        assert!(parse("./bronze").unwrap().local().unwrap().is_absolute());
    }

    #[test]
    fn other_places_are_refused() {
        for uri in ["", "  ", "gs://bucket/x", "s3://", "memory:///", "file://host/x", "nonsense://"] {
            assert!(matches!(parse(uri), Err(SinkError::Uri { .. })), "{uri}");
        }
    }

    #[test]
    fn segments_are_taken_literally() {
        let segments = ["ERP".to_owned(), "a b".to_owned(), "t".to_owned()];
        let table = parse("/data").unwrap().table(&segments).unwrap();
        assert_eq!(table.to_string(), "/data/ERP/a b/t");
        assert_eq!(Root::file_url(table.local().unwrap()).unwrap().as_str(), "file:///data/ERP/a%20b/t/");
        let table = parse("s3://lake/bronze/").unwrap().table(&segments).unwrap();
        assert_eq!(table.to_string(), "s3://lake/bronze/ERP/a%20b/t");
    }
}

//! A prefix of an object store.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use datakit_stores::{OddKeys, StoreOptions};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{Attribute, Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use url::Url;

use super::FoundFile;
use super::left_out::LeftOut;
use crate::error::FilesError;

/// How Hadoop marks an empty object of Azure that stands for a folder.
const FOLDER_METADATA: &str = "hdi_isfolder";
/// Objects that are asked about at one time.
const CONCURRENT_QUESTIONS: usize = 8;

pub(crate) struct Prefix {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For errors.
    root: String,
    odd: OddKeys,
    /// Whether an empty object may be a folder by its metadata.
    has_folder_metadata: bool,
}

impl fmt::Debug for Prefix {
    /// Without the client: what it says of itself holds the keys it logs in with.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefix").field("root", &self.root).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One object, as it was when it was opened.
pub(crate) struct Object {
    store: Arc<dyn ObjectStore>,
    location: Path,
    /// Below the root.
    path: String,
    size: u64,
    tag: Option<String>,
    version: String,
}

impl Prefix {
    pub(super) fn new(url: &Url, options: &StoreOptions) -> Result<Self, FilesError> {
        let refuse = |reason: String| FilesError::Root { root: url.to_string(), reason };
        let odd = OddKeys::default();
        let store = datakit_stores::open_for_listing(url, options, odd.clone());
        let store = store.map_err(|error| refuse(error.to_string()))?;
        let prefix = Path::from_url_path(url.path()).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { store, prefix, root: url.to_string(), odd, has_folder_metadata: url.scheme() != "s3" })
    }

    fn location(&self, path: &str) -> String {
        format!("{}/{path}", self.root.trim_end_matches('/'))
    }

    pub(super) async fn reach(&self) -> Result<(), FilesError> {
        let mut objects = self.store.list(Some(&self.prefix));
        objects.try_next().await.map(drop).map_err(|error| failure(&self.root, error))
    }

    pub(super) async fn list(&self, max_files: u64) -> Result<Vec<FoundFile>, FilesError> {
        let failed = |error| failure(&self.root, error);
        let mut files = Vec::new();
        let mut objects = self.store.list(Some(&self.prefix));
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            if files.len() as u64 >= max_files {
                return Err(FilesError::TooManyFiles { root: self.root.clone(), limit: max_files });
            }
            if let Some(path) = self.below(&object.location) {
                files.push(found(path, &object));
            }
        }
        let mut left_out = LeftOut::default();
        let (count, first) = self.odd.take();
        left_out.note_all("objects whose keys are no paths are left out", count, first);
        left_out.report(&self.root);
        let folders = self.folders(&files).await?;
        files.retain(|file| !folders.contains(&file.path));
        Ok(files)
    }

    /// Empty objects that stand for folders: there are objects below them, or their metadata says it.
    async fn folders(&self, files: &[FoundFile]) -> Result<HashSet<String>, FilesError> {
        let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let has_children = |path: &str| {
            let below = format!("{path}/");
            let next = paths.range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded)).next();
            next.is_some_and(|next| next.starts_with(&below))
        };
        let empty = files.iter().filter(|file| file.size == 0).map(|file| file.path.clone());
        let (with_children, others): (Vec<String>, Vec<String>) = empty.partition(|path| has_children(path));
        let mut folders: HashSet<String> = with_children.into_iter().collect();
        if self.has_folder_metadata {
            for some in others.chunks(CONCURRENT_QUESTIONS) {
                let answers = try_join_all(some.iter().map(|path| self.is_folder(path))).await?;
                folders
                    .extend(some.iter().zip(answers).filter(|(_, is_folder)| *is_folder).map(|(path, _)| path.clone()));
            }
        }
        Ok(folders)
    }

    /// Whether the metadata of an object says that it is a folder.
    async fn is_folder(&self, path: &str) -> Result<bool, FilesError> {
        let Ok(below) = Path::parse(path) else { return Ok(false) };
        let location: Path = self.prefix.parts().chain(below.parts()).collect();
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&location, options).await {
            Ok(found) => {
                let marker = found.attributes.get(&Attribute::Metadata(FOLDER_METADATA.into()));
                Ok(marker.is_some_and(|value| AsRef::<str>::as_ref(value).eq_ignore_ascii_case("true")))
            }
            // Moved away meanwhile.
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failure(&self.location(path), error)),
        }
    }

    /// The path below the root.
    fn below(&self, location: &Path) -> Option<String> {
        let rest = location.as_ref().strip_prefix(self.prefix.as_ref())?;
        let rest = if self.prefix.as_ref().is_empty() { rest } else { rest.strip_prefix('/')? };
        (!rest.is_empty()).then(|| rest.to_owned())
    }

    pub(super) async fn open(&self, path: &str) -> Result<(Object, FoundFile), FilesError> {
        let refuse = || FilesError::NotGranted { path: path.to_owned(), why: "it is no path of an object store" };
        let below = Path::parse(path).map_err(|_| refuse())?;
        let location: Path = self.prefix.parts().chain(below.parts()).collect();
        // Whatever the parts became on the way, they stay below the root.
        if self.below(&location).as_deref() != Some(path) {
            return Err(refuse());
        }
        let meta = self.store.head(&location).await.map_err(|error| failure(&self.location(path), error))?;
        let found = found(path.to_owned(), &meta);
        let object = Object {
            store: Arc::clone(&self.store),
            location,
            path: path.to_owned(),
            size: meta.size,
            tag: meta.e_tag,
            version: found.version.clone(),
        };
        Ok((object, found))
    }
}

impl Object {
    pub(super) async fn read(&self, offset: u64, length: usize) -> Result<Bytes, FilesError> {
        if offset >= self.size {
            return Ok(Bytes::new());
        }
        let end = self.size.min(offset + length as u64);
        // Each range is of the version that was opened.
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..end)),
            if_match: self.tag.clone(),
            ..GetOptions::default()
        };
        let failed = |error| match error {
            Error::Precondition { .. } => FilesError::Changed { path: self.path.clone() },
            other => failure(&self.path, other),
        };
        let result = self.store.get_opts(&self.location, options).await.map_err(failed)?;
        result.bytes().await.map_err(failed)
    }

    /// With a tag every range was of the version that was opened; without one it has to be asked for.
    pub(super) async fn check(&self) -> Result<(), FilesError> {
        if self.tag.is_some() {
            return Ok(());
        }
        let meta = self.store.head(&self.location).await.map_err(|error| failure(&self.path, error))?;
        if found(String::new(), &meta).version == self.version {
            return Ok(());
        }
        Err(FilesError::Changed { path: self.path.clone() })
    }
}

fn found(path: String, meta: &ObjectMeta) -> FoundFile {
    let modified_micros = meta.last_modified.timestamp_micros();
    let version = match &meta.e_tag {
        // Azure quotes it in one answer and not in the other.
        Some(tag) => tag.trim_start_matches("W/").trim_matches('"').to_owned(),
        None => format!("{modified_micros}-{}", meta.size),
    };
    FoundFile { path, size: meta.size, modified_micros, version }
}

fn failure(location: &str, error: Error) -> FilesError {
    if let Some(failure) = datakit_stores::failure_of(&error) {
        return FilesError::Secret(failure.clone());
    }
    let location = location.to_owned();
    match error {
        Error::NotFound { .. } => FilesError::NotFound { location },
        Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. } => {
            FilesError::Forbidden { location, reason: source.to_string() }
        }
        other => FilesError::Storage { location, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use object_store::Attributes;

    use super::*;

    #[tokio::test]
    async fn nothing_outside_of_the_prefix_and_no_folder_has_a_name() {
        let store = Arc::new(object_store::memory::InMemory::new());
        for key in ["in/a.csv", "in/b/c.csv", "inner/x.csv", "secret.csv"] {
            store.put(&Path::from(key), "1\n".into()).await.unwrap();
        }
        store.put(&Path::from("in/b"), "".into()).await.unwrap();
        let attributes = Attributes::from_iter([(Attribute::Metadata(FOLDER_METADATA.into()), "true")]);
        store.put_opts(&Path::from("in/marked.csv"), "".into(), attributes.into()).await.unwrap();
        let prefix = Prefix {
            store,
            prefix: Path::from("in"),
            root: "memory://in".into(),
            odd: OddKeys::default(),
            has_folder_metadata: true,
        };
        let mut paths: Vec<String> = prefix.list(10).await.unwrap().into_iter().map(|file| file.path).collect();
        paths.sort();
        assert_eq!(paths, ["a.csv", "b/c.csv"]);
        let (object, found) = prefix.open("b/c.csv").await.unwrap();
        assert_eq!((found.size, object.read(1, 100).await.unwrap().as_ref()), (2, &b"\n"[..]));
        for outside in
            ["../secret.csv", "/secret.csv", "b/../../secret.csv", "./a.csv", "b//c.csv", "%2e%2e/secret.csv"]
        {
            assert!(prefix.open(outside).await.is_err(), "{outside}");
        }
        assert!(matches!(prefix.list(2).await, Err(FilesError::TooManyFiles { limit: 2, .. })));
    }
}

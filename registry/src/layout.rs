//! An OCI image layout directory as a registry: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::write_whole;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{Descriptor, MANIFEST_TYPE};

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

pub(crate) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether there is a directory: publishing makes one, asking for a list of it does not.
    pub(crate) fn require(&self) -> Result<(), RegistryError> {
        if self.directory.is_dir() { Ok(()) } else { Err(self.bad("there is no such directory".to_owned())) }
    }

    /// The manifest's digest of a version.
    pub(crate) fn resolve(&self, name: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        Ok(find(&self.index()?, name, tag).map(|d| d.digest.clone()))
    }

    /// Every name and tag, with the manifest's digest.
    pub(crate) fn entries(&self) -> Result<Vec<(String, String, Digest)>, RegistryError> {
        let entry = |d: Descriptor| {
            let (name, tag) = d.annotations.get(REFERENCE_NAME)?.rsplit_once(':')?;
            Some((name.to_owned(), tag.to_owned(), d.digest))
        };
        Ok(self.index()?.manifests.into_iter().filter_map(entry).collect())
    }

    /// A blob as it is on disk, at most `max_bytes` of it; the caller verifies it.
    pub(crate) fn blob(&self, digest: &Digest, max_bytes: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(RegistryError::io("read", path, e)),
        };
        let mut bytes = Vec::new();
        // One more than allowed, so that the digest of a longer file cannot match.
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| RegistryError::io("read", path, e))?;
        Ok(Some(bytes))
    }

    /// Adds blobs, then the version that names them, unless the version is there already; returns the digest it has then.
    pub(crate) fn publish(
        &self,
        name: &str,
        tag: &str,
        manifest: &[u8],
        blobs: &[&[u8]],
    ) -> Result<Digest, RegistryError> {
        fs::create_dir_all(&self.directory).map_err(|e| RegistryError::io("create", &self.directory, e))?;
        let lock_path = self.directory.join(".lock");
        let lock = File::create(&lock_path).map_err(|e| RegistryError::io("create", &lock_path, e))?;
        lock.lock().map_err(|e| RegistryError::io("lock", &lock_path, e))?;
        let mut index = self.index()?;
        if let Some(there) = find(&index, name, tag) {
            return Ok(there.digest.clone());
        }
        for bytes in blobs.iter().copied().chain([manifest]) {
            write_whole(&self.blob_path(&Digest::of(bytes)), bytes)?;
        }
        write_whole(&self.directory.join("oci-layout"), MARKER.as_bytes())?;
        let mut descriptor = Descriptor::of(MANIFEST_TYPE, manifest);
        descriptor.annotations.insert(REFERENCE_NAME.to_owned(), format!("{name}:{tag}"));
        let digest = descriptor.digest.clone();
        index.manifests.push(descriptor);
        let bytes = serde_json::to_vec_pretty(&index).map_err(|e| self.bad(e.to_string()))?;
        write_whole(&self.directory.join("index.json"), &bytes)?;
        Ok(digest)
    }

    fn index(&self) -> Result<Index, RegistryError> {
        let path = self.directory.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| self.bad(format!("index.json: {e}"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(Index { schema_version: 2, media_type: None, manifests: Vec::new() })
            }
            Err(e) => Err(RegistryError::io("read", path, e)),
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join("sha256").join(digest.hex())
    }

    fn bad(&self, reason: String) -> RegistryError {
        RegistryError::BadLayout { path: self.directory.clone(), reason }
    }
}

fn find<'a>(index: &'a Index, name: &str, tag: &str) -> Option<&'a Descriptor> {
    let wanted = format!("{name}:{tag}");
    index.manifests.iter().find(|d| d.annotations.get(REFERENCE_NAME) == Some(&wanted))
}

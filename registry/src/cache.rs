//! Content-addressed copies of what was pulled. Every load is verified; a damaged entry is dropped and fetched again.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::location::Location;

/// A directory of blobs by digest, safe under concurrent runs and a kill at any moment: entries appear by rename.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Uses the directory, which is made when the first entry is written.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The bytes of a digest, verified; none when they are not there or not what they should be.
    pub(crate) fn load(&self, digest: &Digest) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.blob(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(RegistryError::io("read", path, e)),
        };
        if Digest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        tracing::warn!(path = %path.display(), "a cached artifact is damaged: it is fetched again");
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RegistryError::io("remove", path, e)),
            _ => Ok(None),
        }
    }

    /// Keeps bytes whose digest was verified.
    pub(crate) fn store(&self, digest: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        write_whole(&self.blob(digest), bytes)
    }

    /// The digest that a version had when it was last resolved in this registry.
    pub(crate) fn known_version(&self, location: &Location, name: &str, version: &semver::Version) -> Option<Digest> {
        fs::read_to_string(self.version(location, name, version)).ok()?.trim().parse().ok()
    }

    pub(crate) fn remember_version(
        &self,
        location: &Location,
        name: &str,
        version: &semver::Version,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        if self.known_version(location, name, version).as_ref() == Some(digest) {
            return Ok(());
        }
        write_whole(&self.version(location, name, version), digest.as_str().as_bytes())
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs").join("sha256").join(digest.hex())
    }

    fn version(&self, location: &Location, name: &str, version: &semver::Version) -> PathBuf {
        // A location may be long and hold any character; its digest is a fine folder name.
        let registry = Digest::of(location.to_string().as_bytes());
        self.directory.join("versions").join(&registry.hex()[..16]).join(name).join(version.to_string())
    }
}

/// Writes a file that others see whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|e| RegistryError::io("create", directory, e))?;
    let failed = |e| RegistryError::io("write", path, e);
    // Readable for those whom the umask lets: a lock file is mounted for other users, a cache may be shared.
    let mode = fs::Permissions::from_mode(0o666);
    let mut file =
        tempfile::Builder::new().prefix(".partial-").permissions(mode).tempfile_in(directory).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_data().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Digest::of(b"bytes");
        assert_eq!(cache.load(&digest).unwrap(), None);
        cache.store(&digest, b"bytes").unwrap();
        assert_eq!(cache.load(&digest).unwrap().as_deref(), Some(&b"bytes"[..]));
    }

    #[test]
    fn files_are_as_readable_as_any_other() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, other) = (directory.path().join("ours"), directory.path().join("other"));
        write_whole(&ours, b"bytes").unwrap();
        fs::write(&other, b"bytes").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&other));
    }

    #[test]
    fn a_damaged_entry_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let digest = Digest::of(b"bytes");
        cache.store(&digest, b"bytes").unwrap();
        fs::write(cache.blob(&digest), b"byte").unwrap();
        assert_eq!(cache.load(&digest).unwrap(), None);
        assert!(!cache.blob(&digest).exists());
    }
}

//! `datakits.lock`: which bytes a version is.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cache::write_whole;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::reference::{Reference, Selector};

const HEADER: &str = "# Written by `host lock`. Keep it in version control.\n\n";

/// The pinned datakits, sorted by name and version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The pins.
    #[serde(default, rename = "datakit")]
    pub pins: Vec<Pin>,
}

/// One pinned version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The datakit's name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The version of `datakit:kit` it was built for.
    pub wit: String,
}

impl LockFile {
    /// Reads the file; none when there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not a lock file.
    pub fn load(path: &Path) -> Result<Option<Self>, RegistryError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(RegistryError::io("read", path, e)),
        };
        let bad = |e: toml::de::Error| RegistryError::BadLockFile { path: path.to_owned(), reason: e.to_string() };
        Self::parse(&text).map(Some).map_err(bad)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The file's text.
    pub(crate) fn print(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEADER}{}", toml::to_string(self)?))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), RegistryError> {
        let bad = |e: toml::ser::Error| RegistryError::BadLockFile { path: path.to_owned(), reason: e.to_string() };
        write_whole(path, self.print().map_err(bad)?.as_bytes())
    }

    /// The pin of a reference.
    #[must_use]
    pub fn find(&self, reference: &Reference) -> Option<&Pin> {
        self.pins.iter().find(|pin| {
            pin.name == reference.name
                && match &reference.selector {
                    Selector::Version(version) => pin.version == *version,
                    Selector::Digest(digest) => pin.digest == *digest,
                }
        })
    }

    /// The pin of a reference, which names the digest that the registry has.
    ///
    /// # Errors
    /// [`RegistryError::PinDiffers`].
    pub fn check(&self, reference: &Reference, published: &Digest) -> Result<Option<&Pin>, RegistryError> {
        let pin = self.find(reference);
        match pin {
            Some(pin) if pin.digest != *published => Err(RegistryError::PinDiffers {
                reference: reference.to_string(),
                pinned: pin.digest.clone(),
                published: published.clone(),
            }),
            pin => Ok(pin),
        }
    }

    /// Sets a pin; says whether that changed the file.
    pub fn set(&mut self, pin: Pin) -> bool {
        match self.pins.iter_mut().find(|p| p.name == pin.name && p.version == pin.version) {
            Some(old) if *old == pin => return false,
            Some(old) => *old = pin,
            None => {
                self.pins.push(pin);
                self.pins.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(name: &str, version: &str) -> Pin {
        let version = version.parse().unwrap();
        Pin { name: name.into(), version, digest: Digest::of(name.as_bytes()), wit: "0.2.0".into() }
    }

    #[test]
    fn a_lock_file_reads_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("datakits.lock");
        assert_eq!(LockFile::load(&path).unwrap(), None);
        let mut lock = LockFile::default();
        assert!(lock.set(pin("b", "1.0.0")) && lock.set(pin("a", "0.2.0")) && !lock.set(pin("a", "0.2.0")));
        lock.save(&path).unwrap();
        assert_eq!(LockFile::load(&path).unwrap(), Some(lock.clone()));
        insta::assert_snapshot!(fs::read_to_string(&path).unwrap());
        assert_eq!(lock.find(&"a@0.2.0".parse().unwrap()), Some(&pin("a", "0.2.0")));
        assert_eq!(lock.find(&"a@0.3.0".parse().unwrap()), None);
        let (reference, other) = ("a@0.2.0".parse().unwrap(), Digest::of(b"other"));
        assert_eq!(lock.check(&reference, &Digest::of(b"a")).unwrap(), Some(&pin("a", "0.2.0")));
        assert!(matches!(lock.check(&reference, &other), Err(RegistryError::PinDiffers { .. })));
        assert_eq!(lock.check(&"c@1.0.0".parse().unwrap(), &other).unwrap(), None);
    }

    #[test]
    fn other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("datakits.lock");
        fs::write(&path, "[[datakit]]\nname = \"a\"\nversion = \"1\"\n").unwrap();
        assert!(matches!(LockFile::load(&path), Err(RegistryError::BadLockFile { .. })));
    }
}

//! Secrets in files: `{ file = "PATH" }`.
//!
//! A mounted secret changes under a running process: Kubernetes replaces a symbolic link. So the file is read again for each login.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use datakit_model::{Credential, Failure, Secret};
use zeroize::Zeroizing;

use crate::fields::{Fields, Key};
use crate::kind::{Fetched, Reference, SecretKind, SecretRef, Unavailable};
use crate::opening::{Keytab, Opening};

const FILE: Key = Key::new("file");
/// The largest secret file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// More than is ever read, so that reading it to its end does not ask for more room.
const BUFFER_BYTES: usize = 65 * 1024;

/// The kind.
#[derive(Debug)]
pub struct Kind;

impl SecretKind for Kind {
    fn key(&self) -> &'static str {
        FILE.name
    }

    fn form(&self) -> &'static str {
        "{ file = \"PATH\" }"
    }

    fn is_vault(&self) -> bool {
        false
    }

    fn read(&self, fields: &mut dyn Fields) -> Option<SecretRef> {
        fields.path(FILE).filter(|path| !path.as_os_str().is_empty()).map(|path| SecretFile(path).into())
    }
}

/// A file that holds the secret alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile(pub PathBuf);

impl Reference for SecretFile {
    fn kind(&self) -> &'static dyn SecretKind {
        &Kind
    }

    fn place(&self) -> String {
        format!("file {}", self.0.display())
    }

    fn fetch(&self, _: &BTreeMap<String, String>) -> Result<Option<Fetched>, Unavailable> {
        read(&self.0).map(Some)
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Credential, Failure> {
        let watched = Watched::new(self.0.clone(), opening.fetched()?);
        Ok(Credential::each_time(move || Ok(watched.secret())))
    }

    fn keytab(&self, _: &Opening<'_>) -> Result<Keytab, Failure> {
        Ok(Keytab::File(self.0.clone()))
    }
}

/// A file, and what was read from it last.
struct Watched {
    path: PathBuf,
    last: Mutex<Last>,
}

struct Last {
    secret: Secret,
    /// The file could not be read after that, and the log says so.
    is_lost: bool,
}

impl Watched {
    fn new(path: PathBuf, secret: Secret) -> Self {
        Self { path, last: Mutex::new(Last { secret, is_lost: false }) }
    }

    /// What the file holds now. A file that is being replaced may be missing or empty for a moment: then what it held last.
    ///
    /// The whole file is read: it is small, and its time of change is too coarse to tell two changes in a row apart.
    fn secret(&self) -> Secret {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.path) {
            Ok(fetched) => *last = Last { secret: fetched.secret, is_lost: false },
            Err(error) if !last.is_lost => {
                tracing::warn!(%error, "a secret cannot be read again; the host keeps the last one");
                last.is_lost = true;
            }
            Err(_) => {}
        }
        last.secret.clone()
    }
}

fn read(file: &Path) -> Result<Fetched, Unavailable> {
    let unreadable = |source| Unavailable::File { file: file.to_owned(), source };
    let content = |state| Unavailable::FileContent { file: file.to_owned(), state };
    let opened = File::open(file).map_err(unreadable)?;
    let warning = readable_by_others(&opened.metadata().map_err(unreadable)?)
        .then(|| format!("{} can be read by every user of this machine: `chmod 600` it", file.display()));
    // Room for the whole from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(BUFFER_BYTES));
    opened.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(content("is larger than 64 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| content("is not UTF-8 text"))?;
    // Editors and `echo` leave a line end that is not part of the secret.
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(content("is empty"));
    }
    Ok(Fetched { secret: Secret::new(text.to_owned()), warning })
}

#[cfg(unix)]
fn readable_by_others(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use crate::opening::Vaults;

    use super::*;

    fn open(path: &Path) -> Credential {
        let (reference, environment) = (SecretFile(path.to_owned()), BTreeMap::new());
        let fetched = reference.fetch(&environment).unwrap().map(|fetched| fetched.secret);
        let opening =
            Opening { environment: &environment, vaults: &Vaults::default(), fetched, needs: BTreeMap::new() };
        reference.open(&opening).unwrap()
    }

    fn text(credential: &Credential) -> String {
        credential.get().unwrap().expose().to_owned()
    }

    #[test]
    fn changed_file_is_read_before_the_next_login() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "Pl4nted-1\n").unwrap();
        let credential = open(&path);
        assert_eq!(text(&credential), "Pl4nted-1");
        // Same length, and within one tick of the file system's clock.
        std::fs::write(&path, "Pl4nted-2\n").unwrap();
        assert_eq!(text(&credential), "Pl4nted-2");
    }

    #[cfg(unix)]
    #[test]
    fn replaced_symbolic_link_is_followed_before_the_next_login() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As Kubernetes lays out a mounted secret: password -> ..data/password, ..data -> ..1
        for (version, password) in [("..1", "Pl4nted-1"), ("..2", "Pl4nted-2")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("password"), password).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/password", at("password")).unwrap();
        let credential = open(&at("password"));
        assert_eq!(text(&credential), "Pl4nted-1");
        symlink("..2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(text(&credential), "Pl4nted-2");
    }

    #[test]
    fn missing_or_empty_file_keeps_the_last_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "Pl4nted-1").unwrap();
        let credential = open(&path);
        std::fs::write(&path, "").unwrap();
        assert_eq!(text(&credential), "Pl4nted-1");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text(&credential), "Pl4nted-1");
        std::fs::write(&path, "Pl4nted-2").unwrap();
        assert_eq!(text(&credential), "Pl4nted-2");
    }
}

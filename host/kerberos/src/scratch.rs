//! Where tickets are while the library works on them: files of this process's memory, and for moments a folder in memory.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use datakit_model::SecretBytes;
use rustix::fs::{FlockOperation, MemfdFlags, flock, memfd_create};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::KerberosError;

/// How the folders' names begin.
const PREFIX: &str = "datakit-krb5-";

/// A file of this process's memory.
pub(crate) fn memory_file(name: &CStr, bytes: &[u8]) -> Result<OwnedFd, KerberosError> {
    let keep = |reason: String| KerberosError::Keep { reason };
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC).map_err(|error| keep(error.to_string()))?);
    file.write_all(bytes).map_err(|error| keep(error.to_string()))?;
    Ok(file.into())
}

/// A folder that only this user can look into, for the moments in which the library needs a file it can replace. In memory
/// where there is such a place, and what is in it is written over before it is removed. What killed processes left there is
/// removed by the next one: a folder is locked while its process lives.
pub(crate) struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self, KerberosError> {
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| roots().iter().for_each(|root| remove_left(root)));
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for root in roots() {
            match Self::within(&root) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => failed = error,
            }
        }
        Err(KerberosError::Keep { reason: failed.to_string() })
    }

    fn within(root: &Path) -> io::Result<Self> {
        loop {
            let own = Permissions::from_mode(0o700);
            let folder = tempfile::Builder::new().prefix(PREFIX).permissions(own).tempdir_in(root)?;
            let lock = File::open(folder.path())?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                // Somebody who cleans up may have come in between.
                Err(Errno::WOULDBLOCK) => {}
                Ok(()) if !is_at(&lock, folder.path()) => {}
                // Where there are no locks, nobody cleans up either.
                Ok(()) | Err(_) => return Ok(Self { folder, _lock: lock }),
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn cache_name(&self) -> String {
        format!("FILE:{}", self.path().display())
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), KerberosError> {
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path());
        written
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| KerberosError::Keep { reason: error.to_string() })
    }

    pub(crate) fn read(&self) -> Result<SecretBytes, KerberosError> {
        fs::read(self.path()).map(SecretBytes::new).map_err(|error| KerberosError::Keep { reason: error.to_string() })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        wipe(self.folder.path());
    }
}

/// Folders in memory first.
fn roots() -> [PathBuf; 3] {
    let own = format!("/run/user/{}", rustix::process::getuid().as_raw());
    [PathBuf::from("/dev/shm"), PathBuf::from(own), std::env::temp_dir()]
}

/// Whether an open folder is the one at a path.
fn is_at(open: &File, path: &Path) -> bool {
    match (open.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => open.is_dir() && (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Writes zeros over what is in the files of a folder. What cannot be written over is removed all the same.
fn wipe(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = OpenOptions::new().write(true).custom_flags(no_follow()).open(entry.path()).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.rewind()?;
            io::copy(&mut io::Read::take(io::repeat(0), length), &mut file)?;
            file.sync_data()
        });
    }
}

/// `O_NOFOLLOW` of this system.
fn no_follow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// Removes the folders of this user whose processes are gone.
fn remove_left(root: &Path) {
    let own = rustix::process::getuid().as_raw();
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own);
        let Some(folder) = is_ours.then(|| File::open(&path).ok()).flatten() else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() && is_at(&folder, &path) {
            wipe(&path);
            // What stays is found by the next process.
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_uses_stays() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join("datakit-krb5-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("cache"), "a ticket").unwrap();
        let hard_link = root.path().join("look");
        fs::hard_link(left.join("cache"), &hard_link).unwrap();
        let other = root.path().join("somebody-else");
        fs::create_dir(&other).unwrap();
        let living = Scratch::within(root.path()).unwrap();
        living.write(b"another").unwrap();
        remove_left(root.path());
        assert!(!left.exists() && other.exists());
        assert_eq!(fs::read(&hard_link).unwrap(), [0; 8], "it was removed as it was");
        assert_eq!(living.read().unwrap().expose(), b"another");
    }

    #[test]
    fn a_ticket_is_written_over_before_its_file_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(root.path()).unwrap();
        scratch.write(b"a ticket").unwrap();
        assert_eq!(fs::metadata(scratch.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(scratch.folder.path()).unwrap().mode() & 0o777, 0o700);
        let hard_link = root.path().join("look");
        fs::hard_link(scratch.path(), &hard_link).unwrap();
        let folder = scratch.folder.path().to_owned();
        drop(scratch);
        assert!(!folder.exists());
        assert_eq!(fs::read(&hard_link).unwrap(), [0; 8]);
    }
}

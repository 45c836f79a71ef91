//! A folder of this machine.
//!
//! Nothing outside of it is opened: a path is walked name by name from the root's own descriptor, and no step follows a
//! symbolic link, so that neither `..` nor a link that appears between listing and reading leads out of it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::FoundFile;
use super::left_out::LeftOut;
use crate::error::FilesError;

/// Entries that may be looked at for each file that may be found.
const ENTRIES_PER_FILE: u64 = 10;

#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// A file, as it was when it was opened.
#[derive(Debug)]
pub(crate) struct LocalFile {
    file: File,
    found: FoundFile,
}

/// A walk through a folder.
struct Walk {
    files: Vec<FoundFile>,
    /// Folders still to be looked into, and their paths below the root.
    folders: Vec<(PathBuf, String)>,
    entries: u64,
    left_out: LeftOut,
    max_files: u64,
}

impl Folder {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn location(&self, path: &str) -> String {
        self.root.join(path).display().to_string()
    }

    pub(super) fn reach(&self) -> Result<(), FilesError> {
        fs::read_dir(&self.root).map(drop).map_err(|error| failure(&self.location(""), &error))
    }

    pub(super) fn list(&self, max_files: u64) -> Result<Vec<FoundFile>, FilesError> {
        let folders = vec![(self.root.clone(), String::new())];
        let mut walk = Walk { files: Vec::new(), folders, entries: 0, left_out: LeftOut::default(), max_files };
        while let Some((folder, prefix)) = walk.folders.pop() {
            self.look_into(&folder, &prefix, &mut walk)?;
        }
        walk.left_out.report(&self.root.display().to_string());
        Ok(walk.files)
    }

    fn look_into(&self, folder: &Path, prefix: &str, walk: &mut Walk) -> Result<(), FilesError> {
        let failed = |error: io::Error| failure(&folder.display().to_string(), &error);
        let entries = match fs::read_dir(folder) {
            // The system has no longer paths.
            Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                walk.left_out.note("folders that are nested too deep are left out", || prefix.to_owned());
                return Ok(());
            }
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            walk.entries += 1;
            let too_many = walk.files.len() as u64 >= walk.max_files;
            if too_many || walk.entries > walk.max_files.saturating_mul(ENTRIES_PER_FILE) {
                return Err(FilesError::TooManyFiles { root: self.location(""), limit: walk.max_files });
            }
            let name = entry.file_name();
            let path = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let Some(name) = name.to_str() else {
                walk.left_out.note("names that are not UTF-8 are left out", || path(&name.to_string_lossy()));
                continue;
            };
            let path = path(name);
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_symlink() {
                walk.left_out.note("symbolic links are not followed", || path);
            } else if kind.is_dir() && !name.starts_with(['.', '_']) {
                walk.folders.push((entry.path(), path));
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(metadata) => walk.files.push(found(path, &metadata)),
                    Err(error) if error.kind() == io::ErrorKind::InvalidFilename => {
                        walk.left_out.note("folders that are nested too deep are left out", || prefix.to_owned());
                    }
                    // Moved away meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failure(&self.location(&path), &error)),
                }
            }
        }
        Ok(())
    }

    pub(super) fn open(&self, path: &str) -> Result<(LocalFile, FoundFile), FilesError> {
        let failed = |error: Errno| match error {
            Errno::LOOP | Errno::NOTDIR | Errno::MLINK => {
                FilesError::NotGranted { path: path.to_owned(), why: "a symbolic link is on the way to it" }
            }
            other => failure(&self.location(path), &other.into()),
        };
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut descriptor: OwnedFd =
            rustix::fs::open(&self.root, folder, Mode::empty()).map_err(|e| failure(&self.location(""), &e.into()))?;
        let (folders, name) = path.rsplit_once('/').map_or((None, path), |(folders, name)| (Some(folders), name));
        for segment in folders.into_iter().flat_map(|folders| folders.split('/')) {
            descriptor =
                openat(descriptor.as_fd(), segment, folder | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?;
        }
        // NONBLOCK: opening a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(descriptor.as_fd(), name, flags, Mode::empty()).map_err(failed)?);
        let metadata = file.metadata().map_err(|error| failure(&self.location(path), &error))?;
        if !metadata.is_file() {
            return Err(FilesError::NotGranted { path: path.to_owned(), why: "it is no file" });
        }
        let found = found(path.to_owned(), &metadata);
        Ok((LocalFile { file, found: found.clone() }, found))
    }
}

fn found(path: String, metadata: &Metadata) -> FoundFile {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    FoundFile {
        path,
        size: metadata.len(),
        modified_micros: seconds.saturating_mul(1_000_000).saturating_add(nanoseconds / 1000),
        version: version(metadata),
    }
}

fn version(metadata: &Metadata) -> String {
    format!("{}.{:09}-{}", metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

impl LocalFile {
    /// Reads until `length` or the end that the file had: what is written behind it meanwhile is of another version, and may be
    /// half a row.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Bytes, FilesError> {
        let left = usize::try_from(self.found.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(left)];
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => return Err(self.changed()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(&self.found.path, &error)),
            }
        }
        Ok(buffer.into())
    }

    pub(super) fn check(&self) -> Result<(), FilesError> {
        let metadata = self.file.metadata().map_err(|error| failure(&self.found.path, &error))?;
        if version(&metadata) == self.found.version { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> FilesError {
        FilesError::Changed { path: self.found.path.clone() }
    }
}

fn failure(location: &str, error: &io::Error) -> FilesError {
    let location = location.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FilesError::NotFound { location },
        io::ErrorKind::PermissionDenied => FilesError::Forbidden { location, reason: error.to_string() },
        _ => FilesError::Storage { location, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_listed_can_be_opened_and_has_its_version() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b=1")).unwrap();
        fs::write(root.path().join("a/b=1/x.csv"), "1\n").unwrap();
        fs::write(root.path().join("y.csv"), "22\n").unwrap();
        let folder = Folder::new(root.path());
        let mut files = folder.list(10).unwrap();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(
            files.iter().map(|f| (f.path.as_str(), f.size)).collect::<Vec<_>>(),
            [("a/b=1/x.csv", 2), ("y.csv", 3)]
        );
        let (file, opened) = folder.open("a/b=1/x.csv").unwrap();
        assert_eq!(opened, files[0]);
        assert_eq!(file.read(0, 100).unwrap().as_ref(), b"1\n");
        assert_eq!(file.read(1, 100).unwrap().as_ref(), b"\n");
        assert_eq!(file.read(2, 100).unwrap().as_ref(), b"");
        fs::write(root.path().join("y.csv"), "333\n").unwrap();
        assert_ne!(folder.open("y.csv").unwrap().1.version, files[1].version);
    }

    #[test]
    fn a_file_is_read_as_it_was_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.csv");
        fs::write(&path, "1\n2\n").unwrap();
        let open = || Folder::new(root.path()).open("a.csv").unwrap().0;
        let file = open();
        file.check().unwrap();
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3").unwrap();
        assert_eq!(file.read(0, 100).unwrap().as_ref(), b"1\n2\n");
        assert_eq!(file.read(4, 100).unwrap().as_ref(), b"");
        assert!(matches!(file.check(), Err(FilesError::Changed { .. })), "it has grown");
        let file = open();
        fs::write(&path, "1\n").unwrap();
        assert!(matches!(file.read(0, 100), Err(FilesError::Changed { .. })), "it is shorter");
        let file = open();
        fs::write(root.path().join("new"), "9\n").unwrap();
        fs::rename(root.path().join("new"), &path).unwrap();
        assert_eq!(file.read(0, 100).unwrap().as_ref(), b"1\n", "another file under its name");
        file.check().unwrap();
    }

    #[test]
    fn links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.csv"), "1\n").unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("folder")).unwrap();
        symlink(outside.path().join("secret.csv"), root.path().join("file.csv")).unwrap();
        let folder = Folder::new(root.path());
        assert_eq!(folder.list(10).unwrap(), []);
        for path in ["folder/secret.csv", "file.csv"] {
            let error = folder.open(path).unwrap_err();
            assert!(matches!(error, FilesError::NotGranted { .. }), "{path}: {error}");
        }
    }

    #[test]
    fn a_listing_is_bounded() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..4 {
            fs::write(root.path().join(format!("{number}.csv")), "").unwrap();
        }
        assert_eq!(Folder::new(root.path()).list(4).unwrap().len(), 4);
        assert!(matches!(Folder::new(root.path()).list(3), Err(FilesError::TooManyFiles { limit: 3, .. })));
        let gone = Folder::new(&root.path().join("gone")).list(3);
        assert!(matches!(gone, Err(FilesError::NotFound { .. })));
    }

    #[test]
    fn deep_folders_are_listed_and_opened() {
        let root = tempfile::tempdir().unwrap();
        let path = "d/".repeat(200);
        fs::create_dir_all(root.path().join(&path)).unwrap();
        let path = format!("{path}a.csv");
        fs::write(root.path().join(&path), "1\n").unwrap();
        let folder = Folder::new(root.path());
        let files = folder.list(100).unwrap();
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [path.as_str()]);
        assert_eq!(folder.open(&path).unwrap().1, files[0]);
    }

    #[test]
    fn name_that_is_not_utf8_is_left_out_alone() {
        use std::os::unix::ffi::OsStrExt as _;
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.csv")), "1\n").unwrap();
        fs::write(root.path().join("a.csv"), "1\n").unwrap();
        assert_eq!(Folder::new(root.path()).list(10).unwrap().len(), 1);
    }

    #[test]
    fn a_folder_is_no_file() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a.csv")).unwrap();
        assert!(matches!(Folder::new(root.path()).open("a.csv"), Err(FilesError::NotGranted { .. })));
    }
}

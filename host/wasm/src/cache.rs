//! Compiled code on disk.
//!
//! What is in these files is executed, so a file counts only if nobody else could have written it: the directory and
//! the file belong to the effective user, neither is writable by group or others, and neither is reached by a link. A
//! file names the component and the engine it is for and carries a SHA-256 of its content, so that one cut short by a full
//! disk or damaged by it is found before it is run. Whatever is wrong, the component is compiled again: the cache makes a
//! start faster, never impossible.
//!
//! A file is written under a name of its own, then renamed: readers see the old one, the new one or none, also with
//! several writers at once and after `kill -9`.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::WasmError;

/// What a file begins with.
const MAGIC: &[u8; 16] = b"datakit code v1\n";
/// SHA-256 in bytes.
const HASH_BYTES: usize = 32;
/// Magic, hash of the key, hash of the code.
const HEADER_BYTES: usize = MAGIC.len() + 2 * HASH_BYTES;
/// Nothing we wrote is larger.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// A temporary file older than this belongs to a process that was killed.
const STALE_SECONDS: u64 = 3600;

type Hash256 = [u8; HASH_BYTES];

/// A directory of compiled components, for one engine.
#[derive(Debug)]
pub(crate) struct CodeCache {
    directory: PathBuf,
    /// What the engine's settings, wasmtime's version and the processor's features come to.
    engine_hash: Hash256,
}

impl CodeCache {
    pub(crate) fn new(directory: PathBuf, engine: &Engine) -> Self {
        let mut hasher = ShaHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { directory, engine_hash: hasher.0.finalize().into() }
    }

    /// The component of this digest, if the cache has it.
    pub(crate) fn find(&self, engine: &Engine, digest: &str) -> Option<Component> {
        // What is wrong with the directory is said when code is kept in it.
        let directory = open_directory(&self.directory).ok()?;
        match read(&directory, &self.key(digest)) {
            Ok(code) => deserialize(engine, &code)
                .inspect_err(|error| tracing::debug!(%error, "compiled code of another engine"))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code is not used, and made again");
                None
            }
        }
    }

    /// Keeps compiled code. A cache that cannot is no reason to fail.
    pub(crate) fn keep(&self, digest: &str, code: &[u8]) {
        let kept = open_directory(&self.directory).and_then(|directory| {
            write(&directory, &self.key(digest), code)?;
            remove_stale(&directory, &self.directory);
            Ok(())
        });
        if let Err(source) = kept {
            self.warn(&WasmError::CodeCache { path: self.directory.clone(), source });
        }
    }

    fn key(&self, digest: &str) -> Key {
        let mut hash = Sha256::new();
        hash.update(self.engine_hash);
        hash.update(digest.as_bytes());
        let hash: Hash256 = hash.finalize().into();
        Key { hash, name: format!("{}.cwasm", hex::encode(hash)) }
    }

    fn warn(&self, error: &WasmError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(code = "DK-KIT-010", cause, "{error}; the datakit is compiled at every start");
    }
}

/// Which component for which engine.
struct Key {
    hash: Hash256,
    name: String,
}

/// Feeds a [`Hash`] into SHA-256: its result must be the same in every process.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Opens the directory, making it with mode 0700 if it is not there.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            rustix::fs::open(path, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let directory = File::from(opened);
    check_owner(&directory)?;
    Ok(directory.into())
}

/// Ours, and nobody else's to write.
fn check_owner(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse(format!("it belongs to user {}", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse(format!("others may write to it (mode {:o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

/// The code in a file of ours, whole and for this key.
fn read(directory: &OwnedFd, key: &Key) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = File::from(rustix::fs::openat(directory, &key.name, flags, Mode::empty())?);
    check_owner(&file)?;
    let metadata = file.metadata()?;
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(damaged("not a file of ours"));
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let (magic, hashes) = header.split_at(MAGIC.len());
    let (key_hash, code_hash) = hashes.split_at(HASH_BYTES);
    if magic != MAGIC || key_hash != key.hash {
        return Err(damaged("not for this datakit and engine"));
    }
    let mut code = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.take(MAX_FILE_BYTES).read_to_end(&mut code)?;
    if Sha256::digest(&code)[..] != *code_hash {
        return Err(damaged("damaged: its content has another hash than it says"));
    }
    Ok(code)
}

/// Writes beside, flushes, renames.
fn write(directory: &OwnedFd, key: &Key, code: &[u8]) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let temporary = format!("{}.{}.{serial}.tmp", key.name, std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))?);
    let written = (|| {
        file.write_all(MAGIC)?;
        file.write_all(&key.hash)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        file.sync_all()?;
        rustix::fs::renameat(directory, &temporary, directory, &key.name).map_err(io::Error::from)
    })();
    if written.is_err() {
        // The error that matters is the first one.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
    }
    written
}

/// Clears what killed processes left. Best effort: a file that stays does no harm.
fn remove_stale(directory: &OwnedFd, path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let is_temporary = entry.path().extension().is_some_and(|extension| extension == "tmp");
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age.as_secs() > STALE_SECONDS) {
            let _ = rustix::fs::unlinkat(directory, entry.file_name(), AtFlags::empty());
        }
    }
}

/// Code that [`read`] returned, as a component.
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "wasmtime cannot check compiled code; the checks of `read` stand for it")]
    // SAFETY: `read` returned these bytes from a file that only this user could write, in a directory only this user could
    // write, whose SHA-256 is the one in its header: they are what `Component::serialize` gave for an engine of the same
    // compatibility hash, which wasmtime checks once more.
    unsafe {
        Component::deserialize(engine, code)
    }
}

/// Code that this program has just made of a component, here or in a process of its own.
pub(crate) fn deserialize_own(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "wasmtime cannot check compiled code")]
    // SAFETY: `Engine::precompile_component` of this very program made these bytes, in this process or in a child that sent
    // them over a pipe that only the two have; wasmtime checks that the engine is the same.
    unsafe {
        Component::deserialize(engine, code)
    }
}

#[cfg(test)]
mod tests;

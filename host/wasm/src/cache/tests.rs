use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use datakit_model::GuestLimits;

use super::*;

/// The smallest component there is.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
const DIGEST: &str = "sha256:00";

struct Bench {
    root: tempfile::TempDir,
    engine: Engine,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), engine: crate::engine::engine(&GuestLimits::default()).unwrap() }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("code")
    }

    fn cache(&self) -> CodeCache {
        CodeCache::new(self.directory(), &self.engine)
    }

    /// Loads, and says whether it had to compile.
    fn compiles(&self) -> bool {
        if self.cache().find(&self.engine, DIGEST).is_some() {
            return false;
        }
        self.cache().keep(DIGEST, &self.engine.precompile_component(EMPTY).unwrap());
        true
    }

    fn file(&self) -> PathBuf {
        self.directory().join(self.cache().key(DIGEST).name)
    }
}

#[test]
fn the_second_load_compiles_nothing() {
    let bench = Bench::new();
    assert!(bench.compiles());
    assert!(!bench.compiles());
    assert_eq!(fs::metadata(bench.directory()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(bench.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_file_is_made_again() {
    let bench = Bench::new();
    bench.compiles();
    let good = fs::read(bench.file()).unwrap();
    for at in [0, MAGIC.len(), MAGIC.len() + HASH_BYTES, HEADER_BYTES, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(bench.file(), bad).unwrap();
        assert!(bench.compiles(), "byte {at} changed");
        assert_eq!(fs::read(bench.file()).unwrap(), good);
    }
    for length in [0, 5, HEADER_BYTES, good.len() - 1] {
        fs::write(bench.file(), &good[..length]).unwrap();
        assert!(bench.compiles(), "cut to {length}");
    }
    fs::write(bench.file(), [good.as_slice(), b"more"].concat()).unwrap();
    assert!(bench.compiles());
}

#[test]
fn what_others_could_have_written_is_not_run() {
    let bench = Bench::new();
    bench.compiles();
    fs::set_permissions(bench.file(), fs::Permissions::from_mode(0o620)).unwrap();
    assert!(bench.compiles());
    assert!(!bench.compiles(), "the file was replaced by one of mode 0600");

    fs::set_permissions(bench.directory(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(bench.compiles());
    assert!(bench.compiles(), "a directory open to others is never used");
}

#[test]
fn links_are_not_followed() {
    let bench = Bench::new();
    bench.compiles();
    let elsewhere = bench.root.path().join("elsewhere");
    fs::rename(bench.file(), &elsewhere).unwrap();
    symlink(&elsewhere, bench.file()).unwrap();
    assert!(bench.compiles());
    assert!(!fs::symlink_metadata(bench.file()).unwrap().is_symlink(), "the link was replaced");

    let real = bench.root.path().join("real");
    fs::rename(bench.directory(), &real).unwrap();
    symlink(&real, bench.directory()).unwrap();
    assert!(bench.compiles());
}

#[test]
fn a_fifo_in_the_place_of_a_file_does_not_hang() {
    let bench = Bench::new();
    bench.compiles();
    fs::remove_file(bench.file()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(bench.file()).status().unwrap();
    assert!(made.success());
    assert!(bench.compiles());
}

#[test]
fn other_digests_and_other_engines_have_other_files() {
    let bench = Bench::new();
    let cache = bench.cache();
    let limits = GuestLimits::default();
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(false);
    let other = CodeCache::new(bench.directory(), &Engine::new(&config).unwrap());
    let same = CodeCache::new(bench.directory(), &crate::engine::engine(&limits).unwrap());
    assert_ne!(cache.key("sha256:00").name, cache.key("sha256:01").name);
    assert_ne!(cache.key("sha256:00").name, other.key("sha256:00").name);
    assert_eq!(cache.key("sha256:00").name, same.key("sha256:00").name);
}

#[test]
fn many_at_once_all_load() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bench.compiles());
        }
    });
    assert!(!bench.compiles());
    let left: Vec<_> = fs::read_dir(bench.directory()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

//! The first entry of a table's log on a disk of this machine.
//!
//! It comes to be together with its folder, by one renaming: a process that is killed at any moment leaves no `_delta_log`
//! without an entry, over which readers stumble.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The folder of a table's log.
const LOG: &str = "_delta_log";
/// What the folders begin with in which logs are made ready; readers and VACUUM leave such names alone.
const STAGING: &str = "_delta_log.";

/// Whether a file is the first entry of a log.
pub(crate) fn is_first(entry: &Path) -> bool {
    entry.file_name().is_some_and(|name| name.to_str() == Some(&first_name()))
}

fn first_name() -> String {
    format!("{:020}.json", 0)
}

/// False: there is something called `_delta_log`, or the file system cannot rename folders.
pub(crate) fn create(table: &Path, entry: &[u8]) -> io::Result<bool> {
    std::fs::create_dir_all(table)?;
    let staged = tempfile::Builder::new()
        .prefix(STAGING)
        // As any other folder: what others may do is the umask's affair.
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(table)?;
    let mut file = File::create_new(staged.path().join(first_name()))?;
    file.write_all(entry)?;
    file.sync_all()?;
    // A folder that is there is replaced only when nothing is in it.
    if std::fs::rename(staged.path(), table.join(LOG)).is_err() {
        return Ok(false);
    }
    // There is nothing left to remove under the old name.
    let _ = staged.keep();
    remove_staged(table);
    Ok(true)
}

/// What killed runs have left: whoever still works in one cannot become first any more.
fn remove_staged(table: &Path) {
    for entry in std::fs::read_dir(table).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAGING) {
            // Invisible to readers: what cannot be removed stays.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn first_of_two_writers_creates_the_log() {
        let root = tempfile::tempdir().unwrap();
        let table = root.path().join("a/b");
        assert!(create(&table, b"first").unwrap());
        assert!(!create(&table, b"second").unwrap());
        assert_eq!(names(&table), [LOG]);
        assert_eq!(names(&table.join(LOG)), ["00000000000000000000.json"]);
        assert_eq!(std::fs::read(table.join(LOG).join("00000000000000000000.json")).unwrap(), b"first");
    }

    #[test]
    fn empty_log_folder_and_staging_folder_of_a_killed_run_are_replaced() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(LOG)).unwrap();
        std::fs::create_dir_all(root.path().join("_delta_log.killed")).unwrap();
        assert!(create(root.path(), b"entry").unwrap());
        assert_eq!(names(root.path()), [LOG]);
    }

    #[test]
    fn folder_of_the_log_is_never_seen_without_its_entry() {
        let root = tempfile::tempdir().unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut seen = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for number in 0..50 {
                        let log = root.path().join(format!("{number}/{LOG}"));
                        if log.exists() {
                            seen += 1;
                            assert!(log.join("00000000000000000000.json").exists());
                        }
                    }
                }
                seen
            });
            for number in 0..50 {
                assert!(create(&root.path().join(number.to_string()), b"entry").unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(watcher.join().unwrap() > 0);
        });
    }
}

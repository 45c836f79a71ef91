//! Canary secrets of tests, and the search for them in everything that is said.
//!
//! `./test` names a folder in [`FOLDER`]. There tests register each canary secret ([`register`]), and their harnesses keep
//! what every process of theirs has written ([`keep`]). A last step, the program `search-canaries`, reads that and what the
//! tests themselves have written, and searches all of it for each secret in every form of `forms`.
//!
//! Passwords of tests hold [`MARK`], so that one that nobody noted is found as well.

// What happens here happens in tests, where there is nobody to return an error to.
#![expect(clippy::expect_used, reason = "code of tests")]

mod forms;
pub mod junit;
pub mod search;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use forms::{Form, forms};

/// The variable that names the folder; where it is not set nothing is noted or kept.
pub const FOLDER: &str = "DATAKIT_TEST_KEPT";

/// Part of every password that tests make up.
pub const MARK: &str = "Pl4nted";

/// The file of secrets, one a line: hexadecimal, a tab, what it is.
const CANARIES: &str = "canaries";
/// The folder of what processes have written.
const OUTPUT: &str = "output";

fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Registers a canary secret. What is shorter than eight bytes would be found everywhere, and is none.
pub fn register(what: &str, secret: &[u8]) {
    let Some(folder) = folder().filter(|_| secret.len() >= 8) else { return };
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file =
        OpenOptions::new().create(true).append(true).open(folder.join(CANARIES)).expect("the folder is there");
    // One write, so that lines of tests at the same time stay whole.
    file.write_all(format!("{hex}\t{what}\n").as_bytes()).expect("the folder can be written");
}

/// Keeps what a process has written: `what` is for example `host stderr`.
pub fn keep(what: &str, bytes: &[u8]) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = folder().filter(|_| !bytes.is_empty()) else { return };
    let test = test_name();
    let safe = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-', "_");
    let folder = folder.join(OUTPUT).join(safe(&test));
    fs::create_dir_all(&folder).expect("the folder can be written");
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // A test may be several processes.
    let name = format!("{}-{number}-{}", std::process::id(), safe(what));
    fs::write(folder.join(name), [format!("{test}\n").as_bytes(), bytes].concat()).expect("the folder can be written");
}

/// The test that runs: its binary and its name.
fn test_name() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let thread = std::thread::current().name().map(str::to_owned);
    let test = variable("NEXTEST_TEST_NAME").or(thread).unwrap_or_else(|| "unknown".to_owned());
    let stem = || Some(std::env::current_exe().ok()?.file_stem()?.to_string_lossy().into_owned());
    format!("{} {test}", variable("NEXTEST_BINARY_ID").or_else(stem).unwrap_or_default())
}

//! Builds datakits into components, and checks what cargo cannot.
//!
//! ```text
//! cargo xtask build-datakits       every datakit into target/datakits/NAME.wasm
//! cargo xtask cargo FOLDER …       cargo in another folder, with the toolchain that builds datakits
//! cargo xtask check-reproducible   the same, in two folders: the files are the same to the bit
//! cargo xtask check-wit            wit/ is the text recorded for its version
//! cargo xtask record-wit           records a new version of wit/
//! cargo xtask check-prose          no page has a turn of phrase that is listed
//! cargo xtask check-advisories     no package of Cargo.lock has a known advisory that is not accepted
//! ```
//!
//! It uses whatever toolchain there is and installs nothing: see [`toolchain`] for the order.

mod advisories;
mod build;
mod prose;
mod reproducible;
mod toolchain;
mod wit;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  build-datakits [NAME...]      build every datakit, or those named, into target/datakits/NAME.wasm
  cargo FOLDER [ARGUMENT...]    run cargo in another folder, with the toolchain that builds datakits
  check-reproducible [NAME...]  build them in this folder and in a copy of it, and compare bit by bit
  check-wit                     check that wit/ is the text recorded for its version
  record-wit                    record the text of a new version of wit/
  check-prose                   look for turns of phrase that stop a reader, by scripts/xtask/prose.toml
  check-advisories              compare Cargo.lock with the copy of the RustSec advisories

environment:
  DATAKIT_BUILD_DIR   where datakits are compiled (default: a folder for this checkout in the user's cache)
  DATAKIT_RUSTC       a rustc to use when the active one cannot build for WebAssembly
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("", &[][..]),
    };
    let done = match (command, rest) {
        ("build-datakits", names) => build_datakits(names),
        ("cargo", [folder, arguments @ ..]) => cargo_elsewhere(folder, arguments),
        ("check-reproducible", names) => root().and_then(|root| reproducible::check(&root, names)),
        ("check-wit", []) => root().and_then(|root| wit::check(&root.join("wit"))),
        ("record-wit", []) => root().and_then(|root| wit::record(&root.join("wit"))),
        ("check-prose", []) => root().and_then(|root| prose::check(&root)),
        ("check-advisories", []) => root().and_then(|root| advisories::check(&root)),
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// For a datakit outside of this workspace, where the active toolchain cannot build for WebAssembly.
fn cargo_elsewhere(folder: &str, arguments: &[String]) -> Result<()> {
    let toolchain = toolchain::choose(&root()?)?;
    let mut command = toolchain::cargo(&toolchain.rustc, std::path::Path::new(folder));
    command
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", toolchain.flags.join("\x1f"))
        .args(arguments);
    toolchain::run(&mut command, "cargo failed")
}

fn build_datakits(names: &[String]) -> Result<()> {
    let root = root()?;
    let toolchain = toolchain::choose(&root)?;
    let directory = build::default_directory(&root)?;
    for component in build::build(&root, &directory, &toolchain, names)? {
        writeln!(std::io::stdout(), "{}", component.display()).context("cannot write to standard output")?;
    }
    Ok(())
}

/// The checkout this program was built from.
fn root() -> Result<PathBuf> {
    // As `cargo run` says it now: the program may have been built in another checkout that shares the target directory.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = here.ancestors().nth(2).context("the crate xtask is not two folders below the checkout")?;
    root.canonicalize().with_context(|| format!("cannot find the checkout {}", root.display()))
}

/// The user's cache, by the rule of the XDG base directories.
fn cache() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME names a folder for caches")?;
    Ok(base.join("datakit"))
}

/// A line for the person at the terminal. There is nothing to do about a closed standard error.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

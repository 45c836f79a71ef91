//! The same sources and toolchain give the same component, whatever the folder.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{build, say, toolchain};

/// What no build reads: its own results, data and history.
const LEFT_BEHIND: [&str; 3] = ["target", ".git", ".demo"];

/// Builds the datakits named, or all, here and in a copy elsewhere, and compares.
///
/// In the copy everything for the target is compiled from nothing. Build scripts and procedural macros, which run on this
/// machine and come from the registry, are taken over: compiling them is most of the time and says nothing about folders.
pub fn check(root: &Path, names: &[String]) -> Result<()> {
    let toolchain = toolchain::choose(root)?;
    let directory = build::default_directory(root)?;
    let here = build::build(root, &directory, &toolchain, names)?;
    // A name of another length than the checkout's, since a path that leaked would shift what follows it.
    let copy = std::env::temp_dir().join(format!("datakit-reproducible-in-another-folder-{}", std::process::id()));
    let differing = copy_all(&directory.join(build::PROFILE), &copy.join("compiled").join(build::PROFILE))
        .and_then(|()| build_copy(root, &copy, &toolchain, names, &here));
    // Its removal is no condition of success.
    let _ = fs::remove_dir_all(&copy);
    let differing = differing?;
    if !differing.is_empty() {
        bail!(
            "built in two folders, these differ: {}\nhint: a path of the folder, or an order that is not fixed, is in them",
            differing.join(", ")
        );
    }
    say(&format!("{} datakits built in two folders are the same to the bit", here.len()));
    Ok(())
}

fn build_copy(
    root: &Path,
    copy: &Path,
    toolchain: &toolchain::Toolchain,
    names: &[String],
    here: &[PathBuf],
) -> Result<Vec<String>> {
    let checkout = copy.join("checkout");
    copy_all(root, &checkout)?;
    let there = build::build(&checkout, &copy.join("compiled"), toolchain, names)?;
    let mut differing = Vec::new();
    for (here, there) in here.iter().zip(&there) {
        let read = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        if here.file_name() != there.file_name() || read(here)? != read(there)? {
            differing.push(here.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned());
        }
    }
    if here.len() != there.len() {
        bail!("{} datakits were built here, {} in the copy", here.len(), there.len());
    }
    Ok(differing)
}

/// Copies a file or folder with its times, which cargo judges by.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let about = |what: &str, path: &Path| format!("cannot {what} {}", path.display());
    if from.is_file() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(|| about("create", parent))?;
        }
        let copy = || -> std::io::Result<()> {
            fs::copy(from, to)?;
            fs::File::options().write(true).open(to)?.set_modified(fs::metadata(from)?.modified()?)
        };
        return copy().with_context(|| about("copy", from));
    }
    fs::create_dir_all(to).with_context(|| about("create", to))?;
    for entry in fs::read_dir(from).with_context(|| about("read", from))? {
        let entry = entry.with_context(|| about("read", from))?;
        if !LEFT_BEHIND.iter().any(|name| entry.file_name() == *name) {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

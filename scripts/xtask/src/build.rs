//! Builds datakits: every workspace member whose library is a `cdylib`.
//!
//! Each one is built by a cargo of its own, so that its bytes do not depend on which other datakits there are (cargo
//! unifies the features of what it builds together). The compile folder is not the host's, so that neither waits for the
//! other's lock, and not shared between checkouts, whose files cargo cannot tell apart in one folder.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::toolchain::{TARGET, Toolchain, cargo, run};

/// The profile of datakits in the workspace's Cargo.toml, and so the folder cargo builds them in.
pub const PROFILE: &str = "datakit";

/// Where a component's first eight bytes differ from a plain module's: version 13, layer 1.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A datakit of the workspace.
#[derive(Debug, PartialEq, Eq)]
struct Datakit {
    package: String,
    /// The library's name, as cargo spells its file.
    library: String,
}

impl Datakit {
    /// The name it is published by: the package's, without the prefix all packages have.
    fn name(&self) -> &str {
        self.package.strip_prefix("datakit-").unwrap_or(&self.package)
    }
}

/// The folder datakits of this checkout are compiled in.
pub fn default_directory(root: &Path) -> Result<PathBuf> {
    if let Some(directory) = env::var_os("DATAKIT_BUILD_DIR").filter(|directory| !directory.is_empty()) {
        return std::path::absolute(&directory)
            .with_context(|| format!("DATAKIT_BUILD_DIR={} is no path", directory.display()));
    }
    let name = root.file_name().map_or("checkout".into(), |name| name.to_string_lossy());
    let folder = format!("{name}-{:016x}", fnv1a(root.as_os_str().as_encoded_bytes()));
    Ok(crate::cache()?.join("datakit-build").join(folder))
}

/// Builds the datakits named, or all, into `root/target/datakits`, and returns the files in order of their names.
pub fn build(root: &Path, directory: &Path, toolchain: &Toolchain, names: &[String]) -> Result<Vec<PathBuf>> {
    let mut datakits = list(root, toolchain)?;
    if let Some(unknown) = names.iter().find(|name| !datakits.iter().any(|datakit| datakit.name() == **name)) {
        let known: Vec<&str> = datakits.iter().map(Datakit::name).collect();
        bail!("there is no datakit `{unknown}`\nhint: there are {}", known.join(", "));
    }
    datakits.retain(|datakit| names.is_empty() || names.iter().any(|name| datakit.name() == name));
    let output = root.join("target/datakits");
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    datakits.iter().map(|datakit| build_one(root, directory, toolchain, datakit, &output)).collect()
}

fn build_one(
    root: &Path,
    directory: &Path,
    toolchain: &Toolchain,
    datakit: &Datakit,
    output: &Path,
) -> Result<PathBuf> {
    let mut command = cargo(&toolchain.rustc, root);
    command
        .env("CARGO_TARGET_DIR", directory)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root, toolchain)?.join("\x1f"))
        .args(["build", "--quiet", "--locked", "--profile", PROFILE, "--target", TARGET, "--lib"])
        .args(["--package", &datakit.package]);
    run(&mut command, &format!("cannot build the datakit {}", datakit.name()))?;
    let built = directory.join(TARGET).join(PROFILE).join(format!("{}.wasm", datakit.library));
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    if !bytes.starts_with(&COMPONENT_HEADER) {
        bail!("{} is not a component: was it linked by another linker than wasm-component-ld?", built.display());
    }
    let file = output.join(format!("{}.wasm", datakit.name()));
    replace(&file, &bytes)?;
    Ok(file)
}

/// Flags that keep folders of this machine out of the component, besides the toolchain's own.
fn flags(root: &Path, toolchain: &Toolchain) -> Result<Vec<String>> {
    let mut flags = toolchain.flags.clone();
    flags.push(format!("--remap-path-prefix={}=/datakits", root.display()));
    let registry = match (env::var_os("CARGO_HOME"), env::var_os("HOME")) {
        (Some(home), _) => PathBuf::from(home),
        (None, Some(home)) => Path::new(&home).join(".cargo"),
        (None, None) => bail!("neither CARGO_HOME nor HOME is set"),
    };
    flags.push(format!("--remap-path-prefix={}=/cargo", registry.display()));
    Ok(flags)
}

/// Nobody sees a file half written.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = file.with_extension(format!("wasm.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut out = fs::File::create(&temporary)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&temporary, file)
    };
    write()
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(|| format!("cannot write {}", file.display()))
}

fn list(root: &Path, toolchain: &Toolchain) -> Result<Vec<Datakit>> {
    let mut command: Command = cargo(&toolchain.rustc, root);
    let output = command
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cannot run `cargo metadata`")?;
    if !output.status.success() {
        bail!("cannot read the workspace: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` did not print JSON")?;
    let mut datakits = datakits_of(&metadata);
    datakits.sort_by(|a, b| a.name().cmp(b.name()));
    if datakits.is_empty() {
        bail!("the workspace {} has no datakit: no member's library is a cdylib", root.display());
    }
    Ok(datakits)
}

fn datakits_of(metadata: &Value) -> Vec<Datakit> {
    let array = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut datakits = Vec::new();
    for package in array(metadata, "packages") {
        for target in array(&package, "targets") {
            let is_component = array(&target, "crate_types").iter().any(|kind| kind == "cdylib");
            if let (true, Some(package), Some(library)) =
                (is_component, package["name"].as_str(), target["name"].as_str())
            {
                datakits.push(Datakit { package: package.to_owned(), library: library.replace('-', "_") });
            }
        }
    }
    datakits
}

/// Fowler–Noll–Vo, 64 bits: a name for a folder, not a secret.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datakit_is_a_member_whose_library_is_a_cdylib() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "datakit-model", "targets": [{ "name": "datakit_model", "crate_types": ["lib"] }] },
            { "name": "datakit-sqlserver-bronze", "targets": [
                { "name": "datakit_sqlserver_bronze", "crate_types": ["cdylib", "rlib"] },
                { "name": "naming", "crate_types": ["bin"] },
            ] },
        ] });
        let datakits = datakits_of(&metadata);
        assert_eq!(datakits.len(), 1);
        assert_eq!(datakits[0].name(), "sqlserver-bronze");
        assert_eq!(datakits[0].library, "datakit_sqlserver_bronze");
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.wasm");
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("missing/a.wasm"), b"x").is_err());
    }

    #[test]
    fn two_checkouts_do_not_share_a_folder() {
        // Known values of the algorithm, from its authors' test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}

//! Which compiler builds datakits, and with which standard library.
//!
//! Datakits are built for `wasm32-unknown-unknown`, so that a component imports our WIT and nothing else. What is looked
//! for, in this order:
//!
//! 1. the active toolchain, when it has the target (`rustup target add wasm32-unknown-unknown`);
//! 2. `$DATAKIT_RUSTC`, then `/usr/bin/rustc`, when it has the target, or the source of its own standard library (Debian's
//!    `rustc-web` and `rust-web-src`): the library is then built once and kept in the user's cache;
//! 3. neither: an error naming both ways.
//!
//! Compiler and library source must be of one version, to the commit. The linker that writes components comes with
//! rustup's toolchains only, so the active toolchain's is used with any compiler.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::say;

/// The target of datakits.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where paths of the standard library's source lead to in a component, whatever folder they came from.
const STD_PREFIX: &str = "/rust/library";

const NO_STD: &str = "\
no standard library for wasm32-unknown-unknown
hint: with rustup:  rustup target add wasm32-unknown-unknown
      on Debian:    apt-get install -y --no-install-recommends rustc-web rust-web-src";

/// A compiler with a standard library for [`TARGET`].
#[derive(Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// The linker that writes components.
    pub linker: PathBuf,
    /// What the compiler has to be told to find library and linker.
    pub flags: Vec<String>,
}

/// Finds a toolchain, and builds its standard library where only the source is there.
pub fn choose(root: &Path) -> Result<Toolchain> {
    let active = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    if Compiler::new(&active, root).is_none() {
        bail!("`{}` does not run\nhint: install Rust from https://rustup.rs", active.display());
    }
    let mut candidates = vec![active.clone()];
    candidates.extend(env::var_os("DATAKIT_RUSTC").map(PathBuf::from));
    candidates.push(PathBuf::from("/usr/bin/rustc"));
    for rustc in candidates {
        let Some(compiler) = Compiler::new(&rustc, root) else { continue };
        let is_active = rustc == active;
        if compiler.has_target() {
            return compiler.toolchain(None, is_active, &active);
        }
        if let Some(source) = compiler.library_source() {
            let sysroot = compiler.sysroot_with_target(&source)?;
            return compiler.toolchain(Some(&sysroot), is_active, &active);
        }
    }
    bail!(NO_STD)
}

/// A compiler that runs, and what it says of itself.
struct Compiler<'a> {
    rustc: PathBuf,
    /// Where it is asked: a toolchain file there decides what `rustc` is.
    root: &'a Path,
    release: String,
    commit: String,
    host: String,
}

impl<'a> Compiler<'a> {
    fn new(rustc: &Path, root: &'a Path) -> Option<Self> {
        let about = ask(rustc, root, &["-vV"])?;
        let line =
            |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
        Some(Self {
            rustc: rustc.to_owned(),
            root,
            release: line("release:")?,
            commit: line("commit-hash:").unwrap_or_else(|| "unknown".into()),
            host: line("host:")?,
        })
    }

    fn has_target(&self) -> bool {
        ask(&self.rustc, self.root, &["--print", "target-libdir", "--target", TARGET])
            .is_some_and(|folder| has_std(Path::new(&folder)))
    }

    fn sysroot(&self) -> Option<PathBuf> {
        ask(&self.rustc, self.root, &["--print", "sysroot"]).map(PathBuf::from)
    }

    fn library_source(&self) -> Option<PathBuf> {
        let source = self.sysroot()?.join("lib/rustlib/src/rust/library");
        source.join("Cargo.lock").is_file().then_some(source)
    }

    /// The folder of tools that come with the compiler and are not on the path.
    fn tools(&self) -> Option<PathBuf> {
        Some(self.sysroot()?.join("lib/rustlib").join(&self.host).join("bin"))
    }

    fn toolchain(self, sysroot: Option<&Path>, is_active: bool, active: &Path) -> Result<Toolchain> {
        let mut flags = Vec::new();
        let mut linker = PathBuf::from("wasm-component-ld");
        let own = self.tools().filter(|tools| tools.join("wasm-component-ld").is_file());
        if own.is_none() {
            let tools = Compiler::new(active, self.root)
                .filter(|_| !is_active)
                .and_then(|active| active.tools())
                .filter(|tools| tools.join("wasm-component-ld").is_file());
            let Some(tools) = tools else {
                bail!(
                    "rustc {} has no wasm-component-ld, the linker that writes components\nhint: it comes with the \
                     toolchains of https://rustup.rs; make one of them the active one",
                    self.release
                )
            };
            linker = tools.join("wasm-component-ld");
            flags.push(format!("-Clink-arg=--wasm-ld-path={}", tools.join("gcc-ld/wasm-ld").display()));
        }
        if let Some(source) = self.library_source() {
            flags.push(format!("--remap-path-prefix={}={STD_PREFIX}", source.display()));
        }
        let library = match sysroot {
            Some(sysroot) => {
                flags.push(format!("--sysroot={}", sysroot.display()));
                sysroot.display().to_string()
            }
            None => "the toolchain".to_owned(),
        };
        say(&format!("datakits: rustc {} ({}), standard library from {library}", self.release, self.rustc.display()));
        Ok(Toolchain { rustc: self.rustc, linker, flags })
    }

    /// A sysroot with the standard library for the target: from the cache, or built into it.
    fn sysroot_with_target(&self, source: &Path) -> Result<PathBuf> {
        let commit: String = self.commit.chars().take(9).collect();
        let folder = crate::cache()?.join("wasm-sysroot");
        let sysroot = folder.join(format!("{}-{commit}", self.release));
        if has_std(&target_libraries(&sysroot)) {
            return Ok(sysroot);
        }
        say(&format!(
            "datakits: building the standard library of rustc {} once, into {}",
            self.release,
            sysroot.display()
        ));
        // Its own name for each process, so that two at once do not meet; the first to finish wins.
        let work = folder.join(format!("{}-{commit}.build-{}", self.release, std::process::id()));
        let built = self.build_std(source, &work);
        let moved = built.and_then(|built| match fs::rename(&built, &sysroot) {
            Err(_) if has_std(&target_libraries(&sysroot)) => Ok(()),
            done => done.with_context(|| format!("cannot move {} to {}", built.display(), sysroot.display())),
        });
        // What is left of the work is of no use, and its removal no condition of success.
        let _ = fs::remove_dir_all(&work);
        moved.map(|()| sysroot)
    }

    fn build_std(&self, source: &Path, work: &Path) -> Result<PathBuf> {
        let write = |path: PathBuf, text: &str| {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        let create =
            |path: &Path| fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()));
        create(&work.join("src"))?;
        write(
            work.join("Cargo.toml"),
            "[package]\nname = 'wasm-std'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n[profile.release]\npanic = 'abort'\n",
        )?;
        write(work.join("src/lib.rs"), "#![no_std]\n")?;
        let target_directory = work.join("target");
        let mut command = cargo(&self.rustc, work);
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .env("__CARGO_TESTS_ONLY_SRC_ROOT", source)
            .env("CARGO_TARGET_DIR", &target_directory)
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("-Cembed-bitcode=yes\x1f--remap-path-prefix={}={STD_PREFIX}", source.display()),
            )
            .args(["build", "--quiet", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort"]);
        run(&mut command, "cannot build the standard library for wasm32-unknown-unknown")?;
        let sysroot = work.join("sysroot");
        let libraries = target_libraries(&sysroot);
        create(&libraries)?;
        let built = target_directory.join(TARGET).join("release/deps");
        for entry in fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", built.display()))?.path();
            let Some(name) = path.file_name().and_then(OsStr::to_str) else { continue };
            if name.ends_with(".rlib") && !name.starts_with("libwasm_std") {
                fs::copy(&path, libraries.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        if !has_std(&libraries) {
            bail!("the build of the standard library left no libstd in {}", built.display());
        }
        Ok(sysroot)
    }
}

/// A cargo that knows nothing of the one that runs us, nor of what the caller's environment wants of the host's build.
pub fn cargo(rustc: &Path, folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let foreign =
            ["CARGO_PKG_", "CARGO_MANIFEST", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "CARGO_RESOLVER_"];
        if foreign.iter().any(|prefix| text.starts_with(prefix))
            || text.starts_with("__CARGO")
            || text.starts_with("RUSTC")
            || matches!(
                &*text,
                "RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_TARGET" | "CARGO_BUILD_RUSTFLAGS"
            )
        {
            command.env_remove(name);
        }
    }
    command.env("RUSTC", rustc).current_dir(folder);
    command
}

/// Runs a command to its end; what it prints is seen by the person.
pub fn run(command: &mut Command, failure: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{failure}: `{program}` does not start"))?;
    if !status.success() {
        bail!("{failure}: {program} ended with {status}");
    }
    Ok(())
}

fn ask(rustc: &Path, folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(rustc).args(arguments).current_dir(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn target_libraries(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

fn has_std(libraries: &Path) -> bool {
    fs::read_dir(libraries).into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

//! Is it a datakit, of a version we serve, that imports nothing it must not have?

use semver::Version;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::WasmError;
use crate::text::Text;
use crate::v0_2::{EXPORT, IMPORTS, PACKAGE, VERSION};
use crate::wasi;

/// What a component asks of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// It imports WASI, so it gets the closed-off one.
    pub(crate) wasi: bool,
}

/// Tells a component from a core module and from anything else, by the first eight bytes.
pub(crate) fn header(bytes: &[u8]) -> Result<(), WasmError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(WasmError::CoreModule),
        [0, b'a', b's', b'm', ..] => {
            Err(WasmError::Invalid { reason: "its header is cut short or unknown".to_owned() })
        }
        _ => Err(WasmError::NotWebAssembly),
    }
}

/// Checks exports and imports by name; their types are checked when the component is linked.
pub(crate) fn names(engine: &Engine, component: &Component) -> Result<Needs, WasmError> {
    let component_type = component.component_type();
    let exports: Vec<&str> = component_type.exports(engine).map(|(name, _)| name).collect();
    let mut ours = exports.iter().filter_map(|name| Ours::parse(name));
    let Some(export) = ours.clone().find(|ours| ours.interface == EXPORT).or_else(|| ours.next()) else {
        return Err(WasmError::NotADatakit { exports: list(&exports) });
    };
    // Of another version first: its interfaces may have other names.
    export.check_version()?;
    if export.interface != EXPORT {
        return Err(WasmError::NotADatakit { exports: list(&exports) });
    }
    let mut needs = Needs { wasi: false };
    for (name, _) in component_type.imports(engine) {
        match Ours::parse(name) {
            Some(ours) => {
                ours.check_version()?;
                if !IMPORTS.contains(&ours.interface) {
                    return Err(WasmError::ForbiddenImport { import: Text::name(name).into_inner() });
                }
            }
            None if wasi::serves(name) => needs.wasi = true,
            None => return Err(WasmError::ForbiddenImport { import: Text::name(name).into_inner() }),
        }
    }
    Ok(needs)
}

/// An import or export of our package: `datakit:kit/batches@0.2.0`.
struct Ours<'a> {
    whole: &'a str,
    interface: &'a str,
    version: &'a str,
}

impl<'a> Ours<'a> {
    fn parse(whole: &'a str) -> Option<Self> {
        let rest = whole.strip_prefix(PACKAGE)?.strip_prefix('/')?;
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        Some(Self { whole, interface, version })
    }

    /// Within 0.x, versions of one minor number fit, and a guest may be older than the host, never newer.
    fn check_version(&self) -> Result<(), WasmError> {
        let unknown = || WasmError::UnknownWit { found: Text::name(self.whole).into_inner(), served: VERSION };
        let parse = |text: &str| Version::parse(text).map_err(|_| unknown());
        let (theirs, ours) = (parse(self.version)?, parse(VERSION)?);
        let fits = theirs.pre.is_empty()
            && (theirs.major, theirs.minor) == (ours.major, ours.minor)
            && theirs.patch <= ours.patch;
        if fits { Ok(()) } else { Err(unknown()) }
    }
}

fn list(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("`{}`", Text::name(name).into_inner())).collect();
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_fits_when_it_is_not_newer_and_of_the_same_minor_number() {
        let check = |name: &str| Ours::parse(name).unwrap().check_version().is_ok();
        assert!(check("datakit:kit/batches@0.2.0"));
        assert!(!check("datakit:kit/batches@0.2.1"));
        assert!(!check("datakit:kit/batches@0.1.0"));
        assert!(!check("datakit:kit/batches@0.3.0"));
        assert!(!check("datakit:kit/batches@1.0.0"));
        assert!(!check("datakit:kit/batches@0.2.0-rc.1"));
        assert!(!check("datakit:kit/batches"));
    }

    #[test]
    fn a_header_tells_what_a_file_is() {
        assert!(header(b"\0asm\x0d\0\x01\0").is_ok());
        assert!(matches!(header(b"\0asm\x01\0\0\0"), Err(WasmError::CoreModule)));
        assert!(matches!(header(b"\0asm"), Err(WasmError::Invalid { .. })));
        assert!(matches!(header(b"PK"), Err(WasmError::NotWebAssembly)));
    }
}

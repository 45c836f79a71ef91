//! Telling a datakit from other WebAssembly, by its imports and exports alone.

use wasmparser::{Chunk, Encoding, Parser, Payload};

use crate::error::RegistryError;

/// The versions of `datakit:kit` that this host runs.
pub const KNOWN_WIT_VERSIONS: &[&str] = &["0.2.0"];

const PACKAGE: &str = "datakit:kit";
const EXPORT: &str = "datakit:kit/extractor@";

/// What a component asks for and offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// The world it was built for: `datakit:kit/source-datakit@0.2.0`.
    pub wit_world: String,
    /// The version of that world's package.
    pub wit_version: String,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
}

/// Sections of a component that are looked at: a Python component of 20 MB has some hundreds.
const MAX_SECTIONS: usize = 10_000;
/// Imports and exports together.
const MAX_NAMES: usize = 10_000;
/// Their names together, in bytes.
const MAX_NAME_BYTES: usize = 1024 * 1024;

/// Reads imports and exports; checks that the bytes look like a component, that it is a datakit, and of a known WIT version.
///
/// What is nested in the component is passed over, so that this takes little whatever the bytes are. Whether the component is valid is for
/// the caller to find out where a stranger's bytes may take time and memory.
///
/// # Errors
/// A module, or no WebAssembly at all; a component of too many parts; a component that is no datakit; a WIT version this host
/// does not know.
pub fn inspect_component(bytes: &[u8]) -> Result<ComponentInfo, RegistryError> {
    identify(read_names(bytes)?)
}

fn invalid(error: wasmparser::BinaryReaderError) -> RegistryError {
    RegistryError::InvalidComponent(error.to_string())
}

/// Names of imports and exports.
#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
    bytes: usize,
}

impl Names {
    fn kept(&mut self, name: &str) -> Result<String, RegistryError> {
        self.bytes = self.bytes.saturating_add(name.len());
        if self.imports.len() + self.exports.len() >= MAX_NAMES {
            return Err(RegistryError::OversizedComponent { what: "imports and exports", limit: MAX_NAMES });
        }
        if self.bytes > MAX_NAME_BYTES {
            return Err(RegistryError::OversizedComponent {
                what: "bytes in the names of imports and exports",
                limit: MAX_NAME_BYTES,
            });
        }
        Ok(name.to_owned())
    }
}

fn read_names(bytes: &[u8]) -> Result<Names, RegistryError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(RegistryError::NotWebAssembly);
    }
    let cut_short = || RegistryError::InvalidComponent("it is cut short".to_owned());
    let (mut parser, mut rest, mut names) = (Parser::new(0), bytes, Names::default());
    for _ in 0..MAX_SECTIONS {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).map_err(invalid)? else {
            return Err(cut_short());
        };
        let mut nested = 0;
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => return Err(RegistryError::NotAComponent),
            Payload::End(_) => return Ok(names),
            Payload::ModuleSection { unchecked_range: range, .. }
            | Payload::ComponentSection { unchecked_range: range, .. } => nested = range.len(),
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let name = names.kept(import.map_err(invalid)?.name.name)?;
                    names.imports.push(name);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let name = names.kept(export.map_err(invalid)?.name.name)?;
                    names.exports.push(name);
                }
            }
            _ => {}
        }
        rest = consumed.checked_add(nested).and_then(|passed| rest.get(passed..)).ok_or_else(cut_short)?;
    }
    Err(RegistryError::OversizedComponent { what: "sections", limit: MAX_SECTIONS })
}

fn identify(Names { imports, exports, .. }: Names) -> Result<ComponentInfo, RegistryError> {
    let Some(version) = exports.iter().find_map(|name| name.strip_prefix(EXPORT)).map(ToOwned::to_owned) else {
        return Err(RegistryError::NotADatakit { exports });
    };
    if !KNOWN_WIT_VERSIONS.contains(&version.as_str()) {
        return Err(RegistryError::UnknownWitVersion { version });
    }
    Ok(ComponentInfo {
        wit_world: format!("{PACKAGE}/source-datakit@{version}"),
        wit_version: version,
        imports,
        exports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(bytes: &[u8]) -> String {
        inspect_component(bytes).unwrap_err().to_string()
    }

    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value > 0x7f {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id][..], &leb(content.len()), content].concat()
    }

    fn component(sections: &[u8]) -> Vec<u8> {
        [b"\0asm\x0d\0\x01\0", sections].concat()
    }

    /// Exports of one instance under these names.
    fn exports(names: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
        let count = leb(names.len());
        let exports = names.flat_map(|name| [&[0][..], &leb(name.len()), name.as_bytes(), &[5, 0, 0]].concat());
        section(11, &count.into_iter().chain(exports).collect::<Vec<u8>>())
    }

    #[test]
    fn components_in_one_another_are_passed_over() {
        let mut nested = component(&[]);
        for _ in 0..20_000 {
            nested = component(&section(4, &nested));
        }
        let datakit = || exports(std::iter::once("datakit:kit/extractor@0.2.0".to_owned()));
        let bomb = component(&[section(4, &nested), datakit()].concat());
        assert_eq!(inspect_component(&bomb).unwrap().exports, ["datakit:kit/extractor@0.2.0"]);
        assert!(refuse(&nested).contains("not a datakit"), "{}", refuse(&nested));
    }

    #[test]
    fn parts_and_names_of_a_component_are_bounded() {
        let many = component(&section(4, &component(&[])).repeat(15_000));
        let names = component(&exports((0..50_000).map(|i| i.to_string())));
        let long = component(&exports((0..20).map(|i| format!("{}{i}", "x".repeat(90_000)))));
        let mut cut = component(&section(4, &component(&[])));
        cut.truncate(cut.len() - 1);
        insta::assert_snapshot!([refuse(&many), refuse(&names), refuse(&long), refuse(&cut)].join("\n"));
    }

    #[test]
    fn other_bytes_say_what_they_are() {
        insta::assert_snapshot!(
            [
                refuse(b"hello"),
                refuse(b"\0asm\x01\0\0\0"),
                refuse(b"\0asm\x0d\0\x01\0"),
                refuse(b"\0asm\x0d\0\x01\0\xff\xff"),
            ]
            .join("\n")
        );
    }
}

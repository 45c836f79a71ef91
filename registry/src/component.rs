//! Telling a datakit from other WebAssembly, by its imports and exports alone.

use wasmparser::{Encoding, Parser, Payload, Validator};

use crate::error::RegistryError;

/// The versions of `datakit:kit` that this host runs.
pub const KNOWN_WIT_VERSIONS: &[&str] = &["0.1.0"];

const PACKAGE: &str = "datakit:kit";
const EXPORT: &str = "datakit:kit/datakit@";

/// What a component asks for and offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// The world it was built for: `datakit:kit/source-datakit@0.1.0`.
    pub wit_world: String,
    /// The version of that world's package.
    pub wit_version: String,
    /// Names of its imports.
    pub imports: Vec<String>,
    /// Names of its exports.
    pub exports: Vec<String>,
}

/// Reads imports and exports; checks that the bytes are a valid component, a datakit, and of a known WIT version.
///
/// # Errors
/// A module, or no WebAssembly at all; a component that is no datakit; a WIT version this host does not know.
pub fn inspect_component(bytes: &[u8]) -> Result<ComponentInfo, RegistryError> {
    let info = read_names(bytes)?;
    Validator::new().validate_all(bytes).map_err(invalid)?;
    identify(info)
}

/// The same of bytes that were found valid before: validation reads every function, at every start.
pub(crate) fn inspect_valid_component(bytes: &[u8]) -> Result<ComponentInfo, RegistryError> {
    identify(read_names(bytes)?)
}

fn invalid(error: wasmparser::BinaryReaderError) -> RegistryError {
    RegistryError::InvalidComponent(error.to_string())
}

/// Names of imports and exports.
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

fn read_names(bytes: &[u8]) -> Result<Names, RegistryError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(RegistryError::NotWebAssembly);
    }
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(RegistryError::NotAComponent);
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(Names { imports, exports })
}

fn identify(Names { imports, exports }: Names) -> Result<ComponentInfo, RegistryError> {
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

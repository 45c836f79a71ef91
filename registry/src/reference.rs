use std::fmt;
use std::str::FromStr;

use semver::Version;

use crate::digest::Digest;
use crate::error::RegistryError;

const MAX_NAME_BYTES: usize = 64;

/// Which datakit: `sqlserver-bronze@0.1.0` or `sqlserver-bronze@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The datakit's name: lower-case letters, digits and single hyphens, starting with a letter.
    pub name: String,
    /// Which of its versions.
    pub selector: Selector,
}

/// One version, by number or by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// A published version.
    Version(Version),
    /// The digest of its manifest.
    Digest(Digest),
}

impl Reference {
    /// A version of a datakit.
    ///
    /// # Errors
    /// The name or the version is not one.
    pub fn version(name: &str, version: &str) -> Result<Self, RegistryError> {
        format!("{name}@{version}").parse()
    }
}

impl FromStr for Reference {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let bad = |reason: String| RegistryError::BadReference { reference: text.to_owned(), reason };
        let Some((name, selector)) = text.split_once('@') else {
            return Err(bad("it names no version".into()));
        };
        check_name(name).map_err(bad)?;
        let selector = if selector.contains(':') {
            Selector::Digest(selector.parse()?)
        } else {
            let version = Version::parse(selector).map_err(|e| bad(format!("`{selector}` is no version: {e}")))?;
            if !version.build.is_empty() {
                return Err(bad("build metadata (`+…`) cannot be a registry's tag".into()));
            }
            Selector::Version(version)
        };
        Ok(Self { name: name.to_owned(), selector })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            Selector::Version(version) => write!(f, "{}@{version}", self.name),
            Selector::Digest(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let fine = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if fine {
        return Ok(());
    }
    Err(format!("`{name}` is no datakit name: lower-case letters, digits and single hyphens, starting with a letter"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_as_they_print() {
        let digest = format!("kit@sha256:{}", "0".repeat(64));
        for text in ["sqlserver-bronze@0.1.0", "a1@1.0.0-rc.1", &digest] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_references_say_why() {
        let refuse = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        insta::assert_snapshot!(
            ["kit", "Kit@1.0.0", "../x@1.0.0", "kit@1", "kit@1.0.0+x", "kit@sha256:00", "@1.0.0"]
                .map(refuse)
                .join("\n")
        );
    }
}

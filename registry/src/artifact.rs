use crate::component::ComponentInfo;
use crate::digest::Digest;

/// What a published component says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The datakit's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub summary: String,
}

/// A verified artifact, ready to load.
#[derive(Clone)]
pub struct Artifact {
    /// Name, version and summary by the annotations of `host publish`, checked against the reference; none for an artifact of
    /// another tool, of which the component alone says what it is.
    pub description: Option<Description>,
    /// The digest of its manifest: what the lock file pins.
    pub digest: Digest,
    /// The digest of the component.
    pub component_digest: Digest,
    /// What the component imports and exports.
    pub info: ComponentInfo,
    /// The component.
    pub component: Vec<u8>,
    /// Nothing was fetched.
    pub from_cache: bool,
}

/// What a publish did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The same bytes were there before.
    pub already_there: bool,
}

/// One published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// The datakit's name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// The digest of its manifest.
    pub digest: Digest,
}

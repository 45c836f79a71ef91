//! Datakits in OCI registries: media types, push, pull, verify, lock file, cache.
//!
//! An artifact follows the CNCF layout for WebAssembly: an image manifest whose config is
//! `application/vnd.wasm.config.v0+json` (without a creation time, so that the same component always gives the same digest)
//! and whose one layer is `application/wasm`. Name, version, WIT world and description are annotations. An artifact of another tool
//! has the same layout without them: then the component says its name and version.
//!
//! - [`Location`] says where: a registry over HTTP(S) or an OCI image layout directory, `oci:PATH`;
//! - [`Reference`] says what: `name@version` or `name@sha256:…`;
//! - [`Registry`] pushes, pulls and lists; what it pulls is verified and kept in a [`Cache`], content-addressed;
//! - [`LockFile`] pins versions to digests;
//! - [`inspect_component`] tells a datakit from other WebAssembly; whether it is valid, its caller finds out.

mod addresses;
mod artifact;
mod authorization;
mod cache;
mod component;
mod credentials;
mod digest;
mod error;
#[cfg(test)]
mod fuzz;
mod http;
mod layout;
mod location;
mod lock;
mod manifest;
mod reference;
mod registry;
mod remote;

pub use artifact::{Artifact, Description, Published, VersionEntry};
pub use cache::Cache;
pub use component::{ComponentInfo, KNOWN_WIT_VERSIONS, inspect_component};
pub use digest::Digest;
pub use error::RegistryError;
pub use location::Location;
pub use lock::{LockFile, Pin};
pub use manifest::published_digest;
pub use reference::{Reference, Selector};
pub use registry::{Registry, RegistryOptions};

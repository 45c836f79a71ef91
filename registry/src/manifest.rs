//! The CNCF layout for WebAssembly in OCI registries, written so that the same component gives the same bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifact::Description;
use crate::digest::Digest;
use crate::error::RegistryError;

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const LAYER_TYPE: &str = "application/wasm";
/// Far above what ours need; a registry's answer beyond it is not a manifest.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 256 * 1024;

const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
const DESCRIPTION: &str = "org.opencontainers.image.description";
const WIT_WORLD: &str = "dev.datakit.wit.world";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            annotations: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    architecture: &'a str,
    os: &'a str,
    layer_digests: Vec<&'a Digest>,
    component: ConfigComponent<'a>,
}

#[derive(Serialize)]
struct ConfigComponent<'a> {
    exports: &'a [String],
    imports: &'a [String],
    target: &'a str,
}

/// The digest of the manifest that a component gets when it is published.
///
/// # Errors
/// Not a datakit.
pub fn published_digest(component: &[u8], description: &Description) -> Result<Digest, RegistryError> {
    Ok(Digest::of(&build(component, description)?.manifest))
}

/// A manifest and its config, as bytes to push.
pub(crate) struct Built {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
}

pub(crate) fn build(component: &[u8], description: &Description) -> Result<Built, RegistryError> {
    let info = crate::component::inspect_component(component)?;
    let layer = Descriptor::of(LAYER_TYPE, component);
    let config = serde_json::to_vec(&Config {
        architecture: "wasm",
        os: "wasip2",
        layer_digests: vec![&layer.digest],
        component: ConfigComponent { exports: &info.exports, imports: &info.imports, target: &info.wit_world },
    })
    .map_err(|e| RegistryError::BadManifest(e.to_string()))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        config: Descriptor::of(CONFIG_TYPE, &config),
        layers: vec![layer],
        annotations: BTreeMap::from([
            (TITLE.to_owned(), description.name.clone()),
            (VERSION.to_owned(), description.version.clone()),
            (DESCRIPTION.to_owned(), description.summary.clone()),
            (WIT_WORLD.to_owned(), info.wit_world),
        ]),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(|e| RegistryError::BadManifest(e.to_string()))?;
    Ok(Built { manifest, config })
}

impl Manifest {
    /// Reads a manifest that somebody else may have written: one layer, of our kind, within the limit.
    pub(crate) fn parse(bytes: &[u8], max_component_bytes: u64) -> Result<Self, RegistryError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| RegistryError::BadManifest(e.to_string()))?;
        if manifest.config.media_type != CONFIG_TYPE {
            let found = manifest.config.media_type;
            return Err(RegistryError::BadManifest(format!("its config is `{found}`, not `{CONFIG_TYPE}`")));
        }
        match manifest.layers.as_slice() {
            [layer] if layer.media_type == LAYER_TYPE => {
                if layer.size > max_component_bytes {
                    return Err(RegistryError::TooLarge { size_bytes: layer.size, max_component_bytes });
                }
                Ok(manifest)
            }
            [layer] => {
                Err(RegistryError::BadManifest(format!("its layer is `{}`, not `{LAYER_TYPE}`", layer.media_type)))
            }
            layers => Err(RegistryError::BadManifest(format!("it has {} layers, not one", layers.len()))),
        }
    }

    pub(crate) fn layer(&self) -> &Descriptor {
        &self.layers[0]
    }

    fn annotation(&self, key: &str) -> Result<String, RegistryError> {
        let missing = || RegistryError::BadManifest(format!("it has no annotation `{key}`"));
        self.annotations.get(key).cloned().ok_or_else(missing)
    }

    /// Name, version and summary as published; none for a manifest of another tool, whose titles are for people.
    pub(crate) fn description(&self) -> Result<Option<Description>, RegistryError> {
        if !self.annotations.contains_key(WIT_WORLD) {
            return Ok(None);
        }
        Ok(Some(Description {
            name: self.annotation(TITLE)?,
            version: self.annotation(VERSION)?,
            summary: self.annotations.get(DESCRIPTION).cloned().unwrap_or_default(),
        }))
    }
}

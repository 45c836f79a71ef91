//! What a datakit is.

use std::path::Path;

use datakit_config::{Config, Overrides};
use datakit_registry::{Digest, Reference, inspect_component};
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::packages::read_component;
use crate::reports::Reports;

/// What a datakit says it is.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedDatakit {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub summary: String,
    /// The manifest's digest; none for a file.
    pub digest: Option<String>,
    /// The component's digest.
    pub component_digest: String,
    /// The component's size.
    pub bytes: usize,
    /// The WIT world it is for.
    pub wit_world: String,
    /// What it imports.
    pub imports: Vec<String>,
    /// The connections it needs.
    pub roles: Vec<InspectedRole>,
    /// The JSON Schema of its settings.
    pub settings_schema: Value,
}

/// A connection that a datakit needs.
#[derive(Debug, Clone, Serialize)]
pub struct InspectedRole {
    /// The role.
    pub name: String,
    /// The kinds of connection it takes.
    pub kinds: Vec<String>,
    /// What it is for.
    pub purpose: String,
}

struct Found {
    component: Vec<u8>,
    component_digest: String,
    digest: Option<String>,
}

/// Describes a datakit: a `.wasm` file, or a reference.
///
/// # Errors
/// The datakit cannot be had or is invalid, or the work was stopped.
pub async fn inspect(context: &Context, datakit: &str) -> Result<InspectedDatakit, Reports> {
    context.unless_stopped(describe(context, datakit)).await
}

async fn describe(context: &Context, datakit: &str) -> Result<InspectedDatakit, Reports> {
    let config = context.config(Overrides::default())?;
    let found = find(datakit, context, &config).await?;
    let wit = inspect_component(&found.component)?;
    let bytes = found.component.len();
    let info = context.runtime(&config)?.load(found.component, &found.component_digest).await?.describe().await?;
    let roles = info.roles.into_iter();
    Ok(InspectedDatakit {
        name: info.name,
        version: info.version,
        summary: info.summary,
        digest: found.digest,
        component_digest: found.component_digest,
        bytes,
        wit_world: wit.wit_world,
        imports: wit.imports,
        roles: roles.map(|role| InspectedRole { name: role.name, kinds: role.kinds, purpose: role.purpose }).collect(),
        settings_schema: serde_json::from_str(&info.settings_schema).unwrap_or(Value::String(info.settings_schema)),
    })
}

/// A file when there is one of that name, else a reference.
async fn find(text: &str, context: &Context, config: &Config) -> Result<Found, Reports> {
    let path = Path::new(text);
    if path.is_file() || text.ends_with(".wasm") {
        let component = read_component(path, config.limits.guest.max_component_bytes).await?;
        let component_digest = Digest::of(&component).as_str().to_owned();
        return Ok(Found { component, component_digest, digest: None });
    }
    let reference: Reference = text.parse()?;
    let artifact = context.registry(config)?.pull(&reference, &context.cache(config)?).await?;
    Ok(Found {
        component: artifact.component,
        component_digest: artifact.component_digest.as_str().to_owned(),
        digest: Some(artifact.digest.as_str().to_owned()),
    })
}

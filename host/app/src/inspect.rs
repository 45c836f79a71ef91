//! What a datakit is.

use datakit_config::Overrides;
use serde::Serialize;
use serde_json::Value;

use crate::component::{Loaded, file_named};
use crate::context::Context;
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
    /// The manifest's digest; of a file, the one that it gets when it is published.
    pub digest: String,
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

/// Describes a datakit: a `.wasm` file, or a reference.
///
/// # Errors
/// The datakit cannot be had, is invalid or is another one than the reference names, or the work was stopped.
pub async fn inspect(context: &Context, datakit: &str) -> Result<InspectedDatakit, Reports> {
    context.unless_stopped(describe(context, datakit)).await
}

async fn describe(context: &Context, datakit: &str) -> Result<InspectedDatakit, Reports> {
    let config = context.config(Overrides::default())?;
    let Loaded { info, digest, component_digest, bytes, wit, .. } = match file_named(datakit) {
        Some(path) => Loaded::from_file(context, &config, &path).await?,
        None => Loaded::from_registry(context, &config, &datakit.parse()?).await?,
    };
    let roles = info.roles.into_iter();
    Ok(InspectedDatakit {
        name: info.name,
        version: info.version,
        summary: info.summary,
        digest,
        component_digest,
        bytes,
        wit_world: wit.wit_world,
        imports: wit.imports,
        roles: roles.map(|role| InspectedRole { name: role.name, kinds: role.kinds, purpose: role.purpose }).collect(),
        settings_schema: serde_json::from_str(&info.settings_schema).unwrap_or(Value::String(info.settings_schema)),
    })
}

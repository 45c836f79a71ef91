//! Publish, pull and list: datakits and the registry.

use std::path::Path;

use datakit_config::Overrides;
use datakit_registry::{Digest, Reference, VersionEntry, inspect_component};
use serde::Serialize;

use crate::component::{description, identify, read_component};
use crate::context::Context;
use crate::error::AppError;
use crate::reports::Reports;
use crate::requests::PullRequest;

/// A datakit that is in the registry now.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its manifest digest.
    pub digest: String,
    /// The registry.
    pub registry: String,
    /// Whether it was there before, with the same bytes.
    pub already_there: bool,
}

/// Publishes a component, under the name and version that it says it has. A version is never replaced.
///
/// # Errors
/// The file cannot be read or is no datakit, the version is there with other bytes, the registry cannot be reached, or the work
/// was stopped.
pub async fn publish(context: &Context, file: &Path) -> Result<Published, Reports> {
    context.unless_stopped(publish_file(context, file)).await
}

async fn publish_file(context: &Context, file: &Path) -> Result<Published, Reports> {
    let config = context.config(Overrides::default())?;
    let limit = config.limits.guest.max_component_bytes;
    let component = read_component(file, limit).await?;
    // What is no datakit is told as the registry would tell it, before anything of it is compiled.
    inspect_component(&component)?;
    let digest = Digest::of(&component);
    let name = file.display().to_string();
    let datakit = context.load(&config, &name, component.clone(), digest.as_str()).await?;
    let info = datakit.describe().await?;
    // A schema that is none, or that nobody could check settings against.
    datakit.check_schema().await?;
    let registry = context.registry(&config)?;
    let description = description(&info);
    let published = registry.publish(&component, &description).await?;
    Ok(Published {
        name: description.name,
        version: description.version,
        digest: published.digest.as_str().to_owned(),
        registry: registry.location().to_string(),
        already_there: published.already_there,
    })
}

/// A datakit that is in the cache now.
#[derive(Debug, Clone, Serialize)]
pub struct Pulled {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its manifest digest.
    pub digest: String,
    /// The WIT world it is for.
    pub wit_world: String,
    /// What it is for.
    pub summary: String,
    /// The component's size.
    pub bytes: usize,
    /// Whether it was there before.
    pub from_cache: bool,
}

/// Fetches a datakit into the cache, and verifies it.
///
/// # Errors
/// The datakit cannot be had or is invalid, the file cannot be written, or the work was stopped.
pub async fn pull(context: &Context, request: &PullRequest) -> Result<Pulled, Reports> {
    context.unless_stopped(pull_datakit(context, request)).await
}

async fn pull_datakit(context: &Context, request: &PullRequest) -> Result<Pulled, Reports> {
    let config = context.config(Overrides::default())?;
    let reference: Reference = request.datakit.parse()?;
    let artifact = context.registry(&config)?.pull(&reference, &context.cache(&config)?).await?;
    let description = identify(context, &config, &reference, artifact.clone()).await?;
    if let Some(path) = &request.to {
        write_whole(path, &artifact.component).await?;
    }
    Ok(Pulled {
        name: description.name,
        version: description.version,
        digest: artifact.digest.as_str().to_owned(),
        wit_world: artifact.info.wit_world,
        summary: description.summary,
        bytes: artifact.component.len(),
        from_cache: artifact.from_cache,
    })
}

/// Others see the file whole or not at all.
async fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    let failed = |source| AppError::Write { path: path.to_owned(), source };
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".partial-{}", std::process::id()));
    let written = async {
        tokio::fs::write(&partial, bytes).await?;
        tokio::fs::rename(&partial, path).await
    };
    let result = written.await;
    if result.is_err() {
        // Nobody needs a part of it; the first error is the one to tell.
        let _ = tokio::fs::remove_file(&partial).await;
    }
    result.map_err(failed)
}

/// A published version of a datakit.
#[derive(Debug, Clone, Serialize)]
pub struct ListedDatakit {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its manifest digest.
    pub digest: String,
}

/// The published versions of a datakit, or of all where the registry can tell; and the registry.
///
/// # Errors
/// The registry cannot be reached or cannot list its datakits, or the work was stopped.
pub async fn list(context: &Context, name: Option<&str>) -> Result<(String, Vec<ListedDatakit>), Reports> {
    context.unless_stopped(list_datakits(context, name)).await
}

async fn list_datakits(context: &Context, name: Option<&str>) -> Result<(String, Vec<ListedDatakit>), Reports> {
    let config = context.config(Overrides::default())?;
    let registry = context.registry(&config)?;
    let location = registry.location().to_string();
    let entries = match name {
        Some(name) => registry.list(name).await?,
        None => registry.list_all()?.ok_or_else(|| AppError::CannotList { location: location.clone() })?,
    };
    Ok((location, entries.iter().map(listed).collect()))
}

fn listed(entry: &VersionEntry) -> ListedDatakit {
    ListedDatakit {
        name: entry.name.clone(),
        version: entry.version.to_string(),
        digest: entry.digest.as_str().to_owned(),
    }
}

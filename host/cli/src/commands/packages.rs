//! `host publish`, `pull` and `list`: datakits and the registry.

use std::path::Path;

use datakit_config::Overrides;
use datakit_model::printable;
use datakit_registry::{Description, Digest, Reference, VersionEntry, inspect_component};
use serde::Serialize;

use crate::arguments::{List, OutputFormat, Publish, Pull};
use crate::context::Context;
use crate::error::CliError;
use crate::report::Reports;
use crate::terminal::aligned;

#[derive(Serialize)]
struct PublishedDatakit<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a str,
    registry: String,
    already_there: bool,
}

pub(crate) async fn publish(arguments: Publish, context: &Context) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    let limit = config.limits.guest.max_component_bytes;
    let component = read_component(&arguments.file, limit).await?;
    // What is no datakit is told as the registry would tell it, before anything of it is compiled.
    inspect_component(&component)?;
    let digest = Digest::of(&component);
    let datakit = context.runtime(&config)?.load(component.as_slice(), digest.as_str()).await?;
    let info = datakit.describe().await?;
    // A schema that is none, or that nobody could check settings against.
    datakit.check_schema().await?;
    let registry = context.registry(&config)?;
    let description = Description { name: info.name, version: info.version, summary: info.summary };
    let published = registry.publish(&component, &description).await?;
    let answer = PublishedDatakit {
        name: &description.name,
        version: &description.version,
        digest: published.digest.as_str(),
        registry: registry.location().to_string(),
        already_there: published.already_there,
    };
    if arguments.output == OutputFormat::Json {
        context.terminal.print_json(&answer)?;
        return Ok(());
    }
    let how = if answer.already_there { "was there before, with the same bytes" } else { "published" };
    context.terminal.say(&format!("{}: {how}", answer.registry));
    let (name, version) = (printable::line(answer.name), printable::line(answer.version));
    context.terminal.print(&format!("{name}@{version} {}\n", answer.digest))?;
    Ok(())
}

/// The file, unless it is larger than any component may be.
pub(super) async fn read_component(path: &Path, max_component_bytes: u64) -> Result<Vec<u8>, Reports> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let size_bytes = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if size_bytes > max_component_bytes {
        return Err(datakit_registry::RegistryError::TooLarge { size_bytes, max_component_bytes }.into());
    }
    Ok(tokio::fs::read(path).await.map_err(failed)?)
}

#[derive(Serialize)]
struct PulledDatakit<'a> {
    name: &'a str,
    version: &'a str,
    digest: &'a str,
    wit_world: &'a str,
    summary: &'a str,
    bytes: usize,
    from_cache: bool,
}

pub(crate) async fn pull(arguments: Pull, context: &Context) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    let reference: Reference = arguments.datakit.parse()?;
    let artifact = context.registry(&config)?.pull(&reference, &context.cache(&config)?).await?;
    context.runtime(&config)?.validate(artifact.component.as_slice()).await?;
    if let Some(path) = &arguments.to {
        write_whole(path, &artifact.component).await?;
    }
    let answer = PulledDatakit {
        name: &artifact.description.name,
        version: &artifact.description.version,
        digest: artifact.digest.as_str(),
        wit_world: &artifact.info.wit_world,
        summary: &artifact.description.summary,
        bytes: artifact.component.len(),
        from_cache: artifact.from_cache,
    };
    if arguments.output == OutputFormat::Json {
        context.terminal.print_json(&answer)?;
        return Ok(());
    }
    context.terminal.say(if answer.from_cache { "verified, from the cache" } else { "fetched and verified" });
    let (name, version) = (printable::line(answer.name), printable::line(answer.version));
    context.terminal.print(&format!("{name}@{version} {}\n", answer.digest))?;
    Ok(())
}

/// Others see the file whole or not at all.
async fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
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

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    version: String,
    digest: &'a str,
}

pub(crate) async fn list(arguments: List, context: &Context) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    let registry = context.registry(&config)?;
    let entries = match &arguments.name {
        Some(name) => registry.list(name).await?,
        None => {
            registry.list_all()?.ok_or_else(|| CliError::CannotList { location: registry.location().to_string() })?
        }
    };
    let listed: Vec<Listed<'_>> = entries.iter().map(listed).collect();
    if arguments.output == OutputFormat::Json {
        context.terminal.print_json(&listed)?;
        return Ok(());
    }
    if listed.is_empty() {
        context.terminal.say(&format!("nothing is published in {}", registry.location()));
    }
    let rows: Vec<Vec<String>> =
        listed.iter().map(|entry| vec![format!("{}@{}", entry.name, entry.version), entry.digest.to_owned()]).collect();
    context.terminal.print(&aligned(&rows, &[]))?;
    Ok(())
}

fn listed(entry: &VersionEntry) -> Listed<'_> {
    Listed { name: &entry.name, version: entry.version.to_string(), digest: entry.digest.as_str() }
}

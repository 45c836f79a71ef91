//! The datakit that a request names: a reference, or a component in a file.

use std::path::{Path, PathBuf};

use datakit_config::{Config, Selection};
use datakit_model::Failure;
use datakit_model::datakit::Info;
use datakit_pipeline::Artifact;
use datakit_registry::{
    ComponentInfo, Description, Digest, Reference, RegistryError, inspect_component, published_digest,
};
use datakit_wasm::Datakit;
use tokio::io::AsyncReadExt as _;

use crate::context::Context;
use crate::error::AppError;
use crate::job::JobRequest;
use crate::reports::Reports;
use crate::requests::IngestRequest;

/// The file that a text names: no reference, and it ends in `.wasm`, begins with `/`, `./` or `../`, or is the path of something
/// that is there. A bare word names a regular file only.
pub(crate) fn file_named(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let looks_so = text.ends_with(".wasm") || ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    let is_there = || if text.contains('/') { path.exists() } else { path.is_file() };
    let is_file = text.parse::<Reference>().is_err() && (looks_so || is_there());
    is_file.then(|| path.to_owned())
}

/// A component, unless it is larger than any may be. The file is read once.
pub(crate) async fn read_component(path: &Path, max_component_bytes: u64) -> Result<Vec<u8>, Reports> {
    let failed = |source| AppError::Read { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    let too_large = |size_bytes| Err(RegistryError::TooLarge { size_bytes, max_component_bytes }.into());
    if metadata.len() > max_component_bytes {
        return too_large(metadata.len());
    }
    let mut bytes = Vec::new();
    // A pipe has no size, and a file may grow.
    file.take(max_component_bytes.saturating_add(1)).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > max_component_bytes {
        return too_large(bytes.len() as u64);
    }
    Ok(bytes)
}

/// A loaded datakit, and the bytes it was made of.
#[derive(Clone)]
pub(crate) struct Loaded {
    pub(crate) datakit: Datakit,
    /// What it says it is.
    pub(crate) info: Info,
    /// Of its manifest; of a file, of the manifest that it gets when it is published.
    pub(crate) digest: String,
    /// Of the component.
    pub(crate) component_digest: String,
    /// The component's size.
    pub(crate) bytes: usize,
    /// What the component imports and exports.
    pub(crate) wit: ComponentInfo,
    /// The file; none: it is from the registry.
    pub(crate) file: Option<String>,
}

impl Loaded {
    /// A component of a file: no registry, no cache of pulled ones and no lock file.
    pub(crate) async fn from_file(context: &Context, config: &Config, path: &Path) -> Result<Self, Reports> {
        let component = read_component(path, config.limits.guest.max_component_bytes).await?;
        let name = path.display().to_string();
        let wit = inspect_component(&component).map_err(|error| Failure::from(error).with_context("file", &name))?;
        let (component_digest, bytes) = (Digest::of(&component).as_str().to_owned(), component.len());
        let datakit = context.load(config, &name, component.clone(), &component_digest).await?;
        let info = datakit.describe().await?;
        let digest = published_digest(&component, &description(&info))?.as_str().to_owned();
        Ok(Self { datakit, info, digest, component_digest, bytes, wit, file: Some(name) })
    }

    /// A component of the registry, which says that it is what the reference names.
    pub(crate) async fn from_registry(
        context: &Context,
        config: &Config,
        reference: &Reference,
    ) -> Result<Self, Reports> {
        let pulled = context.registry(config)?.pull(reference, &context.cache(config)?).await?;
        Self::from_pulled(context, config, reference, pulled).await
    }

    /// The same of a component that is pulled already.
    pub(crate) async fn from_pulled(
        context: &Context,
        config: &Config,
        reference: &Reference,
        pulled: datakit_registry::Artifact,
    ) -> Result<Self, Reports> {
        let artifact = Artifact::of_pulled(reference, &pulled);
        let (component_digest, bytes) = (pulled.component_digest.as_str().to_owned(), pulled.component.len());
        let datakit = context.load(config, &reference.to_string(), pulled.component, &component_digest).await?;
        let info = datakit.describe().await?;
        artifact.check(&info)?;
        Ok(Self { datakit, info, digest: artifact.digest, component_digest, bytes, wit: pulled.info, file: None })
    }

    /// What the datakit has to say it is: what it said.
    pub(crate) fn artifact(&self) -> Artifact {
        let Info { name, version, .. } = &self.info;
        Artifact { name: name.clone(), version: Some(version.clone()), digest: self.digest.clone() }
    }
}

/// What a datakit says of itself, as it is published.
pub(crate) fn description(info: &Info) -> Description {
    Description { name: info.name.clone(), version: info.version.clone(), summary: info.summary.clone() }
}

/// What a pulled component says it is. An artifact that `host publish` made says it in its manifest, and its component is only
/// validated; of another tool's, the component is loaded and asked.
pub(crate) async fn identify(
    context: &Context,
    config: &Config,
    reference: &Reference,
    pulled: datakit_registry::Artifact,
) -> Result<Description, Reports> {
    if let Some(published) = pulled.description {
        context.runtime(config)?.validate(pulled.component).await?;
        return Ok(published);
    }
    Ok(description(&Loaded::from_pulled(context, config, reference, pulled).await?.info))
}

/// Which ingest a request is about, and what runs it. A component of a file is loaded here, since its name chooses the ingest.
pub(crate) async fn asked(
    context: &Context,
    config: &Config,
    request: &IngestRequest,
    mut job: JobRequest,
) -> Result<(Selection, JobRequest), Reports> {
    let mut selection = request.selection();
    if let Some(path) = request.datakit.as_deref().and_then(file_named) {
        if request.locked {
            return Err(AppError::FileNotLocked { path }.into());
        }
        let loaded = Loaded::from_file(context, config, &path).await?;
        selection.datakit = Some(format!("{}@{}", loaded.info.name, loaded.info.version));
        job.loaded = Some(loaded);
    }
    Ok((selection, job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_told_from_a_reference_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("component"), "x").unwrap();
        let is_file = |text: &str| file_named(text).is_some();
        assert!(is_file("missing.wasm"), "the error is about the file");
        assert!(is_file("./kit@0.1.0.wasm"));
        assert!(is_file(&path("component")));
        assert!(is_file(&path("")), "the error says that it is a directory");
        assert!(is_file("./nothing"));
        assert!(!is_file("kit@0.1.0"));
        assert!(!is_file("kit@0.1.0-rc.wasm"), "a version may end so");
        assert!(!is_file("registry.example/kit@0.1.0"));
        assert!(!is_file("src"), "a directory beside the warehouse file is no datakit");
    }

    #[tokio::test]
    async fn file_without_a_size_is_read_within_the_limit() {
        let error = read_component(Path::new("/dev/zero"), 1_000).await.unwrap_err();
        assert_eq!(error.all()[0].code, "DK-REG-010");
    }
}

use std::path::PathBuf;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::artifact::{Artifact, Description, Published, VersionEntry};
use crate::cache::Cache;
use crate::component::inspect_component;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::layout::Layout;
use crate::location::Location;
use crate::manifest::{self, Manifest};
use crate::reference::{Reference, Selector};
use crate::remote::Remote;

/// Requests for the digests of a list.
const REQUESTS_AT_ONCE: usize = 8;

/// How a registry is reached and what is taken from it.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Plain HTTP, not TLS. A registry on this machine gets it also if it does not speak TLS, but then no password.
    pub plain_http: bool,
    /// Docker's `config.json`, whose credentials are used; none: anonymous.
    pub docker_config: Option<PathBuf>,
    /// A larger component is not fetched, in bytes.
    pub max_component_bytes: u64,
    /// Whole time of an answer; a component may take longer, by its size.
    pub answer_timeout: Duration,
}

impl Default for RegistryOptions {
    /// HTTPS, anonymous, 64 MiB, 60 s.
    fn default() -> Self {
        Self {
            plain_http: false,
            docker_config: None,
            max_component_bytes: 64 << 20,
            answer_timeout: Duration::from_secs(60),
        }
    }
}

/// A place where datakits are published.
pub struct Registry {
    location: Location,
    backend: Backend,
    max_component_bytes: u64,
}

enum Backend {
    Layout(Layout),
    Remote(Box<Remote>),
}

impl Registry {
    /// Opens a location; nothing is contacted yet.
    ///
    /// # Errors
    /// The registry's name is no host name.
    pub fn open(location: Location, options: &RegistryOptions) -> Result<Self, RegistryError> {
        let backend = match &location {
            Location::Layout(path) => Backend::Layout(Layout::new(path)),
            Location::Remote { host, prefix } => {
                Backend::Remote(Box::new(Remote::new(host, prefix, location.is_local(), options)?))
            }
        };
        Ok(Self { location, backend, max_component_bytes: options.max_component_bytes })
    }

    /// Where this is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Publishes a component under its name and version. The same bytes again are fine; other bytes are refused.
    ///
    /// # Errors
    /// Not a datakit, a version that is taken, the registry's own trouble.
    pub async fn publish(&self, component: &[u8], description: &Description) -> Result<Published, RegistryError> {
        let reference = Reference::version(&description.name, &description.version)?;
        let (name, tag) = (description.name.as_str(), description.version.as_str());
        let size_bytes = component.len() as u64;
        if size_bytes > self.max_component_bytes {
            return Err(RegistryError::TooLarge { size_bytes, max_component_bytes: self.max_component_bytes });
        }
        let built = manifest::build(component, description)?;
        let digest = Digest::of(&built.manifest);
        let blobs: [&[u8]; 2] = [&built.config, component];
        let taken = |published| RegistryError::VersionTaken { reference: reference.to_string(), published };
        if let Some(published) = self.resolve(name, tag).await? {
            return if published == digest {
                Ok(Published { digest, already_there: true })
            } else {
                Err(taken(published))
            };
        }
        match &self.backend {
            Backend::Layout(layout) => {
                // Another publish may have come between: the layout decides under its lock.
                let published = layout.publish(name, tag, &built.manifest, &blobs)?;
                if published != digest {
                    return Err(taken(published));
                }
            }
            Backend::Remote(remote) => remote.publish(name, tag, built.manifest, &blobs).await?,
        }
        Ok(Published { digest, already_there: false })
    }

    /// The verified artifact, from the cache where its digest is known and cached, else fetched and then cached.
    ///
    /// A version whose digest is not known is resolved in the registry; when that cannot be reached, by what the cache
    /// remembers of it, with a warning.
    ///
    /// # Errors
    /// Not there, not a datakit, other bytes than its digest says, the registry's own trouble.
    pub async fn pull(&self, reference: &Reference, cache: &Cache) -> Result<Artifact, RegistryError> {
        let digest = match &reference.selector {
            Selector::Digest(digest) => digest.clone(),
            Selector::Version(version) => self.resolve_version(reference, version, cache).await?,
        };
        let (manifest_bytes, manifest_cached) = match cache.load(&digest)? {
            Some(bytes) => (bytes, true),
            None => (self.fetch_manifest(reference, &digest).await?, false),
        };
        let manifest = Manifest::parse(&manifest_bytes, self.max_component_bytes)?;
        let description = manifest.description()?;
        if let Some(description) = &description {
            check_name(reference, description)?;
        }
        let layer = manifest.layer();
        let (component, component_cached) = match cache.load(&layer.digest)? {
            Some(bytes) => (bytes, true),
            None => (self.fetch_component(reference, &manifest).await?, false),
        };
        let info = inspect_component(&component)?;
        // The component first: a manifest in the cache means that its component was there.
        if !component_cached {
            cache.store(&layer.digest, &component)?;
        }
        if !manifest_cached {
            cache.store(&digest, &manifest_bytes)?;
        }
        if let Selector::Version(version) = &reference.selector {
            cache.remember_version(&self.location, &reference.name, version, &digest)?;
        }
        Ok(Artifact {
            description,
            digest,
            component_digest: layer.digest.clone(),
            info,
            component,
            from_cache: manifest_cached && component_cached,
        })
    }

    /// The digest that a reference has here now. Nothing is fetched but, for a digest, its manifest.
    ///
    /// # Errors
    /// Not there, or the registry's own trouble.
    pub async fn find(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        if let Backend::Layout(layout) = &self.backend {
            layout.require()?;
        }
        match &reference.selector {
            Selector::Digest(digest) => self.fetch_manifest(reference, digest).await.map(|_| digest.clone()),
            Selector::Version(version) => {
                let found = self.resolve(&reference.name, &version.to_string()).await?;
                found.ok_or_else(|| self.not_found(reference))
            }
        }
    }

    /// Whether it answers, where no datakit is known to ask it for.
    ///
    /// # Errors
    /// It does not.
    pub async fn reach(&self) -> Result<(), RegistryError> {
        if let Backend::Layout(layout) = &self.backend {
            return layout.require();
        }
        // Registries have no portable question for less. Some refuse to say of a stranger that there is no such thing.
        match self.resolve("datakit", "0.0.0").await {
            Ok(_) | Err(RegistryError::Unauthorized { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The published versions of a datakit, oldest first; at least one.
    ///
    /// # Errors
    /// There are none, or there is no such directory; the registry's own trouble.
    pub async fn list(&self, name: &str) -> Result<Vec<VersionEntry>, RegistryError> {
        let mut entries = Vec::new();
        match &self.backend {
            Backend::Layout(layout) => {
                layout.require()?;
                entries.extend(layout.entries()?.into_iter().filter(|(n, _, _)| n == name).filter_map(version_entry));
            }
            Backend::Remote(remote) => {
                let tags = remote.tags(name).await?;
                // A tag that is no version was not made by us.
                let versions = tags.into_iter().filter_map(|tag| Some((tag.parse().ok()?, tag)));
                let found = versions.map(|(version, tag)| async move {
                    let digest = remote.resolve(name, &tag).await?;
                    Ok(digest.map(|digest| VersionEntry { name: name.to_owned(), version, digest }))
                });
                let found: Vec<Option<VersionEntry>> =
                    stream::iter(found).buffered(REQUESTS_AT_ONCE).try_collect().await?;
                entries.extend(found.into_iter().flatten());
            }
        }
        if entries.is_empty() {
            return Err(RegistryError::NotFound { reference: name.to_owned(), location: self.location.to_string() });
        }
        entries.sort_by(|a, b| a.version.cmp(&b.version));
        Ok(entries)
    }

    /// Every datakit and version, where the registry can tell: an OCI image layout directory. None elsewhere, since OCI
    /// registries have no portable way to list repositories.
    ///
    /// # Errors
    /// The directory is not there or cannot be read.
    pub fn list_all(&self) -> Result<Option<Vec<VersionEntry>>, RegistryError> {
        let Backend::Layout(layout) = &self.backend else { return Ok(None) };
        layout.require()?;
        let mut entries: Vec<VersionEntry> = layout.entries()?.into_iter().filter_map(version_entry).collect();
        entries.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(Some(entries))
    }

    async fn resolve(&self, name: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        match &self.backend {
            Backend::Layout(layout) => layout.resolve(name, tag),
            Backend::Remote(remote) => remote.resolve(name, tag).await,
        }
    }

    async fn resolve_version(
        &self,
        reference: &Reference,
        version: &semver::Version,
        cache: &Cache,
    ) -> Result<Digest, RegistryError> {
        match self.resolve(&reference.name, &version.to_string()).await {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => Err(self.not_found(reference)),
            Err(error @ RegistryError::Unreachable { .. }) => {
                let Some(digest) = cache.known_version(&self.location, &reference.name, version) else {
                    return Err(error);
                };
                tracing::warn!(%reference, %digest, "the registry cannot be reached: the cached copy is used");
                Ok(digest)
            }
            Err(error) => Err(error),
        }
    }

    async fn fetch_manifest(&self, reference: &Reference, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let bytes = match &self.backend {
            Backend::Layout(layout) => layout.blob(digest, manifest::MAX_MANIFEST_BYTES)?,
            Backend::Remote(remote) => remote.manifest(&reference.name, digest).await?,
        };
        let bytes = bytes.ok_or_else(|| self.not_found(reference))?;
        verify("the manifest", digest, &bytes)?;
        Ok(bytes)
    }

    async fn fetch_component(&self, reference: &Reference, manifest: &Manifest) -> Result<Vec<u8>, RegistryError> {
        let layer = manifest.layer();
        let bytes = match &self.backend {
            Backend::Layout(layout) => {
                layout.blob(&layer.digest, layer.size)?.ok_or_else(|| self.not_found(reference))?
            }
            Backend::Remote(remote) => remote.blob(&reference.name, layer).await?,
        };
        verify("the component", &layer.digest, &bytes)?;
        Ok(bytes)
    }

    fn not_found(&self, reference: &Reference) -> RegistryError {
        RegistryError::NotFound { reference: reference.to_string(), location: self.location.to_string() }
    }
}

/// A registry must not hand out another datakit under a name, nor another version.
fn check_name(reference: &Reference, description: &Description) -> Result<(), RegistryError> {
    let fits = description.name == reference.name
        && match &reference.selector {
            Selector::Version(version) => description.version == version.to_string(),
            Selector::Digest(_) => true,
        };
    if fits {
        return Ok(());
    }
    let Description { name, version, .. } = description;
    Err(RegistryError::BadManifest(format!("asked for `{reference}`, it says it is `{name}@{version}`")))
}

fn version_entry((name, tag, digest): (String, String, Digest)) -> Option<VersionEntry> {
    Some(VersionEntry { name, version: tag.parse().ok()?, digest })
}

fn verify(what: &str, expected: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(RegistryError::DigestMismatch { what: what.to_owned(), expected: expected.clone(), found })
}

//! Which bytes run: lock file, then cache, then registry.

use datakit_model::Failure;
use datakit_registry::{Cache, Digest, LockFile, Reference, Registry, Selector};

use crate::error::RunError;
use crate::job::Artifact;

/// What a reference is resolved with.
pub struct Resolution<'a> {
    /// Where datakits come from.
    pub registry: &'a Registry,
    /// What was fetched before.
    pub cache: &'a Cache,
    /// The pins, if there is a lock file.
    pub lock: Option<&'a LockFile>,
    /// Refuse what the lock file does not pin.
    pub locked: bool,
}

/// Verified bytes of a registry.
pub struct Resolved {
    /// The component.
    pub component: Vec<u8>,
    /// Its digest.
    pub component_digest: Digest,
    /// What the component has to say it is.
    pub artifact: Artifact,
}

/// The verified component of a reference. A pinned version is fetched by its digest, so that the registry is not asked
/// what the version is; a pinned and cached one needs no registry at all.
///
/// # Errors
/// Not pinned although `locked`; bytes that are not the pinned ones; the registry's own trouble.
pub async fn resolve(reference: &Reference, resolution: &Resolution<'_>) -> Result<Resolved, Failure> {
    let pin = resolution.lock.and_then(|lock| lock.find(reference));
    if pin.is_none() && resolution.locked {
        return Err(RunError::NotLocked { reference: reference.to_string() }.into());
    }
    let wanted = match pin {
        Some(pin) => Reference { name: pin.name.clone(), selector: Selector::Digest(pin.digest.clone()) },
        None => reference.clone(),
    };
    let pulled = resolution.registry.pull(&wanted, resolution.cache).await?;
    let mut artifact = Artifact::of_pulled(&wanted, &pulled);
    if let Some(pin) = pin {
        let version = pin.version.to_string();
        // The lock file was edited: the digest belongs to another version.
        if let Some(found) = artifact.version.take().filter(|found| *found != version) {
            let (name, pinned) = (pin.name.clone(), pin.digest.to_string());
            return Err(RunError::LockMismatch { name, version, pinned, found }.into());
        }
        artifact.version = Some(version);
    }
    Ok(Resolved { component: pulled.component, component_digest: pulled.component_digest, artifact })
}

//! Which bytes run: lock file, then cache, then registry.

use datakit_model::Failure;
use datakit_registry::{Artifact, Cache, LockFile, Reference, Registry, Selector};

use crate::error::RunError;

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

/// The verified artifact of a reference. A pinned version is fetched by its digest, so that the registry is not asked
/// what the version is; a pinned and cached one needs no registry at all.
///
/// # Errors
/// Not pinned although `locked`; bytes that are not the pinned ones; the registry's own trouble.
pub async fn resolve(reference: &Reference, resolution: &Resolution<'_>) -> Result<Artifact, Failure> {
    let pin = resolution.lock.and_then(|lock| lock.find(reference));
    if pin.is_none() && resolution.locked {
        return Err(RunError::NotLocked { reference: reference.to_string() }.into());
    }
    let wanted = match pin {
        Some(pin) => Reference { name: pin.name.clone(), selector: Selector::Digest(pin.digest.clone()) },
        None => reference.clone(),
    };
    let artifact = resolution.registry.pull(&wanted, resolution.cache).await?;
    if let Some(pin) = pin {
        // The lock file was edited: the digest belongs to another version.
        if artifact.description.version != pin.version.to_string() {
            return Err(RunError::LockMismatch {
                name: pin.name.clone(),
                version: pin.version.to_string(),
                pinned: pin.digest.to_string(),
                found: artifact.description.version,
            }
            .into());
        }
    }
    Ok(artifact)
}

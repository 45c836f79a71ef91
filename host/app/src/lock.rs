//! Pins datakits to digests.

use std::collections::BTreeSet;

use datakit_config::Overrides;
use datakit_registry::{Pin, Reference, Selector};
use serde::Serialize;

use crate::component::identify;
use crate::context::Context;
use crate::error::AppError;
use crate::reports::Reports;
use crate::requests::LockRequest;

/// A datakit that is pinned.
#[derive(Debug, Clone, Serialize)]
pub struct LockedDatakit {
    /// `name@version`.
    pub reference: String,
    /// Its manifest digest.
    pub digest: String,
    /// Whether the lock file has changed for it.
    pub is_new: bool,
}

/// Pins datakits, and writes the lock file.
///
/// # Errors
/// There is nothing to pin, a datakit cannot be had or is invalid, a pinned version was replaced, or the work was stopped.
pub async fn lock(context: &Context, request: LockRequest) -> Result<Vec<LockedDatakit>, Reports> {
    context.unless_stopped(pin(context, request)).await
}

async fn pin(context: &Context, request: LockRequest) -> Result<Vec<LockedDatakit>, Reports> {
    let config = context.config(Overrides::default())?;
    let named = !request.datakits.is_empty();
    let wanted: BTreeSet<String> = if named {
        request.datakits.into_iter().collect()
    } else {
        config.ingests.iter().map(|ingest| ingest.datakit.clone()).collect()
    };
    if wanted.is_empty() {
        return Err(AppError::NothingToLock.into());
    }
    let (registry, cache) = (context.registry(&config)?, context.cache(&config)?);
    let path = context.lock_path(&config);
    let mut lock = context.lock(&config)?.unwrap_or_default();
    let mut locked = Vec::new();
    for text in wanted {
        let reference: Reference = text.parse()?;
        let Selector::Version(version) = &reference.selector else {
            if named {
                return Err(AppError::PinnedByItself { reference: text }.into());
            }
            continue;
        };
        let artifact = registry.pull(&reference, &cache).await?;
        // A published version never changes. If one did, somebody replaced it.
        if !request.accept_replaced {
            lock.check(&reference, &artifact.digest)?;
        }
        let digest = artifact.digest.as_str().to_owned();
        let pin = Pin {
            name: reference.name.clone(),
            version: version.clone(),
            digest: artifact.digest.clone(),
            wit: artifact.info.wit_version.clone(),
        };
        identify(context, &config, &reference, artifact).await?;
        let is_new = lock.set(pin);
        locked.push(LockedDatakit { reference: reference.to_string(), digest, is_new });
    }
    lock.save(&path)?;
    Ok(locked)
}

//! Where datakits come from, and whether the lock file agrees with it.

use std::collections::BTreeSet;

use datakit_config::Config;
use datakit_connect::probe::{Broken, SETTINGS, Walk};
use datakit_registry::{Digest, LockFile, Reference, Registry, RegistryError, Selector};

use super::chain::{Chain, Walked};
use super::{Doctoring, REGISTRY};
use crate::context::Context;
use crate::reports::Reports;

const REACHABLE: &str = "reachable";
const DATAKITS: &str = "datakits";
const LOCK_FILE: &str = "lock file";

pub(super) async fn walk(doctoring: &Doctoring<'_>, config: &Config) -> Result<Walked, Reports> {
    let context = doctoring.context;
    let opened = context.registry(config);
    let target = match &opened {
        Ok(registry) => registry.location().to_string(),
        Err(_) => config.warehouse.registry.as_deref().unwrap_or_default().to_owned(),
    };
    let links = vec![SETTINGS, REACHABLE, DATAKITS, LOCK_FILE];
    let mut chain = doctoring.begin(REGISTRY, REGISTRY, target, links);
    match opened {
        Err(error) => {
            chain.fail(SETTINGS, None, error);
        }
        Ok(registry) => {
            // A broken link says so by itself.
            let _ = walk_opened(&mut chain, context, config, &registry).await;
        }
    }
    Ok(chain.end()?)
}

/// A datakit that an ingest names, and what the registry has of it.
struct Found {
    reference: Reference,
    digest: Digest,
}

async fn walk_opened(
    chain: &mut Chain<'_>,
    context: &Context,
    config: &Config,
    registry: &Registry,
) -> Result<(), Broken> {
    let names: BTreeSet<&str> = config.ingests.iter().map(|ingest| ingest.datakit.as_str()).collect();
    let references: Result<Vec<Reference>, RegistryError> = names.into_iter().map(str::parse).collect();
    let references = match references {
        Ok(references) => references,
        Err(error) => return Err(chain.fail(SETTINGS, None, error.into())),
    };
    chain.ok(SETTINGS, None, "complete".to_owned());
    let found = if references.is_empty() {
        let (reached, took) = chain.step("the registry", registry.reach()).await;
        match reached {
            Ok(()) => chain.ok(REACHABLE, Some(took), "answers".to_owned()),
            Err(error) => return Err(chain.fail(REACHABLE, Some(took), error.into())),
        }
        chain.not_used(DATAKITS, "no ingest names a datakit".to_owned());
        Vec::new()
    } else {
        datakits(chain, registry, references).await?
    };
    lock_file(chain, context, config, &found)
}

async fn datakits(
    chain: &mut Chain<'_>,
    registry: &Registry,
    references: Vec<Reference>,
) -> Result<Vec<Found>, Broken> {
    let finding = async {
        let mut found = Vec::new();
        for reference in references {
            let digest = registry.find(&reference).await?;
            found.push(Found { reference, digest });
        }
        Ok(found)
    };
    let (found, took) = chain.step("the registry", finding).await;
    match found {
        Ok(found) => {
            chain.ok(REACHABLE, Some(took), "answers".to_owned());
            let names: Vec<String> = found.iter().map(|found| found.reference.to_string()).collect();
            chain.ok(DATAKITS, None, names.join(", "));
            Ok(found)
        }
        Err(error @ RegistryError::NotFound { .. }) => {
            chain.ok(REACHABLE, Some(took), "answers".to_owned());
            Err(chain.fail(DATAKITS, None, error.into()))
        }
        Err(
            error @ (RegistryError::Unreachable { .. }
            | RegistryError::Unauthorized { .. }
            | RegistryError::BadLayout { .. }
            | RegistryError::Io { .. }
            | RegistryError::Refused { .. }),
        ) => Err(chain.fail(REACHABLE, Some(took), error.into())),
        // It answered, with something that is not as it should be.
        Err(error) => {
            chain.ok(REACHABLE, Some(took), "answers".to_owned());
            Err(chain.fail(DATAKITS, None, error.into()))
        }
    }
}

fn lock_file(chain: &mut Chain<'_>, context: &Context, config: &Config, found: &[Found]) -> Result<(), Broken> {
    let path = context.lock_path(config);
    let lock = match context.lock(config) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            chain.not_used(LOCK_FILE, format!("there is no {}: `host lock` makes one", path.display()));
            return Ok(());
        }
        Err(error) => return Err(chain.fail(LOCK_FILE, None, error)),
    };
    match agreement(&lock, found) {
        Ok(detail) => {
            chain.ok(LOCK_FILE, None, format!("{}: {detail}", path.display()));
            Ok(())
        }
        Err(error) => Err(chain.fail(LOCK_FILE, None, error.into())),
    }
}

fn agreement(lock: &LockFile, found: &[Found]) -> Result<String, RegistryError> {
    let (mut pinned, mut unpinned) = (0, Vec::new());
    for Found { reference, digest } in found {
        if lock.check(reference, digest)?.is_some() {
            pinned += 1;
        } else if matches!(reference.selector, Selector::Version(_)) {
            unpinned.push(reference.to_string());
        }
    }
    let pins = if pinned == 1 { "1 pin is".to_owned() } else { format!("{pinned} pins are") };
    Ok(match unpinned.is_empty() {
        true => format!("{pins} what the registry has"),
        false => format!("{pins} what the registry has; not pinned, so `--locked` refuses: {}", unpinned.join(", ")),
    })
}

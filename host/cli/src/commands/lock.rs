//! `host lock`: pin datakits to digests.

use std::collections::BTreeSet;

use datakit_config::Overrides;
use datakit_registry::{Pin, Reference, Selector};

use crate::arguments::Lock;
use crate::context::Context;
use crate::error::CliError;
use crate::report::Reports;

pub(crate) async fn lock(arguments: Lock, context: &Context) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    let named = !arguments.datakits.is_empty();
    let wanted: BTreeSet<String> = if named {
        arguments.datakits.into_iter().collect()
    } else {
        config.ingests.iter().map(|ingest| ingest.datakit.clone()).collect()
    };
    if wanted.is_empty() {
        return Err(CliError::NothingToLock.into());
    }
    let (registry, cache) = (context.registry(&config)?, context.cache(&config)?);
    let runtime = context.runtime(&config)?;
    let path = context.lock_path(&config);
    let mut lock = context.lock(&config)?.unwrap_or_default();
    let mut lines = String::new();
    for text in wanted {
        let reference: Reference = text.parse()?;
        let Selector::Version(version) = &reference.selector else {
            if named {
                return Err(CliError::PinnedByItself { reference: text }.into());
            }
            continue;
        };
        let artifact = registry.pull(&reference, &cache).await?;
        // A published version never changes. If one did, somebody replaced it.
        if !arguments.accept_replaced {
            lock.check(&reference, &artifact.digest)?;
        }
        runtime.validate(artifact.component).await?;
        let pin = Pin {
            name: reference.name.clone(),
            version: version.clone(),
            digest: artifact.digest.clone(),
            wit: artifact.info.wit_version,
        };
        let how = if lock.set(pin) { "pinned" } else { "unchanged" };
        lines.push_str(&format!("{reference} {} {how}\n", artifact.digest.as_str()));
    }
    lock.save(&path)?;
    context.terminal.print(&lines)?;
    Ok(())
}

//! What runs have left in sinks of loads that they have not committed.

use std::time::Duration;

use datakit_config::Overrides;
use datakit_model::Failure;
use datakit_model::resume::{Leftover, RETENTION};
use serde::Serialize;

use crate::context::Context;
use crate::reports::{Report, Reports, Tables};
use crate::runs::{self, NamedSink};

/// Which leftovers.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    /// The sink; none: all of the configuration.
    pub sink: Option<String>,
    /// What had a sign of life since then stays.
    pub older_than: Duration,
}

impl Default for CleanRequest {
    /// All that no run goes on with any more.
    fn default() -> Self {
        Self { sink: None, older_than: RETENTION }
    }
}

/// A leftover of a sink.
#[derive(Debug, Clone, Serialize)]
pub struct SinkLeftover {
    /// The sink, by its name in the configuration.
    pub sink: String,
    /// What it is.
    #[serde(flatten)]
    pub leftover: Leftover,
    /// It is gone.
    pub removed: bool,
}

impl SinkLeftover {
    /// Whether it may be removed.
    #[must_use]
    pub fn is_removable(&self) -> bool {
        self.leftover.stays.is_none()
    }
}

/// The leftovers of all runs, by sink and table. Nothing is changed.
///
/// # Errors
/// The configuration is invalid, a sink cannot be reached, or the work was stopped.
pub async fn leftovers(context: &Context, request: &CleanRequest) -> Result<Vec<SinkLeftover>, Reports> {
    context.unless_stopped(list(context, request)).await
}

async fn list(context: &Context, request: &CleanRequest) -> Result<Vec<SinkLeftover>, Reports> {
    let mut found = Vec::new();
    for (name, sink) in sinks(context, request.sink.as_deref())? {
        let leftovers = sink.leftovers(request.older_than).await?.into_iter();
        found.extend(leftovers.map(|leftover| SinkLeftover { sink: name.clone(), leftover, removed: false }));
    }
    Ok(found)
}

/// Removes those leftovers that may be removed, and says of each whether it is gone. One that is used by now stays.
///
/// # Errors
/// The configuration is invalid, or the work was stopped. What cannot be removed is among the failures.
pub async fn clean(context: &Context, leftovers: Vec<SinkLeftover>) -> Result<Tables<SinkLeftover>, Reports> {
    context.unless_stopped(remove(context, leftovers)).await
}

async fn remove(context: &Context, mut leftovers: Vec<SinkLeftover>) -> Result<Tables<SinkLeftover>, Reports> {
    let sinks = sinks(context, None)?;
    let mut failures = Vec::new();
    for entry in leftovers.iter_mut().filter(|entry| entry.is_removable()) {
        let Some((_, sink)) = sinks.iter().find(|(name, _)| *name == entry.sink) else { continue };
        match sink.remove_leftover(&entry.leftover).await {
            Ok(removed) => entry.removed = removed,
            Err(failure) => failures.push(named(failure, &entry.leftover)),
        }
    }
    Ok(Tables { tables: leftovers, failures: Reports::of(failures) })
}

fn named(failure: Failure, leftover: &Leftover) -> Report {
    Report::from(failure.with_context("table", &leftover.table).with_context("place", &leftover.place))
}

fn sinks(context: &Context, only: Option<&str>) -> Result<Vec<NamedSink>, Reports> {
    let config = context.config(Overrides::default())?;
    runs::sinks(context, &config, only)
}

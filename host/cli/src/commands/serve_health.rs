//! `host serve-health`: answers whether a run could work, until it is told to stop.

use std::sync::Arc;

use datakit_config::Overrides;

use crate::arguments::ServeHealth;
use crate::context::Context;
use crate::error::CliError;
use crate::health::{self, Checks};
use crate::report::Reports;

pub(crate) async fn serve_health(arguments: ServeHealth, context: &Context) -> Result<u8, Reports> {
    let config = context.config(Overrides::default())?;
    for name in &arguments.names {
        config.check_name(name, &[])?;
    }
    let is_meant = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|meant| meant == name);
    let mut connections = Vec::new();
    for (name, connection) in config.connections.iter().filter(|(name, _)| is_meant(name)) {
        connections.push((name.clone(), context.source(connection, &config)?));
    }
    let mut sinks = Vec::new();
    for (name, sink) in config.sinks.iter().filter(|(name, _)| is_meant(name)) {
        sinks.push((name.clone(), context.sink(sink, &config)?));
    }
    if connections.is_empty() && sinks.is_empty() {
        return Err(CliError::NothingToCheck.into());
    }
    let checks = Arc::new(Checks::new(connections, sinks));
    checks.start();
    let endpoint = health::serve(arguments.listen, checks).await?;
    tracing::info!(target: "datakit", address = %endpoint.address(), "health endpoint");
    context.stop.cancelled().await;
    Ok(0)
}

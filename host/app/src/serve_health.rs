//! Answers whether a run could work, until stopped.

use std::sync::Arc;

use datakit_config::Overrides;

use crate::context::Context;
use crate::error::AppError;
use crate::health::{self, Checks};
use crate::reports::Reports;
use crate::requests::ServeHealthRequest;

/// Serves the health endpoint until the context is stopped.
///
/// # Errors
/// The configuration is invalid, there is nothing to look at, or the endpoint cannot listen.
pub async fn serve_health(context: &Context, request: &ServeHealthRequest) -> Result<(), Reports> {
    let config = context.config(Overrides::default())?;
    for name in &request.names {
        config.check_name(name, &[])?;
    }
    let is_meant = |name: &str| request.names.is_empty() || request.names.iter().any(|meant| meant == name);
    let mut connections = Vec::new();
    for (name, connection) in config.connections.iter().filter(|(name, _)| is_meant(name)) {
        connections.push((name.clone(), context.source(connection, &config)?));
    }
    let mut sinks = Vec::new();
    for (name, sink) in config.sinks.iter().filter(|(name, _)| is_meant(name)) {
        sinks.push((name.clone(), context.sink(sink, &config)?.sink()));
    }
    if connections.is_empty() && sinks.is_empty() {
        return Err(AppError::NothingToCheck.into());
    }
    let checks = Arc::new(Checks::new(connections, sinks));
    checks.start();
    let endpoint = health::serve(request.listen, checks, None).await?;
    tracing::info!(target: "datakit", address = %endpoint.address(), "health endpoint");
    context.stop.cancelled().await;
    Ok(())
}

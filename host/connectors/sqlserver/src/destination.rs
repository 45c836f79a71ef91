//! Where a login ends up: at the configured port, at the port that SQL Server Browser names for an instance, or where a server
//! sends the login on to (MS-TDS, 2.2.7.9, ENVCHANGE type 20: read-only routing, Azure SQL's redirect).

use std::sync::{Arc, Mutex, PoisonError};

use super::browser;
use super::config::{ApplicationIntent, SqlServerConfig};
use super::error::SourceError;
use super::rows::RowConnection;
use datakit_connect::pool::Pooled as _;

/// As many times a login is sent on at the most, as with Microsoft's drivers.
pub(super) const MAX_HOPS: usize = 10;

/// Where the last login of tiberius ended up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct KnownDestination(Arc<Mutex<Option<Arc<SqlServerConfig>>>>);

impl KnownDestination {
    pub(super) fn get(&self) -> Option<Arc<SqlServerConfig>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `server` must not share this one, or neither would ever be freed.
    pub(super) fn set(&self, server: SqlServerConfig) {
        let server = SqlServerConfig { destination: Self::default(), ..server };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(server));
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The server that a login is sent to first.
///
/// # Errors
/// What SQL Server Browser says, or that it does not.
pub(super) async fn first(config: &SqlServerConfig) -> Result<SqlServerConfig, SourceError> {
    match &config.instance {
        None => Ok(config.clone()),
        Some(instance) => {
            let port = browser::port(&config.host, instance, config.timeouts.connect).await?;
            Ok(config.with_port_of_instance(port))
        }
    }
}

/// Runs a login of `mssql-tds` where it ends up. That driver follows a server that sends the login on by itself, but to each with the
/// ticket of the first. So tiberius finds out, by a login of its own, where the ticket has to be for.
///
/// # Errors
/// What both logins say.
pub(super) async fn last<T, F: Future<Output = Result<T, SourceError>>>(
    config: &SqlServerConfig,
    log_in: impl Fn(Arc<SqlServerConfig>) -> F,
) -> Result<T, SourceError> {
    if let Some(known) = config.destination.get() {
        // A replica is replaced by another one, and a listener that served begins to send logins on.
        let may_have_moved = known.found.is_some() || config.application_intent == ApplicationIntent::ReadOnly;
        match log_in(known).await {
            Err(error) if may_have_moved => {
                tracing::debug!(%error, "the server of the last login refuses: asking again where to log in");
                config.destination.forget();
            }
            other => return other,
        }
    }
    // tiberius cannot pin a certificate, and of two servers hardly both have the pinned one.
    if config.certificate_file.is_some() {
        return log_in(Arc::new(first(config).await?)).await;
    }
    drop(RowConnection::open(config).await?);
    match config.destination.get() {
        Some(found) => log_in(found).await,
        None => Err(SourceError::Internal("a login of tiberius left no destination".to_owned())),
    }
}

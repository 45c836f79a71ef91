//! The plain way to the server: which step of it fails.

use std::time::Duration;

use tokio::net::TcpStream;

use super::config::SqlServerConfig;
use super::error::{SourceError, Unreachable};
use crate::reach;

/// Opens a TCP connection to the first address of the host that answers.
///
/// # Errors
/// [`SourceError::Unreachable`], saying whether the name, the port or the time failed.
pub(super) async fn connect(config: &SqlServerConfig) -> Result<TcpStream, SourceError> {
    let bound = Duration::from_secs(config.connect_seconds().into());
    reach::connect(&config.host, config.port, bound).await.map_err(|(how, reason)| SourceError::Unreachable {
        address: config.address(),
        how,
        reason,
    })
}

/// Why a driver could not connect: goes the way again, only to say which step fails.
pub(super) async fn diagnose(config: &SqlServerConfig) -> SourceError {
    match connect(config).await {
        Err(error) => error,
        Ok(_) => SourceError::Unreachable {
            address: config.address(),
            how: Unreachable::Closed,
            reason: "the connection was closed, or no answer came, during the login".to_owned(),
        },
    }
}

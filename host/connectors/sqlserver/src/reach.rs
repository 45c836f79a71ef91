//! The plain way to the server: which step of it fails.

use datakit_net::Traffic;
use tokio::net::TcpStream;

use super::config::SqlServerConfig;
use super::error::{SourceError, Unreachable};

/// Opens a TCP connection to the address of the host that answers first.
///
/// # Errors
/// [`SourceError::Unreachable`], saying whether the name, the port or the time failed.
pub(super) async fn connect(config: &SqlServerConfig) -> Result<TcpStream, SourceError> {
    datakit_net::connect(&config.host, config.port, Traffic::Asks, config.connect_timeout())
        .await
        .map_err(|(how, reason)| SourceError::Unreachable { address: config.address(), how, reason })
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

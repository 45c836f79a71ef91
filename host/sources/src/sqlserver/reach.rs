//! The plain way to the server: which step of it fails.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;

use super::config::SqlServerConfig;
use super::error::{SourceError, Unreachable};

/// Opens a TCP connection to the first address of the host that answers.
///
/// # Errors
/// [`SourceError::Unreachable`], saying whether the name, the port or the time failed.
pub(super) async fn connect(config: &SqlServerConfig) -> Result<TcpStream, SourceError> {
    let fail = |how, reason: String| SourceError::Unreachable { address: config.address(), how, reason };
    let bound = Duration::from_secs(config.connect_seconds().into());
    let attempt = async {
        let addresses = tokio::net::lookup_host((config.host.as_str(), config.port))
            .await
            .map_err(|error| fail(Unreachable::Name, error.to_string()))?;
        let mut last = fail(Unreachable::Name, "the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    last = fail(Unreachable::Timeout, error.to_string())
                }
                Err(error) => last = fail(Unreachable::Refused, error.to_string()),
            }
        }
        Err(last)
    };
    match tokio::time::timeout(bound, attempt).await {
        Ok(result) => result,
        Err(_) => Err(fail(Unreachable::Timeout, format!("no answer within {} s", bound.as_secs()))),
    }
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

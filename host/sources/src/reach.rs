//! The plain way to a server: which step of it fails.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;

/// Why the server could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// The name does not resolve.
    Name,
    /// Nobody listens, or a firewall says no.
    Refused,
    /// No answer in time.
    Timeout,
    /// Something answered and went away during the login.
    Closed,
}

/// Opens a TCP connection to the first address of the host that answers.
///
/// # Errors
/// Whether the name, the port or the time failed, and the system's words.
pub(crate) async fn connect(host: &str, port: u16, bound: Duration) -> Result<TcpStream, (Unreachable, String)> {
    let fail = |how, reason: String| (how, reason);
    let attempt = async {
        let addresses =
            tokio::net::lookup_host((host, port)).await.map_err(|error| fail(Unreachable::Name, error.to_string()))?;
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

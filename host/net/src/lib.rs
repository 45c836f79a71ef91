//! TCP connections: which address of a name answers first, and how a peer that is gone is noticed.
//!
//! Everything of the host that opens a TCP connection by itself opens it here. A driver that opens its own takes [`KEEPALIVE_IDLE`] and
//! [`KEEPALIVE_INTERVAL`].

mod options;
mod race;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub use options::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, Traffic, UNACKNOWLEDGED};

/// Why a server cannot be reached.
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

/// Opens a connection to the address of the host that answers first (RFC 8305), within `bound`, the name's resolution included.
/// TCP_NODELAY and the keepalive options are set.
///
/// # Errors
/// Whether the name, the port or the time failed, and the system's words.
pub async fn connect(
    host: &str,
    port: u16,
    traffic: Traffic,
    bound: Duration,
) -> Result<TcpStream, (Unreachable, String)> {
    let deadline = Instant::now() + bound;
    let late = |of: &str| (Unreachable::Timeout, format!("no answer within {} s{of}", bound.as_secs()));
    let addresses = match timeout_at(deadline, addresses(host, port)).await {
        Ok(addresses) => addresses?,
        Err(_) => return Err(late(" from the resolver of names")),
    };
    let list = addresses.clone();
    let stream = match timeout_at(deadline, race::first(addresses, TcpStream::connect)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failed)) => return Err(reported(failed)),
        Err(_) if list.len() == 1 => return Err(late("")),
        Err(_) => return Err(late(&format!(" from any of {}", joined(&list)))),
    };
    options::set(&stream, traffic);
    Ok(stream)
}

/// The addresses of a name, each once, in the order of the system's resolver.
///
/// # Errors
/// The name does not resolve.
pub async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, (Unreachable, String)> {
    let found = tokio::net::lookup_host((host, port)).await;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.map_err(|error| (Unreachable::Name, error.to_string()))? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err((Unreachable::Name, "the name has no address".to_owned()));
    }
    Ok(addresses)
}

/// What all attempts together say: the system's words, with the addresses where there are several.
fn reported(failed: Vec<(SocketAddr, Error)>) -> (Unreachable, String) {
    let all_late = failed.iter().all(|(_, error)| error.kind() == ErrorKind::TimedOut);
    let how = if all_late { Unreachable::Timeout } else { Unreachable::Refused };
    let reason = match failed.as_slice() {
        [(_, only)] => only.to_string(),
        several => several.iter().map(|(address, error)| format!("{address}: {error}")).collect::<Vec<_>>().join("; "),
    };
    (how, reason)
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    const BOUND: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn every_connection_notices_a_peer_that_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (traffic, unacknowledged) in [(Traffic::Asks, Some(UNACKNOWLEDGED)), (Traffic::Writes, None)] {
            let stream = connect("127.0.0.1", port, traffic, BOUND).await.unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
            assert_eq!(socket.tcp_user_timeout().unwrap(), unacknowledged);
        }
    }

    /// Drops every packet that comes in for a socket, as a machine that lost its power does.
    fn fall_silent(socket: &impl std::os::fd::AsFd) {
        // BPF_RET with 0: of no packet is anything kept.
        SockRef::from(&socket.as_fd()).attach_filter(&[socket2::SockFilter::new(0x06, 0, 0, 0)]).unwrap();
    }

    #[tokio::test]
    async fn silent_peer_ends_the_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect("127.0.0.1", listener.local_addr().unwrap().port(), Traffic::Asks, BOUND).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        // The same options with shorter times: a test has no minute.
        let second = Duration::from_secs(1);
        options::set_times(&SockRef::from(&stream), [second, second], 1, Some(second * 2)).unwrap();
        fall_silent(&peer);
        let begin = Instant::now();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.readable()).await;
        assert!(ended.is_ok(), "the peer is gone and waited for");
        let error = stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(begin.elapsed() >= second);
    }

    #[tokio::test]
    async fn silent_address_says_that_nothing_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        fall_silent(&listener);
        let port = listener.local_addr().unwrap().port();
        let (how, reason) =
            connect("127.0.0.1", port, Traffic::Asks, Duration::from_secs(1)).await.map(drop).unwrap_err();
        assert_eq!((how, reason.as_str()), (Unreachable::Timeout, "no answer within 1 s"));
    }

    #[tokio::test]
    async fn unknown_name_and_closed_port_are_told_apart() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let how = |outcome: Result<TcpStream, (Unreachable, String)>| outcome.map(drop).unwrap_err().0;
        assert_eq!(how(connect("127.0.0.1", closed, Traffic::Asks, BOUND).await), Unreachable::Refused);
        assert_eq!(how(connect("no-such-host.invalid", 1, Traffic::Asks, BOUND).await), Unreachable::Name);
    }
}

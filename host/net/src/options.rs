//! The options of every socket.

use std::io::Result;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A connection on which nothing came for this long is probed.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The time between two probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// After this many probes without an answer the peer is gone: a minute after it was heard last.
pub const KEEPALIVE_PROBES: u32 = 3;
/// A request that the peer's system does not acknowledge for this long ends the connection: probes are only sent where nothing is
/// on its way.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// What mostly goes out on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Small requests, whose answers may be large.
    Asks,
    /// Rows. A server that is busy may take none for minutes: TCP_USER_TIMEOUT would end such a connection although the server
    /// is there (tcp(7): it counts a closed window as well), so the system's own bound of about 15 minutes holds here.
    Writes,
}

/// Sets all of them. An option that the system does not have is only logged: the connection works without.
pub(crate) fn set(stream: &TcpStream, traffic: Traffic) {
    let unacknowledged = (traffic == Traffic::Asks).then_some(UNACKNOWLEDGED);
    let set = stream.set_nodelay(true).and_then(|()| {
        set_times(&SockRef::from(stream), [KEEPALIVE_IDLE, KEEPALIVE_INTERVAL], KEEPALIVE_PROBES, unacknowledged)
    });
    if let Err(error) = set {
        tracing::warn!(%error, "the options of a socket cannot be set");
    }
}

pub(crate) fn set_times(
    socket: &SockRef<'_>,
    [idle, interval]: [Duration; 2],
    probes: u32,
    unacknowledged: Option<Duration>,
) -> Result<()> {
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(unacknowledged)
}

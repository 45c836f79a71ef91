//! Several addresses of one name: the first that answers is taken (RFC 8305, "Happy Eyeballs").
//!
//! A name has several addresses where a SQL Server's listener spans subnets, where a cluster's name is kept in DNS for all its members, and where
//! there is IPv6 besides IPv4. One that is silent must not use up the time of the others.

use std::future::Future;
use std::io::Error;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

/// The next address is tried after this time, or as soon as one has failed ("Connection Attempt Delay" of RFC 8305, section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The first connection that comes about; the others are given up.
///
/// # Errors
/// What each address said, in the order in which they failed.
pub(crate) async fn first<T, F: Future<Output = Result<T, Error>>>(
    addresses: Vec<SocketAddr>,
    open: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<(SocketAddr, Error)>> {
    let mut waiting = in_turns(addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = open(address);
            attempts.push(async move { (address, attempt.await) });
        }
        let is_last = waiting.len() == 0;
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some((_, Ok(stream))) => return Ok(stream),
                Some((address, Err(error))) => failed.push((address, error)),
                None => return Err(failed),
            },
            () = tokio::time::sleep(ATTEMPT_DELAY), if !is_last => {}
        }
    }
}

/// The families take turns, the resolver's first choice first (RFC 8305, section 4).
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::time::Instant;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"].map(address).to_vec();
        let expected = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(in_turns(addresses), expected);
    }

    /// What an address does: silent, or an answer after some time.
    async fn behave(address: SocketAddr) -> Result<SocketAddr, Error> {
        match address.port() {
            1 => std::future::pending().await,
            2 => Err(ErrorKind::ConnectionRefused.into()),
            milliseconds => {
                tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
                Ok(address)
            }
        }
    }

    async fn race(addresses: &[&str]) -> Result<SocketAddr, usize> {
        let addresses = addresses.iter().map(|text| address(text)).collect();
        first(addresses, behave).await.map_err(|failed| failed.len())
    }

    #[tokio::test]
    async fn silent_address_delays_the_next_one_a_little() {
        let begin = Instant::now();
        assert_eq!(race(&["127.0.0.1:1", "127.0.0.2:10"]).await, Ok(address("127.0.0.2:10")));
        assert!(begin.elapsed() >= ATTEMPT_DELAY, "the first one had no time of its own");
    }

    #[tokio::test]
    async fn refused_address_is_passed_over() {
        assert_eq!(race(&["127.0.0.1:2", "127.0.0.2:2", "127.0.0.3:10"]).await, Ok(address("127.0.0.3:10")));
        assert_eq!(race(&["127.0.0.1:2", "127.0.0.2:2"]).await, Err(2));
    }

    #[tokio::test]
    async fn slow_address_wins_where_the_next_ones_are_silent() {
        assert_eq!(race(&["127.0.0.1:900", "127.0.0.2:1", "127.0.0.3:1"]).await, Ok(address("127.0.0.1:900")));
    }
}

//! Which addresses an answer of a registry may send the host to.
//!
//! A registry may redirect a download to its storage and name a token service elsewhere. A stranger's registry must not use that to reach
//! what only this machine, or only its network, reaches.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

/// How near an address is. A registry may send the host to addresses that are at most as near as its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// Anywhere on the internet.
    Public,
    /// Of a private network (RFC 1918, RFC 4193, RFC 6598).
    Private,
    /// This machine, its link, and the metadata services of clouds, which are on it.
    Local,
}

impl Nearness {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => {
                let first = v6.segments()[0];
                if v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || first & 0xffc0 == 0xfe80 {
                    Self::Local
                } else if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = v6.segments() {
                    // RFC 6052: an IPv4 address behind NAT64.
                    Self::of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
                } else if first & 0xfe00 == 0xfc00 {
                    Self::Private
                } else {
                    Self::Public
                }
            }
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Self {
        let [a, b, ..] = v4.octets();
        if v4.is_loopback() || a == 0 || v4.is_link_local() || v4.is_broadcast() || v4.is_multicast() {
            Self::Local
        } else if v4.is_private() || (a == 100 && (64..128).contains(&b)) {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The addresses of a URL's host now; none where the name cannot be resolved here, as behind a proxy.
pub(crate) async fn addresses(url: &Url) -> Vec<std::net::SocketAddr> {
    let port = url.port_or_known_default().unwrap_or(443);
    match url.host() {
        Some(url::Host::Ipv4(v4)) => vec![(v4, port).into()],
        Some(url::Host::Ipv6(v6)) => vec![(v6, port).into()],
        Some(url::Host::Domain(name)) => match tokio::net::lookup_host((name, port)).await {
            Ok(found) => found.collect(),
            Err(_) => Vec::new(),
        },
        None => Vec::new(),
    }
}

/// The nearest of several addresses; none of none.
pub(crate) fn nearest(addresses: &[std::net::SocketAddr]) -> Option<Nearness> {
    addresses.iter().map(|address| Nearness::of(address.ip())).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_its_network_are_known() {
        let of = |text: &str| Nearness::of(text.parse().unwrap());
        for local in
            ["127.0.0.1", "0.0.0.0", "169.254.169.254", "::1", "::", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
        {
            assert_eq!(of(local), Nearness::Local, "{local}");
        }
        for private in ["10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(of(private), Nearness::Private, "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1", "64:ff9b::808:808"] {
            assert_eq!(of(public), Nearness::Public, "{public}");
        }
    }
}

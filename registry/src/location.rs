use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::RegistryError;

/// Where artifacts are: `host[:port]/prefix`, or `oci:PATH` for an OCI image layout directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A registry over HTTPS, or HTTP where that is allowed.
    Remote {
        /// `host` or `host:port`.
        host: String,
        /// What stands between the host and a datakit's name, without slashes at its ends; may be empty.
        prefix: String,
    },
    /// A directory.
    Layout(PathBuf),
}

impl Location {
    /// Whether plain HTTP is allowed without asking: on this machine only.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let Self::Remote { host, .. } = self else { return true };
        let name = match host.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for Location {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let bad = |reason: &str| RegistryError::BadLocation { location: text.to_owned(), reason: reason.to_owned() };
        if let Some(path) = text.strip_prefix("oci:") {
            return match path {
                "" => Err(bad("the path is empty")),
                path => Ok(Self::Layout(PathBuf::from(path))),
            };
        }
        if text.contains("://") {
            return Err(bad("write the host without a scheme; plain HTTP is a setting of its own"));
        }
        let (host, prefix) = text.split_once('/').unwrap_or((text, ""));
        let prefix = prefix.trim_end_matches('/');
        let host_like = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        if host.is_empty() || !host.chars().all(host_like) {
            return Err(bad("the host is not one"));
        }
        let segment = |s: &str| {
            !s.is_empty() && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c))
        };
        if !prefix.is_empty() && !prefix.split('/').all(segment) {
            return Err(bad("the prefix holds lower-case letters, digits, `-`, `.`, `_` and single slashes"));
        }
        Ok(Self::Remote { host: host.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { host, prefix } if prefix.is_empty() => f.write_str(host),
            Self::Remote { host, prefix } => write!(f, "{host}/{prefix}"),
            Self::Layout(path) => write!(f, "oci:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_read_as_they_print() {
        for text in ["registry.localhost:5000/datakits", "ghcr.io/team/kits", "registry.example", "oci:./registry"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn only_this_machine_is_local() {
        let local = |text: &str| text.parse::<Location>().unwrap().is_local();
        assert!(
            local("localhost:5000/x") && local("127.0.0.1:5000") && local("[::1]:5000/x") && local("r.localhost/x")
        );
        assert!(!local("localhost.example/x") && !local("10.0.0.1:5000/x"));
    }

    #[test]
    fn bad_locations_say_why() {
        let refuse = |text: &str| text.parse::<Location>().unwrap_err().to_string();
        insta::assert_snapshot!(
            ["", "oci:", "http://localhost/x", "host/UPPER", "host//x", "user@host/x"].map(refuse).join("\n")
        );
    }
}

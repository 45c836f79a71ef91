//! Bounds of connecting: of pools and single steps.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::{Checks, Settings};

/// Bounds of a connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pool {
    /// Connections open at one time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_connections: u64,
    /// Connections that are kept open once there is a first one, however long they are idle.
    #[schemars(range(min = 0, max = 1_000))]
    pub min_connections: u64,
    /// The longest wait for a free one, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub checkout_seconds: u64,
    /// A connection idle for longer is not used again, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub max_idle_seconds: u64,
    /// A connection older than this is not used again, in seconds.
    #[schemars(range(min = 1, max = 86_400))]
    pub max_lifetime_seconds: u64,
    /// A connection that was idle for longer is pinged before it is used, in seconds; 0: always.
    #[schemars(range(min = 0, max = 86_400))]
    pub validate_after_seconds: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_connections: 8,
            min_connections: 0,
            checkout_seconds: 60,
            max_idle_seconds: 300,
            max_lifetime_seconds: 3_600,
            validate_after_seconds: 1,
        }
    }
}

impl Settings for Pool {
    fn check(at: &Checks<'_>) {
        let most = at.get("max_connections").unwrap_or(Self::default().max_connections);
        if at.get("min_connections").is_some_and(|fewest: u64| fewest > most) {
            let pair = ["this `min_connections`", "a smaller `max_connections`"];
            at.contradiction("min_connections", pair, "keep `min_connections` at or below `max_connections`");
        }
    }
}

/// Bounds of single steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Timeouts {
    /// TCP, TLS and login together, in seconds.
    #[schemars(range(min = 1, max = 3_600))]
    pub connect_seconds: u64,
    /// The server's time for one query, in seconds; a datakit can ask for less, not for more.
    #[schemars(range(min = 1, max = 86_400))]
    pub query_seconds: u64,
    /// The server's answer to a cancel, in seconds; after it the connection is dropped.
    #[schemars(range(min = 1, max = 600))]
    pub cancel_seconds: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_seconds: 15, query_seconds: 14_400, cancel_seconds: 5 }
    }
}

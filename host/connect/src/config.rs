//! What an operator says about any server.

use std::time::Duration;

pub use crate::pool::server_limit::ServerLimit;

/// Bounds of the connection pool, which all partitions and tables of a run share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Open connections at one time, of all drivers together.
    pub max_connections: usize,
    /// Connections that are kept open once there is a first one, however long they are idle.
    pub min_connections: usize,
    /// The longest wait for a free one.
    pub checkout_timeout: Duration,
    /// An idle connection older than this is not used again.
    pub max_idle: Duration,
    /// A connection older than this is not used again.
    pub max_lifetime: Duration,
    /// A connection idle for longer than this is asked for a sign of life before use.
    pub validate_after: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_connections: 8,
            min_connections: 0,
            checkout_timeout: Duration::from_secs(60),
            max_idle: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(3600),
            validate_after: Duration::from_secs(1),
        }
    }
}

/// Bounds of single steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Reaching the server, TLS and login together. Whole seconds; less than one counts as one.
    pub connect: Duration,
    /// A query, in time of the server: what a datakit waits does not count.
    pub query: Duration,
    /// The server's acknowledgement of a cancel; after it the connection is dropped. Whole seconds.
    pub cancel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), query: Duration::from_secs(14_400), cancel: Duration::from_secs(5) }
    }
}

impl Timeouts {
    /// The bound on one query: the operator's, or the datakit's where it is smaller.
    pub fn of_query(&self, asked: Option<Duration>) -> Duration {
        asked.map_or(self.query, |asked| asked.min(self.query))
    }
}

/// A run's id comes from the command line: nothing in it may end the comment.
pub fn comment_safe(run_id: &str) -> String {
    run_id
        .chars()
        .take(128)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '+') { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_timeout_of_operator_and_datakit_counts() {
        let timeouts = Timeouts { query: Duration::from_secs(60), ..Timeouts::default() };
        assert_eq!(timeouts.of_query(None), Duration::from_secs(60));
        assert_eq!(timeouts.of_query(Some(Duration::from_secs(5))), Duration::from_secs(5));
        assert_eq!(timeouts.of_query(Some(Duration::from_secs(3_600))), Duration::from_secs(60));
        assert_eq!(Timeouts::default().of_query(None), Duration::from_secs(14_400));
    }
}

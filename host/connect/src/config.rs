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
        Self::from(&datakit_config::Pool::default())
    }
}

impl From<&datakit_config::Pool> for PoolLimits {
    fn from(pool: &datakit_config::Pool) -> Self {
        let (count, seconds) = (|number: u64| usize::try_from(number).unwrap_or(usize::MAX), Duration::from_secs);
        Self {
            max_connections: count(pool.max_connections),
            min_connections: count(pool.min_connections),
            checkout_timeout: seconds(pool.checkout_seconds),
            max_idle: seconds(pool.max_idle_seconds),
            max_lifetime: seconds(pool.max_lifetime_seconds),
            validate_after: seconds(pool.validate_after_seconds),
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
        Self::from(&datakit_config::Timeouts::default())
    }
}

impl From<&datakit_config::Timeouts> for Timeouts {
    fn from(timeouts: &datakit_config::Timeouts) -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(timeouts.connect_seconds),
            query: seconds(timeouts.query_seconds),
            cancel: seconds(timeouts.cancel_seconds),
        }
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

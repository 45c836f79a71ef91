//! Bounds of connecting: of pools, servers and single steps.

use std::collections::BTreeMap;

use crate::connection::contradiction;
use crate::problem::Problem;
use crate::reader::TableReader;

const DAY_SECONDS: u64 = 86_400;

/// The most connections that any bound may allow.
const MAX_CONNECTIONS: u64 = 1_000;

/// Bounds of a connection pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Connections open at one time.
    pub max_connections: u64,
    /// Connections that are kept open once there is a first one.
    pub min_connections: u64,
    /// The longest wait for a free one, in seconds.
    pub checkout_seconds: u64,
    /// A connection idle for longer is not used again, in seconds.
    pub max_idle_seconds: u64,
    /// A connection older than this is not used again, in seconds.
    pub max_lifetime_seconds: u64,
    /// A connection idle for longer is asked for a sign of life before it is used, in seconds.
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

/// Bounds of single steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, TLS and login together, in seconds.
    pub connect_seconds: u64,
    /// A query, in seconds of the server's time, whatever timeout the datakit asks for.
    pub query_seconds: u64,
    /// The server's answer to a cancel, in seconds; after it the connection is dropped.
    pub cancel_seconds: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_seconds: 15, query_seconds: 14_400, cancel_seconds: 5 }
    }
}

pub(crate) fn read_pool(table: &mut TableReader<'_>) -> Pool {
    let mut pool = Pool::default();
    let Some(mut reader) = table.table("pool") else { return pool };
    let mut set = |key, minimum, maximum, into: &mut u64| {
        let found = reader.integer(key, minimum, maximum)?;
        *into = found.value;
        Some(found.origin)
    };
    set("max_connections", 1, MAX_CONNECTIONS, &mut pool.max_connections);
    let fewest = set("min_connections", 0, MAX_CONNECTIONS, &mut pool.min_connections);
    set("checkout_seconds", 1, DAY_SECONDS, &mut pool.checkout_seconds);
    set("max_idle_seconds", 1, DAY_SECONDS, &mut pool.max_idle_seconds);
    set("max_lifetime_seconds", 1, DAY_SECONDS, &mut pool.max_lifetime_seconds);
    set("validate_after_seconds", 0, DAY_SECONDS, &mut pool.validate_after_seconds);
    if let Some(origin) = fewest.filter(|_| pool.min_connections > pool.max_connections) {
        let pair = ["this `min_connections`", "a smaller `max_connections`"];
        contradiction(reader.problems(), &origin, pair, "keep `min_connections` at or below `max_connections`");
    }
    reader.finish();
    pool
}

pub(crate) fn read_timeouts(table: &mut TableReader<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(mut reader) = table.table("timeouts") else { return timeouts };
    if let Some(found) = reader.integer("connect_seconds", 1, 3_600) {
        timeouts.connect_seconds = found.value;
    }
    if let Some(found) = reader.integer("query_seconds", 1, DAY_SECONDS) {
        timeouts.query_seconds = found.value;
    }
    if let Some(found) = reader.integer("cancel_seconds", 1, 600) {
        timeouts.cancel_seconds = found.value;
    }
    reader.finish();
    timeouts
}

/// `[servers."HOST:PORT"]`, `[servers.'HOST\INSTANCE']`
pub(crate) fn read_servers(root: &mut TableReader<'_>) -> BTreeMap<String, u64> {
    let mut servers = BTreeMap::new();
    for (name, mut table) in root.named_tables("servers") {
        let origin = table.origin().clone();
        let bound = table.integer("max_connections", 1, MAX_CONNECTIONS);
        if table.entry("max_connections").is_none() {
            table.missing("max_connections", "write `max_connections = 20`");
        }
        table.finish();
        if let Some((host, instance)) =
            name.split_once('\\').filter(|(host, name)| !host.is_empty() && !name.is_empty())
        {
            servers.extend(bound.map(|bound| (format!("{host}\\{instance}").to_lowercase(), bound.value)));
            continue;
        }
        match name.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some((host, Ok(port))) if !host.is_empty() && port > 0 => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
                servers.extend(bound.map(|bound| (format!("{host}:{port}"), bound.value)));
            }
            _ => {
                let (problem, hint) =
                    ("is not HOST:PORT", "write host and port, or HOST\\INSTANCE, as the connections have them");
                root.problems().at(Problem::Server { path: format!("servers.{name:?}"), problem, hint }, &origin);
            }
        }
    }
    servers
}

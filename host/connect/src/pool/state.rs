//! Who is open, idle, in use, and what was counted.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datakit_model::source::{ClosedConnections, PoolStatistics};

use super::keeper::Open;
use super::server_limit::{ServerLimit, Slot};
use super::{PoolLimits, PooledServer};

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server closed it, or did not answer.
    ClosedByServer,
    Idle,
    Lifetime,
    Unfinished,
    Displaced,
}

/// What pool, leases and keeper share.
pub(super) struct Shared<S> {
    pub(super) server: Arc<S>,
    /// The pool's own bound, or the server's where that is less.
    pub(super) max: usize,
    state: Mutex<State<S>>,
}

/// `idle.len() + leased` never exceeds `max`.
struct State<S> {
    /// Longest idle first.
    idle: Vec<Idle>,
    /// Places of leases, those that still connect included.
    leased: usize,
    /// Connections that are open, in use or idle.
    open: usize,
    /// How the driver that was asked for last connects; none before the first connection.
    driver: Option<Open<S>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    most_open: u64,
    opened: u64,
    closed: ClosedConnections,
    waits: u64,
    wait: Duration,
    longest_wait: Duration,
}

/// A connection that waits for its next use.
pub(super) struct Idle {
    pub(super) connection: Box<dyn Any + Send>,
    pub(super) opened: Instant,
    pub(super) since: Instant,
    // After the connection: the server has room once it is closed.
    pub(super) slot: Option<Slot>,
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl<S: PooledServer> Shared<S> {
    pub(super) fn new(server: &Arc<S>, max: usize) -> Self {
        let state = State { idle: Vec::new(), leased: 0, open: 0, driver: None, counts: Counts::default() };
        Self { server: Arc::clone(server), max, state: Mutex::new(state) }
    }

    pub(super) fn limits(&self) -> &PoolLimits {
        self.server.pool()
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        // Nothing in here can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn statistics(&self) -> PoolStatistics {
        let state = self.state();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        PoolStatistics {
            server: self.server.address(),
            in_use: number(state.open.saturating_sub(state.idle.len())),
            idle: number(state.idle.len()),
            most_open: state.counts.most_open,
            max_connections: number(self.max),
            opened: state.counts.opened,
            closed: state.counts.closed,
            waits: state.counts.waits,
            wait_ms: milliseconds(state.counts.wait),
            longest_wait_ms: milliseconds(state.counts.longest_wait),
        }
    }

    /// Takes the idle connection of a driver that was used last. Without one, closes those of others until there is room for one
    /// more. `counts`: the place was not counted yet.
    pub(super) fn take_idle(&self, is_of_driver: impl Fn(&dyn Any) -> bool, counts: bool) -> Option<Idle> {
        let mut closing = Vec::new();
        let mut state = self.state();
        if counts {
            state.leased += 1;
        }
        let found = match state.idle.iter().rposition(|idle| is_of_driver(idle.connection.as_ref())) {
            Some(at) => Some(state.idle.remove(at)),
            None => {
                let over = (state.idle.len() + state.leased).saturating_sub(self.max);
                closing.extend(state.idle.drain(..over));
                None
            }
        };
        drop(state);
        self.close(closing, Reason::Displaced);
        found
    }

    /// Puts a connection among the idle ones, and its place is no lease any more; closed where another pool waits for it.
    pub(super) fn put_back(&self, idle: Idle) {
        let mut state = self.state();
        state.leased -= 1;
        // Looked at with the state locked: see `ServerLimit::acquire`.
        if self.server.server_limit().is_some_and(ServerLimit::is_wanted) {
            drop(state);
            return self.close(vec![idle], Reason::Displaced);
        }
        state.idle.push(idle);
    }

    /// A place that was leased is none any more; `closed` if there was a connection in it.
    pub(super) fn unlease(&self, closed: Option<Reason>) {
        self.state().leased -= 1;
        if let Some(reason) = closed {
            self.closed(reason);
        }
    }

    /// A connection was opened.
    pub(super) fn opened(&self) {
        let mut state = self.state();
        state.open += 1;
        state.counts.opened += 1;
        state.counts.most_open = state.counts.most_open.max(number(state.open));
        let (open, idle) = (state.open, state.idle.len());
        drop(state);
        tracing::debug!(
            server = self.server.address(),
            open,
            idle,
            in_use = open - idle.min(open),
            "connection opened"
        );
    }

    /// A connection was closed.
    pub(super) fn closed(&self, reason: Reason) {
        let mut state = self.state();
        state.open = state.open.saturating_sub(1);
        let closed = &mut state.counts.closed;
        *match reason {
            Reason::ClosedByServer => &mut closed.closed_by_server,
            Reason::Idle => &mut closed.idle,
            Reason::Lifetime => &mut closed.lifetime,
            Reason::Unfinished => &mut closed.unfinished,
            Reason::Displaced => &mut closed.displaced,
        } += 1;
        let (open, idle) = (state.open, state.idle.len());
        drop(state);
        let in_use = open - idle.min(open);
        tracing::debug!(server = self.server.address(), ?reason, open, idle, in_use, "connection closed");
    }

    /// Somebody waited for a connection.
    pub(super) fn waited(&self, time: Duration) {
        let mut state = self.state();
        state.counts.waits += 1;
        state.counts.wait += time;
        state.counts.longest_wait = state.counts.longest_wait.max(time);
        drop(state);
        tracing::debug!(server = self.server.address(), seconds = time.as_secs_f64(), "waited for a connection");
    }

    fn close(&self, closing: Vec<Idle>, reason: Reason) {
        for idle in closing {
            drop(idle);
            self.closed(reason);
        }
    }

    /// Closes the connection that is idle longest; false where there is none.
    pub(super) fn displace_one(&self) -> bool {
        let mut state = self.state();
        if state.idle.is_empty() {
            return false;
        }
        let idle = state.idle.remove(0);
        drop(state);
        self.close(vec![idle], Reason::Displaced);
        true
    }

    /// Closes idle connections that are too old, and those that are idle for too long, down to the fewest that are kept.
    pub(super) fn tidy(&self) {
        let limits = self.limits();
        let mut state = self.state();
        let (old, young): (Vec<_>, Vec<_>) =
            state.idle.drain(..).partition(|idle| idle.opened.elapsed() > limits.max_lifetime);
        state.idle = young;
        let spare = (state.open - old.len().min(state.open)).saturating_sub(limits.min_connections);
        let tired = state.idle.iter().take_while(|idle| idle.since.elapsed() > limits.max_idle).count().min(spare);
        let tired: Vec<_> = state.idle.drain(..tired).collect();
        drop(state);
        self.close(old, Reason::Lifetime);
        self.close(tired, Reason::Idle);
    }

    /// Notes the driver that was asked for last; true for the first one.
    pub(super) fn set_driver(&self, driver: Open<S>) -> bool {
        self.state().driver.replace(driver).is_none()
    }

    /// How to open one more connection, where fewer are open than are to be kept; it then has a place.
    pub(super) fn wants_one_more(&self) -> Option<Open<S>> {
        let mut state = self.state();
        let driver = state.driver?;
        let fewest = self.limits().min_connections.min(self.max);
        if state.open >= fewest || state.idle.len() + state.leased >= self.max {
            return None;
        }
        state.leased += 1;
        Some(driver)
    }
}

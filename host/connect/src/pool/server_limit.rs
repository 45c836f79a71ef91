//! A bound on the connections to one server, shared by every pool that connects there.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most connections to one server, whatever the connections of the configuration that name it. Clones share the bound.
#[derive(Clone)]
pub struct ServerLimit(Arc<Inner>);

struct Inner {
    max_connections: usize,
    permits: Arc<Semaphore>,
    /// Who waits for a slot: while somebody does, nothing is kept idle.
    waiting: AtomicUsize,
    pools: Mutex<Vec<Weak<dyn GivesUpIdle>>>,
}

/// The right to one connection to the server. None: there is no bound any more, which cannot happen.
pub type Slot = Option<OwnedSemaphorePermit>;

/// A pool that can close an idle connection for another.
pub trait GivesUpIdle: Send + Sync {
    /// Closes the connection that is idle longest; false where there is none.
    fn give_up_idle(&self) -> bool;
}

impl ServerLimit {
    /// At most so many, at least one.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        let max_connections = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            max_connections,
            permits: Arc::new(Semaphore::new(max_connections)),
            waiting: AtomicUsize::new(0),
            pools: Mutex::default(),
        }))
    }

    /// The bound.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.0.max_connections
    }

    /// Takes a pool in whose idle connections others may need.
    pub fn join(&self, pool: Weak<dyn GivesUpIdle>) {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool);
    }

    /// Whether somebody waits for a slot.
    pub fn is_wanted(&self) -> bool {
        self.0.waiting.load(Ordering::SeqCst) > 0
    }

    /// A slot that is free now.
    pub fn try_acquire(&self) -> Option<Slot> {
        Arc::clone(&self.0.permits).try_acquire_owned().ok().map(Some)
    }

    /// A slot, freed by another pool's idle connection where all are taken.
    pub async fn acquire(&self) -> Slot {
        if let Some(slot) = self.try_acquire() {
            return slot;
        }
        // First this, then the look at who is idle: whoever becomes idle from now on sees that it is wanted.
        let _waiting = Waiting::new(&self.0.waiting);
        let pools: Vec<_> = {
            let mut pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.retain(|pool| pool.strong_count() > 0);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        let _ = pools.iter().any(|pool| pool.give_up_idle());
        drop(pools);
        Arc::clone(&self.0.permits).acquire_owned().await.ok()
    }
}

impl fmt::Debug for ServerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLimit").field("max_connections", &self.0.max_connections).finish_non_exhaustive()
    }
}

struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

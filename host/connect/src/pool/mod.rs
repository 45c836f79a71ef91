//! One pool for all partitions and tables of a run, and for all drivers that connect to the server.
//!
//! Of each driver the connections used last are used again first. `max_connections` bounds the connections of all
//! drivers together: where a driver needs a place and idle connections of another fill them all, the one of those
//! that is idle longest is closed. Pools that are made for one kind of connection cannot do that, hence our own.
//!
//! | module | about |
//! |---|---|
//! | [`server_limit`] | the bound that pools of one server share |
//! | `keeper` | what happens to idle connections while nobody asks |
//! | `state` | who is open, idle, in use, and what was counted |

mod keeper;
pub mod server_limit;
mod state;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use datakit_model::source::PoolStatistics;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::server_limit::{GivesUpIdle, ServerLimit, Slot};
use self::state::{Idle, Reason, Shared};
use crate::config::PoolLimits;
use datakit_model::Fault;

/// How long a sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What the pool has to know of a server.
pub trait PooledServer: Send + Sync + 'static {
    /// Bounds of the pool.
    fn pool(&self) -> &PoolLimits;
    /// `host:port`, for messages.
    fn address(&self) -> String;
    /// The bound on all connections to the server, if there is one.
    fn server_limit(&self) -> Option<&ServerLimit>;
}

/// A connection that can be pooled.
pub trait Pooled: Send + Sized + 'static {
    /// What it connects to.
    type Server: PooledServer;
    /// What can go wrong.
    type Error: Fault;

    /// Connects and logs in.
    fn open(server: &Self::Server) -> impl Future<Output = Result<Self, Self::Error>> + Send;
    /// Whether nothing is known against it, without asking the server.
    fn is_usable(&self) -> bool;
    /// Whether nothing has come from the server since the last answer, not even the end of the connection; as far as the driver
    /// lets its socket be looked at, without waiting.
    fn is_quiet(&self) -> bool {
        true
    }
    /// Asks the server for a sign of life.
    fn ping(&mut self) -> impl Future<Output = bool> + Send;
}

/// The connections to one server.
pub struct Pool<S: PooledServer> {
    shared: Arc<Shared<S>>,
    /// One permit a connection that may be leased.
    permits: Arc<Semaphore>,
}

/// A connection taken from the pool. [`give_back`] returns it; dropping the lease closes it.
pub struct Lease<C: Pooled> {
    connection: C,
    opened: Instant,
    // After the connection: a place is free once its connection is closed.
    place: Place<C::Server>,
}

/// The right to one open connection.
struct Place<S: PooledServer> {
    shared: Arc<Shared<S>>,
    /// Whether the state counts it as leased.
    counted: bool,
    /// Whether there is a connection in it.
    connected: bool,
    /// The right to a connection to the server, where pools share a bound.
    slot: Option<Slot>,
    _permit: OwnedSemaphorePermit,
}

impl<S: PooledServer> Pool<S> {
    /// An empty pool; connects to nothing yet.
    pub fn new(server: &Arc<S>) -> Self {
        let limit = server.server_limit();
        // More of them could only wait for each other.
        let bound = limit.map_or(usize::MAX, ServerLimit::max_connections);
        let max = server.pool().max_connections.min(bound).min(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared::new(server, max));
        if let Some(limit) = limit {
            let pool: Weak<Shared<S>> = Arc::downgrade(&shared);
            limit.join(pool);
        }
        Self { shared, permits: Arc::new(Semaphore::new(max)) }
    }

    /// What it has done so far.
    pub fn statistics(&self) -> PoolStatistics {
        self.shared.statistics()
    }

    /// A connection of a driver that was found usable just now, or a new one.
    ///
    /// # Errors
    /// What connecting says, or that all stayed in use.
    pub async fn lease<C: Pooled<Server = S>>(&self) -> Result<Lease<C>, C::Error> {
        let asked = Instant::now();
        let mut place = self.place::<C::Error>().await?;
        while let Some((mut connection, opened, since)) = place.take_idle::<C>() {
            match unfit(self.shared.limits(), &mut connection, opened, since).await {
                None => return Ok(Lease { connection, opened, place }),
                Some(reason) => {
                    drop(connection);
                    place.emptied(reason);
                }
            }
        }
        if place.slot.is_none()
            && let Some(limit) = self.shared.server.server_limit()
        {
            let slot = self.in_time(asked, limit.max_connections(), limit.acquire()).await?;
            place.slot = Some(slot);
        }
        let connection = C::open(&self.shared.server).await?;
        place.filled();
        self.keep::<C>();
        Ok(Lease { connection, opened: Instant::now(), place })
    }

    /// Waits for a place and takes it.
    async fn place<E: Fault>(&self) -> Result<Place<S>, E> {
        let asked = Instant::now();
        let acquire = async { Arc::clone(&self.permits).acquire_owned().await.ok() };
        let Some(permit) = self.in_time(asked, self.shared.max, acquire).await? else {
            return Err(Fault::internal("the connection pool is closed".to_owned()));
        };
        let shared = Arc::clone(&self.shared);
        Ok(Place { shared, counted: false, connected: false, slot: None, _permit: permit })
    }

    /// Waits at most until the checkout's time is over, and counts the wait where there is one.
    async fn in_time<T, E: Fault>(
        &self,
        asked: Instant,
        connections: usize,
        waiting: impl Future<Output = T>,
    ) -> Result<T, E> {
        tokio::pin!(waiting);
        // What is there is taken without a word.
        if let Some(found) = futures::FutureExt::now_or_never(waiting.as_mut()) {
            return Ok(found);
        }
        let timeout = self.shared.limits().checkout_timeout;
        let began = Instant::now();
        let waited = tokio::time::timeout(timeout.saturating_sub(asked.elapsed()), waiting).await;
        self.shared.waited(began.elapsed());
        waited.map_err(|_| Fault::pool_timeout(self.shared.server.address(), timeout.as_secs_f64(), connections))
    }

    /// Has idle connections looked after from now on, and as many kept open as the operator wants; further ones by the driver
    /// that was asked for last.
    fn keep<C: Pooled<Server = S>>(&self) {
        let open: keeper::Open<S> = |server| {
            Box::pin(async move {
                let opened = C::open(&server).await;
                opened.map(|connection| Box::new(connection) as Box<dyn Any + Send>).map_err(|error| error.into())
            })
        };
        keeper::keep(&self.shared, &self.permits, open);
    }
}

/// Why an idle connection may not be used again.
async fn unfit<C: Pooled>(limits: &PoolLimits, connection: &mut C, opened: Instant, since: Instant) -> Option<Reason> {
    if !connection.is_usable() {
        return Some(Reason::ClosedByServer);
    }
    if opened.elapsed() > limits.max_lifetime {
        return Some(Reason::Lifetime);
    }
    // Those that are kept on purpose are asked instead.
    if since.elapsed() > limits.max_idle && limits.min_connections == 0 {
        return Some(Reason::Idle);
    }
    // An idle server sends nothing until it closes the connection.
    let is_alive = (since.elapsed() < limits.validate_after && connection.is_quiet())
        || matches!(tokio::time::timeout(PING_TIMEOUT, connection.ping()).await, Ok(true));
    (!is_alive).then_some(Reason::ClosedByServer)
}

impl<S: PooledServer> Place<S> {
    /// Takes the driver's idle connection that was used last. Without one, closes idle connections of other drivers
    /// until there is room for one more.
    fn take_idle<C: Pooled>(&mut self) -> Option<(C, Instant, Instant)> {
        let counted = std::mem::replace(&mut self.counted, true);
        let idle = self.shared.take_idle(|connection| connection.is::<C>(), !counted)?;
        let Idle { connection, opened, since, slot } = idle;
        // A slot that was taken already goes back with the old one.
        self.slot = slot;
        self.connected = true;
        connection.downcast().ok().map(|connection| (*connection, opened, since))
    }

    /// Its connection was closed; the next one may have its slot.
    fn emptied(&mut self, reason: Reason) {
        self.connected = false;
        self.shared.closed(reason);
    }

    fn filled(&mut self) {
        self.connected = true;
        self.shared.opened();
    }
}

impl<S: PooledServer> Drop for Place<S> {
    fn drop(&mut self) {
        if self.counted {
            self.shared.unlease(self.connected.then_some(Reason::Unfinished));
        }
    }
}

/// Puts a connection back if it is usable, else closes it.
pub fn give_back<C: Pooled>(lease: Lease<C>) {
    let Lease { connection, opened, mut place } = lease;
    if !connection.is_usable() {
        // Before its place is free.
        drop(connection);
        return;
    }
    let idle = Idle { connection: Box::new(connection), opened, since: Instant::now(), slot: place.slot.take() };
    place.counted = false;
    place.shared.put_back(idle);
}

impl<C: Pooled> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C: Pooled> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<S: PooledServer> GivesUpIdle for Shared<S> {
    fn give_up_idle(&self) -> bool {
        self.displace_one()
    }
}

type BoxedOpen = Pin<Box<dyn Future<Output = Result<Box<dyn Any + Send>, datakit_model::Failure>> + Send>>;

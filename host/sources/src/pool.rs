//! One pool for all partitions and tables of a run, and for all drivers that connect to the server.
//!
//! Of each driver the connections used last are used again first. `max_connections` bounds the connections of all
//! drivers together: where a driver needs a place and idle connections of another fill them all, the one of those
//! that is idle longest is closed. Pools that are made for one kind of connection cannot do that, hence our own.

use std::any::Any;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::PoolLimits;
use crate::fault::Fault;

/// How long a sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// What the pool has to know of a server.
pub(crate) trait PooledServer: Send + Sync + 'static {
    /// Bounds of the pool.
    fn pool(&self) -> &PoolLimits;
    /// `host:port`, for messages.
    fn address(&self) -> String;
}

/// A connection that can be pooled.
pub(crate) trait Pooled: Send + Sized + 'static {
    /// What it connects to.
    type Server: PooledServer;
    /// What can go wrong.
    type Error: Fault;

    /// Connects and logs in.
    fn open(server: &Self::Server) -> impl Future<Output = Result<Self, Self::Error>> + Send;
    /// Whether nothing is known against it, without asking the server.
    fn is_usable(&self) -> bool;
    /// Asks the server for a sign of life.
    fn ping(&mut self) -> impl Future<Output = bool> + Send;
}

/// The connections to one server.
pub(crate) struct Pool<S> {
    shared: Arc<Shared<S>>,
    /// One permit a connection that may be leased.
    permits: Arc<Semaphore>,
}

struct Shared<S> {
    server: Arc<S>,
    state: Mutex<State>,
}

/// `idle.len() + leased` never exceeds `max_connections`.
#[derive(Default)]
struct State {
    /// Longest idle first.
    idle: Vec<Idle>,
    /// Places of leases, those that still connect included.
    leased: usize,
}

struct Idle {
    connection: Box<dyn Any + Send>,
    opened: Instant,
    since: Instant,
}

/// A connection taken from the pool. [`give_back`] returns it; dropping the lease closes it.
pub(crate) struct Lease<C: Pooled> {
    connection: C,
    opened: Instant,
    // After the connection: a place is free once its connection is closed.
    place: Place<C::Server>,
}

/// The right to one open connection.
struct Place<S: PooledServer> {
    shared: Arc<Shared<S>>,
    /// Whether `State::leased` counts it.
    counted: bool,
    _permit: OwnedSemaphorePermit,
}

impl<S: PooledServer> Pool<S> {
    /// An empty pool; connects to nothing yet.
    pub(crate) fn new(server: &Arc<S>) -> Self {
        let shared = Shared { server: Arc::clone(server), state: Mutex::default() };
        Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(server.pool().max_connections)) }
    }

    /// A connection of a driver that was found usable just now, or a new one.
    ///
    /// # Errors
    /// What connecting says, or that all stayed in use.
    pub(crate) async fn lease<C: Pooled<Server = S>>(&self) -> Result<Lease<C>, C::Error> {
        let mut place = self.place::<C::Error>().await?;
        let server = &self.shared.server;
        while let Some((mut connection, opened, since)) = place.take_idle::<C>() {
            if is_fit(server.pool(), &mut connection, opened, since).await {
                return Ok(Lease { connection, opened, place });
            }
        }
        let connection = C::open(server).await?;
        Ok(Lease { connection, opened: Instant::now(), place })
    }

    /// Waits for a place and takes it.
    async fn place<E: Fault>(&self) -> Result<Place<S>, E> {
        let server = &self.shared.server;
        let timeout = server.pool().checkout_timeout;
        let permit = match tokio::time::timeout(timeout, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(Fault::internal("the connection pool is closed".to_owned())),
            Err(_) => {
                let connections = server.pool().max_connections;
                return Err(Fault::pool_timeout(server.address(), timeout.as_secs_f64(), connections));
            }
        };
        Ok(Place { shared: Arc::clone(&self.shared), counted: false, _permit: permit })
    }
}

/// Whether an idle connection may be used again.
async fn is_fit<C: Pooled>(limits: &PoolLimits, connection: &mut C, opened: Instant, since: Instant) -> bool {
    if !connection.is_usable() || opened.elapsed() > limits.max_lifetime || since.elapsed() > limits.max_idle {
        return false;
    }
    since.elapsed() <= limits.validate_after
        || matches!(tokio::time::timeout(PING_TIMEOUT, connection.ping()).await, Ok(true))
}

impl<S> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: PooledServer> Place<S> {
    /// Takes the driver's idle connection that was used last. Without one, closes idle connections of other drivers
    /// until there is room for one more.
    fn take_idle<C: Pooled>(&mut self) -> Option<(C, Instant, Instant)> {
        let mut closing = Vec::new();
        let mut state = self.shared.state();
        if !std::mem::replace(&mut self.counted, true) {
            state.leased += 1;
        }
        let found = match state.idle.iter().rposition(|idle| idle.connection.is::<C>()) {
            Some(at) => Some(state.idle.remove(at)),
            None => {
                let over = (state.idle.len() + state.leased).saturating_sub(self.shared.server.pool().max_connections);
                closing.extend(state.idle.drain(..over));
                None
            }
        };
        drop(state);
        drop(closing);
        let Idle { connection, opened, since } = found?;
        connection.downcast().ok().map(|connection| (*connection, opened, since))
    }
}

impl<S: PooledServer> Drop for Place<S> {
    fn drop(&mut self) {
        if self.counted {
            self.shared.state().leased -= 1;
        }
    }
}

/// Puts a connection back if it is usable, else closes it.
pub(crate) fn give_back<C: Pooled>(lease: Lease<C>) {
    let Lease { connection, opened, mut place } = lease;
    if connection.is_usable() {
        let idle = Idle { connection: Box::new(connection), opened, since: Instant::now() };
        let mut state = place.shared.state();
        state.idle.push(idle);
        state.leased -= 1;
        drop(state);
        place.counted = false;
    }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sqlserver::SourceError;

    static OPEN: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    static OPENED: AtomicUsize = AtomicUsize::new(0);

    /// A server that is nothing but its bounds.
    struct Bounds(PoolLimits);

    impl PooledServer for Bounds {
        fn pool(&self) -> &PoolLimits {
            &self.0
        }

        fn address(&self) -> String {
            "sql01:1433".to_owned()
        }
    }

    /// A connection of driver `N` that is counted while it lives.
    struct Counted<const N: usize> {
        usable: bool,
    }

    impl<const N: usize> Pooled for Counted<N> {
        type Server = Bounds;
        type Error = SourceError;

        async fn open(_: &Bounds) -> Result<Self, SourceError> {
            let open = OPEN.fetch_add(1, Ordering::SeqCst) + 1;
            MOST.fetch_max(open, Ordering::SeqCst);
            OPENED.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Self { usable: true })
        }

        fn is_usable(&self) -> bool {
            self.usable
        }

        async fn ping(&mut self) -> bool {
            true
        }
    }

    impl<const N: usize> Drop for Counted<N> {
        fn drop(&mut self) {
            OPEN.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn pool(max_connections: usize, checkout_timeout: Duration) -> Pool<Bounds> {
        Pool::new(&Arc::new(Bounds(PoolLimits { max_connections, checkout_timeout, ..PoolLimits::default() })))
    }

    async fn use_once<const N: usize>(pool: &Pool<Bounds>) {
        let lease = pool.lease::<Counted<N>>().await.unwrap();
        tokio::task::yield_now().await;
        give_back(lease);
    }

    /// One test, since all of it counts in the same places.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_bound_holds_over_both_drivers() {
        // A pool of one changes its connection's driver as often as it is asked to.
        let one = pool(1, Duration::from_millis(50));
        for _ in 0..3 {
            use_once::<1>(&one).await;
            use_once::<2>(&one).await;
            use_once::<2>(&one).await;
        }
        assert_eq!((MOST.load(Ordering::SeqCst), OPENED.load(Ordering::SeqCst)), (1, 6));

        // What is leased is waited for, whichever driver holds it.
        let held = one.lease::<Counted<1>>().await.unwrap();
        assert!(matches!(one.lease::<Counted<2>>().await, Err(SourceError::PoolTimeout { connections: 1, .. })));
        give_back(held);
        use_once::<2>(&one).await;

        // A broken connection frees its place, and a dropped lease closes its own.
        let mut broken = one.lease::<Counted<2>>().await.unwrap();
        broken.usable = false;
        give_back(broken);
        drop(one.lease::<Counted<1>>().await.unwrap());
        assert_eq!(OPEN.load(Ordering::SeqCst), 0);
        use_once::<1>(&one).await;
        drop(one);
        assert_eq!(OPEN.load(Ordering::SeqCst), 0);

        // With room for both drivers nothing is closed.
        let (three, before) = (pool(3, Duration::from_millis(50)), OPENED.load(Ordering::SeqCst));
        for _ in 0..5 {
            use_once::<1>(&three).await;
            use_once::<2>(&three).await;
        }
        assert_eq!(OPENED.load(Ordering::SeqCst) - before, 2);

        // Many at once.
        MOST.store(0, Ordering::SeqCst);
        drop(three);
        let three = Arc::new(pool(3, Duration::from_secs(60)));
        let tasks: Vec<_> = (0..200)
            .map(|i| {
                let pool = Arc::clone(&three);
                tokio::spawn(
                    async move { if i % 3 == 0 { use_once::<1>(&pool).await } else { use_once::<2>(&pool).await } },
                )
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(MOST.load(Ordering::SeqCst) <= 3, "{MOST:?}");
    }
}

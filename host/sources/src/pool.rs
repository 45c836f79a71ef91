//! One pool for all partitions and tables of a run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};

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

/// Opens and checks connections of one driver.
pub(crate) struct Opener<C: Pooled> {
    server: Arc<C::Server>,
    connection: std::marker::PhantomData<fn() -> C>,
}

impl<C: Pooled> Manager for Opener<C> {
    type Type = C;
    type Error = C::Error;

    async fn create(&self) -> Result<C, C::Error> {
        C::open(&self.server).await
    }

    async fn recycle(&self, connection: &mut C, metrics: &Metrics) -> RecycleResult<C::Error> {
        let limits = self.server.pool();
        if !connection.is_usable() {
            return Err(RecycleError::message("broken"));
        }
        if metrics.age() > limits.max_lifetime || metrics.last_used() > limits.max_idle {
            return Err(RecycleError::message("too old"));
        }
        if metrics.last_used() > limits.validate_after {
            let alive = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
            if !matches!(alive, Ok(true)) {
                return Err(RecycleError::message("no sign of life"));
            }
        }
        Ok(())
    }
}

/// A connection taken from the pool; dropping it puts it back.
pub(crate) type Lease<C> = Object<Opener<C>>;

/// The pool of one driver's connections.
pub(crate) struct Connections<C: Pooled> {
    pool: Pool<Opener<C>>,
    server: Arc<C::Server>,
}

impl<C: Pooled> Connections<C> {
    /// An empty pool; connects to nothing yet.
    ///
    /// # Errors
    /// Only if the pool cannot be built: a bug.
    pub(crate) fn new(server: &Arc<C::Server>) -> Result<Self, C::Error> {
        let opener = Opener { server: Arc::clone(server), connection: std::marker::PhantomData };
        let pool = Pool::builder(opener)
            .max_size(server.pool().max_connections)
            .wait_timeout(Some(server.pool().checkout_timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| Fault::internal(format!("cannot build the connection pool: {error}")))?;
        Ok(Self { pool, server: Arc::clone(server) })
    }

    /// A connection that was found usable just now, or a new one.
    ///
    /// # Errors
    /// What connecting says, or that all stayed in use.
    pub(crate) async fn lease(&self) -> Result<Lease<C>, C::Error> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => {
                let limits = self.server.pool();
                let seconds = limits.checkout_timeout.as_secs_f64();
                Fault::pool_timeout(self.server.address(), seconds, limits.max_connections)
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Fault::internal("the connection pool is closed".to_owned())
            }
        })
    }
}

/// Puts a connection back if it is usable, else closes it.
pub(crate) fn give_back<C: Pooled>(lease: Lease<C>) {
    if !lease.is_usable() {
        drop(Object::take(lease));
    }
}

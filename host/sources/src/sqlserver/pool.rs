//! One pool for all partitions and tables of a run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};

use super::config::SqlServerConfig;
use super::error::SourceError;

/// How long a sign of life may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that can be pooled.
pub(super) trait Pooled: Send + Sized + 'static {
    /// Connects and logs in.
    fn open(config: &SqlServerConfig) -> impl Future<Output = Result<Self, SourceError>> + Send;
    /// Whether nothing is known against it, without asking the server.
    fn is_usable(&self) -> bool;
    /// Asks the server for a sign of life.
    fn ping(&mut self) -> impl Future<Output = bool> + Send;
}

/// Opens and checks connections of one driver.
pub(super) struct Opener<C> {
    config: Arc<SqlServerConfig>,
    connection: std::marker::PhantomData<fn() -> C>,
}

impl<C: Pooled> Manager for Opener<C> {
    type Type = C;
    type Error = SourceError;

    async fn create(&self) -> Result<C, SourceError> {
        C::open(&self.config).await
    }

    async fn recycle(&self, connection: &mut C, metrics: &Metrics) -> RecycleResult<SourceError> {
        let limits = &self.config.pool;
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
pub(super) type Lease<C> = Object<Opener<C>>;

/// The pool of one driver's connections.
pub(super) struct Connections<C: Pooled> {
    pool: Pool<Opener<C>>,
    config: Arc<SqlServerConfig>,
}

impl<C: Pooled> Connections<C> {
    /// An empty pool; connects to nothing yet.
    ///
    /// # Errors
    /// Only if the pool cannot be built: a bug.
    pub(super) fn new(config: &Arc<SqlServerConfig>) -> Result<Self, SourceError> {
        let opener = Opener { config: Arc::clone(config), connection: std::marker::PhantomData };
        let pool = Pool::builder(opener)
            .max_size(config.pool.max_connections)
            .wait_timeout(Some(config.pool.checkout_timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| SourceError::Internal(format!("cannot build the connection pool: {error}")))?;
        Ok(Self { pool, config: Arc::clone(config) })
    }

    /// A connection that was found usable just now, or a new one.
    ///
    /// # Errors
    /// What connecting says, or [`SourceError::PoolTimeout`].
    pub(super) async fn lease(&self) -> Result<Lease<C>, SourceError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => SourceError::PoolTimeout {
                address: self.config.address(),
                seconds: self.config.pool.checkout_timeout.as_secs_f64(),
                connections: self.config.pool.max_connections,
            },
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                SourceError::Internal("the connection pool is closed".to_owned())
            }
        })
    }
}

/// Puts a connection back if it is usable, else closes it.
pub(super) fn give_back<C: Pooled>(lease: Lease<C>) {
    if !lease.is_usable() {
        drop(Object::take(lease));
    }
}

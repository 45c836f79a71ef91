//! PostgreSQL 12 and later: rows by binary COPY, all of one snapshot.
//!
//! | module | about |
//! |---|---|
//! | [`config`] | what an operator says about a server |
//! | [`error`], `server_errors` | what can go wrong, with codes and hints |
//! | `statement`, `parameters` | what is sent |
//! | `connect` | sessions and cancelling |
//! | `check` | who is on the other side, and what may be read there |
//! | `snapshot`, `changed` | the snapshot that all queries of a run share, and whether tables are still those of it |
//! | `types`, `copy` | from the wire's types to Arrow's |
//! | `copied` | rows of a COPY that somebody else has begun |
//! | `task` | a query on its connection |
//! | `changes`, `catalog` | changes of a table, a module a strategy |
//! | `own_rows` | rows that the sink wrote |
//! | `replication` | a login as a client of replication |

mod catalog;
mod changed;
mod changes;
mod check;
pub mod config;
mod connect;
mod copied;
mod copy;
pub mod error;
pub(crate) mod own_rows;
mod parameters;
mod replication;
mod server_errors;
mod snapshot;
mod statement;
mod task;
mod types;
mod watched;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use datakit_guard::postgres::{self as guard, Accepted};
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer};
use datakit_model::source::{Access, Connection, Isolation, PoolStatistics, Query, QueryOptions, Reader, Source};
use datakit_model::{Failure, MemoryBudget, NameRule, TableId, TablePatterns};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

pub use self::changes::logical::LogicalError;
use self::changes::logical::stream::Streams;
use self::changes::logical::{self, slot};
pub use self::config::{LogicalConfig, PoolLimits, PostgresConfig, RowSecurity, ServerLimit, SqlLimits, Timeouts};
use self::connect::PostgresConnection;
pub(crate) use self::copied::CopiedRows;
pub use self::error::PostgresError;
pub use self::server_errors::meaning_of;
use self::snapshot::{Snapshot, Snapshots};
use self::task::Job;
use self::types::Column;
pub use self::types::SOURCE_TYPE_KEY;
use crate::wire::ServerInfo;
use datakit_connect::delivery::{Delivery, Message};
use datakit_connect::permissions::Permissions;
use datakit_connect::pool::Pool;
use datakit_connect::reader::{BatchReader, Busy};

/// What a question of `host doctor` may take, in bytes.
const CHECK_BYTES: u64 = 1 << 20;

/// A configured PostgreSQL server with its pool, and the snapshot of the run.
pub struct PostgresSource {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<PostgresConfig>,
    pool: Pool<PostgresConfig>,
    snapshots: Snapshots,
    streams: Streams,
}

impl PostgresSource {
    /// Checks the configuration; connects to nothing yet.
    ///
    /// # Errors
    /// [`PostgresError::Config`] for settings that contradict each other.
    pub fn new(mut config: PostgresConfig) -> Result<Self, PostgresError> {
        config.validate()?;
        if config.server.trust_certificate {
            tracing::warn!(
                server = %config.address(),
                "trust_certificate is on: any certificate is accepted, so the connection can be intercepted"
            );
        }
        config.server.connect_timeout = config.timeouts.connect;
        let config = Arc::new(config);
        let pool = Pool::new(&config);
        Ok(Self {
            shared: Arc::new(Shared { config, pool, snapshots: Snapshots::default(), streams: Streams::default() }),
        })
    }

    /// Opens a connection, TCP or a Unix socket, and closes it, without a word of PostgreSQL.
    ///
    /// # Errors
    /// [`PostgresError::Unreachable`].
    pub async fn reach(&self) -> Result<(), PostgresError> {
        connect::reach(&self.shared.config).await
    }

    /// Whether the password can be had, from wherever it is; it is kept for the login. Nothing is asked for without one.
    ///
    /// # Errors
    /// [`PostgresError::Password`].
    pub async fn fetch_password(&self) -> Result<(), PostgresError> {
        match &self.shared.config.server.password {
            Some(password) => Ok(password.is_there().await?),
            None => Ok(()),
        }
    }

    /// Logs in and asks the server who it is.
    ///
    /// # Errors
    /// What connecting or the query says.
    pub async fn check(&self) -> Result<ServerInfo, PostgresError> {
        check::who(&self.shared.config, &self.shared.pool).await
    }

    /// Whether server, role, slot and publication are set up for the strategy `logical`, where the configuration names them; what
    /// there is of them, in words.
    ///
    /// # Errors
    /// [`LogicalError::UnfitServer`]; what connecting or the query says.
    pub async fn check_logical(&self) -> Result<Option<String>, Failure> {
        let Some(names) = &self.shared.config.logical else { return Ok(None) };
        let session = self.session(Access {
            tables: TablePatterns::new(Vec::new()),
            run_id: "doctor".to_owned(),
            memory: MemoryBudget::new(CHECK_BYTES),
            rejecting: None,
        });
        logical::check(&session, names).await.map(Some)
    }

    fn session(&self, access: Access) -> PostgresSession {
        PostgresSession { shared: Arc::clone(&self.shared), access, reading: Arc::new(AtomicBool::new(false)) }
    }

    /// Which tables the role may read.
    ///
    /// # Errors
    /// What connecting or the query says.
    pub async fn permissions(&self) -> Result<Permissions, PostgresError> {
        check::permissions(&self.shared.config, &self.shared.pool).await
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(self.session(access)))
    }

    async fn compared(&self, patterns: &TablePatterns, _tables: &[TableId]) -> Result<TablePatterns, Failure> {
        Ok(patterns.under(NameRule::Bytes))
    }

    fn keeps_changes(&self) -> bool {
        self.shared.config.logical.is_some()
    }

    async fn confirm(&self, positions: &[String]) -> Result<(), Failure> {
        Ok(slot::confirm(&self.shared.config, &self.shared.pool, positions).await?)
    }

    fn pool(&self) -> Option<PoolStatistics> {
        Some(self.shared.pool.statistics())
    }
}

/// One session of a datakit: its grant, and a place for one reader.
#[derive(Clone)]
struct PostgresSession {
    shared: Arc<Shared>,
    access: Access,
    reading: Arc<AtomicBool>,
}

#[async_trait]
impl Connection for PostgresSession {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let busy = self.take_place()?;
        let config = &self.shared.config;
        let (sql, number) = (query.sql, query.parameters.len());
        let (grant, limits) = (self.access.tables.under(NameRule::Bytes), config.sql);
        let accepted: Accepted =
            datakit_guard::apart::<_, PostgresError>(move || guard::check(&sql, number, &grant, &limits)).await?;
        let literals = parameters::literals(&query.parameters)?;
        let text = if accepted.tables.is_empty() {
            parameters::splice(&accepted.query, &accepted.parameters, &literals)
        } else {
            accepted.qualified(&literals).map_err(PostgresError::from)?
        };
        let checked = Checked {
            text,
            tables: accepted.tables,
            by_place: accepted.by_place,
            names_all: accepted.names_all,
            keeps_not_null: accepted.keeps_not_null,
        };
        Ok(Box::new(self.read(checked, query.options, busy).await?))
    }

    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        changes::open(self.clone(), request).await
    }

    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        changes::offers(self, tables).await
    }
}

/// A query that may be run.
struct Checked {
    /// With its parameters put in.
    text: String,
    /// The granted tables that it names; none of the catalog.
    tables: Vec<TableId>,
    /// It names rows by their places.
    by_place: bool,
    /// Its text names each expression of its result.
    names_all: bool,
    /// Declarations of NOT NULL hold for the result.
    keeps_not_null: bool,
}

/// A query that runs: its columns, and its rows on their way.
type Started = (Arc<[Column]>, Receiver<Message<PostgresError>>);

impl PostgresSession {
    fn take_place(&self) -> Result<Busy, PostgresError> {
        Busy::take(&self.reading).ok_or(PostgresError::Busy)
    }

    async fn read(
        &self,
        checked: Checked,
        options: QueryOptions,
        busy: Busy,
    ) -> Result<BatchReader<PostgresError>, PostgresError> {
        let snapshot = self.snapshot(&checked, options.isolation).await?;
        let name = snapshot.as_ref().map(|snapshot| Arc::clone(snapshot.id()));
        let job = self.job(checked, options, snapshot);
        let filtered = Arc::clone(&job.filtered);
        let timeout = self.shared.config.timeouts.of_query(options.timeout);
        let (columns, messages) = self.start(job, timeout).await?;
        let reader = BatchReader::new(types::schema(&columns), Vec::new(), messages, busy);
        Ok(reader.of_snapshot(name).filtered_when(filtered))
    }

    fn job(&self, checked: Checked, options: QueryOptions, snapshot: Option<Arc<Snapshot>>) -> Job {
        // What the catalog says is no row of a table.
        let rejecting = self.access.rejecting.clone().filter(|_| !checked.tables.is_empty());
        Job {
            run_id: self.access.run_id.clone(),
            query: checked.text,
            tables: checked.tables,
            rejecting,
            snapshot,
            isolation: options.isolation.unwrap_or(Isolation::ReadCommitted),
            max_parallelism: options.max_parallelism,
            by_place: checked.by_place,
            names_all: checked.names_all,
            keeps_not_null: checked.keeps_not_null,
            filtered: Arc::default(),
        }
    }

    /// The snapshot a query is run with; none for one of the catalog, which is always read as it is now, or when the datakit
    /// asks for another isolation.
    async fn snapshot(
        &self,
        checked: &Checked,
        isolation: Option<Isolation>,
    ) -> Result<Option<Arc<Snapshot>>, PostgresError> {
        let wanted = matches!(isolation, None | Some(Isolation::Snapshot | Isolation::RepeatableRead));
        if checked.tables.is_empty() || !wanted {
            return Ok(None);
        }
        let config = &self.shared.config;
        let snapshot = self.shared.snapshots.of_run(config, &self.access.run_id, &checked.tables).await?;
        if checked.by_place {
            snapshot.pin(config, &checked.tables).await?;
        }
        Ok(Some(snapshot))
    }

    /// Starts the task and waits for the columns, or for the error that came instead of them.
    async fn start(&self, job: Job, timeout: Duration) -> Result<Started, PostgresError> {
        // Each connection that has lost its driver's statements is closed: there are no more of them than the pool has.
        for _ in 0..self.shared.config.pool.max_connections {
            match self.attempt(job.clone(), timeout).await {
                Err(PostgresError::StatementForgotten { .. }) => {}
                started => return started,
            }
        }
        self.attempt(job, timeout).await
    }

    async fn attempt(&self, job: Job, timeout: Duration) -> Result<Started, PostgresError> {
        let config = Arc::clone(&self.shared.config);
        let lease = self.shared.pool.lease::<PostgresConnection>().await?;
        let (delivery, mut messages) = Delivery::new(self.access.memory.clone(), timeout);
        let (head, columns) = oneshot::channel();
        tokio::spawn(task::run(lease, config, job, head, delivery));
        match columns.await {
            Ok(columns) => Ok((columns?, messages)),
            Err(_) => match messages.recv().await {
                Some(Message::Failed(error)) => Err(error),
                _ => Err(PostgresError::Internal("the task that starts a query is gone".to_owned())),
            },
        }
    }
}

//! SQL Server: TDS 7.4, with SQL logins and Kerberos.
//!
//! | module | about |
//! |---|---|
//! | [`settings`] | its section of the warehouse file |
//! | `connector` | from settings to a source, and the links of `host doctor` |
//! | [`config`] | a server, how to reach it and how to read it |
//! | [`error`], `server_errors` | what can go wrong, with codes and hints |
//! | `statement`, `parameters` | what is sent |
//! | `browser`, `destination` | which host and port a login ends up at |
//! | `reach`, `tls` | connections |
//! | `changes` | changes of a table, one file a strategy |
//! | `permissions`, `collation` | which tables the login may read, and whether case counts in their names |
//! | `types`, `text`, `temporal`, `builders` | from the wire's types to Arrow's |
//! | `bulk` | the reader on `mssql-tds` |
//! | `rows` | catalog and control queries and the second reader, on tiberius |
//!
//! Both readers feed the same builders and must give the same Arrow; a test reads every type through both.

mod browser;
mod builders;
mod bulk;
mod changes;
mod collation;
pub mod config;
mod connector;
mod delivery;
mod destination;
pub mod error;
mod parameters;
mod permissions;
mod reach;
mod rows;
mod server_errors;
pub mod settings;
mod statement;
mod temporal;
mod text;
mod tls;
mod types;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use datakit_guard::{Refusal, tsql};
use datakit_kerberos::Tickets;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer};
use datakit_model::source::{
    Access, Connection, Isolation, PoolStatistics, Query, QueryOptions, Reader, Rejecting, Source,
};
use datakit_model::{Failure, NameRule, TableId, TablePatterns};
use tokio::sync::{OnceCell, oneshot};

use self::bulk::{BulkConnection, Transaction};
pub use self::config::{
    ApplicationIntent, Encrypt, Login, PoolLimits, ReaderKind, ServerLimit, SqlLimits, SqlServerConfig, Timeouts,
};
pub use self::connector::SqlServer;
use self::delivery::Delivery;
pub use self::destination::KnownDestination;
pub use self::error::SourceError;
use self::parameters::Parameter;
pub use self::rows::ServerInfo;
use self::rows::{Head, RowConnection};
pub use self::server_errors::meaning_of;
pub use self::types::SOURCE_TYPE_KEY;
use datakit_connect::permissions::Permissions;
use datakit_connect::pool::{Lease, Pool};
use datakit_connect::reader::{BatchReader, Busy};

type SqlServerReader = BatchReader<SourceError>;

/// A configured SQL Server with its pool.
pub struct SqlServerSource {
    shared: Arc<Shared>,
}

/// Where a login begins.
#[derive(Debug, Clone)]
pub struct Located {
    /// The TCP port.
    pub port: u16,
    /// The tickets for it, with Kerberos.
    pub tickets: Option<Arc<Tickets>>,
}

struct Shared {
    config: Arc<SqlServerConfig>,
    pool: Pool<SqlServerConfig>,
    names: OnceCell<NameRule>,
}

impl Shared {
    /// How the database compares names; the server is asked once.
    async fn names(&self) -> Result<NameRule, SourceError> {
        self.names.get_or_try_init(|| collation::ask(&self.config, &self.pool)).await.copied()
    }
}

impl SqlServerSource {
    /// Checks the configuration; connects to nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Config`] for settings that contradict each other, [`SourceError::CertificateFile`].
    pub fn new(config: SqlServerConfig) -> Result<Self, SourceError> {
        config.validate()?;
        let config = Arc::new(config);
        let pool = Pool::new(&config);
        Ok(Self { shared: Arc::new(Shared { config, pool, names: OnceCell::new() }) })
    }

    /// Logs in and asks the server who it is.
    ///
    /// # Errors
    /// What connecting or the query says.
    pub async fn check(&self) -> Result<ServerInfo, SourceError> {
        rows::check(&self.shared.config, &self.shared.pool).await
    }

    /// Where a login begins: as configured, or at the port that SQL Server Browser says.
    ///
    /// # Errors
    /// [`SourceError::Browser`], [`SourceError::UnknownInstance`], [`SourceError::InstanceWithoutTcp`].
    pub async fn locate(&self) -> Result<Located, SourceError> {
        let server = destination::first(&self.shared.config).await?;
        let tickets = match server.login {
            Login::Kerberos(tickets) => Some(tickets),
            Login::Sql { .. } => None,
        };
        Ok(Located { port: server.port, tickets })
    }

    /// Opens a TCP connection and closes it; the answer is where to.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`], and what SQL Server Browser says.
    pub async fn reach(&self) -> Result<std::net::SocketAddr, SourceError> {
        let server = destination::first(&self.shared.config).await?;
        let lost = |error: std::io::Error| SourceError::Broken { address: server.address(), reason: error.to_string() };
        reach::connect(&server).await?.peer_addr().map_err(lost)
    }

    /// Where the last login ended up, if not where the operator says: `host:port`, and why there. As far as tiberius logged in.
    #[must_use]
    pub fn destination(&self) -> Option<String> {
        self.shared.config.destination.get().filter(|server| server.found.is_some()).map(|server| server.address())
    }

    /// Whether the password can be had, from wherever it is; it is kept for the login. Nothing is asked for with Kerberos.
    ///
    /// # Errors
    /// [`SourceError::Password`].
    pub async fn fetch_password(&self) -> Result<(), SourceError> {
        match &self.shared.config.login {
            Login::Sql { password, .. } => Ok(password.is_there().await?),
            Login::Kerberos(_) => Ok(()),
        }
    }

    /// Which tables the login may read, by the driver that reads rows.
    ///
    /// # Errors
    /// What connecting or the query says.
    pub async fn permissions(&self) -> Result<Permissions, SourceError> {
        let permissions = permissions::ask(&self.shared.config, &self.shared.pool).await?;
        Ok(Permissions { names: self.shared.names().await?, ..permissions })
    }
}

#[async_trait]
impl Source for SqlServerSource {
    fn kind(&self) -> &'static str {
        "sqlserver"
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(SqlServerConnection {
            shared: Arc::clone(&self.shared),
            access,
            reading: Arc::new(AtomicBool::new(false)),
        }))
    }

    async fn compared(&self, patterns: &TablePatterns, tables: &[TableId]) -> Result<TablePatterns, Failure> {
        let patterns = patterns.under(NameRule::CaseIgnored);
        if !tables.iter().any(|table| patterns.depends_on_case(table)) {
            return Ok(patterns);
        }
        Ok(patterns.under(self.shared.names().await?))
    }

    fn pool(&self) -> Option<PoolStatistics> {
        Some(self.shared.pool.statistics())
    }
}

/// One session of a datakit: its grant, and a place for one reader.
#[derive(Clone)]
struct SqlServerConnection {
    shared: Arc<Shared>,
    access: Access,
    reading: Arc<AtomicBool>,
}

#[async_trait]
impl Connection for SqlServerConnection {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let busy = self.take_place()?;
        let accepted = self.check(&query).await?;
        let (parameters, options) = (parameters::check(&query.parameters)?, query.options);
        let checked = Checked { text: accepted.query, parameters, options, catalog: accepted.catalog };
        let mut reader = self.read(checked, busy).await?;
        if accepted.dirty_reads || options.isolation == Some(Isolation::ReadUncommitted) {
            reader.mark_approximate();
        }
        Ok(Box::new(reader))
    }

    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        changes::open(self.clone(), &request).await
    }

    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        changes::offers(self, tables).await
    }
}

/// A query that may be run.
struct Checked {
    text: String,
    parameters: Vec<Parameter>,
    options: QueryOptions,
    /// It reads nothing but catalog views.
    catalog: bool,
}

/// Which driver a query is tried by: the catalog's by tiberius, all others by the configured reader. tiberius cannot pin a
/// certificate, so with a pinned one everything goes by `mssql-tds`.
fn driver(config: &SqlServerConfig, catalog: bool) -> ReaderKind {
    if catalog && config.certificate_file.is_none() { ReaderKind::Tiberius } else { config.reader }
}

impl SqlServerConnection {
    /// Holds the query to its grant. The server is asked how it compares names only where the answer depends on it.
    async fn check(&self, query: &Query) -> Result<tsql::Accepted, SourceError> {
        let (sql, parameters) = (query.sql.clone(), query.parameters.len());
        let (grant, limits) = (self.access.tables.under(NameRule::CaseIgnored), self.shared.config.sql);
        let accepted =
            datakit_guard::apart::<_, SourceError>(move || tsql::check(&sql, parameters, &grant, &limits)).await?;
        match &accepted.granted_if_case_is_ignored {
            Some(table) if self.shared.names().await? != NameRule::CaseIgnored => {
                Err(Refusal::NotGranted(table.to_string()).into())
            }
            _ => Ok(accepted),
        }
    }

    fn take_place(&self) -> Result<Busy, SourceError> {
        Busy::take(&self.reading).ok_or(SourceError::Busy)
    }

    async fn read(&self, checked: Checked, busy: Busy) -> Result<SqlServerReader, SourceError> {
        let by_tiberius = match driver(&self.shared.config, checked.catalog) {
            ReaderKind::MssqlTds => None,
            ReaderKind::Tiberius => self.rows(&checked).await?,
        };
        let started = match by_tiberius {
            Some(started) => started,
            None => self.bulk(checked).await?,
        };
        Ok(reader(started, busy))
    }

    /// The same session with a place for a reader of its own, for questions of the host while rows are read.
    fn aside(&self) -> Self {
        Self { reading: Arc::default(), ..self.clone() }
    }

    /// A transaction with isolation SNAPSHOT, of the moment in which `first` reads a table. By `mssql-tds`, whichever driver is
    /// configured: every column can be read by it, so that the rows stay on the transaction's connection.
    async fn snapshot(&self, first: &str) -> Result<Transaction, SourceError> {
        let config = &self.shared.config;
        let (lease, timeout) = (self.shared.pool.lease().await?, config.timeouts.of_query(None));
        Transaction::begin(lease, config, &self.access.run_id, timeout, first).await
    }

    /// The rows of a query, the last of a transaction.
    async fn read_last(&self, transaction: Transaction, query: &str) -> Result<SqlServerReader, SourceError> {
        let busy = self.take_place()?;
        let (lease, statement) = transaction.rows(query);
        let (options, rejecting) = (QueryOptions::default(), self.access.rejecting.clone());
        Ok(reader(self.run_bulk(lease, statement, Vec::new(), &options, rejecting).await?, busy))
    }

    /// What the catalog says is no row of a table.
    fn rejecting(&self, checked: &Checked) -> Option<Rejecting> {
        self.access.rejecting.clone().filter(|_| !checked.catalog)
    }

    fn delivery(&self, options: &QueryOptions) -> (Delivery, Messages) {
        let timeout = self.shared.config.timeouts.of_query(options.timeout);
        Delivery::new(self.access.memory.clone(), timeout)
    }

    fn statement(&self, checked: &Checked, current: Isolation) -> statement::Statement {
        statement::compose(&checked.text, &checked.options, &self.access.run_id, current)
    }

    async fn bulk(&self, checked: Checked) -> Result<Started, SourceError> {
        let lease = self.shared.pool.lease::<BulkConnection>().await?;
        let statement = self.statement(&checked, lease.isolation);
        let rejecting = self.rejecting(&checked);
        self.run_bulk(lease, statement, checked.parameters, &checked.options, rejecting).await
    }

    async fn run_bulk(
        &self,
        lease: Lease<BulkConnection>,
        statement: statement::Statement,
        parameters: Vec<Parameter>,
        options: &QueryOptions,
        rejecting: Option<Rejecting>,
    ) -> Result<Started, SourceError> {
        let config = Arc::clone(&self.shared.config);
        let (delivery, mut messages) = self.delivery(options);
        let (head, columns) = oneshot::channel();
        tokio::spawn(bulk::run(lease, config, statement, parameters, rejecting, head, delivery));
        Ok((head_of(columns, &mut messages).await?, messages))
    }

    /// None: tiberius would not hand over the values of a column as the server sends them.
    async fn rows(&self, checked: &Checked) -> Result<Option<Started>, SourceError> {
        let config = Arc::clone(&self.shared.config);
        let lease = self.shared.pool.lease::<RowConnection>().await?;
        let texts = rows::Texts {
            question: statement::question(&self.access.run_id),
            query: checked.text.clone(),
            statement: self.statement(checked, lease.isolation),
            rejecting: self.rejecting(checked),
        };
        let (delivery, mut messages) = self.delivery(&checked.options);
        let (head, columns) = oneshot::channel();
        tokio::spawn(rows::run(lease, config, texts, checked.parameters.clone(), head, delivery));
        Ok(match head_of(columns, &mut messages).await? {
            Head::Columns(columns) => Some((columns, messages)),
            Head::NotByTiberius => None,
        })
    }
}

/// A query that runs: its columns, and where its batches come.
type Started = (Arc<[types::Column]>, Messages);
type Messages = tokio::sync::mpsc::Receiver<delivery::Message>;

fn reader((columns, messages): Started, busy: Busy) -> SqlServerReader {
    let cuts = columns.iter().map(types::Column::cut).collect();
    SqlServerReader::new(types::schema(&columns), cuts, messages, busy)
}

/// Waits for the head of a query, or for the error that came instead of it.
async fn head_of<T>(
    head: oneshot::Receiver<Result<T, SourceError>>,
    messages: &mut Messages,
) -> Result<T, SourceError> {
    match head.await {
        Ok(head) => head,
        Err(_) => match messages.recv().await {
            Some(delivery::Message::Failed(error)) => Err(error),
            _ => Err(SourceError::Internal("the task that starts a query is gone".to_owned())),
        },
    }
}

//! Connecting, and what the server says as an error of ours.

use std::error::Error as _;
use std::ops::Deref;
use std::sync::Arc;

use datakit_model::Secret;
use datakit_net::Traffic;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::server::Server;
use crate::wire::{self, Trouble, Way};
use datakit_connect::sink::SinkError;

/// Connections that are open at one time, unless the settings say otherwise: the pool of a PgBouncer that nobody has configured.
pub(crate) const DEFAULT_MAX_CONNECTIONS: u16 = 20;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The sessions of a sink, of which so many are open at most: whoever wants another waits.
///
/// A table that is loaded keeps one until its commit, and may want a second for a moment meanwhile. Nobody waits for ever as long as
/// fewer tables are loaded at once than there may be sessions, since a second one is given back without a third.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    server: Server,
    max_connections: usize,
    places: Arc<Semaphore>,
}

/// An open session, which ends when it is dropped.
pub(crate) struct Session {
    client: Client,
    _place: OwnedSemaphorePermit,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Sessions {
    pub(crate) fn new(server: Server, max_connections: usize) -> Self {
        let max_connections = max_connections.clamp(2, Semaphore::MAX_PERMITS);
        Self { server, max_connections, places: Arc::new(Semaphore::new(max_connections)) }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Tables that may be loaded at one time: one session is left for what each of them asks meanwhile.
    pub(crate) fn max_open_tables(&self) -> usize {
        self.max_connections - 1
    }

    /// Opens a session, as soon as it may.
    ///
    /// # Errors
    /// What connecting says.
    pub(crate) async fn open(&self) -> Result<Session, SinkError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let closed = |closed: tokio::sync::AcquireError| SinkError::Connect {
            server: self.server.address(),
            source: Box::new(closed),
        };
        let _place = place.map_err(closed)?;
        Ok(Session { client: connect(&self.server).await?, _place })
    }
}

/// Opens a connection; its task ends with the client. A password that is refused is fetched again, once.
pub(crate) async fn connect(config: &Server) -> Result<Client, SinkError> {
    let Some(password) = &config.password else { return attempt(config, None).await };
    let once = |password: Arc<Secret>| async move { attempt(config, Some(&password)).await };
    password.log_in(once, |error| matches!(error, SinkError::Login { .. })).await
}

async fn attempt(config: &Server, password: Option<&Secret>) -> Result<Client, SinkError> {
    let logged_in = tokio::time::timeout(config.connect_timeout, log_in(config, password)).await;
    logged_in.unwrap_or_else(|_| Err(late(config)))
}

async fn log_in(server: &Server, password: Option<&Secret>) -> Result<Client, SinkError> {
    let options = wire::options(server, password);
    let way = Way::open(server, Traffic::Writes).await.map_err(|trouble| no_way(server, trouble))?;
    let logged_in = match way {
        Way::Unix(stream) => wire::log_in(&options, stream, NoTls).await,
        Way::Clear(stream) => wire::log_in(&options, stream, NoTls).await,
        Way::Tls(stream, tls) => wire::log_in(&options, stream, tls).await,
    };
    logged_in.map_err(|error| connect_error(server, error))
}

/// Why there is no way to the server, as an error of a sink.
pub(crate) fn no_way(server: &Server, trouble: Trouble) -> SinkError {
    match trouble {
        Trouble::Unreachable { reason, .. } => SinkError::Connect { server: server.address(), source: reason.into() },
        Trouble::CertificateFile { path, reason } => SinkError::Certificate { path, source: reason.into() },
        Trouble::Tls(error) => SinkError::Tls { server: server.address(), source: Box::new(error) },
    }
}

fn late(server: &Server) -> SinkError {
    let seconds = server.connect_timeout.as_secs();
    SinkError::Connect { server: server.address(), source: format!("no answer to the login within {seconds} s").into() }
}

fn connect_error(config: &Server, error: tokio_postgres::Error) -> SinkError {
    let server = config.address();
    let code = error.code().cloned();
    // The driver has no other way to tell this kind.
    let tls = error.to_string().contains("TLS handshake");
    let source = said(error);
    match code {
        Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            SinkError::Login { server, user: config.user.clone(), source }
        }
        Some(SqlState::INVALID_CATALOG_NAME) => {
            SinkError::NoDatabase { server, database: config.database.clone(), source }
        }
        Some(SqlState::INSUFFICIENT_PRIVILEGE) => {
            let location = config.database.clone();
            SinkError::Permission { user: config.user.clone(), action: "connect to", location, source }
        }
        None if tls => SinkError::Tls { server, source },
        // A password was asked for that is not configured: the driver ends the conversation itself.
        None if error_is_configuration(source.as_ref()) => {
            SinkError::Login { server, user: config.user.clone(), source }
        }
        _ => SinkError::Connect { server, source },
    }
}

fn error_is_configuration(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("password missing")
}

/// An error of a statement.
pub(crate) fn statement_error(
    config: &Server,
    action: &'static str,
    location: &str,
    error: tokio_postgres::Error,
) -> SinkError {
    let location = location.to_owned();
    let code = error.code().cloned();
    let source = said(error);
    let Some(code) = code else {
        // The connection broke.
        return SinkError::Server { action, location, transient: true, source };
    };
    match code {
        SqlState::INSUFFICIENT_PRIVILEGE => {
            SinkError::Permission { user: config.user.clone(), action, location, source }
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => SinkError::Limit { location, source },
        SqlState::DISK_FULL => SinkError::Full { location, source },
        SqlState::LOCK_NOT_AVAILABLE => SinkError::Conflict { location },
        code => {
            // Connection, resources, operator's intervention, rollbacks: other classes would fail again.
            let transient = ["08", "40", "53", "57"].contains(&code.code().get(..2).unwrap_or_default());
            SinkError::Server { action, location, transient, source }
        }
    }
}

/// What the server said, in one line and without its detail, which may quote rows; else what the driver said.
fn said(error: tokio_postgres::Error) -> Cause {
    match error.as_db_error() {
        Some(db) => format!("{} {}: {}", db.severity(), db.code().code(), db.message()).into(),
        None => match error.source() {
            Some(source) => format!("{error}: {source}").into(),
            None => Box::new(error),
        },
    }
}

//! Connecting, and what the server says as an error of ours.

use std::error::Error as _;
use std::sync::Arc;

use datakit_model::Secret;
use datakit_net::Traffic;
use native_tls::Certificate;
use postgres_native_tls::TlsConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{Client, NoTls};

use super::config::PostgresConfig;
use crate::error::SinkError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Opens a connection; its task ends with the client. A password that is refused is fetched again, once.
pub(crate) async fn connect(config: &PostgresConfig) -> Result<Client, SinkError> {
    let Some(password) = &config.password else { return attempt(config, None).await };
    let once = |password: Arc<Secret>| async move { attempt(config, Some(&password)).await };
    password.log_in(once, |error| matches!(error, SinkError::Login { .. })).await
}

async fn attempt(config: &PostgresConfig, password: Option<&Secret>) -> Result<Client, SinkError> {
    let logged_in = tokio::time::timeout(config.connect_timeout, log_in(config, password)).await;
    logged_in.unwrap_or_else(|_| Err(late(config, " to the login")))
}

async fn log_in(config: &PostgresConfig, password: Option<&Secret>) -> Result<Client, SinkError> {
    let mut options = tokio_postgres::Config::new();
    options.dbname(&config.database).user(&config.user).application_name(&config.application_name);
    if let Some(password) = password {
        options.password(password.expose());
    }
    options.ssl_mode(if config.encrypts() { SslMode::Require } else { SslMode::Disable });
    if config.uses_socket() {
        converse(config, &options, unix_socket(config).await?, NoTls).await
    } else if config.encrypts() {
        let tls = TlsConnector::new(connector(config)?, &config.host);
        converse(config, &options, tcp(config).await?, tls).await
    } else {
        converse(config, &options, tcp(config).await?, NoTls).await
    }
}

async fn converse<S, T>(
    config: &PostgresConfig,
    options: &tokio_postgres::Config,
    stream: S,
    tls: T,
) -> Result<Client, SinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let connected = options.connect_raw(stream, tls).await;
    let (client, connection) = connected.map_err(|error| connect_error(config, error))?;
    tokio::spawn(watch(connection));
    Ok(client)
}

/// A connection by TCP.
pub(crate) async fn tcp(config: &PostgresConfig) -> Result<TcpStream, SinkError> {
    let stream = datakit_net::connect(&config.host, config.port, Traffic::Writes, config.connect_timeout).await;
    stream.map_err(|(_, reason)| SinkError::Connect { server: config.server(), source: reason.into() })
}

/// A connection by the socket of this machine.
pub(crate) async fn unix_socket(config: &PostgresConfig) -> Result<UnixStream, SinkError> {
    let opening = UnixStream::connect(format!("{}/.s.PGSQL.{}", config.host, config.port));
    match tokio::time::timeout(config.connect_timeout, opening).await {
        Ok(opened) => opened.map_err(|e| SinkError::Connect { server: config.server(), source: Box::new(e) }),
        Err(_) => Err(late(config, "")),
    }
}

fn late(config: &PostgresConfig, to: &str) -> SinkError {
    let seconds = config.connect_timeout.as_secs();
    SinkError::Connect { server: config.server(), source: format!("no answer{to} within {seconds} s").into() }
}

/// What goes wrong here is also told to whoever waits for an answer.
async fn watch(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a Postgres connection ended");
    }
}

fn connector(config: &PostgresConfig) -> Result<native_tls::TlsConnector, SinkError> {
    let mut builder = native_tls::TlsConnector::builder();
    if let Some(path) = &config.certificate_file {
        let failed = |source: Cause| SinkError::Certificate { path: path.display().to_string(), source };
        let pem = std::fs::read(path).map_err(|e| failed(Box::new(e)))?;
        for certificate in Certificate::stack_from_pem(&pem).map_err(|e| failed(Box::new(e)))? {
            builder.add_root_certificate(certificate);
        }
    }
    builder.danger_accept_invalid_certs(config.trust_certificate);
    builder.danger_accept_invalid_hostnames(config.trust_certificate);
    builder.build().map_err(|e| SinkError::Tls { server: config.server(), source: Box::new(e) })
}

fn connect_error(config: &PostgresConfig, error: tokio_postgres::Error) -> SinkError {
    let server = config.server();
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
    config: &PostgresConfig,
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

//! Connecting, and what the server says as an error of ours.

use std::error::Error as _;
use std::sync::Arc;

use datakit_model::Secret;
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
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
    let mut options = tokio_postgres::Config::new();
    options
        .host(&config.host)
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .application_name(&config.application_name)
        .connect_timeout(config.connect_timeout)
        .keepalives(true);
    if let Some(password) = password {
        options.password(password.expose());
    }
    let failed = |error| connect_error(config, error);
    if config.encrypts() {
        options.ssl_mode(SslMode::Require);
        let (client, connection) = options.connect(connector(config)?).await.map_err(failed)?;
        tokio::spawn(watch(connection));
        Ok(client)
    } else {
        options.ssl_mode(SslMode::Disable);
        let (client, connection) = options.connect(NoTls).await.map_err(failed)?;
        tokio::spawn(watch(connection));
        Ok(client)
    }
}

/// What goes wrong here is also told to whoever waits for an answer.
async fn watch(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a Postgres connection ended");
    }
}

fn connector(config: &PostgresConfig) -> Result<MakeTlsConnector, SinkError> {
    let mut builder = TlsConnector::builder();
    if let Some(path) = &config.certificate_file {
        let failed = |source: Cause| SinkError::Certificate { path: path.display().to_string(), source };
        let pem = std::fs::read(path).map_err(|e| failed(Box::new(e)))?;
        for certificate in Certificate::stack_from_pem(&pem).map_err(|e| failed(Box::new(e)))? {
            builder.add_root_certificate(certificate);
        }
    }
    builder.danger_accept_invalid_certs(config.trust_certificate);
    builder.danger_accept_invalid_hostnames(config.trust_certificate);
    let connector = builder.build().map_err(|e| SinkError::Tls { server: config.server(), source: Box::new(e) })?;
    Ok(MakeTlsConnector::new(connector))
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

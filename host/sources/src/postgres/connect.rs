//! From the configuration to a session that is ready to read.

use std::sync::Arc;
use std::time::Duration;

use datakit_model::Secret;
use datakit_net::Traffic;
use native_tls::{Certificate, TlsConnector};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use super::config::PostgresConfig;
use super::error::{PostgresError, Unreachable};
use super::watched::{Watched, WatchedTls};
use crate::pool;

/// A pooled connection.
pub(super) struct PostgresConnection {
    pub(super) client: Client,
}

impl pool::Pooled for PostgresConnection {
    type Server = PostgresConfig;
    type Error = PostgresError;

    async fn open(config: &PostgresConfig) -> Result<Self, PostgresError> {
        // Nothing is set for the session: each transaction says what it needs.
        let client = match &config.password {
            Some(password) => {
                let attempt = |password: Arc<Secret>| async move { connect_in_time(config, Some(&password)).await };
                password.log_in(attempt, PostgresError::is_refused_login).await?
            }
            None => connect_in_time(config, None).await?,
        };
        Ok(Self { client })
    }

    fn is_usable(&self) -> bool {
        !self.client.is_closed()
    }

    async fn ping(&mut self) -> bool {
        self.client.check_connection().await.is_ok()
    }
}

/// Whether somebody listens.
pub(super) async fn reach(config: &PostgresConfig) -> Result<(), PostgresError> {
    if config.uses_socket() { socket(config).await.map(drop) } else { tcp(config).await.map(drop) }
}

/// Asks the server to end what a session is doing, over a connection of its own, as the protocol has it.
pub(super) async fn cancel(config: &PostgresConfig, client: &Client) {
    let token = client.cancel_token();
    let request = async {
        if config.uses_socket() {
            let stream = socket(config).await?;
            return token.cancel_query_raw(stream, NoTls).await.map_err(|e| PostgresError::of_query(config, e, 0));
        }
        let stream = tcp(config).await?;
        let sent = if config.encrypts() {
            token.cancel_query_raw(stream, tls(config)?).await
        } else {
            token.cancel_query_raw(stream, NoTls).await
        };
        sent.map_err(|error| PostgresError::of_query(config, error, 0))
    };
    match tokio::time::timeout(config.timeouts.cancel, request).await {
        Ok(Ok(())) => {}
        // The session is closed in any case: the server notices that too, only later.
        Ok(Err(error)) => tracing::debug!(%error, "a query could not be cancelled"),
        Err(_) => tracing::debug!("a query was not cancelled in time"),
    }
}

async fn connect_in_time(config: &PostgresConfig, password: Option<&Secret>) -> Result<Client, PostgresError> {
    let connected = tokio::time::timeout(config.timeouts.connect, connect(config, password)).await;
    connected.unwrap_or_else(|_| {
        let seconds = config.timeouts.connect.as_secs_f64();
        let reason = format!("no answer to the login within {seconds:.0} s");
        Err(PostgresError::Unreachable { address: config.address(), how: Unreachable::Timeout, reason })
    })
}

async fn connect(config: &PostgresConfig, password: Option<&Secret>) -> Result<Client, PostgresError> {
    let max_row_bytes = config.read.max_row_bytes;
    let mut options = tokio_postgres::Config::new();
    options.dbname(&config.database).user(&config.user).application_name(&config.application_name);
    if let Some(password) = password {
        options.password(password.expose());
    }
    if config.uses_socket() {
        options.ssl_mode(SslMode::Disable);
        return login(config, &options, Watched::new(socket(config).await?, max_row_bytes), NoTls).await;
    }
    let stream = tcp(config).await?;
    if config.encrypts() {
        options.ssl_mode(SslMode::Require);
        login(config, &options, stream, WatchedTls { tls: tls(config)?, max_row_bytes }).await
    } else {
        options.ssl_mode(SslMode::Disable);
        login(config, &options, Watched::new(stream, max_row_bytes), NoTls).await
    }
}

async fn login<S, T>(
    config: &PostgresConfig,
    options: &tokio_postgres::Config,
    stream: S,
    tls: T,
) -> Result<Client, PostgresError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: tokio_postgres::tls::TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let connected = options.connect_raw(stream, tls).await;
    let (client, connection) = connected.map_err(|error| PostgresError::of_login(config, error))?;
    tokio::spawn(async move {
        // What goes wrong here is also told to whoever waits for an answer.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a PostgreSQL connection ended");
        }
    });
    Ok(client)
}

async fn tcp(config: &PostgresConfig) -> Result<tokio::net::TcpStream, PostgresError> {
    datakit_net::connect(&config.host, config.port, Traffic::Asks, config.timeouts.connect)
        .await
        .map_err(|(how, reason)| PostgresError::Unreachable { address: config.address(), how, reason })
}

async fn socket(config: &PostgresConfig) -> Result<UnixStream, PostgresError> {
    let path = format!("{}/.s.PGSQL.{}", config.host, config.port);
    let unreachable = |how, reason: String| PostgresError::Unreachable { address: config.address(), how, reason };
    match tokio::time::timeout(config.timeouts.connect.max(Duration::from_millis(1)), UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unreachable(Unreachable::Refused, error.to_string())),
        Err(_) => Err(unreachable(Unreachable::Timeout, "no answer".to_owned())),
    }
}

/// TLS for one connection to the configured host.
fn tls(config: &PostgresConfig) -> Result<postgres_native_tls::TlsConnector, PostgresError> {
    let failed = |reason: String| PostgresError::Certificate {
        address: config.address(),
        problem: super::error::CertificateProblem::Other,
        reason,
    };
    let mut builder = TlsConnector::builder();
    if let Some(path) = &config.certificate_file {
        let unusable = |reason: String| PostgresError::CertificateFile { path: path.display().to_string(), reason };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no X.509 certificate in PEM".to_owned()));
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.danger_accept_invalid_certs(config.trust_certificate);
    builder.danger_accept_invalid_hostnames(config.trust_certificate);
    let connector = builder.build().map_err(|error| failed(error.to_string()))?;
    Ok(postgres_native_tls::TlsConnector::new(connector, &config.host))
}

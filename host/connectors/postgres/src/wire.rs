//! From a [`Server`] to a session: TCP or Unix socket, TLS, login. A source and a sink have errors of their own for each
//! [`Trouble`].

use std::time::Duration;

use datakit_model::Secret;
use datakit_net::{Traffic, Unreachable};
use native_tls::Certificate;
use postgres_native_tls::TlsConnector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::Client;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::TlsConnect;

use crate::server::Server;

/// Asks a server who it is.
pub(crate) const WHO: &str = "SELECT current_setting('server_version'), current_database()::text, session_user::text";

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// `server_version`: `15.8`.
    pub version: String,
    /// The current database.
    pub database: String,
    /// The role that logged in.
    pub user: String,
}

impl ServerInfo {
    /// The answer to [`WHO`].
    pub(crate) fn of(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { version: row.try_get(0)?, database: row.try_get(1)?, user: row.try_get(2)? })
    }
}

/// Why there is no way to a server.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// No connection.
    Unreachable {
        /// In which way.
        how: Unreachable,
        /// The system's words.
        reason: String,
    },
    /// `certificate_file` cannot be used.
    CertificateFile {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// TLS cannot be set up.
    Tls(native_tls::Error),
}

/// The way to a server, open up to the login.
pub(crate) enum Way {
    /// The socket of this machine.
    Unix(UnixStream),
    /// TCP in the clear.
    Clear(TcpStream),
    /// TCP, and what encrypts it.
    Tls(TcpStream, TlsConnector),
}

/// Whether somebody listens; nothing of PostgreSQL is said.
pub(crate) async fn reach(server: &Server, traffic: Traffic) -> Result<(), Trouble> {
    if server.uses_socket() { unix_socket(server).await.map(drop) } else { tcp(server, traffic).await.map(drop) }
}

impl Way {
    /// Opens it; nothing of PostgreSQL is said.
    pub(crate) async fn open(server: &Server, traffic: Traffic) -> Result<Self, Trouble> {
        if server.uses_socket() {
            return unix_socket(server).await.map(Self::Unix);
        }
        let stream = tcp(server, traffic).await?;
        if server.encrypts() { Ok(Self::Tls(stream, tls(server)?)) } else { Ok(Self::Clear(stream)) }
    }
}

async fn tcp(server: &Server, traffic: Traffic) -> Result<TcpStream, Trouble> {
    let stream = datakit_net::connect(&server.host, server.port, traffic, server.connect_timeout).await;
    stream.map_err(|(how, reason)| Trouble::Unreachable { how, reason })
}

async fn unix_socket(server: &Server) -> Result<UnixStream, Trouble> {
    let path = format!("{}/.s.PGSQL.{}", server.host, server.port);
    let timeout = server.connect_timeout.max(Duration::from_millis(1));
    match tokio::time::timeout(timeout, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Trouble::Unreachable { how: Unreachable::Refused, reason: error.to_string() }),
        Err(_) => {
            let reason = format!("no answer within {} s", server.connect_timeout.as_secs());
            Err(Trouble::Unreachable { how: Unreachable::Timeout, reason })
        }
    }
}

/// TLS for one connection to the server.
fn tls(server: &Server) -> Result<TlsConnector, Trouble> {
    let mut builder = native_tls::TlsConnector::builder();
    if let Some(path) = &server.certificate_file {
        let unusable = |reason: String| Trouble::CertificateFile { path: path.display().to_string(), reason };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no X.509 certificate in PEM".to_owned()));
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.danger_accept_invalid_certs(server.trust_certificate);
    builder.danger_accept_invalid_hostnames(server.trust_certificate);
    Ok(TlsConnector::new(builder.build().map_err(Trouble::Tls)?, &server.host))
}

/// What the driver is told about a login.
pub(crate) fn options(server: &Server, password: Option<&Secret>) -> tokio_postgres::Config {
    let mut options = tokio_postgres::Config::new();
    options.dbname(&server.database).user(&server.user).application_name(&server.application_name);
    options.ssl_mode(if server.encrypts() { SslMode::Require } else { SslMode::Disable });
    if let Some(password) = password {
        options.password(password.expose());
    }
    options
}

/// Logs in. The connection's task ends with the client.
pub(crate) async fn log_in<S, T>(
    options: &tokio_postgres::Config,
    stream: S,
    tls: T,
) -> Result<Client, tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let (client, connection) = options.connect_raw(stream, tls).await?;
    tokio::spawn(async move {
        // What goes wrong here is also told to whoever waits for an answer.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a PostgreSQL connection ended");
        }
    });
    Ok(client)
}

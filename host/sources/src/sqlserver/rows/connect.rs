//! A connection of tiberius.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use datakit_model::Secret;
use datakit_model::source::Isolation;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::errors;
use crate::sqlserver::config::{Encrypt, Login, SqlServerConfig};
use crate::sqlserver::error::{SourceError, Unreachable};
use crate::sqlserver::reach;
use crate::{pool, tls};

/// A pooled connection.
pub(in crate::sqlserver) struct RowConnection {
    pub(in crate::sqlserver) client: Client<Compat<TcpStream>>,
    /// The session's isolation level.
    pub(in crate::sqlserver) isolation: Isolation,
    /// Something was left on the wire: the connection cannot be used again.
    pub(super) broken: bool,
    /// The same socket, to be looked at: the driver has the other one.
    socket: Option<std::net::TcpStream>,
}

impl pool::Pooled for RowConnection {
    type Server = SqlServerConfig;
    type Error = SourceError;

    async fn open(config: &SqlServerConfig) -> Result<Self, SourceError> {
        let level = match config.encrypt {
            Encrypt::Required => EncryptionLevel::Required,
            Encrypt::Strict => EncryptionLevel::Strict,
            Encrypt::Off => EncryptionLevel::Off,
        };
        let (client, socket) = match &config.login {
            Login::Sql { password, .. } => {
                let once = |password: Arc<Secret>| async move { attempt(config, level, Some(&password)).await };
                password.log_in(once, SourceError::is_refused_login).await?
            }
            Login::Kerberos(tickets) => {
                let config = config.clone();
                let logged_in = tickets.log_in(move || async move { attempt(&config, level, None).await }).await?;
                logged_in.map_err(SourceError::of_ticket_login)?
            }
        };
        Ok(Self { client, isolation: Isolation::ReadCommitted, broken: false, socket })
    }

    fn is_usable(&self) -> bool {
        !self.broken
    }

    fn is_quiet(&self) -> bool {
        // It does not block, as the driver's does not.
        let looked = self.socket.as_ref().map(|socket| socket.peek(&mut [0]));
        looked.is_none_or(|looked| looked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock))
    }

    async fn ping(&mut self) -> bool {
        match self.client.simple_query("SELECT 1 AS alive").await {
            Ok(stream) => stream.into_results().await.is_ok(),
            Err(_) => false,
        }
    }
}

/// The driver's client, and its socket once more.
type LoggedIn = (Client<Compat<TcpStream>>, Option<std::net::TcpStream>);

async fn attempt(
    config: &SqlServerConfig,
    level: EncryptionLevel,
    password: Option<&Secret>,
) -> Result<LoggedIn, SourceError> {
    let logged_in = match log_in(config, level, password).await {
        // A server without any TLS: tiberius would protect the login all the same, mssql-tds would not. Without
        // encryption no certificate is checked, so nothing is lost that was there.
        Err(LoginError::Driver(Error::Tls(_))) if config.encrypt == Encrypt::Off => {
            log_in(config, EncryptionLevel::NotSupported, password).await
        }
        other => other,
    };
    logged_in.map_err(|error| match error {
        LoginError::Network(error) => error,
        LoginError::Driver(error) => of_login(config, error),
    })
}

enum LoginError {
    Network(SourceError),
    Driver(Error),
}

async fn log_in(
    config: &SqlServerConfig,
    level: EncryptionLevel,
    password: Option<&Secret>,
) -> Result<LoggedIn, LoginError> {
    let stream = reach::connect(config).await.map_err(LoginError::Network)?;
    // Requests are one small packet each.
    let _ = stream.set_nodelay(true);
    // Without it connections are asked for a sign of life a little later.
    let socket = stream.as_fd().try_clone_to_owned().ok().map(std::net::TcpStream::from);
    // The driver's future is large.
    let connected = Box::pin(Client::connect(settings(config, level, password), stream.compat_write())).await;
    Ok((connected.map_err(LoginError::Driver)?, socket))
}

fn settings(config: &SqlServerConfig, level: EncryptionLevel, password: Option<&Secret>) -> Config {
    let mut settings = Config::new();
    settings.database(&config.database);
    settings.application_name(&config.application_name);
    let certificate_name = config.host_name_in_certificate.as_ref();
    match &config.login {
        Login::Sql { user, .. } => {
            settings.host(&config.host);
            settings.port(config.port);
            settings.authentication(AuthMethod::sql_server(user, password.map(Secret::expose).unwrap_or_default()));
            certificate_name.inspect(|name| settings.hostname_in_certificate(name));
        }
        Login::Kerberos(tickets) => {
            // The driver makes the service's name of them. Where to connect to it is told apart from that.
            settings.host(&tickets.service().host);
            settings.port(tickets.service().port);
            settings.authentication(AuthMethod::Integrated);
            settings.hostname_in_certificate(certificate_name.unwrap_or(&config.host));
        }
    }
    settings.handshake_timeout(Some(std::time::Duration::from_secs(config.connect_seconds().into())));
    settings.command_timeout(None);
    settings.encryption(level);
    // Without encryption only the login packet is protected, by whatever certificate there is: as mssql-tds does.
    if config.trust_certificate || config.encrypt == Encrypt::Off {
        settings.trust_cert();
    }
    settings
}

fn of_login(config: &SqlServerConfig, error: Error) -> SourceError {
    match error {
        Error::Io { message, .. } => SourceError::Unreachable {
            address: config.address(),
            how: Unreachable::Closed,
            reason: tls::plain(&message),
        },
        Error::Protocol(reason) if reason.contains("encrypt") => {
            SourceError::NoEncryption { address: config.address() }
        }
        Error::Gssapi(reason) => SourceError::of_driver_ticket(reason),
        other => errors::of_query(config, other, 0),
    }
}

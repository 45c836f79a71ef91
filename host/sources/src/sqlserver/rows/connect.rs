//! A connection of tiberius.

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
        let client = match &config.login {
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
        Ok(Self { client, isolation: Isolation::ReadCommitted, broken: false })
    }

    fn is_usable(&self) -> bool {
        !self.broken
    }

    async fn ping(&mut self) -> bool {
        match self.client.simple_query("SELECT 1 AS alive").await {
            Ok(stream) => stream.into_results().await.is_ok(),
            Err(_) => false,
        }
    }
}

async fn attempt(
    config: &SqlServerConfig,
    level: EncryptionLevel,
    password: Option<&Secret>,
) -> Result<Client<Compat<TcpStream>>, SourceError> {
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
) -> Result<Client<Compat<TcpStream>>, LoginError> {
    let stream = reach::connect(config).await.map_err(LoginError::Network)?;
    // Requests are one small packet each.
    let _ = stream.set_nodelay(true);
    // The driver's future is large.
    Box::pin(Client::connect(settings(config, level, password), stream.compat_write()))
        .await
        .map_err(LoginError::Driver)
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

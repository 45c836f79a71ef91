//! A connection of tiberius.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_model::Secret;
use datakit_model::source::Isolation;
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::errors;
use super::metered::{Meter, Metered};
use crate::config::{ApplicationIntent, Encrypt, Login, SqlServerConfig};
use crate::error::{SourceError, Unreachable};
use crate::{destination, reach};
use datakit_connect::{pool, tls};

/// A pooled connection.
pub(crate) struct RowConnection {
    pub(crate) client: Client<Compat<Metered<TcpStream>>>,
    /// Bounds what arrives.
    pub(super) meter: Meter,
    /// The session's isolation level.
    pub(crate) isolation: Isolation,
    /// Something was left on the wire: the connection cannot be used again.
    pub(super) broken: bool,
    /// The same socket, to be looked at: the driver has the other one.
    socket: Option<std::net::TcpStream>,
}

impl pool::Pooled for RowConnection {
    type Server = SqlServerConfig;
    type Error = SourceError;

    async fn open(config: &SqlServerConfig) -> Result<Self, SourceError> {
        let mut server = destination::first(config).await?;
        for _ in 0..=destination::MAX_HOPS {
            match log_in_at(&server).await? {
                Answer::LoggedIn { client, meter, socket } => {
                    config.destination.set(server);
                    let isolation = Isolation::ReadCommitted;
                    return Ok(Self { client: *client, meter, isolation, broken: false, socket });
                }
                Answer::SentOn { host, port } => {
                    server = server.sent_on(&host, port);
                    tracing::debug!(server = server.address(), "the login is sent on");
                }
            }
        }
        Err(SourceError::SentOnTooOften { address: server.address() })
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

/// What a server does with a login.
enum Answer {
    LoggedIn {
        /// The driver's.
        client: Box<Client<Compat<Metered<TcpStream>>>>,
        /// Bounds what it reads.
        meter: Meter,
        /// Its socket once more.
        socket: Option<std::net::TcpStream>,
    },
    /// Another one is to be asked.
    SentOn { host: String, port: u16 },
}

async fn log_in_at(server: &SqlServerConfig) -> Result<Answer, SourceError> {
    match &server.login {
        Login::Sql { password, .. } => {
            let once = |password: Arc<Secret>| async move { attempt(server, Some(&password)).await };
            password.log_in(once, SourceError::is_refused_login).await
        }
        Login::Kerberos(tickets) => {
            let server = server.clone();
            let logged_in = tickets.log_in(move || async move { attempt(&server, None).await }).await?;
            logged_in.map_err(SourceError::of_ticket_login)
        }
    }
}

async fn attempt(config: &SqlServerConfig, password: Option<&Secret>) -> Result<Answer, SourceError> {
    let level = match config.encrypt {
        Encrypt::Required => EncryptionLevel::Required,
        Encrypt::Strict => EncryptionLevel::Strict,
        Encrypt::Off => EncryptionLevel::Off,
    };
    let logged_in = match log_in(config, level, password).await {
        // A server without any TLS: tiberius would protect the login all the same, mssql-tds would not. Without
        // encryption no certificate is checked, so nothing is lost that was there.
        Err(LoginError::Driver(Error::Tls(_))) if config.encrypt == Encrypt::Off => {
            log_in(config, EncryptionLevel::NotSupported, password).await
        }
        other => other,
    };
    match logged_in {
        // Some name an instance besides, which the port makes needless.
        Err(LoginError::Driver(Error::Routing { host, port })) => {
            let host = host.split('\\').next().unwrap_or_default().to_owned();
            Ok(Answer::SentOn { host, port })
        }
        Err(LoginError::Driver(error)) => Err(of_login(config, error)),
        Err(LoginError::Network(error)) => Err(error),
        Ok(answer) => Ok(answer),
    }
}

enum LoginError {
    Network(SourceError),
    Driver(Error),
}

async fn log_in(
    config: &SqlServerConfig,
    level: EncryptionLevel,
    password: Option<&Secret>,
) -> Result<Answer, LoginError> {
    let begin = Instant::now();
    let stream = reach::connect(config).await.map_err(LoginError::Network)?;
    // Without it connections are asked for a sign of life a little later.
    let socket = stream.as_fd().try_clone_to_owned().ok().map(std::net::TcpStream::from);
    let mut settings = settings(config, level, password);
    let left = config.connect_timeout().saturating_sub(begin.elapsed());
    settings.handshake_timeout(Some(left.max(Duration::from_secs(1))));
    // The driver's future is large.
    let meter = Meter::new();
    let stream = Metered::new(stream, meter.clone()).compat_write();
    let client = Box::pin(Client::connect(settings, stream)).await.map_err(LoginError::Driver)?;
    Ok(Answer::LoggedIn { client: Box::new(client), meter, socket })
}

fn settings(config: &SqlServerConfig, level: EncryptionLevel, password: Option<&Secret>) -> Config {
    let mut settings = Config::new();
    settings.database(&config.database);
    settings.application_name(&config.application_name);
    settings.readonly(config.application_intent == ApplicationIntent::ReadOnly);
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

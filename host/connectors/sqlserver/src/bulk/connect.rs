//! A connection of `mssql-tds`, from the configuration to a logged-in client.

use std::sync::Arc;
use std::time::Duration;

use datakit_model::Secret;
use datakit_model::source::Isolation;
use datakit_net::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use mssql_tds::connection::client_context::{ClientContext, TdsAuthenticationMethod};
use mssql_tds::connection::tds_client::TdsClient;
use mssql_tds::connection_provider::tds_connection_provider::TdsConnectionProvider;
use mssql_tds::core::{EncryptionOptions, EncryptionSetting};
use mssql_tds::message::login_options::ApplicationIntent as DriverIntent;

use super::errors;
use crate::config::{ApplicationIntent, Encrypt, Login, SqlServerConfig};
use crate::error::SourceError;
use crate::{destination, reach};
use datakit_connect::pool;

/// The largest packets the server takes: fewer of them, fewer rows across two. Encrypted ones fit one TLS record.
const PACKET_BYTES: u16 = 32_767;
const ENCRYPTED_PACKET_BYTES: u16 = 16_383;

/// A pooled connection.
pub(crate) struct BulkConnection {
    pub(crate) client: TdsClient,
    /// The session's isolation level.
    pub(crate) isolation: Isolation,
}

impl pool::Pooled for BulkConnection {
    type Server = SqlServerConfig;
    type Error = SourceError;

    async fn open(config: &SqlServerConfig) -> Result<Self, SourceError> {
        let client = match &config.login {
            Login::Sql { password, .. } => {
                let server = &destination::first(config).await?;
                let attempt = |password: Arc<Secret>| async move { create(server, Some(&password)).await };
                password.log_in(attempt, SourceError::is_refused_login).await?
            }
            Login::Kerberos(_) => destination::last(config, with_ticket).await?,
        };
        Ok(Self { client, isolation: Isolation::ReadCommitted })
    }

    fn is_usable(&self) -> bool {
        // A transaction that was left open would go on in the next query.
        !self.client.is_connection_dead() && !self.client.has_open_batch() && !self.client.has_active_transaction()
    }

    async fn ping(&mut self) -> bool {
        self.client.execute("SELECT 1 AS alive".to_owned(), ()).await.is_ok() && self.client.close_query().await.is_ok()
    }
}

async fn with_ticket(server: Arc<SqlServerConfig>) -> Result<TdsClient, SourceError> {
    let Login::Kerberos(tickets) = &server.login else {
        return Err(SourceError::Internal("a login with a ticket has none".to_owned()));
    };
    let here = Arc::clone(&server);
    let logged_in = tickets.log_in(move || async move { create(&here, None).await }).await?;
    logged_in.map_err(SourceError::of_ticket_login)
}

async fn create(config: &SqlServerConfig, password: Option<&Secret>) -> Result<TdsClient, SourceError> {
    let data_source = format!("tcp:{},{}", config.host, config.port);
    let connect = TdsConnectionProvider::new();
    // The driver's future is large and the pool's stack frames are many.
    let created = Box::pin(connect.create_client(context(config, &data_source, password), &data_source, None)).await;
    match created {
        Ok(client) => Ok(client),
        Err(error) => match errors::of_login(config, error) {
            Some(error) => Err(error),
            None => Err(reach::diagnose(config).await),
        },
    }
}

fn context(config: &SqlServerConfig, data_source: &str, password: Option<&Secret>) -> ClientContext {
    let mut context = ClientContext::with_data_source(data_source);
    context.application_name.clone_from(&config.application_name);
    context.database.clone_from(&config.database);
    match &config.login {
        Login::Sql { user, .. } => {
            context.user_name.clone_from(user);
            context.password = password.map(|password| password.expose().to_owned()).unwrap_or_default();
        }
        Login::Kerberos(tickets) => {
            context.tds_authentication_method = TdsAuthenticationMethod::SSPI;
            // By itself the driver leaves the port out.
            context.server_spn = Some(tickets.service().host_based_name());
        }
    }
    context.connect_timeout = config.connect_seconds();
    context.login_timeout = Some(config.connect_seconds());
    context.application_intent = match config.application_intent {
        ApplicationIntent::ReadWrite => DriverIntent::ReadWrite,
        ApplicationIntent::ReadOnly => DriverIntent::ReadOnly,
    };
    // The driver opens its sockets by itself: addresses side by side, and probed in the times of all others.
    context.multi_subnet_failover = Some(true);
    context.keep_alive_in_ms = milliseconds(KEEPALIVE_IDLE);
    context.keep_alive_interval_in_ms = milliseconds(KEEPALIVE_INTERVAL);
    // Tried again by the run, which knows what was read; never behind its back.
    context.connect_retry_count = 0;
    context.packet_size = if config.encrypt == Encrypt::Off { PACKET_BYTES } else { ENCRYPTED_PACKET_BYTES };
    context.encryption_options = EncryptionOptions {
        mode: match config.encrypt {
            Encrypt::Required => EncryptionSetting::Required,
            Encrypt::Strict => EncryptionSetting::Strict,
            Encrypt::Off => EncryptionSetting::PreferOff,
        },
        trust_server_certificate: config.trust_certificate,
        host_name_in_cert: config.host_name_in_certificate.clone(),
        server_certificate: config.certificate_file.clone(),
    };
    context
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

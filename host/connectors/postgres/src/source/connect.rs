//! From the configuration to a session that is ready to read.

use std::sync::Arc;

use datakit_model::Secret;
use datakit_net::Traffic;
use tokio_postgres::{Client, NoTls};

use super::config::PostgresConfig;
use super::error::{PostgresError, Unreachable};
use super::replication::{Introduced, IntroducedTls, Purpose};
use super::watched::{Watched, WatchedTls};
use crate::wire::{self, Way};
use datakit_connect::pool;

/// A pooled connection.
pub(super) struct PostgresConnection {
    pub(super) client: Client,
}

impl pool::Pooled for PostgresConnection {
    type Server = PostgresConfig;
    type Error = PostgresError;

    async fn open(config: &PostgresConfig) -> Result<Self, PostgresError> {
        Self::open_for(config, Purpose::Queries).await
    }

    fn is_usable(&self) -> bool {
        !self.client.is_closed()
    }

    async fn ping(&mut self) -> bool {
        self.client.check_connection().await.is_ok()
    }
}

impl PostgresConnection {
    /// Opens one that is not of the pool.
    ///
    /// # Errors
    /// What connecting says.
    pub(super) async fn open_for(config: &PostgresConfig, purpose: Purpose) -> Result<Self, PostgresError> {
        // Nothing is set for the session: each transaction says what it needs.
        let client = match &config.server.password {
            Some(password) => {
                let attempt =
                    |password: Arc<Secret>| async move { connect_in_time(config, Some(&password), purpose).await };
                password.log_in(attempt, PostgresError::is_refused_login).await?
            }
            None => connect_in_time(config, None, purpose).await?,
        };
        Ok(Self { client })
    }
}

/// Whether somebody listens.
pub(super) async fn reach(config: &PostgresConfig) -> Result<(), PostgresError> {
    let reached = wire::reach(&config.server, Traffic::Asks).await;
    reached.map_err(|trouble| PostgresError::no_way(config, trouble))
}

/// Asks the server to end what a session is doing, over a connection of its own, as the protocol has it.
pub(super) async fn cancel(config: &PostgresConfig, client: &Client) {
    let token = client.cancel_token();
    let request = async {
        let sent = match way(config).await? {
            Way::Unix(stream) => token.cancel_query_raw(stream, NoTls).await,
            Way::Clear(stream) => token.cancel_query_raw(stream, NoTls).await,
            Way::Tls(stream, tls) => token.cancel_query_raw(stream, tls).await,
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

async fn connect_in_time(
    config: &PostgresConfig,
    password: Option<&Secret>,
    purpose: Purpose,
) -> Result<Client, PostgresError> {
    let connected = tokio::time::timeout(config.timeouts.connect, connect(config, password, purpose)).await;
    connected.unwrap_or_else(|_| {
        let seconds = config.timeouts.connect.as_secs_f64();
        let reason = format!("no answer to the login within {seconds:.0} s");
        Err(PostgresError::Unreachable { address: config.address(), how: Unreachable::Timeout, reason })
    })
}

/// Logs in, by a stream whose messages are bounded as they arrive.
async fn connect(
    config: &PostgresConfig,
    password: Option<&Secret>,
    purpose: Purpose,
) -> Result<Client, PostgresError> {
    let max_row_bytes = config.read.max_row_bytes;
    let options = wire::options(&config.server, password);
    let logged_in = match way(config).await? {
        Way::Unix(stream) => wire::log_in(&options, clear(stream, purpose, max_row_bytes), NoTls).await,
        Way::Clear(stream) => wire::log_in(&options, clear(stream, purpose, max_row_bytes), NoTls).await,
        Way::Tls(stream, tls) => {
            let tls = WatchedTls { tls: IntroducedTls { tls, purpose }, max_row_bytes };
            wire::log_in(&options, stream, tls).await
        }
    };
    logged_in.map_err(|error| PostgresError::of_login(config, error))
}

fn clear<S>(stream: S, purpose: Purpose, max_row_bytes: u64) -> Watched<Introduced<S>> {
    Watched::new(Introduced::new(stream, purpose), max_row_bytes)
}

async fn way(config: &PostgresConfig) -> Result<Way, PostgresError> {
    Way::open(&config.server, Traffic::Asks).await.map_err(|trouble| PostgresError::no_way(config, trouble))
}

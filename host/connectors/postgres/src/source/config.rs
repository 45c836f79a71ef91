//! What an operator says about a PostgreSQL server.

use datakit_model::ReadLimits;

use super::error::PostgresError;
use crate::server::{Encrypt, Server};
pub use datakit_connect::config::{PoolLimits, ServerLimit, Timeouts};
use datakit_connect::pool::PooledServer;
pub use datakit_guard::SqlLimits;

pub use crate::settings::RowSecurity;

impl RowSecurity {
    /// The server's setting `row_security`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Refuse => "off",
            Self::Filter => "on",
        }
    }
}

/// What the strategy `logical` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalConfig {
    /// The replication slot, made by the host where it is not there.
    pub slot: String,
    /// The publication, made by the operator.
    pub publication: String,
}

/// A PostgreSQL server, how to reach it and how to read it.
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// Which server, and who logs in. Its `connect_timeout` is that of `timeouts`.
    pub server: Server,
    /// Bounds of the pool. The session that keeps a run's snapshot comes on top; the server's limit counts it.
    pub pool: PoolLimits,
    /// The bound on all connections to this server, shared with other sources; none: only the pool's own.
    pub server_limit: Option<ServerLimit>,
    /// Bounds of single steps.
    pub timeouts: Timeouts,
    /// How batches are cut.
    pub read: ReadLimits,
    /// Bounds on SQL of datakits.
    pub sql: SqlLimits,
    /// What becomes of rows that row-level security hides.
    pub row_security: RowSecurity,
    /// The slot and publication of the strategy `logical`; none: it is refused.
    pub logical: Option<LogicalConfig>,
}

impl PostgresConfig {
    /// A server with the default bounds.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self {
            server,
            pool: PoolLimits::default(),
            server_limit: None,
            timeouts: Timeouts::default(),
            read: ReadLimits::default(),
            sql: SqlLimits::default(),
            row_security: RowSecurity::default(),
            logical: None,
        }
    }

    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Checks what can be checked without the server.
    ///
    /// # Errors
    /// [`PostgresError::Config`], naming the setting.
    pub(super) fn validate(&self) -> Result<(), PostgresError> {
        let refuse = |message: &str, hint: &str| {
            Err(PostgresError::Config { message: message.to_owned(), hint: hint.to_owned() })
        };
        let odd = |c: char| c.is_whitespace() || ",;\\/".contains(c);
        if self.server.host.is_empty() || (!self.server.uses_socket() && self.server.host.contains(odd)) {
            return refuse(
                &format!("`host = \"{}\"` is not a host name or address", self.server.host),
                "give the host alone; the port has its own setting",
            );
        }
        if self.pool.max_connections == 0 {
            return refuse("the pool may hold no connection", "set `pool.max_connections` to at least 1");
        }
        // Of a slot's snapshot, another beside it, and the session that makes the slot.
        let least = if self.logical.is_some() { 3 } else { 2 };
        if self.server_limit.as_ref().is_some_and(|limit| limit.max_connections() < least) {
            return refuse(
                "the server's limit leaves no connection beside those that keep the run's snapshots",
                &format!("set `max_connections` of the server to at least {least}"),
            );
        }
        if self.server.trust_certificate && self.server.certificate_file.is_some() {
            return refuse(
                "`certificate_file` and `trust_certificate` exclude each other",
                "remove `trust_certificate`",
            );
        }
        if self.logical.as_ref().is_some_and(|names| !is_slot_name(&names.slot)) {
            return refuse(
                "`slot` is not the name of a replication slot",
                "a name has up to 63 lower-case letters, digits and `_`",
            );
        }
        if self.server.certificate_file.is_some() && self.server.encrypt == Encrypt::Off {
            return refuse("`certificate_file` needs encryption", "remove `encrypt = \"off\"`");
        }
        Ok(())
    }
}

/// What the server takes as the name of a slot.
fn is_slot_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(fits)
}

impl PooledServer for PostgresConfig {
    fn pool(&self) -> &PoolLimits {
        &self.pool
    }

    fn address(&self) -> String {
        self.address()
    }

    fn server_limit(&self) -> Option<&ServerLimit> {
        self.server_limit.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_refused_before_the_first_packet() {
        let refusal = |change: fn(&mut PostgresConfig)| {
            let mut config = PostgresConfig::new(Server::new("db01", "erp", "svc"));
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(PostgresConfig::new(Server::new("/run/postgresql", "erp", "svc")).validate().is_ok());
        insta::assert_snapshot!(refusal(|c| c.server.host = "db01,5433".into()), @r#"`host = "db01,5433"` is not a host name or address"#);
        for slot in ["", "Shop", "a b", "a-b", &"a".repeat(64)] {
            let names = LogicalConfig { slot: slot.to_owned(), publication: "p".to_owned() };
            let config =
                PostgresConfig { logical: Some(names), ..PostgresConfig::new(Server::new("db01", "erp", "svc")) };
            assert!(config.validate().is_err(), "{slot}");
        }
        insta::assert_snapshot!(refusal(|c| c.pool.max_connections = 0), @"the pool may hold no connection");
        insta::assert_snapshot!(
            refusal(|c| {
                c.server.certificate_file = Some("a.pem".into());
                c.server.trust_certificate = true;
            }),
            @"`certificate_file` and `trust_certificate` exclude each other"
        );
        insta::assert_snapshot!(
            refusal(|c| {
                c.server.certificate_file = Some("a.pem".into());
                c.server.encrypt = Encrypt::Off;
            }),
            @"`certificate_file` needs encryption"
        );
    }
}

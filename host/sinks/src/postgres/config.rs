//! Which server a Postgres sink writes to, and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use datakit_model::Credential;

/// Whether the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encrypt {
    /// Always, and the certificate is checked.
    #[default]
    Required,
    /// Never: password hash and rows cross the network in clear.
    Off,
}

/// Settings of a [`PostgresSink`](super::PostgresSink).
#[derive(Debug, Clone)]
pub struct PostgresConfig {
    /// A name or an address; a path that begins with `/` is the directory of a Unix socket, which is never encrypted.
    pub host: String,
    /// 5432 by default.
    pub port: u16,
    /// It must exist.
    pub database: String,
    /// It needs CREATE on the database, or schemas of its own.
    pub user: String,
    /// None: the server trusts the user, or knows it by other means.
    pub password: Option<Credential>,
    /// Required by default.
    pub encrypt: Encrypt,
    /// PEM certificates to trust besides the system's.
    pub certificate_file: Option<PathBuf>,
    /// Trust whatever certificate the server shows: protects against listeners, not against impostors.
    pub trust_certificate: bool,
    /// TCP, TLS and login together; not for statements.
    pub connect_timeout: Duration,
    /// What the server's views show.
    pub application_name: String,
}

impl PostgresConfig {
    /// A server on its default port, with encryption.
    #[must_use]
    pub fn new(host: impl Into<String>, database: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            database: database.into(),
            user: user.into(),
            password: None,
            encrypt: Encrypt::Required,
            certificate_file: None,
            trust_certificate: false,
            connect_timeout: Duration::from_secs(15),
            application_name: "datakit".to_owned(),
        }
    }

    /// Host and port, for people.
    pub(crate) fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether TLS is used.
    pub(crate) fn encrypts(&self) -> bool {
        self.encrypt == Encrypt::Required && !self.uses_socket()
    }

    /// Whether the host is the directory of a Unix socket.
    pub(crate) fn uses_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

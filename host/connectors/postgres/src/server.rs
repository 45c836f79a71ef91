//! Which server, and who logs in: the same for a source and a sink.

use std::path::PathBuf;
use std::time::Duration;

use datakit_model::Credential;

pub use crate::settings::Encrypt;

/// A PostgreSQL database, and how a session with it begins.
#[derive(Debug, Clone)]
pub struct Server {
    /// Host name or address, without port; a path that begins with `/` is the directory of a Unix socket, which is never
    /// encrypted.
    pub host: String,
    /// TCP port, or the number in the socket's name; 5432 by default.
    pub port: u16,
    /// The database, which must exist.
    pub database: String,
    /// Who logs in.
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
    /// `application_name` in `pg_stat_activity`.
    pub application_name: String,
}

impl Server {
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

    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether TLS is used.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.encrypt == Encrypt::Required && !self.uses_socket()
    }

    /// Whether the host is the directory of a Unix socket.
    #[must_use]
    pub fn uses_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

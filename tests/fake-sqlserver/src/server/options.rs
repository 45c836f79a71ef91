//! What a fake SQL Server is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::tds::Encoding;

/// What the server does about encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encrypt {
    /// It cannot.
    Off,
    /// As the client asks: nothing, the login only, or everything.
    #[default]
    On,
    /// Everything is encrypted; a client that cannot is sent away.
    Required,
    /// TDS 8.0 only: TLS from the first byte. (`On` and `Required` take TDS 8.0 clients too.)
    Strict,
}

/// The certificate the server shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Certificate {
    /// A leaf for `localhost`, `127.0.0.1` and `::1`, signed by an authority of its own.
    #[default]
    Valid,
    /// The same for these names and addresses alone.
    Naming(Vec<String>),
    /// The same for a host that is not this one.
    WrongHost,
    /// The same, but it ended in 2021.
    Expired,
    /// Given, as PEM; `ca_pem` is what clients should trust.
    Given {
        /// Certificate, and perhaps those between it and the authority.
        chain_pem: String,
        /// Private key, PKCS #8.
        key_pem: String,
        /// The authority.
        ca_pem: String,
    },
}

/// Where a login is sent on to: read-only routing of an availability group, or Azure SQL's redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendOn {
    /// The other server's name or address; Azure SQL appends `\instance`.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Logins that declare to only read, and no others.
    pub only_readers: bool,
}

/// Settings of a fake SQL Server.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The one SQL login.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The keytab of the server's principal: then logins with Kerberos are taken too.
    pub keytab: Option<PathBuf>,
    /// The principals that have a login; empty: all that come with a ticket.
    pub kerberos_logins: Vec<String>,
    /// Extended Protection `Required`: a ticket without a binding to its TLS channel is refused.
    pub extended_protection: bool,
    /// Logins that another server is to serve.
    pub send_on: Option<SendOn>,
    /// Encryption.
    pub encrypt: Encrypt,
    /// Certificate.
    pub certificate: Certificate,
    /// Where `ca.pem` and `server.pem` are written; a temporary directory unless set.
    pub certificate_directory: Option<PathBuf>,
    /// Server name in messages.
    pub server_name: String,
    /// Choices of encoding.
    pub encoding: Encoding,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            user: "sa".to_owned(),
            password: "Pl4nted 1!".to_owned(),
            keytab: None,
            kerberos_logins: Vec::new(),
            extended_protection: false,
            send_on: None,
            encrypt: Encrypt::default(),
            certificate: Certificate::default(),
            certificate_directory: None,
            server_name: "FAKESQL".to_owned(),
            encoding: Encoding::default(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("user", &self.user)
            .field("encrypt", &self.encrypt)
            .finish_non_exhaustive()
    }
}

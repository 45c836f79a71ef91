//! What a connector is: one system that rows come from, go to, or both.
//!
//! A connector is a folder. It brings the types of its settings, its sources and sinks, the links that `host doctor` walks, and
//! its page of documentation. One list names all of them; nothing else in the host knows a kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datakit_config::{ConfigError, Connection, Limits, SecretSetting, SectionKind, SinkConfig};
use datakit_kerberos::{KeytabPlace, Tickets};
use datakit_model::sink::Sink;
use datakit_model::source::Source;
use datakit_model::{Credential, Diagnostic, Failure, Kind, Retry, Secret, TableId};

use crate::config::ServerLimit;
use crate::dataset::DatasetName;
use crate::permissions::Permissions;
use crate::probe::{Broken, Walk};

/// A system that rows come from or go to.
pub trait Connector: Send + Sync {
    /// The word of the warehouse file: `postgres`.
    fn kind(&self) -> &'static str;

    /// What it brings to the warehouse file: a kind of connection, a kind of sink, or both.
    fn sections(&self) -> Vec<SectionKind>;

    /// Its page of documentation, in Markdown.
    fn page(&self) -> &'static str;

    /// The source behind a connection of this kind. Nothing is contacted yet.
    ///
    /// # Errors
    /// Settings that contradict each other, a secret that cannot be had; the connector has no source.
    fn source(&self, connection: &Connection, services: &dyn Services) -> Result<Arc<dyn ConnectedSource>, OpenError> {
        let _ = services;
        Err(OpenError::not_opened(connection.name(), connection.kind()))
    }

    /// The sink of this kind. Nothing is contacted yet.
    ///
    /// # Errors
    /// As of [`Self::source`].
    fn sink(&self, sink: &SinkConfig, services: &dyn Services) -> Result<Arc<dyn ConnectedSink>, OpenError> {
        let _ = services;
        Err(OpenError::not_opened(sink.name(), sink.kind()))
    }

    /// What `host doctor` will walk of a connection between its settings and its tables; `opened` is the source if it could be
    /// made.
    fn source_outline(&self, connection: &Connection, opened: Option<&dyn ConnectedSource>) -> Outline {
        let _ = (connection, opened);
        Outline::default()
    }

    /// What `host doctor` will walk of a sink after its settings. `write_probe`: objects may be written and deleted.
    fn sink_outline(&self, sink: &SinkConfig, opened: Option<&dyn ConnectedSink>, write_probe: bool) -> Outline {
        let _ = (sink, opened, write_probe);
        Outline::default()
    }
}

/// What a chain of links is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// What and where it is, for people.
    pub target: String,
    /// The names of its links, in order.
    pub links: Vec<&'static str>,
}

/// A source that was made, and what can be asked of it besides rows.
#[async_trait]
pub trait ConnectedSource: Send + Sync {
    /// The source.
    fn source(&self) -> Arc<dyn Source>;

    /// The name of a table outside of the host.
    fn dataset(&self, table: &TableId) -> DatasetName;

    /// What it logs in with, if with Kerberos.
    fn tickets(&self) -> Option<&Arc<Tickets>> {
        None
    }

    /// Whether somebody listens there.
    ///
    /// # Errors
    /// Nobody does.
    async fn reach(&self) -> Result<(), Failure>;

    /// Which tables may be read.
    ///
    /// # Errors
    /// What connecting or the query says.
    async fn permissions(&self) -> Result<Permissions, Failure>;

    /// Walks the links of [`Connector::source_outline`].
    ///
    /// # Errors
    /// A link is broken; the walk was told which and why.
    async fn walk(&self, walk: &mut dyn Walk) -> Result<(), Broken>;
}

/// A sink that was made, and what can be asked of it besides writing.
#[async_trait]
pub trait ConnectedSink: Send + Sync {
    /// The sink.
    fn sink(&self) -> Arc<dyn Sink>;

    /// The name of the table that a source's table goes to, outside of the host.
    ///
    /// # Errors
    /// A name that the sink cannot hold.
    fn dataset(&self, source_system: &str, table: &TableId) -> Result<DatasetName, Failure>;

    /// Walks the links of [`Connector::sink_outline`].
    ///
    /// # Errors
    /// A link is broken; the walk was told which and why.
    async fn walk(&self, walk: &mut dyn Walk, write_probe: bool) -> Result<(), Broken>;
}

/// What the host does for a connector while it makes a source or sink.
pub trait Services {
    /// The limits of the configuration.
    fn limits(&self) -> &Limits;

    /// The environment, as the configuration may use it.
    fn environment(&self) -> &BTreeMap<String, String>;

    /// What servers show of our sessions.
    fn application_name(&self) -> &'static str;

    /// A secret of a variable or a file; none where it is in a vault.
    ///
    /// # Errors
    /// It cannot be read.
    fn local(&self, setting: &SecretSetting) -> Result<Option<Secret>, OpenError>;

    /// A password, and how it is fetched again when it is refused.
    ///
    /// # Errors
    /// It is local and cannot be read.
    fn credential(&self, setting: &SecretSetting) -> Result<Credential, OpenError>;

    /// Where a keytab is.
    ///
    /// # Errors
    /// It is in a variable, and cannot be read there.
    fn keytab(&self, setting: &SecretSetting) -> Result<KeytabPlace, OpenError>;

    /// The bound that all connections to the server of this one share, if there is one.
    fn server_limit(&self, connection: &Connection) -> Option<ServerLimit>;
}

/// Why a source or sink cannot be made.
#[derive(Debug)]
pub enum OpenError {
    /// A setting, with its place.
    Config(Box<ConfigError>),
    /// Everything else.
    Failure(Failure),
}

impl OpenError {
    /// A section of a kind that the connector does not open.
    #[must_use]
    pub fn not_opened(name: &str, kind: &'static str) -> Self {
        let (name, kind) = (name.to_owned(), kind);
        Self::from(NotOpened { name, kind })
    }
}

/// A connection or sink of a kind that is registered without what opens it.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is of the kind `{kind}`, which this program cannot open")]
pub struct NotOpened {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
}

impl Diagnostic for NotOpened {
    fn code(&self) -> std::borrow::Cow<'static, str> {
        "DK-CLI-017".into()
    }

    fn kind(&self) -> Kind {
        Kind::Internal
    }

    fn retry(&self) -> Retry {
        Retry::Never
    }

    fn hint(&self) -> Option<String> {
        Some("please report it, with the command and the log of -vv".into())
    }
}

impl From<ConfigError> for OpenError {
    fn from(error: ConfigError) -> Self {
        Self::Config(Box::new(error))
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<NotOpened> for OpenError {
    fn from(error: NotOpened) -> Self {
        Self::Failure(error.into())
    }
}

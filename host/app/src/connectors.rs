//! Connectors: which there are, and what the application does for them while they make sources and sinks.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use datakit_config::{Config, Connection, Kinds, Limits, SecretSetting, SinkConfig};
use datakit_connect::config::ServerLimit;
use datakit_connect::connector::{ConnectedSink, ConnectedSource, Connector, OpenError, Services};
use datakit_kerberos::KeytabPlace;
use datakit_model::{Credential, Secret};

use crate::context::Context;
use crate::reports::Reports;

/// What servers show of our sessions.
const APPLICATION_NAME: &str = concat!("datakit/", env!("CARGO_PKG_VERSION"));

/// The connectors that an application has.
pub struct Connectors {
    all: Vec<Arc<dyn Connector>>,
    kinds: Kinds,
}

impl Connectors {
    /// These connectors.
    #[must_use]
    pub fn new(all: Vec<Arc<dyn Connector>>) -> Self {
        let kinds = Kinds::new(all.iter().flat_map(|connector| connector.sections()).collect());
        Self { all, kinds }
    }

    /// The kinds of connections and sinks that the warehouse file may have.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The one of a kind that the configuration has.
    pub(crate) fn of(&self, name: &str, kind: &'static str) -> Result<&dyn Connector, OpenError> {
        let found = self.all.iter().find(|connector| connector.kind() == kind);
        found.map(Arc::as_ref).ok_or_else(|| OpenError::not_opened(name, kind))
    }
}

impl Context {
    /// The source behind a connection. Nothing is contacted yet.
    pub(crate) fn source(&self, connection: &Connection, config: &Config) -> Result<Arc<dyn ConnectedSource>, Reports> {
        let connector = self.connectors.of(connection.name(), connection.kind())?;
        Ok(connector.source(connection, &HostServices { context: self, config })?)
    }

    /// The sink. Nothing is contacted yet.
    pub(crate) fn sink(&self, sink: &SinkConfig, config: &Config) -> Result<Arc<dyn ConnectedSink>, Reports> {
        let connector = self.connectors.of(sink.name(), sink.kind())?;
        Ok(connector.sink(sink, &HostServices { context: self, config })?)
    }
}

/// The application as connectors see it.
struct HostServices<'a> {
    context: &'a Context,
    config: &'a Config,
}

impl Services for HostServices<'_> {
    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn environment(&self) -> &BTreeMap<String, String> {
        &self.context.settings.environment
    }

    fn application_name(&self) -> &'static str {
        APPLICATION_NAME
    }

    fn local(&self, setting: &SecretSetting) -> Result<Option<Secret>, OpenError> {
        self.context.local(setting)
    }

    fn credential(&self, setting: &SecretSetting) -> Result<Credential, OpenError> {
        self.context.credential(setting)
    }

    fn keytab(&self, setting: &SecretSetting) -> Result<KeytabPlace, OpenError> {
        self.context.keytab(setting)
    }

    /// One for all connections that go there.
    fn server_limit(&self, connection: &Connection) -> Option<ServerLimit> {
        let address = connection.address();
        let bound = usize::try_from(*self.config.servers.get(&address)?).unwrap_or(usize::MAX);
        let mut servers = self.context.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Some(servers.entry(address).or_insert_with(|| ServerLimit::new(bound)).clone())
    }
}

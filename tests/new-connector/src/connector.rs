//! A logbook server as a connector: from settings to a source, and the links of `host doctor`.

use std::sync::Arc;

use async_trait::async_trait;
use datakit_config::{Connection, SecretSetting, SectionKind};
use datakit_connect::connector::{ConnectedSource, Connector, OpenError, Outline, Services};
use datakit_connect::dataset::DatasetName;
use datakit_connect::permissions::Permissions;
use datakit_connect::probe::{Broken, LOGIN, SECRET, TCP, Walk};
use datakit_model::source::Source;
use datakit_model::{Failure, TableId};

use crate::protocol::Server;
use crate::settings::{KIND, LogbookSettings, NAME};
use crate::source::LogbookSource;

/// Logbook servers.
#[derive(Debug, Clone, Copy)]
pub struct Logbook;

impl Connector for Logbook {
    fn kind(&self) -> &'static str {
        NAME
    }

    fn sections(&self) -> Vec<SectionKind> {
        vec![KIND]
    }

    fn page(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn source(&self, connection: &Connection, services: &dyn Services) -> Result<Arc<dyn ConnectedSource>, OpenError> {
        let LogbookSettings { host, port, password } = settings_of(connection)?.clone();
        let credential = password.as_ref().map(|setting| services.credential(setting)).transpose()?;
        let source = LogbookSource { server: Arc::new(Server { host, port, password: credential }) };
        Ok(Arc::new(Connected { password, source }))
    }

    fn source_outline(&self, connection: &Connection, _: Option<&dyn ConnectedSource>) -> Outline {
        let outline = |settings: &LogbookSettings| Outline {
            target: format!("logbook at {}:{}", settings.host, settings.port),
            links: settings.password.iter().map(|_| SECRET).chain([TCP, LOGIN]).collect(),
        };
        settings_of(connection).map_or_else(|_| Outline::default(), outline)
    }
}

fn settings_of(connection: &Connection) -> Result<&LogbookSettings, OpenError> {
    connection.settings().ok_or_else(|| OpenError::not_opened(connection.name(), connection.kind()))
}

/// A source with the place of its password.
struct Connected {
    password: Option<SecretSetting>,
    source: LogbookSource,
}

#[async_trait]
impl ConnectedSource for Connected {
    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.source.clone())
    }

    fn dataset(&self, table: &TableId) -> DatasetName {
        DatasetName::in_database("logbook", &self.source.server.address(), "logbook", table)
    }

    async fn reach(&self) -> Result<(), Failure> {
        Ok(self.source.server.reach().await?)
    }

    async fn permissions(&self) -> Result<Permissions, Failure> {
        Ok(self.source.permissions().await?)
    }

    async fn walk(&self, walk: &mut dyn Walk) -> Result<(), Broken> {
        let server = &self.source.server;
        let address = server.address();
        if let (Some(setting), Some(password)) = (&self.password, &server.password) {
            walk.secret(setting, password.is_there()).await?;
        }
        walk.link(TCP, &format!("TCP to {address}"), server.reach(), |()| address.clone()).await?;
        let detail = |_: &_| "the server accepts it".to_owned();
        walk.link(LOGIN, &format!("the login at {address}"), server.log_in(), detail).await.map(drop)
    }
}

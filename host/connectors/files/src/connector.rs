//! Files as a connector: from settings to a source, and the link of `host doctor`.

use std::sync::Arc;

use async_trait::async_trait;
use datakit_config::{Connection, SectionKind};
use datakit_connect::connector::{ConnectedSource, Connector, OpenError, Outline, Services};
use datakit_connect::dataset::DatasetName;
use datakit_connect::permissions::Permissions;
use datakit_connect::probe::{Broken, Walk};
use datakit_connect::store;
use datakit_model::source::Source;
use datakit_model::{Failure, TableId};

use crate::config::{FilesConfig, Root};
use crate::settings::{self, FilesSettings};
use crate::{FilesSource, TableRules};

/// The link of the folder or the prefix of a store.
const FILES: &str = "files";

/// Files of folders and object stores.
#[derive(Debug, Clone, Copy)]
pub struct Files;

impl Connector for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn sections(&self) -> Vec<SectionKind> {
        vec![settings::KIND]
    }

    fn page(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn source(&self, connection: &Connection, services: &dyn Services) -> Result<Arc<dyn ConnectedSource>, OpenError> {
        let settings = settings_of(connection)?;
        let rules = settings.tables.iter().map(|(name, patterns)| (name.as_str(), &**patterns));
        let config = FilesConfig {
            store: store::options(settings.store.as_ref(), services)?,
            tables: TableRules::new(rules).map_err(Failure::from)?,
            read: services.limits().read.clone(),
            max_files: settings.max_files,
            max_line_bytes: usize::try_from(settings.max_line_bytes).unwrap_or(usize::MAX),
            max_expansion: settings.max_expansion,
            ..FilesConfig::new(Root::parse(&settings.root).map_err(Failure::from)?)
        };
        let source = Arc::new(FilesSource::new(config).map_err(Failure::from)?);
        Ok(Arc::new(Connected { root: settings.root.to_string(), source }))
    }

    fn source_outline(&self, connection: &Connection, _: Option<&dyn ConnectedSource>) -> Outline {
        let outline =
            |settings: &FilesSettings| Outline { target: format!("files of {}", settings.root), links: vec![FILES] };
        settings_of(connection).map_or_else(|_| Outline::default(), outline)
    }
}

fn settings_of(connection: &Connection) -> Result<&FilesSettings, OpenError> {
    connection.settings().ok_or_else(|| OpenError::not_opened(connection.name(), connection.kind()))
}

/// A source with its root as it was written.
struct Connected {
    root: String,
    source: Arc<FilesSource>,
}

#[async_trait]
impl ConnectedSource for Connected {
    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    /// A table is a set of files below the root: it is named like a folder there.
    fn dataset(&self, table: &TableId) -> DatasetName {
        DatasetName::in_folder(&format!("{}/{}", self.root.trim_end_matches('/'), table.name))
    }

    async fn reach(&self) -> Result<(), Failure> {
        Ok(self.source.reach().await?)
    }

    async fn permissions(&self) -> Result<Permissions, Failure> {
        Ok(self.source.permissions().await?)
    }

    async fn walk(&self, walk: &mut dyn Walk) -> Result<(), Broken> {
        let waits_for = format!("files of {}", self.root);
        walk.link(FILES, &waits_for, self.source.reach(), |()| "they can be listed".to_owned()).await
    }
}

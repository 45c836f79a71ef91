//! Delta as a connector: from settings to a sink, and the links of `host doctor`.

use std::sync::Arc;

use async_trait::async_trait;
use datakit_config::{SectionKind, SinkConfig};
use datakit_connect::connector::{ConnectedSink, Connector, OpenError, Outline, Services};
use datakit_connect::dataset::DatasetName;
use datakit_connect::probe::{Broken, Walk};
use datakit_connect::store;
use datakit_model::sink::Sink;
use datakit_model::{Failure, TableId};

use crate::config::DeltaConfig;
use crate::settings::{self, DeltaSettings};
use crate::sink::DeltaSink;

/// The link of an object store.
const STORE: &str = "store";
/// The link of writing.
const WRITABLE: &str = "writable";
/// The link of conditional writes of an object store, where objects may be written.
const CONDITIONS: &str = "conditions";

/// Delta tables.
#[derive(Debug, Clone, Copy)]
pub struct Delta;

impl Connector for Delta {
    fn kind(&self) -> &'static str {
        "delta"
    }

    fn sections(&self) -> Vec<SectionKind> {
        vec![settings::KIND]
    }

    fn page(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn sink(&self, sink: &SinkConfig, services: &dyn Services) -> Result<Arc<dyn ConnectedSink>, OpenError> {
        let settings = settings_of(sink)?;
        let limits = &services.limits().run;
        let config = DeltaConfig {
            store: store::options(settings.store.as_ref(), services)?,
            max_encoding_bytes: limits.max_encoding_bytes,
            max_merge_bytes: limits.max_merge_bytes,
            max_open_files: usize::try_from(limits.max_open_files).unwrap_or(usize::MAX),
            ..DeltaConfig::new(settings.uri.to_string())
        };
        Ok(Arc::new(Connected(Arc::new(DeltaSink::new(config).map_err(Failure::from)?))))
    }

    fn sink_outline(&self, sink: &SinkConfig, _: Option<&dyn ConnectedSink>, write_probe: bool) -> Outline {
        let Ok(settings) = settings_of(sink) else { return Outline::default() };
        let links = match (is_in_store(&settings.uri), write_probe) {
            (true, true) => vec![STORE, WRITABLE, CONDITIONS],
            (true, false) => vec![STORE, WRITABLE],
            (false, _) => vec![WRITABLE],
        };
        Outline { target: format!("Delta tables at {}", settings.uri), links }
    }
}

fn settings_of(sink: &SinkConfig) -> Result<&DeltaSettings, OpenError> {
    sink.settings().ok_or_else(|| OpenError::not_opened(sink.name(), sink.kind()))
}

/// `file://` is a folder of this machine.
fn is_in_store(uri: &str) -> bool {
    uri.split_once("://").is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("file"))
}

struct Connected(Arc<DeltaSink>);

#[async_trait]
impl ConnectedSink for Connected {
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.0) as Arc<dyn Sink>
    }

    fn dataset(&self, source_system: &str, table: &TableId) -> Result<DatasetName, Failure> {
        Ok(DatasetName::in_folder(&self.0.locate(source_system, table)?))
    }

    async fn walk(&self, walk: &mut dyn Walk, write_probe: bool) -> Result<(), Broken> {
        let Self(sink) = self;
        if sink.is_in_store() {
            let detail = |(): &()| "answers, and may be listed".to_owned();
            walk.link(STORE, "the object store", sink.reach(), detail).await?;
        }
        walk.link(WRITABLE, "a write that is never completed", sink.probe(), |()| sink.place()).await?;
        if write_probe && sink.is_in_store() {
            let detail = |(): &()| "the second of two writes of one object was refused".to_owned();
            walk.link(CONDITIONS, "two conditional writes", sink.probe_conditions(), detail).await?;
        }
        Ok(())
    }
}

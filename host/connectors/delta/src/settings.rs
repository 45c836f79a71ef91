//! Settings of a folder of Delta tables.

use schemars::JsonSchema;
use serde::Deserialize;

use datakit_config::{SecretSetting, SectionKind, SectionVariables, SettingUri, Settings, SinkSettings, StoreSettings};

/// The kind, as it is registered.
pub(crate) const KIND: SectionKind = SectionKind::sink::<DeltaSettings>("delta", "Delta")
    .with_variables(SectionVariables { prefix: "BRONZE", makes: "uri", name: "bronze" });

/// A folder of Delta tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct DeltaSettings {
    /// The folder all tables are under: a path relative to this file, or `s3://BUCKET/PATH`,
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, `az://CONTAINER/PATH`. Object stores are reached and logged
    /// in to by the variables of their own tools, `AWS_…` and `AZURE_…`, or by `store`.
    #[schemars(extend("x-hint" = "write `uri = \"./bronze\"`", "x-env" = ["_URI", "the folder of all tables"]))]
    pub uri: SettingUri,
    /// How the object store is reached and logged in to: settings by the names of these variables. With it those of the
    /// environment are not used at all.
    #[schemars(extend("x-store" = "uri"))]
    pub store: Option<StoreSettings>,
}

impl Settings for DeltaSettings {}

impl SinkSettings for DeltaSettings {
    fn secrets(&self) -> Vec<&SecretSetting> {
        self.store.iter().flat_map(StoreSettings::secrets).collect()
    }
}

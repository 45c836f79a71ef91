//! Settings of files: a folder or a prefix of an object store, and which of its files are which table.

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use datakit_config::{ConnectionSettings, SecretSetting, SectionKind, SettingUri, Settings, StoreSettings};

/// The kind, as it is registered.
pub(crate) const KIND: SectionKind = SectionKind::connection::<FilesSettings>("files", "Files");

/// Files in a folder or an object store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct FilesSettings {
    /// The folder all files are below, relative to this file, or `s3://BUCKET/PATH`,
    /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, `az://CONTAINER/PATH`. Nothing outside of it is read.
    #[schemars(extend("x-hint" = "write `root = \"./landing\"` or `root = \"s3://BUCKET/PATH\"`"))]
    pub root: SettingUri,
    /// How the object store of `root` is reached and logged in to: settings by the names of the variables of its own tools,
    /// `AWS_…` and `AZURE_…`. With it those of the environment are not used at all.
    #[schemars(extend("x-store" = "root"))]
    pub store: Option<StoreSettings>,
    /// Patterns of paths below the root, by the name of the table they are of (`NAME` or `SCHEMA.NAME`): `*`, `?`, `**` for
    /// any folders, `!` to take away. Without it each folder directly below the root is a table, and each file there.
    #[serde(default)]
    pub tables: BTreeMap<String, PathPatterns>,
    /// Files below the root, at most.
    #[serde(default = "default_max_files")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_files: u64,
    /// A longer record is a bad row, in bytes.
    #[serde(default = "default_max_line_bytes")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_line_bytes: u64,
    /// The maximum decompression ratio of a file that decompresses to more than 64 MiB.
    #[serde(default = "default_max_expansion")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_expansion: u64,
}

fn default_max_files() -> u64 {
    100_000
}

fn default_max_line_bytes() -> u64 {
    4 << 20
}

fn default_max_expansion() -> u64 {
    1_000
}

/// Patterns of paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-expected" = "an array of patterns of paths"))]
pub struct PathPatterns(Vec<String>);

impl Deref for PathPatterns {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl Settings for FilesSettings {}

impl ConnectionSettings for FilesSettings {
    fn address(&self) -> Option<String> {
        None
    }

    fn max_connections(&self) -> Option<u64> {
        None
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        self.store.iter().flat_map(StoreSettings::secrets).collect()
    }
}

//! Object stores: S3 (`s3://`) and Azure (`abfss://`, `az://`), by `object_store`.
//!
//! A commit is one conditional write of the log's next file (`If-None-Match: *`), which both kinds of store decide
//! atomically: no lock table beside the store is needed, and of two writers at once one wins (docs/decisions/0064).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datakit_model::Secret;
use deltalake::DeltaResult;
use deltalake::logstore::{
    LogStore, LogStoreFactory, ObjectStoreRef, StorageConfig, default_logstore, logstore_factories,
};
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use url::Url;

/// Schemes of object stores.
const SCHEMES: [&str; 3] = ["s3", "abfss", "az"];

/// How to reach and log in to an object store: the variables that its own tools read, `AWS_…` and `AZURE_…`.
#[derive(Clone, Default)]
pub struct StoreOptions(Vec<(String, Secret)>);

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl FromIterator<(String, Secret)> for StoreOptions {
    /// Others than those of object stores are left out.
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(variables: I) -> Self {
        let of_store = |name: &str| ["AWS_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
        Self(variables.into_iter().filter(|(name, _)| of_store(name)).collect())
    }
}

/// Whether tables can be kept under a URL of this scheme.
pub(crate) fn is_known(scheme: &str) -> bool {
    SCHEMES.contains(&scheme)
}

/// A client of the bucket or container that the URL names. Contacts nothing.
pub(crate) fn open(url: &Url, options: &StoreOptions) -> object_store::Result<ObjectStoreRef> {
    open_with(url, options, RetryConfig::default())
}

/// The same, to find out whether it answers: without minutes of attempts.
pub(crate) fn open_impatiently(url: &Url, options: &StoreOptions) -> object_store::Result<ObjectStoreRef> {
    let retry = RetryConfig { max_retries: 1, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() };
    open_with(url, options, retry)
}

fn open_with(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<ObjectStoreRef> {
    register();
    if url.scheme() == "s3" { s3(url, options, retry) } else { azure(url, options, retry) }
}

fn s3(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<ObjectStoreRef> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &options.0 {
        // Variables of other tools of the vendor are no settings of a store.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    let builder = builder.with_url(url.as_str()).with_retry(retry).with_conditional_put(S3ConditionalPut::ETagMatch);
    Ok(Arc::new(builder.build()?))
}

fn azure(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<ObjectStoreRef> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &options.0 {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    Ok(Arc::new(builder.with_url(url.as_str()).with_retry(retry).build()?))
}

/// Tells the Delta library that logs under these schemes are written by conditional writes.
fn register() {
    static REGISTERED: OnceLock<()> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        for scheme in SCHEMES {
            if let Ok(url) = Url::parse(&format!("{scheme}://")) {
                logstore_factories().insert(url, Arc::new(ConditionalWrites));
            }
        }
    });
}

struct ConditionalWrites;

impl LogStoreFactory for ConditionalWrites {
    fn with_options(
        &self,
        prefixed_store: ObjectStoreRef,
        root_store: ObjectStoreRef,
        location: &Url,
        options: &StorageConfig,
    ) -> DeltaResult<Arc<dyn LogStore>> {
        Ok(default_logstore(prefixed_store, root_store, location, options))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_variables_and_no_values() {
        let variables =
            [("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AZURE_STORAGE_ACCOUNT_KEY", "hunter2"), ("HOME", "/root")];
        let options: StoreOptions =
            variables.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned()))).collect();
        assert_eq!(format!("{options:?}"), r#"{"AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"}"#);
    }
}

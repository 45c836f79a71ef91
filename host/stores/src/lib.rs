//! Object stores: S3 (`s3://`) and Azure (`abfss://`, `az://`), by `object_store`.
//!
//! Where both sides of a run meet them: files to be read, Delta tables to be written. The settings are the variables that
//! the stores' own tools read, so that a machine or pod that reaches a store needs nothing more.

#[cfg(feature = "testing")]
pub mod testing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datakit_model::Secret;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{ObjectStore, RetryConfig};
use url::Url;

/// Schemes of object stores.
pub const SCHEMES: [&str; 3] = ["s3", "abfss", "az"];

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

/// Whether an object store is behind URLs of this scheme.
#[must_use]
pub fn is_known(scheme: &str) -> bool {
    SCHEMES.contains(&scheme)
}

/// A client of the bucket or container that the URL names; paths are those of the whole bucket. Contacts nothing.
///
/// # Errors
/// A URL that names no bucket, or settings that contradict each other.
pub fn open(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    open_with(url, options, RetryConfig::default())
}

/// The same, to find out whether it answers: without minutes of attempts.
///
/// # Errors
/// As [`open`].
pub fn open_impatiently(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: 1, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() };
    open_with(url, options, retry)
}

fn open_with(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    if url.scheme() == "s3" { s3(url, options, retry) } else { azure(url, options, retry) }
}

fn s3(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
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

fn azure(url: &Url, options: &StoreOptions, retry: RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &options.0 {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    Ok(Arc::new(builder.with_url(url.as_str()).with_retry(retry).build()?))
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

//! Object stores: S3 (`s3://`) and Azure (`abfss://`, `az://`), by `object_store`.
//!
//! Where both sides of a run meet them: files to be read, Delta tables to be written. The settings are the variables that
//! the stores' own tools read, so that a machine or pod that reaches a store needs nothing more; or, where one store needs
//! other ones, settings of the same names.

mod lazy;
mod listing;
#[cfg(feature = "testing")]
pub mod testing;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datakit_model::{Credential, Failure, Secret};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{ObjectStore, RetryConfig};
use url::Url;

use self::lazy::LazyStore;
use self::listing::Connector;
pub use self::listing::OddKeys;

/// Schemes of object stores.
pub const SCHEMES: [&str; 3] = ["s3", "abfss", "az"];

/// How to reach and log in to an object store: the variables that its own tools read, `AWS_…` and `AZURE_…`.
#[derive(Clone, Default)]
pub struct StoreOptions {
    local: Vec<(String, Secret)>,
    in_vaults: Vec<(String, Credential)>,
}

impl StoreOptions {
    /// With a setting that is fetched when the store is first used, and kept from then on.
    #[must_use]
    pub fn with_credential(mut self, name: impl Into<String>, credential: Credential) -> Self {
        self.in_vaults.push((name.into(), credential));
        self
    }

    /// All settings, fetched. May block.
    fn fetched(&self) -> Result<Self, Failure> {
        let mut local = self.local.clone();
        for (name, credential) in &self.in_vaults {
            local.push((name.clone(), Secret::clone(credential.get()?.as_ref())));
        }
        Ok(Self { local, in_vaults: Vec::new() })
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.local.iter().map(|(name, _)| name);
        f.debug_set().entries(names.chain(self.in_vaults.iter().map(|(name, _)| name))).finish()
    }
}

impl FromIterator<(String, Secret)> for StoreOptions {
    /// Others than those of object stores are left out.
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(variables: I) -> Self {
        let of_store = |name: &str| ["AWS_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix));
        let local = variables.into_iter().filter(|(name, _)| of_store(name)).collect();
        Self { local, in_vaults: Vec::new() }
    }
}

/// Whether a setting of this name means something to a store.
#[must_use]
pub fn is_setting(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.split_once('_') {
        Some(("aws", _)) => name.parse::<AmazonS3ConfigKey>().is_ok(),
        Some(("azure", _)) => name.parse::<AzureConfigKey>().is_ok(),
        _ => false,
    }
}

/// Why a setting could not be fetched, below what libraries have put around it; none for an error of the store.
#[must_use]
pub fn failure_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Failure> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Some(failure);
        }
        next = error.source();
    }
    None
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
    open_with(url, options, Client::default())
}

/// The same, whose listings leave out keys that no path names, and note them.
///
/// # Errors
/// As [`open`].
pub fn open_for_listing(url: &Url, options: &StoreOptions, odd: OddKeys) -> object_store::Result<Arc<dyn ObjectStore>> {
    open_with(url, options, Client { odd: Some(odd), ..Client::default() })
}

/// How a client works.
#[derive(Debug, Clone, Default)]
struct Client {
    retry: RetryConfig,
    odd: Option<OddKeys>,
}

/// The same, to find out whether it answers: without minutes of attempts.
///
/// # Errors
/// As [`open`].
pub fn open_with_short_timeout(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: 1, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() };
    open_with(url, options, Client { retry, odd: None })
}

fn open_with(url: &Url, options: &StoreOptions, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
    if !options.in_vaults.is_empty() {
        return Ok(Arc::new(LazyStore::new(url, options, client)));
    }
    if url.scheme() == "s3" { s3(url, options, client) } else { azure(url, options, client) }
}

fn s3(url: &Url, options: &StoreOptions, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in &options.local {
        // Variables of other tools of the vendor are no settings of a store.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    let mut builder = builder.with_url(url.as_str()).with_retry(client.retry);
    builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(odd) = client.odd {
        builder = builder.with_http_connector(Connector(odd));
    }
    Ok(Arc::new(builder.build()?))
}

fn azure(url: &Url, options: &StoreOptions, client: Client) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in &options.local {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AzureConfigKey>() {
            builder = builder.with_config(key, value.expose());
        }
    }
    let mut builder = builder.with_url(url.as_str()).with_retry(client.retry);
    if let Some(odd) = client.odd {
        builder = builder.with_http_connector(Connector(odd));
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_names_variables_and_no_values() {
        let variables =
            [("AWS_SECRET_ACCESS_KEY", "Pl4nted"), ("AZURE_STORAGE_ACCOUNT_KEY", "Pl4nted"), ("HOME", "/root")];
        let options: StoreOptions =
            variables.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value.to_owned()))).collect();
        let options = options.with_credential("AWS_SESSION_TOKEN", Secret::new("Pl4nted".into()).into());
        let shown = r#"{"AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AWS_SESSION_TOKEN"}"#;
        assert_eq!(format!("{options:?}"), shown);
        let url = Url::parse("s3://bucket/x").unwrap();
        assert!(!format!("{:?}", open(&url, &options).unwrap()).contains("Pl4nted"));
    }

    #[test]
    fn settings_are_known_by_their_variables() {
        for known in ["AWS_ENDPOINT_URL", "AWS_PROXY_URL", "AZURE_STORAGE_SAS_TOKEN"] {
            assert!(is_setting(known), "{known}");
        }
        for unknown in ["AWS_PROFILE", "AZURE_KEY", "AWS", "ENDPOINT_URL", ""] {
            assert!(!is_setting(unknown), "{unknown}");
        }
    }
}

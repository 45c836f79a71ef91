//! From references to secrets to secrets that can be had, and had again.
//!
//! What is local, variables and files, is read when a source or sink is made: one that is missing should not wait for a
//! download. A vault is asked when the first login needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use datakit_config::{Config, Ingest, ResolvedSecret, SecretSetting};
use datakit_connect::connector::OpenError;
use datakit_kerberos::{KeytabPlace, MemoryKeytab};
use datakit_model::{Credential, Failure, HashKeys, Secret};
use datakit_secrets::{Keytab, Opening};

use crate::context::Context;

/// The vaults of this process.
#[derive(Debug, Default)]
pub(crate) struct Vaults {
    opened: datakit_secrets::Vaults,
    /// What was said of the secrets that open them: each is said once.
    warnings: Mutex<BTreeSet<String>>,
}

impl Vaults {
    fn is_new(&self, warning: &str) -> bool {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.to_owned())
    }
}

impl Context {
    /// A local secret: of a variable or a file.
    pub(crate) fn local(&self, setting: &SecretSetting) -> Result<Option<Secret>, OpenError> {
        self.local_if(setting, |_| true)
    }

    /// The same, with its warning only if it is to be said.
    fn local_if(&self, setting: &SecretSetting, is_said: impl Fn(&str) -> bool) -> Result<Option<Secret>, OpenError> {
        let resolved = setting.resolve(&self.settings.environment)?;
        let Some(ResolvedSecret { secret, warning }) = resolved else { return Ok(None) };
        if let Some(warning) = warning.filter(|warning| is_said(warning)) {
            self.warn(&warning);
        }
        Ok(Some(secret))
    }

    /// A password, and how it is fetched again when it is refused.
    pub(crate) fn credential(&self, setting: &SecretSetting) -> Result<Credential, OpenError> {
        let fetched = self.local(setting)?;
        Ok(setting.from.open(&self.opening(fetched, self.needs(setting)?))?)
    }

    /// The keys that the operator grants to an ingest, fetched: a missing one should not wait for a download.
    pub(crate) async fn keys(&self, config: &Config, ingest: &Ingest) -> Result<HashKeys, OpenError> {
        let mut keys = Vec::new();
        // Names were checked when the configuration was read.
        for (name, setting) in ingest.keys.iter().filter_map(|name| Some((name, config.keys.get(name)?))) {
            let secret = self.credential(setting)?.obtain().await?;
            keys.push((name.clone(), setting.key(secret)?));
        }
        Ok(keys.into_iter().collect())
    }

    /// Where a keytab is.
    pub(crate) fn keytab(&self, setting: &SecretSetting) -> Result<KeytabPlace, OpenError> {
        let memory = match setting.from.keytab(&self.opening(None, self.needs(setting)?))? {
            Keytab::File(file) => return Ok(KeytabPlace::File(file)),
            Keytab::Base64 { place } => {
                let secret = self.opening(self.local(setting)?, BTreeMap::new()).fetched()?;
                MemoryKeytab::from_base64(&place, &secret).map_err(Failure::from)?
            }
            Keytab::Vault { place, keytab } => MemoryKeytab::fetched(&format!("in {place}"), keytab),
        };
        Ok(KeytabPlace::Memory(Arc::new(memory)))
    }

    /// The secrets that open the vault of another.
    fn needs(&self, setting: &SecretSetting) -> Result<BTreeMap<&'static str, Credential>, OpenError> {
        let open = |need: &SecretSetting| -> Result<Credential, OpenError> {
            let fetched = self.local_if(need, |warning| self.vaults.is_new(warning))?;
            Ok(need.from.open(&self.opening(fetched, BTreeMap::new()))?)
        };
        setting.needs.iter().map(|(key, need)| Ok((*key, open(need)?))).collect()
    }

    fn opening(&self, fetched: Option<Secret>, needs: BTreeMap<&'static str, Credential>) -> Opening<'_> {
        Opening { environment: &self.settings.environment, vaults: &self.vaults.opened, fetched, needs }
    }
}

#[cfg(test)]
mod tests {
    use datakit_config::Overrides;
    use datakit_model::Diagnostic as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::connectors::Connectors;
    use crate::context::Settings;

    const WAREHOUSE: &str = r#"
[keys.pii]
secret = { env = "PII_KEY" }

[keys.other]
secret = { env = "NOT_SET" }

[sinks.out]
kind = "delta"
uri = "out"

[[ingest]]
datakit = "sqlserver-bronze@0.1.0"
roles = {}
sink = "out"
tables = ["dbo.*"]
keys = ["pii"]
"#;

    async fn keys(environment: &[(&str, &str)]) -> Result<HashKeys, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("warehouse.toml");
        std::fs::write(&file, WAREHOUSE).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = Settings { file: Some(file), environment, ..Settings::default() };
        let connectors = Connectors::new(datakit_connectors::all());
        let context = Context::new(settings, connectors, Arc::new(()), CancellationToken::new());
        let config = context.config(Overrides::default()).unwrap();
        context.keys(&config, &config.ingests[0]).await.map_err(|error| match error {
            OpenError::Config(error) => format!("{} {error}", error.code()),
            OpenError::Failure(failure) => format!("{} {failure}", failure.code()),
        })
    }

    #[tokio::test]
    async fn keys_of_an_ingest_are_fetched_and_no_others() {
        let found = keys(&[("PII_KEY", "Pl4nted-Pl4nted-Pl4nted-Pl4nted-")]).await.unwrap();
        assert_eq!(found.names().collect::<Vec<_>>(), ["pii"]);
        assert_eq!(found.get("pii").unwrap().expose(), b"Pl4nted-Pl4nted-Pl4nted-Pl4nted-");
        let short = keys(&[("PII_KEY", "Pl4nted")]).await.unwrap_err();
        assert_eq!(short, "DK-CFG-027 `keys.pii.secret`: a key has 32 to 1024 bytes, and this one has 7");
        assert!(keys(&[]).await.unwrap_err().starts_with("DK-CFG-010"));
    }
}

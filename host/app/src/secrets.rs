//! From references to secrets to secrets that can be had, and had again.
//!
//! What is at hand, variables and files, is read when a source or sink is made: one that is missing should not wait for a download.
//! A vault is asked when the first login needs it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datakit_config::{Delinea, DelineaLogin, ResolvedSecret, SecretRef, SecretSetting};
use datakit_kerberos::{KeytabPlace, MemoryKeytab};
use datakit_model::{Credential, Failure, Secret};
use datakit_secrets::{Client, ClientSettings, Login};

use crate::context::Context;
use crate::reports::Reports;

/// The vaults of this process: secrets of one vault share its token.
#[derive(Debug, Default)]
pub(crate) struct Vaults(Mutex<HashMap<VaultKey, Arc<Client>>>);

/// Who asks which vault.
#[derive(Debug, PartialEq, Eq, Hash)]
struct VaultKey {
    url: String,
    login: Login,
    client_id: String,
    client_secret: String,
    certificate_file: Option<PathBuf>,
}

impl Context {
    /// A secret that is at hand: of a variable or a file.
    pub(crate) fn local(&self, setting: &SecretSetting) -> Result<Option<Secret>, Reports> {
        let resolved = setting.resolve(&self.settings.environment).map_err(|error| Reports::from(vec![error]))?;
        let Some(ResolvedSecret { secret, warning }) = resolved else { return Ok(None) };
        if let Some(warning) = warning {
            self.warn(&warning);
        }
        Ok(Some(secret))
    }

    /// A password, and how it is fetched again when it is refused.
    pub(crate) fn credential(&self, setting: &SecretSetting) -> Result<Credential, Reports> {
        if let SecretRef::Delinea(delinea) = &setting.from {
            let (client, id, field) = (self.vault(delinea)?, delinea.secret_id, delinea.field.clone());
            return Ok(Credential::new(move || client.text(id, &field).map_err(Failure::from)));
        }
        let secret = self.local(setting)?.ok_or_else(|| Reports::from(nowhere()))?;
        if let SecretRef::Env(_) = &setting.from {
            // The environment of a process stays what it is.
            return Ok(Credential::from(secret));
        }
        let again = setting.clone();
        Ok(Credential::fetched(secret, move || match again.resolve(&BTreeMap::new()) {
            Ok(Some(resolved)) => Ok(resolved.secret),
            Ok(None) => Err(nowhere()),
            Err(error) => Err(Failure::from(error)),
        }))
    }

    /// Where a keytab is.
    pub(crate) fn keytab(&self, setting: &SecretSetting) -> Result<KeytabPlace, Reports> {
        let memory = match &setting.from {
            SecretRef::File(file) => return Ok(KeytabPlace::File(file.clone())),
            SecretRef::Env(variable) => {
                let secret = self.local(setting)?.ok_or_else(|| Reports::from(nowhere()))?;
                MemoryKeytab::from_base64(variable, &secret)?
            }
            SecretRef::Delinea(delinea) => {
                let (client, id, field) = (self.vault(delinea)?, delinea.secret_id, delinea.field.clone());
                let keytab = Credential::new(move || client.keytab(id, &field).map_err(Failure::from));
                MemoryKeytab::fetched(&format!("in {}", place(delinea)), keytab)
            }
        };
        Ok(KeytabPlace::Memory(Arc::new(memory)))
    }

    /// The client of a vault, which has asked nothing yet.
    fn vault(&self, delinea: &Delinea) -> Result<Arc<Client>, Reports> {
        let login = match delinea.login {
            DelineaLogin::ClientCredentials => Login::ClientCredentials,
            DelineaLogin::Password => Login::Password,
            DelineaLogin::Platform => Login::Platform,
        };
        let key = VaultKey {
            url: delinea.url.clone(),
            login,
            client_id: format!("{:?}", delinea.client_id.from),
            client_secret: format!("{:?}", delinea.client_secret.from),
            certificate_file: delinea.certificate_file.clone(),
        };
        if let Some(client) = self.vaults.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(Client::new(ClientSettings {
            url: delinea.url.clone(),
            login,
            client_id: self.local(&delinea.client_id)?.ok_or_else(|| Reports::from(nowhere()))?,
            client_secret: self.credential(&delinea.client_secret)?,
            certificate_file: delinea.certificate_file.clone(),
        }));
        self.vaults.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&client));
        Ok(client)
    }
}

/// Where a secret of Delinea is, in words.
pub(crate) fn place(delinea: &Delinea) -> String {
    format!("field `{}` of secret {} of {}", delinea.field, delinea.secret_id, delinea.url)
}

/// What opens a vault is never in one: the configuration was checked for it.
fn nowhere() -> Failure {
    Failure::new(
        "DK-SEC-090",
        datakit_model::Kind::Internal,
        datakit_model::Retry::Never,
        "a secret that should be at hand is in a vault",
    )
    .with_hint("this is a bug in the host: please report it with the log")
}

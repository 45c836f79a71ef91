//! What a reference is opened with, and what comes of it.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datakit_model::{Credential, Failure, Kind, Retry, Secret, SecretBytes};

/// What a reference is opened with. It has no `Debug`, because the environment may hold secrets.
pub struct Opening<'o> {
    /// The process's environment, collected once at its start.
    pub environment: &'o BTreeMap<String, String>,
    /// The vaults that were opened before.
    pub vaults: &'o Vaults,
    /// The secret itself, as [`Reference::fetch`](crate::Reference::fetch) returned it.
    pub fetched: Option<Secret>,
    /// The secrets that open the vault, by the keys they were read from.
    pub needs: BTreeMap<&'static str, Credential>,
}

impl Opening<'_> {
    /// The secret that was fetched.
    ///
    /// # Errors
    /// It was not: a bug.
    pub fn fetched(&self) -> Result<Secret, Failure> {
        self.fetched.clone().ok_or_else(not_local)
    }

    /// A secret that opens the vault.
    ///
    /// # Errors
    /// It was not opened: a bug.
    pub fn need(&self, key: &str) -> Result<Credential, Failure> {
        self.needs.get(key).cloned().ok_or_else(not_local)
    }
}

/// What opens a vault is never in one: the configuration was checked for it.
fn not_local() -> Failure {
    Failure::new("DK-SEC-090", Kind::Internal, Retry::Never, "a secret that should be local is in a vault")
        .with_hint("this is a bug in the host: please report it with the log")
}

/// Where a keytab is.
#[derive(Debug)]
pub enum Keytab {
    /// In a file of its own.
    File(PathBuf),
    /// In the text of a secret that needs no vault, as base64.
    Base64 {
        /// Its place, after "in".
        place: String,
    },
    /// In a vault.
    Vault {
        /// Its place, after "in".
        place: String,
        /// The keytab.
        keytab: Credential<SecretBytes>,
    },
}

/// The vaults of this process. References to one vault share its client, and so its login.
#[derive(Default)]
pub struct Vaults(Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>);

impl Vaults {
    /// The client of a vault, made when it is first asked for. `key` says which vault, and who asks it.
    pub(crate) fn client<C: Any + Send + Sync>(
        &self,
        key: String,
        make: impl FnOnce() -> Result<C, Failure>,
    ) -> Result<Arc<C>, Failure> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<C>(), key);
        if let Some(client) = clients.get(&key).and_then(|client| Arc::clone(client).downcast().ok()) {
            return Ok(client);
        }
        let client = Arc::new(make()?);
        clients.insert(key, Arc::<C>::clone(&client));
        Ok(client)
    }
}

impl fmt::Debug for Vaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vaults(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_one_vault_share_its_client() {
        let vaults = Vaults::default();
        let first = vaults.client("a".into(), || Ok(1_u8)).unwrap();
        assert!(Arc::ptr_eq(&first, &vaults.client("a".into(), || Ok(2_u8)).unwrap()));
        assert_eq!(*vaults.client("b".into(), || Ok(2_u8)).unwrap(), 2);
        assert_eq!(*vaults.client("a".into(), || Ok(3_u16)).unwrap(), 3);
        let failed = vaults.client::<u32>("a".into(), || Err(not_local()));
        assert_eq!(failed.unwrap_err().code(), "DK-SEC-090");
        assert!(vaults.client("a".into(), || Ok(4_u32)).is_ok(), "a failure is not kept");
    }
}

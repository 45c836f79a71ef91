//! How an object store is reached and logged in to.

use datakit_config::{StoreSettings, StoreValue};
use datakit_model::Secret;
use datakit_stores::StoreOptions;

use crate::connector::{OpenError, Services};

/// As its settings say and nothing else, or, without settings, as the environment says.
///
/// # Errors
/// A secret that cannot be read.
pub fn options(settings: Option<&StoreSettings>, services: &dyn Services) -> Result<StoreOptions, OpenError> {
    let plain = |name: &str, value: &str| (name.to_owned(), Secret::new(value.to_owned()));
    let Some(settings) = settings else {
        return Ok(services.environment().iter().map(|(name, value)| plain(name, value)).collect());
    };
    let (mut local, mut in_vaults) = (Vec::new(), Vec::new());
    for (name, value) in settings.iter() {
        match value {
            StoreValue::Plain(value) => local.push(plain(name, value)),
            StoreValue::Secret(setting) => match services.local(setting)? {
                Some(secret) => local.push((name.to_owned(), secret)),
                None => in_vaults.push((name, services.credential(setting)?)),
            },
        }
    }
    let local = local.into_iter().collect();
    Ok(in_vaults
        .into_iter()
        .fold(local, |options: StoreOptions, (name, credential)| options.with_credential(name, credential)))
}

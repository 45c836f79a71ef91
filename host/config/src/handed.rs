//! How what JSON cannot hold gets from the reader into a type of settings: JSON holds its number.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};

use crate::secret::SecretSetting;

thread_local! {
    /// What belongs to the value that is decoded now.
    static DECODED: RefCell<Kept> = RefCell::default();
}

#[derive(Debug, Default)]
struct Kept {
    secrets: Vec<SecretSetting>,
    /// A folder need not be text.
    folders: Vec<PathBuf>,
}

/// What was read and is handed over beside the JSON: references to secrets, and folders that relative paths start from.
#[derive(Debug, Default)]
pub(crate) struct Handed(RefCell<Kept>);

impl Handed {
    /// The number of a reference.
    pub(crate) fn keep_secret(&self, setting: SecretSetting) -> usize {
        let secrets = &mut self.0.borrow_mut().secrets;
        secrets.push(setting);
        secrets.len() - 1
    }

    /// The number of a folder.
    pub(crate) fn keep_folder(&self, folder: &Path) -> usize {
        let folders = &mut self.0.borrow_mut().folders;
        if let Some(known) = folders.iter().position(|known| known == folder) {
            return known;
        }
        folders.push(folder.to_owned());
        folders.len() - 1
    }

    /// A type of what was read.
    pub(crate) fn decode<T: DeserializeOwned>(&self, value: serde_json::Value) -> serde_json::Result<T> {
        DECODED.set(self.0.take());
        let decoded = serde_json::from_value(value);
        self.0.replace(DECODED.take());
        decoded
    }
}

impl<'de> Deserialize<'de> for SecretSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::deserialize(deserializer)?;
        let found = DECODED.with_borrow(|kept| kept.secrets.get(number).cloned());
        found.ok_or_else(|| D::Error::custom("a reference to a secret that was not read from a warehouse file"))
    }
}

/// The folder of a number.
pub(crate) fn folder<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let Some(number) = Option::<usize>::deserialize(deserializer)? else { return Ok(None) };
    let found = DECODED.with_borrow(|kept| kept.folders.get(number).cloned());
    found.map(Some).ok_or_else(|| D::Error::custom("a folder that was not read from a warehouse file"))
}

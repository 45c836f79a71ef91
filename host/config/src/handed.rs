//! How what JSON cannot hold gets from the reader into a type of settings.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};

use crate::secret::SecretSetting;

thread_local! {
    /// The references of the value that is decoded now.
    static DECODED: RefCell<Vec<SecretSetting>> = const { RefCell::new(Vec::new()) };
}

/// The references to secrets that were read. JSON holds their numbers.
#[derive(Debug, Default)]
pub(crate) struct Secrets(RefCell<Vec<SecretSetting>>);

impl Secrets {
    /// The number of a reference.
    pub(crate) fn keep(&self, setting: SecretSetting) -> u64 {
        let mut kept = self.0.borrow_mut();
        kept.push(setting);
        kept.len() as u64 - 1
    }

    /// A type of what was read.
    pub(crate) fn decode<T: DeserializeOwned>(&self, value: serde_json::Value) -> serde_json::Result<T> {
        DECODED.with_borrow_mut(|decoded| decoded.clone_from(&self.0.borrow()));
        let decoded = serde_json::from_value(value);
        DECODED.with_borrow_mut(Vec::clear);
        decoded
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = SecretSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference to a secret, read from a warehouse file")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<SecretSetting, E> {
        let index = usize::try_from(number).ok();
        let found = index.and_then(|index| DECODED.with_borrow(|decoded| decoded.get(index).cloned()));
        found.ok_or_else(|| E::custom("a reference to a secret that was not read"))
    }
}

impl<'de> Deserialize<'de> for SecretSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Number)
    }
}

//! The keys of keyed hashes: they stay in the host, and a datakit knows their names alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::secret::Secret;

/// The shortest key, in bytes: as long as the hash itself.
pub const MIN_KEY_BYTES: usize = 32;
/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// A key of HMAC-SHA-256: the bytes of a secret's text, taken as they are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HashKey(Arc<Secret>);

/// A secret that is too short or too long for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, and this one has {bytes}")]
pub struct KeyLength {
    /// Bytes of the secret.
    pub bytes: usize,
}

impl HashKey {
    /// The key that a secret holds.
    ///
    /// # Errors
    /// The secret has fewer than [`MIN_KEY_BYTES`] or more than [`MAX_KEY_BYTES`].
    pub fn new(secret: Secret) -> Result<Self, KeyLength> {
        Self::shared(Arc::new(secret))
    }

    /// The same, of a secret that others hold as well.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn shared(secret: Arc<Secret>) -> Result<Self, KeyLength> {
        let bytes = secret.expose().len();
        if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes) { Ok(Self(secret)) } else { Err(KeyLength { bytes }) }
    }

    /// The bytes, for the hash and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

/// The keys that the operator granted to a datakit, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HashKeys(Arc<BTreeMap<String, HashKey>>);

impl HashKeys {
    /// The key of this name; none: it is not granted.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HashKey> {
        self.0.get(name)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, HashKey)> for HashKeys {
    fn from_iter<I: IntoIterator<Item = (String, HashKey)>>(keys: I) -> Self {
        Self(Arc::new(keys.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: usize) -> Result<HashKey, KeyLength> {
        HashKey::new(Secret::new("k".repeat(bytes)))
    }

    #[test]
    fn keys_outside_of_the_bounds_are_refused() {
        assert!(key(MIN_KEY_BYTES).is_ok());
        assert!(key(MAX_KEY_BYTES).is_ok());
        let short = key(31).unwrap_err();
        assert_eq!(short.to_string(), "a key has 32 to 1024 bytes, and this one has 31");
        assert_eq!(key(1025).unwrap_err(), KeyLength { bytes: 1025 });
    }

    #[test]
    fn no_formatting_shows_a_key() {
        let keys = HashKeys::from_iter([("pii".to_owned(), key(32).unwrap())]);
        assert!(!format!("{keys:?}").contains("kkk"));
        assert_eq!(keys.names().collect::<Vec<_>>(), ["pii"]);
        assert_eq!(keys.get("pii").unwrap().expose(), "k".repeat(32).as_bytes());
        assert!(keys.get("other").is_none());
    }
}

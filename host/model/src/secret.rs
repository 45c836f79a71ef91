//! The types a password or a key may live in.

use std::fmt;

use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

/// A password, token or key: wiped when dropped, and hidden by `Debug` and `Display`.
///
/// It implements no `Serialize`, so that it cannot reach a file, a log or a summary by accident.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the text over. The given `String`'s memory becomes the secret's, or is wiped where it has room to spare.
    #[must_use]
    pub fn new(mut text: String) -> Self {
        if text.len() == text.capacity() {
            return Self(SecretString::from(text));
        }
        let fitting = SecretString::from(text.as_str());
        text.zeroize();
        Self(fitting)
    }

    /// The text itself, for the call that hands it to a server and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The same for what is not text: a keytab, the session keys of a ticket cache.
#[derive(Clone)]
pub struct SecretBytes(SecretSlice<u8>);

impl SecretBytes {
    /// Takes the bytes over. The given memory becomes the secret's, or is wiped where it has room to spare.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(SecretSlice::from(bytes));
        }
        let fitting = SecretSlice::from(bytes.as_slice().to_vec());
        bytes.zeroize();
        Self(fitting)
    }

    /// The bytes themselves, for the library that needs them and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_formatting_shows_the_text() {
        let secret = Secret::new("Pl4nted".into());
        assert_eq!(format!("{secret} {secret:?} {secret:#?}"), "*** Secret(***) Secret(***)");
        assert_eq!(secret.expose(), "Pl4nted");
        let secret = SecretBytes::new(b"Pl4nted".to_vec());
        assert_eq!(format!("{secret:?} {secret:#?}"), "SecretBytes(***) SecretBytes(***)");
        assert_eq!(secret.expose(), b"Pl4nted");
    }

    #[test]
    fn room_to_spare_changes_nothing() {
        let mut text = String::with_capacity(100);
        text.push_str("Pl4nted");
        assert_eq!(Secret::new(text).expose(), "Pl4nted");
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"Pl4nted");
        assert_eq!(SecretBytes::new(bytes).expose(), b"Pl4nted");
    }
}

//! How a kind reads its settings. The configuration implements it, and so reports every error with its place.

use std::path::PathBuf;

use crate::kind::SecretRef;

/// A key, and another way to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The other way: a hyphen for the underscore.
    pub alias: Option<&'static str>,
}

impl Key {
    /// A key with one way to write it.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, alias: None }
    }

    /// A key with two.
    #[must_use]
    pub const fn or(name: &'static str, alias: &'static str) -> Self {
        Self { name, alias: Some(alias) }
    }
}

/// The setting is invalid, and that was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported;

/// The settings of one table. An invalid one is reported, and reading goes on: every method then returns none.
pub trait Fields {
    /// A text.
    fn text(&mut self, key: Key) -> Option<String>;

    /// A text that must be there and not be blank; `hint` says what to write.
    fn required_text(&mut self, key: Key, hint: &'static str) -> Option<String>;

    /// A path; a relative one starts from the folder of the file it stands in.
    fn path(&mut self, key: Key) -> Option<PathBuf>;

    /// An integer that must be there, within its bounds.
    fn required_integer(&mut self, key: Key, minimum: u64, maximum: u64, hint: &'static str) -> Option<u64>;

    /// One of a few words, by its index.
    fn word(&mut self, key: Key, words: &[&'static str]) -> Option<usize>;

    /// A secret that opens the vault, so it cannot be in a vault itself. Without the key: `default`, if there is one.
    ///
    /// When the reference is opened, [`Opening::need`](crate::Opening::need) has it by `key.name`.
    ///
    /// # Errors
    /// The reference is invalid.
    fn secret(&mut self, key: Key, default: Option<SecretRef>) -> Result<Option<SecretRef>, Reported>;

    /// Reports a key that must be there and is not.
    fn missing(&mut self, key: Key, hint: &'static str);

    /// Reports a value that names no server; `problem` goes on after the key.
    fn refuse(&mut self, key: Key, problem: &'static str, hint: &'static str);

    /// Reads a table within, if the key is there.
    fn table(&mut self, key: &'static str, read: &mut dyn FnMut(&mut dyn Fields));
}

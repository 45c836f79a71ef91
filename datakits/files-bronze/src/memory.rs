//! What a table remembers with its rows: the columns of its first load, and which files it holds.
//!
//! It is the watermark, so that it commits with the rows of those files or not at all. A file takes 12 bytes: the start of
//! the SHA-256 of its path and of its version. Of a million files two have the same start of the path once in ten billion times.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datakit_sdk::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::errors;
use crate::listing::SourceFile;
use crate::shape::Columns;

/// The form of the text.
const FORM: u32 = 1;
const PATH_BYTES: usize = 9;
const VERSION_BYTES: usize = 3;

type PathKey = [u8; PATH_BYTES];
type VersionKey = [u8; VERSION_BYTES];

/// What a table holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// The columns of the files, as they were first loaded.
    pub columns: Columns,
    files: BTreeMap<PathKey, VersionKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    form: u32,
    columns: Columns,
    /// 12 bytes a file, as base64.
    files: String,
}

/// Whether a file has been loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// It has not.
    No,
    /// It has, as it is.
    Yes,
    /// It has, with another content.
    Changed,
}

impl Memory {
    /// Reads what the last commit left.
    ///
    /// # Errors
    /// A text that no version of this datakit has written.
    pub fn parse(watermark: &str) -> Result<Self, Error> {
        let strange = |why: String| {
            Error::data(errors::WATERMARK, format!("what the table remembers of its files cannot be read: {why}"))
                .with_hint("it was loaded by something else, or a later version: use another table, or that version")
        };
        let text: Text = serde_json::from_str(watermark).map_err(|error| strange(error.to_string()))?;
        if text.form != FORM {
            return Err(strange(format!("its form is {}", text.form)));
        }
        let bytes = STANDARD.decode(&text.files).map_err(|error| strange(error.to_string()))?;
        let entries = bytes.chunks(PATH_BYTES + VERSION_BYTES).map(|entry| {
            let (path, version) = entry.split_at_checked(PATH_BYTES)?;
            Some((path.try_into().ok()?, version.try_into().ok()?))
        });
        let files: Option<BTreeMap<PathKey, VersionKey>> = entries.collect();
        Ok(Self { columns: text.columns, files: files.ok_or_else(|| strange("a file is cut off".into()))? })
    }

    /// The text that the next commit leaves.
    ///
    /// # Errors
    /// None that can happen: all of it has a JSON form.
    pub fn text(&self) -> Result<String, Error> {
        let bytes: Vec<u8> =
            self.files.iter().flat_map(|(path, version)| path.iter().chain(version)).copied().collect();
        let text = Text { form: FORM, columns: self.columns.clone(), files: STANDARD.encode(bytes) };
        serde_json::to_string(&text).map_err(|error| Error::datakit(errors::WATERMARK, error.to_string()))
    }

    /// Whether a file is among those loaded.
    #[must_use]
    pub fn has(&self, file: &SourceFile) -> Loaded {
        match self.files.get(&path_key(file)) {
            None => Loaded::No,
            Some(version) if *version == version_key(file) => Loaded::Yes,
            Some(_) => Loaded::Changed,
        }
    }

    /// From now on it is.
    pub fn add(&mut self, file: &SourceFile) {
        self.files.insert(path_key(file), version_key(file));
    }

    /// Forgets all files but these.
    pub fn keep_only(&mut self, files: &[SourceFile]) {
        let mut kept = BTreeMap::new();
        for key in files.iter().map(path_key) {
            if let Some(version) = self.files.get(&key) {
                kept.insert(key, *version);
            }
        }
        self.files = kept;
    }
}

fn path_key(file: &SourceFile) -> PathKey {
    start(&file.path)
}

fn version_key(file: &SourceFile) -> VersionKey {
    start(&file.version)
}

fn start<const N: usize>(text: &str) -> [u8; N] {
    let digest = Sha256::digest(text.as_bytes());
    let mut start = [0; N];
    start.copy_from_slice(&digest[..N]);
    start
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, version: &str) -> SourceFile {
        SourceFile { path: path.into(), size: 1, modified_micros: 0, version: version.into() }
    }

    #[test]
    fn files_are_remembered_by_path_and_version() {
        let mut memory = Memory::default();
        memory.add(&file("a", "1"));
        memory.add(&file("b", "1"));
        let memory = Memory::parse(&memory.text().unwrap()).unwrap();
        assert_eq!(memory.has(&file("a", "1")), Loaded::Yes);
        assert_eq!(memory.has(&file("a", "2")), Loaded::Changed);
        assert_eq!(memory.has(&file("c", "1")), Loaded::No);
        let mut fewer = memory.clone();
        fewer.keep_only(&[file("b", "7"), file("c", "1")]);
        assert_eq!((fewer.has(&file("a", "1")), fewer.has(&file("b", "1"))), (Loaded::No, Loaded::Yes));
        assert!(memory.text().unwrap().len() - Memory::default().text().unwrap().len() == 32, "16 characters a file");
    }

    #[test]
    fn a_strange_memory_is_refused() {
        for strange in
            ["", "2026-01-01", r#"{"form":2,"columns":[],"files":""}"#, r#"{"form":1,"columns":[],"files":"AAAA"}"#]
        {
            assert_eq!(Memory::parse(strange).unwrap_err().code, errors::WATERMARK, "{strange}");
        }
    }

    proptest! {
        #[test]
        fn memories_come_back(paths in prop::collection::vec((".{0,20}", "[0-9a-f]{0,8}"), 0..50)) {
            let mut memory = Memory::default();
            paths.iter().for_each(|(path, version)| memory.add(&file(path, version)));
            prop_assert_eq!(&Memory::parse(&memory.text().unwrap()).unwrap(), &memory);
        }
    }
}

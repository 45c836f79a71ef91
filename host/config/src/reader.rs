//! Reads a tree into types. Every error is noted with its place, and reading goes on.

use std::path::PathBuf;

use crate::node::{Entry, Node, Table, Value};
use crate::problem::{Problem, Problems};
use crate::text::Origin;
use crate::walk::join;

/// A value with the place it came from.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// A table being read. What is asked for is known; [`TableReader::finish`] reports the rest as unknown.
pub(crate) struct TableReader<'a> {
    table: &'a Table,
    path: String,
    origin: Origin,
    problems: &'a Problems,
    known: Vec<&'static str>,
    missing: Vec<(&'static str, &'static str)>,
}

impl<'a> TableReader<'a> {
    pub(crate) fn new(table: &'a Table, path: impl Into<String>, origin: Origin, problems: &'a Problems) -> Self {
        Self { table, path: path.into(), origin, problems, known: Vec::new(), missing: Vec::new() }
    }

    /// Where the table itself is.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// The full name of a key.
    pub(crate) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The entry of a key, which is known from now on.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// Of a key that may be spelt in two ways, the one that is there. Both at once: the other is unknown.
    pub(crate) fn either(&self, key: &'static str, alias: &'static str) -> &'static str {
        if !self.table.contains_key(key) && self.table.contains_key(alias) { alias } else { key }
    }

    /// Notes a required key that is not there; `hint` says what to write.
    pub(crate) fn missing(&mut self, key: &'static str, hint: &'static str) {
        self.missing.push((key, hint));
    }

    pub(crate) fn wrong_type(&self, key: &str, node: &Node, expected: &'static str) {
        let (found, expected) = (node.value.type_name(), expected.to_owned());
        self.problems.at(Problem::WrongType { path: self.path_of(key), found, expected }, &node.origin);
    }

    pub(crate) fn string(&mut self, key: &'static str) -> Option<Located<String>> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::String(text) => Some(Located { value: text.clone(), origin: node.origin.clone() }),
            _ => {
                self.wrong_type(key, node, "a string");
                None
            }
        }
    }

    /// A string that must be there and not be blank.
    pub(crate) fn required_string(&mut self, key: &'static str, hint: &'static str) -> Option<Located<String>> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            self.missing(key, hint);
            return None;
        }
        let found = self.string(key)?;
        if found.value.trim().is_empty() {
            self.problems.at(Problem::Missing { path: self.path_of(key), hint: hint.into() }, &found.origin);
            return None;
        }
        Some(found)
    }

    /// A path; a relative one starts from the folder of the file it stands in.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<Located<PathBuf>> {
        let found = self.string(key)?;
        Some(Located { value: resolve_path(&found.value, &found.origin), origin: found.origin })
    }

    pub(crate) fn integer(&mut self, key: &'static str, minimum: u64, maximum: u64) -> Option<Located<u64>> {
        let node = &self.entry(key)?.node;
        let Value::Integer(found) = node.value else {
            self.wrong_type(key, node, "an integer");
            return None;
        };
        match u64::try_from(found) {
            Ok(value) if (minimum..=maximum).contains(&value) => Some(Located { value, origin: node.origin.clone() }),
            _ => {
                let path = self.path_of(key);
                self.problems.at(Problem::OutOfRange { path, found, minimum, maximum }, &node.origin);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<Located<T>> {
        let found = self.string(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found.value) {
            return Some(Located { value: *value, origin: found.origin });
        }
        let allowed: Vec<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
        let meant = nearest(&found.value, words.iter().map(|(word, _)| *word));
        let path = self.path_of(key);
        self.problems.at(Problem::NotAllowed { path, found: found.value, allowed, meant }, &found.origin);
        None
    }

    /// A table within; none when it is not there.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<TableReader<'a>> {
        let entry = self.entry(key)?;
        match &entry.node.value {
            Value::Table(table) => Some(TableReader::new(table, self.path_of(key), entry.key.clone(), self.problems)),
            _ => {
                self.wrong_type(key, &entry.node, "a table");
                None
            }
        }
    }

    /// Reports the keys nobody asked for, and the missing ones that no misspelt one explains.
    pub(crate) fn finish(self) {
        let unknown = self.table.iter().filter(|(key, _)| !self.known.contains(&key.as_str()));
        let mut explained = Vec::new();
        for (key, entry) in unknown {
            let meant = nearest(key, self.known.iter().copied());
            explained.extend(meant.clone());
            let mut known: Vec<String> = self.known.iter().map(|key| (*key).to_owned()).collect();
            known.sort_unstable();
            self.problems.at(Problem::UnknownKey { path: self.path_of(key), meant, known }, &entry.key);
        }
        for (key, hint) in &self.missing {
            if !explained.iter().any(|meant| meant == key) {
                self.problems.at(Problem::Missing { path: self.path_of(key), hint: (*hint).into() }, &self.origin);
            }
        }
    }
}

/// A relative path starts from the folder of the file it stands in, one of the environment or a flag from the working
/// directory.
pub(crate) fn resolve_path(path: &str, origin: &Origin) -> PathBuf {
    match origin.folder() {
        Some(folder) => folder.join(path),
        None => PathBuf::from(path),
    }
}

/// The candidate a few slips away from a word.
pub(crate) fn nearest<'n>(word: &str, candidates: impl Iterator<Item = &'n str>) -> Option<String> {
    let folded = word.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (strsim::osa_distance(&folded, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4 && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

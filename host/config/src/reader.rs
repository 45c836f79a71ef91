//! Reads a tree into types. Every error is noted with its place, and reading goes on.

use std::path::PathBuf;

use crate::node::{Entry, Node, Table, Value};
use crate::problem::{Problem, Problems};
use crate::text::Origin;

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
        let key = if key.contains(['.', ' ', '"']) || key.is_empty() { format!("{key:?}") } else { key.to_owned() };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// The full name of a key within a table within.
    pub(crate) fn path_of_nested(&self, keys: &str) -> String {
        format!("{}.{keys}", self.path)
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
        let found = node.value.type_name();
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

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Boolean(value) => Some(Located { value: *value, origin: node.origin.clone() }),
            _ => {
                self.wrong_type(key, node, "true or false");
                None
            }
        }
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
        let allowed: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        let meant = nearest(&found.value, allowed.iter().copied());
        let path = self.path_of(key);
        self.problems.at(Problem::NotAllowed { path, found: found.value, allowed, meant }, &found.origin);
        None
    }

    /// A table within; none when it is not there.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<TableReader<'a>> {
        let entry = self.entry(key)?;
        self.table_of(key, entry)
    }

    fn table_of(&self, key: &str, entry: &'a Entry) -> Option<TableReader<'a>> {
        match &entry.node.value {
            Value::Table(table) => Some(TableReader::new(table, self.path_of(key), entry.key.clone(), self.problems)),
            _ => {
                self.wrong_type(key, &entry.node, "a table");
                None
            }
        }
    }

    /// The tables under names of the operator's choice.
    pub(crate) fn named_tables(&mut self, key: &'static str) -> Vec<(String, TableReader<'a>)> {
        let Some(outer) = self.table(key) else { return Vec::new() };
        outer.table.iter().filter_map(|(name, entry)| Some((name.clone(), outer.table_of(name, entry)?))).collect()
    }

    /// The strings under names of the operator's choice.
    pub(crate) fn named_strings(&mut self, key: &'static str) -> Vec<(String, Located<String>)> {
        let Some(outer) = self.table(key) else { return Vec::new() };
        let mut strings = Vec::new();
        for (name, entry) in outer.table {
            match &entry.node.value {
                Value::String(text) => {
                    strings.push((name.clone(), Located { value: text.clone(), origin: entry.node.origin.clone() }));
                }
                _ => outer.wrong_type(name, &entry.node, "a string"),
            }
        }
        strings
    }

    /// The lists of strings under names of the operator's choice.
    pub(crate) fn named_string_lists(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Vec<(String, Vec<String>)> {
        let Some(outer) = self.table(key) else { return Vec::new() };
        let mut lists = Vec::new();
        for (name, entry) in outer.table {
            let strings = match &entry.node.value {
                Value::Array(nodes) => nodes.iter().map(as_string).collect(),
                _ => None,
            };
            match strings {
                Some(strings) => lists.push((name.clone(), strings)),
                None => outer.wrong_type(name, &entry.node, expected),
            }
        }
        lists
    }

    /// The elements of an array.
    pub(crate) fn array(&mut self, key: &'static str, expected: &'static str) -> Option<&'a [Node]> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Array(nodes) => Some(nodes),
            _ => {
                self.wrong_type(key, node, expected);
                None
            }
        }
    }

    /// The kind, which says what all other keys mean; without it nothing can be said of them.
    pub(crate) fn kind(&mut self, hint: &'static str) -> Option<Located<String>> {
        let kind = self.required_string("kind", hint);
        for (key, hint) in std::mem::take(&mut self.missing) {
            self.problems.at(Problem::Missing { path: self.path_of(key), hint: hint.into() }, &self.origin);
        }
        kind
    }

    /// Reports the keys nobody asked for, and the missing ones that no misspelt one explains.
    pub(crate) fn finish(self) {
        let unknown = self.table.iter().filter(|(key, _)| !self.known.contains(&key.as_str()));
        let mut explained = Vec::new();
        for (key, entry) in unknown {
            let meant = nearest(key, self.known.iter().copied());
            explained.extend(meant.clone());
            let mut known = self.known.clone();
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

fn as_string(node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) => Some(text.clone()),
        _ => None,
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

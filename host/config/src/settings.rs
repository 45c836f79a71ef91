//! What a type of settings is: a Rust type with its schema, and checks across its keys.

use std::cell::RefCell;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::handed::Handed;
use crate::node::{Entry, Node, Table, Value};
use crate::problem::{Problem, Problems};
use crate::reader::nearest;
use crate::text::Origin;
use crate::walk::join;

/// A table of settings. Its fields are the keys: doc comments, defaults, bounds and the keywords of `x-` say all that the
/// reader, the schema, the documentation and the environment need.
///
/// Numbers are unsigned. A required text is not blank.
pub trait Settings: DeserializeOwned + JsonSchema {
    /// Reports settings that exclude each other. It runs whatever else is wrong with the table, so that all errors are
    /// reported at once: a value that is not valid is not there.
    fn check(_at: &Checks<'_>) {}
}

/// How strong the layer is that a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// A file.
    File,
    /// The environment.
    Environment,
    /// The flags of the command line.
    Flags,
}

/// A table that was read, and where its problems are noted.
pub struct Checks<'a> {
    path: String,
    /// Where the table itself is.
    place: Origin,
    table: &'a Table,
    /// What is valid of it.
    value: &'a Json,
    problems: &'a Problems,
    handed: &'a Handed,
    ignored: RefCell<Vec<String>>,
}

impl<'a> Checks<'a> {
    pub(crate) fn new(
        (path, place): (String, Origin),
        (table, value): (&'a Table, &'a Json),
        (problems, handed): (&'a Problems, &'a Handed),
    ) -> Self {
        Self { path, place, table, value, problems, handed, ignored: RefCell::default() }
    }

    /// The value of a key; none where it is not there or not valid.
    #[must_use]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.handed.decode(self.value.get(key)?.clone()).ok()
    }

    /// Whether the key is there, valid or not.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there and holds a table.
    #[must_use]
    pub fn is_table(&self, key: &str) -> bool {
        matches!(self.entry(key), Some(Entry { node, .. }) if matches!(node.value, Value::Table(_)))
    }

    /// The layer that a key's value comes from.
    #[must_use]
    pub fn layer(&self, key: &str) -> Option<Layer> {
        self.entry(key).map(|entry| match entry.node.origin {
            Origin::File(..) => Layer::File,
            Origin::Variable(_) => Layer::Environment,
            Origin::Flag(_) => Layer::Flags,
        })
    }

    /// A table within; none where there is none.
    #[must_use]
    pub fn within(&self, key: &str) -> Option<Checks<'a>> {
        let entry = self.entry(key)?;
        let (Value::Table(table), Some(value)) = (&entry.node.value, self.value.get(key)) else { return None };
        let place = (join(&self.path, key), entry.key.clone());
        Some(Checks::new(place, (table, value), (self.problems, self.handed)))
    }

    /// The tables of an array.
    pub(crate) fn elements(&self, key: &str) -> Vec<Checks<'a>> {
        let Some(Entry { node: Node { value: Value::Array(nodes), .. }, .. }) = self.entry(key) else {
            return Vec::new();
        };
        let tables = nodes.iter().enumerate().filter_map(|(index, node)| match &node.value {
            Value::Table(table) => {
                Some((format!("{}[{}]", join(&self.path, key), index + 1), node.origin.clone(), table))
            }
            _ => None,
        });
        let values = self.value.get(key).and_then(Json::as_array).into_iter().flatten();
        let elements = tables.zip(values);
        let checks = (self.problems, self.handed);
        elements.map(|((path, place, table), value)| Checks::new((path, place), (table, value), checks)).collect()
    }

    /// Runs the checks of a table within, where there is one.
    pub fn check_within<T: Settings>(&self, key: &str) {
        self.within(key).iter().for_each(T::check);
    }

    /// Reports a problem at the value of a key, or at the table where the key is not there. It is given the key's full name.
    pub fn report(&self, key: &str, problem: impl FnOnce(String) -> Problem) {
        let origin = self.entry(key).map_or(&self.place, |entry| &entry.node.origin);
        self.problems.at(problem(join(&self.path, key)), origin);
    }

    /// Reports two settings that exclude each other, at the value of a key.
    pub fn contradiction(&self, key: &str, pair: [&str; 2], hint: &str) {
        self.report(key, |_| contradiction(pair, hint));
    }

    /// The same, at the key itself.
    pub fn contradiction_at_key(&self, key: &str, pair: [&str; 2], hint: &str) {
        self.report_at_key(key, contradiction(pair, hint));
    }

    pub(crate) fn report_at_key(&self, key: &str, problem: Problem) {
        let origin = self.entry(key).map_or(&self.place, |entry| &entry.key);
        self.problems.at(problem, origin);
    }

    /// Reports a key that other settings require, unless it is there or a misspelt one explains it.
    pub fn require(&self, key: &str, hint: &str) {
        let is_misspelt =
            |found: &String| self.value.get(found).is_none() && nearest(found, [key].into_iter()).is_some();
        if !self.is_set(key) && !self.table.keys().any(is_misspelt) {
            self.problems.at(Problem::Missing { path: join(&self.path, key), hint: hint.to_owned() }, &self.place);
        }
    }

    /// Takes away a key of the table that a stronger layer overrules by another key. Of a table within it has no effect.
    pub fn ignore(&self, key: &str) {
        self.ignored.borrow_mut().push(key.to_owned());
    }

    pub(crate) fn ignored(self) -> Vec<String> {
        self.ignored.into_inner()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.keys().map(String::as_str)
    }

    pub(crate) fn problems(&self) -> &'a Problems {
        self.problems
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn contradiction([first, second]: [&str; 2], hint: &str) -> Problem {
    Problem::Contradiction { first: first.into(), second: second.into(), hint: hint.into() }
}

/// A text with the folder that a relative path in it starts from: that of the file it stands in, or the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Relative {
    /// The text as it was written.
    pub text: String,
    #[serde(deserialize_with = "crate::handed::folder")]
    folder: Option<PathBuf>,
}

impl Relative {
    /// A path from that folder.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.as_ref().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }
}

/// Text whose path is relative to the file it stands in.
impl JsonSchema for Relative {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Relative".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-relative": "path" })
    }
}

/// A path. A relative one starts from the folder of the file it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Relative")]
pub struct SettingPath(PathBuf);

impl From<Relative> for SettingPath {
    fn from(relative: Relative) -> Self {
        Self(relative.resolve(&relative.text))
    }
}

impl Deref for SettingPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl JsonSchema for SettingPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingPath".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Relative::json_schema(generator)
    }
}

/// A path as [`SettingPath`], or a URI. A URI with a password is an error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Relative")]
pub struct SettingUri(String);

impl From<Relative> for SettingUri {
    fn from(relative: Relative) -> Self {
        if relative.text.contains("://") {
            return Self(relative.text);
        }
        Self(relative.resolve(&relative.text).to_string_lossy().into_owned())
    }
}

impl Deref for SettingUri {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SettingUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for SettingUri {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingUri".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "x-relative": "uri" })
    }
}

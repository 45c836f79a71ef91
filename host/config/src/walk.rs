//! Reads a tree as its schema says. Every problem is noted with its place, and reading goes on.
//!
//! The outcome is JSON that holds what is valid: [`Handed::decode`] makes a type of it.

use serde_json::{Map, Value as Json, json};

use crate::handed::Handed;
use crate::node::{self, Entry, Table, Value};
use crate::problem::{Problem, Problems};
use crate::reader::nearest;
use crate::schema::{Shape, TAG, View};
use crate::text::Origin;
use crate::{environment, secret, store};

/// A walk over a tree.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) problems: &'a Problems,
    pub(crate) handed: &'a Handed,
    /// The prefix of the variables that set keys of the section.
    prefix: Option<&'a str>,
}

/// The full name of a key within a table.
pub(crate) fn join(path: &str, key: &str) -> String {
    let key = if key.contains(['.', ' ', '"']) || key.is_empty() { format!("{key:?}") } else { key.to_owned() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(problems: &'a Problems, handed: &'a Handed) -> Self {
        Self { problems, handed, prefix: None }
    }

    /// A value; none where it is not valid.
    fn value(self, schema: View<'a>, path: &str, entry: &Entry) -> Option<Json> {
        let node = &entry.node;
        match (schema.shape(), &node.value) {
            (Shape::Secret, _) => {
                let found = secret::read_entry(path.to_owned(), entry, self.problems)?;
                Some(self.handed.keep_secret(found).into())
            }
            (Shape::Relative, Value::String(text)) => {
                if schema.text("x-relative") == Some("uri") && store::holds_password(text) {
                    self.problems.at(Problem::InlineSecret { path: path.to_owned() }, &node.origin);
                }
                let folder = node.origin.folder().map(|folder| self.handed.keep_folder(folder));
                Some(json!({ "text": text, "folder": folder }))
            }
            (Shape::Text, Value::String(text)) => Some(text.clone().into()),
            (Shape::Words(words), Value::String(word)) => self.word(words, word, path, &node.origin),
            (Shape::TableOrWord { words, .. }, Value::String(word)) if words.contains(&word.as_str()) => {
                Some(word.clone().into())
            }
            (Shape::TableOrWord { table, words }, Value::String(word)) => {
                self.neither_table_nor_word(table, &words, word, path, &node.origin);
                None
            }
            (Shape::Boolean, Value::Boolean(value)) => Some((*value).into()),
            (Shape::Integer { minimum, maximum }, Value::Integer(found)) => match u64::try_from(*found) {
                Ok(value) if (minimum..=maximum).contains(&value) => Some(value.into()),
                _ => {
                    let problem = Problem::OutOfRange { path: path.to_owned(), found: *found, minimum, maximum };
                    self.problems.at(problem, &node.origin);
                    None
                }
            },
            (Shape::Array(items), Value::Array(nodes)) => {
                let elements = nodes.iter().enumerate().filter_map(|(index, node)| {
                    let entry = Entry { key: node.origin.clone(), node: node.clone() };
                    self.value(items, &format!("{path}[{}]", index + 1), &entry)
                });
                Some(elements.collect())
            }
            (Shape::Table, Value::Table(table)) => Some(self.table(schema, path, &entry.key, table)),
            (Shape::TableOrWord { table: schema, .. }, Value::Table(table)) => {
                Some(self.table(schema, path, &entry.key, table))
            }
            (Shape::Tagged, Value::Table(table)) => self.tagged(schema, path, &entry.key, table),
            (Shape::NamedOrWord { words, .. }, Value::String(word)) => self.word(words, word, path, &node.origin),
            (Shape::Named(values) | Shape::NamedOrWord { values, .. }, Value::Table(table)) => {
                let entries = table.iter();
                let valid = entries
                    .filter_map(|(name, entry)| Some((name.clone(), self.value(values, &join(path, name), entry)?)));
                Some(Json::Object(valid.collect()))
            }
            (Shape::Any, value) if !schema.is_object() || matches!(value, Value::Table(_)) => Some(node::to_json(node)),
            (shape, value) => {
                let expected = schema.text("x-expected").unwrap_or(expected(&shape)).to_owned();
                let problem = Problem::WrongType { path: path.to_owned(), found: value.type_name(), expected };
                self.problems.at(problem, &node.origin);
                None
            }
        }
    }

    fn word(self, words: Vec<&str>, word: &str, path: &str, origin: &Origin) -> Option<Json> {
        if words.contains(&word) {
            return Some(word.into());
        }
        self.problems.at(not_allowed(path, word, &words, &[]), origin);
        None
    }

    fn neither_table_nor_word(self, table: View<'_>, words: &[&str], word: &str, path: &str, origin: &Origin) {
        let keys: Vec<&str> = table.required().collect();
        let form = format!("{{ {} }}", keys.join(", "));
        self.problems.at(not_allowed(path, word, words, &[&form]), origin);
    }

    /// A table whose `kind` says what all other keys mean; without it nothing can be said of them.
    fn tagged(self, schema: View<'a>, path: &str, place: &Origin, table: &Table) -> Option<Json> {
        let kinds = schema.kinds();
        let tag = join(path, TAG);
        let missing = |place: &Origin| {
            let forms: Vec<String> = kinds.iter().map(|kind| format!("`{TAG} = \"{kind}\"`")).collect();
            let hint = format!("write {}", listed(&forms, "or"));
            self.problems.at(Problem::Missing { path: tag.clone(), hint }, place);
            None
        };
        let Some(entry) = table.get(TAG) else { return missing(place) };
        let origin = &entry.node.origin;
        let Value::String(kind) = &entry.node.value else {
            let (found, expected) = (entry.node.value.type_name(), "a string".to_owned());
            self.problems.at(Problem::WrongType { path: tag, found, expected }, origin);
            return None;
        };
        if kind.trim().is_empty() {
            return missing(origin);
        }
        let Some(variant) = schema.variant(kind) else {
            let mut known: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            known.sort_unstable();
            self.problems.at(Problem::UnknownKind { path: tag, found: kind.clone(), known }, origin);
            return None;
        };
        Some(Self { prefix: variant.text("x-prefix"), ..self }.table(variant, path, place, table))
    }

    /// A table of known keys.
    pub(crate) fn table(self, schema: View<'a>, path: &str, place: &Origin, table: &Table) -> Json {
        let mut found = Map::new();
        let mut explained = Vec::new();
        for (key, entry) in table {
            let path = join(path, key);
            let Some(property) = schema.property(key) else {
                let mut known: Vec<String> = schema.properties().map(|(key, _)| key.to_owned()).collect();
                known.sort_unstable();
                let meant = nearest(key, known.iter().map(String::as_str));
                explained.extend(meant.clone());
                self.problems.at(Problem::UnknownKey { path, meant, known }, &entry.key);
                continue;
            };
            let value = match property.text("x-store") {
                Some(beside) => self.store(&path, entry, text_of(table, beside)),
                None => self.value(property, &path, entry),
            };
            let is_blank = matches!(&entry.node.value, Value::String(text) if text.trim().is_empty());
            if is_blank && value.is_some() && schema.required().any(|required| required == key) {
                self.missing(property, path, &entry.node.origin);
                continue;
            }
            found.extend(value.map(|value| (key.clone(), value)));
        }
        for key in schema.required().filter(|key| !table.contains_key(*key)) {
            if let Some(property) = schema.property(key).filter(|_| !explained.iter().any(|meant| meant == key)) {
                self.missing(property, join(path, key), place);
            }
        }
        Json::Object(found)
    }

    /// Settings of an object store, at the place that the key beside them names.
    fn store(self, path: &str, entry: &Entry, place: &str) -> Option<Json> {
        let Value::Table(table) = &entry.node.value else {
            let (found, expected) = (entry.node.value.type_name(), "a table".to_owned());
            self.problems.at(Problem::WrongType { path: path.to_owned(), found, expected }, &entry.node.origin);
            return None;
        };
        Some(store::read(table, path, &entry.key, place, self.problems, self.handed))
    }

    fn missing(self, property: View<'_>, path: String, place: &Origin) {
        let hint = match property.text("x-hint") {
            Some(hint) => hint.to_owned(),
            None if property.is_secret() => datakit_secrets::forms().to_owned(),
            None => format!("add `{path}`"),
        };
        let variables = if property.is_secret() { Vec::new() } else { environment::required(property, self.prefix) };
        let set = if variables.is_empty() { String::new() } else { format!(", or set {}", listed(&variables, "and")) };
        self.problems.at(Problem::Missing { path, hint: hint + &set }, place);
    }
}

/// A word that is not one of those allowed, nor of the other forms.
pub(crate) fn not_allowed(path: &str, found: &str, words: &[&str], forms: &[&str]) -> Problem {
    let meant = nearest(found, words.iter().copied());
    let allowed = forms.iter().chain(words).map(|word| (*word).to_owned()).collect();
    Problem::NotAllowed { path: path.to_owned(), found: found.to_owned(), allowed, meant }
}

fn expected(shape: &Shape<'_>) -> &'static str {
    match shape {
        Shape::Relative | Shape::Words(_) | Shape::Text => "a string",
        Shape::Boolean => "true or false",
        Shape::Integer { .. } => "an integer",
        Shape::Array(_) => "an array",
        Shape::Secret
        | Shape::Tagged
        | Shape::TableOrWord { .. }
        | Shape::NamedOrWord { .. }
        | Shape::Table
        | Shape::Named(_)
        | Shape::Any => "a table",
    }
}

fn text_of<'t>(table: &'t Table, key: &str) -> &'t str {
    match table.get(key).map(|entry| &entry.node.value) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// `a, b and c`
pub(crate) fn listed<T: AsRef<str>>(words: &[T], last: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

//! The schema of the warehouse file, put together from the types of its settings.
//!
//! What JSON Schema has no word for stands in keys that begin with `x-`:
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `x-hint` | text | what to write where the required key is missing |
//! | `x-expected` | text | what a value of the wrong type must be, where the JSON type does not say it well |
//! | `x-relative` | `"path"`, `"uri"` | text that is or may be a path relative to the file it stands in; a URI holds no password |
//! | `x-each-file` | `true` | each file's own: the files laid over each other have no such key |
//! | `x-secret` | `true` | a reference to a secret |
//! | `x-store` | a key | settings of the object store that this key beside them names |
//! | `x-env` | `[NAME, MEANING]` | the variable that sets it; a name that begins with `_` follows the prefix of the section's kind |
//! | `x-env-as` | `"file"` | the variable of a secret names its file |
//! | `x-env-owner` | a key | the key beside a secret that says whose it is |
//! | `x-env-unused` | text | why the variable of a secret changes nothing, where the file says a word instead of the table it is in |
//! | `x-env-table` | a word | the value of the variable that stands for the table, where there is a choice of table or word |
//! | `x-env-with` | `[KEY, WORD]` | the table's variables count only with this word |
//!
//! The published schema has none of them.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use crate::file::WarehouseFile;
use crate::kinds::{Common, Role, SectionKind};

/// The key that says what all other keys of a section mean.
pub(crate) const TAG: &str = "kind";

/// The schema of the warehouse file.
#[derive(Debug, Clone)]
pub(crate) struct FileSchema {
    /// For editors.
    published: Json,
    /// Of the files laid over each other, with the keys of `x-`.
    merged: Json,
}

impl FileSchema {
    pub(crate) fn wrong_keywords(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        wrong_keywords(&self.merged, "", &mut wrong);
        wrong
    }

    pub(crate) fn new(kinds: &[SectionKind]) -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let sections = [Role::Connection, Role::Sink].map(|role| section(role, kinds, &mut generator));
        let mut root = generator.into_root_schema_for::<WarehouseFile>();
        if let Some(definitions) = root.get_mut("$defs").and_then(Json::as_object_mut) {
            definitions.extend(sections);
        }
        RecursiveTransform(tidy).transform(&mut root);
        let mut merged = root.to_value();
        let mut published = merged.clone();
        strip(&mut published);
        if let Some(properties) = merged["properties"].as_object_mut() {
            properties.retain(|_, property| property.get("x-each-file").is_none());
        }
        Self { published, merged }
    }

    /// The schema for editors.
    pub(crate) fn published(&self) -> Json {
        self.published.clone()
    }

    /// The file's own table.
    pub(crate) fn root(&self) -> View<'_> {
        View::new(&self.merged["$defs"], &self.merged)
    }

    /// The table of a section.
    pub(crate) fn section(&self, role: Role, kind: &str) -> Option<View<'_>> {
        let definitions = &self.merged["$defs"];
        View::new(definitions, &definitions[role.definition()]).variant(kind)
    }
}

/// The definition of a section: one table for each kind.
fn section(role: Role, kinds: &[SectionKind], generator: &mut SchemaGenerator) -> (String, Json) {
    let of_role = kinds.iter().filter(|kind| kind.role() == role);
    let variants: Vec<Json> = of_role.map(|kind| variant(kind, generator)).collect();
    let definition = json!({ "description": role.description(), "oneOf": variants, "x-tag": TAG });
    (role.definition().to_owned(), definition)
}

fn variant(kind: &SectionKind, generator: &mut SchemaGenerator) -> Json {
    let mut schema = kind.schema(generator).to_value();
    let mut own = Map::from_iter([(TAG.to_owned(), json!({ "const": kind.kind(), "type": "string" }))]);
    if kind.role() == Role::Connection {
        let mut common = Common::json_schema(generator).to_value();
        own.extend(common["properties"].as_object_mut().map(std::mem::take).unwrap_or_default());
    }
    if let Some(table) = schema.as_object_mut() {
        if let Some(properties) = table.entry("properties").or_insert_with(|| json!({})).as_object_mut() {
            properties.extend(own);
        }
        if let Some(required) = table.entry("required").or_insert_with(|| json!([])).as_array_mut() {
            required.insert(0, TAG.into());
        }
        table.extend(kind.prefix().map(|prefix| ("x-prefix".to_owned(), prefix.into())));
    }
    schema
}

/// Optional keys are left out, not null; formats of Rust integers mean nothing to editors; a table has no other keys.
fn tidy(schema: &mut Schema) {
    if let Some(types) = schema.get_mut("type").and_then(Json::as_array_mut) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(variants) = schema.get_mut("anyOf").and_then(Json::as_array_mut) {
        variants.retain(|variant| variant.get("type").is_none_or(|name| name != "null"));
        if let [only] = variants.as_slice()
            && let Some(reference) = only.get("$ref").cloned()
        {
            schema.remove("anyOf");
            schema.insert("$ref".into(), reference);
        }
    }
    if schema.get("default").is_some_and(Json::is_null) {
        schema.remove("default");
    }
    if schema.get("type").is_some_and(|name| name == "integer") {
        schema.remove("format");
    }
    if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
        schema.insert("additionalProperties".into(), false.into());
    }
}

fn strip(schema: &mut Json) {
    match schema {
        Json::Object(object) => {
            object.retain(|key, _| !key.starts_with("x-"));
            object.values_mut().for_each(strip);
        }
        Json::Array(elements) => elements.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A schema with what its reference leads to.
#[derive(Clone, Copy)]
pub(crate) struct View<'s> {
    definitions: &'s Json,
    own: &'s Json,
    target: &'s Json,
}

/// What a value must be.
pub(crate) enum Shape<'s> {
    Secret,
    Relative,
    /// One of several tables, by the tag.
    Tagged,
    /// A table, or a word instead.
    TableOrWord {
        table: View<'s>,
        words: Vec<&'s str>,
    },
    /// A table of names of the operator's choice, or a word instead.
    NamedOrWord {
        values: View<'s>,
        words: Vec<&'s str>,
    },
    Words(Vec<&'s str>),
    Text,
    Boolean,
    Integer {
        minimum: u64,
        maximum: u64,
    },
    Array(View<'s>),
    /// A table of these keys.
    Table,
    /// A table of names of the operator's choice.
    Named(View<'s>),
    /// Any value.
    Any,
}

impl<'s> View<'s> {
    fn new(definitions: &'s Json, own: &'s Json) -> Self {
        let name = own.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"));
        let target = name.and_then(|name| definitions.get(name)).unwrap_or(own);
        Self { definitions, own, target }
    }

    /// A keyword, first of the schema itself.
    fn get(&self, key: &str) -> Option<&'s Json> {
        self.own.get(key).or_else(|| self.target.get(key))
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'s str> {
        self.get(key)?.as_str()
    }

    /// A keyword that is a pair of texts.
    pub(crate) fn pair(&self, key: &str) -> Option<(&'s str, &'s str)> {
        match self.get(key)?.as_array()?.as_slice() {
            [first, second] => Some((first.as_str()?, second.as_str()?)),
            _ => None,
        }
    }

    fn view(&self, schema: &'s Json) -> Self {
        Self::new(self.definitions, schema)
    }

    pub(crate) fn properties(self) -> impl Iterator<Item = (&'s str, View<'s>)> {
        let properties = self.get("properties").and_then(Json::as_object);
        properties.into_iter().flatten().map(move |(key, schema)| (key.as_str(), self.view(schema)))
    }

    pub(crate) fn property(&self, key: &str) -> Option<Self> {
        self.get("properties")?.get(key).map(|schema| self.view(schema))
    }

    /// The keys that must be there, in the order of the type's fields.
    pub(crate) fn required(&self) -> impl Iterator<Item = &'s str> {
        self.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
    }

    fn variants(&self, key: &str) -> impl Iterator<Item = View<'s>> {
        let view = *self;
        let variants = self.get(key).and_then(Json::as_array);
        variants.into_iter().flatten().map(move |schema| view.view(schema))
    }

    /// The kinds of a tagged table, in the order of registration.
    pub(crate) fn kinds(&self) -> Vec<&'s str> {
        self.variants("oneOf").filter_map(|variant| variant.property(TAG)?.text("const")).collect()
    }

    pub(crate) fn variant(&self, kind: &str) -> Option<Self> {
        self.variants("oneOf").find(|variant| variant.property(TAG).and_then(|tag| tag.text("const")) == Some(kind))
    }

    /// What an array holds.
    pub(crate) fn items(&self) -> Option<Self> {
        self.get("items").map(|items| self.view(items))
    }

    pub(crate) fn words(&self) -> Option<Vec<&'s str>> {
        if let Some(words) = self.get("enum").and_then(Json::as_array) {
            return words.iter().map(Json::as_str).collect();
        }
        if let Some(word) = self.text("const") {
            return Some(vec![word]);
        }
        let variants = self.get("oneOf")?.as_array()?;
        let words: Option<Vec<Vec<&str>>> = variants.iter().map(|variant| self.view(variant).words()).collect();
        words.map(|words| words.concat())
    }

    /// The table and the words of a choice between both.
    pub(crate) fn table_or_word(&self) -> Option<(Self, Vec<&'s str>)> {
        let table = self.variants("anyOf").find(|variant| variant.get("properties").is_some())?;
        let words: Vec<&str> = self.variants("anyOf").filter_map(|variant| variant.words()).flatten().collect();
        (!words.is_empty()).then_some((table, words))
    }

    /// The values of a table of names and the words of a choice between both.
    fn named_or_word(&self) -> Option<(Self, Vec<&'s str>)> {
        let named = |variant: View<'s>| variant.get("additionalProperties").filter(|schema| schema.is_object());
        let values = self.variants("anyOf").find_map(named)?;
        let words: Vec<&str> = self.variants("anyOf").filter_map(|variant| variant.words()).flatten().collect();
        (!words.is_empty()).then_some((self.view(values), words))
    }

    /// The words that the value may be, also where it may be something else.
    pub(crate) fn words_of_choice(&self) -> Vec<&'s str> {
        self.words().or_else(|| self.named_or_word().map(|(_, words)| words)).unwrap_or_default()
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.get("x-secret").is_some()
    }

    pub(crate) fn shape(&self) -> Shape<'s> {
        if self.is_secret() {
            return Shape::Secret;
        }
        if self.get("x-relative").is_some() {
            return Shape::Relative;
        }
        if self.get("x-tag").is_some() {
            return Shape::Tagged;
        }
        if let Some((table, words)) = self.table_or_word() {
            return Shape::TableOrWord { table, words };
        }
        if let Some((values, words)) = self.named_or_word() {
            return Shape::NamedOrWord { values, words };
        }
        if let Some(words) = self.words() {
            return Shape::Words(words);
        }
        match self.text("type") {
            Some("string") => Shape::Text,
            Some("boolean") => Shape::Boolean,
            Some("integer") => {
                Shape::Integer { minimum: self.bound("minimum", 0), maximum: self.bound("maximum", i64::MAX as u64) }
            }
            Some("array") => self.items().map_or(Shape::Any, Shape::Array),
            Some("object") if self.get("properties").is_some() => Shape::Table,
            Some("object") => match self.get("additionalProperties") {
                Some(schema @ Json::Object(_)) => Shape::Named(self.view(schema)),
                _ => Shape::Any,
            },
            _ => Shape::Any,
        }
    }

    fn bound(&self, key: &str, default: u64) -> u64 {
        self.get(key).and_then(Json::as_u64).unwrap_or(default)
    }

    /// Whether an object is asked for, whatever is in it.
    pub(crate) fn is_object(&self) -> bool {
        self.text("type") == Some("object")
    }
}

/// Keywords of `x-` that are not read, or have another form than is read.
fn wrong_keywords(schema: &Json, path: &str, wrong: &mut Vec<String>) {
    match schema {
        Json::Object(object) => {
            for (key, value) in object {
                let is_pair = value.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(Json::is_string));
                let is_right = match key.as_str() {
                    "x-hint" | "x-expected" | "x-relative" | "x-store" | "x-env-as" | "x-env-owner"
                    | "x-env-unused" | "x-env-table" | "x-tag" | "x-prefix" => value.is_string(),
                    "x-each-file" | "x-secret" => value == &Json::Bool(true),
                    "x-env" | "x-env-with" => is_pair,
                    key => !key.starts_with("x-"),
                };
                if !is_right {
                    wrong.push(format!("{path}: {key} = {value}"));
                }
                wrong_keywords(value, &format!("{path}.{key}"), wrong);
            }
        }
        Json::Array(elements) => elements.iter().for_each(|element| wrong_keywords(element, path, wrong)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kinds;

    #[test]
    fn keywords_that_no_compiler_checks_are_those_that_are_read() {
        assert_eq!(kinds().wrong_keywords(), Vec::<String>::new());
        assert!(!kinds().json_schema().to_string().contains("\"x-"), "the published schema has none");
    }
}

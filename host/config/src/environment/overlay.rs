//! The layer that variables make over the file.

use std::collections::{BTreeMap, BTreeSet};

use super::{Maker, Scope};
use crate::kinds::{Kinds, Role};
use crate::node::{Entry, Node, Table, Value};
use crate::problem::{ConfigError, Problem, Problems};
use crate::schema::{Shape, TAG, View};
use crate::text::{Origin, Place};

/// A variable that holds a secret or names its file.
struct SecretVariable {
    name: String,
    /// The variable that says whose secret it is.
    owner: Option<String>,
    /// Where the file says it.
    path: Vec<String>,
    /// The kind of reference that the variable stands for.
    reference: &'static str,
}

impl SecretVariable {
    fn of(property: View<'_>, table: View<'_>, scope: Scope<'_>, path: &[&str]) -> Option<Self> {
        let name = scope.variable(property).filter(|_| property.is_secret())?;
        let owner = property.text("x-env-owner").and_then(|owner| scope.variable(table.property(owner)?));
        let reference = if property.text("x-env-as") == Some("file") { "file" } else { "env" };
        Some(Self { name, owner, path: path.iter().map(|key| (*key).to_owned()).collect(), reference })
    }
}

/// The process's variables, collected once.
pub(crate) struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
    kinds: &'a Kinds,
    file: &'a Table,
    /// Variables that the file refers to by itself (`{ env = "NAME" }`): set for that.
    referenced: BTreeSet<String>,
}

/// Where the variables of a section are read for.
#[derive(Clone, Copy)]
struct Target<'a> {
    role: Role,
    scope: Scope<'a>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<String, String>, kinds: &'a Kinds, file: &'a Table) -> Self {
        let mut referenced = BTreeSet::new();
        collect_references(file, &mut referenced);
        Self { variables, kinds, file, referenced }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The layer over the file.
    pub(crate) fn overlay(&self, problems: &Problems) -> Table {
        let mut layer = Table::new();
        for path in super::FIXED {
            let Some(schema) = super::fixed(self.kinds, path) else { continue };
            let mut table = Table::new();
            for (key, property) in schema.properties() {
                let variable = Scope::NONE.variable(property);
                match property.is_secret() {
                    true if self.has(path.0, key) => {}
                    true => self.put_reference(&mut table, key, variable),
                    false => self.put(&mut table, key, variable, property),
                }
            }
            let (first, within) = path;
            match within {
                None => put_table(&mut layer, first, table, None),
                Some(key) => {
                    let mut outer = Table::new();
                    put_table(&mut outer, key, table, None);
                    put_table(&mut layer, first, outer, None);
                }
            }
        }
        for role in [Role::Connection, Role::Sink] {
            let makers = Maker::all(self.kinds, role);
            if let Some(maker) = self.choose(&makers, role, problems) {
                let target = Target { role, scope: Scope::of(maker.kind) };
                let settings = self.table(maker.schema, target, &[]);
                self.place(&mut layer, role, maker, settings, problems);
            }
        }
        layer
    }

    /// The kind of section that variables are of: one that its variable makes, or one that the file has.
    fn choose<'m>(&self, makers: &'m [Maker<'a>], role: Role, problems: &Problems) -> Option<&'m Maker<'a>> {
        let mut made = makers.iter().filter(|maker| self.get(&maker.variable).is_some());
        let Some(first) = made.next() else {
            // Without it they only change a section that the file has: a password alone is no connection.
            return makers.iter().find(|maker| self.file_has(role, maker.kind.kind()));
        };
        if let Some(second) = made.find(|maker| !self.referenced.contains(&maker.variable)) {
            let of = |maker: &Maker<'_>| format!("{} for {}", maker.text(), maker.kind.title());
            let problem = Problem::Contradiction {
                first: first.variable.clone(),
                second: second.variable.clone(),
                hint: format!("set {}, or {}", of(first), of(second)),
            };
            problems.push(ConfigError::new(problem, Some(Place::Variable(second.variable.clone()))));
        }
        Some(first)
    }

    fn put(&self, table: &mut Table, key: &str, variable: Option<String>, property: View<'_>) {
        let Some(variable) = variable else { return };
        let Some(value) = self.get(&variable) else { return };
        let value = match property.shape() {
            Shape::Integer { .. } => integer(value),
            Shape::Boolean => boolean(value),
            _ => text(value),
        };
        put(table, key, value, Origin::Variable(variable));
    }

    /// A secret stays where it is: the layer refers to its variable.
    fn put_reference(&self, table: &mut Table, key: &str, variable: Option<String>) {
        let Some(name) = variable.filter(|name| self.get(name).is_some()) else { return };
        let mut reference = Table::new();
        put(&mut reference, "env", text(&name), Origin::Variable(name.clone()));
        put_table(table, key, reference, None);
    }

    /// Whether a table of the file has a key.
    fn has(&self, table: &str, key: &str) -> bool {
        matches!(self.file.get(table).map(|entry| &entry.node.value), Some(Value::Table(table)) if table.contains_key(key))
    }

    /// What variables say of a table.
    fn table(&self, schema: View<'_>, target: Target<'_>, path: &[&str]) -> Table {
        let mut table = Table::new();
        for (key, property) in schema.properties() {
            let path = [path, &[key]].concat();
            if property.is_secret() {
                if let Some(secret) = SecretVariable::of(property, schema, target.scope, &path) {
                    self.put_secret(&mut table, key, &secret, target.role);
                }
            } else if let Some((inner, _)) = property.table_or_word() {
                let word = target.scope.variable(property).and_then(|variable| Some((self.get(&variable)?, variable)));
                match word {
                    None if self.unused(property, target, &path).is_some() => {}
                    Some((word, variable)) if property.text("x-env-table") != Some(word) => {
                        put(&mut table, key, text(word), Origin::Variable(variable));
                    }
                    _ => self.put_inner(&mut table, key, inner, target, &path),
                }
            } else if property.properties().next().is_some() {
                if self.counts(property, schema, target) {
                    self.put_inner(&mut table, key, property, target, &path);
                }
            } else {
                self.put(&mut table, key, target.scope.variable(property), property);
            }
        }
        table
    }

    /// Puts what variables say of a table within. It stands where they say whose its secret is.
    fn put_inner(&self, table: &mut Table, key: &str, schema: View<'_>, target: Target<'_>, path: &[&str]) {
        let owner =
            schema.properties().find_map(|(_, secret)| SecretVariable::of(secret, schema, target.scope, &[])?.owner);
        put_table(table, key, self.table(schema, target, path), owner.map(Origin::Variable));
    }

    /// Whether the variables of a table count: where they are bound to a word of another key, environment or file must say it.
    fn counts(&self, property: View<'_>, table: View<'_>, target: Target<'_>) -> bool {
        let Some((key, word)) = property.pair("x-env-with") else { return true };
        let variable = table.property(key).and_then(|property| target.scope.variable(property));
        let in_environment = variable.and_then(|variable| self.get(&variable));
        in_environment == Some(word) || self.word_of_only(target.role, key) == Some(word)
    }

    /// The word that the file's only section has at a key.
    fn word_of_only(&self, role: Role, key: &str) -> Option<&'a str> {
        match &self.only(role)?.1.get(key)?.node.value {
            Value::String(word) => Some(word),
            _ => None,
        }
    }

    /// The file's only section.
    fn only(&self, role: Role) -> Option<(&'a String, &'a Table)> {
        let Value::Table(sections) = &self.file.get(role.outer())?.node.value else { return None };
        let (name, entry) = sections.iter().next().filter(|_| sections.len() == 1)?;
        match &entry.node.value {
            Value::Table(table) => Some((name, table)),
            _ => None,
        }
    }

    /// The variable of a secret that is set beside a word where the secret's table could stand, and nothing else asks for that
    /// table: a password alone is nobody's. With it the warning.
    fn unused(&self, property: View<'_>, target: Target<'_>, path: &[&str]) -> Option<(String, String)> {
        let (table, words) = property.table_or_word()?;
        let word = self.word_of_only(target.role, path.first().copied().filter(|_| path.len() == 1)?)?;
        if !words.contains(&word) || target.scope.variable(property).is_some_and(|name| self.get(&name).is_some()) {
            return None;
        }
        table.properties().find_map(|(key, property)| {
            let reason = property.text("x-env-unused")?;
            let secret = SecretVariable::of(property, table, target.scope, &[key])?;
            let owner = secret.owner.filter(|owner| self.get(owner).is_none())?;
            let name = secret.name;
            self.get(&name)?;
            let warning = format!("{name} is set but not used: {reason}, set {owner} as well");
            Some((name, warning))
        })
    }

    /// What is set but changes nothing, and should be known.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for role in [Role::Connection, Role::Sink] {
            for maker in Maker::all(self.kinds, role) {
                let target = Target { role, scope: Scope::of(maker.kind) };
                self.collect_warnings(maker.schema, target, &[], &mut warnings);
            }
        }
        warnings
    }

    fn collect_warnings(&self, schema: View<'_>, target: Target<'_>, path: &[&str], warnings: &mut Vec<String>) {
        for (key, property) in schema.properties() {
            let path = [path, &[key]].concat();
            let unused = self.unused(property, target, &path).filter(|(name, _)| !self.referenced.contains(name));
            warnings.extend(unused.map(|(_, warning)| warning));
            if let Some(secret) = SecretVariable::of(property, schema, target.scope, &path) {
                warnings.extend(self.overruled(&secret, target.role));
            }
            let inner = property.table_or_word().map_or(property, |(table, _)| table);
            self.collect_warnings(inner, target, &path, warnings);
        }
    }

    fn overruled(&self, secret: &SecretVariable, role: Role) -> Option<String> {
        let SecretVariable { name, owner, .. } = secret;
        let path = self.explicit_reference(secret, role)?;
        self.get(name).filter(|_| !self.referenced.contains(name))?;
        let as_well = owner.as_ref().map(|owner| format!("set {owner} as well, or ")).unwrap_or_default();
        Some(format!(
            "{name} is set but not used: `{path}` of the file says where the secret is; to use the variable, {as_well}change the file"
        ))
    }

    /// Where the file itself says where a secret is that a variable could hold as well: then the file's reference counts, unless
    /// the environment also says whose secret it is.
    fn explicit_reference(&self, secret: &SecretVariable, role: Role) -> Option<String> {
        if secret.owner.as_ref().is_some_and(|owner| self.get(owner).is_some()) {
            return None;
        }
        let (name, mut table) = self.only(role)?;
        for key in &secret.path {
            let Value::Table(inner) = &table.get(key)?.node.value else { return None };
            table = inner;
        }
        Some(format!("{}.{name}.{}", role.outer(), secret.path.join(".")))
    }

    /// A secret stays where it is: the layer refers to its variable, or to the file that the variable names.
    fn put_secret(&self, table: &mut Table, key: &str, secret: &SecretVariable, role: Role) {
        let name = &secret.name;
        let Some(value) = self.get(name).filter(|_| self.explicit_reference(secret, role).is_none()) else { return };
        let place = if secret.reference == "env" { name } else { value };
        let mut reference = Table::new();
        put(&mut reference, secret.reference, text(place), Origin::Variable(name.clone()));
        put_table(table, key, reference, None);
    }

    /// Whether the file has a section that variables of a kind may change.
    fn file_has(&self, role: Role, kind: &str) -> bool {
        let Some(Value::Table(sections)) = self.file.get(role.outer()).map(|entry| &entry.node.value) else {
            return false;
        };
        let kind_of = |entry: &'a Entry| match &entry.node.value {
            Value::Table(section) => match section.get(TAG).map(|kind| &kind.node.value) {
                Some(Value::String(found)) => Some(found.as_str()),
                _ => None,
            },
            _ => None,
        };
        match role {
            // One without a kind is an error of its own, which must not hide others.
            Role::Connection => sections.values().any(|entry| kind_of(entry).is_none_or(|found| found == kind)),
            Role::Sink => sections.len() == 1 && sections.values().all(|entry| kind_of(entry) == Some(kind)),
        }
    }

    /// Puts the settings over the only section of the file, or into one of their own when it has none.
    fn place(&self, layer: &mut Table, role: Role, maker: &Maker<'_>, mut settings: Table, problems: &Problems) {
        let Some(origin) = settings.values().next().map(|entry| entry.key.clone()) else { return };
        let existing: Vec<&String> = match self.file.get(role.outer()).map(|entry| &entry.node.value) {
            Some(Value::Table(tables)) => tables.keys().collect(),
            _ => Vec::new(),
        };
        let name = match existing.as_slice() {
            [] => maker.name.to_owned(),
            [only] => (*only).clone(),
            several => {
                self.report_ambiguous(&settings, several.len(), role.outer(), problems);
                return;
            }
        };
        // `kind` decides that another kind is replaced as a whole, not laid over key by key.
        put(&mut settings, TAG, text(maker.kind.kind()), origin);
        let mut tables = Table::new();
        put_table(&mut tables, &name, settings, None);
        put_table(layer, role.outer(), tables, None);
    }

    fn report_ambiguous(&self, settings: &Table, count: usize, what: &'static str, problems: &Problems) {
        for entry in settings.values() {
            match (&entry.node.value, &entry.key) {
                (Value::Table(inner), _) if !inner.contains_key("env") => {
                    self.report_ambiguous(inner, count, what, problems);
                }
                (_, Origin::Variable(variable)) if !self.referenced.contains(variable) => {
                    let problem = Problem::Ambiguous { variable: variable.clone(), count, what };
                    problems.push(ConfigError::new(problem, Some(Place::Variable(variable.clone()))));
                }
                _ => {}
            }
        }
    }
}

fn collect_references(table: &Table, references: &mut BTreeSet<String>) {
    for (key, entry) in table {
        match &entry.node.value {
            Value::String(name) if key == "env" => {
                references.insert(name.clone());
            }
            Value::Table(inner) => collect_references(inner, references),
            _ => {}
        }
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// Not a number: stays text, and is refused where it is read.
fn integer(value: &str) -> Value {
    value.trim().parse().map_or_else(|_| text(value), Value::Integer)
}

/// Not `true` or `false`: stays text, and is refused where it is read.
fn boolean(value: &str) -> Value {
    value.trim().parse().map_or_else(|_| text(value), Value::Boolean)
}

pub(crate) fn put(table: &mut Table, key: &str, value: Value, origin: Origin) {
    let entry = Entry { key: origin.clone(), node: Node { value, origin } };
    table.insert(key.to_owned(), entry);
}

/// Puts a table that holds something, by default at the place of its first entry.
pub(crate) fn put_table(table: &mut Table, key: &str, inner: Table, origin: Option<Origin>) {
    if let Some(first) = inner.values().next().map(|entry| entry.key.clone()) {
        put(table, key, Value::Table(inner), origin.unwrap_or(first));
    }
}

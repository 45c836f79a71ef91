//! Lays the layers over each other and reads the result.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use datakit_model::{ReceiptLevel, TablePatterns};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::drift::Drift;
use crate::environment::{self, Environment, put, put_table};
use crate::file::{Lineage, Server, Warehouse, WarehouseFile, server_address};
use crate::files;
use crate::handed::Handed;
use crate::ingest::{self, Ingest, Mode, Names};
use crate::kinds::{Connection, Kinds, Role, SinkConfig};
use crate::limits::Limits;
use crate::node::{self, Table, Value};
use crate::problem::{ConfigErrors, Problem, Problems};
use crate::schema::TAG;
use crate::secret::SecretSetting;
use crate::settings::Checks;
use crate::text::Origin;
use crate::walk::{Walk, join, not_allowed};

/// Where a configuration comes from, the weakest layer first.
#[derive(Clone, Default)]
pub struct Layers {
    /// The warehouse file; none: the environment and the flags alone.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// The flags of the command line.
    pub flags: Overrides,
}

impl fmt::Debug for Layers {
    /// Of the environment the names alone: values are secrets, some of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, environment, flags } = self;
        let names: Vec<&String> = environment.keys().collect();
        f.debug_struct("Layers").field("file", file).field("environment", &names).field("flags", flags).finish()
    }
}

/// What the command line says over file and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--registry`
    pub registry: Option<String>,
    /// `--plain-http`
    pub plain_http: bool,
    /// `--settings`: a JSON object.
    pub settings: Option<String>,
    /// `--tables`: patterns.
    pub tables: Vec<String>,
    /// `--parallel`
    pub parallel: Option<u64>,
    /// `--mode`
    pub mode: Option<Mode>,
    /// `--drift`
    pub drift: Option<Drift>,
    /// `--receipt`
    pub receipt: Option<ReceiptLevel>,
}

/// A configuration without errors.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The warehouse file it came from.
    pub file: Option<PathBuf>,
    /// `[warehouse]`
    pub warehouse: Warehouse,
    /// Every connection by name.
    pub connections: BTreeMap<String, Connection>,
    /// The most connections to a server, by [`Connection::address`].
    pub servers: BTreeMap<String, u64>,
    /// Every sink by name.
    pub sinks: BTreeMap<String, SinkConfig>,
    /// Every `[[ingest]]`, in order; [`Config::ingest`] chooses one and lays environment and flags over it.
    pub ingests: Vec<Ingest>,
    /// Every key of keyed hashes by name.
    pub keys: BTreeMap<String, SecretSetting>,
    /// `[lineage]`
    pub lineage: Lineage,
    /// `[limits]`
    pub limits: Limits,
    /// What works but should be known.
    pub warnings: Vec<String>,
    /// What is as it was asked for, in a way that is easily overlooked.
    pub notes: Vec<String>,
    pub(crate) over: IngestOverrides,
    pub(crate) makers: Makers,
}

/// The variables that make what the file has not, in words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Makers {
    pub(crate) connection: Option<String>,
    pub(crate) sinks: Option<String>,
}

/// What environment and flags say over the chosen ingest.
#[derive(Debug, Clone, Default)]
pub(crate) struct IngestOverrides {
    pub(crate) tables: Option<TablePatterns>,
    /// JSON objects, the weakest first.
    pub(crate) settings: Vec<Json>,
    pub(crate) parallel: Option<u64>,
    pub(crate) mode: Option<Mode>,
    pub(crate) drift: Option<Drift>,
    pub(crate) receipt: Option<ReceiptLevel>,
}

/// Reads the configuration, with these kinds of connections and sinks.
///
/// # Errors
/// Every error of every layer; a file that is not TOML hides what depends on it.
pub fn load(layers: &Layers, kinds: &Kinds) -> Result<Config, ConfigErrors> {
    let problems = Problems::default();
    let file = match &layers.file {
        Some(path) => files::load(path, &problems),
        None => Some(Table::new()),
    };
    let Some(file) = file else { return Err(only_errors(problems)) };
    let environment = Environment::new(&layers.environment, kinds, &file);
    let overlay = environment.overlay(&problems);
    let mut warnings = environment.warnings();
    let mut replaced = environment::replaced(&file, &overlay);
    let over = ingest_overrides(&environment, &layers.flags, kinds, &problems);
    let mut tree = file.clone();
    node::merge(&mut tree, overlay);
    node::merge(&mut tree, flags_layer(&layers.flags));
    let mut config = read(&tree, kinds, problems)?;
    config.file.clone_from(&layers.file);
    config.over = over;
    config.makers =
        Makers { connection: environment::makers_of_connection(kinds), sinks: environment::makers_of_sinks(kinds) };
    config.warnings.append(&mut warnings);
    if !config.ingests.is_empty() && layers.flags.tables.is_empty() && config.over.tables.is_some() {
        replaced.push(format!("`ingest.tables` ({})", environment::DATAKIT_TABLES));
    }
    if !config.ingests.is_empty() && environment.get(environment::DATAKIT_SETTINGS).is_some() {
        replaced.push(format!("`ingest.settings` ({})", environment::DATAKIT_SETTINGS));
    }
    if !replaced.is_empty() {
        config.notes.push(format!("variables replace what the file says: {}", replaced.join(", ")));
    }
    Ok(config)
}

/// The errors that kept the files from being read.
fn only_errors(problems: Problems) -> ConfigErrors {
    match problems.into_result(()) {
        Err(errors) => errors,
        Ok(()) => ConfigErrors::from(crate::ConfigError::new(Problem::NoDatakit { has_file: true }, None)),
    }
}

fn flags_layer(flags: &Overrides) -> Table {
    let mut layer = Table::new();
    let mut warehouse = Table::new();
    if let Some(registry) = &flags.registry {
        put(&mut warehouse, "registry", Value::String(registry.clone()), Origin::Flag("--registry"));
    }
    if flags.plain_http {
        put(&mut warehouse, "plain_http", Value::Boolean(true), Origin::Flag("--plain-http"));
    }
    put_table(&mut layer, "warehouse", warehouse, Some(Origin::Flag("--registry")));
    layer
}

fn ingest_overrides(
    environment: &Environment<'_>,
    flags: &Overrides,
    kinds: &Kinds,
    problems: &Problems,
) -> IngestOverrides {
    let flag = Origin::Flag("--tables");
    let variable = Origin::Variable(environment::DATAKIT_TABLES.to_owned());
    let tables = if flags.tables.is_empty() {
        let listed = environment.get(environment::DATAKIT_TABLES).map(split_patterns);
        listed.and_then(|texts| patterns(&texts, &variable, problems))
    } else {
        let listed: Vec<String> = flags.tables.iter().flat_map(|texts| split_patterns(texts)).collect();
        patterns(&listed, &flag, problems)
    };
    let settings = [
        (environment.get(environment::DATAKIT_SETTINGS), Origin::Variable(environment::DATAKIT_SETTINGS.to_owned())),
        (flags.settings.as_deref(), Origin::Flag("--settings")),
    ];
    let settings = settings.into_iter().filter_map(|(text, origin)| json_object(text?, &origin, problems)).collect();
    let parallel = flags.parallel.filter(|parallel| {
        let fine = (1..=ingest::MAX_PARALLEL).contains(parallel);
        if !fine {
            let (path, found) = ("parallel".to_owned(), i128::from(*parallel));
            let problem = Problem::OutOfRange { path, found, minimum: 1, maximum: ingest::MAX_PARALLEL };
            problems.at(problem, &Origin::Flag("--parallel"));
        }
        fine
    });
    let mode = flags.mode.or_else(|| word_of(environment, (environment::DATAKIT_MODE, "mode"), kinds, problems));
    let drift = flags.drift.or_else(|| word_of(environment, (environment::DATAKIT_DRIFT, "drift"), kinds, problems));
    let receipt = (environment::DATAKIT_RECEIPT, "receipt");
    let receipt = flags.receipt.or_else(|| word_of(environment, receipt, kinds, problems));
    IngestOverrides { tables, settings, parallel, mode, drift, receipt }
}

/// The word that a variable says for a key of the ingest.
fn word_of<W: DeserializeOwned>(
    environment: &Environment<'_>,
    (variable, key): (&str, &str),
    kinds: &Kinds,
    problems: &Problems,
) -> Option<W> {
    let found = environment.get(variable)?;
    if let Ok(word) = serde_json::from_value(found.into()) {
        return Some(word);
    }
    let ingest = kinds.schema().root().property("ingest").and_then(|ingests| ingests.items());
    let words = ingest.and_then(|ingest| ingest.property(key)).map(|property| property.words_of_choice());
    let problem = not_allowed(key, found, &words.unwrap_or_default(), &[]);
    problems.at(problem, &Origin::Variable(variable.to_owned()));
    None
}

/// Commas part patterns, except within brackets and quotes.
fn split_patterns(text: &str) -> Vec<String> {
    let mut patterns = vec![String::new()];
    let mut close = None;
    for c in text.chars() {
        match (c, close) {
            (',', None) => {
                patterns.push(String::new());
                continue;
            }
            ('[', None) => close = Some(']'),
            ('"', None) => close = Some('"'),
            (c, Some(awaited)) if c == awaited => close = None,
            _ => {}
        }
        if let Some(last) = patterns.last_mut() {
            last.push(c);
        }
    }
    patterns.into_iter().map(|pattern| pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty()).collect()
}

fn patterns(texts: &[String], origin: &Origin, problems: &Problems) -> Option<TablePatterns> {
    // Each is parsed before any is given up, so that all bad ones are reported.
    let parsed: Vec<_> = texts.iter().map(|text| ingest::parse_pattern("tables", text, origin, problems)).collect();
    ingest::granting(parsed.into_iter().collect::<Option<_>>()?, origin, problems)
}

fn json_object(text: &str, origin: &Origin, problems: &Problems) -> Option<Json> {
    let message = match serde_json::from_str(text) {
        Ok(Json::Object(object)) => return Some(Json::Object(object)),
        Ok(_) => "it is another JSON value".to_owned(),
        Err(error) => error.to_string(),
    };
    problems.at(Problem::Settings { message }, origin);
    None
}

/// Reads the merged tree. Every part is read and checked before any error is returned.
fn read(tree: &Table, kinds: &Kinds, problems: Problems) -> Result<Config, ConfigErrors> {
    let handed = Handed::default();
    let place = Origin::Flag("--config");
    let mut value = Walk::new(&problems, &handed).table(kinds.schema().root(), "", &place, tree);
    let overruled = {
        let root = Checks::new((String::new(), place), (tree, &value), (&problems, &handed));
        check(&root, tree, kinds)
    };
    for (role, name, key) in overruled {
        if let Some(section) = value[role.outer()][&name].as_object_mut() {
            section.remove(&key);
        }
    }
    if !problems.is_empty() {
        return problems.into_result(Config::default());
    }
    let config = decode(value, kinds, &handed, &problems);
    problems.into_result(config)
}

/// Checks across the keys of each table. The outcome is the keys that a stronger layer overrules, with their sections.
fn check(root: &Checks<'_>, tree: &Table, kinds: &Kinds) -> Vec<(Role, String, String)> {
    let mut overruled = Vec::new();
    for role in [Role::Connection, Role::Sink] {
        let Some(sections) = root.within(role.outer()) else { continue };
        for name in sections.keys() {
            let Some(section) = sections.within(name) else { continue };
            let kind = section.get::<String>(TAG).and_then(|kind| kinds.find(role, &kind));
            kind.iter().for_each(|kind| kind.check(&section, name));
            overruled.extend(section.ignored().into_iter().map(|key| (role, name.to_owned(), key)));
        }
    }
    // A connection that has an error of its own is still a known name.
    let names = Names {
        connections: names(tree, Role::Connection.outer()),
        sinks: names(tree, Role::Sink.outer()),
        keys: names(tree, "keys"),
    };
    for ingest in root.elements("ingest") {
        Ingest::check(&ingest, &names);
    }
    root.within("servers").iter().for_each(Server::check);
    root.within("lineage").iter().for_each(Lineage::check);
    overruled
}

fn names<'t>(tree: &'t Table, outer: &str) -> Vec<&'t str> {
    let Some(Value::Table(sections)) = tree.get(outer).map(|entry| &entry.node.value) else { return Vec::new() };
    let tables = sections.iter().filter(|(_, entry)| matches!(entry.node.value, Value::Table(_)));
    tables.map(|(name, _)| name.as_str()).collect()
}

/// Makes types of what was read without a problem.
fn decode(value: Json, kinds: &Kinds, handed: &Handed, problems: &Problems) -> Config {
    let refuse = |path: String, error: &serde_json::Error| {
        let problem = Problem::Refused { path, message: error.to_string() };
        problems.push(crate::ConfigError::new(problem, None));
    };
    let file: WarehouseFile = match handed.decode(value) {
        Ok(file) => file,
        Err(error) => {
            refuse("the file".to_owned(), &error);
            return Config::default();
        }
    };
    let mut config = Config {
        warehouse: file.warehouse,
        ingests: file.ingest,
        lineage: file.lineage,
        limits: file.limits,
        ..Config::default()
    };
    for (name, section) in file.connections {
        let kind = kinds.find(Role::Connection, section.0[TAG].as_str().unwrap_or_default());
        match kind.map(|kind| kind.read_connection(&name, section.0, handed)) {
            Some(Err(error)) => refuse(join("connections", &name), &error),
            read => config.connections.extend(read.and_then(Result::ok).flatten().map(|connection| (name, connection))),
        }
    }
    for (name, section) in file.sinks {
        let kind = kinds.find(Role::Sink, section.0[TAG].as_str().unwrap_or_default());
        match kind.map(|kind| kind.read_sink(&name, section.0, handed)) {
            Some(Err(error)) => refuse(join("sinks", &name), &error),
            read => config.sinks.extend(read.and_then(Result::ok).flatten().map(|sink| (name, sink))),
        }
    }
    config.keys = file.keys.into_iter().map(|(name, key)| (name, key.secret)).collect();
    let servers = file.servers.into_iter();
    config.servers =
        servers.filter_map(|(name, server)| Some((server_address(&name)?, server.max_connections))).collect();
    config.warnings = config.connections.values().filter_map(Connection::warning).collect();
    let unused = config.servers.keys().filter(|server| config.connections.values().all(|c| c.address() != **server));
    let unused =
        unused.map(|server| format!("`servers.\"{server}\"` bounds nothing: no connection has this host and port"));
    config.warnings.extend(unused.collect::<Vec<_>>());
    config
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_brackets_part_no_patterns() {
        assert_eq!(split_patterns("dbo.*, !dbo.[a,b] ,\"x,y\".z,"), ["dbo.*", "!dbo.[a,b]", "\"x,y\".z"]);
    }
}

//! Lays the layers over each other and reads the result.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use datakit_model::TablePatterns;
use serde_json::Value as Json;

use crate::connection::{self, Connection, Encrypt};
use crate::environment::{self, Environment, put, put_table};
use crate::files;
use crate::ingest::{self, Ingest, Mode, Names};
use crate::limits::{self, Limits};
use crate::node::{self, Table, Value};
use crate::pool;
use crate::problem::{ConfigErrors, Problem, Problems};
use crate::reader::{TableReader, nearest, resolve_path};
use crate::sink::{self, SinkConfig};
use crate::text::Origin;

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
}

/// `[warehouse]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warehouse {
    /// Its name, for people.
    pub name: Option<String>,
    /// Where datakits are: `host[:port]/prefix`, or `oci:PATH` with the path resolved.
    pub registry: Option<String>,
    /// Plain HTTP to a registry that is not this machine.
    pub plain_http: bool,
    /// The folder of pulled datakits and compiled code.
    pub cache: Option<PathBuf>,
}

/// A configuration without errors.
#[derive(Debug, Clone)]
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
    /// `[limits]`
    pub limits: Limits,
    /// What works but should be known.
    pub warnings: Vec<String>,
    /// What is as it was asked for, in a way that is easily overlooked.
    pub notes: Vec<String>,
    pub(crate) over: IngestOverrides,
}

/// What environment and flags say over the chosen ingest.
#[derive(Debug, Clone, Default)]
pub(crate) struct IngestOverrides {
    pub(crate) tables: Option<TablePatterns>,
    /// JSON objects, the weakest first.
    pub(crate) settings: Vec<Json>,
    pub(crate) parallel: Option<u64>,
    pub(crate) mode: Option<Mode>,
}

/// Reads the configuration.
///
/// # Errors
/// Every error of every layer; a file that is not TOML hides what depends on it.
pub fn load(layers: &Layers) -> Result<Config, ConfigErrors> {
    let problems = Problems::default();
    let file = match &layers.file {
        Some(path) => files::load(path, &problems),
        None => Some(Table::new()),
    };
    let Some(mut tree) = file else { return Err(only_errors(problems)) };
    let environment = Environment::new(&layers.environment, &tree);
    let overlay = environment.overlay(&tree, &problems);
    let warnings = environment.warnings(&tree);
    let mut replaced = environment::replaced(&tree, &overlay);
    node::merge(&mut tree, overlay);
    node::merge(&mut tree, flags_layer(&layers.flags));
    let over = ingest_overrides(&environment, &layers.flags, &problems);
    let mut config = read(&tree, layers.file.clone(), over, &problems);
    config.warnings.extend(warnings);
    if !config.ingests.is_empty() && layers.flags.tables.is_empty() && config.over.tables.is_some() {
        replaced.push(format!("`ingest.tables` ({})", environment::DATAKIT_TABLES));
    }
    if !config.ingests.is_empty() && environment.get(environment::DATAKIT_SETTINGS).is_some() {
        replaced.push(format!("`ingest.settings` ({})", environment::DATAKIT_SETTINGS));
    }
    if !replaced.is_empty() {
        config.notes.push(format!("variables replace what the file says: {}", replaced.join(", ")));
    }
    problems.into_result(config)
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
    put_table(&mut layer, "warehouse", warehouse, Origin::Flag("--registry"));
    layer
}

fn ingest_overrides(environment: &Environment<'_>, flags: &Overrides, problems: &Problems) -> IngestOverrides {
    let flag = Origin::Flag("--tables");
    let variable = Origin::Variable(environment::DATAKIT_TABLES);
    let tables = if flags.tables.is_empty() {
        let listed = environment.get(environment::DATAKIT_TABLES).map(split_patterns);
        listed.and_then(|texts| patterns(&texts, &variable, problems))
    } else {
        let listed: Vec<String> = flags.tables.iter().flat_map(|texts| split_patterns(texts)).collect();
        patterns(&listed, &flag, problems)
    };
    let settings = [
        (environment.get(environment::DATAKIT_SETTINGS), Origin::Variable(environment::DATAKIT_SETTINGS)),
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
    let mode = flags.mode.or_else(|| mode_of(environment, problems));
    IngestOverrides { tables, settings, parallel, mode }
}

fn mode_of(environment: &Environment<'_>, problems: &Problems) -> Option<Mode> {
    let found = environment.get(environment::DATAKIT_MODE)?;
    if let Some((_, mode)) = ingest::MODES.iter().find(|(word, _)| *word == found) {
        return Some(*mode);
    }
    let allowed: Vec<&'static str> = ingest::MODES.iter().map(|(word, _)| *word).collect();
    let meant = nearest(found, allowed.iter().copied());
    let problem = Problem::NotAllowed { path: "mode".to_owned(), found: found.to_owned(), allowed, meant };
    problems.at(problem, &Origin::Variable(environment::DATAKIT_MODE));
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

fn read(tree: &Table, file: Option<PathBuf>, over: IngestOverrides, problems: &Problems) -> Config {
    let mut root = TableReader::new(tree, "", Origin::Flag("--config"), problems);
    let warehouse = read_warehouse(&mut root);
    let connection_tables = root.named_tables("connections");
    let sink_tables = root.named_tables("sinks");
    // A connection that has an error of its own is still a known name.
    let connection_names: Vec<String> = connection_tables.iter().map(|(name, _)| name.clone()).collect();
    let sink_names: Vec<String> = sink_tables.iter().map(|(name, _)| name.clone()).collect();
    let connections: BTreeMap<_, _> = connection_tables
        .into_iter()
        .filter_map(|(name, table)| Some((name.clone(), connection::read(&name, table)?)))
        .collect();
    let sinks: BTreeMap<_, _> =
        sink_tables.into_iter().filter_map(|(name, table)| Some((name.clone(), sink::read(&name, table)?))).collect();
    let names = Names {
        connections: connection_names.iter().map(String::as_str).collect(),
        sinks: sink_names.iter().map(String::as_str).collect(),
    };
    let ingests = ingest::read_all(&mut root, &names);
    let limits = limits::read(&mut root);
    let servers = pool::read_servers(&mut root);
    root.finish();
    let mut warnings: Vec<String> = connections.values().filter_map(warning).collect();
    for server in servers.keys().filter(|server| connections.values().all(|c: &Connection| c.address() != **server)) {
        warnings.push(format!("`servers.\"{server}\"` bounds nothing: no connection has this host and port"));
    }
    Config { file, warehouse, connections, servers, sinks, ingests, limits, warnings, notes: Vec::new(), over }
}

fn read_warehouse(root: &mut TableReader<'_>) -> Warehouse {
    let Some(mut table) = root.table("warehouse") else { return Warehouse::default() };
    let name = table.string("name").map(|found| found.value);
    let registry = table.string("registry").map(|found| match found.value.strip_prefix("oci:") {
        Some(path) if !path.is_empty() => format!("oci:{}", resolve_path(path, &found.origin).display()),
        _ => found.value,
    });
    let plain_http = table.boolean("plain_http").is_some_and(|found| found.value);
    let cache = table.path("cache").map(|found| found.value);
    table.finish();
    Warehouse { name, registry, plain_http, cache }
}

fn warning(connection: &Connection) -> Option<String> {
    let (name, encrypt, trusts_all) = match connection {
        Connection::SqlServer(c) => (&c.name, c.encrypt, c.trust_certificate),
        // A Unix socket leaves the machine on no way.
        Connection::Postgres(c) if c.server.host.starts_with('/') => return None,
        Connection::Files(_) => return None,
        Connection::Postgres(c) => (&c.server.name, c.server.encrypt, c.server.trust_certificate),
    };
    if encrypt == Encrypt::Off {
        return Some(format!("connection `{name}`: `encrypt = \"off\"` sends every row in the clear"));
    }
    trusts_all.then(|| {
        format!("connection `{name}`: `trust_certificate = true` lets anyone on the way read and change the rows")
    })
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

//! Ingests: which datakit reads what into which sink.

use std::collections::BTreeMap;

use datakit_model::{TablePattern, TablePatterns};

use crate::node::{self, Node, Value};
use crate::problem::{Problem, Problems};
use crate::reader::{Located, TableReader, nearest};
use crate::text::Origin;

/// The most partitions worked on at one time, of one ingest.
pub(crate) const MAX_PARALLEL: u64 = 256;

pub(crate) const MODES: [(&str, Mode); 2] = [("append", Mode::Append), ("overwrite", Mode::Overwrite)];

/// What happens to the rows a table already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// They stay.
    Append,
    /// The commit replaces them all.
    Overwrite,
}

/// Which datakit reads what into which sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingest {
    /// What `--ingest` calls it.
    pub name: Option<String>,
    /// `NAME@VERSION` or `NAME@sha256:…`.
    pub datakit: String,
    /// Role of the datakit → connection.
    pub roles: BTreeMap<String, String>,
    /// The sink's name; none where no sink is configured and none may be needed.
    pub sink: Option<String>,
    /// Selection and grant.
    pub tables: TablePatterns,
    /// The datakit's settings, a JSON object.
    pub settings: serde_json::Value,
    /// What happens to the rows a table already has; none: a full load of a table that holds rows is refused.
    pub mode: Option<Mode>,
    /// Partitions worked on at one time; none: the run's limit.
    pub parallel: Option<u64>,
}

/// The names an ingest may refer to.
pub(crate) struct Names<'n> {
    pub(crate) connections: Vec<&'n str>,
    pub(crate) sinks: Vec<&'n str>,
}

/// Reads every `[[ingest]]`.
pub(crate) fn read_all(root: &mut TableReader<'_>, names: &Names<'_>) -> Vec<Ingest> {
    const EXPECTED: &str = "an array of tables, [[ingest]]";
    let Some(nodes) = root.array("ingest", EXPECTED) else { return Vec::new() };
    let mut ingests = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("ingest[{}]", index + 1);
        match &node.value {
            Value::Table(table) => {
                let reader = TableReader::new(table, path, node.origin.clone(), root.problems());
                ingests.extend(read(reader, names));
            }
            other => {
                let problem = Problem::WrongType { path, found: other.type_name(), expected: "a table" };
                root.problems().at(problem, &node.origin);
            }
        }
    }
    ingests
}

fn read(mut table: TableReader<'_>, names: &Names<'_>) -> Option<Ingest> {
    let name = table.string("name").map(|found| found.value);
    let datakit = table.required_string("datakit", "write `datakit = \"NAME@VERSION\"`");
    let datakit = datakit.and_then(|found| check_reference(found, table.problems()));
    let roles = read_roles(&mut table, names);
    let sink = table.required_string("sink", "write `sink = \"NAME\"`, a table [sinks.NAME]");
    let sink = sink.and_then(|found| known_name(&table, "sink", "sink", found, &names.sinks));
    let tables = read_tables(&mut table);
    let settings = read_settings(&mut table);
    let mode = table.choice("mode", &MODES);
    let parallel = table.integer("parallel", 1, MAX_PARALLEL);
    table.finish();
    Some(Ingest {
        name,
        datakit: datakit?,
        roles: roles?,
        sink: Some(sink?),
        tables: tables?,
        settings: settings?,
        mode: mode.map(|found| found.value),
        parallel: parallel.map(|found| found.value),
    })
}

fn read_roles(table: &mut TableReader<'_>, names: &Names<'_>) -> Option<BTreeMap<String, String>> {
    const HINT: &str = "write `roles = { source = \"CONNECTION\" }`, a table [connections.CONNECTION]";
    if table.entry("roles").is_none() {
        table.missing("roles", HINT);
        return None;
    }
    let mut roles = BTreeMap::new();
    for (role, connection) in table.named_strings("roles") {
        let path = format!("roles.{role}");
        if let Some(connection) = known_name(table, &path, "connection", connection, &names.connections) {
            roles.insert(role, connection);
        }
    }
    Some(roles)
}

fn known_name(
    table: &TableReader<'_>,
    key: &str,
    what: &'static str,
    found: Located<String>,
    known: &[&str],
) -> Option<String> {
    if known.contains(&found.value.as_str()) {
        return Some(found.value);
    }
    let problem = Problem::UnknownName {
        path: table.path_of_nested(key),
        what,
        meant: nearest(&found.value, known.iter().copied()),
        name: found.value,
        known: known.iter().map(|name| (*name).to_owned()).collect(),
    };
    table.problems().at(problem, &found.origin);
    None
}

fn read_tables(table: &mut TableReader<'_>) -> Option<TablePatterns> {
    if table.entry("tables").is_none() {
        table.missing("tables", "write `tables = [\"dbo.*\"]`: what is not granted is not read");
        return None;
    }
    let path = table.path_of("tables");
    let origin = table.entry("tables")?.node.origin.clone();
    let nodes = table.array("tables", "an array of table patterns")?;
    let mut patterns = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        patterns.push(read_pattern(&format!("{path}[{}]", index + 1), node, table.problems()));
    }
    let patterns: Option<Vec<TablePattern>> = patterns.into_iter().collect();
    granting(patterns?, &origin, table.problems())
}

fn read_pattern(path: &str, node: &Node, problems: &Problems) -> Option<TablePattern> {
    let Value::String(text) = &node.value else {
        let found = node.value.type_name();
        problems.at(Problem::WrongType { path: path.to_owned(), found, expected: "a string" }, &node.origin);
        return None;
    };
    parse_pattern(path, text, &node.origin, problems)
}

pub(crate) fn parse_pattern(path: &str, text: &str, origin: &Origin, problems: &Problems) -> Option<TablePattern> {
    match text.parse() {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            problems.at(Problem::Pattern { path: path.to_owned(), problem }, origin);
            None
        }
    }
}

/// Patterns that grant something: exclusions alone grant nothing.
pub(crate) fn granting(patterns: Vec<TablePattern>, origin: &Origin, problems: &Problems) -> Option<TablePatterns> {
    if patterns.iter().all(TablePattern::is_exclusion) {
        problems.at(Problem::NoTables, origin);
        return None;
    }
    Some(TablePatterns::new(patterns))
}

fn read_settings(table: &mut TableReader<'_>) -> Option<serde_json::Value> {
    let Some(entry) = table.entry("settings") else { return Some(serde_json::Value::Object(serde_json::Map::new())) };
    // Only its type is checked here; the datakit's own schema says what is in it.
    table.table("settings")?;
    Some(node::to_json(&entry.node))
}

/// `NAME@VERSION` or `NAME@sha256:…`, as far as it can be told from other things here; the registry reads it in full.
fn check_reference(found: Located<String>, problems: &Problems) -> Option<String> {
    if is_reference(&found.value) {
        return Some(found.value);
    }
    problems.at(Problem::Reference { found: found.value }, &found.origin);
    None
}

pub(crate) fn is_reference(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, version)| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty() && name.chars().all(plain) && version.chars().any(|c| c.is_ascii_alphanumeric())
    })
}

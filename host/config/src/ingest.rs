//! Ingests: which datakit reads what into which sink.

use std::collections::BTreeMap;

use datakit_model::{ReceiptLevel, TablePattern, TablePatterns};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::drift::DriftSetting;
use crate::node::{Entry, Node, Value};
use crate::problem::{Problem, Problems};
use crate::quality::QualityRule;
use crate::reader::nearest;
use crate::rejects::RejectedRule;
use crate::settings::{Checks, Settings as _};
use crate::text::Origin;

/// The most partitions worked on at one time, of one ingest.
pub(crate) const MAX_PARALLEL: u64 = 256;

/// What happens to the rows a table already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay.
    Append,
    /// The commit replaces them all.
    Overwrite,
    /// A row replaces the one of the same key, or removes it; the others stay.
    Merge,
}

/// Which datakit reads what into which sink.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct Ingest {
    /// What `--ingest` calls it, where several run the same datakit.
    pub name: Option<String>,
    /// `NAME@VERSION`, or `NAME@sha256:…` for exactly these bytes.
    #[schemars(extend("x-hint" = "write `datakit = \"NAME@VERSION\"`"))]
    pub datakit: String,
    /// Role of the datakit → connection.
    #[schemars(extend("x-hint" = "write `roles = { source = \"CONNECTION\" }`, a table [connections.CONNECTION]"))]
    pub roles: BTreeMap<String, String>,
    /// The sink's name.
    ///
    /// None where no sink is configured and none may be needed.
    #[schemars(with = "String", description = "The sink's name.", extend("x-hint" = "write `sink = \"NAME\"`, a table [sinks.NAME]"))]
    pub sink: Option<String>,
    /// Patterns of tables, `SCHEMA.TABLE` with `*` and `?`, `!` to take away. They select what is read, and grant what the
    /// datakit's SQL may name.
    #[serde(deserialize_with = "read_tables")]
    #[schemars(
        with = "Vec<String>",
        extend(
            "x-hint" = "write `tables = [\"dbo.*\"]`: what is not granted is not read",
            "x-expected" = "an array of table patterns"
        )
    )]
    pub tables: TablePatterns,
    /// The keys, tables `[keys.NAME]`, that the datakit may use for keyed hashes; a key that is not here cannot be used.
    #[serde(default)]
    #[schemars(extend("default" = [], "x-expected" = "an array of names of keys"))]
    pub keys: Vec<String>,
    /// The datakit's settings; its own schema says what there is.
    #[serde(default = "no_settings")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub settings: serde_json::Value,
    /// What must hold of a load before its commit, and what becomes of the datakit's rules.
    #[serde(default)]
    #[schemars(extend("default" = [], "x-expected" = "an array of tables, [[ingest.quality]]"))]
    pub quality: Vec<QualityRule>,
    /// What happens to the rows a table already has; where nobody says, a full load into a table that holds rows is refused.
    pub mode: Option<Mode>,
    /// What happens where the columns of a table are not those of its source: one word, or a word for each pattern of tables
    /// (`{ "dbo.*" = "freeze" }`); a pattern without wildcards counts before others, and tables that no pattern matches evolve.
    #[serde(default)]
    #[schemars(extend("x-expected" = "a word, or a table of words by patterns of tables"))]
    pub drift: DriftSetting,
    /// How many rows of a table may be rejected for a value that the host cannot represent; by default a bad value fails its table.
    #[schemars(extend("x-expected" = "a table, such as { max_rows = 100 }"))]
    pub rejected: Option<RejectedRule>,
    /// What is compared between source and sink before rows become visible; `count` by default.
    pub receipt: Option<ReceiptLevel>,
    /// Partitions worked on at one time; `limits.run.max_parallel_partitions` by default.
    #[schemars(range(min = 1, max = MAX_PARALLEL))]
    pub parallel: Option<u64>,
    /// Whether a table is read once for this ingest and for those beside it that read the same into other sinks.
    #[serde(default = "shares_reads")]
    pub share_reads: bool,
}

fn shares_reads() -> bool {
    true
}

fn no_settings() -> serde_json::Value {
    serde_json::Value::Object(serde_json::Map::new())
}

pub(crate) fn read_tables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TablePatterns, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let patterns: Result<Vec<TablePattern>, _> = texts.iter().map(|text| text.parse()).collect();
    patterns.map(TablePatterns::new).map_err(D::Error::custom)
}

/// The names an ingest may refer to.
pub(crate) struct Names<'n> {
    pub(crate) connections: Vec<&'n str>,
    pub(crate) sinks: Vec<&'n str>,
    pub(crate) keys: Vec<&'n str>,
}

impl Ingest {
    /// Whether both read the same tables in the same way, for different sinks: then a table is read once for both where both
    /// have come to the same position.
    #[must_use]
    pub fn shares_reads_with(&self, other: &Self) -> bool {
        let reads = |ingest: &Self| {
            let mut keys = ingest.keys.clone();
            keys.sort_unstable();
            let Self { datakit, roles, tables, settings, parallel, rejected, .. } = ingest.clone();
            (datakit, roles, tables, keys, settings, parallel, rejected)
        };
        let are_apart = self.sink.is_some() && other.sink.is_some() && self.sink != other.sink;
        are_apart && self.share_reads && other.share_reads && reads(self) == reads(other)
    }

    /// Reports what is no datakit, no table pattern, or names what is not there.
    pub(crate) fn check(at: &Checks<'_>, names: &Names<'_>) {
        if let Some(found) = at.get("datakit").filter(|found: &String| !is_reference(found)) {
            at.report("datakit", |_| Problem::Reference { found });
        }
        if let Some(roles) = at.within("roles") {
            roles.keys().for_each(|role| check_name(&roles, role, "connection", &names.connections));
        }
        check_name(at, "sink", "sink", &names.sinks);
        check_keys(at, &names.keys);
        check_tables(at);
        check_drift(at);
        at.elements("quality").iter().for_each(QualityRule::check);
        at.check_within::<RejectedRule>("rejected");
    }
}

fn check_name(at: &Checks<'_>, key: &str, what: &'static str, known: &[&str]) {
    let Some(name) = at.get::<String>(key).filter(|name| !known.contains(&name.as_str())) else { return };
    at.report(key, |path| unknown(path, what, name, known));
}

fn check_keys(at: &Checks<'_>, known: &[&str]) {
    let names = at.get::<Vec<String>>("keys").unwrap_or_default();
    for name in names.into_iter().filter(|name| !known.contains(&name.as_str())) {
        at.report("keys", |path| unknown(path, "key", name, known));
    }
}

fn unknown(path: String, what: &'static str, name: String, known: &[&str]) -> Problem {
    let meant = nearest(&name, known.iter().copied());
    Problem::UnknownName { path, what, meant, name, known: known.iter().map(|name| (*name).to_owned()).collect() }
}

pub(crate) fn check_tables(at: &Checks<'_>) {
    let Some(Entry { node: Node { value: Value::Array(nodes), origin }, .. }) = at.entry("tables") else { return };
    let path = at.path_of("tables");
    // Each is parsed before any is given up, so that all bad ones are reported.
    let patterns = nodes.iter().enumerate().map(|(index, node)| match &node.value {
        Value::String(text) => parse_pattern(&format!("{path}[{}]", index + 1), text, &node.origin, at.problems()),
        _ => None,
    });
    let patterns: Vec<Option<TablePattern>> = patterns.collect();
    if let Some(patterns) = patterns.into_iter().collect() {
        granting(patterns, origin, at.problems());
    }
}

fn check_drift(at: &Checks<'_>) {
    let Some(drift) = at.within("drift") else { return };
    for text in drift.keys() {
        let (path, origin) = (drift.path_of(text), drift.entry(text).map(|entry| &entry.key));
        let Some(origin) = origin else { continue };
        if parse_pattern(&path, text, origin, at.problems()).is_some_and(|pattern| pattern.is_exclusion()) {
            let message = "a pattern that takes tables away has no rule".to_owned();
            at.problems().at(Problem::Refused { path, message }, origin);
        }
    }
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

/// `NAME@VERSION` or `NAME@sha256:…`, as far as it can be told from other things here; the registry reads it in full.
pub(crate) fn is_reference(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, version)| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !name.is_empty() && name.chars().all(plain) && version.chars().any(|c| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ingest(changed: serde_json::Value) -> Ingest {
        let mut ingest = json!({
            "datakit": "kit@0.1.0", "roles": { "source": "erp" }, "sink": "lake", "tables": ["dbo.*"], "keys": ["a", "b"],
            "settings": { "maxdop": 4 }
        });
        let keys = ingest.as_object_mut().unwrap();
        keys.extend(changed.as_object().unwrap().clone());
        serde_json::from_value(ingest).unwrap()
    }

    #[test]
    fn ingests_that_read_the_same_into_other_sinks_share_their_reads() {
        let lake = ingest(json!({}));
        let other = |changed: serde_json::Value| lake.shares_reads_with(&ingest(changed));
        assert!(other(json!({ "sink": "pg" })));
        assert!(other(json!({ "sink": "pg", "name": "n", "mode": "merge", "drift": "fail", "receipt": "full" })));
        assert!(other(json!({ "sink": "pg", "keys": ["b", "a"] })), "the order of keys means nothing");
        assert!(!other(json!({})), "the same sink");
        for (key, value) in [
            ("datakit", json!("kit@0.2.0")),
            ("roles", json!({ "source": "crm" })),
            ("tables", json!(["dbo.*", "!dbo.t"])),
            ("keys", json!(["a"])),
            ("settings", json!({ "maxdop": 2 })),
            ("parallel", json!(2)),
            ("rejected", json!({ "max_rows": 1 })),
            ("share_reads", json!(false)),
        ] {
            assert!(!other(json!({ "sink": "pg", (key): value })), "{key}");
        }
    }
}

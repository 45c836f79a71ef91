//! What the test asks for: `{"attack": "…", "ipc": "…", "sql": "…"}`, or `{"attack": "queries", "queries": {"NAME": QUERY}}`, where a QUERY is
//! `{"sql": "…", "timeout_ms": 5}` or `{"read": {"schema": "…", "name": "…", "path": "…", "type": "…"}}`.

use serde_json::Value;

use crate::bindings::datakit::kit::run;
use crate::bindings::datakit::kit::types::TableId;

/// The attack's name; empty: none.
pub fn attack() -> String {
    text("attack")
}

/// An expression of the language of projections.
pub fn sql() -> String {
    text("sql")
}

/// Bytes of an Arrow IPC stream, from their hexadecimal form.
pub fn ipc() -> Vec<u8> {
    let digits: Vec<u8> = text("ipc").chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What the test asks a source for.
pub enum Asked {
    /// A query.
    Query {
        /// Its text.
        sql: String,
        /// How long the datakit says that it may take.
        timeout_ms: Option<u32>,
    },
    /// The column `id` of a file.
    Read {
        /// The table.
        table: TableId,
        /// The file.
        path: String,
        /// The column's type.
        arrow_type: String,
    },
}

/// The names of the queries, each of which is a table.
pub fn query_names() -> Vec<String> {
    let queries = &all()["queries"];
    queries.as_object().into_iter().flat_map(|queries| queries.keys().cloned()).collect()
}

/// The query of this name; none: an honest one.
pub fn query(name: &str) -> Option<Asked> {
    let settings = all();
    let query = settings.get("queries")?.get(name)?;
    if let Some(read) = query.get("read") {
        let part = |name: &str| read[name].as_str().unwrap_or_default().to_owned();
        let table = TableId { catalog: None, schema: part("schema"), name: part("name") };
        return Some(Asked::Read { table, path: part("path"), arrow_type: part("type") });
    }
    let timeout_ms = query["timeout_ms"].as_u64().and_then(|timeout| u32::try_from(timeout).ok());
    Some(Asked::Query { sql: query["sql"].as_str()?.to_owned(), timeout_ms })
}

fn all() -> Value {
    serde_json::from_str(&run::settings()).unwrap_or_default()
}

fn text(name: &str) -> String {
    all().get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

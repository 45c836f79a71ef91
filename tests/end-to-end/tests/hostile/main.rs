//! A stranger's datakit against the real `host`, SQL Server, PostgreSQL and files: each attack ends with its exact error, and what it makes
//! the host use is bounded.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says where it fails; wall time is shown, not asserted"
)]

#[path = "../../../../host/wasm/tests/guests/bombs.rs"]
mod bombs;
mod components;
mod contracts;
mod files;
mod forever;
mod postgres;
mod rows;
mod sqlserver;

use std::fs;
use std::path::Path;
use std::time::Instant;

use datakit_tests::{Output, Started};
use serde_json::{Value, json};

/// `host run` with the queries of the hostile datakit.
const RUN: [&str; 5] = ["run", "--output", "json", "--run-id", "run-1"];

/// The settings with which the hostile datakit has a table for each query, under its name.
fn queries<'a>(queries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let queries = queries.into_iter().map(|(name, sql)| (name.to_owned(), json!({ "sql": sql })));
    json!({ "attack": "queries", "queries": queries.collect::<serde_json::Map<_, _>>() }).to_string()
}

/// Makes the hostile datakit that of the warehouse file, with a connection for each of its roles and a grant.
fn attack(folder: &Path, datakit: &str, connection: &str, grant: &[&str]) {
    let path = folder.join("warehouse.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (before, ingest) = text.split_once("[[ingest]]").unwrap();
    let roles =
        format!("roles = {{ source = \"{connection}\", unmapped = \"{connection}\", other-kind = \"nothing\" }}");
    let ingest = ingest.replace(datakit, "hostile@0.1.0");
    let ingest = ingest.replace(&format!("roles = {{ source = \"{connection}\" }}"), &roles);
    let ingest = ingest.replace("tables = [\"*.*\"]", &format!("tables = {}", json!(grant)));
    let nothing = "[connections.nothing]\nkind = \"files\"\nsource_system = \"NOTHING\"\nroot = \"./nothing\"\n";
    fs::create_dir_all(folder.join("nothing")).unwrap();
    fs::write(path, format!("{before}{nothing}\n[[ingest]]{ingest}")).unwrap();
}

/// How the query of this name ended.
fn table<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let tables = summary["tables"].as_array().unwrap();
    let found = tables.iter().find(|table| table["table"] == format!("query.{name}"));
    found.unwrap_or_else(|| panic!("no {name} in {summary}"))
}

/// How each query ended, for a golden file: its name, its text, and its error or its rows.
fn reported(output: &Output, asked: &[(&str, &str)]) -> String {
    let summary = output.json();
    let mut text = String::new();
    for (name, sql) in asked {
        let table = table(&summary, name);
        let error = &table["error"];
        let part = |key: &str| error[key].as_str().unwrap_or_default();
        let ended = match error {
            Value::Null => format!("{} rows", table["rows"]),
            _ => format!("{}: {}", part("code"), part("message")),
        };
        let sql = if sql.len() > 160 { format!("{}…", &sql[..160]) } else { (*sql).to_owned() };
        let sql = sql.replace('\0', "\\0");
        let ended = ended.replace('\0', "\\0");
        text.push_str(&format!("{name}: {sql}\n    {ended}\n"));
    }
    text
}

/// The end of a process, the most memory that it had in bytes, and its time on standard error.
fn measured(what: &str, process: Started) -> (Output, u64) {
    let started = Instant::now();
    let (output, peak_bytes) = process.end_measured();
    eprintln!("{what}: {:?}, {} MiB at the most", started.elapsed(), peak_bytes >> 20);
    assert!(peak_bytes > 0, "{what} ended before it was looked at");
    (output, peak_bytes)
}

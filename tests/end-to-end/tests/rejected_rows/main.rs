//! Rows with bad values of databases and files: rejected as far as the operator allows it, into a table of their own, and never in
//! silence.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bounds;
mod changes;
mod files;
mod postgres;
mod resumed;
mod sqlserver;

use serde_json::Value;

/// What a warehouse file says of rejected rows, behind the mode of its ingest.
fn rejected(rule: &str) -> String {
    format!("mode = \"append\"\nrejected = {{ {rule} }}")
}

/// The rows of a Delta table as objects, from what an independent reader finds.
fn rows(delta: &str) -> Vec<Value> {
    delta.lines().skip(1).filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Of each row the values of some columns, in the order of their text. A null is `-`.
fn column_texts(delta: &str, columns: &[&str]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let of_row = |row: &Value| columns.iter().map(|column| text(&row[*column])).collect::<Vec<_>>().join(" | ");
    let mut texts: Vec<String> = rows(delta).iter().map(of_row).collect();
    texts.sort();
    texts
}

/// Rows and rejected rows of the only table of a run.
fn counts(summary: &Value) -> (u64, u64) {
    let table = &summary["tables"][0];
    (table["rows"].as_u64().unwrap(), table["rejected"]["rows"].as_u64().unwrap_or(0))
}

/// The code and the message of the error of the only table of a run.
fn error(summary: &Value) -> (String, String) {
    let error = &summary["tables"][0]["error"];
    (error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

//! What the test asks for: `{"attack": "…", "ipc": "…", "sql": "…"}`.

use serde_json::Value;

use crate::bindings::datakit::kit::run;

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

fn text(name: &str) -> String {
    let settings: Value = serde_json::from_str(&run::info().settings).unwrap_or_default();
    settings.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

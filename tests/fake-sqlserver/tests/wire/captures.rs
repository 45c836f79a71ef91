//! Recorded conversations of tiberius with a real TDS server (Babelfish 4.4), one file a case.

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Capture {
    /// What was asked.
    pub sql: String,
    pub exchanges: Vec<Exchange>,
}

/// Whole TDS messages in hex, packet headers included.
#[derive(Deserialize)]
pub struct Exchange {
    pub client: String,
    pub server: String,
}

pub const NAMES: [&str; 12] = [
    "01-types",
    "02-orders-top5",
    "03-information-schema",
    "04-primary-keys",
    "05-missing-table",
    "06-error-after-rows",
    "07-empty-result",
    "08-two-results",
    "09-large-values",
    "10-wrong-password",
    "11-print-and-raiserror",
    "12-parameters",
];

pub fn load(name: &str) -> Capture {
    let path = format!("{}/tests/captures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The tokens of a recorded response: its packets without their headers.
pub fn tokens(hex_packets: &str) -> Vec<u8> {
    let bytes = hex::decode(hex_packets).unwrap();
    let mut rest = bytes.as_slice();
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        tokens.extend_from_slice(&rest[8..length]);
        rest = &rest[length..];
    }
    tokens
}

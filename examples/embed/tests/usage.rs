//! The example says how it is called. What it does is tested with the other end-to-end tests.

use std::process::Command;

#[test]
fn missing_argument_prints_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_embed")).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: embed WAREHOUSE_FILE"), "{output:?}");
}

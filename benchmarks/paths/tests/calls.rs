//! The way that needs no server.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn calls_are_counted_and_have_a_price() {
    let component = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/datakits/bench-passthrough.wasm");
    assert!(component.exists(), "{} is not built: run ./test", component.display());
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-paths"));
    command.arg("boundary").arg("--component").arg(component).arg("--code-cache").arg(cache.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["rows"], 50_000);
    assert!(told["call_microseconds"].is_f64(), "{told}");
}

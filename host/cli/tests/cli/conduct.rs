//! How the binary behaves towards shells and scripts.

use std::io::Read;

use crate::support::{command, host};
use serde_json::Value;

#[test]
fn a_run_that_cannot_start_gives_one_json_document() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = host(folder.path(), &["run", "kit@1.0.0", "--output", "json", "--run-id", "r1"], &[]);
    assert_eq!(outcome.code, 1);
    let summary: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((summary["run_id"].as_str(), summary["status"].as_str()), (Some("r1"), Some("failed")));
    assert_eq!((summary["datakit"].as_str(), summary["version"].as_str()), (Some("kit"), Some("1.0.0")));
    assert_eq!(summary["tables"].as_array().map(Vec::len), Some(0));
    assert_eq!(summary["errors"][0]["code"], "DK-CFG-024");
    assert!(outcome.stderr.starts_with("error[DK-CFG-024]"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), &["completions", "bash"], &[]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn completions_exist_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = host(folder.path(), &["completions", shell], &[]);
        assert_eq!(outcome.code, 0);
        assert!(outcome.stdout.contains("discover"), "{shell}");
    }
}

#[test]
fn answers_are_on_standard_output_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let version = host(folder.path(), &["--version"], &[]);
    assert_eq!((version.code, version.stdout.as_str(), version.stderr.as_str()), (0, "host 0.1.0\n", ""));
    let nothing = host(folder.path(), &[], &[]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""));
    assert!(nothing.stderr.contains("Usage: host"));
}

#[test]
fn an_empty_registry_lists_nothing_and_one_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["list", "--registry", "oci:registry"][..], &["list", "kit", "--registry", "oci:registry"]] {
        let misspelt = host(folder.path(), arguments, &[]);
        assert_eq!((misspelt.code, misspelt.stdout.as_str()), (1, ""));
        assert!(misspelt.stderr.contains("error[DK-REG-020]: registry is no OCI image layout"), "{}", misspelt.stderr);
        assert!(misspelt.stderr.contains("hint: check the path"), "{}", misspelt.stderr);
    }
    std::fs::create_dir(folder.path().join("registry")).unwrap();
    let text = host(folder.path(), &["list", "--registry", "oci:registry"], &[]);
    assert_eq!((text.code, text.stdout.as_str()), (0, ""));
    let json = host(folder.path(), &["list", "--output", "json", "--registry", "oci:registry"], &[]);
    assert_eq!((json.code, json.stdout.as_str()), (0, "[]\n"));
    let unknown = host(folder.path(), &["list", "kit", "--registry", "oci:registry"], &[]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, ""));
    assert!(unknown.stderr.contains("error[DK-REG-011]: `kit` is not in oci:registry"), "{}", unknown.stderr);
}

#[test]
fn there_are_no_colours_without_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["run"], &["rnu"]] {
        let outcome = host(folder.path(), arguments, &[]);
        assert!(!outcome.shown().contains('\u{1b}'));
    }
}

#[test]
fn a_good_file_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "x\n").unwrap();
    let file = "[connections.erp]\nkind = \"sqlserver\"\nserver = \"sql01\"\ndatabase = \"ERP\"\n\
                encrypt = \"off\"\nauth = { user = \"svc\", password = { file = \"password\" } }\n";
    std::fs::write(folder.path().join("warehouse.toml"), file).unwrap();
    let outcome = host(folder.path(), &["validate", "--secrets"], &[]);
    assert_eq!(outcome.stdout, "warehouse.toml is valid: 1 connection, 0 sinks, 0 ingests\n");
    assert!(outcome.stderr.contains("warning: connection `erp`: `encrypt = \"off\"`"), "{}", outcome.stderr);
}

#[test]
fn a_signal_ends_a_command_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    // A registry that takes the connection and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = format!("{}/kits", listener.local_addr().unwrap());
    let child = command(folder.path(), &["list", "kit", "--registry", &registry], &[]).spawn().unwrap();
    let _connection = listener.accept().unwrap();
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "the same command may succeed later: {stderr}");
    assert!(stderr.starts_with("stopping: ") && stderr.contains("error[DK-CLI-010]: stopped"), "{stderr}");
}

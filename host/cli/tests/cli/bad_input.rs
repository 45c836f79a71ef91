//! Bad input that needs no server: each a coded message with a hint and the right exit code.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use crate::support::host;

const FILE: &str = r#"
[warehouse]
registry = "oci:registry"

[connections.erp]
kind = "sqlserver"
server = "127.0.0.1,1"
database = "ERP"
auth = { user = "svc", password = { env = "ERP_PASSWORD" } }

[sinks.bronze]
kind = "delta"
uri = "bronze"

[[ingest]]
datakit = "sqlserver-bronze@0.1.0"
roles = { source = "erp" }
sink = "bronze"
tables = ["dbo.*"]
"#;

const PASSWORD: (&str, &str) = ("ERP_PASSWORD", "Pl4nted-hunter2");

/// A folder with a warehouse file, a changed copy of [`FILE`].
fn folder(change: (&str, &str)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert!(FILE.contains(change.0));
    std::fs::write(folder.path().join("warehouse.toml"), FILE.replacen(change.0, change.1, 1)).unwrap();
    folder
}

fn unchanged() -> tempfile::TempDir {
    folder(("", ""))
}

fn shown(folder: &tempfile::TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let outcome = host(folder.path(), arguments, environment);
    let text = outcome.shown();
    assert!(!text.contains("Pl4nted-hunter2"), "{text}");
    text
}

#[test]
fn unknown_key() {
    insta::assert_snapshot!(shown(&folder(("server =", "sever =")), &["validate"], &[]));
}

#[test]
fn wrong_type() {
    insta::assert_snapshot!(shown(&folder(("\"127.0.0.1,1\"", "7")), &["run"], &[]));
}

#[test]
fn inline_password() {
    insta::assert_snapshot!(shown(&folder(("{ env = \"ERP_PASSWORD\" }", "\"Pl4nted-hunter2\"")), &["run"], &[]));
}

#[test]
fn every_error_at_once() {
    let change = ("database = \"ERP\"\nauth =", "databas = \"ERP\"\nencrypt = \"on\"\nauht =");
    insta::assert_snapshot!(shown(&folder(change), &["validate"], &[]));
}

#[test]
fn missing_secret() {
    insta::assert_snapshot!(shown(&unchanged(), &["run"], &[]));
    insta::assert_snapshot!(shown(&unchanged(), &["validate", "--secrets"], &[]));
    assert_eq!(host(unchanged().path(), &["validate"], &[]).code, 0);
}

#[test]
fn missing_file() {
    insta::assert_snapshot!(shown(&unchanged(), &["run", "--config", "prod.toml"], &[]));
}

#[test]
fn kerberos_settings_that_do_not_fit() {
    let change =
        ("{ user = \"svc\", password = { env = \"ERP_PASSWORD\" } }", "\"kerberos\"\nkerberos = { keytab = \"k\" }");
    insta::assert_snapshot!(shown(&folder(change), &["plan"], &[]));
}

#[test]
fn nothing_to_run() {
    let empty = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(shown(&empty, &["run"], &[]));
    insta::assert_snapshot!(shown(&empty, &["run", "sqlserver-bronze@0.1.0"], &[]));
    insta::assert_snapshot!(shown(&empty, &["validate"], &[]));
}

#[test]
fn no_sink() {
    let variables = [
        ("MSSQL_SERVER", "127.0.0.1,1"),
        ("MSSQL_DATABASE", "ERP"),
        ("MSSQL_USER", "svc"),
        ("MSSQL_PASSWORD", "Pl4nted-hunter2"),
        ("DATAKIT_TABLES", "dbo.*"),
    ];
    insta::assert_snapshot!(shown(&tempfile::tempdir().unwrap(), &["run", "sqlserver-bronze@0.1.0"], &variables));
}

#[test]
fn bad_reference() {
    insta::assert_snapshot!(shown(&unchanged(), &["run", "sqlserver-bronze"], &[PASSWORD]));
    insta::assert_snapshot!(shown(&unchanged(), &["pull", "Sqlserver@1"], &[]));
    insta::assert_snapshot!(shown(&folder(("@0.1.0", "@1")), &["validate"], &[]));
}

#[test]
fn bad_flags() {
    insta::assert_snapshot!(shown(
        &unchanged(),
        &["run", "--settings", "{maxdop}", "--tables", "orders", "--parallel", "0"],
        &[]
    ));
    insta::assert_snapshot!(shown(&unchanged(), &["run", "--ingest", "nightly"], &[PASSWORD]));
    insta::assert_snapshot!(shown(&unchanged(), &["run", "--run-id", "*/ DROP"], &[]));
    insta::assert_snapshot!(shown(&unchanged(), &["rnu"], &[]));
}

#[test]
fn bad_registry() {
    insta::assert_snapshot!(shown(&unchanged(), &["list", "--registry", "https://registry.example/kits"], &[]));
    insta::assert_snapshot!(shown(&folder(("oci:registry", "Registry.example/KITS")), &["validate"], &[]));
}

#[test]
fn datakit_not_published() {
    insta::assert_snapshot!(shown(&unchanged(), &["run"], &[PASSWORD]));
}

#[test]
fn not_locked() {
    insta::assert_snapshot!(shown(&unchanged(), &["run", "--locked"], &[PASSWORD]));
}

#[test]
fn registry_down() {
    // Port 1 answers with a refusal.
    let outcome = host(unchanged().path(), &["list", "sqlserver-bronze", "--registry", "127.0.0.1:1/kits"], &[]);
    assert_eq!(outcome.code, 4, "it may be up again later");
    assert!(outcome.stderr.starts_with("error[DK-REG-014]: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
}

#[test]
fn not_a_component() {
    let folder = unchanged();
    std::fs::write(folder.path().join("text.wasm"), "hello").unwrap();
    std::fs::write(folder.path().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    insta::assert_snapshot!(shown(&folder, &["publish", "nothing.wasm"], &[]));
    insta::assert_snapshot!(shown(&folder, &["publish", "text.wasm"], &[]));
    insta::assert_snapshot!(shown(&folder, &["publish", "module.wasm"], &[]));
    insta::assert_snapshot!(shown(&folder, &["inspect", "module.wasm"], &[]));
}

#[test]
fn oversized_component() {
    let folder = unchanged();
    let file = folder.path().join("warehouse.toml");
    std::fs::write(&file, format!("{FILE}\n[limits.guest]\nmax_component_bytes = 4\n")).unwrap();
    std::fs::write(folder.path().join("large.wasm"), "hello").unwrap();
    insta::assert_snapshot!(shown(&folder, &["publish", "large.wasm"], &[]));
}

#[test]
fn bad_log_filter() {
    insta::assert_snapshot!(shown(&unchanged(), &["validate"], &[("DATAKIT_LOG", "datakit=loud")]));
}

#[test]
fn no_folder_for_the_cache() {
    let folder = unchanged();
    insta::assert_snapshot!(shown(&folder, &["pull", "sqlserver-bronze@0.1.0"], &[("HOME", "")]));
}

//! Fuzz target: any text as a warehouse file.

use std::fmt::Write as _;

use datakit_model::Diagnostic as _;

use super::*;
use crate::text::{Place, SourceText};

/// Lines of a warehouse file. Each may stand anywhere, so most texts of them have errors.
const LINES: &[&str] = &[
    "[connections.erp]",
    "kind = \"sqlserver\"",
    "server = \"sql01.corp.example\"",
    "database = \"ERP\"",
    "auth = { user = \"svc\", password = { env = \"ERP_PASSWORD\" } }",
    "encrypt = \"off\"",
    "trust_certificate = true",
    "[connections.\"a b\"]",
    "kind = \"postgres\"",
    "host = \"pg01\"",
    "user = \"svc\"",
    "kind = \"files\"",
    "root = \"./landing\"",
    "[connections.erp.pool]",
    "max_connections = 0",
    "[sinks.bronze]",
    "kind = \"delta\"",
    "uri = \"./bronze\"",
    "uri = \"s3://bucket/bronze\"",
    "options = { access_key_id = { env = \"A\" } }",
    "[[ingest]]",
    "datakit = \"sqlserver-bronze@0.1.0\"",
    "roles = { source = \"erp\" }",
    "sink = \"bronze\"",
    "mode = \"append\"",
    "tables = [\"dbo.*\", \"!dbo.secret\"]",
    "tables = [1, [2], {}]",
    "[ingest.settings]",
    "[limits.guest]",
    "max_columns = -1",
    "[warehouse]",
    "registry = \"oci:./x\"",
    "cache = 2024-02-29T00:00:00Z",
    "x.y.z = inf",
    "[",
    "key = \"",
    "key = \"\"\"",
    "é = 'ü'",
    "\t\r",
    "# comment",
];

/// Lines with a password where none should be.
const SECRETS: &[&str] = &[
    "password = \"Pl4nted\"",
    "passwort = 'Pl4nted'",
    "auth = { user = \"svc\", password = \"Pl4nted\" }",
    "auth = { user = \"svc\", pwd = \"Pl4nted\", password = 1 }",
    "password = \"\"\"\nPl4nted\"\"\"",
    "uri = \"s3://key:Pl4nted@bucket/bronze\"",
    "server = \"sql01;Password=Pl4nted\"",
    "options = { account_key = \"Pl4nted\" }",
    "sas_token = [\"Pl4nted\"]",
];

/// The bytes themselves; or lines, one a byte, with the rest of the input behind them.
fn text(input: &[u8]) -> String {
    let Some((first, rest)) = input.split_first() else { return String::new() };
    if first % 4 == 0 {
        return String::from_utf8_lossy(rest).into_owned();
    }
    let line = |byte: &u8| match usize::from(*byte) {
        byte @ 0..200 => LINES[byte % LINES.len()],
        byte => SECRETS[byte % SECRETS.len()],
    };
    rest.iter().take(64).fold(String::new(), |text, byte| text + line(byte) + "\n")
}

/// All that is told of errors.
fn reported(errors: &ConfigErrors, text: &str) -> String {
    let mut reported = format!("{errors:?} {errors}");
    for error in errors.errors() {
        assert!(error.code().starts_with("DK-CFG-"));
        let _ = write!(reported, "{} {:?} {:?}", error.code(), error.hint(), error.context());
        let Some(Place::File(at)) = error.place() else { continue };
        assert!((1..=text.split('\n').count()).contains(&at.line) && at.column >= 1, "{at:?}");
        if let Some(excerpt) = &at.excerpt {
            let length = excerpt.line.chars().count();
            assert!(excerpt.column <= length + 1 && excerpt.length >= 1, "{at:?}");
        }
        reported.extend(at.lines());
    }
    reported
}

#[test]
fn fuzz_warehouse() {
    bolero::check!().for_each(|input: &[u8]| {
        let text = text(input);
        for is_extended in [false, true] {
            let problems = Problems::default();
            let source = SourceText::new(PathBuf::from("/w/warehouse.toml"), text.clone());
            let table = files::parse(source, is_extended, &problems).unwrap_or_default();
            let is_toml = problems.is_empty();
            assert_eq!(is_toml, toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
            match read(&table, &crate::testing::kinds(), problems) {
                Ok(config) => assert!(!format!("{config:?}").contains("Pl4nted"), "{text}"),
                Err(errors) if input.first().is_some_and(|first| first % 4 == 0) => drop(reported(&errors, &text)),
                Err(errors) => assert!(!reported(&errors, &text).contains("Pl4nted"), "{text}\n{errors}"),
            }
        }
    });
}

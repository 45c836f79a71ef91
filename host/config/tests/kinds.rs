//! A kind of connection that another crate brings: its type is all that the configuration knows of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::Path;

use datakit_config::{
    Checks, Config, ConfigErrors, ConnectionSettings, Kinds, Layers, Overrides, SecretSetting, SectionKind,
    SectionVariables, SettingPath, Settings, load, variables,
};
use datakit_model::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const QUEUE: SectionKind = SectionKind::connection::<Queue>("queue", "Queue").with_variables(SectionVariables {
    prefix: "QUEUE",
    makes: "broker",
    name: "queue",
});

/// A queue.
#[derive(Debug, Deserialize, JsonSchema)]
struct Queue {
    /// Host and port.
    #[schemars(extend("x-hint" = "write `broker = \"HOST:PORT\"`", "x-env" = ["_BROKER", "host and port"]))]
    broker: String,
    #[serde(flatten)]
    reading: Reading,
    /// Who logs in.
    login: Option<QueueLogin>,
}

/// How it is read.
#[derive(Debug, Deserialize, JsonSchema)]
struct Reading {
    /// Messages of one batch.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 500), extend("x-env" = ["_BATCH", "messages of one batch"]))]
    batch: u32,
    /// Where it begins.
    #[serde(default)]
    begin: Begin,
}

fn default_batch() -> u32 {
    100
}

/// Where reading begins.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Begin {
    /// At the oldest message.
    #[default]
    FirstMessage,
    /// At the next one.
    NextMessage,
}

/// A login.
#[derive(Debug, Deserialize, JsonSchema)]
struct QueueLogin {
    /// The key.
    key: SecretSetting,
    /// The certificate.
    certificate_file: SettingPath,
}

impl Settings for Queue {
    fn check(at: &Checks<'_>) {
        if at.get("begin") == Some(Begin::NextMessage) && at.is_set("batch") {
            at.contradiction("batch", ["`begin = \"next-message\"`", "`batch`"], "remove `batch`");
        }
    }
}

impl ConnectionSettings for Queue {
    fn address(&self) -> Option<String> {
        Some(self.broker.clone())
    }

    fn max_connections(&self) -> Option<u64> {
        None
    }

    fn secrets(&self) -> Vec<&SecretSetting> {
        self.login.iter().map(|login| &login.key).collect()
    }
}

fn load_queue(folder: &Path, section: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let file = folder.join("warehouse.toml");
    std::fs::write(&file, section).unwrap();
    let environment: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Layers { file: Some(file), environment, flags: Overrides::default() }, &Kinds::new(vec![QUEUE]))
}

#[test]
fn a_kind_from_outside_is_read_by_its_type_alone() {
    let folder = tempfile::tempdir().unwrap();
    let section = "[connections.orders]\nkind = \"queue\"\nbroker = \"Broker:9\"\nbegin = \"next-message\"\n\
                   login = { key = { env = \"KEY\" }, certificate_file = \"ca.pem\" }\n";
    let config = load_queue(folder.path(), section, &[]).unwrap();
    let connection = &config.connections["orders"];
    assert_eq!((connection.kind(), connection.address().as_str()), ("queue", "broker:9"));
    let queue: &Queue = connection.settings().unwrap();
    assert_eq!((queue.reading.batch, &queue.reading.begin), (100, &Begin::NextMessage));
    let login = queue.login.as_ref().unwrap();
    assert_eq!(*login.certificate_file, *folder.path().join("ca.pem"));
    assert_eq!(login.key.path, "connections.orders.login.key");
}

#[cfg(unix)]
#[test]
fn folder_that_is_not_text_is_kept() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join(std::ffi::OsStr::from_bytes(b"\xff"));
    std::fs::create_dir(&folder).unwrap();
    let section = "[connections.orders]\nkind = \"queue\"\nbroker = \"b:1\"\n\
                   login = { key = { env = \"KEY\" }, certificate_file = \"ca.pem\" }\n";
    let config = load_queue(&folder, section, &[]).unwrap();
    let queue: &Queue = config.connections["orders"].settings().unwrap();
    assert_eq!(*queue.login.as_ref().unwrap().certificate_file, *folder.join("ca.pem"));
}

#[test]
fn its_variables_make_a_connection_and_change_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = load_queue(folder.path(), "", &[("QUEUE_BROKER", "b:1"), ("QUEUE_BATCH", "7")]).unwrap();
    assert_eq!(config.connections["queue"].settings::<Queue>().unwrap().reading.batch, 7);
    let section = "[connections.orders]\nkind = \"queue\"\nbroker = \"b:2\"\n";
    let config = load_queue(folder.path(), section, &[("QUEUE_BATCH", "8")]).unwrap();
    let queue: &Queue = config.connections["orders"].settings().unwrap();
    assert_eq!((queue.broker.as_str(), queue.reading.batch), ("b:2", 8));
    let meanings = variables(&Kinds::new(vec![QUEUE]));
    assert!(
        meanings.iter().any(|found| found.name == "QUEUE_BATCH" && found.meaning == "Queue: messages of one batch")
    );
}

#[test]
fn all_its_errors_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let section = "[connections.orders]\nkind = \"queue\"\nbatch = 7\nbegin = \"next-message\"\nlogin = { key = \"Pl4nted\" }\n\
                   [connections.other]\nkind = \"queue\"\nbrokr = \"b:1\"\nbegin = \"frist-message\"\nbatch = 501\n";
    let errors = load_queue(folder.path(), section, &[]).unwrap_err();
    let found: Vec<(String, String, Option<String>)> =
        errors.errors().iter().map(|error| (error.code().into_owned(), error.to_string(), error.hint())).collect();
    let expected = [
        ("DK-CFG-005", "`connections.orders.broker` is missing", "write `broker = \"HOST:PORT\"`, or set QUEUE_BROKER"),
        ("DK-CFG-020", "`begin = \"next-message\"` and `batch` exclude each other", "remove `batch`"),
        ("DK-CFG-005", "`connections.orders.login.certificate_file` is missing", "add `connections"),
        ("DK-CFG-008", "`connections.orders.login.key` holds a secret in plain text", "refer to it instead"),
        ("DK-CFG-003", "unknown key `connections.other.brokr`", "did you mean `broker`?"),
        (
            "DK-CFG-006",
            "`connections.other.begin` is `frist-message`, which is not one of: first-message, next-message",
            "did you mean `first-message`?",
        ),
        ("DK-CFG-007", "`connections.other.batch` is 501, but must be from 1 to 500", "docs/warehouse-file.md"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((code, message, hint), (expected_code, expected_message, expected_hint)) in found.iter().zip(expected) {
        assert_eq!((code.as_str(), message.as_str()), (expected_code, expected_message));
        assert!(hint.as_deref().unwrap_or_default().starts_with(expected_hint), "{hint:?}");
    }
}

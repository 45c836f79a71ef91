//! Keys of keyed hashes: secrets by reference that an ingest is granted by name.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::sync::Arc;

use datakit_config::{
    Config, ConfigErrors, Kinds, Layers, Overrides, SecretSetting, SectionKind, Settings, SinkSettings, load,
};
use datakit_model::{Diagnostic, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

/// A sink, since an ingest names one.
#[derive(Debug, Deserialize, JsonSchema)]
struct Nowhere {}

impl Settings for Nowhere {}

impl SinkSettings for Nowhere {
    fn secrets(&self) -> Vec<&SecretSetting> {
        Vec::new()
    }
}

fn load_text(text: &str) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.toml");
    std::fs::write(&file, text).unwrap();
    load(
        &Layers { file: Some(file), environment: BTreeMap::new(), flags: Overrides::default() },
        &Kinds::new(vec![SectionKind::sink::<Nowhere>("nowhere", "Nowhere")]),
    )
}

fn ingest(keys: &str) -> String {
    format!(
        "[sinks.out]\nkind = \"nowhere\"\n[[ingest]]\ndatakit = \"a@1.0.0\"\nroles = {{}}\nsink = \"out\"\ntables = [\"dbo.*\"]\n{keys}\n"
    )
}

fn shown(errors: ConfigErrors) -> Vec<String> {
    let show =
        |error: datakit_config::ConfigError| format!("{} {error} | {}", error.code(), error.hint().unwrap_or_default());
    errors.into_iter().map(show).collect()
}

#[test]
fn key_is_a_secret_by_reference_that_is_granted_by_name() {
    let file = format!("{}{}", "[keys.pii]\nsecret = { env = \"PII_KEY\" }\n", ingest("keys = [\"pii\"]"));
    let config = load_text(&file).unwrap();
    assert_eq!(config.ingests[0].keys, ["pii"]);
    let setting = &config.keys["pii"];
    assert_eq!(setting.path, "keys.pii.secret");
    let environment = BTreeMap::from([("PII_KEY".to_owned(), "Pl4nted".repeat(5))]);
    let secret = setting.resolve(&environment).unwrap().unwrap().secret;
    assert_eq!(setting.key(Arc::new(secret)).unwrap().expose(), "Pl4nted".repeat(5).as_bytes());
    assert!(load_text(&ingest("")).unwrap().ingests[0].keys.is_empty(), "no key is granted by default");
}

#[test]
fn short_key_is_refused_at_its_setting() {
    let config = load_text("[keys.pii]\nsecret = { env = \"PII_KEY\" }\n").unwrap();
    let error = config.keys["pii"].key(Arc::new(Secret::new("Pl4nted".to_owned()))).unwrap_err();
    assert_eq!(error.code(), "DK-CFG-027");
    assert_eq!(error.to_string(), "`keys.pii.secret`: a key has 32 to 1024 bytes, and this one has 7");
    assert!(error.place().unwrap().to_string().contains("warehouse.toml:2"));
    assert!(!format!("{error:?} {error}").contains("Pl4nted"));
}

#[test]
fn key_in_plain_text_or_without_a_table_is_refused() {
    let errors = load_text("[keys.pii]\nsecret = \"Pl4nted-Pl4nted-Pl4nted-Pl4nted-\"\n").unwrap_err();
    assert!(!format!("{errors:?} {errors}").contains("Pl4nted"));
    assert!(shown(errors)[0].starts_with("DK-CFG-008 `keys.pii.secret` holds a secret in plain text"));
    let file = format!("[keys.customers]\nsecret = {{ env = \"K\" }}\n{}", ingest("keys = [\"customer\", \"x\"]"));
    let errors = shown(load_text(&file).unwrap_err());
    assert_eq!(
        errors,
        [
            "DK-CFG-016 `ingest[1].keys` names the key `customer`, which is not configured | did you mean `customers`?",
            "DK-CFG-016 `ingest[1].keys` names the key `x`, which is not configured | one of: customers"
        ]
    );
    let errors = shown(load_text(&ingest("keys = [\"x\"]")).unwrap_err());
    assert!(errors[0].ends_with("there is none: add a table [keys.NAME]"), "{errors:?}");
    assert!(shown(load_text("[keys.pii]\n").unwrap_err())[0].starts_with("DK-CFG-005 `keys.pii.secret` is missing"));
}

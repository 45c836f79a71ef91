//! Secrets by reference: what the configuration holds is where a secret is, never the secret.
//!
//! What a reference means is up to its kind, in `datakit_secrets`. Here is its place in the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use datakit_model::{HashKey, Secret};
use datakit_secrets::{Fields, KINDS, Key, Reported, SecretRef, Unavailable, is_key, local_forms};

use crate::node::{Entry, Value};
use crate::problem::{ConfigError, Problem, Problems};
use crate::reader::TableReader;
use crate::text::Place;

pub use datakit_secrets::Fetched as ResolvedSecret;

/// A reference to a secret, with its place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSetting {
    /// The setting: `connections.erp.auth.password`.
    pub path: String,
    /// Where the secret comes from.
    pub from: SecretRef,
    /// Where the setting is.
    pub place: Place,
    /// The secrets that open its vault, by their keys.
    pub needs: Vec<(&'static str, SecretSetting)>,
}

impl SecretSetting {
    /// Fetches the secret; none where it is in a vault, which is asked when it is needed and not before. `environment` is the
    /// process's, collected once at its start.
    ///
    /// # Errors
    /// The variable is not set or empty; the file is not there, not readable, empty or larger than 64 KiB.
    pub fn resolve(&self, environment: &BTreeMap<String, String>) -> Result<Option<ResolvedSecret>, ConfigError> {
        self.from.fetch(environment).map_err(|error| self.error(error))
    }

    /// The key of keyed hashes that the fetched secret is.
    ///
    /// # Errors
    /// It is too short or too long.
    pub fn key(&self, secret: Arc<Secret>) -> Result<HashKey, ConfigError> {
        HashKey::shared(secret).map_err(|problem| {
            let problem = Problem::KeyLength { path: self.path.clone(), problem };
            ConfigError::new(problem, Some(self.place.clone()))
        })
    }

    /// Every secret that must be here before this one can be had: those that open its vault.
    #[must_use]
    pub fn prerequisites(&self) -> Vec<&SecretSetting> {
        self.needs.iter().map(|(_, need)| need).collect()
    }

    fn error(&self, error: Unavailable) -> ConfigError {
        let path = self.path.clone();
        let problem = match error {
            Unavailable::Variable { variable, state } => Problem::SecretVariable { path, variable, state },
            Unavailable::File { file, source } => Problem::SecretFile { path, file, source },
            Unavailable::FileContent { file, state } => Problem::SecretFileContent { path, file, state },
        };
        ConfigError::new(problem, Some(self.place.clone()))
    }
}

/// Reads a reference to a secret: `{ env = "NAME" }`, `{ file = "PATH" }` or another kind.
pub(crate) fn read_entry(path: String, entry: &Entry, problems: &Problems) -> Option<SecretSetting> {
    match &entry.node.value {
        Value::Table(_) => read_reference(path, entry, problems),
        _ => {
            problems.at(Problem::InlineSecret { path }, &entry.node.origin);
            None
        }
    }
}

fn read_reference(path: String, entry: &Entry, problems: &Problems) -> Option<SecretSetting> {
    let Value::Table(table) = &entry.node.value else { return None };
    let mut reader = TableReader::new(table, path.clone(), entry.node.origin.clone(), problems);
    let mut found = Vec::new();
    for kind in KINDS {
        let mut needs = Vec::new();
        let from = kind.read(&mut Reading { table: &mut reader, needs: &mut needs });
        found.extend(from.map(|from| (from, needs)));
    }
    reader.finish();
    let known = table.keys().filter(|key| is_key(key)).count();
    match found.pop() {
        Some((from, needs)) if known == 1 => {
            Some(SecretSetting { path, from, place: entry.node.origin.place(), needs })
        }
        _ => {
            // A wrong type or an unknown key was reported already.
            if known > 1 || table.is_empty() || (known == 1 && table.len() == 1 && is_blank(table)) {
                problems.at(Problem::SecretReference { path }, &entry.node.origin);
            }
            None
        }
    }
}

fn is_blank(table: &crate::node::Table) -> bool {
    table.values().any(|entry| matches!(&entry.node.value, Value::String(text) if text.is_empty()))
}

/// A table as a kind of reference reads it.
struct Reading<'r, 'a> {
    table: &'r mut TableReader<'a>,
    needs: &'r mut Vec<(&'static str, SecretSetting)>,
}

impl Reading<'_, '_> {
    /// The key as it is written.
    fn written(&self, key: Key) -> &'static str {
        key.alias.map_or(key.name, |alias| self.table.either(key.name, alias))
    }

    /// A reference that is not to a vault: what opens it cannot be in it.
    fn local(&self, path: String, entry: &Entry) -> Option<SecretSetting> {
        let setting = read_entry(path, entry, self.table.problems())?;
        if setting.from.is_local() {
            return Some(setting);
        }
        let problem = "comes from the vault that it opens";
        self.table
            .problems()
            .at(Problem::Name { path: setting.path, problem, hint: local_forms() }, &entry.node.origin);
        None
    }
}

impl Fields for Reading<'_, '_> {
    fn text(&mut self, key: Key) -> Option<String> {
        let key = self.written(key);
        self.table.string(key).map(|found| found.value)
    }

    fn required_text(&mut self, key: Key, hint: &'static str) -> Option<String> {
        let key = self.written(key);
        self.table.required_string(key, hint).map(|found| found.value)
    }

    fn path(&mut self, key: Key) -> Option<PathBuf> {
        let key = self.written(key);
        self.table.path(key).map(|found| found.value)
    }

    fn required_integer(&mut self, key: Key, minimum: u64, maximum: u64, hint: &'static str) -> Option<u64> {
        let key = self.written(key);
        if self.table.entry(key).is_none() {
            self.table.missing(key, hint);
            return None;
        }
        self.table.integer(key, minimum, maximum).map(|found| found.value)
    }

    fn word(&mut self, key: Key, words: &[&'static str]) -> Option<usize> {
        let key = self.written(key);
        let words: Vec<(&'static str, usize)> = words.iter().enumerate().map(|(index, word)| (*word, index)).collect();
        self.table.choice(key, &words).map(|found| found.value)
    }

    fn secret(&mut self, key: Key, default: Option<SecretRef>) -> Result<Option<SecretRef>, Reported> {
        let written = self.written(key);
        let path = self.table.path_of(written);
        let setting = match (self.table.entry(written), default) {
            (Some(entry), _) => self.local(path, entry).ok_or(Reported)?,
            (None, Some(from)) => SecretSetting { path, from, place: self.table.origin().place(), needs: Vec::new() },
            (None, None) => return Ok(None),
        };
        let from = setting.from.clone();
        self.needs.push((key.name, setting));
        Ok(Some(from))
    }

    fn missing(&mut self, key: Key, hint: &'static str) {
        let key = self.written(key);
        self.table.missing(key, hint);
    }

    fn refuse(&mut self, key: Key, problem: &'static str, hint: &'static str) {
        let key = self.written(key);
        let path = self.table.path_of(key);
        let origin = self.table.entry(key).map_or(self.table.origin(), |entry| &entry.node.origin).clone();
        self.table.problems().at(Problem::Server { path, problem, hint }, &origin);
    }

    fn table(&mut self, key: &'static str, read: &mut dyn FnMut(&mut dyn Fields)) {
        let Some(mut table) = self.table.table(key) else { return };
        read(&mut Reading { table: &mut table, needs: self.needs });
        table.finish();
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::Diagnostic;
    use datakit_secrets::environment::Variable;
    use datakit_secrets::file::SecretFile;

    use super::*;

    fn setting(from: impl Into<SecretRef>) -> SecretSetting {
        SecretSetting {
            path: "connections.erp.auth.password".into(),
            from: from.into(),
            place: Place::Variable("MSSQL_PASSWORD".into()),
            needs: Vec::new(),
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let setting = setting(Variable("ERP_PASSWORD".into()));
        let error = setting.resolve(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.code(), "DK-CFG-010");
        assert_eq!(
            error.to_string(),
            "`connections.erp.auth.password` comes from the environment variable ERP_PASSWORD, which is not set"
        );
        let environment = BTreeMap::from([("ERP_PASSWORD".to_owned(), String::new())]);
        assert!(setting.resolve(&environment).unwrap_err().to_string().ends_with("which is empty"));
        let environment = BTreeMap::from([("ERP_PASSWORD".to_owned(), "Pl4nted".to_owned())]);
        assert_eq!(setting.resolve(&environment).unwrap().unwrap().secret.expose(), "Pl4nted");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_loses_its_line_end_and_is_watched_for_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, " Pl4nted \r\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let setting = setting(SecretFile(file.clone()));
        let resolved = setting.resolve(&BTreeMap::new()).unwrap().unwrap();
        assert_eq!(resolved.secret.expose(), " Pl4nted ");
        assert_eq!(resolved.warning, None);

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(setting.resolve(&BTreeMap::new()).unwrap().unwrap().warning.unwrap().contains("chmod 600"));

        std::fs::write(&file, "\n").unwrap();
        assert_eq!(setting.resolve(&BTreeMap::new()).unwrap_err().code(), "DK-CFG-011");
        std::fs::remove_file(&file).unwrap();
        let error = setting.resolve(&BTreeMap::new()).unwrap_err();
        assert_eq!(error.code(), "DK-CFG-011");
        assert!(std::error::Error::source(&error).is_some());
    }
}

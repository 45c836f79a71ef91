//! Secrets by reference: what the configuration holds is where a secret is, never the secret.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use datakit_model::Secret;
use zeroize::Zeroizing;

use crate::delinea::{self, Delinea};
use crate::node::{Entry, Value};
use crate::problem::{ConfigError, Problem, Problems};
use crate::reader::TableReader;
use crate::text::Place;

/// The largest secret file, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// More than is ever read, so that reading it to its end does not ask for more room.
const BUFFER_BYTES: usize = 65 * 1024;

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file that holds it alone.
    File(PathBuf),
    /// A field of a secret in Delinea Secret Server.
    Delinea(Box<Delinea>),
}

/// A reference to a secret, with its place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSetting {
    /// The setting: `connections.erp.auth.password`.
    pub path: String,
    /// Where the secret comes from.
    pub from: SecretRef,
    /// Where the setting is.
    pub place: Place,
}

/// A secret that was fetched.
#[derive(Debug, Clone)]
pub struct ResolvedSecret {
    /// The secret.
    pub secret: Secret,
    /// What the operator should hear about where it comes from.
    pub warning: Option<String>,
}

impl SecretSetting {
    /// Fetches the secret; none where it is in a vault, which is asked when it is needed and not before. `environment` is the
    /// process's, collected once at its start.
    ///
    /// # Errors
    /// The variable is not set or empty; the file is not there, not readable, empty or larger than 64 KiB.
    pub fn resolve(&self, environment: &BTreeMap<String, String>) -> Result<Option<ResolvedSecret>, ConfigError> {
        match &self.from {
            SecretRef::Env(variable) => self.fetch_variable(variable, environment).map(Some),
            SecretRef::File(file) => self.fetch_file(file).map(Some),
            SecretRef::Delinea(_) => Ok(None),
        }
    }

    /// Every secret that must be here before this one can be had: those that open its vault.
    #[must_use]
    pub fn prerequisites(&self) -> Vec<&SecretSetting> {
        match &self.from {
            SecretRef::Delinea(delinea) => vec![&delinea.client_id, &delinea.client_secret],
            SecretRef::Env(_) | SecretRef::File(_) => Vec::new(),
        }
    }

    fn error(&self, problem: Problem) -> ConfigError {
        ConfigError::new(problem, Some(self.place.clone()))
    }

    fn fetch_variable(
        &self,
        variable: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<ResolvedSecret, ConfigError> {
        let state = match environment.get(variable) {
            Some(text) if !text.is_empty() => {
                return Ok(ResolvedSecret { secret: Secret::new(text.clone()), warning: None });
            }
            Some(_) => "empty",
            None => "not set",
        };
        Err(self.error(Problem::SecretVariable { path: self.path.clone(), variable: variable.into(), state }))
    }

    fn fetch_file(&self, file: &Path) -> Result<ResolvedSecret, ConfigError> {
        let unreadable =
            |source| self.error(Problem::SecretFile { path: self.path.clone(), file: file.to_owned(), source });
        let content =
            |state| self.error(Problem::SecretFileContent { path: self.path.clone(), file: file.to_owned(), state });
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        let warning = readable_by_others(&opened.metadata().map_err(unreadable)?)
            .then(|| format!("{} can be read by every user of this machine: `chmod 600` it", file.display()));
        // Room for the whole from the start: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(BUFFER_BYTES));
        opened.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_SECRET_BYTES {
            return Err(content("is larger than 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| content("is not UTF-8 text"))?;
        // Editors and `echo` leave a line end that is not part of the secret.
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(content("is empty"));
        }
        Ok(ResolvedSecret { secret: Secret::new(text.to_owned()), warning })
    }
}

#[cfg(unix)]
fn readable_by_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_others(_: &std::fs::Metadata) -> bool {
    false
}

/// Reads a reference to a secret: `{ env = "NAME" }`, `{ file = "PATH" }` or `{ delinea = { … } }`.
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
    let env = reader.string("env");
    let file = reader.path("file");
    let delinea = delinea::read(&mut reader);
    reader.finish();
    let known = table.keys().filter(|key| matches!(key.as_str(), "env" | "file" | "delinea")).count();
    let from = match (env, file, delinea) {
        (Some(env), None, None) if known == 1 && !env.value.is_empty() => SecretRef::Env(env.value),
        (None, Some(file), None) if known == 1 && !file.value.as_os_str().is_empty() => SecretRef::File(file.value),
        (None, None, Some(delinea)) if known == 1 => SecretRef::Delinea(Box::new(delinea)),
        _ => {
            // A wrong type or an unknown key was reported already.
            if known > 1 || table.is_empty() || (known == 1 && table.len() == 1 && is_blank(table)) {
                problems.at(Problem::SecretReference { path }, &entry.node.origin);
            }
            return None;
        }
    };
    Some(SecretSetting { path, from, place: entry.node.origin.place() })
}

fn is_blank(table: &crate::node::Table) -> bool {
    table.values().any(|entry| matches!(&entry.node.value, Value::String(text) if text.is_empty()))
}

#[cfg(test)]
mod tests {
    use datakit_model::Coded;

    use super::*;

    fn setting(from: SecretRef) -> SecretSetting {
        SecretSetting {
            path: "connections.erp.auth.password".into(),
            from,
            place: Place::Variable("MSSQL_PASSWORD".into()),
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let setting = setting(SecretRef::Env("ERP_PASSWORD".into()));
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
        let setting = setting(SecretRef::File(file.clone()));
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

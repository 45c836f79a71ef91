//! Credentials from docker's configuration: what `docker login` keeps, credential helpers included.

use std::fs::File;
use std::io;
use std::path::Path;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_distribution::secrets::RegistryAuth;

use crate::error::RegistryError;

pub(crate) fn lookup(configuration: Option<&Path>, host: &str) -> Result<RegistryAuth, RegistryError> {
    let Some(path) = configuration else { return Ok(RegistryAuth::Anonymous) };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(RegistryAuth::Anonymous),
        Err(e) => return Err(RegistryError::io("read", path, e)),
    };
    match docker_credential::get_credential_from_reader(file, host) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => {
            Ok(RegistryAuth::Anonymous)
        }
        // The helper's own output may hold the credential: only the kind of the error is told.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(RegistryError::Credential { host: host.to_owned(), reason: format!("its helper `{helper}` failed") })
        }
        Err(_) => Err(RegistryError::Credential { host: host.to_owned(), reason: "its entry cannot be read".into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_host_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        // base64 of user:pass
        std::fs::write(&path, r#"{"auths":{"127.0.0.1:5000":{"auth":"dXNlcjpwYXNz"}}}"#).unwrap();
        let found = lookup(Some(&path), "127.0.0.1:5000").unwrap();
        assert_eq!(found, RegistryAuth::Basic("user".into(), "pass".into()));
        assert_eq!(lookup(Some(&path), "127.0.0.1:5001").unwrap(), RegistryAuth::Anonymous);
        assert_eq!(lookup(None, "127.0.0.1:5000").unwrap(), RegistryAuth::Anonymous);
    }

    #[test]
    fn a_broken_file_is_an_error_that_does_not_show_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"h":{"auth":"Pl4nted"}}}"#).unwrap();
        let error = lookup(Some(&path), "h").unwrap_err();
        assert!(matches!(error, RegistryError::Credential { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("Pl4nted"));
    }
}

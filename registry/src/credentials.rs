//! Credentials from docker's configuration: what `docker login` keeps, credential helpers included.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use datakit_model::{Secret, SecretBytes};
use docker_credential::{CredentialRetrievalError, DockerCredential};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::RegistryError;

/// Docker's configuration is a few kB; a larger file is not one.
const MAX_CONFIGURATION_BYTES: u64 = 4 << 20;

/// What every credential helper says of a server that it does not know:
/// <https://github.com/docker/docker-credential-helpers/blob/master/credentials/error.go>.
const HELPER_KNOWS_NOTHING: [&str; 2] = ["credentials not found in native keychain", "no credentials server URL"];

/// How the host logs in to a registry.
#[derive(Debug)]
pub(crate) enum Credential {
    /// Not at all.
    Anonymous,
    /// By name and password.
    Password(String, Secret),
    /// By a refresh token, which the registry's token service takes for an access token.
    Identity(Secret),
}

/// The entries of the configuration, whose values are read by `docker_credential`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Entries {
    auths: BTreeMap<String, IgnoredAny>,
    cred_helpers: BTreeMap<String, IgnoredAny>,
}

/// The credential for a repository: of its most specific entry, `host/team/datakits` before `host/team` before `host`.
///
/// Runs a credential helper where one is configured: call it where blocking is allowed.
pub(crate) fn lookup(configuration: Option<&Path>, host: &str, repository: &str) -> Result<Credential, RegistryError> {
    let Some(bytes) = read(configuration)? else { return Ok(Credential::Anonymous) };
    let bad = || RegistryError::Credential { host: host.to_owned(), reason: "its entry cannot be read".into() };
    let entries: Entries = serde_json::from_slice(bytes.expose()).map_err(|_| bad())?;
    let key = most_specific(&entries, host, repository).unwrap_or_else(|| host.to_owned());
    match docker_credential::get_credential_from_reader(bytes.expose(), &key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Credential::Password(user, Secret::new(password))),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Credential::Identity(Secret::new(token))),
        Err(CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound) => {
            Ok(Credential::Anonymous)
        }
        Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. }) if knows_nothing(&stdout, &stderr) => {
            Ok(Credential::Anonymous)
        }
        // The helper's own output may hold the credential: only the kind of the error is reported.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(RegistryError::Credential { host: host.to_owned(), reason: format!("its helper `{helper}` failed") })
        }
        Err(_) => Err(bad()),
    }
}

fn read(configuration: Option<&Path>) -> Result<Option<SecretBytes>, RegistryError> {
    let Some(path) = configuration else { return Ok(None) };
    let failed = |e| RegistryError::io("read", path, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    // Sized before, so that no copy of the file is left behind by a growing buffer.
    let size_bytes = file.metadata().map_err(failed)?.len().min(MAX_CONFIGURATION_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or_default() + 1);
    file.take(MAX_CONFIGURATION_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(SecretBytes::new(bytes)))
}

fn knows_nothing(stdout: &str, stderr: &str) -> bool {
    HELPER_KNOWS_NOTHING.iter().any(|said| stdout.contains(said) || stderr.contains(said))
}

/// The key of the configuration for a repository, as the configuration writes it.
fn most_specific(entries: &Entries, host: &str, repository: &str) -> Option<String> {
    let full = format!("{host}/{repository}");
    let parents = std::iter::successors(Some(full.as_str()), |path| path.rsplit_once('/').map(|(parent, _)| parent));
    let keys = || entries.cred_helpers.keys().chain(entries.auths.keys());
    parents.filter_map(|path| keys().find(|key| place(key) == path)).next().cloned()
}

/// The host and path that a key is for: `https://index.docker.io/v1/` is for `index.docker.io`.
fn place(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(json: &str, host: &str, repository: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        match lookup(Some(&path), host, repository) {
            Ok(Credential::Anonymous) => "anonymous".into(),
            Ok(Credential::Password(user, password)) => format!("{user}:{}", password.expose()),
            Ok(Credential::Identity(token)) => format!("token {}", token.expose()),
            Err(error) => format!("{error} {error:?}"),
        }
    }

    // dXNlcjpwYXNz is base64 of user:pass, dGVhbTpwYXNz of team:pass.
    const HOST: &str = r#""127.0.0.1:5000":{"auth":"dXNlcjpwYXNz"}"#;

    #[test]
    fn entry_of_the_host_is_used_and_of_another_port_is_not() {
        let json = format!(r#"{{"auths":{{{HOST}}}}}"#);
        assert_eq!(found(&json, "127.0.0.1:5000", "team/kit"), "user:pass");
        assert_eq!(found(&json, "127.0.0.1:5001", "team/kit"), "anonymous");
        assert!(matches!(lookup(None, "127.0.0.1:5000", "kit"), Ok(Credential::Anonymous)));
    }

    #[test]
    fn entry_with_a_path_wins_over_the_host_and_counts_for_whole_segments() {
        let json = format!(r#"{{"auths":{{{HOST},"127.0.0.1:5000/team":{{"auth":"dGVhbTpwYXNz"}}}}}}"#);
        assert_eq!(found(&json, "127.0.0.1:5000", "team/kit"), "team:pass");
        assert_eq!(found(&json, "127.0.0.1:5000", "team"), "team:pass");
        assert_eq!(found(&json, "127.0.0.1:5000", "teams/kit"), "user:pass");
    }

    #[test]
    fn keys_written_as_addresses_are_for_their_host() {
        for key in ["https://r.example/v1/", "https://r.example/v2", "http://r.example", "r.example/"] {
            let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#);
            assert_eq!(found(&json, "r.example", "kit"), "user:pass", "{key}");
        }
    }

    #[test]
    fn identity_token_is_not_taken_for_a_password() {
        let json = r#"{"auths":{"r.example":{"auth":"MDAwOg==","identitytoken":"Pl4nted-identity"}}}"#;
        assert_eq!(found(json, "r.example", "kit"), "token Pl4nted-identity");
    }

    #[test]
    fn a_broken_file_is_an_error_that_does_not_show_it() {
        for json in [r#"{"auths":{"h":{"auth":"Pl4nted"}}}"#, r#"{"auths":"Pl4nted""#] {
            let said = found(json, "h", "kit");
            assert!(said.contains("cannot be used") && !said.contains("Pl4nted"), "{said}");
        }
    }

    #[test]
    fn helper_without_an_entry_means_anonymous_and_a_broken_helper_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let helper = |name: &str, script: &str| {
            let path = directory.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        // `docker_credential` runs `docker-credential-NAME`; a name that begins with a path is found without PATH.
        helper("none", "cat >/dev/null; echo 'credentials not found in native keychain'; exit 1");
        helper("broken", "cat >/dev/null; echo Pl4nted; exit 1");
        helper("azure", r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"Pl4nted-refresh"}'"#);
        let path = std::env::var("PATH").unwrap_or_default();
        let run = |name: &str| {
            let json = format!(r#"{{"credsStore":"{name}"}}"#);
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "credentials::tests::helper_child", "--nocapture", "--ignored"])
                .env("PATH", format!("{}:{path}", directory.path().display()))
                .env("TEST_CONFIGURATION", json)
                .output()
                .unwrap();
            String::from_utf8_lossy(&child.stdout).into_owned()
        };
        assert!(run("none").contains("found: anonymous"));
        let broken = run("broken");
        assert!(
            broken.contains("its helper `docker-credential-broken` failed") && !broken.contains("Pl4nted"),
            "{broken}"
        );
        assert!(run("azure").contains("found: token Pl4nted-refresh"));
    }

    #[test]
    #[ignore = "runs as a child of another test, with a PATH of its own"]
    fn helper_child() {
        let Ok(json) = std::env::var("TEST_CONFIGURATION") else { return };
        #[expect(clippy::print_stdout, reason = "the parent reads it")]
        {
            println!("found: {}", found(&json, "r.example", "kit"));
        }
    }
}

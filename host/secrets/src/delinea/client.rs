//! A client of Delinea's REST API.
//!
//! The shape of every question and answer is that of Delinea's own client, `python-tss-sdk` 2.0 (`delinea/secrets/server.py`):
//!
//! | step | question | answer |
//! |---|---|---|
//! | token of Secret Server | POST `URL/oauth2/token`, a form: `grant_type`, and `client_id`, `client_secret` or `username`, `password` | `access_token`, `expires_in` |
//! | token of the platform | POST `URL/identity/api/oauth2/token/xpmplatform`, a form with `scope=xpmheadless` | the same |
//! | its vault | GET `URL/vaultbroker/api/vaults` | `vaults[]`: `isDefault`, `isActive`, `connection.url` |
//! | a secret | GET `VAULT/api/v1/secrets/ID` | `items[]`: `slug`, `fieldName`, `itemValue`, `fileAttachmentId` |
//! | a file of it | GET `VAULT/api/v1/secrets/ID/fields/SLUG` | its bytes |

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datakit_model::{Credential, Failure, Secret, SecretBytes};
use native_tls::TlsConnector;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::error::DelineaError;
use crate::blocking::blocking;
use crate::http::{self, Answer, HttpError, Question};
use crate::json::hidden;
use crate::words::{self, printable};

/// The longest answer in JSON, in bytes: a secret has few fields, but some hold keys and notes.
const MAX_JSON_BYTES: usize = 1 << 20;
/// The largest file, in bytes: as large as a keytab may be elsewhere.
const MAX_FILE_BYTES: usize = 4 << 20;
/// A token is not used in its last seconds, nor a short one in its last tenth.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// A token whose answer says nothing of its life.
const DEFAULT_TOKEN_LIFE: Duration = Duration::from_secs(300);

/// How the host logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Login {
    /// OAuth2 client credentials at Secret Server itself.
    #[default]
    ClientCredentials,
    /// OAuth2 password grant at Secret Server: name and password of an application account.
    Password,
    /// OAuth2 client credentials at the platform.
    Platform,
}

/// Where a vault is and who asks it.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The server with the application's path.
    pub url: String,
    /// How the host logs in.
    pub login: Login,
    /// Who it logs in as.
    pub client_id: Secret,
    /// With what.
    pub client_secret: Credential,
    /// Certificates (PEM) that are taken besides the system's.
    pub certificate_file: Option<PathBuf>,
}

/// A vault, with the token that was got last.
#[derive(Debug)]
pub struct Client {
    settings: ClientSettings,
    logins: Mutex<Logins>,
    /// The turn to log in: one login serves all who wait for it.
    turn: tokio::sync::Mutex<()>,
}

/// What logins have come to.
#[derive(Debug, Default)]
struct Logins {
    current: Option<Session>,
    /// How many have ended.
    ended: u64,
    /// What the last of them was told, if it failed.
    failure: Option<Failure>,
}

#[derive(Debug, Clone)]
struct Session {
    token: Secret,
    /// What the token was got with.
    client_secret: Arc<Secret>,
    ends: Instant,
    /// Where secrets are.
    vault: Url,
}

/// The parts of a token's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(deserialize_with = "hidden")]
    access_token: Option<Zeroizing<String>>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Vaults {
    vaults: Vec<Vault>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vault {
    #[serde(default)]
    is_default: bool,
    #[serde(default)]
    is_active: bool,
    connection: Option<VaultConnection>,
}

#[derive(Deserialize)]
struct VaultConnection {
    url: Option<String>,
}

#[derive(Deserialize)]
struct SecretAnswer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    slug: Option<String>,
    field_name: Option<String>,
    /// Wiped, whether it is asked for or not.
    #[serde(default, deserialize_with = "hidden")]
    item_value: Option<Zeroizing<String>>,
    file_attachment_id: Option<i64>,
    #[serde(default)]
    is_file: bool,
}

impl Item {
    fn is_named(&self, name: &str) -> bool {
        [&self.slug, &self.field_name].into_iter().flatten().any(|own| own.eq_ignore_ascii_case(name))
    }

    fn holds_file(&self) -> bool {
        // Some versions write 0 where nothing is attached.
        self.is_file || self.file_attachment_id.is_some_and(|id| id != 0)
    }
}

/// What the vault says of an error.
#[derive(Deserialize)]
struct ErrorAnswer {
    message: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Client {
    /// Nothing is asked for yet.
    #[must_use]
    pub fn new(settings: ClientSettings) -> Self {
        Self { settings, logins: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The text of a field. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had; a field that is a file.
    pub fn text(&self, secret_id: u64, field: &str) -> Result<Secret, DelineaError> {
        let answer = blocking(self.secret(secret_id), DelineaError::Internal)?;
        let item = self.item(&answer, secret_id, field)?;
        let (url, field) = (self.settings.url.clone(), field.to_owned());
        if item.holds_file() {
            return Err(DelineaError::IsFile { url, secret_id, field });
        }
        match item.item_value.as_ref().filter(|value| !value.is_empty()) {
            Some(value) => Ok(Secret::new(value.as_str().to_owned())),
            None => Err(DelineaError::Empty { url, secret_id, field }),
        }
    }

    /// A keytab: the file that is attached to a field, or base64 in its text. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had; a text that is not base64.
    pub fn keytab(&self, secret_id: u64, field: &str) -> Result<SecretBytes, DelineaError> {
        let answer = blocking(self.secret(secret_id), DelineaError::Internal)?;
        let item = self.item(&answer, secret_id, field)?;
        let (url, name) = (self.settings.url.clone(), field.to_owned());
        let bytes = if item.holds_file() {
            let slug = item.slug.clone().unwrap_or_else(|| field.to_owned());
            blocking(self.file(secret_id, &slug), DelineaError::Internal)?
        } else {
            let text = item.item_value.as_ref().map_or("", |value| value.as_str());
            let no_keytab = || DelineaError::NoKeytab { url: url.clone(), secret_id, field: name.clone() };
            words::base64(text).ok_or_else(no_keytab)?
        };
        if bytes.expose().is_empty() {
            return Err(DelineaError::Empty { url, secret_id, field: name });
        }
        Ok(bytes)
    }

    fn item<'a>(&self, answer: &'a SecretAnswer, secret_id: u64, field: &str) -> Result<&'a Item, DelineaError> {
        answer.items.iter().find(|item| item.is_named(field)).ok_or_else(|| DelineaError::NoField {
            url: self.settings.url.clone(),
            secret_id,
            field: field.to_owned(),
            fields: answer
                .items
                .iter()
                .filter_map(|item| item.slug.as_ref().or(item.field_name.as_ref()))
                .map(|name| printable(name))
                .collect(),
        })
    }

    async fn secret(&self, secret_id: u64) -> Result<SecretAnswer, DelineaError> {
        let answer = self.get(secret_id, &["secrets", &secret_id.to_string()], MAX_JSON_BYTES).await?;
        tracing::debug!(url = self.settings.url, secret_id, "fetched a secret");
        self.json(&answer)
    }

    async fn file(&self, secret_id: u64, slug: &str) -> Result<SecretBytes, DelineaError> {
        let path = ["secrets", &secret_id.to_string(), "fields", slug];
        let answer = self.get(secret_id, &path, MAX_FILE_BYTES).await?;
        // A copy that fits: the answer's own buffer has room to spare, and is wiped.
        Ok(SecretBytes::new(answer.body.to_vec()))
    }

    /// Asks with the current token, and once more with a new one where it is not taken any more.
    async fn get(&self, secret_id: u64, path: &[&str], max_bytes: usize) -> Result<Answer, DelineaError> {
        let tls = http::connector(self.settings.certificate_file.as_deref()).map_err(|error| self.failed(error))?;
        let mut session = self.session(&tls).await?;
        let mut sent = vec![session.clone()];
        loop {
            let url = api(&session.vault, path);
            let question = Question::Get { token: session.token.expose() };
            let answer = http::ask(&url, question, &tls, max_bytes).await.map_err(|error| self.failed(error))?;
            let reason = || {
                let secrets = sent.iter().flat_map(|session| [&session.token, session.client_secret.as_ref()]);
                (self.settings.url.clone(), self.reason(&answer, secrets))
            };
            match answer.status {
                200..=299 => return Ok(answer),
                401 if sent.len() == 1 => {
                    self.forget(&session.token);
                    session = self.session(&tls).await?;
                    sent.push(session.clone());
                }
                401 => {
                    let (url, reason) = reason();
                    return Err(DelineaError::ClientRefused { url, reason });
                }
                400 | 403 | 404 | 410 => {
                    let (url, reason) = reason();
                    return Err(DelineaError::NotGiven { url, secret_id, reason });
                }
                _ => return Err(self.odd(&answer)),
            }
        }
    }

    fn logins(&self) -> MutexGuard<'_, Logins> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, token: &Secret) {
        let mut logins = self.logins();
        if logins.current.as_ref().is_some_and(|session| session.token.expose() == token.expose()) {
            logins.current = None;
        }
    }

    /// Token and vault: the current ones while the token lasts, else new ones. Of logins at the same time one asks, and all
    /// are told what it is told.
    async fn session(&self, tls: &TlsConnector) -> Result<Session, DelineaError> {
        let before = {
            let logins = self.logins();
            if let Some(session) = logins.lasting() {
                return Ok(session);
            }
            logins.ended
        };
        let _turn = self.turn.lock().await;
        {
            let logins = self.logins();
            if let Some(session) = logins.lasting() {
                return Ok(session);
            }
            if let Some(failure) = logins.failure.as_ref().filter(|_| logins.ended != before) {
                return Err(DelineaError::Credential(failure.clone()));
            }
        }
        let is_refusal = |error: &DelineaError| matches!(error, DelineaError::ClientRefused { .. });
        let log_in = |secret: Arc<Secret>| async move { self.log_in(tls, &secret).await };
        let session = self.settings.client_secret.log_in(log_in, is_refusal).await;
        let mut logins = self.logins();
        logins.ended += 1;
        logins.failure = session.as_ref().err().map(Failure::of);
        logins.current = session.as_ref().ok().cloned();
        session
    }

    async fn log_in(&self, tls: &TlsConnector, client_secret: &Arc<Secret>) -> Result<Session, DelineaError> {
        let ClientSettings { url, login, client_id, .. } = &self.settings;
        let base = self.parse(url)?;
        let (id, secret) = (client_id.expose(), client_secret.expose());
        let (path, form): (&[&str], Vec<(&str, &str)>) = match login {
            Login::ClientCredentials => (
                &["oauth2", "token"],
                vec![("client_id", id), ("client_secret", secret), ("grant_type", "client_credentials")],
            ),
            Login::Password => {
                (&["oauth2", "token"], vec![("username", id), ("password", secret), ("grant_type", "password")])
            }
            Login::Platform => (
                &["identity", "api", "oauth2", "token", "xpmplatform"],
                vec![
                    ("client_id", id),
                    ("client_secret", secret),
                    ("grant_type", "client_credentials"),
                    ("scope", "xpmheadless"),
                ],
            ),
        };
        let asked = Instant::now();
        let answer = http::ask(&below(&base, path), Question::Form(&form), tls, MAX_JSON_BYTES).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        match answer.status {
            200..=299 => {}
            400 | 401 | 403 => {
                return Err(DelineaError::ClientRefused {
                    url: url.clone(),
                    reason: self.reason(&answer, [client_secret.as_ref()]),
                });
            }
            _ => return Err(self.odd(&answer)),
        }
        let TokenAnswer { access_token, expires_in } = self.json(&answer)?;
        let Some(token) = access_token.filter(|token| !token.is_empty()) else {
            let reason = "its answer holds no access_token".to_owned();
            return Err(DelineaError::NotUnderstood { url: url.clone(), reason });
        };
        let life = expires_in.map_or(DEFAULT_TOKEN_LIFE, |seconds| Duration::from_secs(seconds.min(86_400)));
        let token = Secret::new(token.as_str().to_owned());
        let vault = match login {
            Login::Platform => self.vault(&base, &token, tls).await?,
            Login::ClientCredentials | Login::Password => base,
        };
        tracing::debug!(url, life_seconds = life.as_secs(), "got a token");
        let (ends, client_secret) = (asked + (life - TOKEN_MARGIN.min(life / 10)), Arc::clone(client_secret));
        Ok(Session { token, client_secret, ends, vault })
    }

    /// The platform's default vault.
    async fn vault(&self, base: &Url, token: &Secret, tls: &TlsConnector) -> Result<Url, DelineaError> {
        let url = below(base, &["vaultbroker", "api", "vaults"]);
        let question = Question::Get { token: token.expose() };
        let answer = http::ask(&url, question, tls, MAX_JSON_BYTES).await.map_err(|error| self.failed(error))?;
        if answer.status != 200 {
            return Err(self.odd(&answer));
        }
        let found = self.json::<Vaults>(&answer)?.vaults.into_iter().find(|vault| vault.is_default && vault.is_active);
        let Some(vault) = found.and_then(|vault| vault.connection?.url) else {
            return Err(DelineaError::NoVault { url: self.settings.url.clone() });
        };
        let vault = self.parse(&vault)?;
        // The platform cannot talk us into sending its token in the clear.
        if base.scheme() == "https" && vault.scheme() != "https" {
            let reason = "its vault is not encrypted".to_owned();
            return Err(DelineaError::NotUnderstood { url: self.settings.url.clone(), reason });
        }
        Ok(vault)
    }

    fn parse(&self, url: &str) -> Result<Url, DelineaError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        parsed.ok_or_else(|| DelineaError::NotUnderstood {
            url: self.settings.url.clone(),
            reason: "the address of the vault is no URL".to_owned(),
        })
    }

    fn json<'a, T: Deserialize<'a>>(&self, answer: &'a Answer) -> Result<T, DelineaError> {
        // The parser's own words could quote the answer.
        serde_json::from_slice(&answer.body).map_err(|error| DelineaError::NotUnderstood {
            url: self.settings.url.clone(),
            reason: format!("not the JSON it should be, at line {} column {}", error.line(), error.column()),
        })
    }

    fn failed(&self, error: HttpError) -> DelineaError {
        DelineaError::of_request(&self.settings.url, error)
    }

    /// A status that is not an answer.
    fn odd(&self, answer: &Answer) -> DelineaError {
        let url = self.settings.url.clone();
        match answer.status {
            status @ (429 | 500..) => DelineaError::Trouble { url, status },
            status => DelineaError::NotUnderstood { url, reason: format!("HTTP status {status}") },
        }
    }

    /// The vault's words, unless they hold a part of what was sent to it.
    fn reason<'s>(&'s self, answer: &Answer, sent: impl IntoIterator<Item = &'s Secret>) -> String {
        let status = format!("HTTP status {}", answer.status);
        let Ok(said) = serde_json::from_slice::<ErrorAnswer>(&answer.body) else { return status };
        let texts = [said.message, said.error, said.error_description];
        let text = texts.into_iter().flatten().collect::<Vec<_>>().join(": ");
        words::reason(&text, &status, sent.into_iter().chain([&self.settings.client_id]))
    }
}

impl Logins {
    /// The current session, while its token lasts.
    fn lasting(&self) -> Option<Session> {
        self.current.as_ref().filter(|session| Instant::now() < session.ends).cloned()
    }
}

fn api(vault: &Url, path: &[&str]) -> Url {
    below(vault, &[&["api", "v1"], path].concat())
}

/// A URL with more segments of a path, each encoded.
fn below(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    // A URL with a host can always have a path.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

//! Logging in to a registry: what its challenge asks for, by <https://distribution.github.io/distribution/spec/auth/token/>.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datakit_model::Secret;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::credentials::{self, Credential};
use crate::error::RegistryError;
use crate::http::{Answer, Http, Request, same_origin};

/// A token is a few kB at most.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";

/// What a request does with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Pull,
    Push,
}

/// What a registry wants to see, from its `WWW-Authenticate` headers.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(alias = "access_token")]
    token: String,
}

/// The logins of one registry, one for each repository and access.
pub(crate) struct Authorization {
    configuration: Option<PathBuf>,
    host: String,
    known: Mutex<HashMap<(String, Access), HeaderValue>>,
}

impl Authorization {
    pub(crate) fn new(configuration: Option<PathBuf>, host: &str) -> Self {
        Self { configuration, host: host.to_owned(), known: Mutex::default() }
    }

    /// Sends a request, with a login if the registry asks for one.
    pub(crate) async fn send(
        &self,
        http: &Http,
        repository: &str,
        access: Access,
        request: impl Fn() -> Request<'static>,
    ) -> Result<Answer, RegistryError> {
        // A registry may name an address of another server for an upload, which needs no login and gets none.
        if !same_origin(&request().url, http.root().await?) {
            return http.send(request()).await;
        }
        let key = (repository.to_owned(), access);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let answer = http.send(Request { authorization: known.as_ref(), ..request() }).await?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(value) = self.log_in(http, repository, access, &answer).await? else { return Ok(answer) };
        let answer = http.send(Request { authorization: Some(&value), ..request() }).await?;
        if answer.status != reqwest::StatusCode::UNAUTHORIZED {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
        }
        Ok(answer)
    }

    /// What answers the challenge; none where the host has nothing to show.
    async fn log_in(
        &self,
        http: &Http,
        repository: &str,
        access: Access,
        refusal: &Answer,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let challenges = challenges(&refusal.headers);
        let credential = Arc::new(self.credential(repository).await?);
        for challenge in challenges {
            match (challenge, &*credential) {
                (Challenge::Bearer { realm, service, scope }, credential) => {
                    let scope = scope.unwrap_or_else(|| match access {
                        Access::Pull => format!("repository:{repository}:pull"),
                        Access::Push => format!("repository:{repository}:pull,push"),
                    });
                    let realm = self.realm(&realm)?;
                    return self.token(http, realm, service, &scope, credential).await.map(Some);
                }
                (Challenge::Basic, Credential::Password(user, password)) => {
                    http.check_secrecy(&refusal.url)?;
                    return basic(user, password).map(Some).ok_or_else(|| self.unusable());
                }
                (Challenge::Basic, _) => {}
            }
        }
        Ok(None)
    }

    /// Runs a credential helper where one is configured.
    async fn credential(&self, repository: &str) -> Result<Credential, RegistryError> {
        let (configuration, host, repository) = (self.configuration.clone(), self.host.clone(), repository.to_owned());
        let task =
            tokio::task::spawn_blocking(move || credentials::lookup(configuration.as_deref(), &host, &repository));
        task.await.unwrap_or_else(|_| Err(self.unusable()))
    }

    fn unusable(&self) -> RegistryError {
        RegistryError::Credential { host: self.host.clone(), reason: "its entry cannot be read".into() }
    }

    fn realm(&self, text: &str) -> Result<Url, RegistryError> {
        let realm = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        realm.ok_or_else(|| RegistryError::Refused {
            location: self.host.clone(),
            reason: "its token service has no valid address".into(),
            transient: false,
        })
    }

    async fn token(
        &self,
        http: &Http,
        realm: Url,
        service: Option<String>,
        scope: &str,
        credential: &Credential,
    ) -> Result<HeaderValue, RegistryError> {
        if !matches!(credential, Credential::Anonymous) {
            http.check_secrecy(&realm)?;
            http.check_secrecy(http.root().await?)?;
        }
        let service = service.as_deref();
        let (authorization, body) = match credential {
            Credential::Anonymous => (None, None),
            Credential::Password(user, password) => (Some(basic(user, password).ok_or_else(|| self.unusable())?), None),
            Credential::Identity(token) => (None, Some(refresh_form(service, scope, token))),
        };
        let (method, mut url) = (if body.is_some() { Method::POST } else { Method::GET }, realm);
        if body.is_none() {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", scope);
            if let Some(service) = service {
                query.append_pair("service", service);
            }
        }
        let request = Request {
            method,
            url,
            accept: None,
            body: body.map(|form| (form.into(), FORM)),
            authorization: authorization.as_ref(),
            max_bytes: MAX_TOKEN_BYTES,
            what: "the token service's answer",
        };
        let answer = http.send(request).await?;
        if !answer.status.is_success() {
            let reason = format!("its token service answered {}", answer.status.as_u16());
            return Err(RegistryError::Unauthorized { location: self.host.clone(), reason });
        }
        let token = serde_json::from_slice::<TokenAnswer>(&answer.body).ok().map(|answer| Secret::new(answer.token));
        token.and_then(|token| sensitive(&format!("Bearer {}", token.expose()))).ok_or_else(|| {
            RegistryError::Unauthorized {
                location: self.host.clone(),
                reason: "its token service answered without a token".into(),
            }
        })
    }
}

fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    let encoded = Secret::new(STANDARD.encode(pair.expose()));
    sensitive(&format!("Basic {}", encoded.expose()))
}

/// A header value that `Debug` does not show.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The exchange of a refresh token: <https://distribution.github.io/distribution/spec/auth/oauth/>.
fn refresh_form(service: Option<&str>, scope: &str, token: &Secret) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("client_id", "datakit-host");
    form.append_pair("scope", scope).append_pair("refresh_token", token.expose());
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    form.finish().into_bytes()
}

/// The challenges that the host can answer, in the registry's order.
fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    texts
        .filter_map(|text| http_auth::parse_challenges(text).ok())
        .flat_map(|list| list.into_iter().filter_map(challenge).collect::<Vec<_>>())
        .collect()
}

fn challenge(found: http_auth::ChallengeRef<'_>) -> Option<Challenge> {
    if found.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let parameter = |name: &str| {
        found.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
    };
    let realm = found.scheme.eq_ignore_ascii_case("bearer").then(|| parameter("realm"))??;
    Some(Challenge::Bearer { realm, service: parameter("service"), scope: parameter("scope") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&'static str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        }
        challenges(&headers)
    }

    #[test]
    fn challenges_are_read_from_one_header_or_several() {
        let bearer = || Challenge::Bearer { realm: "https://a/t".into(), service: Some("r".into()), scope: None };
        assert_eq!(read(&[r#"Bearer realm="https://a/t",service="r""#]), [bearer()]);
        assert_eq!(read(&[r#"Basic realm="x", bearer Realm="https://a/t", service=r"#]), [Challenge::Basic, bearer()]);
        assert_eq!(read(&["Negotiate", r#"Basic realm="x""#]), [Challenge::Basic]);
        assert_eq!(read(&["Bearer service=r", "\"", ""]), []);
    }

    #[test]
    fn authorization_is_not_shown() {
        let value = basic("user", &Secret::new("Pl4nted-pass".into())).unwrap();
        assert_eq!(value.to_str().unwrap(), "Basic dXNlcjpQbDRudGVkLXBhc3M=");
        assert_eq!(format!("{value:?}"), "Sensitive");
    }

    #[test]
    fn refresh_token_is_sent_in_the_form() {
        let form = refresh_form(Some("r.example"), "repository:kit:pull", &Secret::new("Pl4nted&token".into()));
        let pairs: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
        assert_eq!(pairs["grant_type"], "refresh_token");
        assert_eq!(pairs["refresh_token"], "Pl4nted&token");
        assert_eq!((pairs["service"].as_str(), pairs["scope"].as_str()), ("r.example", "repository:kit:pull"));
    }
}

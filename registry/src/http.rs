//! HTTP with bounds: on bytes, on time, on redirects, on where a redirect may lead.
//!
//! `oci-client` reads any answer to its end, follows any redirect and sends a password to any token service
//! (docs/decisions/0140), so its types are used here and its client is not.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use tokio::sync::OnceCell;

use crate::addresses::{Nearness, addresses, nearest};
use crate::error::RegistryError;
use crate::registry::RegistryOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A component may take as long as a transfer at this speed takes, and the time of an answer more.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;
/// How long a registry on this machine is tried with TLS before plain HTTP.
const TLS_PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// What is read of the body of an error.
const MAX_ERROR_BYTES: u64 = 8 * 1024;
const MAX_REDIRECTS: usize = 5;
const USER_AGENT: &str = concat!("datakit-host/", env!("CARGO_PKG_VERSION"));

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'static str>,
    /// Content and its media type.
    pub(crate) body: Option<(Bytes, &'static str)>,
    pub(crate) authorization: Option<&'a HeaderValue>,
    /// Largest body of a successful answer, in bytes.
    pub(crate) max_bytes: u64,
    /// What the answer is, for errors.
    pub(crate) what: &'static str,
}

/// One answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body; of an error, its first bytes.
    pub(crate) body: Vec<u8>,
    /// Where it came from, after redirects.
    pub(crate) url: Url,
}

/// The connection to one registry.
pub(crate) struct Http {
    client: reqwest::Client,
    host: String,
    /// For errors: host and prefix.
    location: String,
    is_local: bool,
    plain_http: bool,
    answer_timeout: Duration,
    root: OnceCell<Url>,
    nearness: OnceCell<Nearness>,
}

impl Http {
    pub(crate) fn new(
        host: &str,
        location: String,
        is_local: bool,
        options: &RegistryOptions,
    ) -> Result<Self, RegistryError> {
        let client = client(&location, |builder| builder)?;
        let (root, nearness) = (OnceCell::new(), OnceCell::new());
        let RegistryOptions { plain_http, answer_timeout, .. } = *options;
        Ok(Self { client, host: host.to_owned(), location, is_local, plain_http, answer_timeout, root, nearness })
    }

    /// The root of the registry's API: `https://host/v2/`, or `http:` where that is allowed.
    ///
    /// A registry on this machine is tried with TLS first. Any other gets plain HTTP only if the operator says so.
    pub(crate) async fn root(&self) -> Result<&Url, RegistryError> {
        self.root
            .get_or_try_init(|| async {
                let (tls, plain) = (self.url("https")?, self.url("http")?);
                if self.plain_http {
                    return Ok(plain);
                }
                if !self.is_local {
                    return Ok(tls);
                }
                match self.client.get(tls.clone()).timeout(TLS_PROBE_TIMEOUT).send().await {
                    Ok(_) => Ok(tls),
                    Err(error) if certificate_problem(&error).is_some() => Err(self.failed(error)),
                    Err(_) => Ok(plain),
                }
            })
            .await
    }

    fn url(&self, scheme: &str) -> Result<Url, RegistryError> {
        Url::parse(&format!("{scheme}://{}/v2/", self.host))
            .map_err(|e| RegistryError::BadLocation { location: self.location.clone(), reason: e.to_string() })
    }

    /// Refuses a password or token in clear: only to this machine, and only where the operator asked for plain HTTP.
    pub(crate) fn check_secrecy(&self, url: &Url) -> Result<(), RegistryError> {
        if url.scheme() == "https" || (self.is_local && self.plain_http && url.host_str() == self.root_host()) {
            return Ok(());
        }
        Err(RegistryError::PasswordInClear { location: self.location.clone(), url: shown(url) })
    }

    fn root_host(&self) -> Option<&str> {
        self.root.get().and_then(Url::host_str)
    }

    /// Sends a request and reads its answer, within the bounds.
    ///
    /// # Errors
    /// Nothing or too much comes, or it comes too slowly; a redirect that is not followed. A status is not an error here.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        let moved = request.body.as_ref().map_or(0, |(content, _)| content.len() as u64).max(request.max_bytes);
        let limit = self.answer_timeout + Duration::from_secs(moved / SLOWEST_BYTES_PER_SECOND);
        let too_slow = || RegistryError::TooSlow {
            location: self.location.clone(),
            what: request.what,
            limit_seconds: limit.as_secs(),
        };
        tokio::time::timeout(limit, self.exchange(&request)).await.map_err(|_| too_slow())?
    }

    async fn exchange(&self, request: &Request<'_>) -> Result<Answer, RegistryError> {
        let mut url = request.url.clone();
        let mut client = self.client_for(&url).await?;
        for _ in 0..=MAX_REDIRECTS {
            let mut call = client.request(request.method.clone(), url.clone());
            if let Some(accept) = request.accept {
                call = call.header(ACCEPT, accept);
            }
            // A token is for the host that asked for it.
            if let Some(value) = request.authorization.filter(|_| same_origin(&url, &request.url)) {
                call = call.header(AUTHORIZATION, value);
            }
            if let Some((content, media_type)) = &request.body {
                call = call.header(CONTENT_TYPE, *media_type).body(content.clone());
            } else if matches!(request.method, Method::POST | Method::PUT) {
                call = call.header(CONTENT_LENGTH, 0);
            }
            let response = call.send().await.map_err(|e| self.failed(e))?;
            let is_read = matches!(request.method, Method::GET | Method::HEAD);
            match response.headers().get(LOCATION) {
                Some(next) if is_read && response.status().is_redirection() => {
                    url = self.target(&url, next)?;
                    client = self.client_for(&url).await?;
                }
                _ => return self.read(response, request, url).await,
            }
        }
        Err(self.bad_redirect(&url, format!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Where a `Location` header points to.
    pub(crate) fn target(&self, from: &Url, location: &HeaderValue) -> Result<Url, RegistryError> {
        let text = location.to_str().unwrap_or_default();
        let mut url = from.join(text).map_err(|e| self.bad_redirect(from, format!("it leads nowhere: {e}")))?;
        if from.scheme() == "https" && url.scheme() == "http" {
            // A registry behind a proxy that ends TLS may not know its own scheme.
            let same_host = url.host_str() == from.host_str() && url.port().is_none();
            if !same_host || url.set_scheme("https").is_err() {
                return Err(self.bad_redirect(&url, "it leads from HTTPS to plain HTTP".to_owned()));
            }
        }
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(self.bad_redirect(&url, "only HTTP without credentials in the address is followed".to_owned()));
        }
        Ok(url)
    }

    /// A client for a URL that an answer of the registry named: it reaches only addresses that were checked.
    async fn client_for(&self, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let root = self.root().await?;
        if url.host() == root.host() {
            return Ok(self.client.clone());
        }
        let own = self.nearness.get_or_init(|| async { nearest(&addresses(root).await).unwrap_or(Nearness::Public) });
        let (own, found) = (*own.await, addresses(url).await);
        if nearest(&found).is_some_and(|near| near > own) {
            return Err(self.bad_redirect(url, "it leads to an address of this machine or its network".to_owned()));
        }
        match url.host_str() {
            Some(host) if !found.is_empty() => client(&self.location, |builder| builder.resolve_to_addrs(host, &found)),
            _ => Ok(self.client.clone()),
        }
    }

    async fn read(&self, mut response: Response, request: &Request<'_>, url: Url) -> Result<Answer, RegistryError> {
        let (status, headers) = (response.status(), response.headers().clone());
        let max_bytes = if status.is_success() { request.max_bytes } else { MAX_ERROR_BYTES };
        let announced = response.content_length().unwrap_or_default().min(max_bytes).min(1 << 20);
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
        while let Some(part) = response.chunk().await.map_err(|e| self.failed(e))? {
            let room = usize::try_from(max_bytes - body.len() as u64).unwrap_or(usize::MAX);
            if part.len() <= room {
                body.extend_from_slice(&part);
            } else if status.is_success() {
                let (location, what) = (self.location.clone(), request.what);
                return Err(RegistryError::AnswerTooLarge { location, what, max_bytes });
            } else {
                body.extend_from_slice(&part[..room]);
                break;
            }
        }
        Ok(Answer { status, headers, body, url })
    }

    fn failed(&self, error: reqwest::Error) -> RegistryError {
        let location = self.location.clone();
        match certificate_problem(&error) {
            Some(reason) => RegistryError::UntrustedCertificate { location, reason },
            None => RegistryError::Unreachable { location, source: Box::new(error.without_url()) },
        }
    }

    fn bad_redirect(&self, url: &Url, reason: String) -> RegistryError {
        RegistryError::BadRedirect { location: self.location.clone(), url: shown(url), reason }
    }
}

fn client(
    location: &str,
    adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, RegistryError> {
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(redirect::Policy::none());
    adjust(builder)
        .build()
        .map_err(|e| RegistryError::Unreachable { location: location.to_owned(), source: Box::new(e) })
}

pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// A URL for an error: without its query, which may hold a signature.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// What is wrong with a server's certificate, if that is the error.
fn certificate_problem(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = cause.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(problem)) = tls {
            return Some(problem.to_string());
        }
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(nearness: Nearness) -> Http {
        let http =
            Http::new("registry.example", "registry.example/kits".into(), false, &RegistryOptions::default()).unwrap();
        http.nearness.set(nearness).unwrap();
        http
    }

    async fn refused(nearness: Nearness, url: &str) -> Option<String> {
        http(nearness).client_for(&url.parse().unwrap()).await.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn public_registry_leads_to_no_private_or_local_address() {
        for url in [
            "http://127.0.0.1/x",
            "http://[::1]/x",
            "http://169.254.169.254/latest",
            "https://10.0.0.1/",
            "https://localhost/",
        ] {
            let error = refused(Nearness::Public, url).await.unwrap();
            assert!(
                error.contains("is not followed: it leads to an address of this machine or its network"),
                "{error}"
            );
        }
        assert_eq!(refused(Nearness::Public, "https://8.8.8.8/x").await, None);
    }

    #[tokio::test]
    async fn registry_of_a_private_network_leads_to_its_network_and_not_to_this_machine() {
        assert_eq!(refused(Nearness::Private, "https://10.0.0.1/").await, None);
        assert!(refused(Nearness::Private, "https://127.0.0.1/").await.is_some());
        assert_eq!(refused(Nearness::Local, "http://127.0.0.1/").await, None);
    }

    #[test]
    fn redirects_stay_with_http_and_do_not_leave_tls() {
        let http = http(Nearness::Public);
        let target = |location: &'static str| {
            let found = http.target(&"https://r.example/v2/x".parse().unwrap(), &HeaderValue::from_static(location));
            found.map_or_else(|error| error.to_string(), String::from)
        };
        assert_eq!(target("/y"), "https://r.example/y");
        assert_eq!(target("https://storage.example/y?signature=s"), "https://storage.example/y?signature=s");
        assert_eq!(target("http://r.example/y"), "https://r.example/y");
        for location in [
            "http://storage.example/y",
            "http://r.example:8080/y?signature=Pl4nted",
            "file:///etc/passwd",
            "ftp://r.example/",
            "https://u:p@r.example/",
        ] {
            let said = target(location);
            assert!(said.contains("is not followed") && !said.contains("Pl4nted"), "{location}: {said}");
        }
    }

    #[tokio::test]
    async fn password_goes_over_plain_http_only_to_this_machine_by_choice() {
        let allowed = |host: &'static str, is_local, plain_http| async move {
            let options = RegistryOptions { plain_http, ..RegistryOptions::default() };
            let http = Http::new(host, host.into(), is_local, &options).unwrap();
            http.root.set(format!("http://{host}/v2/").parse().unwrap()).unwrap();
            http.check_secrecy(&format!("http://{host}/token").parse().unwrap()).is_ok()
        };
        assert!(allowed("localhost:5000", true, true).await);
        assert!(!allowed("localhost:5000", true, false).await);
        assert!(!allowed("r.example", false, true).await);
        let http = http(Nearness::Public);
        assert!(http.check_secrecy(&"https://auth.example/token".parse().unwrap()).is_ok());
        assert!(http.check_secrecy(&"http://auth.example/token".parse().unwrap()).is_err());
    }
}

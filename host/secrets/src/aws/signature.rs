//! Signature Version 4, by `object_store`, which signs the requests to S3 as well.

use datakit_model::Secret;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use url::Url;
use zeroize::Zeroize;

use super::error::AwsError;

const SERVICE: &str = "secretsmanager";
const TARGET: &str = "secretsmanager.GetSecretValue";
const CONTENT: &str = "application/x-amz-json-1.1";

/// An access key.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) access_key_id: Secret,
    pub(crate) secret_access_key: Secret,
    pub(crate) session_token: Option<Secret>,
}

impl Keys {
    /// What must not be shown.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [&self.access_key_id, &self.secret_access_key].into_iter().chain(&self.session_token)
    }

    /// A part that is no text of a header, by its key.
    pub(crate) fn invalid(&self) -> Option<&'static str> {
        let is_invalid = |secret: &Secret| {
            let text = secret.expose();
            text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if is_invalid(&self.access_key_id) {
            Some("access_key_id")
        } else if is_invalid(&self.secret_access_key) {
            Some("secret_access_key")
        } else {
            self.session_token.as_ref().filter(|token| is_invalid(token)).map(|_| "session_token")
        }
    }
}

/// The library's form of an access key, wiped when dropped.
struct Wiped(AwsCredential);

impl Wiped {
    fn new(keys: &Keys) -> Self {
        let text = |secret: &Secret| secret.expose().to_owned();
        Self(AwsCredential {
            key_id: text(&keys.access_key_id),
            secret_key: text(&keys.secret_access_key),
            token: keys.session_token.as_ref().map(text),
        })
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.key_id.zeroize();
        self.0.secret_key.zeroize();
        self.0.token.zeroize();
    }
}

/// All headers of a request for a secret, its signature with them. The keys must be valid.
pub(crate) fn headers(endpoint: &Url, region: &str, keys: &Keys, body: &[u8]) -> Result<HeaderMap, AwsError> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(endpoint.as_str())
        .header(CONTENT_TYPE, CONTENT)
        .header("x-amz-target", TARGET)
        .body(HttpRequestBody::from(body.to_vec()));
    let mut request = request.map_err(|error| AwsError::Internal(error.to_string()))?;
    AwsAuthorizer::new(&Wiped::new(keys).0, SERVICE, region).authorize(&mut request, None);
    let mut headers = std::mem::take(request.headers_mut());
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(token: Option<&str>) -> Keys {
        let secret = |text: &str| Secret::new(text.to_owned());
        Keys {
            access_key_id: secret("AKIDEXAMPLE"),
            secret_access_key: secret("Pl4nted/key"),
            session_token: token.map(secret),
        }
    }

    #[test]
    fn host_token_and_target_are_signed_and_nothing_is_shown() {
        let endpoint = Url::parse("https://secretsmanager.eu-central-1.amazonaws.com").unwrap();
        let headers = headers(&endpoint, "eu-central-1", &keys(Some("Pl4nted-token")), b"{}").unwrap();
        let authorization = headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{authorization}");
        assert!(authorization.contains("/eu-central-1/secretsmanager/aws4_request"), "{authorization}");
        let signed =
            "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target,";
        assert!(authorization.contains(signed), "{authorization}");
        assert_eq!(headers["host"], "secretsmanager.eu-central-1.amazonaws.com");
        assert!(!format!("{headers:?}").contains("Pl4nted"));
    }

    #[test]
    fn key_that_is_no_header_is_found() {
        assert_eq!(keys(None).invalid(), None);
        assert_eq!(keys(Some("a\nb")).invalid(), Some("session_token"));
        let empty = Keys { secret_access_key: Secret::new(String::new()), ..keys(None) };
        assert_eq!(empty.invalid(), Some("secret_access_key"));
    }
}

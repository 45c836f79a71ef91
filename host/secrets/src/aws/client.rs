//! A client of AWS Secrets Manager: `GetSecretValue`, and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use datakit_model::{Secret, SecretBytes};
use native_tls::TlsConnector;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::error::AwsError;
use super::login::Login;
use super::signature::{self, Keys};
use crate::blocking::blocking;
use crate::http::{self, Answer, HttpError, Question};
use crate::json::{Member, hidden};
use crate::words;

/// The longest answer, in bytes: a secret is 64 KiB at most, and escapes and base64 make it longer.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How often a request is repeated that the service could not serve.
const MAX_REPEATS: u32 = 3;
/// The pause before the first repeat; each further one is twice as long. Half of it is random.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Where the service is and who asks it.
#[derive(Debug)]
pub struct ClientSettings {
    /// The region.
    pub region: String,
    /// The URL of the service; by default the public one of the region.
    pub endpoint: Option<String>,
    /// How the host logs in.
    pub login: Login,
}

/// Secrets Manager of one region.
#[derive(Debug)]
pub struct Client {
    region: String,
    endpoint: Url,
    login: Login,
}

/// Which secret.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name or ARN.
    pub secret_id: String,
    /// The stage of its version; by default AWSCURRENT.
    pub stage: Option<String>,
}

/// Which part of it.
#[derive(Debug, Clone)]
pub struct Value {
    /// The secret.
    pub version: Version,
    /// The key of its JSON object; by default the whole.
    pub field: Option<String>,
}

impl Value {
    fn secret_id(&self) -> String {
        self.version.secret_id.clone()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretAnswer {
    #[serde(default, deserialize_with = "hidden")]
    secret_string: Option<Zeroizing<String>>,
    /// Base64.
    #[serde(default, deserialize_with = "hidden")]
    secret_binary: Option<Zeroizing<String>>,
}

/// What the service says of an error.
#[derive(Deserialize)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    kind: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Client {
    /// Nothing is asked for yet.
    ///
    /// # Errors
    /// The endpoint is not a URL.
    pub fn new(settings: ClientSettings) -> Result<Self, AwsError> {
        let ClientSettings { region, endpoint, login } = settings;
        let text = endpoint.unwrap_or_else(|| public_endpoint(&region));
        let endpoint =
            Url::parse(&text).map_err(|error| AwsError::NotUnderstood { endpoint: text, reason: error.to_string() })?;
        Ok(Self { region, endpoint, login })
    }

    /// The text of a secret or of a field of it. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had; a binary secret; a JSON object without a field of it.
    pub fn text(&self, value: &Value) -> Result<Secret, AwsError> {
        let answer = self.answer(value)?;
        let text = match (answer.secret_string, &value.field) {
            (Some(text), Some(field)) => member(&text, field, value)?,
            (Some(text), None) => whole(text, value)?,
            (None, _) if answer.secret_binary.is_some() => {
                return Err(AwsError::Binary { secret_id: value.secret_id() });
            }
            (None, _) => return Err(AwsError::Empty { secret_id: value.secret_id() }),
        };
        if text.is_empty() {
            return Err(AwsError::Empty { secret_id: value.secret_id() });
        }
        Ok(Secret::new(text.as_str().to_owned()))
    }

    /// A keytab: the bytes of a binary secret, or base64 in a text. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had; a text that is not base64.
    pub fn keytab(&self, value: &Value) -> Result<SecretBytes, AwsError> {
        let answer = self.answer(value)?;
        let packed = match (answer.secret_binary, answer.secret_string, &value.field) {
            (Some(packed), _, None) => packed,
            (_, Some(text), Some(field)) => member(&text, field, value)?,
            (_, Some(text), None) => text,
            (Some(_), None, Some(field)) => return Err(not_json(value, field, "the value", "a JSON object")),
            (None, None, _) => return Err(AwsError::Empty { secret_id: value.secret_id() }),
        };
        let bytes = words::base64(&packed).ok_or_else(|| AwsError::NoKeytab { secret_id: value.secret_id() })?;
        if bytes.expose().is_empty() {
            return Err(AwsError::Empty { secret_id: value.secret_id() });
        }
        Ok(bytes)
    }

    fn answer(&self, value: &Value) -> Result<SecretAnswer, AwsError> {
        let answer = blocking(self.ask(&value.version), AwsError::Internal)?;
        tracing::debug!(region = self.region, secret_id = value.version.secret_id, "fetched a secret");
        // The parser's own words could quote the answer.
        serde_json::from_slice(&answer.body).map_err(|error| {
            let place = format!("at line {} column {}", error.line(), error.column());
            self.not_understood(format!("not the JSON it should be, {place}"))
        })
    }

    /// Asks; again after a pause where the service could not serve the request, and once with new credentials where those of the
    /// environment are not accepted any more.
    async fn ask(&self, version: &Version) -> Result<Answer, AwsError> {
        let tls = http::connector(None).map_err(|error| self.failed(error))?;
        let body = body(version);
        let (mut repeats, mut is_renewed) = (0, false);
        loop {
            let keys = self.login.keys(&self.region, &version.secret_id).await?;
            let answer = self.ask_once(&keys, &body, &tls).await?;
            if answer.status == 200 {
                return Ok(answer);
            }
            match self.refusal(&answer, &keys, version) {
                error @ AwsError::Trouble { .. } if repeats == MAX_REPEATS => return Err(error),
                AwsError::Trouble { reason, .. } => {
                    tracing::debug!(endpoint = %self.endpoint, reason, repeats, "AWS Secrets Manager is asked again");
                    tokio::time::sleep(pause(repeats)).await;
                    repeats += 1;
                }
                AwsError::TokenExpired { .. } | AwsError::LoginRefused { .. } if !is_renewed && self.login.forget() => {
                    is_renewed = true;
                }
                error => return Err(error),
            }
        }
    }

    async fn ask_once(&self, keys: &Keys, body: &[u8], tls: &TlsConnector) -> Result<Answer, AwsError> {
        let headers = signature::headers(&self.endpoint, &self.region, keys, body)?;
        let question = Question::Post { headers, body };
        let answer = http::ask(&self.endpoint, question, tls, MAX_ANSWER_BYTES).await;
        answer.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: HttpError) -> AwsError {
        AwsError::of_request(self.endpoint_text(), error)
    }

    fn endpoint_text(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    fn not_understood(&self, reason: String) -> AwsError {
        AwsError::NotUnderstood { endpoint: self.endpoint_text().to_owned(), reason }
    }

    /// The error in an answer, by its type.
    fn refusal(&self, answer: &Answer, keys: &Keys, version: &Version) -> AwsError {
        let said = serde_json::from_slice::<ErrorAnswer>(&answer.body).ok();
        let (kind, message) = said.map(|said| (said.kind, said.message)).unwrap_or_default();
        let kind = kind.as_deref().map(short).unwrap_or_default();
        let status = match kind {
            "" => format!("HTTP status {}", answer.status),
            kind => format!("{}, HTTP status {}", words::printable(kind), answer.status),
        };
        let reason = words::reason(&message.unwrap_or_default(), &status, keys.secrets());
        let endpoint = self.endpoint_text().to_owned();
        let (secret_id, region) = (version.secret_id.clone(), self.region.clone());
        match (kind, answer.status) {
            (
                "ThrottlingException"
                | "Throttling"
                | "TooManyRequestsException"
                | "RequestLimitExceeded"
                | "InternalServiceError"
                | "InternalFailure"
                | "ServiceUnavailable",
                _,
            )
            | (_, 429 | 500..) => AwsError::Trouble { endpoint, reason },
            ("ExpiredTokenException" | "ExpiredToken", _) => AwsError::TokenExpired { endpoint, reason },
            (
                "UnrecognizedClientException"
                | "InvalidClientTokenId"
                | "InvalidAccessKeyId"
                | "InvalidSignatureException"
                | "SignatureDoesNotMatch"
                | "IncompleteSignature"
                | "IncompleteSignatureException"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "RequestExpired"
                | "OptInRequired",
                _,
            )
            | ("", 401 | 403) => AwsError::LoginRefused { endpoint, reason },
            ("AccessDeniedException" | "AccessDenied", _) => AwsError::Denied { secret_id, region, reason },
            ("DecryptionFailure", _) => AwsError::NotDecrypted { secret_id, region, reason },
            (
                "ResourceNotFoundException"
                | "InvalidRequestException"
                | "InvalidParameterException"
                | "ValidationException",
                _,
            ) => AwsError::NotGiven { secret_id, region, reason },
            _ => self.not_understood(status),
        }
    }
}

/// `com.amazonaws.secretsmanager#ResourceNotFoundException:http://…`, without what is around the name.
fn short(kind: &str) -> &str {
    let kind = kind.split(':').next().unwrap_or(kind);
    kind.rsplit('#').next().unwrap_or(kind)
}

fn public_endpoint(region: &str) -> String {
    let china = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://secretsmanager.{region}.amazonaws.com{china}")
}

fn body(version: &Version) -> Vec<u8> {
    let mut question = serde_json::json!({ "SecretId": version.secret_id });
    if let Some(stage) = &version.stage {
        question["VersionStage"] = stage.as_str().into();
    }
    question.to_string().into_bytes()
}

fn pause(repeats: u32) -> Duration {
    let longest = FIRST_PAUSE * 2_u32.pow(repeats);
    longest.mul_f64(fastrand::f64() / 2.0 + 0.5)
}

/// A text that is the secret. A JSON object is no password: whoever wrote the reference forgot its field.
fn whole(text: Zeroizing<String>, value: &Value) -> Result<Zeroizing<String>, AwsError> {
    match serde_json::from_str::<BTreeMap<String, Member>>(&text) {
        Ok(members) => Err(AwsError::FieldNeeded { secret_id: value.secret_id(), fields: names(members.keys()) }),
        Err(_) => Ok(text),
    }
}

/// A text in a JSON object.
fn member(text: &str, field: &str, value: &Value) -> Result<Zeroizing<String>, AwsError> {
    let members = serde_json::from_str::<BTreeMap<String, Member>>(text);
    let mut members = members.map_err(|_| not_json(value, field, "the value", "a JSON object"))?;
    match members.remove(field) {
        Some(Member::Text(text)) => Ok(text),
        Some(Member::Other) => Err(not_json(value, field, "the field", "a text")),
        None => Err(AwsError::NoField {
            secret_id: value.secret_id(),
            field: field.to_owned(),
            fields: names(members.keys()),
        }),
    }
}

fn names<'n>(keys: impl Iterator<Item = &'n String>) -> Vec<String> {
    keys.map(|name| words::printable(name)).collect()
}

fn not_json(value: &Value, field: &str, what: &'static str, expected: &'static str) -> AwsError {
    AwsError::NotJson { secret_id: value.secret_id(), field: field.to_owned(), what, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_follows_the_region() {
        assert_eq!(public_endpoint("eu-central-1"), "https://secretsmanager.eu-central-1.amazonaws.com");
        assert_eq!(public_endpoint("cn-north-1"), "https://secretsmanager.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn type_of_an_error_is_its_short_name() {
        for kind in ["ThrottlingException", "com.amazonaws#ThrottlingException", "ThrottlingException:http://x/"] {
            assert_eq!(short(kind), "ThrottlingException");
        }
    }

    #[test]
    fn pauses_grow() {
        for repeats in 0..MAX_REPEATS {
            let longest = FIRST_PAUSE * 2_u32.pow(repeats);
            assert!((longest / 2..=longest).contains(&pause(repeats)));
        }
    }
}

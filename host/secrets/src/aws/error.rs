//! What can go wrong with AWS Secrets Manager. A code means the same as for other vaults.

use std::borrow::Cow;

use datakit_model::{Diagnostic, Failure, Kind, Retry};

use crate::http::HttpError;

/// Any error of AWS Secrets Manager.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// No connection, or none that lasted.
    #[error("cannot reach AWS Secrets Manager at {endpoint}: {reason}")]
    Unreachable {
        /// The service.
        endpoint: String,
        /// The system's words.
        reason: String,
    },
    /// The certificate is not trusted.
    #[error("the certificate of AWS Secrets Manager at {endpoint} was refused: {reason}")]
    Certificate {
        /// The service.
        endpoint: String,
        /// The TLS library's words.
        reason: String,
    },
    /// AWS does not accept the access key.
    #[error("AWS refused the host's login at {endpoint}: {reason}")]
    LoginRefused {
        /// The service.
        endpoint: String,
        /// Its words.
        reason: String,
    },
    /// The session token is too old.
    #[error("AWS refused the host's login at {endpoint}, because its session token has expired: {reason}")]
    TokenExpired {
        /// The service.
        endpoint: String,
        /// Its words.
        reason: String,
    },
    /// The environment says how to log in, but that fails.
    #[error("cannot get AWS credentials by {way}: {reason}")]
    Credentials {
        /// The way that the environment offers.
        way: &'static str,
        /// The words of whoever was asked.
        reason: String,
    },
    /// The environment does not say how to log in.
    #[error("there are no AWS credentials for secret {secret_id}: {reason}")]
    NoCredentials {
        /// The secret.
        secret_id: String,
        /// What the machine's own role came to.
        reason: String,
    },
    /// What the host logs in with cannot be had, or cannot be sent.
    #[error("{0}")]
    Credential(Failure),
    /// A key that cannot be sent.
    #[error("`{key}` of secret {secret_id} has characters that no access key of AWS has")]
    InvalidKey {
        /// The secret.
        secret_id: String,
        /// Which.
        key: &'static str,
    },
    /// No region is known.
    #[error("the region of secret {secret_id} is not known")]
    NoRegion {
        /// The secret.
        secret_id: String,
    },
    /// The secret or its version is not there.
    #[error("AWS Secrets Manager in {region} does not give secret {secret_id}: {reason}")]
    NotGiven {
        /// The secret.
        secret_id: String,
        /// Where it was looked for.
        region: String,
        /// The service's words.
        reason: String,
    },
    /// The secret is not for the host.
    #[error("AWS denies the host access to secret {secret_id} in {region}: {reason}")]
    Denied {
        /// The secret.
        secret_id: String,
        /// Its region.
        region: String,
        /// The service's words.
        reason: String,
    },
    /// The service cannot decrypt the secret.
    #[error("AWS cannot decrypt secret {secret_id} in {region}: {reason}")]
    NotDecrypted {
        /// The secret.
        secret_id: String,
        /// Its region.
        region: String,
        /// The service's words.
        reason: String,
    },
    /// The JSON of the secret has no such key.
    #[error("secret {secret_id} has no field `{field}`; it has {}", listed(fields))]
    NoField {
        /// The secret.
        secret_id: String,
        /// What was asked for.
        field: String,
        /// What there is.
        fields: Vec<String>,
    },
    /// A field was asked for, and the secret is not a JSON object; or the field is not a text.
    #[error("{what} of secret {secret_id} is not {expected}, so there is no field `{field}` to read")]
    NotJson {
        /// The secret.
        secret_id: String,
        /// The field.
        field: String,
        /// What is of another type.
        what: &'static str,
        /// The type it should be of.
        expected: &'static str,
    },
    /// A password was asked for, and the secret is a JSON object.
    #[error("secret {secret_id} is a JSON object, and the reference names no field of it; it has {}", listed(fields))]
    FieldNeeded {
        /// The secret.
        secret_id: String,
        /// What there is.
        fields: Vec<String>,
    },
    /// A password was asked for, and the secret is binary.
    #[error("secret {secret_id} is binary, which is no password")]
    Binary {
        /// The secret.
        secret_id: String,
    },
    /// There is nothing in it.
    #[error("secret {secret_id} is empty")]
    Empty {
        /// The secret.
        secret_id: String,
    },
    /// A keytab was asked for, and the secret is neither binary nor base64.
    #[error("secret {secret_id} is neither binary nor base64, so it is no keytab")]
    NoKeytab {
        /// The secret.
        secret_id: String,
    },
    /// The answer is larger than any secret.
    #[error("AWS Secrets Manager at {endpoint} answers with more than {limit_bytes} bytes")]
    TooLarge {
        /// The service.
        endpoint: String,
        /// The bound.
        limit_bytes: usize,
    },
    /// The answer is not one of Secrets Manager's.
    #[error("{endpoint} answers in a way that is not that of AWS Secrets Manager: {reason}")]
    NotUnderstood {
        /// The service.
        endpoint: String,
        /// In which way.
        reason: String,
    },
    /// The service is overloaded or fails.
    #[error("AWS Secrets Manager at {endpoint} is in trouble: {reason}")]
    Trouble {
        /// The service.
        endpoint: String,
        /// Its words.
        reason: String,
    },
    /// Something that cannot happen.
    #[error("fetching a secret failed: {0}")]
    Internal(String),
}

fn listed(fields: &[String]) -> String {
    if fields.is_empty() { "none".to_owned() } else { fields.join(", ") }
}

impl AwsError {
    /// The error of a request to the service.
    pub(crate) fn of_request(endpoint: &str, error: HttpError) -> Self {
        let endpoint = endpoint.to_owned();
        match error {
            HttpError::Unreachable(reason) => Self::Unreachable { endpoint, reason },
            HttpError::Certificate(reason) => Self::Certificate { endpoint, reason },
            HttpError::TooLarge(limit_bytes) => Self::TooLarge { endpoint, limit_bytes },
            HttpError::Invalid(reason) => Self::NotUnderstood { endpoint, reason },
            // There is no such file here.
            error @ HttpError::CertificateFile { .. } => Self::Internal(error.to_string()),
            HttpError::Internal(reason) => Self::Internal(reason),
        }
    }

    fn secret_id(&self) -> Option<&str> {
        match self {
            Self::NoCredentials { secret_id, .. }
            | Self::InvalidKey { secret_id, .. }
            | Self::NoRegion { secret_id }
            | Self::NotGiven { secret_id, .. }
            | Self::Denied { secret_id, .. }
            | Self::NotDecrypted { secret_id, .. }
            | Self::NoField { secret_id, .. }
            | Self::NotJson { secret_id, .. }
            | Self::FieldNeeded { secret_id, .. }
            | Self::Binary { secret_id }
            | Self::Empty { secret_id }
            | Self::NoKeytab { secret_id } => Some(secret_id),
            _ => None,
        }
    }
}

impl From<Failure> for AwsError {
    fn from(failure: Failure) -> Self {
        Self::Credential(failure)
    }
}

impl Diagnostic for AwsError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Credential(failure) => return failure.code().to_owned().into(),
            Self::Unreachable { .. } => "DK-SEC-001",
            Self::Certificate { .. } => "DK-SEC-002",
            Self::LoginRefused { .. } | Self::InvalidKey { .. } => "DK-SEC-010",
            Self::TokenExpired { .. } => "DK-SEC-012",
            Self::Credentials { .. } => "DK-SEC-013",
            Self::NoCredentials { .. } => "DK-SEC-014",
            Self::NoRegion { .. } => "DK-SEC-015",
            Self::NotGiven { .. } => "DK-SEC-020",
            Self::NoField { .. } => "DK-SEC-021",
            Self::Binary { .. } => "DK-SEC-022",
            Self::Empty { .. } => "DK-SEC-023",
            Self::NoKeytab { .. } => "DK-SEC-024",
            Self::Denied { .. } => "DK-SEC-025",
            Self::NotDecrypted { .. } => "DK-SEC-026",
            Self::NotJson { .. } | Self::FieldNeeded { .. } => "DK-SEC-027",
            Self::TooLarge { .. } => "DK-SEC-030",
            Self::NotUnderstood { .. } => "DK-SEC-031",
            Self::Trouble { .. } => "DK-SEC-032",
            Self::Internal(_) => "DK-SEC-090",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Credential(failure) => failure.kind(),
            Self::Internal(_) => Kind::Internal,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Credential(failure) => failure.retry(),
            Self::Unreachable { .. } | Self::Trouble { .. } | Self::Credentials { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Credential(failure) => return failure.hint().map(str::to_owned),
                Self::Unreachable { .. } => {
                    "check `region` and `endpoint`, and that the service can be reached from here; proxies are not used"
                }
                Self::Certificate { .. } => {
                    "put the issuing CA into a file and point SSL_CERT_FILE at it; the name in the certificate must be the one in `endpoint`"
                }
                Self::LoginRefused { .. } => {
                    "check access key id and secret access key, that the key is active, and the clock of this machine"
                }
                Self::TokenExpired { .. } => {
                    "get a new session token, or let the environment offer a role instead of a token"
                }
                Self::Credentials { .. } => "check the role, its trust policy, and the AWS_… variables of this process",
                Self::NoCredentials { .. } => {
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the pod or task a role, or name `access_key_id` and `secret_access_key` in the reference; profiles of the AWS CLI are not read"
                }
                Self::InvalidKey { .. } => "check the variable or file that the key comes from",
                Self::NoRegion { .. } => {
                    "write `region`, for example \"eu-central-1\", give the secret's ARN as `secret_id`, or set AWS_REGION"
                }
                Self::NotGiven { .. } => {
                    "check `secret_id`, `region` and `version_stage`: a secret is in one region only, and a secret of another account needs its ARN"
                }
                Self::Denied { .. } => {
                    "allow the host's role secretsmanager:GetSecretValue on the secret, and kms:Decrypt on its key if that is a key of your own"
                }
                Self::NotDecrypted { .. } => "check that the secret's KMS key is enabled, and that the host's role may use kms:Decrypt with it",
                Self::NoField { .. } => "name one of these",
                Self::NotJson { .. } => "leave `field` out for a secret that is the password itself, or name a text of a JSON object",
                Self::FieldNeeded { .. } => "name one of these as `field`",
                Self::Binary { .. } => "keep a password as text; a keytab may be binary",
                Self::Empty { .. } => "put the password or keytab into the secret",
                Self::NoKeytab { .. } => "keep the keytab as a binary secret, or as base64 in text",
                Self::TooLarge { .. } => "no secret of AWS is nearly as large: check `endpoint`",
                Self::NotUnderstood { .. } => "`endpoint` must be AWS Secrets Manager itself, or a VPC endpoint of it",
                Self::Trouble { .. } => "the request was repeated in vain; it is repeated again where a run retries",
                Self::Internal(_) => "this is a bug in the host: please report it with the log",
            }
            .to_owned(),
        )
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Credential(failure) => Some(failure),
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        match self {
            Self::Credential(failure) => failure.context().to_vec(),
            _ => self.secret_id().map(|id| ("secret_id".to_owned(), id.to_owned())).into_iter().collect(),
        }
    }
}

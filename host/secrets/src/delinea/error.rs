//! What can go wrong with Delinea, with the codes `DK-SEC-…`.
//!
//! | codes | about |
//! |---|---|
//! | 001–009 | the way to the vault |
//! | 010–019 | the host's own login there |
//! | 020–029 | the secret and its field |
//! | 030–039 | answers |
//! | 090 | a bug of ours |

use std::borrow::Cow;
use std::path::PathBuf;

use datakit_model::{Diagnostic, Failure, Kind, Retry};

use crate::http::HttpError;

/// Any error of Delinea.
#[derive(Debug, thiserror::Error)]
pub enum DelineaError {
    /// No connection, or none that lasted.
    #[error("cannot reach the vault {url}: {reason}")]
    Unreachable {
        /// The vault.
        url: String,
        /// The system's words.
        reason: String,
    },
    /// The certificate is not trusted.
    #[error("the certificate of the vault {url} was refused: {reason}")]
    Certificate {
        /// The vault.
        url: String,
        /// The TLS library's words.
        reason: String,
    },
    /// The file of authorities cannot be used.
    #[error("cannot use the certificate file {}: {reason}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The vault does not let the host in.
    #[error("the vault {url} refused the host's login: {reason}")]
    ClientRefused {
        /// The vault.
        url: String,
        /// Its words.
        reason: String,
    },
    /// What the host logs in to the vault with cannot be had; or what a login that was waited for was told.
    #[error("{0}")]
    Credential(Failure),
    /// The platform has no vault for the host.
    #[error("the platform {url} names no vault that is active and its default")]
    NoVault {
        /// The platform.
        url: String,
    },
    /// The secret is not there, or not for the host.
    #[error("the vault {url} does not give secret {secret_id}: {reason}")]
    NotGiven {
        /// The vault.
        url: String,
        /// The secret.
        secret_id: u64,
        /// Its words.
        reason: String,
    },
    /// The secret has no such field.
    #[error("secret {secret_id} of {url} has no field `{field}`; it has {}", listed(fields))]
    NoField {
        /// The vault.
        url: String,
        /// The secret.
        secret_id: u64,
        /// What was asked for.
        field: String,
        /// What there is.
        fields: Vec<String>,
    },
    /// A password was asked for, and the field is a file.
    #[error("field `{field}` of secret {secret_id} of {url} is a file, which is no password")]
    IsFile {
        /// The vault.
        url: String,
        /// The secret.
        secret_id: u64,
        /// The field.
        field: String,
    },
    /// The field holds nothing.
    #[error("field `{field}` of secret {secret_id} of {url} is empty")]
    Empty {
        /// The vault.
        url: String,
        /// The secret.
        secret_id: u64,
        /// The field.
        field: String,
    },
    /// A keytab was asked for, and the field is neither a file nor base64.
    #[error("field `{field}` of secret {secret_id} of {url} is neither a file nor base64, so it is no keytab")]
    NoKeytab {
        /// The vault.
        url: String,
        /// The secret.
        secret_id: u64,
        /// The field.
        field: String,
    },
    /// The answer is larger than any secret.
    #[error("the vault {url} answers with more than {limit_bytes} bytes")]
    TooLarge {
        /// The vault.
        url: String,
        /// The bound.
        limit_bytes: usize,
    },
    /// The answer is not one of Secret Server's.
    #[error("the vault {url} answers in a way that is not Secret Server's: {reason}")]
    NotUnderstood {
        /// The vault.
        url: String,
        /// In which way.
        reason: String,
    },
    /// The vault has troubles of its own.
    #[error("the vault {url} is in trouble: HTTP status {status}")]
    Trouble {
        /// The vault.
        url: String,
        /// 429, or 500 and above.
        status: u16,
    },
    /// Something that cannot happen.
    #[error("fetching a secret failed: {0}")]
    Internal(String),
}

impl DelineaError {
    /// The error of a request to the vault.
    pub(crate) fn of_request(url: &str, error: HttpError) -> Self {
        let url = url.to_owned();
        match error {
            HttpError::Unreachable(reason) => Self::Unreachable { url, reason },
            HttpError::Certificate(reason) => Self::Certificate { url, reason },
            HttpError::CertificateFile { path, reason } => Self::CertificateFile { path, reason },
            HttpError::TooLarge(limit_bytes) => Self::TooLarge { url, limit_bytes },
            HttpError::Invalid(reason) => Self::NotUnderstood { url, reason },
            HttpError::Internal(reason) => Self::Internal(reason),
        }
    }
}

fn listed(fields: &[String]) -> String {
    if fields.is_empty() { "none".to_owned() } else { fields.join(", ") }
}

impl From<Failure> for DelineaError {
    fn from(failure: Failure) -> Self {
        Self::Credential(failure)
    }
}

impl Diagnostic for DelineaError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Credential(failure) => return failure.code().to_owned().into(),
            Self::Unreachable { .. } => "DK-SEC-001",
            Self::Certificate { .. } => "DK-SEC-002",
            Self::CertificateFile { .. } => "DK-SEC-003",
            Self::ClientRefused { .. } => "DK-SEC-010",
            Self::NoVault { .. } => "DK-SEC-011",
            Self::NotGiven { .. } => "DK-SEC-020",
            Self::NoField { .. } => "DK-SEC-021",
            Self::IsFile { .. } => "DK-SEC-022",
            Self::Empty { .. } => "DK-SEC-023",
            Self::NoKeytab { .. } => "DK-SEC-024",
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
            Self::Unreachable { .. } | Self::Trouble { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Credential(failure) => return failure.hint().map(str::to_owned),
                Self::Unreachable { .. } => "check `url`, and that the vault can be reached from here",
                Self::Certificate { .. } => {
                    "put the issuing CA into a file and point SSL_CERT_FILE or `certificate_file` of the reference at it; the name in the certificate must be the one in `url`"
                }
                Self::CertificateFile { .. } => "`certificate_file` takes certificates as PEM",
                Self::ClientRefused { .. } => {
                    "check client id and secret (DELINEA_CLIENT_ID, DELINEA_CLIENT_SECRET), and whether `login` should be \"password\" (an application account) or \"platform\""
                }
                Self::NoVault { .. } => "ask the platform's administrators for a default vault, or give the vault's own `url`",
                Self::NotGiven { .. } => {
                    "check the number, and that the secret is shared with the host's account; the vault does not tell the two apart"
                }
                Self::NoField { .. } => "name one of these, by its slug or its name",
                Self::IsFile { .. } => "name the field that holds the password itself",
                Self::Empty { .. } => "fill the field in",
                Self::NoKeytab { .. } => "attach the keytab to a file field of the secret, or keep it as base64 in a text field",
                Self::TooLarge { .. } => "no password or keytab is nearly as large: check `url`, `secret_id` and `field`",
                Self::NotUnderstood { .. } => {
                    "`url` must be Secret Server itself, with the path it is under: `https://HOST/SecretServer`"
                }
                Self::Trouble { .. } => "its own log says more; it is asked again where a run retries",
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
            Self::NotGiven { secret_id, .. } => vec![("secret_id".to_owned(), secret_id.to_string())],
            Self::NoField { secret_id, field, .. }
            | Self::IsFile { secret_id, field, .. }
            | Self::Empty { secret_id, field, .. }
            | Self::NoKeytab { secret_id, field, .. } => {
                vec![("secret_id".to_owned(), secret_id.to_string()), ("field".to_owned(), field.clone())]
            }
            _ => Vec::new(),
        }
    }
}

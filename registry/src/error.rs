use std::borrow::Cow;
use std::path::PathBuf;

use datakit_model::{Diagnostic, Kind, Retry};

use crate::digest::Digest;

/// What can go wrong between a reference and verified bytes.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Not a reference.
    #[error("`{reference}` does not name a datakit: {reason}")]
    BadReference {
        /// What was given.
        reference: String,
        /// Why.
        reason: String,
    },
    /// Not a digest.
    #[error("`{0}` is no digest")]
    BadDigest(String),
    /// Not a registry.
    #[error("`{location}` is no registry: {reason}")]
    BadLocation {
        /// What was given.
        location: String,
        /// Why.
        reason: String,
    },
    /// Not WebAssembly.
    #[error("the file is not WebAssembly")]
    NotWebAssembly,
    /// A core module.
    #[error("the file is a WebAssembly module, not a component")]
    NotAComponent,
    /// Broken WebAssembly.
    #[error("the component is broken: {0}")]
    InvalidComponent(String),
    /// A component of more parts or names than a datakit may have.
    #[error("the component has more than {limit} {what}")]
    OversizedComponent {
        /// What it has too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// A component of another kind.
    #[error("the component is not a datakit: it does not export `datakit:kit/extractor`")]
    NotADatakit {
        /// What it exports.
        exports: Vec<String>,
    },
    /// A datakit of another generation.
    #[error("the datakit was built for version {version} of `datakit:kit`, which this host does not know")]
    UnknownWitVersion {
        /// The version.
        version: String,
    },
    /// An artifact that is not ours.
    #[error("the artifact is not a datakit: {0}")]
    BadManifest(String),
    /// A component beyond the limit.
    #[error("the component has {size_bytes} bytes, over the limit of {max_component_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The limit.
        max_component_bytes: u64,
    },
    /// Nothing of that name and version.
    #[error("`{reference}` is not in {location}")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// Where.
        location: String,
    },
    /// Published versions do not change.
    #[error("`{reference}` is published already, with other bytes ({published})")]
    VersionTaken {
        /// Name and version.
        reference: String,
        /// The digest of what is there.
        published: Digest,
    },
    /// Bytes that are not what they should be.
    #[error("{what} has the digest {found}, not {expected}")]
    DigestMismatch {
        /// Which bytes.
        what: String,
        /// By the manifest, the lock file or the reference.
        expected: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// The registry cannot be reached.
    #[error("cannot reach the registry {location}")]
    Unreachable {
        /// Where.
        location: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry's certificate is not trusted.
    #[error("the certificate of the registry {location} is not trusted: {reason}")]
    UntrustedCertificate {
        /// Where.
        location: String,
        /// Why.
        reason: String,
    },
    /// An answer that takes too long, however much of it comes.
    #[error("the registry {location} did not send {what} within {limit_seconds} s")]
    TooSlow {
        /// Where.
        location: String,
        /// What was asked for.
        what: &'static str,
        /// The limit.
        limit_seconds: u64,
    },
    /// An answer without end.
    #[error("the registry {location} sends more than {max_bytes} bytes for {what}")]
    AnswerTooLarge {
        /// Where.
        location: String,
        /// What was asked for.
        what: &'static str,
        /// The limit.
        max_bytes: u64,
    },
    /// More tags than a datakit has.
    #[error("the registry {location} lists more than {max_tags} tags for one datakit")]
    TooManyTags {
        /// Where.
        location: String,
        /// The limit.
        max_tags: usize,
    },
    /// An answer that leads elsewhere.
    #[error("the registry {location} leads to {url}, which is not followed: {reason}")]
    BadRedirect {
        /// Where.
        location: String,
        /// Where to.
        url: String,
        /// Why.
        reason: String,
    },
    /// A password that anybody on the way could read.
    #[error("no password is sent to the registry {location} over plain HTTP ({url})")]
    PasswordInClear {
        /// Where.
        location: String,
        /// Where to.
        url: String,
    },
    /// The registry refused the credentials, or wants some.
    #[error("the registry {location} refused access")]
    Unauthorized {
        /// Where.
        location: String,
        /// What it said.
        reason: String,
    },
    /// The registry answered with an error.
    #[error("the registry {location} answered with an error: {reason}")]
    Refused {
        /// Where.
        location: String,
        /// What it said.
        reason: String,
        /// It may pass by itself.
        transient: bool,
    },
    /// The docker configuration does not give the credential it announces.
    #[error("the credential for {host} in the docker configuration cannot be used: {reason}")]
    Credential {
        /// The registry.
        host: String,
        /// Why.
        reason: String,
    },
    /// The file system.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Verb.
        action: &'static str,
        /// Object.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lock file is not one.
    #[error("{} is no lock file: {reason}", path.display())]
    BadLockFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The directory is no OCI image layout.
    #[error("{} is no OCI image layout: {reason}", path.display())]
    BadLayout {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The lock file pins a version to other bytes than the registry has under it.
    #[error("datakits.lock pins `{reference}` to {pinned}, the registry has {published}")]
    PinDiffers {
        /// The version.
        reference: String,
        /// What is pinned.
        pinned: Digest,
        /// What is published.
        published: Digest,
    },
}

/// No message names more exports of a component than this.
const MAX_NAMED: usize = 10;

impl RegistryError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.into(), source }
    }
}

impl Diagnostic for RegistryError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::BadReference { .. } => "DK-REG-001",
            Self::BadDigest(_) => "DK-REG-002",
            Self::BadLocation { .. } => "DK-REG-003",
            Self::NotWebAssembly => "DK-REG-004",
            Self::NotAComponent => "DK-REG-005",
            Self::InvalidComponent(_) => "DK-REG-006",
            Self::NotADatakit { .. } => "DK-REG-007",
            Self::UnknownWitVersion { .. } => "DK-REG-008",
            Self::BadManifest(_) => "DK-REG-009",
            Self::TooLarge { .. } => "DK-REG-010",
            Self::NotFound { .. } => "DK-REG-011",
            Self::VersionTaken { .. } => "DK-REG-012",
            Self::DigestMismatch { .. } => "DK-REG-013",
            Self::Unreachable { .. } => "DK-REG-014",
            Self::Unauthorized { .. } => "DK-REG-015",
            Self::Refused { .. } => "DK-REG-016",
            Self::Credential { .. } => "DK-REG-017",
            Self::Io { .. } => "DK-REG-018",
            Self::BadLockFile { .. } => "DK-REG-019",
            Self::BadLayout { .. } => "DK-REG-020",
            Self::PinDiffers { .. } => "DK-REG-021",
            Self::UntrustedCertificate { .. } => "DK-REG-022",
            Self::TooSlow { .. } => "DK-REG-023",
            Self::AnswerTooLarge { .. } => "DK-REG-024",
            Self::TooManyTags { .. } => "DK-REG-025",
            Self::BadRedirect { .. } => "DK-REG-026",
            Self::PasswordInClear { .. } => "DK-REG-027",
            Self::OversizedComponent { .. } => "DK-REG-028",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotWebAssembly
            | Self::NotAComponent
            | Self::InvalidComponent(_)
            | Self::OversizedComponent { .. }
            | Self::NotADatakit { .. }
            | Self::UnknownWitVersion { .. } => Kind::Datakit,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::TooSlow { .. } | Self::Refused { transient: true, .. } => {
                Retry::AfterBackoff
            }
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadReference { .. } => "write NAME@VERSION or NAME@sha256:DIGEST, for example sqlserver-bronze@0.1.0".into(),
            Self::BadDigest(_) => "a digest is `sha256:` and 64 lower-case hex digits".into(),
            Self::BadLocation { .. } => "write `host[:port]/prefix`, or `oci:PATH` for a directory".into(),
            Self::NotAComponent => "`cargo build --target wasm32-wasip2` makes a component of the same crate; with wasm32-unknown-unknown, \
                 name the linker that makes components in .cargo/config.toml: `[target.wasm32-unknown-unknown]`, \
                 `linker = \"wasm-component-ld\"` (docs/wit.md, \"Build a datakit\")"
                .into(),
            Self::NotWebAssembly | Self::NotADatakit { .. } | Self::OversizedComponent { .. } => {
                "docs/wit.md shows a whole datakit and how it is built".into()
            }
            Self::InvalidComponent(_) => "build or pull it again".into(),
            Self::UnknownWitVersion { .. } => format!(
                "this host knows {}: update the host, or build the datakit for one of them",
                crate::component::KNOWN_WIT_VERSIONS.join(", ")
            ),
            Self::BadManifest(_) => "publish datakits with `host publish`".into(),
            Self::TooLarge { .. } => "raise `limits.guest.max_component_bytes` if you trust its author".into(),
            Self::NotFound { reference, .. } if !reference.contains('@') => {
                "check its name, and that this is the registry it was published in (`--registry`); `host publish FILE.wasm` publishes it".into()
            }
            Self::NotFound { reference, .. } => {
                let name = reference.split('@').next().unwrap_or_default();
                format!("publish it first: `host publish {name}.wasm`; `host list {name}` shows the versions that are published")
            }
            Self::VersionTaken { .. } => "raise the datakit's version: a published version never changes".into(),
            Self::DigestMismatch { .. } => {
                "do not use it: the bytes were changed or damaged on the way; pull again, and tell the registry's owner if it stays".into()
            }
            Self::Unreachable { .. } => {
                "check the registry's address and the network; a datakit that is pinned in datakits.lock and cached runs without it".into()
            }
            Self::Unauthorized { location, .. } => {
                let host = location.split('/').next().unwrap_or_default();
                format!("log in with `docker login {host}`: the host reads docker's configuration")
            }
            Self::UntrustedCertificate { .. } => {
                "if the registry has a certificate authority of its own, name its certificates in SSL_CERT_FILE or install them in the system".into()
            }
            Self::TooSlow { .. } => "try again; if it stays, check the network and the registry".into(),
            Self::AnswerTooLarge { .. } | Self::TooManyTags { .. } => {
                "check that this is a registry of datakits, and that you trust its owner".into()
            }
            Self::BadRedirect { .. } => {
                "do not use this registry unless you know why it leads there; a registry may lead to addresses that are as public as its own".into()
            }
            Self::PasswordInClear { .. } => {
                "use HTTPS; for a registry on this machine set `plain_http = true`, or remove its entry from docker's configuration".into()
            }
            Self::Credential { .. } => "check the entry in ~/.docker/config.json and its credential helper".into(),
            Self::Refused { .. } => return None,
            Self::Io { .. } => "check that the path exists, its permissions and the free space".into(),
            Self::BadLockFile { .. } => "restore it from version control, or write it anew with `host lock`".into(),
            Self::BadLayout { .. } => "check the path, or name an empty directory; `host publish` makes one that is not there".into(),
            Self::PinDiffers { reference, .. } => {
                format!("a published version never changes: find out who replaced it; `run` takes what is pinned, `host lock --accept-replaced {reference}` pins what is there now")
            }
        })
    }

    fn context(&self) -> Vec<(String, String)> {
        match self {
            Self::TooLarge { size_bytes, max_component_bytes } => vec![
                ("setting".into(), "limits.guest.max_component_bytes".into()),
                ("limit".into(), max_component_bytes.to_string()),
                ("requested".into(), size_bytes.to_string()),
            ],
            Self::NotADatakit { exports } if !exports.is_empty() => {
                vec![("exports".into(), datakit_model::printable::some(exports, MAX_NAMED))]
            }
            Self::Unauthorized { reason, .. } => vec![("registry".into(), reason.clone())],
            _ => Vec::new(),
        }
    }
}

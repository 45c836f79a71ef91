//! A registry over HTTP(S).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_distribution::Reference as Image;
use oci_distribution::client::{Client, ClientConfig, ClientProtocol};
use oci_distribution::errors::{OciDistributionError, OciErrorCode};
use oci_distribution::secrets::RegistryAuth;
use tokio::io::AsyncWrite;

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{Descriptor, MANIFEST_TYPE};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const TAGS_PER_PAGE: usize = 100;

pub(crate) struct Remote {
    client: Client,
    auth: RegistryAuth,
    host: String,
    prefix: String,
}

impl Remote {
    pub(crate) fn new(host: &str, prefix: &str, plain_http: bool, auth: RegistryAuth) -> Self {
        let client = Client::new(ClientConfig {
            protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            platform_resolver: None,
            user_agent: concat!("datakit-host/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        Self { client, auth, host: host.to_owned(), prefix: prefix.to_owned() }
    }

    /// The manifest's digest of a version.
    pub(crate) async fn resolve(&self, name: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let image = Image::with_tag(self.host.clone(), self.repository(name), tag.to_owned());
        match self.client.fetch_manifest_digest(&image, &self.auth).await {
            Ok(digest) => digest.parse().map(Some),
            Err(error) => self.absent_or(error),
        }
    }

    /// A manifest by its digest; the caller verifies it.
    pub(crate) async fn manifest(&self, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, RegistryError> {
        let image = Image::with_digest(self.host.clone(), self.repository(name), digest.to_string());
        match self.client.pull_manifest_raw(&image, &self.auth, &[MANIFEST_TYPE]).await {
            Ok((bytes, _)) => Ok(Some(bytes.into())),
            Err(error) => self.absent_or(error),
        }
    }

    /// A blob; a registry that sends more than announced is cut off.
    pub(crate) async fn blob(&self, name: &str, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let image = Image::with_digest(self.host.clone(), self.repository(name), blob.digest.to_string());
        self.client.store_auth_if_needed(&self.host, &self.auth).await;
        let mut bytes = Bounded { bytes: Vec::new(), max_bytes: blob.size };
        self.client.pull_blob(&image, blob.digest.as_str(), &mut bytes).await.map_err(|e| self.error(e))?;
        Ok(bytes.bytes)
    }

    /// Every tag of a datakit.
    pub(crate) async fn tags(&self, name: &str) -> Result<Vec<String>, RegistryError> {
        let image = Image::with_tag(self.host.clone(), self.repository(name), "latest".to_owned());
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().cloned();
            match self.client.list_tags(&image, &self.auth, Some(TAGS_PER_PAGE), last.as_deref()).await {
                Ok(page) => {
                    let (count, before) = (page.tags.len(), tags.len());
                    tags.extend(page.tags.into_iter().filter(|t| Some(t) != last.as_ref()));
                    if count < TAGS_PER_PAGE || tags.len() == before {
                        return Ok(tags);
                    }
                }
                Err(error) => return self.absent_or(error).map(|_: Option<()>| tags),
            }
        }
    }

    /// Pushes blobs, then the manifest that names them.
    pub(crate) async fn publish(
        &self,
        name: &str,
        tag: &str,
        manifest: Vec<u8>,
        blobs: &[&[u8]],
    ) -> Result<(), RegistryError> {
        let image = Image::with_tag(self.host.clone(), self.repository(name), tag.to_owned());
        self.client.store_auth_if_needed(&self.host, &self.auth).await;
        for bytes in blobs {
            let digest = Digest::of(bytes);
            self.client.push_blob(&image, bytes.to_vec(), digest.as_str()).await.map_err(|e| self.error(e))?;
        }
        let Ok(media_type) = MANIFEST_TYPE.parse() else {
            return Err(RegistryError::BadManifest("its media type is no header value".into()));
        };
        self.client.push_manifest_raw(&image, manifest, media_type).await.map_err(|e| self.error(e))?;
        Ok(())
    }

    fn repository(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    fn location(&self) -> String {
        if self.prefix.is_empty() { self.host.clone() } else { format!("{}/{}", self.host, self.prefix) }
    }

    fn absent_or<T>(&self, error: OciDistributionError) -> Result<Option<T>, RegistryError> {
        let absent = match &error {
            OciDistributionError::ImageManifestNotFoundError(_) => true,
            OciDistributionError::ServerError { code, .. } => *code == 404,
            OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|e| {
                matches!(e.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
            }),
            _ => false,
        };
        if absent { Ok(None) } else { Err(self.error(error)) }
    }

    fn error(&self, error: OciDistributionError) -> RegistryError {
        let location = self.location();
        match error {
            OciDistributionError::RequestError(e) if e.is_connect() || e.is_timeout() || e.status().is_none() => {
                RegistryError::Unreachable { location, source: Box::new(e.without_url()) }
            }
            OciDistributionError::AuthenticationFailure(reason) => RegistryError::Unauthorized { location, reason },
            OciDistributionError::UnauthorizedError { .. } => {
                RegistryError::Unauthorized { location, reason: "not authorized".into() }
            }
            OciDistributionError::RegistryError { envelope, .. }
                if envelope
                    .errors
                    .iter()
                    .any(|e| matches!(e.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)) =>
            {
                RegistryError::Unauthorized { location, reason: envelope.to_string() }
            }
            OciDistributionError::ServerError { code: 401 | 403, message, .. } => {
                RegistryError::Unauthorized { location, reason: message }
            }
            OciDistributionError::ServerError { code, message, .. } => RegistryError::Refused {
                location,
                reason: format!("{code} {message}"),
                transient: code >= 500 || code == 429,
            },
            other => RegistryError::Refused { location, reason: other.to_string(), transient: false },
        }
    }
}

/// A buffer that takes what was announced and not a byte more.
struct Bounded {
    bytes: Vec<u8>,
    max_bytes: u64,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, part: &[u8]) -> Poll<io::Result<usize>> {
        if self.bytes.len() as u64 + part.len() as u64 > self.max_bytes {
            return Poll::Ready(Err(io::Error::other("the registry sends more bytes than the manifest announces")));
        }
        self.bytes.extend_from_slice(part);
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

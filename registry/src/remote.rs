//! A registry over HTTP(S): the OCI distribution API, <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.

use std::collections::BTreeSet;

use bytes::Bytes;
use oci_distribution::errors::{OciEnvelope, OciErrorCode};
use reqwest::header::{HeaderMap, LINK, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::authorization::{Access, Authorization};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::http::{Answer, Http, Request, same_origin};
use crate::manifest::{Descriptor, MANIFEST_TYPE, MAX_MANIFEST_BYTES};
use crate::registry::RegistryOptions;

const TAGS_PER_PAGE: usize = 100;
/// A page of tags; a registry may send more of them than asked for.
const MAX_TAGS_PAGE_BYTES: u64 = 4 << 20;
/// All tags of one datakit.
const MAX_TAGS: usize = 10_000;
const MAX_TAG_PAGES: usize = 1_000;
const DIGEST_HEADER: &str = "docker-content-digest";
const BINARY: &str = "application/octet-stream";

#[derive(Deserialize)]
struct TagsAnswer {
    /// `null` where a repository has lost its last tag.
    tags: Option<Vec<String>>,
}

pub(crate) struct Remote {
    http: Http,
    authorization: Authorization,
    location: String,
    prefix: String,
}

impl Remote {
    pub(crate) fn new(
        host: &str,
        prefix: &str,
        is_local: bool,
        options: &RegistryOptions,
    ) -> Result<Self, RegistryError> {
        let location = if prefix.is_empty() { host.to_owned() } else { format!("{host}/{prefix}") };
        let http = Http::new(host, location.clone(), is_local, options)?;
        let authorization = Authorization::new(options.docker_config.clone(), host);
        Ok(Self { http, authorization, location, prefix: prefix.to_owned() })
    }

    /// The manifest's digest of a version.
    pub(crate) async fn resolve(&self, name: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let path = format!("manifests/{tag}");
        let head = self.ask(Method::HEAD, name, &path, 0, "the digest of a version").await?;
        if head.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if head.status.is_success()
            && let Some(digest) = head.headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok())
        {
            return digest.parse().map(Some);
        }
        // A HEAD has no body that says what is wrong, and some registries leave the digest out.
        let answer = self.ask(Method::GET, name, &path, MAX_MANIFEST_BYTES, "a manifest").await?;
        Ok(self.present(answer)?.map(|answer| Digest::of(&answer.body)))
    }

    /// A manifest by its digest; the caller verifies it.
    pub(crate) async fn manifest(&self, name: &str, digest: &Digest) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = format!("manifests/{digest}");
        let answer = self.ask(Method::GET, name, &path, MAX_MANIFEST_BYTES, "a manifest").await?;
        Ok(self.present(answer)?.map(|answer| answer.body))
    }

    /// A blob, at most as large as announced; the caller verifies it.
    pub(crate) async fn blob(&self, name: &str, blob: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let path = format!("blobs/{}", blob.digest);
        let answer = self.ask(Method::GET, name, &path, blob.size, "a component").await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(self.error(&answer)) }
    }

    /// Every tag of a datakit.
    ///
    /// The next page is where the `Link` header says. A registry that sends none is asked for what follows its last tag,
    /// until it repeats itself or its page is not full.
    pub(crate) async fn tags(&self, name: &str) -> Result<Vec<String>, RegistryError> {
        let mut tags = BTreeSet::new();
        let mut url = self.url(name, "tags/list").await?;
        url.query_pairs_mut().append_pair("n", &TAGS_PER_PAGE.to_string());
        let first = url.clone();
        for _ in 0..MAX_TAG_PAGES {
            let answer = self.send(Method::GET, name, url.clone(), MAX_TAGS_PAGE_BYTES, "a list of tags").await?;
            let Some(answer) = self.present(answer)? else { break };
            let page = tags_of(&answer.body)
                .ok_or_else(|| self.refused("its list of tags cannot be read".to_owned(), false))?;
            let (is_full, last, before) = (page.len() >= TAGS_PER_PAGE, page.last().cloned(), tags.len());
            tags.extend(page);
            if tags.len() > MAX_TAGS {
                return Err(RegistryError::TooManyTags { location: self.location.clone(), max_tags: MAX_TAGS });
            }
            let next = match (next_page(&answer.headers, &answer.url), last) {
                (Some(next), _) => next,
                (None, Some(last)) if is_full => {
                    let mut next = first.clone();
                    next.query_pairs_mut().append_pair("last", &last);
                    next
                }
                (None, _) => break,
            };
            if tags.len() == before {
                break;
            }
            if !same_origin(&next, &first) {
                return Err(self.refused("the next page of its list of tags is on another host".to_owned(), false));
            }
            url = next;
        }
        Ok(tags.into_iter().collect())
    }

    /// Pushes blobs, then the manifest that names them.
    pub(crate) async fn publish(
        &self,
        name: &str,
        tag: &str,
        manifest: Vec<u8>,
        blobs: &[&[u8]],
    ) -> Result<(), RegistryError> {
        for bytes in blobs {
            self.push_blob(name, Bytes::copy_from_slice(bytes)).await?;
        }
        let url = self.url(name, &format!("manifests/{tag}")).await?;
        let answer = self.push(Method::PUT, name, &url, Some((manifest.into(), MANIFEST_TYPE))).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.error(&answer)) }
    }

    async fn push_blob(&self, name: &str, bytes: Bytes) -> Result<(), RegistryError> {
        let digest = Digest::of(&bytes);
        let there = self.ask(Method::HEAD, name, &format!("blobs/{digest}"), 0, "whether a blob is there").await?;
        if there.status.is_success() {
            return Ok(());
        }
        let url = self.url(name, "blobs/uploads/").await?;
        let begun = self.push(Method::POST, name, &url, None).await?;
        let place = match begun.headers.get(LOCATION) {
            Some(place) if begun.status == StatusCode::ACCEPTED => self.http.target(&begun.url, place)?,
            _ => return Err(self.error(&begun)),
        };
        let mut url = place;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let done = self.push(Method::PUT, name, &url, Some((bytes, BINARY))).await?;
        if done.status.is_success() { Ok(()) } else { Err(self.error(&done)) }
    }

    async fn url(&self, name: &str, path: &str) -> Result<Url, RegistryError> {
        let root = self.http.root().await?;
        root.join(&format!("{}/{path}", self.repository(name))).map_err(|e| self.refused(e.to_string(), false))
    }

    async fn ask(
        &self,
        method: Method,
        name: &str,
        path: &str,
        max_bytes: u64,
        what: &'static str,
    ) -> Result<Answer, RegistryError> {
        let url = self.url(name, path).await?;
        self.send(method, name, url, max_bytes, what).await
    }

    async fn send(
        &self,
        method: Method,
        name: &str,
        url: Url,
        max_bytes: u64,
        what: &'static str,
    ) -> Result<Answer, RegistryError> {
        let accept = url.path().contains("/manifests/").then_some(MANIFEST_TYPE);
        let request = || Request {
            method: method.clone(),
            url: url.clone(),
            accept,
            body: None,
            authorization: None,
            max_bytes,
            what,
        };
        self.authorization.send(&self.http, &self.repository(name), Access::Pull, request).await
    }

    async fn push(
        &self,
        method: Method,
        name: &str,
        url: &Url,
        body: Option<(Bytes, &'static str)>,
    ) -> Result<Answer, RegistryError> {
        let request = || Request {
            method: method.clone(),
            url: url.clone(),
            accept: None,
            body: body.clone(),
            authorization: None,
            max_bytes: MAX_MANIFEST_BYTES,
            what: "the answer to a push",
        };
        self.authorization.send(&self.http, &self.repository(name), Access::Push, request).await
    }

    fn repository(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// A successful answer; none where the registry says that there is no such thing.
    fn present(&self, answer: Answer) -> Result<Option<Answer>, RegistryError> {
        if answer.status.is_success() {
            return Ok(Some(answer));
        }
        let unknown = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
        let says_so = envelope(&answer).is_some_and(|said| said.errors.iter().any(|e| unknown.contains(&e.code)));
        if answer.status == StatusCode::NOT_FOUND || says_so { Ok(None) } else { Err(self.error(&answer)) }
    }

    fn error(&self, answer: &Answer) -> RegistryError {
        let (status, said) = (answer.status, envelope(answer));
        let denied = [OciErrorCode::Unauthorized, OciErrorCode::Denied];
        let is_denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || said.as_ref().is_some_and(|said| said.errors.iter().any(|e| denied.contains(&e.code)));
        let text = match &said {
            Some(said) => said.errors.iter().map(|e| e.message.as_str()).collect::<Vec<_>>().join("; "),
            None => String::from_utf8_lossy(&answer.body).into_owned(),
        };
        let reason = format!("{} {}", status.as_u16(), one_line(&text)).trim_end().to_owned();
        if is_denied {
            return RegistryError::Unauthorized { location: self.location.clone(), reason };
        }
        self.refused(reason, status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS)
    }

    fn refused(&self, reason: String, transient: bool) -> RegistryError {
        RegistryError::Refused { location: self.location.clone(), reason, transient }
    }
}

fn envelope(answer: &Answer) -> Option<OciEnvelope> {
    serde_json::from_slice(&answer.body).ok()
}

/// The tags of one page.
pub(crate) fn tags_of(body: &[u8]) -> Option<Vec<String>> {
    let page: TagsAnswer = serde_json::from_slice(body).ok()?;
    Some(page.tags.unwrap_or_default())
}

/// What a registry said, as one line of bounded length without control characters.
pub(crate) fn one_line(text: &str) -> String {
    const MAX_CHARACTERS: usize = 300;
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARACTERS + 1).collect();
    match plain.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", plain[..end].trim()),
        None => plain.trim().to_owned(),
    }
}

/// Where the next page is: `Link: </v2/kit/tags/list?n=100&last=x>; rel="next"` (RFC 8288).
pub(crate) fn next_page(headers: &HeaderMap, from: &Url) -> Option<Url> {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split(',')).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let Some((key, value)) = parameter.split_once('=') else { return false };
            key.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
        });
        is_next.then(|| from.join(target).ok())?
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn next_page_is_read_from_the_link_header() {
        let from: Url = "https://r.example/v2/kit/tags/list?n=2".parse().unwrap();
        let next = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(text));
            next_page(&headers, &from).map(String::from)
        };
        let found = Some("https://r.example/v2/kit/tags/list?n=2&last=b".to_owned());
        assert_eq!(next(r#"</v2/kit/tags/list?n=2&last=b>; rel="next""#), found);
        assert_eq!(next(r#"<x>; rel=prev, <list?n=2&last=b>; title=x; rel=next"#), found);
        assert_eq!(next(r#"</v2/kit/tags/list>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }

    #[test]
    fn text_of_a_registry_is_one_bounded_line() {
        assert_eq!(one_line(" no\n\u{1b}[31mway "), "no  [31mway");
        let long = one_line(&"x".repeat(1000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }
}

//! Listings without keys that no path names.
//!
//! A store takes any text for a key: `a//b`, `a/../b`, control characters. `object_store` has no name for such an object, and
//! refuses the whole page of a listing that holds one. So these keys are taken out of the answer before it is read, and noted.
//! A key that ends with `/` is the marker of a folder, which tools make to show an empty one: it is no object of rows.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{ClientOptions, Result};

/// Keys of which a name is kept.
const KEPT: usize = 20;

/// The keys that a store's listings were read without.
#[derive(Debug, Clone, Default)]
pub struct OddKeys(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    count: u64,
    first: Vec<String>,
}

impl OddKeys {
    fn locked(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: String) {
        let mut noted = self.locked();
        noted.count += 1;
        if noted.first.len() < KEPT {
            noted.first.push(key);
        }
    }

    /// How many there were since the last call, and the first of them.
    #[must_use]
    pub fn take(&self) -> (u64, Vec<String>) {
        let Noted { count, first } = std::mem::take(&mut *self.locked());
        (count, first)
    }
}

/// Connects as `object_store` does.
pub(crate) struct Connector(pub(crate) OddKeys);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { client, odd: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    odd: OddKeys,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let listing = request.uri().query().and_then(Listing::of);
        let response = self.client.execute(request).await?;
        let Some(listing) = listing.filter(|_| response.status().is_success()) else { return Ok(response) };
        let (mut parts, body) = response.into_parts();
        let body = body.bytes().await?;
        let kept = std::str::from_utf8(&body).ok().and_then(|text| listing.without_odd_keys(text, &self.odd));
        if kept.is_some() {
            parts.headers.remove("content-length");
        }
        let body = kept.map_or_else(|| HttpResponseBody::from(body), |text| HttpResponseBody::from(text.into_bytes()));
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// How a listing names its objects.
#[derive(Debug, Clone, Copy)]
struct Listing {
    object: (&'static str, &'static str),
    key: (&'static str, &'static str),
}

impl Listing {
    const S3: Self = Self { object: ("<Contents>", "</Contents>"), key: ("<Key", "</Key>") };
    const AZURE: Self = Self { object: ("<Blob>", "</Blob>"), key: ("<Name", "</Name>") };

    /// By the query of a request; none for a request that lists nothing.
    fn of(query: &str) -> Option<Self> {
        let has = |pair: &str| query.split('&').any(|found| found == pair);
        if has("list-type=2") {
            return Some(Self::S3);
        }
        has("comp=list").then_some(Self::AZURE)
    }

    /// None where nothing is to be taken out.
    fn without_odd_keys(self, text: &str, odd: &OddKeys) -> Option<String> {
        let mut kept = String::new();
        let (mut copied, mut at) = (0, 0);
        while let Some(found) = text[at..].find(self.object.0) {
            let start = at + found;
            let Some(length) = text[start..].find(self.object.1) else { break };
            let end = start + length + self.object.1.len();
            match self.verdict(&text[start..end]) {
                Verdict::Object => {}
                verdict => {
                    kept.push_str(&text[copied..start]);
                    copied = end;
                    if let Verdict::Odd(key) = verdict {
                        odd.note(key);
                    }
                }
            }
            at = end;
        }
        (copied > 0).then(|| kept + &text[copied..])
    }

    fn verdict(self, object: &str) -> Verdict {
        let Some((_, rest)) = object.split_once(self.key.0) else { return Verdict::Object };
        let Some((attributes, rest)) = rest.split_once('>') else { return Verdict::Object };
        let Some((escaped, _)) = rest.split_once(self.key.1) else { return Verdict::Object };
        // Azure's way to write what XML cannot hold.
        if attributes.contains("Encoded=\"true\"") {
            return Verdict::Odd(escaped.to_owned());
        }
        let Some(key) = unescaped(escaped) else { return Verdict::Odd(escaped.to_owned()) };
        if key.ends_with('/') {
            return Verdict::Folder;
        }
        let is_path = Path::parse(&key).is_ok_and(|path| path.as_ref() == key) && !key.chars().any(char::is_control);
        if is_path { Verdict::Object } else { Verdict::Odd(key) }
    }
}

/// What a key is of.
enum Verdict {
    Object,
    Folder,
    /// Something that no path names.
    Odd(String),
}

/// The text of an XML element.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('&') {
        let (name, after) = escaped.split_once(';')?;
        plain.push_str(before);
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_are_taken_out_and_noted() {
        let object = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let keys =
            ["a.csv", "a//b.csv", "x/../b.csv", "./c", "/d", "e&#x7;f", "folder/", "g &amp; h.csv", "i\u{1}", "j"];
        let listing = |keys: &[&str]| {
            let objects: String = keys.iter().map(|key| object(key)).collect();
            format!("<ListBucketResult><Name>b</Name>{objects}<KeyCount>9</KeyCount></ListBucketResult>")
        };
        let odd = OddKeys::default();
        let kept = Listing::S3.without_odd_keys(&listing(&keys), &odd).unwrap();
        assert_eq!(kept, listing(&["a.csv", "g &amp; h.csv", "j"]));
        let noted = ["a//b.csv", "x/../b.csv", "./c", "/d", "e\u{7}f", "i\u{1}"].map(str::to_owned).to_vec();
        assert_eq!(odd.take(), (6, noted));
        assert_eq!(odd.take(), (0, vec![]));
        assert_eq!(Listing::S3.without_odd_keys(&kept, &odd), None);
    }

    #[test]
    fn listings_of_azure_are_read_as_well() {
        let text = "<Blobs><Blob><Name Encoded=\"true\">a%01</Name></Blob><Blob><Name>b</Name></Blob>\
                    <Blob><Name>c//d</Name></Blob></Blobs>";
        let odd = OddKeys::default();
        let listing = Listing::of("restype=container&comp=list&prefix=x").unwrap();
        assert_eq!(listing.without_odd_keys(text, &odd).unwrap(), "<Blobs><Blob><Name>b</Name></Blob></Blobs>");
        assert_eq!(odd.take().1, ["a%01", "c//d"]);
        assert!(Listing::of("comp=block&blockid=1").is_none());
    }

    #[test]
    fn only_the_first_keys_are_kept() {
        let odd = OddKeys::default();
        (0..100).for_each(|number| odd.note(number.to_string()));
        let (count, first) = odd.take();
        assert_eq!((count, first.len()), (100, KEPT));
    }
}

//! One request and its answer, over a connection of its own: no redirects, no proxies, nothing kept open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use datakit_net::Traffic;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use native_tls::{Certificate, TlsConnector};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;
use zeroize::{Zeroize, Zeroizing};

/// Name, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The whole of a question, connecting included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked.
pub(crate) enum Question<'q> {
    /// Fields of a form, by POST.
    Form(&'q [(&'q str, &'q str)]),
    /// With a token, by GET.
    Get {
        /// The bearer token.
        token: &'q str,
    },
    /// A body by POST, with all headers that say what it is and who sends it.
    Post {
        /// The headers.
        headers: HeaderMap,
        /// The body.
        body: &'q [u8],
    },
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No connection, or none that lasted.
    #[error("{0}")]
    Unreachable(String),
    /// The certificate is not trusted.
    #[error("{0}")]
    Certificate(String),
    /// The file of authorities cannot be used.
    #[error("{}: {reason}", path.display())]
    CertificateFile { path: PathBuf, reason: String },
    /// The answer is longer than it may be.
    #[error("more than {0} bytes")]
    TooLarge(usize),
    /// The request cannot be written.
    #[error("{0}")]
    Invalid(String),
    /// A bug.
    #[error("{0}")]
    Internal(String),
}

/// Asks once.
pub(crate) async fn ask(
    url: &Url,
    question: Question<'_>,
    tls: &TlsConnector,
    max_bytes: usize,
) -> Result<Answer, HttpError> {
    let unreachable = HttpError::Unreachable;
    let asked = tokio::time::timeout(TIMEOUT, async {
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(url, tls))
            .await
            .map_err(|_| unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))??;
        exchange(url, question, stream, max_bytes).await
    });
    asked.await.map_err(|_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))?
}

/// A connection, encrypted or, on this machine, not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(url: &Url, tls: &TlsConnector) -> Result<Box<dyn Stream>, HttpError> {
    let unreachable = HttpError::Unreachable;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(unreachable("there is no host in it".to_owned()));
    };
    // Brackets of an IPv6 address are of URLs only.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let tcp = datakit_net::connect(host, port, Traffic::Asks, CONNECT_TIMEOUT).await;
    let tcp = tcp.map_err(|(_, reason)| unreachable(reason))?;
    if url.scheme() != "https" {
        return Ok(Box::new(tcp));
    }
    let connector = tokio_native_tls::TlsConnector::from(tls.clone());
    let stream = connector.connect(host, tcp).await.map_err(|error| {
        let reason = plain(&error.to_string());
        // OpenSSL says so in its text only.
        if reason.contains("certificate") { HttpError::Certificate(reason) } else { unreachable(reason) }
    })?;
    Ok(Box::new(stream))
}

/// Of each of OpenSSL's `error:CODE:LIBRARY:FUNCTION:REASON:FILE:LINE:DATA` the reason and the data.
fn plain(text: &str) -> String {
    text.split(", ").map(plain_entry).collect::<Vec<_>>().join(", ")
}

fn plain_entry(text: &str) -> String {
    let parts: Vec<&str> = text.splitn(8, ':').collect();
    match parts[..] {
        ["error", _, _, _, reason, _, _, data] => format!("{reason} {}", data.trim()).trim_end().to_owned(),
        _ => text.to_owned(),
    }
}

async fn exchange(
    url: &Url,
    question: Question<'_>,
    stream: Box<dyn Stream>,
    max_bytes: usize,
) -> Result<Answer, HttpError> {
    let broken = |error: hyper::Error| HttpError::Unreachable(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answered = async {
        let response = sender.send_request(request(url, question)?).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = read(response.into_body(), max_bytes).await?;
        Ok(Answer { status, body })
    };
    tokio::pin!(connection, answered);
    // The connection's own end, where it comes first, is told to whoever waits for the answer.
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        _ = &mut connection => answered.await,
    }
}

fn request(url: &Url, question: Question<'_>) -> Result<Request<Full<Bytes>>, HttpError> {
    let odd = |what: &str| HttpError::Invalid(what.to_owned());
    let authority = url.authority().rsplit('@').next().unwrap_or_default();
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::builder()
        .uri(target)
        .header(HOST, authority)
        .header(ACCEPT, "application/json, application/octet-stream")
        .header(USER_AGENT, concat!("datakit/", env!("CARGO_PKG_VERSION")));
    let request = match question {
        Question::Form(fields) => request
            .method(Method::POST)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from_owner(form(fields)))),
        Question::Get { token } => {
            let mut value = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {token}")))
                .map_err(|_| odd("its token does not fit into a header"))?;
            value.set_sensitive(true);
            request.method(Method::GET).header(AUTHORIZATION, value).body(Full::new(Bytes::new()))
        }
        Question::Post { headers, body } => {
            let mut request = request.method(Method::POST);
            if let Some(all) = request.headers_mut() {
                // In the place of those above: a signature is of these.
                headers.iter().for_each(|(name, value)| drop(all.insert(name, value.clone())));
            }
            request.body(Full::new(Bytes::copy_from_slice(body)))
        }
    };
    request.map_err(|error| odd(&error.to_string()))
}

/// The fields of a form, in memory that is wiped.
fn form(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Every byte takes three at most, so the buffer never moves and leaves no copy behind.
    let most = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut form = url::form_urlencoded::Serializer::new(String::with_capacity(most));
    form.extend_pairs(fields);
    Zeroizing::new(form.finish().into_bytes())
}

/// The whole body, as long as it is not too long.
async fn read(mut body: Incoming, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, HttpError> {
    let mut whole = Zeroizing::new(Vec::with_capacity(max_bytes));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Unreachable(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max_bytes {
            return Err(HttpError::TooLarge(max_bytes));
        }
        whole.extend_from_slice(&data);
        // Where nobody else looks at them, the buffer's own bytes can go too.
        if let Ok(mut data) = data.try_into_mut() {
            data.zeroize();
        }
    }
    Ok(whole)
}

/// What to check certificates with: the system's authorities, those of SSL_CERT_FILE and SSL_CERT_DIR, and those of the file.
pub(crate) fn connector(certificate_file: Option<&Path>) -> Result<TlsConnector, HttpError> {
    let mut builder = TlsConnector::builder();
    if let Some(path) = certificate_file {
        let unusable = |reason: String| HttpError::CertificateFile { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no X.509 certificate in PEM".to_owned()));
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| HttpError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_without_moving() {
        let form = form(&[("client_secret", "a&b=c d+é%"), ("grant_type", "client_credentials")]);
        assert_eq!(
            std::str::from_utf8(&form).unwrap(),
            "client_secret=a%26b%3Dc+d%2B%C3%A9%25&grant_type=client_credentials"
        );
    }

    #[test]
    fn places_in_openssls_source_are_left_out() {
        let text = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:../ssl/statem/statem_clnt.c:1889: (unable to get local issuer certificate)";
        assert_eq!(plain(text), "certificate verify failed (unable to get local issuer certificate)");
        assert_eq!(plain("unexpected EOF"), "unexpected EOF");
    }
}

//! One question and its answer, over a connection of its own: no redirects, no proxies, nothing kept open.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use datakit_net::Traffic;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use native_tls::{Certificate, TlsConnector};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;
use zeroize::{Zeroize, Zeroizing};

use crate::error::SecretsError;

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
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Asks once. `vault` is what errors call the other side.
pub(crate) async fn ask(
    vault: &str,
    url: &Url,
    question: Question<'_>,
    tls: &TlsConnector,
    max_bytes: usize,
) -> Result<Answer, SecretsError> {
    let unreachable = |reason: String| SecretsError::Unreachable { url: vault.to_owned(), reason };
    let asked = tokio::time::timeout(TIMEOUT, async {
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(vault, url, tls))
            .await
            .map_err(|_| unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())))??;
        exchange(vault, url, question, stream, max_bytes).await
    });
    asked.await.map_err(|_| unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))?
}

/// A connection, encrypted or, on this machine, not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(vault: &str, url: &Url, tls: &TlsConnector) -> Result<Box<dyn Stream>, SecretsError> {
    let unreachable = |reason: String| SecretsError::Unreachable { url: vault.to_owned(), reason };
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
        if reason.contains("certificate") {
            SecretsError::Certificate { url: vault.to_owned(), reason }
        } else {
            unreachable(reason)
        }
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
    vault: &str,
    url: &Url,
    question: Question<'_>,
    stream: Box<dyn Stream>,
    max_bytes: usize,
) -> Result<Answer, SecretsError> {
    let broken = |error: hyper::Error| SecretsError::Unreachable { url: vault.to_owned(), reason: error.to_string() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answered = async {
        let response = sender.send_request(request(vault, url, question)?).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = read(vault, response.into_body(), max_bytes).await?;
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

fn request(vault: &str, url: &Url, question: Question<'_>) -> Result<Request<Full<Bytes>>, SecretsError> {
    let odd = |what: &str| SecretsError::NotUnderstood { url: vault.to_owned(), reason: what.to_owned() };
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
async fn read(vault: &str, mut body: Incoming, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
    let too_large = || SecretsError::TooLarge { url: vault.to_owned(), limit_bytes: max_bytes };
    let mut whole = Zeroizing::new(Vec::with_capacity(max_bytes));
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| SecretsError::Unreachable { url: vault.to_owned(), reason: error.to_string() })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max_bytes {
            return Err(too_large());
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
pub(crate) fn connector(certificate_file: Option<&Path>) -> Result<TlsConnector, SecretsError> {
    let mut builder = TlsConnector::builder();
    if let Some(path) = certificate_file {
        let unusable = |reason: String| SecretsError::CertificateFile { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no X.509 certificate in PEM".to_owned()));
        }
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(|error| SecretsError::Internal(error.to_string()))
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

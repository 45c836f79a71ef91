//! The certificate that a server presents, whether it is trusted or not: what a person compares before pinning it.
//!
//! The handshake checks nothing, and nothing is sent after it: no name, no password.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1TimeRef;
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::{X509, X509NameRef, X509Ref};

/// How a server is asked for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// TLS within the PRELOGIN of TDS 7 ([MS-TDS] 3.2.5.2).
    Tds,
    /// TLS first (TDS 8.0).
    StrictTds,
    /// An SSLRequest of PostgreSQL's protocol.
    Postgres,
}

/// What is told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Presented {
    /// Whose it is: `CN=sql01, O=Corp`.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses it is for.
    pub names: Vec<String>,
    /// From when it is valid, UTC.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
    /// SHA-256 of the DER form, as `openssl x509 -fingerprint -sha256` shows it.
    pub sha256: String,
    /// The certificate itself, in PEM.
    #[serde(skip)]
    pub pem: String,
}

/// Asks a server for its certificate.
///
/// # Errors
/// It cannot be reached, or does not offer TLS.
pub async fn presented(host: &str, port: u16, greeting: Greeting, timeout: Duration) -> io::Result<Presented> {
    let host = host.to_owned();
    let asking = tokio::task::spawn_blocking(move || ask(&host, port, greeting, timeout));
    asking.await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn ask(host: &str, port: u16, greeting: Greeting, timeout: Duration) -> io::Result<Presented> {
    let until = Instant::now() + timeout;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left))?;
                return greet(Timed { stream, until }, host, greeting);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A stream whose reads end at one moment, all together: a server may send a byte now and then.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    until: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn greet(mut stream: Timed, host: &str, greeting: Greeting) -> io::Result<Presented> {
    match greeting {
        Greeting::StrictTds => handshake(stream, host, Some(b"\x07tds/8.0")),
        Greeting::Postgres => {
            // Length 8, code 80877103: https://www.postgresql.org/docs/current/protocol-message-formats.html
            stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
            let mut answer = [0];
            stream.read_exact(&mut answer)?;
            if answer != *b"S" {
                return Err(io::Error::other("the server does not offer TLS"));
            }
            handshake(stream, host, None)
        }
        Greeting::Tds => {
            stream.write_all(PRELOGIN)?;
            let mut stream = Packets { stream, outgoing: Vec::new(), left: 0 };
            let mut answer = vec![0; usize::from(stream.next_packet()?)];
            stream.read_exact(&mut answer)?;
            // ENCRYPT_NOT_SUP: the server goes on in the clear.
            if encryption(&answer) == Some(2) {
                return Err(io::Error::other("the server does not offer TLS"));
            }
            handshake(stream, host, None)
        }
    }
}

fn handshake<S: Read + Write + std::fmt::Debug>(stream: S, host: &str, alpn: Option<&[u8]>) -> io::Result<Presented> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    // What is asked for is the certificate that verification refuses.
    builder.set_verify(SslVerifyMode::NONE);
    if let Some(protocols) = alpn {
        builder.set_alpn_protos(protocols)?;
    }
    let mut settings = builder.build().configure()?;
    settings.set_verify_hostname(false);
    let stream =
        settings.connect(host, stream).map_err(|error| io::Error::other(crate::tls::plain(&error.to_string())))?;
    let certificate = stream.ssl().peer_certificate();
    describe(&certificate.ok_or_else(|| io::Error::other("the server has no certificate"))?)
}

fn describe(certificate: &X509) -> io::Result<Presented> {
    Ok(Presented {
        subject: name(certificate.subject_name()),
        issuer: name(certificate.issuer_name()),
        names: alternative_names(certificate),
        not_before: time(certificate.not_before()),
        not_after: time(certificate.not_after()),
        sha256: hex_pairs(&certificate.digest(MessageDigest::sha256())?),
        pem: String::from_utf8_lossy(&certificate.to_pem()?).into_owned(),
    })
}

fn name(name: &X509NameRef) -> String {
    let entries = name.entries().map(|entry| {
        let key = entry.object().nid().short_name().map_or_else(|_| entry.object().to_string(), str::to_owned);
        let value = entry.data().to_string().unwrap_or_else(|_| hex_pairs(entry.data().as_slice()));
        format!("{key}={value}")
    });
    entries.collect::<Vec<_>>().join(", ")
}

fn alternative_names(certificate: &X509Ref) -> Vec<String> {
    let Some(names) = certificate.subject_alt_names() else { return Vec::new() };
    let shown = names.iter().filter_map(|name| match (name.dnsname(), name.ipaddress()) {
        (Some(host), _) => Some(host.to_owned()),
        (None, Some(bytes)) => match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(v4), _) => Some(std::net::Ipv4Addr::from(v4).to_string()),
            (_, Ok(v6)) => Some(std::net::Ipv6Addr::from(v6).to_string()),
            _ => None,
        },
        _ => None,
    });
    shown.collect()
}

fn time(time: &Asn1TimeRef) -> String {
    time.to_string()
}

fn hex_pairs(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}{byte:02X}", if text.is_empty() { "" } else { ":" });
    }
    text
}

/// A PRELOGIN that asks for encryption: packet type 18, one packet; VERSION, ENCRYPTION (ENCRYPT_ON), INSTOPT, THREADID, MARS.
const PRELOGIN: &[u8] = &[
    0x12, 0x01, 0x00, 0x2f, 0, 0, 1, 0, // the header, with the length of all of it
    0x00, 0, 26, 0, 6, 0x01, 0, 32, 0, 1, 0x02, 0, 33, 0, 1, 0x03, 0, 34, 0, 4, 0x04, 0, 38, 0, 1,
    0xff, // what stands where
    0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
];

const HEADER_BYTES: u16 = 8;

/// The value of ENCRYPTION in the server's answer.
fn encryption(answer: &[u8]) -> Option<u8> {
    let option = answer.chunks_exact(5).take_while(|option| option[0] != 0xff).find(|option| option[0] == 0x01)?;
    answer.get(usize::from(u16::from_be_bytes([option[1], option[2]]))).copied()
}

/// A stream within packets of TDS, as the handshake within PRELOGIN travels.
#[derive(Debug)]
struct Packets<S> {
    stream: S,
    outgoing: Vec<u8>,
    /// Bytes of the packet that is being read.
    left: u16,
}

impl<S: Read + Write> Packets<S> {
    fn next_packet(&mut self) -> io::Result<u16> {
        let mut header = [0; HEADER_BYTES as usize];
        self.stream.read_exact(&mut header)?;
        let length = u16::from_be_bytes([header[2], header[3]]);
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "the server's answer is not TDS");
        self.left = length.checked_sub(HEADER_BYTES).filter(|left| *left > 0).ok_or_else(odd)?;
        Ok(self.left)
    }
}

impl<S: Read + Write> Read for Packets<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush()?;
        if self.left == 0 {
            self.next_packet()?;
        }
        let wanted = buffer.len().min(usize::from(self.left));
        let read = self.stream.read(&mut buffer[..wanted])?;
        self.left -= u16::try_from(read).unwrap_or(self.left);
        Ok(read)
    }
}

impl<S: Read + Write> Write for Packets<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// What has come together goes out as whole packets, of 4 KiB at most: no other size is agreed on yet.
    fn flush(&mut self) -> io::Result<()> {
        for chunk in std::mem::take(&mut self.outgoing).chunks(4096 - usize::from(HEADER_BYTES)) {
            let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX).saturating_add(HEADER_BYTES).to_be_bytes();
            self.stream.write_all(&[0x12, 0x01, length[0], length[1], 0, 0, 0, 0])?;
            self.stream.write_all(chunk)?;
        }
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prelogin_is_as_long_as_it_says() {
        assert_eq!(usize::from(u16::from_be_bytes([PRELOGIN[2], PRELOGIN[3]])), PRELOGIN.len());
        assert_eq!(encryption(&PRELOGIN[usize::from(HEADER_BYTES)..]), Some(1));
        assert_eq!(encryption(&[0xff]), None);
        assert_eq!(encryption(&[0x01, 0xff, 0xff, 0, 1]), None);
    }

    #[test]
    fn fingerprints_look_as_openssl_shows_them() {
        assert_eq!(hex_pairs(&[0, 0xab, 7]), "00:AB:07");
    }
}

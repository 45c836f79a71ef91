//! What a failed handshake was about.
//!
//! All drivers use `native-tls` (OpenSSL here), so `SSL_CERT_FILE` and `SSL_CERT_DIR` add CAs for all, for the whole
//! process. OpenSSL says why a chain failed only in its message, hence the texts below (`X509_verify_cert_error_string`).

/// What a certificate was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateProblem {
    /// No chain to a CA that this machine trusts.
    Untrusted,
    /// It names another host.
    Name,
    /// It is not valid now.
    Expired,
    /// It is not the pinned one.
    NotThePinned,
    /// The handshake failed in another way.
    Other,
}

/// What the text of a TLS error says about the certificate.
pub fn problem(text: &str) -> CertificateProblem {
    let text = text.to_ascii_lowercase();
    let any = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if any(&["hostname mismatch", "ip address mismatch", "email address mismatch"]) {
        CertificateProblem::Name
    } else if any(&["certificate has expired", "certificate is not yet valid"]) {
        CertificateProblem::Expired
    } else if any(&[
        "self-signed",
        "self signed",
        "unable to get local issuer",
        "unable to get issuer",
        "unable to verify the first certificate",
        "certificate not trusted",
        "invalid ca certificate",
    ]) {
        CertificateProblem::Untrusted
    } else {
        CertificateProblem::Other
    }
}

/// The text of a TLS error as a person needs it: of OpenSSL's
/// `error:CODE:LIBRARY:FUNCTION:REASON:FILE:LINE:DATA` (`ERR_error_string` and the place in its source) the reason and
/// the data.
pub fn plain(text: &str) -> String {
    text.split(", ").map(plain_entry).collect::<Vec<_>>().join(", ")
}

fn plain_entry(text: &str) -> String {
    let Some(at) = text.find("error:") else { return text.to_owned() };
    let (before, entry) = text.split_at(at);
    let parts: Vec<&str> = entry.splitn(8, ':').collect();
    match parts[..] {
        [_, code, _, _, reason, _, line, data] if is_hex(code) && line.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{before}{reason} {}", data.trim()).trim_end().to_owned()
        }
        _ => text.to_owned(),
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_openssls_source_are_left_out() {
        let verify = "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:\
                      ../ssl/statem/statem_clnt.c:1889: (hostname mismatch)";
        assert_eq!(plain(verify), "certificate verify failed (hostname mismatch)");
        let alert = "error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:\
                     ../ssl/record/rec_layer_s3.c:1605:SSL alert number 70";
        assert_eq!(plain(alert), "tlsv1 alert protocol version SSL alert number 70");
        assert_eq!(plain(&format!("{alert}, {verify}")), format!("{}, {}", plain(alert), plain(verify)));
        assert_eq!(
            plain(&format!("TLS handshake failed: {verify}")),
            format!("TLS handshake failed: {}", plain(verify))
        );
        for other in ["unexpected EOF", "error: a:b", "error:nothing:of:the:kind:at:all:here"] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn openssl_texts_are_told_apart() {
        let openssl = |reason: &str| {
            problem(&format!(
                "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:\
                 ../ssl/statem/statem_clnt.c:1889: ({reason})"
            ))
        };
        assert_eq!(openssl("hostname mismatch"), CertificateProblem::Name);
        assert_eq!(openssl("IP address mismatch"), CertificateProblem::Name);
        assert_eq!(openssl("certificate has expired"), CertificateProblem::Expired);
        assert_eq!(openssl("self-signed certificate"), CertificateProblem::Untrusted);
        assert_eq!(openssl("unable to get local issuer certificate"), CertificateProblem::Untrusted);
        assert_eq!(problem("unexpected EOF"), CertificateProblem::Other);
    }
}

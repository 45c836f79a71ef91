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
pub(crate) fn problem(text: &str) -> CertificateProblem {
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

#[cfg(test)]
mod tests {
    use super::*;

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

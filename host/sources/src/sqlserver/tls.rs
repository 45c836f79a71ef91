//! Certificates: what the operator pinned, and what a failed handshake was about.
//!
//! Both drivers use `native-tls` (OpenSSL here), so `SSL_CERT_FILE` and `SSL_CERT_DIR` add CAs for both, for the whole
//! process. OpenSSL says why a chain failed only in its message, hence the texts below (`X509_verify_cert_error_string`).

use std::path::Path;

use super::error::{CertificateProblem, SourceError};

/// Reads the pinned certificate once, so that a missing or broken file is a configuration error and not a failed login.
pub(super) fn check_certificate_file(path: &Path) -> Result<(), SourceError> {
    let fail = |reason: String| SourceError::CertificateFile { path: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    native_tls::Certificate::from_pem(&bytes)
        .or_else(|_| native_tls::Certificate::from_der(&bytes))
        .map(drop)
        .map_err(|_| fail("it holds no X.509 certificate in PEM or DER".to_owned()))
}

/// What the text of a TLS error says about the certificate.
pub(super) fn problem(text: &str) -> CertificateProblem {
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

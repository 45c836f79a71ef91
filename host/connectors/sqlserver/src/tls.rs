//! The certificate that the operator pinned.

use std::path::Path;

use super::error::SourceError;

/// Reads the pinned certificate once, so that a missing or broken file is a configuration error and not a failed login.
pub(super) fn check_certificate_file(path: &Path) -> Result<(), SourceError> {
    let fail = |reason: String| SourceError::CertificateFile { path: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    native_tls::Certificate::from_pem(&bytes)
        .or_else(|_| native_tls::Certificate::from_der(&bytes))
        .map(drop)
        .map_err(|_| fail("it holds no X.509 certificate in PEM or DER".to_owned()))
}

//! Settings laid over the operator's krb5.conf, for this process alone.
//!
//! MIT krb5 reads the files of KRB5_CONFIG in turn, and of a setting that is in several the first. So a file of ours goes in
//! front of the operator's, which stays as it is.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::error::KerberosError;

/// What the overlay says.
///
/// - `forwardable`, `proxiable`: tickets this process gets cannot be handed on. `mssql-tds` asks for delegation.
/// - `dns_canonicalize_hostname = fallback`: a server's name is used as it is written, and DNS is asked for another only when
///   the KDC does not know it. By default DNS decides alone, which is what breaks names behind aliases.
const SETTINGS: &str = "\
[libdefaults]
    forwardable = false
    proxiable = false
    enforce_ok_as_delegate = true
    dns_canonicalize_hostname = fallback
";

/// The files the library reads when KRB5_CONFIG is not set.
pub(crate) const DEFAULT_FILES: &str = "/etc/krb5.conf";

/// Where this process's own files in memory are.
pub(crate) const PLACE: &str = "/proc/self/fd/";

/// A file in memory that lasts as long as this value.
#[derive(Debug)]
pub struct Overlay {
    file: OwnedFd,
}

impl Overlay {
    /// Writes the settings.
    ///
    /// # Errors
    /// [`KerberosError::Keep`] where the kernel has no memory files.
    pub fn new() -> Result<Self, KerberosError> {
        crate::tickets::memory_file(c"krb5.conf", SETTINGS.as_bytes()).map(|file| Self { file })
    }

    /// What KRB5_CONFIG must be, given what it is. To be set before there are threads.
    #[must_use]
    pub fn value(&self, present: Option<&str>) -> String {
        let files = present.filter(|files| !files.is_empty()).unwrap_or(DEFAULT_FILES);
        format!("{PLACE}{}:{files}", self.file.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_files_come_after_ours() {
        let overlay = Overlay::new().unwrap();
        let value = overlay.value(Some("/a/krb5.conf:/b"));
        let (ours, theirs) = value.split_once(':').unwrap();
        assert_eq!(theirs, "/a/krb5.conf:/b");
        assert_eq!(std::fs::read_to_string(ours).unwrap(), SETTINGS);
        assert!(overlay.value(None).ends_with(":/etc/krb5.conf"));
    }
}

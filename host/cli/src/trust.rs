//! Which certificate authorities OpenSSL trusts: the system's, looked up when they are needed.

use std::ffi::OsStr;
use std::path::Path;

/// Where systems keep authorities, as `openssl-probe` has them.
const DIRECTORIES: [&str; 3] = ["/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/openssl/certs"];

/// Points OpenSSL to a directory of authorities by the hash of their name, where there is one and the operator has said
/// nothing: it reads one file instead of a bundle of hundreds, for every connection (docs/decisions/0074).
pub(crate) fn look_authorities_up() {
    let said = |variable| std::env::var_os(variable).is_some();
    if said("SSL_CERT_FILE") || said("SSL_CERT_DIR") {
        return;
    }
    let Some(directory) = DIRECTORIES.into_iter().find(|directory| is_hashed(Path::new(directory))) else { return };
    set("SSL_CERT_DIR", directory);
    set("SSL_CERT_FILE", "/dev/null");
}

/// Whether names are there as `openssl rehash` makes them: eight hexadecimal digits and a number.
fn is_hashed(directory: &Path) -> bool {
    let names = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.into_iter().any(|name| is_hash_name(&name))
}

fn is_hash_name(name: &OsStr) -> bool {
    let Some((hash, number)) = name.to_str().and_then(|name| name.split_once('.')) else { return false };
    hash.len() == 8
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[expect(unsafe_code, reason = "the environment can only be set where there is one thread")]
fn set(variable: &str, value: &str) {
    // SAFETY: called first in main, before any other thread exists.
    unsafe { std::env::set_var(variable, value) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_directory_is_told_from_one_of_bundles() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["ca-certificates.crt", "ca-bundle.crt", "make-dummy-cert.1", "0f6fa695.r0", "README.12345678"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert!(!is_hashed(directory.path()));
        std::fs::write(directory.path().join("0f6fa695.0"), "").unwrap();
        assert!(is_hashed(directory.path()));
        assert!(!is_hashed(Path::new("/nonexistent")));
    }
}

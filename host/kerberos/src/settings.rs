//! Whether krb5.conf can be read: the operator's own files, without what is laid over them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::KerberosError;
use crate::gss::{self, Target};
use crate::overlay::{DEFAULT_FILES, PLACE};

/// KRB5_CONFIG from where the library has it: this process's environment.
#[must_use]
pub fn krb5_config() -> Option<OsString> {
    std::env::var_os("KRB5_CONFIG")
}

/// The operator's files, given KRB5_CONFIG as this process has it: those of the variable, else `/etc/krb5.conf`.
#[must_use]
pub fn files(krb5_config: Option<&OsStr>) -> Vec<PathBuf> {
    let named = krb5_config.filter(|files| !files.is_empty()).unwrap_or(OsStr::new(DEFAULT_FILES));
    parts(named).filter(|file| !is_ours(file)).collect()
}

/// The files of a KRB5_CONFIG.
pub(crate) fn parts(krb5_config: &OsStr) -> impl Iterator<Item = PathBuf> {
    let files = krb5_config.as_bytes().split(|byte| *byte == b':').filter(|file| !file.is_empty());
    files.map(|file| PathBuf::from(OsStr::from_bytes(file)))
}

/// Whether it is the one that is laid over the others.
pub(crate) fn is_ours(file: &Path) -> bool {
    file.starts_with(PLACE)
}

/// Those of the files that are read. The library passes over files that it cannot open, as long as it can open one.
///
/// # Errors
/// [`KerberosError::Settings`]: none of them can be read, or what is in them makes no sense to the library.
pub fn check(files: &[PathBuf]) -> Result<Vec<PathBuf>, KerberosError> {
    let refuse = |files: &[PathBuf], reason: String| {
        let files = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
        KerberosError::Settings { files, reason }
    };
    let (mut read, mut unread) = (Vec::new(), None);
    for file in files {
        match std::fs::read(file) {
            Ok(_) => read.push(file.clone()),
            Err(error) => unread = unread.or(Some(error.to_string())),
        }
    }
    if read.is_empty() {
        return Err(refuse(files, unread.unwrap_or_else(|| "no file is named".to_owned())));
    }
    // Any name will do: the library reads its settings before it looks at it.
    Target::HostBased("host@localhost").understand().map_err(|error| refuse(&read, gss::sentence(&error)))?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_the_operators_own() {
        let paths = |text: Option<&str>| {
            files(text.map(OsStr::new)).iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(paths(None), ["/etc/krb5.conf"]);
        assert_eq!(paths(Some("/proc/self/fd/3:/a/krb5.conf:/b")), ["/a/krb5.conf", "/b"]);
    }

    #[test]
    fn one_file_that_can_be_read_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("krb5.conf");
        std::fs::write(&there, "[libdefaults]\n").unwrap();
        let gone = folder.path().join("gone.conf");
        assert_eq!(check(&[gone.clone(), there.clone()]).unwrap(), [there]);
        let error = check(std::slice::from_ref(&gone)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot read krb5.conf ({}): No such file or directory (os error 2)", gone.display())
        );
    }
}

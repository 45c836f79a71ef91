//! Settings laid over the operator's krb5.conf, for this process alone.
//!
//! MIT krb5 reads the files of KRB5_CONFIG in turn, and of a setting that is in several the first. So a file of ours goes in
//! front of the operator's, which stays as it is.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::error::KerberosError;
use crate::principal::Principal;
use crate::profile::Profile;
use crate::scratch::memory_file;
use crate::settings;

/// What is never left to the operator: tickets this process gets cannot be handed on. `mssql-tds` asks for delegation.
const SETTINGS: &str = "\
[libdefaults]
    forwardable = false
    proxiable = false
    enforce_ok_as_delegate = true
";

/// A server's name is used as it is written, and DNS is asked for another only when the KDC does not know it. By default DNS
/// decides alone, which is what breaks names behind aliases. An operator who says something else knows why.
const CANONICAL_NAMES: (&str, &str) = ("dns_canonicalize_hostname", "fallback");

/// The files the library reads when KRB5_CONFIG is not set.
pub(crate) const DEFAULT_FILES: &str = "/etc/krb5.conf";

/// Where this process's own files in memory are.
pub(crate) const PLACE: &str = "/proc/self/fd/";

/// A file in memory that lasts as long as this value.
#[derive(Debug)]
pub struct Overlay {
    file: File,
    operators: OsString,
}

impl Overlay {
    /// Writes the settings, given what KRB5_CONFIG is.
    ///
    /// # Errors
    /// [`KerberosError::Keep`] where the kernel has no memory files.
    pub fn new(krb5_config: Option<&OsStr>) -> Result<Self, KerberosError> {
        let operators = krb5_config.filter(|files| !files.is_empty()).unwrap_or(OsStr::new(DEFAULT_FILES));
        let text = text(&settings::files(Some(operators)));
        let file = memory_file(c"krb5.conf", text.as_bytes())?.into();
        Ok(Self { file, operators: operators.to_owned() })
    }

    /// What KRB5_CONFIG must be. To be set before there are threads.
    #[must_use]
    pub fn value(&self) -> OsString {
        let mut value = OsString::from(format!("{PLACE}{}:", self.file.as_raw_fd()));
        value.push(&self.operators);
        value
    }
}

fn text(operators: &[PathBuf]) -> String {
    let (name, value) = CANONICAL_NAMES;
    let theirs = Profile::read(operators).map(|profile| profile.values(&["libdefaults", name])).unwrap_or_default();
    match theirs.is_empty() {
        true => format!("{SETTINGS}    {name} = {value}\n"),
        false => SETTINGS.to_owned(),
    }
}

/// In which order the KDCs of a realm are asked, where krb5.conf names several. The library asks them in the order they are
/// written, and another only where one does not answer: one that answers with an error would be asked for ever.
#[derive(Debug, Clone)]
pub struct KdcOrder {
    /// The file in memory that is laid over them.
    overlay: Option<PathBuf>,
    operators: Vec<PathBuf>,
}

impl KdcOrder {
    /// For this process; KRB5_CONFIG as it is by now.
    #[must_use]
    pub fn new(krb5_config: Option<&OsStr>) -> Self {
        let first = krb5_config.and_then(|files| settings::parts(files).next());
        let overlay = first.filter(|file| settings::is_ours(file));
        Self { overlay, operators: settings::files(krb5_config) }
    }

    /// From now on the so-many-th KDC of the principal's realm is asked first, then all in the order they are written. That KDC;
    /// none where krb5.conf does not name several, or nothing is laid over it.
    ///
    /// # Errors
    /// What the system says to writing into memory.
    pub fn begin_with(&self, principal: &str, number: usize) -> io::Result<Option<String>> {
        let (Some(overlay), Some(profile)) = (&self.overlay, Profile::read(&self.operators)) else { return Ok(None) };
        let realm = Some(Principal::parse(principal).realm_text()).filter(|realm| !realm.is_empty());
        let realm = realm.or_else(|| profile.values(&["libdefaults", "default_realm"]).into_iter().next());
        let Some(realm) = realm.filter(|realm| is_plain(realm)) else { return Ok(None) };
        let kdcs = profile.values(&["realms", &realm, "kdc"]);
        let count = kdcs.len();
        if count < 2 {
            return Ok(None);
        }
        let Some(first) = kdcs.into_iter().cycle().nth(number % count).filter(|kdc| is_plain(kdc)) else {
            return Ok(None);
        };
        let text = format!("{}[realms]\n    {realm} = {{\n        kdc = {first}\n    }}\n", text(&self.operators));
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(overlay)?;
        file.write_all(text.as_bytes())?;
        Ok(Some(first))
    }
}

/// Whether it can be written into a krb5.conf as it is.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:/[]%@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, laid over a krb5.conf of this text.
    fn laid_over(folder: &tempfile::TempDir, text: &str) -> (Overlay, Profile) {
        let theirs = folder.path().join("krb5.conf");
        std::fs::write(&theirs, text).unwrap();
        let overlay = Overlay::new(Some(theirs.as_os_str())).unwrap();
        let profile = read(&overlay);
        (overlay, profile)
    }

    fn read(overlay: &Overlay) -> Profile {
        let files: Vec<PathBuf> = settings::parts(&overlay.value()).collect();
        Profile::read(&files).unwrap()
    }

    #[test]
    fn the_operators_files_come_after_ours() {
        let overlay = Overlay::new(Some(OsStr::new("/a/krb5.conf:/b"))).unwrap();
        let value = overlay.value().into_string().unwrap();
        let (ours, theirs) = value.split_once(':').unwrap();
        assert_eq!(theirs, "/a/krb5.conf:/b");
        let text = std::fs::read_to_string(ours).unwrap();
        assert_eq!(text, format!("{SETTINGS}    dns_canonicalize_hostname = fallback\n"));
        for unset in [None, Some(OsStr::new(""))] {
            let value = Overlay::new(unset).unwrap().value().into_string().unwrap();
            assert!(value.ends_with(":/etc/krb5.conf"), "{value}");
        }
    }

    #[test]
    fn files_whose_names_are_not_text_stay_named() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join(OsStr::from_bytes(b"krb5-\xff.conf"));
        std::fs::write(&theirs, "[libdefaults]\n default_realm = HERE\n").unwrap();
        let overlay = Overlay::new(Some(theirs.as_os_str())).unwrap();
        assert_eq!(read(&overlay).values(&["libdefaults", "default_realm"]), ["HERE"]);
        assert_eq!(settings::files(Some(&overlay.value())), [theirs]);
    }

    #[test]
    fn what_the_operator_says_of_canonical_names_counts_and_of_delegation_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = "[libdefaults]\n dns_canonicalize_hostname = false\n forwardable = true\n";
        let (_overlay, profile) = laid_over(&folder, theirs);
        assert_eq!(profile.values(&["libdefaults", "dns_canonicalize_hostname"]), ["false"]);
        assert_eq!(profile.values(&["libdefaults", "forwardable"])[0], "false");
    }

    #[test]
    fn the_kdcs_of_a_realm_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let realms = "[libdefaults]\n default_realm = CORP\n[realms]\n CORP = {\n  kdc = a\n  kdc = b:1088\n  kdc = [::1]:88\n  admin_server = x\n }\n ONE = {\n  kdc = a\n }\n";
        let (overlay, _) = laid_over(&folder, realms);
        let order = KdcOrder::new(Some(&overlay.value()));
        let kdcs = |realm: &str| read(&overlay).values(&["realms", realm, "kdc"]);
        for (number, first) in [(0, "a"), (1, "b:1088"), (2, "[::1]:88"), (3, "a"), (usize::MAX, "a")] {
            assert_eq!(order.begin_with("svc@CORP", number).unwrap().unwrap(), first);
            assert_eq!(kdcs("CORP"), [first, "a", "b:1088", "[::1]:88"], "what the library reads");
        }
        assert_eq!(order.begin_with("svc", 1).unwrap().unwrap(), "b:1088", "the default realm");
        assert_eq!(read(&overlay).values(&["realms", "CORP", "admin_server"]), ["x"]);
        assert_eq!(read(&overlay).values(&["libdefaults", "forwardable"]), ["false"]);
        assert_eq!((order.begin_with("svc@ONE", 1).unwrap(), kdcs("ONE")), (None, vec!["a".to_owned()]));
        assert_eq!(order.begin_with("svc@NOWHERE", 1).unwrap(), None);
        let theirs = KdcOrder::new(Some(folder.path().join("krb5.conf").as_os_str()));
        assert_eq!(theirs.begin_with("svc", 1).unwrap(), None, "an operator's file is never written to");
    }
}

//! A key that the KDC refused is not sent again, also not by the next process.
//!
//! A directory locks an account after a few wrong keys. A process that ends because its key was refused is started again by
//! whoever watches over it, and would send the same key again, as often as that goes on. So what was refused is noted
//! beside the cache, as a hash of the key, and held back until there is another key or an hour has passed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datakit_model::SecretBytes;

use crate::error::KerberosError;
use crate::keytab::{KeytabPlace, fingerprint};

/// A refused key is tried again after this time: the account may have got its old password back.
pub(crate) const HELD_BACK: Duration = Duration::from_secs(3600);

/// The note of one cache.
#[derive(Debug, Clone)]
pub(crate) struct RefusedKey {
    file: PathBuf,
}

impl RefusedKey {
    /// The note that is in this file, if there is one.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// Whether the principal's key of this keytab may be sent.
    ///
    /// # Errors
    /// [`KerberosError::HeldBack`]: it was refused not long ago.
    pub(crate) fn check(
        &self,
        keytab: &KeytabPlace,
        bytes: &SecretBytes,
        principal: &str,
    ) -> Result<(), KerberosError> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let mut words = text.split_ascii_whitespace();
        let (Some(refused), Some(Ok(since))) = (words.next(), words.next().map(str::parse)) else { return Ok(()) };
        let since = UNIX_EPOCH + Duration::from_secs(since);
        // A clock that was set back makes it a little longer.
        let ago = SystemTime::now().duration_since(since).unwrap_or_default();
        if ago >= HELD_BACK || hash(bytes, principal).as_deref() != Some(refused) {
            return Ok(());
        }
        Err(KerberosError::HeldBack {
            keytab: keytab.to_string().into(),
            principal: principal.to_owned(),
            seconds_ago: ago.as_secs(),
            note: self.file.clone(),
        })
    }

    /// Notes that it was refused now.
    pub(crate) fn note(&self, bytes: &SecretBytes, principal: &str) {
        if let Err(error) = self.write(bytes, principal) {
            tracing::warn!(target: "datakit", %error, file = %self.file.display(), "cannot note that the key was refused");
        }
    }

    fn write(&self, bytes: &SecretBytes, principal: &str) -> std::io::Result<()> {
        let Some(hash) = hash(bytes, principal) else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Made with mode 600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        writeln!(file, "{hash} {now}")?;
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        Ok(())
    }

    /// A key was accepted.
    pub(crate) fn forget(&self) {
        // It is seldom there; one that stays holds another key back.
        let _ = std::fs::remove_file(&self.file);
    }
}

fn hash(bytes: &SecretBytes, principal: &str) -> Option<String> {
    let digest = fingerprint(bytes, principal)?;
    let mut text = String::with_capacity(64);
    for byte in digest {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use datakit_model::Diagnostic as _;

    use super::*;
    use crate::keytab::tests::keytab;

    #[test]
    fn a_refused_key_is_held_back_until_it_is_another_or_an_hour_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        let note = RefusedKey::new(folder.path().join(".cache.refused"));
        let place = KeytabPlace::File("svc.keytab".into());
        let key = |version| SecretBytes::new(keytab("svc", "CORP", version));
        let check = |bytes: &SecretBytes, principal: &str| {
            note.check(&place, bytes, principal).map_err(|e| e.code().into_owned())
        };
        assert_eq!(check(&key(3), "svc@CORP"), Ok(()));
        note.note(&key(3), "svc@CORP");
        assert_eq!(check(&key(3), "svc@CORP"), Err("DK-KRB-039".to_owned()));
        assert_eq!(check(&key(4), "svc@CORP"), Ok(()), "another key");
        let metadata = std::fs::metadata(&note.file).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let text = std::fs::read_to_string(&note.file).unwrap();
        assert!(!text.contains("0123456789abcdef"), "the key itself: {text}");
        let (hash, since) = text.trim().split_once(' ').unwrap();
        let hour_ago = since.parse::<u64>().unwrap() - 3600;
        std::fs::write(&note.file, format!("{hash} {hour_ago}\n")).unwrap();
        assert_eq!(check(&key(3), "svc@CORP"), Ok(()), "after an hour");
        for nothing in ["", "x", "x y"] {
            std::fs::write(&note.file, nothing).unwrap();
            assert_eq!(check(&key(3), "svc@CORP"), Ok(()));
        }
        note.note(&key(3), "svc@CORP");
        note.forget();
        assert_eq!(check(&key(3), "svc@CORP"), Ok(()));
    }
}

//! A ticket cache that other processes read, kept fresh from a keytab.
//!
//! Readers see the old cache or the new one, never a part: each is written beside the old one and takes its place at once.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use datakit_model::SecretBytes;

use crate::error::KerberosError;
use crate::keytab::KeytabPlace;
use crate::principal::Principal;
use crate::tickets::{self, Origin};

/// Owner reads and writes, the group reads.
const MODE: u32 = 0o640;
/// No pause between two attempts is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Even a ticket of a few seconds is not renewed more often than this.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// What is renewed.
#[derive(Debug, Clone)]
pub struct RenewSettings {
    /// The key.
    pub keytab: KeytabPlace,
    /// Whose key it is.
    pub principal: String,
    /// The cache's file.
    pub cache: PathBuf,
    /// The number of the group that may read it; none: the folder's or process's own.
    pub group: Option<u32>,
    /// The longest time between two tickets.
    pub interval: Duration,
}

/// A ticket that was written.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// Whose it is.
    pub principal: Principal,
    /// When it ends.
    pub expires: SystemTime,
}

impl RenewSettings {
    /// Gets a ticket and puts it in the place of the old one. Blocks.
    ///
    /// # Errors
    /// Whatever keeps the ticket from being had or written; the old cache is then as it was.
    pub fn renew(&self) -> Result<Renewed, KerberosError> {
        let bytes = tickets::obtain(&self.keytab, &self.principal)?;
        let origin = Origin::Keytab { keytab: self.keytab.clone(), principal: self.principal.clone() };
        let tickets::Granted { principal, expires, .. } = tickets::life_of(&bytes, &origin)?;
        replace(&self.cache, &bytes, self.group)?;
        Ok(Renewed { principal, expires })
    }

    /// How long to wait after a ticket was had: half its life at most, and a little less, so that many of us do not come at once.
    #[must_use]
    pub fn pause_after_success(&self, renewed: &Renewed) -> Duration {
        let life = renewed.expires.duration_since(SystemTime::now()).unwrap_or_default();
        self.interval.min(life / 2).mul_f64(0.8 + 0.2 * fastrand::f64()).max(MIN_PAUSE)
    }

    /// How long to wait after the so-many-th failure in a row, counted from 1.
    #[must_use]
    pub fn pause_after_failure(&self, failures: u32) -> Duration {
        let doubled =
            Duration::from_secs(1).saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(MAX_BACKOFF).min(self.interval.max(MIN_PAUSE)).mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// Removes what a process that was killed in the middle of writing has left beside the cache.
    pub fn clean_up(&self) {
        let Some((folder, prefix)) = parts(&self.cache) else { return };
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                // It stays, and harms nobody.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// The folder of a cache, and how the names of its unfinished successors begin.
fn parts(cache: &Path) -> Option<(&Path, String)> {
    let folder = cache.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some((folder, format!(".{}.unfinished-", cache.file_name()?.to_string_lossy())))
}

fn replace(cache: &Path, bytes: &SecretBytes, group: Option<u32>) -> Result<(), KerberosError> {
    // The name of the unfinished file, which some errors tell, says nothing to anybody.
    let failed =
        |error: std::io::Error| KerberosError::Write { cache: cache.to_owned(), reason: error.kind().to_string() };
    let (folder, prefix) = parts(cache).ok_or_else(|| failed(std::io::ErrorKind::IsADirectory.into()))?;
    // Made with mode 600: the group is let in when it is the right one.
    let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes.expose()).map_err(failed)?;
    if group.is_some() {
        fchown(file.as_file(), None, group).map_err(failed)?;
    }
    file.as_file().set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(cache).map_err(|error| failed(error.error))?;
    Ok(())
}

/// The number of a group of /etc/group, or the number that is given.
///
/// # Errors
/// [`KerberosError::UnknownGroup`].
pub fn group_number(group: &str) -> Result<u32, KerberosError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    number.ok_or_else(|| KerberosError::UnknownGroup { group: group.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn settings(cache: PathBuf) -> RenewSettings {
        let interval = Duration::from_secs(3600);
        RenewSettings { keytab: KeytabPlace::File("k".into()), principal: "svc@R".into(), cache, group: None, interval }
    }

    #[test]
    fn a_cache_is_replaced_at_once_and_read_by_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        std::fs::write(&cache, "old").unwrap();
        std::fs::write(folder.path().join(".cache.unfinished-x"), "half").unwrap();
        let before = std::fs::metadata(&cache).unwrap().ino();
        settings(cache.clone()).clean_up();
        replace(&cache, &SecretBytes::new(b"new".to_vec()), None).unwrap();
        let metadata = std::fs::metadata(&cache).unwrap();
        assert_eq!((std::fs::read(&cache).unwrap(), metadata.mode() & 0o777), (b"new".to_vec(), 0o640));
        assert_ne!(metadata.ino(), before, "written in place");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn groups_are_known_by_name_and_number() {
        assert_eq!(group_number("root").unwrap(), 0);
        assert_eq!(group_number("4711").unwrap(), 4711);
        assert_eq!(group_number("nobody-has-this").unwrap_err().to_string(), "there is no group `nobody-has-this`");
    }

    #[test]
    fn pauses_end_well_before_the_ticket_and_grow_with_failures() {
        let settings = settings("cache".into());
        let of_life = |seconds: u64| {
            let expires = SystemTime::now() + Duration::from_secs(seconds);
            settings.pause_after_success(&Renewed { principal: Principal::parse("a@R"), expires })
        };
        for _ in 0..100 {
            assert!(of_life(60) <= Duration::from_secs(30) && of_life(60) >= Duration::from_secs(20));
            assert!(of_life(100_000) <= settings.interval && of_life(100_000) >= settings.interval.mul_f64(0.79));
            assert!(settings.pause_after_failure(1) <= Duration::from_secs(1));
            assert!(
                settings.pause_after_failure(40) <= MAX_BACKOFF && settings.pause_after_failure(40) >= MAX_BACKOFF / 2
            );
        }
    }
}

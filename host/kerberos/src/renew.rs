//! A ticket cache that other processes read, kept fresh from a keytab.
//!
//! Readers see the old cache or the new one, never a part: each is written beside the old one and takes its place at once.
//! Where krb5.conf names several KDCs, they are asked by turns (docs/decisions/0130), and a key that was refused is noted
//! beside the cache and held back (docs/decisions/0131).

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use datakit_model::{Diagnostic as _, Retry, SecretBytes};

use crate::error::{KerberosError, Refusal};
use crate::granting;
use crate::keytab::KeytabPlace;
use crate::overlay::KdcOrder;
use crate::principal::Principal;
use crate::refused::RefusedKey;
use crate::tickets::{Granted, Origin};

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
    /// Whose turn it is of the KDCs.
    pub kdcs: KdcOrder,
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
    /// Gets a ticket and puts it in the place of the old one. With each attempt, counted from 0, another KDC is asked first.
    /// Blocks; not to be done by two threads at a time.
    ///
    /// # Errors
    /// Whatever keeps the ticket from being had or written; the old cache is then as it was.
    pub fn renew(&self, attempt: usize) -> Result<Renewed, KerberosError> {
        match self.kdcs.begin_with(&self.principal, attempt) {
            Ok(first) => tracing::debug!(target: "datakit", kdc = first, "asking"),
            Err(error) => tracing::warn!(target: "datakit", %error, "the KDCs are asked in the order of krb5.conf"),
        }
        let refused = beside(&self.cache, "refused").map(RefusedKey::new);
        let bytes = granting::obtain(&self.keytab, &self.principal, refused.as_ref())?;
        let origin = Origin::Keytab { keytab: self.keytab.clone(), principal: self.principal.clone() };
        let Granted { principal, expires, .. } = granting::life_of(&bytes, &origin)?;
        replace(&self.cache, &bytes, self.group)?;
        Ok(Renewed { principal, expires })
    }

    /// Whether waiting may mend what went wrong. Before the first ticket what is wrong with files, names and settings is told at
    /// once, by ending; later they were right once, and there is a ticket while they are mended. What the KDC has against
    /// the key or the account ends it in either case: a further try locks the account.
    #[must_use]
    pub fn may_mend(error: &KerberosError, had_ticket: bool) -> bool {
        if error.is_of_account() {
            return false;
        }
        // Where DNS tells the KDCs and does not answer, the realm is unknown. Clocks are set after a machine's start.
        let passes = matches!(
            error,
            KerberosError::Library { .. }
                | KerberosError::Refused { refusal: Refusal::UnknownRealm | Refusal::NoTrust | Refusal::ClockSkew, .. }
        );
        had_ticket || passes || error.retry() != Retry::Never
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

/// `.CACHE.WORD` beside the cache.
fn beside(cache: &Path, word: &str) -> Option<PathBuf> {
    Some(cache.with_file_name(format!(".{}.{word}", cache.file_name()?.to_string_lossy())))
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
        let (keytab, principal) = (KeytabPlace::File("k".into()), "svc@R".to_owned());
        RenewSettings { keytab, principal, cache, group: None, interval, kdcs: KdcOrder::new(None) }
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

    /// Set in a process that does nothing but write the cache it names.
    const WRITER: &str = "DATAKIT_TEST_CACHE";

    /// The so-many-th of the caches: its bytes and their number tell which.
    fn whole(number: u8) -> Vec<u8> {
        vec![number; 100_000 + usize::from(number)]
    }

    /// A process that is killed while it writes, again and again, and what a reader sees of that.
    #[test]
    fn killed_in_the_middle_of_writing_it_leaves_a_whole_cache() {
        if let Some(cache) = std::env::var_os(WRITER) {
            let parent = std::os::unix::process::parent_id();
            for number in (0..=u8::MAX).cycle().take_while(|_| std::os::unix::process::parent_id() == parent) {
                replace(Path::new(&cache), &SecretBytes::new(whole(number)), None).unwrap();
            }
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let (mut halves, mut reads) = (0, 0);
        for round in 0..40 {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            let test = "renew::tests::killed_in_the_middle_of_writing_it_leaves_a_whole_cache";
            command.args([test, "--exact"]).env(WRITER, &cache).stdout(std::process::Stdio::null());
            let mut writer = command.spawn().unwrap();
            let before = std::fs::metadata(&cache).map(|metadata| metadata.ino()).ok();
            let writes = || std::fs::metadata(&cache).map(|metadata| metadata.ino()).ok() != before;
            while !writes() {
                assert!(writer.try_wait().unwrap().is_none(), "the writer has ended");
            }
            let pause = Duration::from_micros(fastrand::u64(0..10_000));
            let until = std::time::Instant::now() + pause;
            loop {
                let bytes = std::fs::read(&cache).unwrap();
                assert!(bytes == whole(bytes[0]), "{} bytes that begin with {}", bytes.len(), bytes[0]);
                reads += 1;
                if std::time::Instant::now() > until {
                    break;
                }
            }
            writer.kill().unwrap();
            writer.wait().unwrap();
            let left = || std::fs::read_dir(folder.path()).unwrap().count() - 1;
            halves += left();
            let bytes = std::fs::read(&cache).unwrap();
            assert!(bytes == whole(bytes[0]), "after the kill in round {round}");
            settings(cache.clone()).clean_up();
            assert_eq!(left(), 0);
        }
        // Else nothing was shown.
        assert!(halves > 0 && reads >= 40, "{halves} halves in {reads} reads");
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
        let mut pauses = std::collections::BTreeSet::new();
        for _ in 0..100 {
            pauses.insert(of_life(100_000));
            assert!(of_life(60) <= Duration::from_secs(30) && of_life(60) >= Duration::from_secs(20));
            assert!(of_life(100_000) <= settings.interval && of_life(100_000) >= settings.interval.mul_f64(0.79));
            assert!(settings.pause_after_failure(1) <= Duration::from_secs(1));
            assert!(
                settings.pause_after_failure(40) <= MAX_BACKOFF && settings.pause_after_failure(40) >= MAX_BACKOFF / 2
            );
        }
        // Of many that began at the same time, few come back at the same time.
        assert!(pauses.len() > 90, "{pauses:?}");
        let (Some(first), Some(last)) = (pauses.first(), pauses.last()) else { unreachable!() };
        assert!(*last - *first > settings.interval / 10, "{first:?} to {last:?}");
        let failures: std::collections::BTreeSet<_> = (0..100).map(|_| settings.pause_after_failure(40)).collect();
        assert!(failures.len() > 90, "{failures:?}");
    }

    #[test]
    fn only_what_waiting_cannot_mend_ends_it() {
        let refused = |refusal| KerberosError::Refused { wanted: "svc@R".into(), refusal, reason: "r".into() };
        let ends =
            |error: &KerberosError| (!RenewSettings::may_mend(error, false), !RenewSettings::may_mend(error, true));
        for refusal in [Refusal::WrongKey, Refusal::UnknownPrincipal, Refusal::Locked] {
            assert_eq!(ends(&refused(refusal)), (true, true), "{refusal:?}");
        }
        for refusal in [Refusal::Unreachable, Refusal::UnknownRealm, Refusal::NoTrust, Refusal::ClockSkew] {
            assert_eq!(ends(&refused(refusal)), (false, false), "{refusal:?}");
        }
        for refusal in [Refusal::Configuration, Refusal::EncryptionType] {
            assert_eq!(ends(&refused(refusal)), (true, false), "{refusal:?}");
        }
        let full = KerberosError::Write { cache: "c".into(), reason: "no storage space".into() };
        let gone = KerberosError::KeytabUnreadable {
            keytab: "k".into(),
            kind: std::io::ErrorKind::NotFound,
            reason: "r".into(),
        };
        for error in [full, gone, KerberosError::Keep { reason: "r".into() }] {
            assert_eq!(ends(&error), (true, false), "{error}");
        }
        // KRB_ERR_GENERIC, for instance.
        assert_eq!(ends(&KerberosError::Library { doing: "d", reason: "r".into() }), (false, false));
        let held =
            KerberosError::HeldBack { keytab: "k".into(), principal: "p".into(), seconds_ago: 1, note: "n".into() };
        assert_eq!(ends(&held), (true, true));
    }
}

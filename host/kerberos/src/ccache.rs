//! Ticket caches in files, version 4, the one MIT krb5 writes.
//!
//! Read by ourselves so that `status` can show what is in them, a broken one can be told from a missing one, and a login can
//! be lent one ticket of many. The format is MIT's "credential cache file format"
//! (<https://web.mit.edu/kerberos/krb5-latest/doc/formats/ccache_file_format.html>).

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datakit_model::SecretBytes;

use crate::error::KerberosError;
use crate::principal::Principal;
use crate::reader::{Malformed, Reader};

/// No cache is nearly as large.
const MAX_CACHE_BYTES: u64 = 16 << 20;
/// Entries under this realm are settings of the library, not tickets.
const SETTINGS_REALM: &[u8] = b"X-CACHECONF:";
/// RFC 4120, 5.3: the ticket may be handed on to a server.
const FORWARDABLE: u32 = 0x4000_0000;

/// One ticket of a cache.
#[derive(Debug, Clone)]
pub struct Credential {
    client: Principal,
    /// Whom it is for.
    pub server: Principal,
    /// When it begins to be good.
    pub starts: SystemTime,
    /// When it ends.
    pub expires: SystemTime,
    /// Until when it can be renewed without the password; none: it cannot.
    pub renewable_until: Option<SystemTime>,
    /// RFC 4120's ticket flags, as the client was told of them.
    pub flags: u32,
    /// The session key's encryption type.
    pub session_encryption: i32,
    /// The encryption type of the part that only the server can read; none: the ticket could not be parsed.
    pub ticket_encryption: Option<i32>,
    /// Everything after the server's name: session key, times, flags, ticket.
    tail: SecretBytes,
}

impl Credential {
    /// Time left, zero when it is over.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.expires.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// How long it is good in all.
    pub(crate) fn life(&self) -> Duration {
        self.expires.duration_since(self.starts).unwrap_or_default()
    }

    /// Whether a server could be given the user's whole identity with it.
    #[must_use]
    pub fn is_forwardable(&self) -> bool {
        self.flags & FORWARDABLE != 0
    }

    fn write(&self, server: &Principal, into: &mut Vec<u8>) {
        self.client.write_to_cache(into);
        server.write_to_cache(into);
        into.extend_from_slice(self.tail.expose());
    }
}

/// A ticket cache.
#[derive(Debug, Clone)]
pub struct Ccache {
    /// Settings in front, the clock's offset among them.
    header: Vec<u8>,
    /// Whose tickets they are.
    pub principal: Principal,
    /// Its tickets.
    pub credentials: Vec<Credential>,
}

impl Ccache {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KerberosError::CacheUnreadable`], [`KerberosError::CacheFormat`].
    pub fn read(path: &Path) -> Result<Self, KerberosError> {
        let bytes = read_bytes(path)?;
        Self::parse(bytes.expose())
            .map_err(|reason| KerberosError::CacheFormat { cache: path.display().to_string(), reason })
    }

    /// Reads a file's bytes; the error says what is wrong with them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        const CUT: &str = "it ends in the middle of a ticket";
        let mut reader = Reader::new(bytes);
        match reader.u16() {
            Ok(0x0504) => {}
            Ok(0x0501..=0x0503) => {
                return Err("it is of a version older than 4, which MIT krb5 has written since 2004");
            }
            Ok(_) => return Err("it does not begin as a ticket cache does: is it a keytab?"),
            Err(Malformed) => return Err("it is empty"),
        }
        let header = reader.counted_short().map_err(|Malformed| CUT)?.to_vec();
        let principal = Principal::read_from_cache(&mut reader).map_err(|Malformed| CUT)?;
        let mut credentials = Vec::new();
        while !reader.rest().is_empty() {
            let credential = read_credential(&mut reader).map_err(|Malformed| CUT)?;
            if credential.server.realm != SETTINGS_REALM {
                credentials.push(credential);
            }
        }
        Ok(Self { header, principal, credentials })
    }

    /// The ticket that gets other tickets, of the user's own realm; none in a cache of service tickets alone.
    #[must_use]
    pub fn ticket_granting(&self) -> Option<&Credential> {
        let own = |c: &&Credential| {
            c.server.is_ticket_granting()
                && c.server.realm == self.principal.realm
                && c.server.components.get(1) == Some(&self.principal.realm)
        };
        self.credentials.iter().filter(own).max_by_key(|credential| credential.expires)
    }

    /// Whether there is any ticket to get others with.
    pub(crate) fn has_ticket_granting(&self) -> bool {
        self.credentials.iter().any(|credential| credential.server.is_ticket_granting())
    }

    /// How far the KDC's clock is ahead of this machine's, in seconds: the library notes it where it asked for the first ticket.
    #[must_use]
    pub fn clock_offset_seconds(&self) -> Option<i32> {
        const KDC_OFFSET: u16 = 1;
        let mut fields = Reader::new(&self.header);
        while let (Ok(tag), Ok(data)) = (fields.u16(), fields.counted_short()) {
            if tag == KDC_OFFSET {
                return Reader::new(data).i32().ok();
            }
        }
        None
    }

    /// A cache with one ticket, to be found under each of these names, and nothing else.
    pub(crate) fn with_only(&self, credential: &Credential, names: &[Principal]) -> SecretBytes {
        self.with(names.iter().map(|name| (credential, name)))
    }

    /// A cache with those of its tickets that are good for getting others: the tickets of services stay behind.
    pub(crate) fn without_services(&self) -> SecretBytes {
        let tickets = self.credentials.iter().filter(|credential| credential.server.is_ticket_granting());
        self.with(tickets.map(|credential| (credential, &credential.server)))
    }

    fn with<'c>(&'c self, tickets: impl Iterator<Item = (&'c Credential, &'c Principal)>) -> SecretBytes {
        let mut bytes = vec![5, 4];
        bytes.extend(u16::try_from(self.header.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&self.header);
        self.principal.write_to_cache(&mut bytes);
        for (credential, name) in tickets {
            credential.write(name, &mut bytes);
        }
        SecretBytes::new(bytes)
    }
}

/// A cache's bytes.
pub(crate) fn read_bytes(path: &Path) -> Result<SecretBytes, KerberosError> {
    let cache = || path.display().to_string();
    let unreadable = |error: std::io::Error| KerberosError::CacheUnreadable {
        cache: cache(),
        kind: error.kind(),
        reason: error.to_string(),
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    if metadata.len() > MAX_CACHE_BYTES {
        return Err(KerberosError::CacheFormat { cache: cache(), reason: "it is larger than 16 MiB" });
    }
    std::fs::read(path).map(SecretBytes::new).map_err(unreadable)
}

fn read_credential(reader: &mut Reader<'_>) -> Result<Credential, Malformed> {
    let client = Principal::read_from_cache(reader)?;
    let server = Principal::read_from_cache(reader)?;
    let begin = reader.rest();
    let session_encryption = i32::from(reader.u16()?);
    reader.counted()?;
    let [authenticated, starts, expires, renewable] = [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
    let _is_user_to_user = reader.u8()?;
    let flags = reader.u32()?;
    for _addresses_then_authorization in 0..2 {
        for _ in 0..reader.u32()? {
            reader.u16()?;
            reader.counted()?;
        }
    }
    let ticket_encryption = ticket_encryption(reader.counted()?).ok();
    let _second_ticket = reader.counted()?;
    let tail = begin.get(..begin.len() - reader.rest().len()).ok_or(Malformed)?;
    let time = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
    Ok(Credential {
        client,
        server,
        starts: time(if starts == 0 { authenticated } else { starts }),
        expires: time(expires),
        renewable_until: (renewable != 0).then(|| time(renewable)),
        flags,
        session_encryption,
        ticket_encryption,
        tail: SecretBytes::new(tail.to_vec()),
    })
}

/// `Ticket ::= [APPLICATION 1] SEQUENCE { …, enc-part [3] SEQUENCE { etype [0] INTEGER, … } }` (RFC 4120, 5.3).
fn ticket_encryption(der: &[u8]) -> Result<i32, Malformed> {
    let ticket = element(&mut Reader::new(der), 0x61)?;
    let mut fields = Reader::new(element(&mut Reader::new(ticket), 0x30)?);
    for tag in [0xa0, 0xa1, 0xa2] {
        element(&mut fields, tag)?;
    }
    let encrypted = element(&mut fields, 0xa3)?;
    let mut parts = Reader::new(element(&mut Reader::new(encrypted), 0x30)?);
    let number = element(&mut Reader::new(element(&mut parts, 0xa0)?), 0x02)?;
    let negative = number.first().is_some_and(|byte| byte & 0x80 != 0);
    if number.is_empty() || number.len() > 4 {
        return Err(Malformed);
    }
    Ok(number.iter().fold(if negative { -1 } else { 0 }, |value, byte| (value << 8) | i32::from(*byte)))
}

/// The content of the next DER element, which must have this tag.
fn element<'b>(reader: &mut Reader<'b>, tag: u8) -> Result<&'b [u8], Malformed> {
    if reader.u8()? != tag {
        return Err(Malformed);
    }
    let first = reader.u8()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let bytes = reader.take(usize::from(first & 0x7f))?;
            bytes.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte))
        }
        _ => return Err(Malformed),
    };
    reader.take(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, 0x81, content.len() as u8][..], content].concat()
    }

    fn ticket(encryption: u8) -> Vec<u8> {
        let encrypted = der(0x30, &der(0xa0, &der(2, &[encryption])));
        let fields = [der(0xa0, b"v"), der(0xa1, b"r"), der(0xa2, b"s"), der(0xa3, &encrypted)].concat();
        der(0x61, &der(0x30, &fields))
    }

    fn cache() -> Vec<u8> {
        let counted = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
        let client = Principal::new(&["svc"], "CORP");
        let mut bytes = [&[5, 4, 0, 12][..], &[0, 1, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0]].concat();
        client.write_to_cache(&mut bytes);
        for server in
            [Principal::new(&["krbtgt", "CORP"], "CORP"), Principal::new(&["krb5_ccache_conf_data"], "X-CACHECONF:")]
        {
            client.write_to_cache(&mut bytes);
            server.write_to_cache(&mut bytes);
            bytes.extend([0, 18]);
            bytes.extend(counted(b"session key"));
            for time in [100u32, 0, 4_000_000_000, 0] {
                bytes.extend(time.to_be_bytes());
            }
            bytes.push(0);
            bytes.extend(FORWARDABLE.to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(counted(&ticket(23)));
            bytes.extend(counted(b""));
        }
        bytes
    }

    #[test]
    fn a_cache_is_read() {
        let cache = Ccache::parse(&cache()).unwrap();
        assert_eq!((cache.principal.to_string().as_str(), cache.credentials.len()), ("svc@CORP", 1));
        let ticket = cache.ticket_granting().unwrap();
        assert_eq!((ticket.session_encryption, ticket.ticket_encryption), (18, Some(23)));
        assert!(ticket.is_forwardable() && ticket.renewable_until.is_none());
        assert_eq!(ticket.starts, UNIX_EPOCH + Duration::from_secs(100));
        let shown = format!("{cache:?}");
        assert!(!shown.contains("session key") && !shown.contains("115, 101, 115"), "{shown}");
    }

    #[test]
    fn what_is_lent_holds_the_one_ticket_under_the_names_asked_for() {
        let cache = Ccache::parse(&cache()).unwrap();
        let names = [Principal::new(&["a"], ""), Principal::new(&["b", "c"], "R")];
        let lent = Ccache::parse(cache.with_only(&cache.credentials[0], &names).expose()).unwrap();
        assert_eq!((lent.principal, lent.header), (cache.principal, cache.header));
        let servers: Vec<String> = lent.credentials.iter().map(|c| c.server.to_string()).collect();
        assert_eq!(servers, ["a@", "b/c@R"]);
        assert_eq!(lent.credentials[1].tail.expose(), cache.credentials[0].tail.expose());
    }

    #[test]
    fn what_is_no_cache_says_why() {
        assert_eq!(Ccache::parse(b"").unwrap_err(), "it is empty");
        assert!(Ccache::parse(&[5, 2, 0, 0]).unwrap_err().contains("keytab") || Ccache::parse(&[5, 2, 0, 0]).is_err());
        let whole = cache();
        assert_eq!(Ccache::parse(&whole[..whole.len() - 1]).unwrap_err(), "it ends in the middle of a ticket");
    }

    #[test]
    fn the_cache_of_another_user_is_told_from_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        std::fs::write(&path, cache()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        // Root may read everything: a thread of nobody may not.
        let refused = std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
            }
            Ccache::read(&path).unwrap_err()
        });
        let refused = refused.join().unwrap();
        assert_eq!(datakit_model::Diagnostic::code(&refused), "DK-KRB-002");
        assert!(datakit_model::Diagnostic::hint(&refused).unwrap().contains("--group"));
        let missing = Ccache::read(&folder.path().join("nothing")).unwrap_err();
        assert_eq!(datakit_model::Diagnostic::code(&missing), "DK-KRB-001");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..400, at in 0usize..400) {
            let _ = Ccache::parse(&bytes);
            let _ = Ccache::parse(&[&[5, 4][..], &bytes].concat());
            let mut broken = cache();
            if let Some(byte) = broken.get_mut(at) {
                *byte ^= 0x55;
            }
            broken.truncate(cut);
            let _ = Ccache::parse(&broken);
        }
    }
}

//! Keytabs, as far as an operator wants to know: who is in them, in which versions and encryptions. Keys are not shown.
//!
//! The format is MIT's "keytab file format" (<https://web.mit.edu/kerberos/krb5-latest/doc/formats/keytab_file_format.html>),
//! version 2, the only one written since 1995.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use datakit_model::{Credential, Failure, Secret, SecretBytes};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::encryption_name;
use crate::error::KerberosError;
use crate::principal::Principal;
use crate::reader::{Malformed, Reader};

/// No keytab is nearly as large.
const MAX_KEYTAB_BYTES: u64 = 4 << 20;

/// One key of a keytab, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeytabEntry {
    /// Whose key it is.
    pub principal: String,
    /// The key's version: counted up with each change of the password.
    pub version: u32,
    /// Its encryption type.
    pub encryption: String,
}

/// Where a keytab is.
#[derive(Debug, Clone)]
pub enum KeytabPlace {
    /// In a file, read again whenever it is needed: a new one is heeded.
    File(PathBuf),
    /// In this process's memory.
    Memory(Arc<MemoryKeytab>),
}

impl KeytabPlace {
    /// The keytab, and how it is had again where its key is refused.
    pub(crate) fn credential(&self) -> Credential<SecretBytes> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                Credential::each_time(move || read_bytes(&path).map_err(Failure::from))
            }
            Self::Memory(keytab) => keytab.keytab.clone(),
        }
    }
}

impl fmt::Display for KeytabPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Memory(keytab) => f.write_str(&keytab.from),
        }
    }
}

/// A keytab that never was in a file.
#[derive(Debug)]
pub struct MemoryKeytab {
    keytab: Credential<SecretBytes>,
    from: String,
}

impl MemoryKeytab {
    /// A keytab that is fetched when it is needed; `from` says where it comes from, after "the keytab".
    #[must_use]
    pub fn fetched(from: &str, keytab: Credential<SecretBytes>) -> Self {
        Self { keytab, from: from.to_owned() }
    }

    /// Takes a keytab as base64, spaces and line ends aside; `from` says where it comes from.
    ///
    /// # Errors
    /// [`KerberosError::KeytabFormat`] where it is not base64.
    pub fn from_base64(from: &str, text: &Secret) -> Result<Self, KerberosError> {
        let from = format!("in {from}");
        let packed = Secret::new(text.expose().split_ascii_whitespace().collect());
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(packed.expose())
            .map(SecretBytes::new)
            .map_err(|_| KerberosError::KeytabFormat { keytab: (&from).into(), reason: "it is not base64" })?;
        Ok(Self { keytab: Credential::from(bytes), from })
    }
}

/// A keytab that was read.
#[derive(Debug, Clone)]
pub struct Keytab {
    path: PathBuf,
    /// Its keys.
    pub entries: Vec<KeytabEntry>,
}

impl Keytab {
    /// Reads one.
    ///
    /// # Errors
    /// As [`Keytab::read`], with the place in words; or what keeps it from being fetched. Blocks where it is fetched.
    pub fn read_place(place: &KeytabPlace) -> Result<Self, KerberosError> {
        match place {
            KeytabPlace::File(path) => Self::read(path),
            KeytabPlace::Memory(keytab) => Self::of(place, &*keytab.keytab.get()?),
        }
    }

    /// What the bytes of a place hold.
    pub(crate) fn of(place: &KeytabPlace, bytes: &SecretBytes) -> Result<Self, KerberosError> {
        let path = PathBuf::from(place.to_string());
        match parse(bytes.expose()) {
            Ok(entries) => Ok(Self { path, entries }),
            Err(reason) => Err(KerberosError::KeytabFormat { keytab: path, reason }),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`KerberosError::KeytabUnreadable`], [`KerberosError::KeytabFormat`].
    pub fn read(path: &Path) -> Result<Self, KerberosError> {
        Self::of(&KeytabPlace::File(path.to_owned()), &read_bytes(path)?)
    }

    /// Whether it holds a key of this principal; a name without a realm fits every realm.
    ///
    /// # Errors
    /// [`KerberosError::NotInKeytab`], which says whose keys it holds.
    pub fn require(&self, principal: &str) -> Result<(), KerberosError> {
        let wanted = Principal::parse(principal);
        if self.entries.iter().any(|entry| fits(&Principal::parse(&entry.principal), &wanted)) {
            return Ok(());
        }
        let mut holds: Vec<String> = self.entries.iter().map(|entry| entry.principal.clone()).collect();
        holds.sort();
        holds.dedup();
        Err(KerberosError::NotInKeytab { keytab: self.path.clone(), principal: principal.to_owned(), holds })
    }
}

/// A keytab's file.
fn read_bytes(path: &Path) -> Result<SecretBytes, KerberosError> {
    let unreadable = |kind, reason| KerberosError::KeytabUnreadable { keytab: path.to_owned(), kind, reason };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.kind(), error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable(ErrorKind::Other, "it is not a file".to_owned()));
    }
    if metadata.len() > MAX_KEYTAB_BYTES {
        return Err(KerberosError::KeytabFormat { keytab: path.to_owned(), reason: "it is larger than 4 MiB" });
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.kind(), error.to_string()))?;
    Ok(SecretBytes::new(bytes))
}

/// A hash of a principal's keys in a keytab, by which one can be told from another; none where it has none.
pub(crate) fn fingerprint(keytab: &SecretBytes, principal: &str) -> Option<[u8; 32]> {
    let wanted = Principal::parse(principal);
    let entries = raw_entries(keytab.expose()).ok()?;
    let mut own = entries.into_iter().filter(|entry| entry.is_of(&wanted)).peekable();
    own.peek()?;
    let mut hash = Sha256::new();
    hash.update(principal);
    for entry in own {
        hash.update([0]);
        hash.update(entry.version.to_be_bytes());
        hash.update(entry.encryption.to_be_bytes());
        hash.update(entry.key);
    }
    Some(hash.finalize().into())
}

/// The keys, or what is wrong with the bytes.
fn parse(bytes: &[u8]) -> Result<Vec<KeytabEntry>, &'static str> {
    let shown = |entry: RawEntry<'_>| KeytabEntry {
        principal: entry.principal.to_string(),
        version: entry.version,
        encryption: encryption_name(i32::from(entry.encryption)),
    };
    raw_entries(bytes).map(|entries| entries.into_iter().map(shown).collect())
}

/// An entry with its key.
struct RawEntry<'b> {
    principal: Principal,
    version: u32,
    encryption: u16,
    key: &'b [u8],
}

impl RawEntry<'_> {
    fn is_of(&self, wanted: &Principal) -> bool {
        fits(&self.principal, wanted)
    }
}

/// A name without a realm fits every realm.
fn fits(principal: &Principal, wanted: &Principal) -> bool {
    principal == wanted || (wanted.realm.is_empty() && principal.components == wanted.components)
}

fn raw_entries(bytes: &[u8]) -> Result<Vec<RawEntry<'_>>, &'static str> {
    const CUT: &str = "it ends in the middle of an entry";
    let mut reader = Reader::new(bytes);
    match reader.u16() {
        Ok(0x0502) => {}
        Ok(0x0501) => return Err("it is of version 1, which nothing has written since 1995"),
        Ok(_) => return Err("it does not begin as a keytab does: is it base64, or a ticket cache?"),
        Err(Malformed) => return Err("it is empty"),
    }
    let mut entries = Vec::new();
    while !reader.rest().is_empty() {
        let size = reader.i32().map_err(|Malformed| CUT)?;
        let length = usize::try_from(size.unsigned_abs()).map_err(|_| CUT)?;
        if size == 0 {
            break;
        }
        let entry = reader.take(length).map_err(|Malformed| CUT)?;
        // A negative size is the hole that a removed entry left.
        if size > 0 {
            entries.push(parse_entry(entry).map_err(|Malformed| "one of its entries makes no sense")?);
        }
    }
    Ok(entries)
}

fn parse_entry(bytes: &[u8]) -> Result<RawEntry<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let principal = Principal::read_from_keytab(&mut reader)?;
    let _written_at = reader.u32()?;
    let short_version = u32::from(reader.u8()?);
    let encryption = reader.u16()?;
    let key = reader.counted_short()?;
    // Versions above 255 are in four bytes more, which older programs leave out or zero.
    let version = reader.u32().ok().filter(|version| *version != 0).unwrap_or(short_version);
    Ok(RawEntry { principal, version, encryption, key })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, realm: &str, version: u32, encryption: u16) -> Vec<u8> {
        let short = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
        let body = [
            &1u16.to_be_bytes()[..],
            &short(realm),
            &short(name),
            &1u32.to_be_bytes(),
            &0u32.to_be_bytes(),
            &[version as u8],
            &encryption.to_be_bytes(),
            &short("0123456789abcdef"),
            &version.to_be_bytes(),
        ]
        .concat();
        [&(body.len() as i32).to_be_bytes()[..], &body].concat()
    }

    /// A keytab with one entry.
    pub(crate) fn keytab(name: &str, realm: &str, version: u32) -> Vec<u8> {
        [&[5, 2][..], &entry(name, realm, version, 18)].concat()
    }

    #[test]
    fn the_fingerprint_is_of_the_principals_keys_alone() {
        let of = |entries: &[Vec<u8>], principal| {
            fingerprint(&SecretBytes::new([&[5, 2][..], &entries.concat()].concat()), principal)
        };
        let (own, other) = (entry("svc", "CORP", 3, 18), entry("other", "CORP", 3, 18));
        let alone = of(std::slice::from_ref(&own), "svc@CORP");
        assert!(alone.is_some());
        assert_eq!(of(&[other.clone(), own.clone()], "svc@CORP"), alone);
        assert_ne!(of(&[own.clone(), entry("svc", "CORP", 4, 18)], "svc@CORP"), alone);
        assert_eq!(of(&[other], "svc@CORP"), None);
    }

    #[test]
    fn entries_are_listed_and_holes_skipped() {
        let hole = [&(-7i32).to_be_bytes()[..], &[9; 7]].concat();
        let bytes = [&[5, 2][..], &entry("svc", "CORP", 3, 18), &hole, &entry("other", "CORP", 300, 23)].concat();
        let shown: Vec<String> =
            parse(&bytes).unwrap().iter().map(|e| format!("{} {} {}", e.principal, e.version, e.encryption)).collect();
        assert_eq!(shown, ["svc@CORP 3 aes256-cts-hmac-sha1-96", "other@CORP 300 arcfour-hmac"]);
    }

    #[test]
    fn what_is_no_keytab_says_why() {
        assert_eq!(parse(b"").unwrap_err(), "it is empty");
        assert!(parse(b"BQIAAAA=").unwrap_err().contains("base64"));
        let whole = [&[5, 2][..], &entry("svc", "CORP", 3, 18)].concat();
        assert_eq!(parse(&whole[..whole.len() - 1]).unwrap_err(), "it ends in the middle of an entry");
    }

    #[test]
    fn a_missing_principal_is_reported_with_those_that_are_there() {
        let entries = parse(&[&[5, 2][..], &entry("svc", "CORP", 3, 18)].concat()).unwrap();
        let keytab = Keytab { path: "k".into(), entries };
        assert!(keytab.require("svc@CORP").is_ok() && keytab.require("svc").is_ok());
        assert_eq!(
            keytab.require("svc@OTHER").unwrap_err().to_string(),
            "the keytab k holds no key of svc@OTHER; it holds keys of svc@CORP"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[&[5, 2][..], &bytes].concat());
        }
    }
}

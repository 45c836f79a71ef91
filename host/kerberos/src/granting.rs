//! Ticket-granting tickets: got with a keytab, or found in a cache.

use std::os::fd::AsRawFd as _;

use datakit_model::SecretBytes;

use crate::ccache::{self, Ccache};
use crate::error::{KerberosError, Refusal};
use crate::gss;
use crate::keytab::{Keytab, KeytabPlace};
use crate::refused::RefusedKey;
use crate::scratch::{Scratch, memory_file};
use crate::tickets::{Granted, Origin};

/// A keytab that can be fetched again.
pub(crate) type Key = datakit_model::Credential<SecretBytes>;

/// A ticket-granting ticket of a principal, by its keytab, in a cache's bytes; a key that was refused before is held back.
/// Blocks.
pub(crate) fn obtain(
    keytab: &KeytabPlace,
    principal: &str,
    refused: Option<&RefusedKey>,
) -> Result<SecretBytes, KerberosError> {
    obtain_with(&keytab.credential(), keytab, principal, refused)
}

/// The same with a keytab that remembers what was refused. A key that is refused is fetched again, once: a keytab is replaced
/// where the account's password is changed.
pub(crate) fn obtain_with(
    key: &Key,
    keytab: &KeytabPlace,
    principal: &str,
    refused: Option<&RefusedKey>,
) -> Result<SecretBytes, KerberosError> {
    let attempt = |bytes: &SecretBytes| {
        // The library says only that there is no ticket when the keytab is the reason.
        Keytab::of(keytab, bytes)?.require(principal)?;
        if let Some(refused) = refused {
            refused.check(keytab, bytes, principal)?;
        }
        // What was looked at is what is used, whatever happens to the file meanwhile.
        let file = memory_file(c"keytab", bytes.expose())?;
        let scratch = Scratch::new()?;
        let obtained =
            gss::obtain(&format!("FILE:/proc/self/fd/{}", file.as_raw_fd()), principal, &scratch.cache_name());
        match (&obtained, refused) {
            (Ok(()), Some(refused)) => refused.forget(),
            (Err(KerberosError::Refused { refusal: Refusal::WrongKey, .. }), Some(refused)) => {
                refused.note(bytes, principal);
            }
            _ => {}
        }
        obtained?;
        scratch.read()
    };
    key.attempt(attempt, KerberosError::is_of_key)
}

/// What a cache holds, as the bytes of a cache in a file. Blocks.
pub(crate) fn read_cache(origin: &Origin) -> Result<SecretBytes, KerberosError> {
    match (origin.file(), origin) {
        (Some(file), _) => ccache::read_bytes(file),
        (None, Origin::Cache(name)) => {
            let scratch = Scratch::new()?;
            gss::copy(name.as_deref(), &scratch.cache_name())?;
            scratch.read()
        }
        (None, Origin::Keytab { keytab, principal }) => obtain(keytab, principal, None),
    }
}

/// Whose tickets they are, and until when the one counts that gets others.
pub(crate) fn life_of(bytes: &SecretBytes, origin: &Origin) -> Result<Granted, KerberosError> {
    let cache = Ccache::parse(bytes.expose())
        .map_err(|reason| KerberosError::CacheFormat { cache: origin.to_string(), reason })?;
    let counts = cache.ticket_granting().or_else(|| cache.credentials.iter().max_by_key(|ticket| ticket.expires));
    let (expires, life) = counts
        .map(|ticket| (ticket.expires, ticket.life()))
        .ok_or(KerberosError::CacheFormat { cache: origin.to_string(), reason: "it holds no ticket" })?;
    Ok(Granted { clock_offset_seconds: cache.clock_offset_seconds(), principal: cache.principal, expires, life })
}

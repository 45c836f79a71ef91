//! Kerberos tickets: acquired from a keytab, read from a cache another process keeps, inspected, renewed, and lent to a login.
//!
//! | module | about |
//! |---|---|
//! | [`tickets`] | what a login borrows: one service ticket, in a cache of its own |
//! | [`status`] | what is in a ticket cache |
//! | [`renew`] | a ticket cache that other processes read, kept fresh |
//! | [`ccache`], [`keytab`], [`principal`] | MIT's file formats, read by ourselves so that errors can say what is wrong |
//! | [`overlay`] | settings laid over the operator's krb5.conf, and whose turn it is of its KDCs |
//! | [`settings`] | whether that can be read |
//! | `profile` | what it says |
//! | `granting` | tickets that get others |
//! | `refused` | a key that was refused is not sent again |
//! | `scratch` | where tickets are while the library works on them |
//! | [`error`] | what can go wrong, with codes and hints |
//! | `gss`, `meaning` | the library, and what its codes mean |
//!
//! Drivers of databases know only "the default credential". What they get to see is a cache in memory that holds the one
//! service ticket of the server they log in to and no ticket-granting ticket: they never talk to the KDC, and cannot delegate
//! the user to the server even where they ask for it (docs/decisions/0090).
//!
//! Everything here that asks a KDC blocks its thread.

pub mod ccache;
pub mod error;
mod granting;
mod gss;
pub mod keytab;
mod meaning;
pub mod overlay;
pub mod principal;
mod profile;
mod reader;
mod refused;
pub mod renew;
mod scratch;
pub mod settings;
pub mod status;
pub mod tickets;

pub use ccache::{Ccache, Credential};
pub use error::{KerberosError, Refusal};
pub use keytab::{Keytab, KeytabEntry, KeytabPlace, MemoryKeytab};
pub use principal::Principal;
pub use tickets::{Granted, Origin, Service, TicketSettings, Tickets};

/// The name of an encryption type, as `klist -e` shows it (RFC 3961 and its registry at IANA).
#[must_use]
pub fn encryption_name(number: i32) -> String {
    match number {
        1 => "des-cbc-crc",
        3 => "des-cbc-md5",
        16 => "des3-cbc-sha1",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "arcfour-hmac",
        25 => "camellia128-cts-cmac",
        26 => "camellia256-cts-cmac",
        other => return format!("etype {other}"),
    }
    .to_owned()
}

//! Kerberos on a connection: whose ticket, where it comes from, and for which service.

use crate::connection::contradiction;
use crate::node::Value;
use crate::reader::{Located, TableReader};
use crate::secret::{self, SecretSetting};

/// The largest `min_remaining_seconds`: no ticket lasts longer than a day.
const DAY_SECONDS: u64 = 86_400;
/// By default a ticket must last this long to be used.
pub(crate) const DEFAULT_MIN_REMAINING_SECONDS: u64 = 60;

/// Kerberos on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kerberos {
    /// Where the ticket comes from.
    pub ticket: TicketSource,
    /// The host of the service's name, when it is not the server's.
    pub spn_host: Option<String>,
    /// The port of the service's name, when it is not the server's.
    pub spn_port: Option<u16>,
    /// The service's realm; none: krb5.conf and the KDC decide.
    pub realm: Option<String>,
    /// A ticket with less time left is not used to log in, in seconds.
    pub min_remaining_seconds: u64,
}

/// Where a ticket comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketSource {
    /// A cache somebody else keeps, by its name; none: the one KRB5CCNAME names, else the library's default.
    Cache(Option<String>),
    /// A keytab, and the principal whose key it holds.
    Keytab {
        /// A file, or a variable that holds the keytab as base64.
        keytab: SecretSetting,
        /// The principal.
        principal: String,
    },
}

/// Reads `kerberos = { … }` of a connection with `auth = "kerberos"`; without it everything is by default.
pub(crate) fn read(connection: &mut TableReader<'_>) -> Option<Kerberos> {
    let default = Kerberos {
        ticket: TicketSource::Cache(None),
        spn_host: None,
        spn_port: None,
        realm: None,
        min_remaining_seconds: DEFAULT_MIN_REMAINING_SECONDS,
    };
    if connection.entry("kerberos").is_none() {
        return Some(default);
    }
    let mut table = connection.table("kerberos")?;
    let has_keytab = table.entry("keytab").is_some();
    let keytab = if has_keytab { secret::read(&mut table, "keytab") } else { None };
    let principal = table.string("principal");
    let cache = table.string("ticket_cache");
    let spn_host = table.string("spn_host");
    let spn_port = table.integer("spn_port", 1, u64::from(u16::MAX));
    let realm = table.string("realm");
    let min_remaining = table.integer("min_remaining_seconds", 0, DAY_SECONDS);
    if has_keytab && principal.is_none() {
        table.missing("principal", "write `principal = \"NAME@REALM\"`: whose key of the keytab it is");
    }
    if let (Some(principal), false) = (&principal, has_keytab) {
        let hint = "add `keytab = { file = \"PATH\" }`; a ticket cache knows itself whose tickets it holds";
        contradiction(table.problems(), &principal.origin, ["`principal`", "a ticket cache"], hint);
    }
    if let (Some(cache), true) = (&cache, has_keytab) {
        let hint = "with a keytab the host gets its own tickets and keeps them in memory: remove `ticket_cache`";
        contradiction(table.problems(), &cache.origin, ["`ticket_cache`", "`keytab`"], hint);
    }
    table.finish();
    let ticket = match (keytab, principal) {
        (Some(keytab), Some(principal)) => TicketSource::Keytab { keytab, principal: principal.value },
        // What is wrong with it has been said.
        _ if has_keytab => return None,
        _ => TicketSource::Cache(cache.map(cache_name)),
    };
    Some(Kerberos {
        ticket,
        spn_host: spn_host.map(|found| found.value),
        spn_port: spn_port.and_then(|found| u16::try_from(found.value).ok()),
        realm: realm.map(|found| found.value),
        min_remaining_seconds: min_remaining.map_or(DEFAULT_MIN_REMAINING_SECONDS, |found| found.value),
    })
}

/// `kerberos` where there is no login with it: what it says would be passed over in silence.
pub(crate) fn refuse(connection: &mut TableReader<'_>) {
    if let Some(entry) = connection.entry("kerberos") {
        let hint = "write `auth = \"kerberos\"`, or remove `kerberos`";
        contradiction(connection.problems(), &entry.key, ["`kerberos`", "a SQL login in `auth`"], hint);
    }
}

/// Whether a connection's `auth` is the word.
pub(crate) fn is_word(value: &Value) -> bool {
    matches!(value, Value::String(word) if word == "kerberos")
}

/// `TYPE:NAME` stays as it is, but a relative path of a file starts where all paths of this place start.
fn cache_name(found: Located<String>) -> String {
    let path = match found.value.split_once(':') {
        Some(("FILE", path)) => path,
        Some((kind, _)) if kind.chars().all(|c| c.is_ascii_uppercase()) => return found.value,
        _ => &found.value,
    };
    format!("FILE:{}", crate::reader::resolve_path(path, &found.origin).display())
}

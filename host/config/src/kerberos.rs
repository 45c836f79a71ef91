//! Kerberos on a connection: whose ticket, where it comes from, and for which service.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretSetting;
use crate::settings::{Checks, Relative, Settings};

/// Kerberos on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Kerberos {
    /// The key of `principal`: a file, a variable that holds the keytab as base64, or a file attached to a secret in Delinea. The
    /// host gets its own tickets with it and keeps them in memory.
    #[schemars(extend(
        "x-env" = ["KRB_KEYTAB", "Kerberos: the file with the key of KRB_PRINCIPAL; the host then gets its own tickets"],
        "x-env-as" = "file",
        "x-env-owner" = "principal"
    ))]
    pub keytab: Option<SecretSetting>,
    /// Who logs in, `NAME@REALM`, with `keytab`.
    #[schemars(extend("x-env" = ["KRB_PRINCIPAL", "Kerberos: who logs in, with KRB_KEYTAB"]))]
    pub principal: Option<String>,
    /// A ticket cache that somebody else keeps, a path or `TYPE:NAME`; it is only read. By default the one that KRB5CCNAME names.
    #[schemars(with = "Option<Relative>")]
    pub ticket_cache: Option<TicketCache>,
    /// The host of the service's name `MSSQLSvc/HOST:PORT`, as it is registered; by default the server's.
    pub spn_host: Option<String>,
    /// The port of the service's name; by default the server's.
    #[schemars(range(min = 1, max = 65_535))]
    pub spn_port: Option<u16>,
    /// The service's realm, when krb5.conf and the KDC cannot tell.
    #[schemars(extend(
        "x-env" = ["KRB_REALM", "Kerberos: the realm of the server, when krb5.conf and the KDC cannot tell"]
    ))]
    pub realm: Option<String>,
    /// A ticket with less time left is not used to log in, in seconds.
    #[schemars(range(min = 0, max = 86_400))]
    pub min_remaining_seconds: u64,
}

impl Default for Kerberos {
    fn default() -> Self {
        Self {
            keytab: None,
            principal: None,
            ticket_cache: None,
            spn_host: None,
            spn_port: None,
            realm: None,
            min_remaining_seconds: 60,
        }
    }
}

/// Where a ticket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketSource<'s> {
    /// A cache somebody else keeps, by its name; none: the one KRB5CCNAME names, else the library's default.
    Cache(Option<&'s str>),
    /// A keytab, and the principal whose key it holds.
    Keytab {
        /// A file, or a variable that holds the keytab as base64.
        keytab: &'s SecretSetting,
        /// The principal.
        principal: &'s str,
    },
}

impl Kerberos {
    /// Where the ticket comes from.
    #[must_use]
    pub fn ticket(&self) -> TicketSource<'_> {
        match (&self.keytab, &self.principal) {
            (Some(keytab), Some(principal)) => TicketSource::Keytab { keytab, principal },
            _ => TicketSource::Cache(self.ticket_cache.as_ref().map(|cache| cache.0.as_str())),
        }
    }
}

impl Settings for Kerberos {
    fn check(at: &Checks<'_>) {
        let has_keytab = at.is_set("keytab");
        if has_keytab {
            at.require("principal", "write `principal = \"NAME@REALM\"`: whose key of the keytab it is");
        } else if at.get::<String>("principal").is_some() {
            let hint = "add `keytab = { file = \"PATH\" }`; a ticket cache knows itself whose tickets it holds";
            at.contradiction("principal", ["`principal`", "a ticket cache"], hint);
        }
        if has_keytab && at.get::<TicketCache>("ticket_cache").is_some() {
            let hint = "with a keytab the host gets its own tickets and keeps them in memory: remove `ticket_cache`";
            at.contradiction("ticket_cache", ["`ticket_cache`", "`keytab`"], hint);
        }
    }
}

/// The name of a ticket cache: `TYPE:NAME`. A relative path of a file starts where all paths of this place start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Relative")]
pub struct TicketCache(String);

impl From<Relative> for TicketCache {
    fn from(relative: Relative) -> Self {
        let path = match relative.text.split_once(':') {
            Some(("FILE", path)) => path,
            Some((kind, _)) if kind.chars().all(|c| c.is_ascii_uppercase()) => return Self(relative.text),
            _ => &relative.text,
        };
        Self(format!("FILE:{}", relative.resolve(path).display()))
    }
}

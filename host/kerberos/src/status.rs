//! What is in a ticket cache, for people and programs.

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::ccache::{Ccache, Credential};
use crate::encryption_name;
use crate::error::{KerberosError, duration};
use crate::granting;
use crate::tickets::Origin;

/// What is in a ticket cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub cache: String,
    /// Whose tickets.
    pub principal: String,
    /// The realm of the principal.
    pub realm: String,
    /// Whether a login could begin with it now.
    pub is_valid: bool,
    /// Time left of the ticket that counts, in seconds; 0 when it is over.
    pub remaining_seconds: u64,
    /// The tickets.
    pub tickets: Vec<TicketStatus>,
}

/// One ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TicketStatus {
    /// Whom it is for.
    pub service: String,
    /// When it begins to be good, RFC 3339 in UTC.
    pub starts: String,
    /// When it ends.
    pub expires: String,
    /// Until when it can be renewed without the key.
    pub renewable_until: Option<String>,
    /// Time left, in seconds.
    pub remaining_seconds: u64,
    /// The session key's encryption type.
    pub session_encryption: String,
    /// The encryption type of the part only the service can read.
    pub ticket_encryption: Option<String>,
    /// Whether a server could be given the user's whole identity with it.
    pub is_forwardable: bool,
}

impl Status {
    /// Looks into a cache; without a name into the library's default.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn of(name: Option<&str>) -> Result<Self, KerberosError> {
        let origin = Origin::Cache(name.map(str::to_owned));
        let bytes = granting::read_cache(&origin)?;
        let cache = Ccache::parse(bytes.expose())
            .map_err(|reason| KerberosError::CacheFormat { cache: origin.to_string(), reason })?;
        Ok(Self::new(origin.to_string(), &cache))
    }

    /// The same of a file.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn of_file(path: &Path) -> Result<Self, KerberosError> {
        Self::of(Some(&format!("FILE:{}", path.display())))
    }

    fn new(name: String, cache: &Ccache) -> Self {
        let counts = cache.ticket_granting().or_else(|| cache.credentials.iter().max_by_key(|ticket| ticket.expires));
        let remaining_seconds = counts.map_or(0, |ticket| ticket.remaining().as_secs());
        Self {
            cache: name,
            principal: cache.principal.to_string(),
            realm: cache.principal.realm_text(),
            is_valid: remaining_seconds > 0,
            remaining_seconds,
            tickets: cache.credentials.iter().map(TicketStatus::new).collect(),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("cache      {}\nprincipal  {}\n", self.cache, self.principal);
        // Writing to a String cannot fail.
        let _ = match self.is_valid {
            true => writeln!(text, "valid      for {} more", duration(self.remaining_seconds)),
            false => writeln!(text, "valid      no: expired"),
        };
        for ticket in &self.tickets {
            let encryption = match &ticket.ticket_encryption {
                Some(encryption) if *encryption != ticket.session_encryption => {
                    format!("{encryption}, session {}", ticket.session_encryption)
                }
                _ => ticket.session_encryption.clone(),
            };
            let renewable = ticket.renewable_until.iter().map(|until| format!(", renewable until {until}"));
            let _ = writeln!(
                text,
                "\n{}\n  from {} to {}{}\n  {encryption}{}",
                ticket.service,
                ticket.starts,
                ticket.expires,
                renewable.collect::<String>(),
                if ticket.is_forwardable { ", forwardable" } else { "" }
            );
        }
        text
    }
}

impl TicketStatus {
    fn new(ticket: &Credential) -> Self {
        Self {
            service: ticket.server.to_string(),
            starts: in_words(ticket.starts),
            expires: in_words(ticket.expires),
            renewable_until: ticket.renewable_until.map(in_words),
            remaining_seconds: ticket.remaining().as_secs(),
            session_encryption: encryption_name(ticket.session_encryption),
            ticket_encryption: ticket.ticket_encryption.map(encryption_name),
            is_forwardable: ticket.is_forwardable(),
        }
    }
}

fn in_words(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}

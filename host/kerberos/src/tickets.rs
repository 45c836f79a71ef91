//! What a login borrows: the one service ticket of the server it logs in to, in a cache in memory.
//!
//! [`Tickets`] belongs to one connection of the configuration. It knows where its ticket-granting ticket comes from (a keytab,
//! or a cache that another process keeps), fetches the server's ticket when it is first needed and again when it runs out,
//! and lends it to every login. Logins at the same time wait for one fetch.

use std::ffi::CString;
use std::fs;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use datakit_model::SecretBytes;

use crate::ccache::{Ccache, Credential};
use crate::error::{KerberosError, Refusal};
use crate::granting::{Key, life_of, obtain_with, read_cache};
use crate::gss::{self, Target};
use crate::keytab::KeytabPlace;
use crate::principal::Principal;
use crate::scratch::{Scratch, memory_file};

/// Where a ticket-granting ticket comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A cache that somebody else keeps (`FILE:…`, a path, or any type of the library); none: the library's default, which
    /// KRB5CCNAME names. Never written to.
    Cache(Option<String>),
    /// A keytab and the principal whose key it holds.
    Keytab {
        /// Where it is.
        keytab: KeytabPlace,
        /// The principal; without a realm it is of the default realm.
        principal: String,
    },
}

impl Origin {
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Cache(Some(name)) => match name.split_once(':') {
                Some(("FILE", path)) => Some(Path::new(path)),
                Some(_) if !name.starts_with('/') => None,
                _ => Some(Path::new(name)),
            },
            _ => None,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cache(Some(name)) => f.write_str(name),
            Self::Cache(None) => f.write_str("the default ticket cache"),
            Self::Keytab { keytab, .. } => keytab.fmt(f),
        }
    }
}

/// The service a ticket is for: `MSSQLSvc/sql01.corp.example:1433`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `MSSQLSvc`.
    pub class: &'static str,
    /// The host as it is registered.
    pub host: String,
    /// The port as it is registered.
    pub port: u16,
    /// Its realm; none: krb5.conf and the KDC decide.
    pub realm: Option<String>,
}

impl Service {
    /// `MSSQLSvc/host:port`, with the realm if one is set.
    #[must_use]
    pub fn principal_name(&self) -> String {
        let realm = self.realm.as_ref().map(|realm| format!("@{realm}")).unwrap_or_default();
        format!("{}/{}:{}{realm}", self.class, self.host, self.port)
    }

    /// `MSSQLSvc@host:port`, the form in which GSSAPI takes a service of a host.
    #[must_use]
    pub fn host_based_name(&self) -> String {
        format!("{}@{}:{}", self.class, self.host, self.port)
    }
}

/// How tickets are got.
#[derive(Debug, Clone)]
pub struct TicketSettings {
    /// Where the ticket-granting ticket comes from.
    pub origin: Origin,
    /// A ticket with less time left is not used to begin something.
    pub min_remaining: Duration,
    /// The longest wait for the KDC.
    pub timeout: Duration,
}

/// As many services of one origin have their tickets kept at the same time.
const MAX_OTHER_SERVICES: usize = 32;

/// The tickets of one connection.
#[derive(Debug)]
pub struct Tickets {
    settings: TicketSettings,
    service: Service,
    /// The keytab, where there is one.
    key: Option<Key>,
    held: Mutex<Held>,
    /// Those of the same origin for other services.
    others: Mutex<Vec<Arc<Tickets>>>,
}

#[derive(Debug, Default)]
struct Held {
    granting: Option<Granting>,
    lent: Option<Arc<Lent>>,
}

/// A ticket-granting ticket, in a cache's bytes.
#[derive(Debug)]
struct Granting {
    bytes: SecretBytes,
    whose: Granted,
    stamp: Option<Stamp>,
}

/// What is known of a ticket that gets other tickets.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Whose it is.
    pub principal: Principal,
    /// When it ends.
    pub expires: SystemTime,
    /// How far the KDC's clock is ahead of this machine's, in seconds, where the library found that out.
    pub clock_offset_seconds: Option<i32>,
    /// How long it is good in all.
    pub(crate) life: Duration,
}

/// Changes when a file is written or replaced.
type Stamp = (u64, i64, i64, u64);

/// One service ticket in a cache of its own.
#[derive(Debug)]
struct Lent {
    _file: OwnedFd,
    cache_name: CString,
    whose: Granted,
    expires: SystemTime,
    /// How long it is good in all.
    life: Duration,
}

impl Tickets {
    /// Nothing is asked for yet.
    #[must_use]
    pub fn new(settings: TicketSettings, service: Service) -> Self {
        let key = match &settings.origin {
            Origin::Keytab { keytab, .. } => Some(keytab.credential()),
            Origin::Cache(_) => None,
        };
        Self { settings, service, key, held: Mutex::default(), others: Mutex::default() }
    }

    /// The tickets of the same origin for another service: a server that a login is sent on to, or an instance whose port is found
    /// out late.
    #[must_use]
    pub fn for_service(self: &Arc<Self>, service: Service) -> Arc<Self> {
        if service == self.service {
            return Arc::clone(self);
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.iter().find(|other| other.service == service) {
            return Arc::clone(known);
        }
        // Ports of instances and replicas change: what is not used any more is not kept for ever.
        if others.len() >= MAX_OTHER_SERVICES {
            others.remove(0);
        }
        let (settings, key) = (self.settings.clone(), self.key.clone());
        let other = Self { settings, service, key, held: Mutex::default(), others: Mutex::default() };
        let other = Arc::new(other);
        others.push(Arc::clone(&other));
        other
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Runs a driver's login where its default credential is this connection's ticket: on a thread of its own, because what a
    /// thread's default is belongs to the thread, and because the KDC may have to be asked. Nobody waits for a login any more
    /// once this future is dropped: then it ends, and what it has opened is closed.
    ///
    /// # Errors
    /// Whatever keeps the ticket from being had; what the login says is in the answer.
    pub async fn log_in<T, F>(
        self: &Arc<Self>,
        connect: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, KerberosError>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let (tickets, runtime) = (Arc::clone(self), tokio::runtime::Handle::current());
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (waits, gave_up) = tokio::sync::oneshot::channel::<()>();
        let login = tokio::task::spawn_blocking(move || {
            let lent = tickets.lend()?;
            // Nobody listens once the time for the ticket is up: then there is no login either.
            if ready.send(()).is_err() {
                return Err(tickets.too_slow());
            }
            let _thread = gss::ThreadCache::set(&lent.cache_name)?;
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    connected = connect() => Ok(connected),
                    _ = gave_up => Err(tickets.too_slow()),
                }
            })
        });
        if tokio::time::timeout(self.settings.timeout, is_ready).await.is_err() {
            return Err(self.too_slow());
        }
        let connected = login.await;
        // Held until here.
        drop(waits);
        connected.unwrap_or_else(|error| {
            Err(KerberosError::Library { doing: "logging in on a thread of its own", reason: error.to_string() })
        })
    }

    /// Gets the service's ticket, or finds out why not; when it ends. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had.
    pub fn check(&self) -> Result<SystemTime, KerberosError> {
        self.lend().map(|lent| lent.expires)
    }

    /// Where its ticket-granting ticket comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.settings.origin
    }

    /// Whether there is a ticket to get others with: of a cache what is in it now, of a keytab the current one, else a new
    /// one. Of all this only the last asks a KDC. Blocks.
    ///
    /// # Errors
    /// Whatever keeps it from being had, or its time is over. While the service's current ticket is good, a login is
    /// possible without, and that is no error.
    pub fn granted(&self) -> Result<Granted, KerberosError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_keytab = matches!(self.settings.origin, Origin::Keytab { .. });
        if let Some(granting) = held.granting.as_ref().filter(|granting| is_keytab && self.grants(&granting.whose)) {
            return Ok(granting.whose.clone());
        }
        match (self.granting(), held.lent.as_ref().filter(|lent| self.lasts(lent.expires, lent.life))) {
            (Ok(granting), _) => {
                let whose = granting.whose.clone();
                // What a cache holds is taken by the next login, which knows what to do with what it has of the old one.
                if is_keytab {
                    held.granting = Some(granting);
                }
                Ok(whose)
            }
            (Err(_), Some(lent)) => Ok(Granted { expires: lent.expires, ..lent.whose.clone() }),
            (Err(error), None) => Err(error),
        }
    }

    fn too_slow(&self) -> KerberosError {
        KerberosError::Timeout { wanted: self.service.principal_name(), seconds: self.settings.timeout.as_secs() }
    }

    /// The service ticket: the current one while it has time left and its origin is unchanged, else a new one. Blocks.
    fn lend(&self) -> Result<Arc<Lent>, KerberosError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.settings.origin.file().map(stamp_of);
        let unchanged = match (&stamp, &held.granting) {
            // What was read stays good when the file goes away: only time ends it.
            (Some(None), Some(_)) => true,
            (Some(found), Some(granting)) => *found == granting.stamp,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if unchanged && let Some(lent) = held.lent.as_ref().filter(|lent| self.lasts(lent.expires, lent.life)) {
            return Ok(Arc::clone(lent));
        }
        let granting = match held.granting.take().filter(|granting| unchanged && self.grants(&granting.whose)) {
            Some(granting) => granting,
            None => match (self.granting(), held.lent.as_ref().filter(|lent| self.lasts(lent.expires, lent.life))) {
                (Ok(granting), _) => granting,
                // Whoever writes the cache has an accident: the current ticket is still good.
                (Err(error), Some(lent)) => {
                    tracing::warn!(%error, "the current ticket is still used");
                    return Ok(Arc::clone(lent));
                }
                (Err(error), None) => return Err(error),
            },
        };
        let fetched = self.fetch(&granting);
        held.granting = Some(granting);
        let is_same = |lent: &&Arc<Lent>| {
            let now = held.granting.as_ref().map(|granting| &granting.whose.principal);
            self.lasts(lent.expires, lent.life) && now == Some(&lent.whose.principal)
        };
        let lent = match (fetched, held.lent.as_ref().filter(is_same)) {
            (Ok(fetched), _) => Arc::new(fetched),
            (Err(error), Some(lent)) => {
                tracing::warn!(%error, "the current ticket is still used");
                return Ok(Arc::clone(lent));
            }
            (Err(error), None) => return Err(error),
        };
        held.lent = Some(Arc::clone(&lent));
        Ok(lent)
    }

    /// Whether a ticket that was got here is used on: not in the second half of its life where that is shorter than what the
    /// operator wants it to last, or each login would ask the KDC for another as short.
    fn lasts(&self, expires: SystemTime, life: Duration) -> bool {
        let needed = self.settings.min_remaining.min(life / 2);
        expires.duration_since(SystemTime::now()).is_ok_and(|left| left >= needed)
    }

    /// Whether others can be got with it. Somebody else's is his to renew in time, our own as good as the KDC gives it.
    fn grants(&self, whose: &Granted) -> bool {
        let life = match self.settings.origin {
            Origin::Keytab { .. } => whose.life,
            Origin::Cache(_) => Duration::MAX,
        };
        self.lasts(whose.expires, life)
    }

    fn granting(&self) -> Result<Granting, KerberosError> {
        match &self.settings.origin {
            Origin::Keytab { keytab, principal } => {
                let key = self.key.clone().unwrap_or_else(|| keytab.credential());
                let bytes = obtain_with(&key, keytab, principal, None)?;
                // Whatever the KDC gives now is the best there is, however short.
                let whose = life_of(&bytes, &self.settings.origin)?;
                Ok(Granting { bytes, whose, stamp: None })
            }
            origin @ Origin::Cache(_) => {
                // First the stamp: a cache that is replaced in between is read again the next time.
                let stamp = origin.file().and_then(stamp_of);
                let bytes = read_cache(origin)?;
                let whose = life_of(&bytes, origin)?;
                self.check_life(&whose.principal, whose.expires)?;
                Ok(Granting { bytes, whose, stamp })
            }
        }
    }

    fn check_life(&self, principal: &Principal, expires: SystemTime) -> Result<(), KerberosError> {
        let (principal, origin) = (principal.to_string(), self.settings.origin.to_string());
        match expires.duration_since(SystemTime::now()) {
            Err(over) => Err(KerberosError::Expired { principal, origin, seconds_ago: over.duration().as_secs() }),
            Ok(left) if left < self.settings.min_remaining => Err(KerberosError::ExpiresSoon {
                principal,
                origin,
                left_seconds: left.as_secs(),
                needed_seconds: self.settings.min_remaining.as_secs(),
            }),
            Ok(_) => Ok(()),
        }
    }

    /// Asks the KDC for the service's ticket and puts it, alone, into a cache in memory.
    fn fetch(&self, granting: &Granting) -> Result<Lent, KerberosError> {
        let parse = |bytes: &SecretBytes| {
            Ccache::parse(bytes.expose())
                .map_err(|reason| KerberosError::CacheFormat { cache: self.settings.origin.to_string(), reason })
        };
        let (source, principal_name) = (parse(&granting.bytes)?, self.service.principal_name());
        // Else somebody gave us tickets of services only.
        let is_asked = source.has_ticket_granting();
        let cache = if is_asked { parse(&self.ask(&source, &principal_name)?)? } else { source };
        let ticket = self.ticket_in(&cache, is_asked).ok_or_else(|| KerberosError::Refused {
            wanted: principal_name,
            refusal: Refusal::NoTicket,
            reason: "neither a ticket of this name nor one to get it with".to_owned(),
        })?;
        // What was given just now passes, however short it is.
        if !self.lasts(ticket.expires, ticket.life()) {
            self.check_life(&ticket.server, ticket.expires)?;
        }
        let bytes = cache.with_only(ticket, &self.names(ticket));
        let file = memory_file(c"ticket", bytes.expose())?;
        let cache_name = CString::new(format!("FILE:/proc/self/fd/{}", file.as_raw_fd()))
            .map_err(|error| KerberosError::Keep { reason: error.to_string() })?;
        tracing::debug!(client = %cache.principal, service = %ticket.server, "got a service ticket");
        let whose = granting.whose.clone();
        Ok(Lent { _file: file, cache_name, whose, expires: ticket.expires, life: ticket.life() })
    }

    /// A cache with the service's ticket. The tickets of services that the source holds are not shown to the library: it would
    /// take one of them, of a few seconds more or, by a canonical name, of another server.
    fn ask(&self, source: &Ccache, principal_name: &str) -> Result<SecretBytes, KerberosError> {
        let scratch = Scratch::new()?;
        scratch.write(source.without_services().expose())?;
        let host_based = self.service.host_based_name();
        let target = match self.service.realm {
            Some(_) => Target::Principal(principal_name),
            None => Target::HostBased(&host_based),
        };
        gss::fetch(&scratch.cache_name(), target)?;
        scratch.read()
    }

    /// The ticket that was fetched: by its name, else (the KDC knows the host by another name) the last one of its class and port;
    /// the latter only where it was asked for, and so is the only one.
    fn ticket_in<'c>(&self, cache: &'c Ccache, is_asked: bool) -> Option<&'c Credential> {
        let port = format!(":{}", self.service.port);
        let mut of_class =
            cache.credentials.iter().filter(|credential| match credential.server.components.as_slice() {
                [class, host] => class == self.service.class.as_bytes() && host.ends_with(port.as_bytes()),
                _ => false,
            });
        let asked = format!("{}{port}", self.service.host);
        let exact = |credential: &&Credential| {
            credential.server.components.get(1).is_some_and(|host| host.eq_ignore_ascii_case(asked.as_bytes()))
        };
        of_class.clone().rfind(exact).or_else(|| of_class.next_back().filter(|_| is_asked))
    }

    /// The names drivers look for the ticket under: tiberius asks for `MSSQLSvc/host:port` in the default realm, whatever the
    /// server's is, `mssql-tds` for the host's service, in the realm that krb5.conf maps the host to, or in none.
    fn names(&self, ticket: &Credential) -> Vec<Principal> {
        let without_realm = Service { realm: None, ..self.service.clone() };
        let (host_based, principal_name) = (without_realm.host_based_name(), without_realm.principal_name());
        let asked = [Target::HostBased(&host_based).principal(), Target::Principal(&principal_name).principal()];
        let mut names = vec![ticket.server.clone()];
        for name in asked.into_iter().flatten() {
            for realm in [name.realm.clone(), ticket.server.realm.clone(), Vec::new()] {
                let name = Principal { realm, ..name.clone() };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

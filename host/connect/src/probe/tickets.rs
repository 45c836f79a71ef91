//! The links of Kerberos: from krb5.conf to the ticket of the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datakit_kerberos::error::duration;
use datakit_kerberos::status::Status;
use datakit_kerberos::{Granted, KerberosError, Keytab, KeytabEntry, KeytabPlace, Origin, Refusal, Tickets, settings};

use super::{Broken, Walk};

const CONF: &str = "krb5.conf";
const KEYTAB: &str = "keytab";
const CACHE: &str = "ticket cache";
const REALM: &str = "realm";
const KDC: &str = "kdc";
const CLOCK: &str = "clock";
const TICKET: &str = "ticket";
const SPN: &str = "spn";

/// The links of tickets of this origin, in the order in which they are seen. What is in a cache is seen before a KDC is asked.
pub fn links(origin: &Origin) -> [&'static str; 7] {
    match origin {
        Origin::Keytab { .. } => [CONF, KEYTAB, REALM, KDC, CLOCK, TICKET, SPN],
        Origin::Cache(_) => [CONF, CACHE, TICKET, REALM, KDC, CLOCK, SPN],
    }
}

/// Walks them.
///
/// # Errors
/// A link is broken.
pub async fn walk(walk: &mut dyn Walk, tickets: &Arc<Tickets>) -> Result<(), Broken> {
    let files = settings::files(settings::krb5_config().as_deref());
    let (read, took) = walk.step("krb5.conf", on_a_thread(move || settings::check(&files))).await;
    match read {
        Ok(files) => walk.ok(CONF, Some(took), shown(&files)),
        Err(error) => return Err(walk.broken(CONF, Some(took), error.into())),
    }
    match tickets.origin().clone() {
        Origin::Keytab { keytab, principal } => with_keytab(walk, tickets, &keytab, &principal).await?,
        Origin::Cache(name) => with_cache(walk, tickets, name).await?,
    }
    let (fetched, took) = walk.step("the KDC, for the server's ticket", blocking(tickets, Tickets::check)).await;
    match fetched {
        Ok(expires) => {
            let open = walk.open().to_vec();
            for link in open.into_iter().take_while(|link| *link != SPN) {
                walk.ok(link, None, of_the_library(link).to_owned());
            }
            let name = tickets.service().principal_name();
            walk.ok(SPN, Some(took), format!("{name}, {}", left(expires)));
            Ok(())
        }
        Err(error) => Err(fetch_broke(walk, took, error)),
    }
}

async fn with_keytab(
    walk: &mut dyn Walk,
    tickets: &Arc<Tickets>,
    keytab: &KeytabPlace,
    principal: &str,
) -> Result<(), Broken> {
    let (place, whose) = (keytab.clone(), principal.to_owned());
    let reading = on_a_thread(move || {
        let keytab = Keytab::read_place(&place)?;
        keytab.require(&whose)?;
        Ok(keytab)
    });
    let (read, took) = walk.step("the keytab", reading).await;
    match read {
        Ok(found) => walk.ok(KEYTAB, Some(took), format!("{keytab}: {}", keys(&found.entries, principal))),
        Err(error) => return Err(walk.broken(KEYTAB, Some(took), error.into())),
    }
    let (granted, took) = walk.step("the KDC, for a ticket", blocking(tickets, Tickets::granted)).await;
    match granted {
        Ok(granted) => {
            walk.ok(REALM, None, granted.principal.realm_text());
            walk.ok(KDC, None, "answers".to_owned());
            walk.ok(CLOCK, None, clock(&granted));
            walk.ok(TICKET, Some(took), format!("{}, {}", granted.principal, left(granted.expires)));
            Ok(())
        }
        Err(error) => {
            let link = link_of(&error);
            if link == KDC || is_of_the_kdc(&error) {
                walk.ok(REALM, None, realm_of(principal));
            }
            if is_of_the_kdc(&error) {
                walk.ok(KDC, None, "answers".to_owned());
            }
            Err(walk.broken(link, Some(took), error.into()))
        }
    }
}

async fn with_cache(walk: &mut dyn Walk, tickets: &Arc<Tickets>, name: Option<String>) -> Result<(), Broken> {
    let (read, took) = walk.step("the ticket cache", on_a_thread(move || Status::of(name.as_deref()))).await;
    match read {
        Ok(status) => walk.ok(CACHE, Some(took), format!("{} of {}", status.cache, status.principal)),
        Err(error) => return Err(walk.broken(CACHE, Some(took), error.into())),
    }
    let (granted, took) = walk.step("the ticket cache", blocking(tickets, Tickets::granted)).await;
    match granted {
        Ok(granted) => {
            walk.ok(TICKET, Some(took), left(granted.expires));
            Ok(())
        }
        Err(error) => Err(walk.broken(TICKET, Some(took), error.into())),
    }
}

/// Which link an answer to the first question to a KDC tells of.
fn link_of(error: &KerberosError) -> &'static str {
    match error {
        KerberosError::KeytabUnreadable { .. }
        | KerberosError::KeytabFormat { .. }
        | KerberosError::NotInKeytab { .. } => KEYTAB,
        KerberosError::Refused { refusal, .. } => match refusal {
            Refusal::UnknownRealm | Refusal::NoTrust | Refusal::Configuration => REALM,
            Refusal::Unreachable => KDC,
            Refusal::ClockSkew => CLOCK,
            _ => TICKET,
        },
        KerberosError::Timeout { .. } => KDC,
        _ => TICKET,
    }
}

/// Whether a KDC has said so, and not the library by itself.
fn is_of_the_kdc(error: &KerberosError) -> bool {
    matches!(
        error,
        KerberosError::Refused {
            refusal: Refusal::WrongKey | Refusal::UnknownPrincipal | Refusal::Locked | Refusal::ClockSkew,
            ..
        }
    )
}

/// The server's ticket is not to be had. With a keytab all before it is known to hold; with a cache this was the first time
/// that a KDC was asked.
fn fetch_broke(walk: &mut dyn Walk, took: Duration, error: KerberosError) -> Broken {
    let link = match &error {
        // What is not known is the way to the server's realm: a KDC of ours has said so.
        KerberosError::Refused { refusal: Refusal::NoTrust | Refusal::UnknownService, .. } => SPN,
        error => link_of(error),
    };
    let link = if walk.open().contains(&link) { link } else { SPN };
    let holds: &[&str] = match (link, &error) {
        (KDC, _) => &[REALM],
        (CLOCK, _) => &[REALM, KDC],
        (
            SPN,
            KerberosError::Refused {
                refusal: Refusal::UnknownService | Refusal::UnknownRealm | Refusal::NoTrust, ..
            },
        ) => &[REALM, KDC, CLOCK],
        _ => &[],
    };
    let open = walk.open().to_vec();
    for link in open.into_iter().filter(|link| holds.contains(link)) {
        walk.ok(link, None, of_the_library(link).to_owned());
    }
    walk.broken(link, Some(took), error.into())
}

/// What is said of a link that a later step has shown.
fn of_the_library(link: &str) -> &'static str {
    match link {
        REALM => "known",
        KDC => "answers",
        CLOCK => "near enough to the KDC's",
        _ => "",
    }
}

/// The longest wait for a ticket: the library asks each KDC several times, over UDP and TCP.
pub const KDC_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks something of tickets on a thread that may block, as whatever asks a KDC does.
async fn blocking<T: Send + 'static>(
    tickets: &Arc<Tickets>,
    ask: impl FnOnce(&Tickets) -> Result<T, KerberosError> + Send + 'static,
) -> Result<T, KerberosError> {
    let asked = Arc::clone(tickets);
    let asking = tokio::task::spawn_blocking(move || ask(&asked));
    match tokio::time::timeout(KDC_TIMEOUT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(KerberosError::Library { doing: "asking for a ticket", reason: error.to_string() }),
        Err(_) => {
            Err(KerberosError::Timeout { wanted: tickets.service().principal_name(), seconds: KDC_TIMEOUT.as_secs() })
        }
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KerberosError> + Send + 'static,
) -> Result<T, KerberosError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(KerberosError::Library { doing: "reading", reason: error.to_string() }))
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `svc-etl@CORP.EXAMPLE, version 3, aes256-cts-hmac-sha1-96`
fn keys(entries: &[KeytabEntry], principal: &str) -> String {
    let is_whose =
        |entry: &&KeytabEntry| entry.principal == principal || entry.principal.split('@').next() == Some(principal);
    let newest = entries.iter().filter(is_whose).map(|entry| entry.version).max().unwrap_or_default();
    let of_newest: Vec<&KeytabEntry> =
        entries.iter().filter(is_whose).filter(|entry| entry.version == newest).collect();
    let name = of_newest.first().map_or(principal, |entry| entry.principal.as_str());
    let encryptions: Vec<&str> = of_newest.iter().map(|entry| entry.encryption.as_str()).collect();
    format!("{name}, version {newest}, {}", encryptions.join(" and "))
}

fn realm_of(principal: &str) -> String {
    principal.split_once('@').map_or_else(|| "the default realm".to_owned(), |(_, realm)| realm.to_owned())
}

fn clock(granted: &Granted) -> String {
    match granted.clock_offset_seconds {
        None => "near enough to the KDC's".to_owned(),
        Some(offset) if offset.unsigned_abs() <= 1 => "as the KDC's".to_owned(),
        Some(offset) => {
            let way = if offset > 0 { "behind" } else { "ahead of" };
            let distance = duration(offset.unsigned_abs().into());
            format!("{distance} {way} the KDC's, which a login with a keytab makes up for")
        }
    }
}

fn left(expires: SystemTime) -> String {
    format!("good for {}", duration(expires.duration_since(SystemTime::now()).unwrap_or_default().as_secs()))
}

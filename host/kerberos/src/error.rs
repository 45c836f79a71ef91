//! What can go wrong with tickets, with the codes `DK-KRB-…`.
//!
//! | codes | about |
//! |---|---|
//! | 001–009 | ticket caches |
//! | 010–019 | keytabs |
//! | 020–029 | the life of tickets |
//! | 030–049 | what the KDC answered, or did not |
//! | 050–059 | krb5.conf and this process |
//! | 060–069 | writing a cache |
//! | 090 | what the library says and nothing above fits |

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::PathBuf;

use datakit_model::{Diagnostic, Failure, Kind, Retry};

/// Why a ticket was refused, in groups an operator acts on alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The key or password is not the principal's.
    WrongKey,
    /// The KDC does not know the principal.
    UnknownPrincipal,
    /// The account is locked, disabled or expired, or its password is.
    Locked,
    /// The two sides share no encryption type.
    EncryptionType,
    /// The KDC knows no service of this name.
    UnknownService,
    /// Nothing says where the realm's KDCs are.
    UnknownRealm,
    /// A KDC knows no way to the service's realm: there is no trust to it.
    NoTrust,
    /// No KDC of the realm answers.
    Unreachable,
    /// The clocks differ by too much.
    ClockSkew,
    /// The ticket's time is over.
    Expired,
    /// krb5.conf cannot be read or makes no sense.
    Configuration,
    /// The cache holds no ticket that would do.
    NoTicket,
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum KerberosError {
    /// A ticket cache cannot be read.
    #[error("cannot read the ticket cache {cache}: {reason}")]
    CacheUnreadable {
        /// The cache.
        cache: String,
        /// In which way.
        kind: ErrorKind,
        /// The system's words.
        reason: String,
    },
    /// A ticket cache is not one, or not whole.
    #[error("the ticket cache {cache} cannot be used: {reason}")]
    CacheFormat {
        /// The cache.
        cache: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A keytab cannot be read.
    #[error("cannot read the keytab {}: {reason}", keytab.display())]
    KeytabUnreadable {
        /// The file.
        keytab: PathBuf,
        /// In which way.
        kind: ErrorKind,
        /// The system's words.
        reason: String,
    },
    /// A keytab is not one, or not whole.
    #[error("the keytab {} cannot be used: {reason}", keytab.display())]
    KeytabFormat {
        /// The file.
        keytab: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A keytab holds keys of others only.
    #[error("the keytab {} holds no key of {principal}; {}", keytab.display(), holding(holds))]
    NotInKeytab {
        /// The file.
        keytab: PathBuf,
        /// Whose key is needed.
        principal: String,
        /// Whose keys it holds.
        holds: Vec<String>,
    },
    /// The ticket is over.
    #[error("the ticket of {principal} in {origin} expired {} ago", duration(*seconds_ago))]
    Expired {
        /// Whose ticket.
        principal: String,
        /// The cache.
        origin: String,
        /// Since when, in seconds.
        seconds_ago: u64,
    },
    /// The ticket is over soon.
    #[error(
        "the ticket of {principal} in {origin} is good for {left_seconds} s more, but {needed_seconds} s are asked for"
    )]
    ExpiresSoon {
        /// Whose ticket.
        principal: String,
        /// The cache.
        origin: String,
        /// What is left, in seconds.
        left_seconds: u64,
        /// The setting, in seconds.
        needed_seconds: u64,
    },
    /// The KDC, or the library on the way to it, refused.
    #[error("no ticket for {wanted}: {}: {reason}", because(*refusal))]
    Refused {
        /// The principal or service.
        wanted: String,
        /// Why.
        refusal: Refusal,
        /// MIT krb5's words.
        reason: String,
    },
    /// The KDC refused the key not long ago, and it is the same.
    #[error(
        "the KDC refused the key of {principal} in the keytab {} {} ago; it is not sent again, so that the account is not locked",
        keytab.display(),
        duration(*seconds_ago)
    )]
    HeldBack {
        /// The keytab.
        keytab: PathBuf,
        /// Whose key.
        principal: String,
        /// Since when, in seconds.
        seconds_ago: u64,
        /// The file that says so.
        note: PathBuf,
    },
    /// The KDCs took too long.
    #[error("no ticket for {wanted} within {seconds} s")]
    Timeout {
        /// The principal or service.
        wanted: String,
        /// The bound.
        seconds: u64,
    },
    /// A place in memory for a ticket cannot be had.
    #[error("cannot keep a ticket: {reason}")]
    Keep {
        /// The system's words.
        reason: String,
    },
    /// A cache cannot be written.
    #[error("cannot write the ticket cache {}: {reason}", cache.display())]
    Write {
        /// The cache.
        cache: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The group a cache is for is not there.
    #[error("there is no group `{group}`")]
    UnknownGroup {
        /// Its name.
        group: String,
    },
    /// krb5.conf cannot be read, or makes no sense.
    #[error("cannot read krb5.conf ({files}): {reason}")]
    Settings {
        /// The files that were tried.
        files: String,
        /// The system's or MIT krb5's words.
        reason: String,
    },
    /// The keytab cannot be fetched, or was refused before.
    #[error("{0}")]
    Keytab(Failure),
    /// The library says something else.
    #[error("{doing} failed: {reason}")]
    Library {
        /// What was done.
        doing: &'static str,
        /// MIT krb5's words.
        reason: String,
    },
}

impl From<Failure> for KerberosError {
    fn from(failure: Failure) -> Self {
        Self::Keytab(failure)
    }
}

fn holding(holds: &[String]) -> String {
    if holds.is_empty() { "it is empty".to_owned() } else { format!("it holds keys of {}", holds.join(", ")) }
}

/// Seconds as people say them.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn because(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::WrongKey => "the key is not the account's",
        Refusal::UnknownPrincipal => "the KDC does not know the principal",
        Refusal::Locked => "the account is locked, disabled or expired",
        Refusal::EncryptionType => "KDC and this side share no encryption type",
        Refusal::UnknownService => "the KDC knows no such service",
        Refusal::UnknownRealm | Refusal::NoTrust => "the realm is not known here",
        Refusal::Unreachable => "no KDC answers",
        Refusal::ClockSkew => "the clocks differ by too much",
        Refusal::Expired => "the ticket has expired",
        Refusal::Configuration => "krb5.conf does not help",
        Refusal::NoTicket => "the ticket cache holds no ticket that would do",
    }
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Self::WrongKey => "DK-KRB-030",
            Self::UnknownPrincipal => "DK-KRB-031",
            Self::Locked => "DK-KRB-032",
            Self::EncryptionType => "DK-KRB-033",
            Self::UnknownService => "DK-KRB-034",
            Self::UnknownRealm | Self::NoTrust => "DK-KRB-035",
            Self::Unreachable => "DK-KRB-036",
            Self::ClockSkew => "DK-KRB-037",
            Self::Expired => "DK-KRB-020",
            Self::Configuration => "DK-KRB-050",
            Self::NoTicket => "DK-KRB-004",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::WrongKey => {
                "the account's password was changed after the keytab was made: have a new keytab made (`ktpass`, `kadmin ktadd`) and compare its version with the account's"
            }
            Self::UnknownPrincipal => {
                "check the spelling of the principal and its realm; in Active Directory it is the account's userPrincipalName"
            }
            Self::Locked => {
                "ask the directory's administrators to unlock the account or renew its password, then have a new keytab made"
            }
            Self::EncryptionType => {
                "have a keytab made with AES keys (`ktpass /crypto AES256-SHA1`), and check `permitted_enctypes` of krb5.conf"
            }
            Self::UnknownService => {
                "register the SPN for the account SQL Server runs under (`setspn -S MSSQLSvc/HOST:PORT ACCOUNT`), or set `kerberos.spn_host`, `spn_port` or `realm` to what is registered (`setspn -Q MSSQLSvc/*`)"
            }
            Self::UnknownRealm | Self::NoTrust => {
                "check the realm's spelling (upper case), its KDCs under [realms] of krb5.conf or in DNS, and [domain_realm] for the server's domain; or set `kerberos.realm`"
            }
            Self::Unreachable => "check that the KDCs of krb5.conf can be reached from here, port 88 by TCP and UDP",
            Self::ClockSkew => "set this machine's clock by NTP: Kerberos allows 5 minutes between machines",
            Self::Expired => "get a new ticket (`kinit`), check the process that renews the cache, or use a keytab",
            Self::Configuration => {
                "check the file KRB5_CONFIG names, else /etc/krb5.conf: it needs `default_realm` under [libdefaults]"
            }
            Self::NoTicket => {
                "get a ticket (`kinit`), check that KRB5CCNAME or `kerberos.ticket_cache` names the right cache, or use a keytab"
            }
        }
    }
}

impl KerberosError {
    /// Whether the KDC has something against the key or the account, which no waiting mends, and each further try may make worse.
    #[must_use]
    pub fn is_of_account(&self) -> bool {
        use Refusal::{Locked, UnknownPrincipal, WrongKey};
        matches!(self, Self::HeldBack { .. } | Self::Refused { refusal: WrongKey | UnknownPrincipal | Locked, .. })
    }

    /// Whether another key could be the answer.
    pub(crate) fn is_of_key(&self) -> bool {
        matches!(self, Self::Refused { refusal: Refusal::WrongKey, .. } | Self::NotInKeytab { .. })
    }

    /// Code and meaning of each error, for the documentation.
    pub const CODES: &'static [(&'static str, &'static str)] = &[
        ("DK-KRB-001", "the ticket cache is not there"),
        ("DK-KRB-002", "the ticket cache may not be read by this user, or cannot be"),
        ("DK-KRB-003", "the file is not a valid ticket cache"),
        ("DK-KRB-004", "the ticket cache holds no ticket that would do"),
        ("DK-KRB-010", "the keytab is not there"),
        ("DK-KRB-011", "the keytab may not be read by this user, or cannot be"),
        ("DK-KRB-012", "the file is not a valid keytab"),
        ("DK-KRB-013", "the keytab holds no key of the principal"),
        ("DK-KRB-020", "the ticket has expired"),
        ("DK-KRB-021", "the ticket expires too soon to begin with it"),
        ("DK-KRB-030", "the KDC refused the key: the keytab is older than the password"),
        ("DK-KRB-031", "the KDC does not know the principal"),
        ("DK-KRB-032", "the account is locked, disabled or expired"),
        ("DK-KRB-033", "the two sides share no encryption type"),
        ("DK-KRB-034", "the KDC knows no service of this name: the SPN is wrong or not registered"),
        ("DK-KRB-035", "the realm is not known, or not trusted"),
        ("DK-KRB-036", "no KDC of the realm answers"),
        ("DK-KRB-037", "the clocks differ by too much"),
        ("DK-KRB-038", "the KDCs took too long"),
        ("DK-KRB-039", "the KDC refused this key not long ago, and it is not sent again"),
        ("DK-KRB-050", "krb5.conf cannot be read or makes no sense"),
        ("DK-KRB-051", "this process cannot keep a ticket in memory"),
        ("DK-KRB-060", "the ticket cache cannot be written"),
        ("DK-KRB-061", "the group the ticket cache is for is not there"),
        ("DK-KRB-090", "the Kerberos library reports something else"),
    ];

    /// The codes of errors that may pass by themselves.
    pub const TRANSIENT_CODES: &'static [&'static str] =
        &["DK-KRB-001", "DK-KRB-020", "DK-KRB-021", "DK-KRB-036", "DK-KRB-038"];
}

impl Diagnostic for KerberosError {
    fn code(&self) -> Cow<'static, str> {
        let missing = |kind: ErrorKind, missing, other| if kind == ErrorKind::NotFound { missing } else { other };
        Cow::Borrowed(match self {
            Self::CacheUnreadable { kind, .. } => missing(*kind, "DK-KRB-001", "DK-KRB-002"),
            Self::CacheFormat { .. } => "DK-KRB-003",
            Self::KeytabUnreadable { kind, .. } => missing(*kind, "DK-KRB-010", "DK-KRB-011"),
            Self::KeytabFormat { .. } => "DK-KRB-012",
            Self::NotInKeytab { .. } => "DK-KRB-013",
            Self::Expired { .. } => "DK-KRB-020",
            Self::ExpiresSoon { .. } => "DK-KRB-021",
            Self::Refused { refusal, .. } => refusal.code(),
            Self::Timeout { .. } => "DK-KRB-038",
            Self::HeldBack { .. } => "DK-KRB-039",
            Self::Keep { .. } => "DK-KRB-051",
            Self::Write { .. } => "DK-KRB-060",
            Self::UnknownGroup { .. } => "DK-KRB-061",
            Self::Settings { .. } => Refusal::Configuration.code(),
            Self::Keytab(failure) => return Cow::Owned(failure.code().to_owned()),
            Self::Library { .. } => "DK-KRB-090",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Keytab(failure) => failure.kind(),
            Self::Refused { refusal: Refusal::Unreachable, .. } | Self::Timeout { .. } => Kind::Source,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Keytab(failure) => failure.retry(),
            // Whoever renews the cache may be late, or in the middle of it.
            Self::CacheUnreadable { kind: ErrorKind::NotFound, .. }
            | Self::Expired { .. }
            | Self::ExpiresSoon { .. }
            | Self::Timeout { .. }
            | Self::Refused { refusal: Refusal::Unreachable | Refusal::Expired, .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        const RENEWED: &str = "get a new ticket (`kinit`), check the process that renews the cache (`host kerberos status`), or use a keytab";
        Some(
            match self {
                Self::CacheUnreadable { kind: ErrorKind::NotFound, .. } => {
                    "get a ticket (`kinit`), or check KRB5CCNAME or `kerberos.ticket_cache`, and that whoever writes the cache runs and shares its folder"
                }
                Self::CacheUnreadable { kind: ErrorKind::PermissionDenied, .. } => {
                    "caches belong to one user: run as that user, or have the cache written for a group of this user (`host kerberos renew --group`)"
                }
                Self::CacheUnreadable { .. } => "KRB5CCNAME and `kerberos.ticket_cache` name a file",
                Self::CacheFormat { .. } => "get a new ticket (`kinit`); writers that do not replace the file at once leave halves of it",
                Self::KeytabUnreadable { kind: ErrorKind::NotFound, .. } => "check `kerberos.keytab`, and that the secret is mounted",
                Self::KeytabUnreadable { .. } => "let the user of this process read the file, and nobody else: `chown` it and `chmod 600`",
                Self::KeytabFormat { .. } => "`klist -k FILE` must list it; a keytab is binary: decode it if it came as base64",
                Self::NotInKeytab { .. } => "write the principal as the keytab has it (upper and lower case count), or have a keytab of this principal made",
                Self::Expired { .. } => RENEWED,
                Self::ExpiresSoon { .. } => "check the process that renews the cache (`host kerberos status`), or lower `kerberos.min_remaining_seconds`",
                Self::Refused { refusal, .. } => refusal.hint(),
                Self::Timeout { .. } => Refusal::Unreachable.hint(),
                Self::HeldBack { note, .. } => {
                    return Some(format!(
                        "have a new keytab made: it is tried at once. The same one is tried again an hour after it was refused, or when {} is removed",
                        note.display()
                    ));
                }
                Self::Keep { .. } => "the kernel must allow memfd_create, and one of /dev/shm and the temporary folder must be writable",
                Self::Write { .. } => "the folder of the cache must be writable by this user, and the group one this user may give files to",
                Self::Keytab(failure) => return failure.hint().map(str::to_owned),
                Self::UnknownGroup { .. } => "give a group of /etc/group, or its number",
                Self::Settings { .. } => Refusal::Configuration.hint(),
                Self::Library { .. } => "KRB5_TRACE=/dev/stderr shows each step of the library (not its secrets)",
            }
            .to_owned(),
        )
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Keytab(failure) => Some(failure),
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Self::CacheUnreadable { cache, .. } | Self::CacheFormat { cache, .. } => vec![pair("ticket_cache", cache)],
            Self::KeytabUnreadable { keytab, .. }
            | Self::KeytabFormat { keytab, .. }
            | Self::HeldBack { keytab, .. }
            | Self::NotInKeytab { keytab, .. } => {
                vec![pair("keytab", &keytab.display().to_string())]
            }
            Self::Expired { principal, origin, .. } | Self::ExpiresSoon { principal, origin, .. } => {
                vec![pair("principal", principal), pair("origin", origin)]
            }
            Self::Keytab(failure) => failure.context().to_vec(),
            Self::Refused { wanted, .. } | Self::Timeout { wanted, .. } => vec![pair("ticket_for", wanted)],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_listed_code_and_a_hint() {
        use Refusal::*;
        for refusal in [
            WrongKey,
            UnknownPrincipal,
            Locked,
            EncryptionType,
            UnknownService,
            UnknownRealm,
            NoTrust,
            Unreachable,
            ClockSkew,
            Expired,
            Configuration,
            NoTicket,
        ] {
            let error = KerberosError::Refused { wanted: "svc@R".into(), refusal, reason: "r".into() };
            assert!(KerberosError::CODES.iter().any(|(code, _)| *code == error.code()), "{}", error.code());
            assert!(error.hint().is_some_and(|hint| hint.len() > 20));
        }
    }

    #[test]
    fn transient_codes_are_those_of_errors_that_are_tried_again() {
        use ErrorKind::{NotFound, PermissionDenied};
        let (cache, reason) = (String::from("c"), String::from("r"));
        let unreadable = |kind| KerberosError::CacheUnreadable { cache: cache.clone(), kind, reason: reason.clone() };
        let refused = |refusal| KerberosError::Refused { wanted: "svc@R".into(), refusal, reason: reason.clone() };
        let (principal, origin) = (String::from("svc@R"), String::from("c"));
        let errors = [
            unreadable(NotFound),
            unreadable(PermissionDenied),
            refused(Refusal::Unreachable),
            refused(Refusal::Expired),
            refused(Refusal::WrongKey),
            refused(Refusal::ClockSkew),
            KerberosError::Expired { principal: principal.clone(), origin: origin.clone(), seconds_ago: 1 },
            KerberosError::ExpiresSoon { principal, origin, left_seconds: 1, needed_seconds: 2 },
            KerberosError::Timeout { wanted: "svc@R".into(), seconds: 1 },
            KerberosError::UnknownGroup { group: "g".into() },
        ];
        for error in &errors {
            let is_transient = KerberosError::TRANSIENT_CODES.contains(&error.code().as_ref());
            assert_eq!(error.retry() == Retry::AfterBackoff, is_transient, "{error}");
        }
        for code in KerberosError::TRANSIENT_CODES {
            assert!(errors.iter().any(|error| error.code() == *code), "{code}");
        }
    }
}

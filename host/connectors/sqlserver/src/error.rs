//! What can go wrong with a SQL Server, with the codes `DK-SRC-…`.
//!
//! | codes | about |
//! |---|---|
//! | 001–009 | configuration |
//! | 010–019 | the way to the server |
//! | 020–029 | certificates |
//! | 030–049 | what the server itself reported, by its number (`server_errors`) |
//! | 050–059 | columns and values |
//! | 060–069 | time and cancelling |
//! | 070–089 | a datakit's SQL and parameters |
//! | 090 | a bug of ours |
//! | 300–329 | more of what the server reported |
//! | 330–339 | SQL Server Browser, and logins that are sent on |
//! | 410–419 | changes of tables (`changes`), and what the server reports of them |

use std::borrow::Cow;
use std::fmt;

use datakit_kerberos::KerberosError;
use datakit_model::rejects::TooManyRejected;
use datakit_model::{Diagnostic, Failure, Kind, Retry};

use super::server_errors::{TICKET_LOGIN, is_of_database, is_of_login, is_throttling, meaning_of};
pub use datakit_connect::tls::CertificateProblem;
use datakit_guard::{Refusal, tsql};
use datakit_model::Fault;
pub use datakit_net::Unreachable;

/// An error that the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// SQL Server's number, as in `sys.messages`.
    pub number: u32,
    /// Severity, 11 to 25.
    pub class: u8,
    /// State: tells apart several places of one number.
    pub state: u8,
    /// The text as sent.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQL Server error {}: {}", self.number, self.message)
    }
}

impl ServerError {
    fn context(&self) -> [(String, String); 3] {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        [
            pair("sql_server_error", self.number.to_string()),
            pair("severity", self.class.to_string()),
            pair("state", self.state.to_string()),
        ]
    }
}

/// Any error of this source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A setting, or two that contradict each other.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The pinned certificate cannot be read.
    #[error("cannot use the certificate file `{path}`: {reason}")]
    CertificateFile {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// No TCP connection, or none that lasted through the login.
    #[error("cannot reach SQL Server at {address}: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// In which way.
        how: Unreachable,
        /// The system's words.
        reason: String,
    },
    /// SQL Server Browser does not say which port an instance has.
    #[error("cannot ask SQL Server Browser for the port of {address}: {reason}")]
    Browser {
        /// `host\\instance`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// SQL Server Browser answers and does not know the instance.
    #[error("{host} has no instance `{instance}`; its instances: {}", listed(known))]
    UnknownInstance {
        /// The host.
        host: String,
        /// The instance.
        instance: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// The instance has no port to connect to.
    #[error("{address} does not listen on TCP")]
    InstanceWithoutTcp {
        /// `host\\instance`.
        address: String,
    },
    /// Each server sends the login on to another one.
    #[error("the login is sent on again and again, last by {address}")]
    SentOnTooOften {
        /// `host:port`.
        address: String,
    },
    /// The connection broke after the login.
    #[error("the connection to {address} broke: {reason}")]
    Broken {
        /// `host:port`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The server sent what the protocol does not allow, or something the driver does not know.
    #[error("{address} does not speak the expected protocol: {reason}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// The driver's words.
        reason: String,
    },
    /// The server has no TLS though it is required.
    #[error("{address} offers no encryption")]
    NoEncryption {
        /// `host:port`.
        address: String,
    },
    /// The TLS handshake failed.
    #[error("the certificate of {address} was refused: {reason}")]
    Certificate {
        /// `host:port`.
        address: String,
        /// What for.
        problem: CertificateProblem,
        /// OpenSSL's words.
        reason: String,
    },
    /// No ticket to log in with.
    #[error(transparent)]
    Ticket(#[from] KerberosError),
    /// The password cannot be fetched, or was refused before.
    #[error("{0}")]
    Password(Failure),
    /// The server reported an error.
    #[error("{error}")]
    Server {
        /// What it sent.
        error: ServerError,
        /// Rows that had arrived before it.
        rows_before: u64,
    },
    /// The server read the ticket and refused whose it is.
    #[error("{0}")]
    TicketLogin(ServerError),
    /// A column type without an Arrow type.
    #[error("column `{column}` has the type {sql_type}, which cannot be represented")]
    UnsupportedType {
        /// The column.
        column: String,
        /// As the server spells it.
        sql_type: String,
    },
    /// A column without a name, or with the name of another.
    #[error("{0}")]
    ColumnName(String),
    /// A value that has no exact Arrow form.
    #[error("row {row}, column `{column}`: {reason}")]
    Value {
        /// Counted from 1 within this query.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A row over `max_row_bytes`.
    #[error(
        "row {row}: the values up to column `{column}` have {bytes} bytes, over the limit `max_row_bytes` of {limit}"
    )]
    RowTooLarge {
        /// Counted from 1 within this query.
        row: u64,
        /// The column that was too much.
        column: String,
        /// The size of the row up to there.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A value over `max_cell_bytes`.
    #[error("row {row}, column `{column}`: a value of {bytes} bytes is over the limit `max_cell_bytes` of {limit}")]
    CellTooLarge {
        /// Counted from 1 within this query.
        row: u64,
        /// The column.
        column: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The query ran into its timeout and was cancelled.
    #[error("the query was cancelled after {seconds:.1} s")]
    QueryTimeout {
        /// The bound, in seconds.
        seconds: f64,
    },
    /// No free connection in time.
    #[error("no free connection to {address} within {seconds:.1} s: all {connections} are in use")]
    PoolTimeout {
        /// `host:port`.
        address: String,
        /// The bound, in seconds.
        seconds: f64,
        /// Size of the pool.
        connections: usize,
    },
    /// A second query while a reader lives.
    #[error("this connection is still reading an earlier query")]
    Busy,
    /// The guard refused the text.
    #[error("the SQL of the datakit was refused: {0}")]
    Refused(#[from] Refusal),
    /// A parameter that is not of its type.
    #[error("parameter @P{number}: {reason}")]
    Parameter {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The query has no rows to give.
    #[error("the query returned no result set")]
    NoResult,
    /// More rows have a bad value than may be rejected.
    #[error(transparent)]
    Rejected(#[from] TooManyRejected),
    /// Something that cannot happen.
    #[error("{0}")]
    Internal(String),
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl SourceError {
    /// What a driver says of Kerberos: only its own part, the ticket was there.
    pub(super) fn of_driver_ticket(reason: String) -> Self {
        Self::Ticket(KerberosError::Library { doing: "the driver's login with a ticket", reason })
    }

    /// The error of a login with a ticket: what is refused then is no password.
    pub(super) fn of_ticket_login(self) -> Self {
        match self {
            Self::Server { error, .. } if is_of_login(error.number) => Self::TicketLogin(error),
            other => other,
        }
    }

    /// Whether the server accepted the login and refused the database.
    #[must_use]
    pub fn is_refused_database(&self) -> bool {
        matches!(self, Self::Server { error, .. } if is_of_database(error.number))
    }

    /// Whether the server refused who logs in.
    pub(super) fn is_refused_login(&self) -> bool {
        matches!(self, Self::Server { error, .. } if is_of_login(error.number))
    }

    fn certificate_code(problem: CertificateProblem) -> &'static str {
        match problem {
            CertificateProblem::Untrusted => "DK-SRC-020",
            CertificateProblem::Name => "DK-SRC-021",
            CertificateProblem::Expired => "DK-SRC-022",
            CertificateProblem::NotThePinned => "DK-SRC-023",
            CertificateProblem::Other => "DK-SRC-024",
        }
    }

    fn certificate_hint(problem: CertificateProblem) -> &'static str {
        match problem {
            CertificateProblem::Untrusted => {
                "put the issuing CA into a file and point SSL_CERT_FILE at it, or pin the server's certificate with `certificate_file`: `host doctor` shows it, and `--save-certificate FILE` saves it"
            }
            CertificateProblem::Name => {
                "use the name that the certificate carries as `server`, or set `host_name_in_certificate`"
            }
            CertificateProblem::Expired => "the server needs a new certificate; also check this machine's clock",
            CertificateProblem::NotThePinned => {
                "the server shows another certificate than `certificate_file`: if it was renewed, fetch the new one by a way you trust"
            }
            CertificateProblem::Other => "check that this is the port of SQL Server, and which TLS versions it allows",
        }
    }

    fn unreachable_code(how: Unreachable) -> &'static str {
        match how {
            Unreachable::Name => "DK-SRC-010",
            Unreachable::Refused => "DK-SRC-011",
            Unreachable::Timeout => "DK-SRC-012",
            Unreachable::Closed => "DK-SRC-013",
        }
    }

    fn unreachable_hint(how: Unreachable) -> &'static str {
        match how {
            Unreachable::Name => "check the spelling of `server` and this machine's DNS",
            Unreachable::Refused => {
                "check `port`, that TCP/IP is enabled in SQL Server's network configuration, and the firewall"
            }
            Unreachable::Timeout => "check the firewall between here and the server, or raise the connect timeout",
            Unreachable::Closed => {
                "the server closed the connection during the login: check that the port is SQL Server's and `encrypt` fits it"
            }
        }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        Self::Password(failure)
    }
}

impl Fault for SourceError {
    fn query_timeout(seconds: f64) -> Self {
        Self::QueryTimeout { seconds }
    }

    fn pool_timeout(address: String, seconds: f64, connections: usize) -> Self {
        Self::PoolTimeout { address, seconds, connections }
    }

    fn internal(what: String) -> Self {
        Self::Internal(what)
    }
}

impl Diagnostic for SourceError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Ticket(error) => return error.code(),
            Self::Rejected(error) => return error.code(),
            Self::Password(failure) => return Cow::Owned(failure.code().to_owned()),
            Self::Config { .. } => "DK-SRC-001",
            Self::CertificateFile { .. } => "DK-SRC-002",
            Self::Unreachable { how, .. } => Self::unreachable_code(*how),
            Self::Browser { .. } => "DK-SRC-330",
            Self::UnknownInstance { .. } => "DK-SRC-331",
            Self::InstanceWithoutTcp { .. } => "DK-SRC-332",
            Self::SentOnTooOften { .. } => "DK-SRC-333",
            Self::Broken { .. } => "DK-SRC-014",
            Self::Protocol { .. } => "DK-SRC-015",
            Self::Certificate { problem, .. } => Self::certificate_code(*problem),
            Self::NoEncryption { .. } => "DK-SRC-025",
            Self::Server { error, .. } => meaning_of(error.number).code,
            Self::TicketLogin(_) => TICKET_LOGIN.code,
            Self::UnsupportedType { .. } => "DK-SRC-050",
            Self::Value { .. } => "DK-SRC-051",
            Self::CellTooLarge { .. } | Self::RowTooLarge { .. } => "DK-SRC-052",
            Self::ColumnName(_) => "DK-SRC-053",
            Self::NoResult => "DK-SRC-054",
            Self::QueryTimeout { .. } => "DK-SRC-060",
            Self::PoolTimeout { .. } => "DK-SRC-061",
            Self::Refused(refusal) => refusal.code(&tsql::CODES),
            Self::Parameter { .. } => "DK-SRC-080",
            Self::Busy => "DK-SRC-081",
            Self::Internal(_) => "DK-SRC-090",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Ticket(error) => error.kind(),
            Self::Password(failure) => failure.kind(),
            Self::Config { .. }
            | Self::CertificateFile { .. }
            | Self::UnknownInstance { .. }
            | Self::PoolTimeout { .. } => Kind::User,
            Self::Server { error, .. } => meaning_of(error.number).kind,
            Self::TicketLogin(_) => TICKET_LOGIN.kind,
            Self::Refused(_) | Self::Parameter { .. } | Self::Busy | Self::ColumnName(_) | Self::NoResult => {
                Kind::Datakit
            }
            Self::Internal(_) => Kind::Internal,
            Self::Value { .. } | Self::CellTooLarge { .. } | Self::RowTooLarge { .. } | Self::Rejected(_) => Kind::Data,
            _ => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Ticket(error) => error.retry(),
            Self::Password(failure) => failure.retry(),
            Self::Server { error, .. } => meaning_of(error.number).retry,
            Self::Unreachable { how, .. } if *how != Unreachable::Name => Retry::AfterBackoff,
            Self::Browser { .. } | Self::Broken { .. } | Self::QueryTimeout { .. } | Self::PoolTimeout { .. } => {
                Retry::AfterBackoff
            }
            _ => Retry::Never,
        }
    }

    fn is_throttled(&self) -> bool {
        matches!(self, Self::Server { error, .. } if is_throttling(error.number))
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Ticket(error) => return error.hint(),
            Self::Rejected(error) => return error.hint(),
            Self::Password(failure) => return failure.hint().map(str::to_owned),
            Self::Config { hint, .. } => hint.clone(),
            Self::CertificateFile { .. } => {
                "`certificate_file` takes the server's own certificate as PEM or DER".into()
            }
            Self::Unreachable { how, .. } => Self::unreachable_hint(*how).into(),
            Self::Browser { .. } => {
                "start the service SQL Server Browser and open UDP port 1434, or give the instance's own port: `server = \"HOST,PORT\"`; SQL Server Configuration Manager shows it"
                    .into()
            }
            Self::UnknownInstance { .. } => "check the name of the instance in `server`".into(),
            Self::InstanceWithoutTcp { .. } => {
                "enable TCP/IP in SQL Server Configuration Manager, protocols of the instance, and restart the instance"
                    .into()
            }
            Self::SentOnTooOften { .. } => {
                "check READ_ONLY_ROUTING_URL and READ_ONLY_ROUTING_LIST of the availability group: they send logins in a circle".into()
            }
            Self::Broken { .. } => "the server or the network ended it: the partition is read again".into(),
            Self::Protocol { .. } => {
                "check that the port is SQL Server's; if it is, this is a bug worth reporting".into()
            }
            Self::NoEncryption { .. } => {
                "enable TLS on the server, or accept rows in clear text with `encrypt = \"off\"`".into()
            }
            Self::Certificate { problem, .. } => Self::certificate_hint(*problem).into(),
            Self::Server { error, .. } => meaning_of(error.number).hint.into(),
            Self::TicketLogin(_) => TICKET_LOGIN.hint.into(),
            Self::UnsupportedType { .. } => "exclude the column, or CAST it to a type of the type table".into(),
            Self::Value { hint, .. } => (*hint).into(),
            Self::RowTooLarge { .. } => "raise `limits.read.max_row_bytes`, or exclude some of its columns".into(),
            Self::CellTooLarge { .. } => "raise `limits.read.max_cell_bytes`, or exclude the column".into(),
            Self::ColumnName(_) => "give every column of the query a name of its own with AS".into(),
            Self::NoResult => "a query must be one SELECT".into(),
            Self::QueryTimeout { .. } => {
                "raise `timeouts.query_seconds` of the connection, and the datakit's own timeout where it is smaller, or read smaller partitions"
                    .into()
            },
            Self::PoolTimeout { .. } => {
                "lower `--parallel`, or raise `pool.max_connections` or the `max_connections` of the server".into()
            }
            Self::Refused(refusal) => refusal.hint(),
            Self::Parameter { .. } => "the forms are those of the `value` type of the WIT".into(),
            Self::Busy => "drop the reader before the next query, or open a second connection".into(),
            Self::Internal(_) => "please report it with the log of this run".into(),
        })
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Password(failure) => Some(failure),
            Self::Ticket(error) => error.handed_on(),
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Ticket(error) => error.context(),
            Self::Rejected(error) => error.context(),
            Self::Password(failure) => failure.context().to_vec(),
            Self::Server { error, rows_before } => {
                error.context().into_iter().chain([pair("rows_before", rows_before.to_string())]).collect()
            }
            Self::TicketLogin(error) => error.context().into(),
            Self::Value { row, column, .. } => vec![pair("row", row.to_string()), pair("column", column.clone())],
            Self::RowTooLarge { row, column, bytes, limit } => vec![
                pair("row", row.to_string()),
                pair("column", column.clone()),
                pair("bytes", bytes.to_string()),
                pair("max_row_bytes", limit.to_string()),
            ],
            Self::CellTooLarge { row, column, bytes, limit } => vec![
                pair("row", row.to_string()),
                pair("column", column.clone()),
                pair("bytes", bytes.to_string()),
                pair("max_cell_bytes", limit.to_string()),
            ],
            Self::UnsupportedType { column, sql_type } => {
                vec![pair("column", column.clone()), pair("type", sql_type.clone())]
            }
            Self::Refused(refusal) => refusal.context(),
            _ => Vec::new(),
        }
    }
}

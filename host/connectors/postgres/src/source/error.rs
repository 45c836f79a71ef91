//! What can go wrong with a PostgreSQL server, with the codes `DK-SRC-1…`.
//!
//! | codes | about |
//! |---|---|
//! | 101–109 | configuration |
//! | 110–119 | the way to the server |
//! | 120–129 | certificates |
//! | 130–149 | what the server itself reported, by its SQLSTATE (`server_errors`) |
//! | 150–159 | columns and values |
//! | 160–169 | time, the pool, the snapshot |
//! | 170–189 | a datakit's SQL and parameters |
//! | 190 | a bug of ours |
//! | 360–389 | more of tables and the snapshot, row-level security, replicas, poolers |
//! | 430–449 | changes by logical decoding ([`LogicalError`]) |

use std::borrow::Cow;
use std::error::Error as _;

use datakit_model::rejects::TooManyRejected;
use datakit_model::{Diagnostic, Failure, Fault, Kind, Retry, TableId};

use super::changes::logical::LogicalError;
use super::config::PostgresConfig;
use super::server_errors::{is_of_login, is_throttling, meaning_of};
use crate::wire::Trouble;
use datakit_connect::permissions::ROW_SECURITY_HINT;
pub use datakit_connect::tls::CertificateProblem;
pub use datakit_guard::Refusal;
use datakit_guard::postgres as guard;
pub use datakit_net::Unreachable;

/// Any error of this source.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// A setting, or two that contradict each other.
    #[error("{message}")]
    Config {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The file of certificates cannot be read.
    #[error("cannot use the certificate file `{path}`: {reason}")]
    CertificateFile {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// No connection, or none that lasted through the login.
    #[error("cannot reach PostgreSQL at {address}: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// In which way.
        how: Unreachable,
        /// The system's words.
        reason: String,
    },
    /// The connection broke after the login.
    #[error("the connection to {address} broke: {reason}")]
    Broken {
        /// `host:port`.
        address: String,
        /// The driver's words.
        reason: String,
    },
    /// The server sent what the protocol does not allow.
    #[error("{address} does not speak the expected protocol: {reason}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// What was unexpected.
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
    /// The server asks for a password, and none is configured.
    #[error("{address} asks for a password, and the connection has none")]
    NoPassword {
        /// `host:port`.
        address: String,
    },
    /// The database is there, and not for this role.
    #[error("`{user}` may not connect to the database `{database}`")]
    NoDatabaseAccess {
        /// The role.
        user: String,
        /// The database.
        database: String,
    },
    /// The server reported an error.
    #[error("PostgreSQL error {state}: {message}")]
    Server {
        /// SQLSTATE: five characters.
        state: String,
        /// The text as sent, without its detail, which may quote rows.
        message: String,
        /// Rows that had arrived before it.
        rows_before: u64,
    },
    /// A column type that is not read.
    #[error("column `{column}` has the type {sql_type}, which is not read as it is")]
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
    /// The session that kept the run's snapshot is gone.
    #[error("the snapshot of this run is lost: {reason}")]
    SnapshotLost {
        /// What is known of it.
        reason: String,
        /// The server is a replica, whose conflicts end such sessions.
        on_replica: bool,
    },
    /// A table was emptied, rewritten, replaced or dropped after the snapshot: its rows of that snapshot cannot be read any more.
    #[error(
        "{table} was emptied, rewritten, replaced or dropped after this run's snapshot, which cannot see its rows any more"
    )]
    TableChanged {
        /// The table: the one that is read, or one that it is made of.
        table: TableId,
    },
    /// Row-level security would leave out rows.
    #[error("row-level security would leave out rows: {message}")]
    RowSecurity {
        /// The server's words, with the table's name.
        message: String,
    },
    /// A replica ended the query, since it was in the way of changes of the primary.
    #[error("the server is a replica and ended the query for a change of its primary: {message}")]
    ReplicaConflict {
        /// The server's words.
        message: String,
        /// Rows that had arrived before it.
        rows_before: u64,
    },
    /// A statement that the driver keeps for a connection is not in this session.
    #[error("a prepared statement of the driver is not the one of this session (SQLSTATE {state})")]
    StatementForgotten {
        /// SQLSTATE.
        state: String,
    },
    /// A second query while a reader lives.
    #[error("this connection is still reading an earlier query")]
    Busy,
    /// The guard refused the text.
    #[error("the SQL of the datakit was refused: {0}")]
    Refused(#[from] Refusal),
    /// A parameter that is not of its type, or of one that PostgreSQL does not have.
    #[error("parameter ${number}: {reason}")]
    Parameter {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
    /// The query has no rows to give.
    #[error("the query returned no result set")]
    NoResult,
    /// The strategy `logical` cannot be used, or not now.
    #[error(transparent)]
    Logical(#[from] LogicalError),
    /// The password cannot be fetched, or was refused before.
    #[error("{0}")]
    Password(Failure),
    /// More rows have a bad value than may be rejected.
    #[error(transparent)]
    Rejected(#[from] TooManyRejected),
    /// Something that cannot happen.
    #[error("{0}")]
    Internal(String),
}

/// What keeps a replica from ending queries.
const REPLICA_HINT: &str = "set `hot_standby_feedback = on` on the replica, so that the primary keeps the rows that a query \
    needs; or raise the replica's `max_standby_streaming_delay` (`max_standby_archive_delay` for one that reads archives); or \
    read from the primary";

impl PostgresError {
    /// Whether the server refused who logs in.
    pub(super) fn is_refused_login(&self) -> bool {
        matches!(self, Self::Server { state, .. } if is_of_login(state))
    }

    /// What the driver says to a query.
    pub(super) fn of_query(config: &PostgresConfig, error: tokio_postgres::Error, rows_before: u64) -> Self {
        if let Some(db) = error.as_db_error() {
            let (state, message) = (db.code().code().to_owned(), db.message().to_owned());
            // Two states have several causes: the function of the server that reports them tells them apart.
            return match (state.as_str(), db.routine()) {
                ("42501", Some("check_enable_rls")) => Self::RowSecurity { message },
                // By its name since version 17, and before.
                ("40001", Some("ProcessRecoveryConflictInterrupt" | "ProcessInterrupts")) => {
                    Self::ReplicaConflict { message, rows_before }
                }
                _ => Self::Server { state, message, rows_before },
            };
        }
        let reason = match error.source() {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        };
        Self::Broken { address: config.address(), reason }
    }

    /// What the driver says to a login.
    pub(super) fn of_login(config: &PostgresConfig, error: tokio_postgres::Error) -> Self {
        let address = config.address();
        if error.as_db_error().is_some() {
            if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) {
                return Self::NoDatabaseAccess {
                    user: config.server.user.clone(),
                    database: config.server.database.clone(),
                };
            }
            return Self::of_query(config, error, 0);
        }
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        // The driver tells these kinds apart in its text only.
        let text = error.to_string();
        if cause.contains("password missing") || text.contains("password missing") {
            Self::NoPassword { address }
        } else if cause.contains("server does not support TLS") {
            Self::NoEncryption { address }
        } else if text.contains("TLS handshake") {
            Self::Certificate {
                address,
                problem: datakit_connect::tls::problem(&cause),
                reason: datakit_connect::tls::plain(&cause),
            }
        } else {
            let reason = format!("the connection was closed, or no answer came, during the login: {cause}");
            Self::Unreachable { address, how: Unreachable::Closed, reason }
        }
    }

    /// Why there is no way to the server.
    pub(super) fn no_way(config: &PostgresConfig, trouble: Trouble) -> Self {
        let address = config.address();
        match trouble {
            Trouble::Unreachable { how, reason } => Self::Unreachable { address, how, reason },
            Trouble::CertificateFile { path, reason } => Self::CertificateFile { path, reason },
            Trouble::Tls(error) => {
                Self::Certificate { address, problem: CertificateProblem::Other, reason: error.to_string() }
            }
        }
    }

    fn certificate_code(problem: CertificateProblem) -> &'static str {
        match problem {
            CertificateProblem::Untrusted => "DK-SRC-120",
            CertificateProblem::Name => "DK-SRC-121",
            CertificateProblem::Expired => "DK-SRC-122",
            CertificateProblem::NotThePinned | CertificateProblem::Other => "DK-SRC-124",
        }
    }

    fn certificate_hint(problem: CertificateProblem) -> &'static str {
        match problem {
            CertificateProblem::Untrusted => {
                "name the issuing CA's file in `certificate_file`, or in SSL_CERT_FILE; `host doctor` shows the certificate that the server presents"
            }
            CertificateProblem::Name => "use the name that the certificate carries as `host`",
            CertificateProblem::Expired => "the server needs a new certificate; also check this machine's clock",
            CertificateProblem::NotThePinned | CertificateProblem::Other => {
                "check that this is the port of PostgreSQL, and which TLS versions it allows"
            }
        }
    }

    fn unreachable_code(how: Unreachable) -> &'static str {
        match how {
            Unreachable::Name => "DK-SRC-110",
            Unreachable::Refused => "DK-SRC-111",
            Unreachable::Timeout => "DK-SRC-112",
            Unreachable::Closed => "DK-SRC-113",
        }
    }

    fn unreachable_hint(how: Unreachable) -> &'static str {
        match how {
            Unreachable::Name => "check the spelling of `host` and this machine's DNS",
            Unreachable::Refused => "check `port`, the server's `listen_addresses`, and the firewall",
            Unreachable::Timeout => "check the firewall between here and the server, or raise the connect timeout",
            Unreachable::Closed => "check that the port is PostgreSQL's and `encrypt` fits it",
        }
    }
}

impl From<Failure> for PostgresError {
    fn from(failure: Failure) -> Self {
        Self::Password(failure)
    }
}

impl Fault for PostgresError {
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

impl Diagnostic for PostgresError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Password(failure) => return Cow::Owned(failure.code().to_owned()),
            Self::Logical(error) => return error.code(),
            Self::Rejected(error) => return error.code(),
            Self::Config { .. } => "DK-SRC-101",
            Self::CertificateFile { .. } => "DK-SRC-102",
            Self::Unreachable { how, .. } => Self::unreachable_code(*how),
            Self::Broken { .. } => "DK-SRC-114",
            Self::Protocol { .. } => "DK-SRC-115",
            Self::NoPassword { .. } => "DK-SRC-116",
            Self::Certificate { problem, .. } => Self::certificate_code(*problem),
            Self::NoEncryption { .. } => "DK-SRC-125",
            Self::NoDatabaseAccess { .. } => "DK-SRC-131",
            Self::Server { state, .. } => meaning_of(state).code,
            Self::UnsupportedType { .. } => "DK-SRC-150",
            Self::Value { .. } => "DK-SRC-151",
            Self::CellTooLarge { .. } | Self::RowTooLarge { .. } => "DK-SRC-152",
            Self::ColumnName(_) => "DK-SRC-153",
            Self::NoResult => "DK-SRC-154",
            Self::QueryTimeout { .. } => "DK-SRC-160",
            Self::PoolTimeout { .. } => "DK-SRC-161",
            Self::SnapshotLost { .. } => "DK-SRC-162",
            Self::TableChanged { .. } => "DK-SRC-360",
            Self::RowSecurity { .. } => "DK-SRC-361",
            Self::ReplicaConflict { .. } => "DK-SRC-362",
            Self::StatementForgotten { .. } => "DK-SRC-363",
            Self::Refused(refusal) => refusal.code(&guard::CODES),
            Self::Parameter { .. } => "DK-SRC-180",
            Self::Busy => "DK-SRC-181",
            Self::Internal(_) => "DK-SRC-190",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Config { .. }
            | Self::CertificateFile { .. }
            | Self::PoolTimeout { .. }
            | Self::NoPassword { .. }
            | Self::NoDatabaseAccess { .. } => Kind::User,
            Self::Server { state, .. } => meaning_of(state).kind,
            Self::Refused(_) | Self::Parameter { .. } | Self::Busy | Self::ColumnName(_) | Self::NoResult => {
                Kind::Datakit
            }
            Self::Password(failure) => failure.kind(),
            Self::Logical(error) => error.kind(),
            Self::Internal(_) => Kind::Internal,
            Self::Value { .. } | Self::CellTooLarge { .. } | Self::RowTooLarge { .. } | Self::Rejected(_) => Kind::Data,
            _ => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Password(failure) => failure.retry(),
            Self::Logical(error) => error.retry(),
            Self::Server { state, .. } => meaning_of(state).retry,
            Self::Unreachable { how, .. } if *how != Unreachable::Name => Retry::AfterBackoff,
            Self::Broken { .. }
            | Self::QueryTimeout { .. }
            | Self::PoolTimeout { .. }
            | Self::ReplicaConflict { .. }
            | Self::StatementForgotten { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn is_throttled(&self) -> bool {
        matches!(self, Self::Server { state, .. } if is_throttling(state))
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Password(failure) => return failure.hint().map(str::to_owned),
            Self::Logical(error) => return error.hint(),
            Self::Rejected(error) => return error.hint(),
            Self::Config { hint, .. } => hint.clone(),
            Self::CertificateFile { .. } => "`certificate_file` takes one or more certificates as PEM".into(),
            Self::Unreachable { how, .. } => Self::unreachable_hint(*how).into(),
            Self::Broken { .. } => "the server or the network ended it: the partition is read again".into(),
            Self::Protocol { .. } => {
                "check that the port is PostgreSQL's; if it is, this is a bug worth reporting".into()
            }
            Self::NoPassword { .. } => "set `password = { env = \"NAME\" }`".into(),
            Self::NoEncryption { .. } => {
                "enable TLS on the server, or accept rows in clear text with `encrypt = \"off\"`".into()
            }
            Self::Certificate { problem, .. } => Self::certificate_hint(*problem).into(),
            Self::NoDatabaseAccess { user, database } => {
                let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
                format!("GRANT CONNECT ON DATABASE {} TO {}", quoted(database), quoted(user))
            }
            Self::Server { state, .. } => meaning_of(state).hint.into(),
            Self::UnsupportedType { .. } => {
                "exclude the column, or let the query cast it to a type of the type table, such as text".into()
            }
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
            Self::SnapshotLost { on_replica: true, .. } => format!("{REPLICA_HINT}; then run again"),
            Self::SnapshotLost { .. } => {
                "run again; for a server that ends long transactions set the datakit's `isolation` to `read_committed`"
                    .into()
            }
            Self::TableChanged { .. } => {
                "run again with the same `--run-id` when nothing truncates, swaps or rewrites the table (TRUNCATE, VACUUM FULL, \
                 CLUSTER, REFRESH MATERIALIZED VIEW, ALTER TABLE, dbt); or set the datakit's `isolation` to `read_committed`, \
                 which reads each table as it is by then"
                    .into()
            }
            Self::RowSecurity { .. } => ROW_SECURITY_HINT.into(),
            Self::ReplicaConflict { .. } => REPLICA_HINT.into(),
            Self::StatementForgotten { .. } => {
                "a pooler between here and the server mixes up prepared statements: check its `max_prepared_statements`, \
                 or connect to the server itself"
                    .into()
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
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::TableChanged { table } => vec![pair("table", table.to_string())],
            Self::ReplicaConflict { rows_before, .. } => vec![pair("rows_before", rows_before.to_string())],
            Self::Server { state, rows_before, .. } => {
                vec![pair("sqlstate", state.clone()), pair("rows_before", rows_before.to_string())]
            }
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
            Self::Logical(error) => error.context(),
            Self::Rejected(error) => error.context(),
            _ => Vec::new(),
        }
    }
}

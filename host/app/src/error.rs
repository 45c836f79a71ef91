//! What can go wrong in the application itself.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::PathBuf;

use datakit_model::{Diagnostic, Kind, Retry};

/// An error of the application, or of the files around it.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no folder to keep things in.
    #[error("there is no folder for {what}: neither HOME nor {variable} is set")]
    NoFolder {
        /// What would be kept there.
        what: &'static str,
        /// The variable that names it.
        variable: &'static str,
    },
    /// A file that a request names cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that a request names cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `--locked` with a component of a file.
    #[error("{} is a file, which datakits.lock does not pin", path.display())]
    FileNotLocked {
        /// The file.
        path: PathBuf,
    },
    /// A lock without a datakit, and the configuration names none.
    #[error("there is nothing to lock")]
    NothingToLock,
    /// A lock of a digest, which is pinned by itself.
    #[error("`{reference}` names a digest: it needs no pin")]
    PinnedByItself {
        /// What was asked for.
        reference: String,
    },
    /// A registry that cannot list its datakits.
    #[error("{location} cannot tell which datakits it has")]
    CannotList {
        /// The registry.
        location: String,
    },
    /// The work was stopped by its token.
    #[error("stopped before the end")]
    Stopped,
    /// A panic.
    #[error("this program crashed: {message}")]
    Crashed {
        /// The panic's message and place.
        message: String,
    },
    /// A table whose state was asked for has none.
    #[error("the sink `{sink}` has no state of {table}")]
    NoState {
        /// Source system and table.
        table: String,
        /// The sink.
        sink: String,
    },
    /// A run that was asked for has no record.
    #[error("no sink has a record of the run `{run_id}`")]
    NoRun {
        /// The run.
        run_id: String,
    },
    /// A record is not a document that this release reads.
    #[error("the record of run `{run_id}`, ingest `{ingest}`, cannot be read")]
    InvalidRecord {
        /// The run.
        run_id: String,
        /// The ingest.
        ingest: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A connection may not be read at this time of the day.
    #[error("`{connection}` may be read from {hours} in {time_zone}, where it is {now}")]
    OutsideHours {
        /// The connection.
        connection: String,
        /// The span.
        hours: String,
        /// Its time zone.
        time_zone: String,
        /// The time there.
        now: String,
    },
    /// An event of OpenLineage was not delivered.
    #[error("cannot report to {place}: {message}")]
    Lineage {
        /// A URL or a file.
        place: String,
        /// Why.
        message: String,
    },
    /// A query got no turn.
    #[error("a query of `{connection}` waited {seconds} s for its turn: at most {max_queries} are read at one time")]
    NoTurn {
        /// The connection.
        connection: String,
        /// The bound.
        max_queries: u64,
        /// How long it waited, in seconds.
        seconds: u64,
    },
    /// The health endpoint cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A question of the health endpoint takes too long.
    #[error("`{name}` has not answered within {seconds} s")]
    NoAnswer {
        /// The connection or sink.
        name: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// Nothing is configured that could be looked at.
    #[error("there is no connection and no sink")]
    NothingToCheck,
    /// A server's certificate was to be saved, and cannot be had.
    #[error("the certificate of {address} cannot be read")]
    NoCertificate {
        /// The server.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no warehouse file, and the environment configures nothing.
    #[error("there is no warehouse.toml here, and no variable that names a connection or a sink")]
    NoWarehouseFile,
}

impl Diagnostic for AppError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::NoFolder { .. } => "DK-CLI-002",
            Self::Read { .. } => "DK-CLI-003",
            Self::Write { .. } => "DK-CLI-004",
            Self::NothingToLock => "DK-CLI-007",
            Self::PinnedByItself { .. } => "DK-CLI-008",
            Self::CannotList { .. } => "DK-CLI-009",
            Self::Stopped => "DK-CLI-010",
            Self::Crashed { .. } => "DK-CLI-012",
            Self::NoWarehouseFile => "DK-CLI-015",
            Self::NoCertificate { .. } => "DK-CLI-016",
            Self::FileNotLocked { .. } => "DK-CLI-018",
            Self::NoState { .. } => "DK-CLI-020",
            Self::NoRun { .. } => "DK-CLI-030",
            Self::InvalidRecord { .. } => "DK-CLI-031",
            Self::OutsideHours { .. } => "DK-RUN-030",
            Self::NoTurn { .. } => "DK-RUN-031",
            Self::Lineage { .. } => "DK-RUN-032",
            Self::Listen { .. } => "DK-CLI-040",
            Self::NoAnswer { .. } => "DK-CLI-041",
            Self::NothingToCheck => "DK-CLI-042",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Crashed { .. } => Kind::Internal,
            Self::InvalidRecord { .. } => Kind::Sink,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Stopped | Self::OutsideHours { .. } => Retry::NextRun,
            Self::NoAnswer { .. } | Self::Lineage { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Stopped | Self::PinnedByItself { .. } => return None,
            Self::NoFolder { variable, .. } => format!("set {variable} to a folder"),
            Self::Read { source, .. } => match source.kind() {
                ErrorKind::NotFound => {
                    "check the path; a published datakit is named NAME@VERSION, for example sqlserver-bronze@0.1.0".into()
                }
                ErrorKind::IsADirectory => "name the .wasm file in it".into(),
                _ => "check the path and who may read it".into(),
            },
            Self::Write { .. } => "check the path, who may write there, and the space left".into(),
            Self::FileNotLocked { .. } => {
                "run without --locked, or publish the file with `host publish`, pin it with `host lock` and name it NAME@VERSION".into()
            }
            Self::NothingToLock => {
                "name a datakit, for example `host lock sqlserver-bronze@0.1.0`, or have an [[ingest]] in the file"
                    .into()
            }
            Self::CannotList { .. } => "name a datakit: `host list NAME`".into(),
            Self::NoState { .. } => "`host state list` shows the tables that have one".into(),
            Self::OutsideHours { connection, .. } => format!(
                "run again in these hours, or change `protection.allowed_hours` of the connection `{connection}`"
            ),
            Self::NoTurn { .. } => {
                "raise `protection.max_queries`, if the datakit reads more than one query at one time; else find the query that does not end".into()
            }
            Self::Lineage { .. } => "check `[lineage]` of the warehouse file; tables are loaded whether or not it is reported".into(),
            Self::NoRun { .. } => "`host runs list` shows the runs that have one".into(),
            Self::InvalidRecord { .. } => {
                "a later release may have written it; a record that is damaged can be deleted: no load depends on it".into()
            }
            Self::Listen { .. } => "give another address; port 0 takes a free port".into(),
            Self::NoAnswer { .. } => "it is asked still: ask again; `host doctor` says at which link it hangs".into(),
            Self::NoCertificate { .. } => {
                "`host doctor` without --save-certificate says at which link the way to the server breaks".into()
            }
            Self::NoWarehouseFile => {
                "run in the folder of the warehouse.toml, or name the file with --config; README.md shows one".into()
            }
            Self::NothingToCheck => {
                "write a warehouse.toml, name one with --config, or set MSSQL_SERVER and its like, or BRONZE_URI".into()
            }
            Self::Crashed { .. } => "please report it, with the command and the log of -vv".into(),
        })
    }
}

//! What can go wrong with the strategy `logical`: `DK-SRC-430` to 449.

use std::borrow::Cow;

use datakit_model::{Diagnostic, Kind, Retry, TableId};

/// Any error of logical decoding that is not the server's alone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LogicalError {
    /// The connection names no slot and no publication.
    #[error("the strategy `logical` needs a replication slot and a publication, and the connection names none")]
    NotConfigured,
    /// The server or its role is not set up for it.
    #[error("the strategy `logical` cannot be used: {0}")]
    UnfitServer(String),
    /// The server, its role or the table is not set up for it.
    #[error("the strategy `logical` cannot read {table}: {reason}")]
    Unfit {
        /// The table.
        table: TableId,
        /// Why not.
        reason: String,
    },
    /// Somebody else reads the slot.
    #[error("the replication slot `{slot}` is in use: {message}")]
    SlotInUse {
        /// The slot.
        slot: String,
        /// The server's words.
        message: String,
    },
    /// The role may not log in for replication, or may not use slots.
    #[error("`{user}` may not use replication slots: {message}")]
    NoReplication {
        /// The role.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The server waited too long for transactions that are open.
    #[error(
        "the replication slot `{slot}` was not made within {seconds:.0} s: the server waits for transactions that are open"
    )]
    SlotWaits {
        /// The slot.
        slot: String,
        /// The bound, in seconds.
        seconds: f64,
    },
    /// One transaction alone is more than may be kept.
    #[error("one transaction has {bytes} bytes of changes, over the limit `max_spooled_bytes` of {limit}")]
    TransactionTooLarge {
        /// Bytes so far.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file that keeps changes cannot be written or read.
    #[error("changes cannot be kept in a temporary file: {0}")]
    Spool(String),
    /// `xmin` is not a version of rows.
    #[error(
        "PostgreSQL has no version of rows: `xmin` starts again after four billion transactions, is given at the first write and \
         not at the commit, and changes when a table is rewritten"
    )]
    RowVersion,
    /// Rows of a first copy that are of another moment than its position.
    #[error("the rows of the first copy of {table} are not of the snapshot that its position belongs to")]
    OtherSnapshot {
        /// The table.
        table: TableId,
    },
    /// A span ends behind what one run may keep.
    #[error("the changes up to {upper} are more than the limit `max_spooled_bytes` lets one run keep")]
    Unreached {
        /// Where the span ends.
        upper: String,
    },
}

impl Diagnostic for LogicalError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotConfigured => "DK-SRC-430",
            Self::UnfitServer(_) | Self::Unfit { .. } => "DK-SRC-431",
            Self::SlotInUse { .. } => "DK-SRC-432",
            Self::NoReplication { .. } => "DK-SRC-433",
            Self::SlotWaits { .. } => "DK-SRC-434",
            Self::TransactionTooLarge { .. } => "DK-SRC-435",
            Self::Spool(_) => "DK-SRC-436",
            Self::RowVersion => "DK-SRC-437",
            Self::OtherSnapshot { .. } => "DK-SRC-438",
            Self::Unreached { .. } => "DK-SRC-439",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotConfigured | Self::RowVersion | Self::TransactionTooLarge { .. } | Self::Unreached { .. } => {
                Kind::User
            }
            Self::OtherSnapshot { .. } => Kind::Datakit,
            Self::Spool(_) => Kind::Internal,
            Self::UnfitServer(_)
            | Self::Unfit { .. }
            | Self::SlotInUse { .. }
            | Self::NoReplication { .. }
            | Self::SlotWaits { .. } => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::SlotInUse { .. } | Self::SlotWaits { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotConfigured => {
                "set `slot` and `publication` of the connection; or choose another strategy of docs/changes.md"
                    .to_owned()
            }
            Self::UnfitServer(_) | Self::Unfit { .. } => {
                "docs/changes.md says what `logical` needs; or choose another strategy".to_owned()
            }
            Self::SlotInUse { .. } => {
                "another run, or another program, reads the slot: give each reader a slot of its own".to_owned()
            }
            Self::NoReplication { user, .. } => {
                format!("ALTER ROLE \"{}\" REPLICATION", user.replace('"', "\"\""))
            }
            Self::SlotWaits { .. } => {
                "end the oldest transaction of pg_stat_activity, or raise `timeouts.query_seconds` of the connection"
                    .to_owned()
            }
            Self::TransactionTooLarge { .. } | Self::Unreached { .. } => {
                "raise `limits.read.max_spooled_bytes`".to_owned()
            }
            Self::Spool(_) => {
                "check the space and the permissions of the folder for temporary files (TMPDIR)".to_owned()
            }
            Self::RowVersion => "choose `logical`, or `watermark` with a column that each write sets".to_owned(),
            Self::OtherSnapshot { .. } => {
                "read the parts of a first copy in the run that opened it, with the isolation `snapshot`".to_owned()
            }
        })
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Unfit { table, .. } | Self::OtherSnapshot { table } => vec![pair("table", table.to_string())],
            Self::SlotInUse { slot, .. } | Self::SlotWaits { slot, .. } => vec![pair("slot", slot.clone())],
            Self::TransactionTooLarge { bytes, limit } => {
                vec![pair("bytes", bytes.to_string()), pair("max_spooled_bytes", limit.to_string())]
            }
            _ => Vec::new(),
        }
    }
}

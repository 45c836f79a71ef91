//! Isolation levels of a session.
//!
//! Source: "SET TRANSACTION ISOLATION LEVEL (Transact-SQL)".

/// An isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the variants are SQL Server's own names")]
pub enum Isolation {
    ReadUncommitted,
    #[default]
    ReadCommitted,
    RepeatableRead,
    Serializable,
    Snapshot,
}

impl Isolation {
    /// As T-SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
            Self::Snapshot => "SNAPSHOT",
        }
    }

    /// By its number in a transaction manager request (MS-TDS 2.2.7.17); `None` for 0, which leaves it as it is.
    pub fn from_wire(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::ReadUncommitted,
            2 => Self::ReadCommitted,
            3 => Self::RepeatableRead,
            4 => Self::Serializable,
            5 => Self::Snapshot,
            _ => return None,
        })
    }

    /// Whether all statements of a transaction see the state of its first data access. Real REPEATABLE READ and
    /// SERIALIZABLE transactions reach the same by locks.
    pub fn keeps_first_state(self) -> bool {
        matches!(self, Self::RepeatableRead | Self::Serializable | Self::Snapshot)
    }
}

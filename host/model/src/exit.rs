//! Exit codes: one table for every command, and which code counts where several apply.

use crate::failure::{Kind, Nature, Retry};

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Everything that was asked for is done.
    Done,
    /// The same command fails again until somebody changes something.
    Permanent,
    /// A bug in the host.
    Bug,
    /// Some tables are committed, others are not.
    Partial,
    /// The same command may succeed later, unchanged.
    Transient,
    /// A receipt or a reconciliation does not match.
    Mismatch,
}

impl Exit {
    /// The table, by code: what each code means.
    pub const TABLE: [(Self, &'static str); 6] = [
        (Self::Done, "done"),
        (Self::Permanent, "permanent failure: something must change, and the message says what"),
        (Self::Bug, "a bug in the host"),
        (Self::Partial, "some tables are committed, and others failed or were stopped"),
        (Self::Transient, "transient failure, or stopped before a commit: the same run may succeed later"),
        (Self::Mismatch, "a receipt or a reconciliation does not match"),
    ];

    /// The exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Permanent => 1,
            Self::Bug => 2,
            Self::Partial => 3,
            Self::Transient => 4,
            Self::Mismatch => 5,
        }
    }

    /// What a failure of this kind means by itself.
    #[must_use]
    pub fn of(kind: Kind, retry: Retry) -> Self {
        match Nature::of(kind, retry) {
            Nature::Bug => Self::Bug,
            Nature::Transient => Self::Transient,
            Nature::Permanent | Nature::Data => Self::Permanent,
        }
    }

    /// The one that counts where both apply: the first of 2, 5, 3, 1, 4, 0.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Bug => 0,
            Self::Mismatch => 1,
            Self::Partial => 2,
            Self::Permanent => 3,
            Self::Transient => 4,
            Self::Done => 5,
        };
        if rank(other) < rank(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        let codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn of_several_the_first_of_2_5_3_1_4_counts() {
        let order = [Exit::Bug, Exit::Mismatch, Exit::Partial, Exit::Permanent, Exit::Transient, Exit::Done];
        for (at, first) in order.iter().enumerate() {
            for later in &order[at..] {
                assert_eq!((first.or(*later), later.or(*first)), (*first, *first));
            }
        }
    }

    #[test]
    fn a_failure_is_transient_where_the_same_run_may_succeed_later() {
        assert_eq!(Exit::of(Kind::Source, Retry::AfterBackoff), Exit::Transient);
        assert_eq!(Exit::of(Kind::User, Retry::NextRun), Exit::Transient);
        assert_eq!(Exit::of(Kind::Sink, Retry::Never), Exit::Permanent);
        assert_eq!(Exit::of(Kind::Data, Retry::Never), Exit::Permanent);
        assert_eq!(Exit::of(Kind::Internal, Retry::AfterBackoff), Exit::Bug);
    }
}

//! What the host writes around a datakit's query.

use std::fmt::Write as _;
use std::time::Duration;

use datakit_model::TableId;
use datakit_model::source::Isolation;

use super::config::RowSecurity;

/// What every transaction begins with. Names without a schema mean the system's own, whatever the role's `search_path` says; a
/// string holds no escapes; values that become text do so in one way.
///
/// All of it ends with the transaction: behind a pooler the next transaction of a session may be somebody else's.
const SETTINGS: &str = "\
SET LOCAL search_path = pg_catalog; \
SET LOCAL standard_conforming_strings = on; \
SET LOCAL TimeZone = 'UTC'; \
SET LOCAL DateStyle = 'ISO, YMD'; \
SET LOCAL IntervalStyle = 'iso_8601'; \
SET LOCAL bytea_output = 'hex'; \
SET LOCAL extra_float_digits = 1; \
SET LOCAL xmloption = 'content'";

/// Names without a schema mean the system's own.
pub(super) const SYSTEM_PATH: &str = "SET LOCAL search_path = pg_catalog";
/// Names without a schema mean what they mean to the role: functions that views call may depend on it.
pub(super) const ROLE_PATH: &str = "SET LOCAL search_path TO DEFAULT";

/// Nothing may end the transaction that keeps a snapshot but the run: a role's timeouts are for people who forget to commit.
const NO_TIMEOUTS: &str = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0";

/// The snapshot that a query's transaction reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionSnapshot<'a> {
    /// The snapshot of this name.
    Shared(&'a str),
    /// Its own, at this level.
    Own(Isolation),
}

/// What holds in one transaction besides [`SETTINGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transaction<'a> {
    pub(super) run_id: &'a str,
    pub(super) snapshot: TransactionSnapshot<'a>,
    pub(super) row_security: RowSecurity,
    /// Processes the server may use for a query.
    pub(super) max_parallelism: Option<u16>,
    /// The longest wait for a lock; none: no bound.
    pub(super) lock_timeout: Option<Duration>,
}

impl<'a> Transaction<'a> {
    /// One of its own snapshot, for questions of the host.
    pub(super) fn own(run_id: &'a str, isolation: Isolation, row_security: RowSecurity) -> Self {
        Self {
            run_id,
            snapshot: TransactionSnapshot::Own(isolation),
            row_security,
            max_parallelism: None,
            lock_timeout: None,
        }
    }

    /// Begins it; it can only read.
    pub(super) fn begin(&self) -> String {
        let mut text = comment(self.run_id);
        // Writing to a String cannot fail.
        let _ = match self.snapshot {
            TransactionSnapshot::Shared(snapshot) => write!(
                text,
                " BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '{}'",
                snapshot.replace('\'', "''")
            ),
            TransactionSnapshot::Own(isolation) => {
                write!(text, " BEGIN ISOLATION LEVEL {}, READ ONLY", level(isolation))
            }
        };
        let _ = write!(text, "; {SETTINGS}; SET LOCAL row_security = {}", self.row_security.word());
        if let Some(processes) = self.max_parallelism {
            // One of them leads and is no worker.
            let _ = write!(text, "; SET LOCAL max_parallel_workers_per_gather = {}", processes.saturating_sub(1));
        }
        if let Some(timeout) = self.lock_timeout {
            let _ = write!(text, "; SET LOCAL lock_timeout = {}", timeout.as_millis());
        }
        text
    }

    /// Begins one that stays open while others use its snapshot.
    pub(super) fn begin_and_keep(&self) -> String {
        format!("{}; {NO_TIMEOUTS}", self.begin())
    }
}

fn level(isolation: Isolation) -> &'static str {
    match isolation {
        // The server has no dirty reads: it treats the one as the other.
        Isolation::ReadUncommitted | Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead | Isolation::Snapshot => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

/// The copy of a query's rows. `query` comes from the guard, without a closing semicolon or a comment that could swallow what
/// follows.
pub(super) fn copy(run_id: &str, query: &str) -> String {
    format!("{}\nCOPY (\n{query}\n) TO STDOUT (FORMAT binary)", comment(run_id))
}

/// Takes the locks of a query without running it.
pub(super) fn explain(run_id: &str, query: &str) -> String {
    format!("{}\nEXPLAIN (COSTS off)\n{query}", comment(run_id))
}

/// A name in quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's two names, in quotes.
pub(super) fn quote_table(table: &TableId) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// A text as a literal: nothing in it ends it, since the session has `standard_conforming_strings`.
pub(super) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A run's id comes from the command line: nothing in it may end the comment.
pub(super) fn comment(run_id: &str) -> String {
    format!("/* datakit run {} */", datakit_connect::config::comment_safe(run_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_only_read_and_set_nothing_that_outlives_them() {
        let shared = Transaction {
            snapshot: TransactionSnapshot::Shared("00000003-0000001B-1"),
            lock_timeout: Some(Duration::from_secs(10)),
            ..Transaction::own("run-1", Isolation::Snapshot, RowSecurity::Refuse)
        };
        let own = Transaction {
            max_parallelism: Some(4),
            ..Transaction::own("*/ DROP TABLE x --\n", Isolation::ReadUncommitted, RowSecurity::Filter)
        };
        insta::assert_snapshot!(format!("{}\n{}", shared.begin(), own.begin_and_keep()).replace("; ", ";\n"));
        for text in [shared.begin(), own.begin_and_keep()] {
            let settings = text.matches("SET ").count() - text.matches("SET TRANSACTION SNAPSHOT").count();
            assert_eq!(text.matches("SET LOCAL ").count(), settings, "{text}");
        }
    }

    #[test]
    fn the_query_stands_on_its_own_lines() {
        insta::assert_snapshot!(copy("r", "SELECT a\nFROM s.t"), @r"
        /* datakit run r */
        COPY (
        SELECT a
        FROM s.t
        ) TO STDOUT (FORMAT binary)
        ");
        assert_eq!(quote_table(&TableId::new("a.b", "c\"d")), "\"a.b\".\"c\"\"d\"");
    }
}

//! What the host writes around a datakit's query.

use std::fmt::Write as _;

use datakit_model::TableId;
use datakit_model::source::Isolation;

/// The transaction a query runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment<'a> {
    /// The snapshot of this name.
    Shared(&'a str),
    /// Its own, at this level.
    Own(Isolation),
}

/// Begins the transaction; it can only read.
pub(super) fn begin(run_id: &str, moment: Moment<'_>, max_parallelism: Option<u16>) -> String {
    let mut text = comment(run_id);
    match moment {
        Moment::Shared(snapshot) => {
            text.push_str(" BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '");
            text.push_str(&snapshot.replace('\'', "''"));
            text.push('\'');
        }
        Moment::Own(isolation) => {
            let level = match isolation {
                // The server has no dirty reads: it treats the one as the other.
                Isolation::ReadUncommitted | Isolation::ReadCommitted => "READ COMMITTED",
                Isolation::RepeatableRead | Isolation::Snapshot => "REPEATABLE READ",
                Isolation::Serializable => "SERIALIZABLE",
            };
            // Writing to a String cannot fail.
            let _ = write!(text, " BEGIN ISOLATION LEVEL {level}, READ ONLY");
        }
    }
    if let Some(processes) = max_parallelism {
        // One of them leads and is no worker.
        let _ = write!(text, "; SET LOCAL max_parallel_workers_per_gather = {}", processes.saturating_sub(1));
    }
    text
}

/// The copy of a query's rows. `query` comes from the guard, without a closing semicolon or a comment that could swallow what
/// follows.
pub(super) fn copy(run_id: &str, query: &str) -> String {
    format!("{}\nCOPY (\n{query}\n) TO STDOUT (FORMAT binary)", comment(run_id))
}

/// A table's two names, in quotes.
pub(super) fn quote_table(table: &TableId) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

/// A run's id comes from the command line: nothing in it may end the comment.
pub(super) fn comment(run_id: &str) -> String {
    format!("/* datakit run {} */", crate::config::comment_safe(run_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_only_read() {
        assert_eq!(
            begin("run-1", Moment::Shared("00000003-0000001B-1"), None),
            "/* datakit run run-1 */ BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET TRANSACTION SNAPSHOT '00000003-0000001B-1'"
        );
        assert_eq!(
            begin("*/ DROP TABLE x --\n", Moment::Own(Isolation::ReadUncommitted), Some(4)),
            "/* datakit run ???DROP?TABLE?x?--? */ BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY; \
             SET LOCAL max_parallel_workers_per_gather = 3"
        );
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

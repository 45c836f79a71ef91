//! What the host writes around a datakit's query.

use datakit_model::source::{Isolation, QueryOptions};

use datakit_connect::config::comment_safe;

/// A text ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The whole batch.
    pub(super) text: String,
    /// The session's isolation once the batch ran by itself (inside `sp_executesql` SET ends with it).
    pub(super) isolation: Isolation,
}

/// Puts the run's id in front, the isolation before and the hints of OPTION behind, each on a line of its own.
///
/// `query` comes from the guard, without a closing semicolon or a comment that could swallow what follows. The isolation
/// is a property of the session and stays for the next query of a pooled connection, so it is written whenever `current`
/// differs.
pub(super) fn compose(query: &str, options: &QueryOptions, run_id: &str, current: Isolation) -> Statement {
    let isolation = options.isolation.unwrap_or(Isolation::ReadCommitted);
    let mut text = comment(run_id);
    if isolation != current {
        text.push_str("SET TRANSACTION ISOLATION LEVEL ");
        text.push_str(isolation_name(isolation));
        text.push_str(";\n");
    }
    text.push_str(query);
    if let Some(degree) = options.max_parallelism {
        text.push_str(&format!("\nOPTION (MAXDOP {degree})"));
    }
    Statement { text, isolation }
}

/// The batch that asks the server for the columns of `@P1`, a text with the parameters that `@P2` declares.
pub(super) fn question(run_id: &str) -> String {
    comment(run_id) + "EXEC sys.sp_describe_first_result_set @tsql = @P1, @params = @P2"
}

/// A name in brackets.
pub(super) fn quote(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

fn comment(run_id: &str) -> String {
    format!("/* datakit run {} */\n", comment_safe(run_id))
}

fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadUncommitted => "READ UNCOMMITTED",
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Snapshot => "SNAPSHOT",
        Isolation::Serializable => "SERIALIZABLE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_stands_on_its_own_lines() {
        let options =
            QueryOptions { isolation: Some(Isolation::Snapshot), max_parallelism: Some(4), ..QueryOptions::default() };
        let statement = compose("SELECT a\nFROM dbo.t", &options, "run-1", Isolation::ReadCommitted);
        insta::assert_snapshot!(statement.text, @r"
        /* datakit run run-1 */
        SET TRANSACTION ISOLATION LEVEL SNAPSHOT;
        SELECT a
        FROM dbo.t
        OPTION (MAXDOP 4)
        ");
        assert_eq!(statement.isolation, Isolation::Snapshot);
    }

    #[test]
    fn the_next_query_of_a_pooled_connection_is_set_back() {
        let statement = compose("SELECT 1 AS a", &QueryOptions::default(), "r", Isolation::Snapshot);
        insta::assert_snapshot!(statement.text, @r"
        /* datakit run r */
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        SELECT 1 AS a
        ");
        let again = compose("SELECT 1 AS a", &QueryOptions::default(), "r", statement.isolation);
        assert_eq!(again.text, "/* datakit run r */\nSELECT 1 AS a");
    }

    #[test]
    fn no_run_id_leaves_its_comment() {
        let statement =
            compose("SELECT 1 AS a", &QueryOptions::default(), "*/ DROP TABLE x --\n", Isolation::ReadCommitted);
        assert_eq!(statement.text, "/* datakit run ???DROP?TABLE?x?--? */\nSELECT 1 AS a");
    }
}

//! SQL Server's error numbers: what each means for us.
//!
//! Numbers and texts: `sys.messages` and Microsoft's "Database engine events and errors". The transient ones of Azure
//! SQL are the intersection of the lists in SqlClient and the JDBC driver.

use datakit_connect::meaning::{Meaning, meaning};
use datakit_model::{Kind, Retry};

const LOGIN: Meaning = meaning(
    "DK-SRC-030",
    Kind::User,
    Retry::Never,
    "check user and password of the connection, and that the server allows SQL logins; the server's own log says the exact reason",
);
/// The same numbers where the login was one with a ticket. (Microsoft, "MSSQLSERVER_18456"; "CREATE LOGIN".)
pub(super) const TICKET_LOGIN: Meaning = meaning(
    "DK-SRC-042",
    Kind::User,
    Retry::Never,
    "the server read the ticket, but has no login for its principal, or one that is disabled: `CREATE LOGIN [DOMAIN\\user] FROM WINDOWS`, for it or for a group it is in (DOMAIN is the realm's short name), and a user in the database; the server's own log says the exact reason",
);
const UNTRUSTED: Meaning = meaning(
    "DK-SRC-041",
    Kind::User,
    Retry::Never,
    "the server could not read the ticket, does not trust its realm, or requires a channel binding: the SPN must be registered for the very account SQL Server runs under (`setspn -Q MSSQLSvc/HOST:PORT`), and for that account alone; and Extended Protection must not be `Required` (SQL Server Configuration Manager), because neither driver sends a channel binding: see docs/kerberos.md",
);
const DATABASE: Meaning =
    meaning("DK-SRC-031", Kind::User, Retry::Never, "check the name of `database`, and that the login is a user of it");
const PERMISSION: Meaning = meaning(
    "DK-SRC-032",
    Kind::Source,
    Retry::Never,
    "GRANT SELECT ON the object TO the connection's user, for discovery also GRANT VIEW DEFINITION; or leave the table out of `tables`",
);
const MISSING: Meaning = meaning(
    "DK-SRC-033",
    Kind::Source,
    Retry::Never,
    "the table, view or column is not there, or the login may not see it: run `discover` again; a view over a table that has changed is renewed with `sp_refreshview`, or altered",
);
const DEADLOCK: Meaning = meaning(
    "DK-SRC-034",
    Kind::Source,
    Retry::AfterBackoff,
    "the server chose this query as the victim of a deadlock; snapshot isolation avoids it",
);
const LOCK: Meaning = meaning(
    "DK-SRC-035",
    Kind::Source,
    Retry::AfterBackoff,
    "another session holds a lock: run at a quieter time, or use snapshot isolation",
);
const BUSY: Meaning = meaning(
    "DK-SRC-036",
    Kind::Source,
    Retry::AfterBackoff,
    "the server is short of a resource or restarting: it is tried again",
);
const SNAPSHOT: Meaning = meaning(
    "DK-SRC-037",
    Kind::Source,
    Retry::Never,
    "ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON, or choose another isolation",
);
const ALTERED: Meaning = meaning(
    "DK-SRC-414",
    Kind::Source,
    Retry::AfterBackoff,
    "the table was altered while a snapshot of it was read: it is read again",
);
const REPLICA: Meaning = meaning(
    "DK-SRC-415",
    Kind::User,
    Retry::Never,
    "Change Tracking is read on the primary: set `application_intent = \"read-write\"`, or name the primary or the listener as `server`",
);
const DATA: Meaning = meaning(
    "DK-SRC-038",
    Kind::Data,
    Retry::Never,
    "an expression of the query fails on a value of the table: use TRY_CONVERT, NULLIF or leave the column out",
);
const SYNTAX: Meaning =
    meaning("DK-SRC-039", Kind::Datakit, Retry::Never, "the datakit sent SQL that this server does not understand");
const OTHER: Meaning =
    meaning("DK-SRC-040", Kind::Source, Retry::Never, "look the number up in SQL Server's documentation");

/// PostgreSQL has it for every error without a number of SQL Server's own. (Babelfish for PostgreSQL, `tdsutils.c`.)
const CATCH_ALL_OF_BABELFISH: u32 = 33_557_097;
const UNNUMBERED: Meaning = meaning(
    "DK-SRC-300",
    Kind::Source,
    Retry::Never,
    "this server is not SQL Server and gives this number to every error that SQL Server has no number for: the message says what is wrong",
);

/// Whether the number says that the database does not exist, or that the login may not use it.
pub(super) fn is_of_database(number: u32) -> bool {
    matches!(number, 4060 | 4062..=4064 | 911 | 916)
}

/// Whether the number is about who logs in, and with what.
pub(super) fn is_of_login(number: u32) -> bool {
    matches!(number, 18456 | 18450 | 18451 | 18461 | 18470 | 18486..=18488)
}

/// Whether the number says that the server is asked for too much: of Azure SQL, its limits of requests, workers and sessions.
pub(super) fn is_throttling(number: u32) -> bool {
    matches!(number, 10928 | 10929 | 40501 | 49918..=49920)
}

/// The meaning of a number; docs/retry.md lists all of them. A login with a ticket has a meaning of its own for the numbers of
/// refused logins.
#[must_use]
pub fn meaning_of(number: u32) -> &'static Meaning {
    match number {
        18452 => &UNTRUSTED,
        number if is_of_login(number) => &LOGIN,
        number if is_of_database(number) => &DATABASE,
        229 | 230 | 262 | 297 | 300 | 371 | 378 | 15247 => &PERMISSION,
        // 4413 and 4502: a view whose tables have changed. 15151: not there, or not to be seen.
        207 | 208 | 2812 | 4413 | 4502 | 4902 | 15151 => &MISSING,
        CATCH_ALL_OF_BABELFISH => &UNNUMBERED,
        1205 => &DEADLOCK,
        1222 | 8628 | 8645 => &LOCK,
        233
        | 701
        | 802
        | 1204
        | 4221
        | 6005
        | 8651
        | 9002
        | 10928
        | 10929
        | 17142
        | 17197
        | 17830
        | 40143
        | 40197
        | 40501
        | 40540
        | 40613
        | 42108
        | 42109
        | 49918..=49920
        | 596
        | 10053
        | 10054
        | 10060
        // A database that is being recovered, restored or moved; a server that is being upgraded.
        | 615
        | 921
        | 922
        | 927
        | 983
        | 18401
        // Snapshots: an update or a change of the table came between, or the version store was short of space.
        | 3958..=3960
        | 3966
        | 3967
        | 1221
        | 601 => &BUSY,
        3952 | 3953 | 3957 => &SNAPSHOT,
        3961 => &ALTERED,
        22117 => &REPLICA,
        220 | 232 | 241..=245 | 248 | 517 | 537 | 8114 | 8115 | 8134 | 8152 | 9420..=9455 | 9803 | 13609 => &DATA,
        102 | 103 | 105 | 107 | 137 | 156 | 170 | 174 | 189 | 195 | 201 | 209 | 213 | 4104 | 8120 | 8178 | 10761 => {
            &SYNTAX
        }
        _ => &OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_map_to_codes_and_retries() {
        let table: Vec<String> =
            [18456, 18452, 4060, 229, 208, 207, 4413, 1205, 1222, 40501, 3952, 3961, 22117, 8134, 102, 50000, 33557097]
                .iter()
                .map(|number| {
                    let m = meaning_of(*number);
                    format!("{number} {} {:?} {:?}", m.code, m.kind, m.retry)
                })
                .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        18456 DK-SRC-030 User Never
        18452 DK-SRC-041 User Never
        4060 DK-SRC-031 User Never
        229 DK-SRC-032 Source Never
        208 DK-SRC-033 Source Never
        207 DK-SRC-033 Source Never
        4413 DK-SRC-033 Source Never
        1205 DK-SRC-034 Source AfterBackoff
        1222 DK-SRC-035 Source AfterBackoff
        40501 DK-SRC-036 Source AfterBackoff
        3952 DK-SRC-037 Source Never
        3961 DK-SRC-414 Source AfterBackoff
        22117 DK-SRC-415 User Never
        8134 DK-SRC-038 Data Never
        102 DK-SRC-039 Datakit Never
        50000 DK-SRC-040 Source Never
        33557097 DK-SRC-300 Source Never
        ");
    }
}

//! SQLSTATE: what each class of the server's errors means for us.
//!
//! Source: appendix "PostgreSQL Error Codes" of the manual.

use datakit_connect::meaning::{Meaning, meaning};
use datakit_model::{Kind, Retry};

const LOGIN: Meaning = meaning(
    "DK-SRC-130",
    Kind::User,
    Retry::Never,
    "check user and password of the connection, and the server's pg_hba.conf; the server's own log says the exact reason",
);
const DATABASE: Meaning = meaning("DK-SRC-131", Kind::User, Retry::Never, "check the name of `database`");
const PERMISSION: Meaning = meaning(
    "DK-SRC-132",
    Kind::Source,
    Retry::Never,
    "GRANT SELECT ON the object TO the connection's user, and USAGE on its schema; or leave the table out of `tables`",
);
const MISSING: Meaning = meaning(
    "DK-SRC-133",
    Kind::Source,
    Retry::Never,
    "the table, view or column is not there any more: run `discover` again",
);
const DEADLOCK: Meaning = meaning(
    "DK-SRC-134",
    Kind::Source,
    Retry::AfterBackoff,
    "the server rolled this transaction back in favour of another: it is tried again",
);
const LOCK: Meaning = meaning(
    "DK-SRC-135",
    Kind::Source,
    Retry::AfterBackoff,
    "somebody holds a lock on the table, such as ALTER TABLE or VACUUM FULL: it is tried again",
);
const BUSY: Meaning = meaning(
    "DK-SRC-136",
    Kind::Source,
    Retry::AfterBackoff,
    "the server is short of a resource, restarting or ended the session: it is tried again",
);
const CANCELLED: Meaning = meaning(
    "DK-SRC-137",
    Kind::Source,
    Retry::AfterBackoff,
    "a timeout of the server (statement_timeout of the role) or an administrator cancelled the query",
);
const DATA: Meaning = meaning(
    "DK-SRC-138",
    Kind::Data,
    Retry::Never,
    "an expression of the query fails on a value of the table: leave the column out",
);
const SYNTAX: Meaning =
    meaning("DK-SRC-139", Kind::Datakit, Retry::Never, "the datakit sent SQL that this server does not understand");
const OTHER: Meaning =
    meaning("DK-SRC-140", Kind::Source, Retry::Never, "look the SQLSTATE up in the manual's appendix");

/// Whether the state is about who logs in, and with what.
pub(super) fn is_of_login(state: &str) -> bool {
    matches!(state, "28000" | "28P01")
}

/// Whether the state says that the server is asked for too much: it takes no more connections.
pub(super) fn is_throttling(state: &str) -> bool {
    state == "53300"
}

/// The meaning of a SQLSTATE; docs/retry.md lists all of them.
#[must_use]
pub fn meaning_of(state: &str) -> &'static Meaning {
    match state {
        state if is_of_login(state) => &LOGIN,
        "3D000" => &DATABASE,
        "42501" => &PERMISSION,
        "42P01" | "42703" | "3F000" => &MISSING,
        "40P01" | "40001" => &DEADLOCK,
        "55P03" | "55006" => &LOCK,
        "57014" => &CANCELLED,
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "53" | "57" | "58" | "40" => &BUSY,
            "22" => &DATA,
            "42" | "0A" => &SYNTAX,
            _ => &OTHER,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_map_to_codes_and_retries() {
        let states =
            ["28P01", "3D000", "42501", "42P01", "40P01", "55P03", "57P01", "57014", "22012", "42601", "XX000"];
        let table: Vec<String> = states
            .iter()
            .map(|state| {
                let m = meaning_of(state);
                format!("{state} {} {:?} {:?}", m.code, m.kind, m.retry)
            })
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        28P01 DK-SRC-130 User Never
        3D000 DK-SRC-131 User Never
        42501 DK-SRC-132 Source Never
        42P01 DK-SRC-133 Source Never
        40P01 DK-SRC-134 Source AfterBackoff
        55P03 DK-SRC-135 Source AfterBackoff
        57P01 DK-SRC-136 Source AfterBackoff
        57014 DK-SRC-137 Source AfterBackoff
        22012 DK-SRC-138 Data Never
        42601 DK-SRC-139 Datakit Never
        XX000 DK-SRC-140 Source Never
        ");
    }
}

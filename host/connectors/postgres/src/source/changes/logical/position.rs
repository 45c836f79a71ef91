//! The text of a position: a place in the server's log, and of what it is a place.
//!
//! What no change tells of is found by comparing the catalog of two runs: a slot or publication that was made again, a table that was
//! replaced, a column whose older rows got values without a change of each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::lsn::Lsn;
use super::setup::{Server, Table, TableColumn};
use crate::source::config::LogicalConfig;

/// Strategy and version.
const HEAD: &str = "l1:";

/// All that was committed before a place in the log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The place: a transaction whose commit begins before it was read.
    pub(super) lsn: Lsn,
    #[serde(flatten)]
    pub(super) of: Origin,
}

/// Of what a position is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) slot: String,
    pub(super) system: String,
    timeline: String,
    /// The table's object id.
    table: u32,
    /// The number of its file, which a rewrite changes.
    file: String,
    /// Which publication the table is in and how.
    member: String,
    keys: Vec<String>,
    /// The highest number that a column ever had.
    last: i16,
    /// The columns that are read: their number, name and type.
    columns: Vec<(i16, String, String)>,
}

impl Position {
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix(HEAD)?).ok()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "{HEAD}{text}")
    }
}

impl Origin {
    /// As the server and the catalog say it now. `chosen` are the columns that are read.
    pub(super) fn now(names: &LogicalConfig, server: &Server, table: &Table, chosen: &[String]) -> Self {
        let columns = table.columns.iter().filter(|column| chosen.contains(&column.name));
        Self {
            slot: names.slot.clone(),
            system: server.system.clone(),
            timeline: server.timeline.clone().unwrap_or_default(),
            table: table.oid(),
            file: table.file.clone().unwrap_or_default(),
            member: table.member.clone(),
            keys: table.keys.clone(),
            last: table.last,
            columns: columns.map(|it| (it.number, it.name.clone(), it.type_id.clone())).collect(),
        }
    }
}

/// Why changes since a position may be lost, as far as slot and server say.
pub(super) fn gap_of_slot(position: &Position, names: &LogicalConfig, server: &Server) -> Option<String> {
    let (Position { lsn, of }, name) = (position, &names.slot);
    if of.slot != *name {
        return Some(format!(
            "the position is of the replication slot `{}`, and the connection names `{name}`",
            of.slot
        ));
    }
    if of.system != server.system || Some(&of.timeline) != server.timeline.as_ref() {
        return Some("the server is another one, was restored, or was promoted since the position".to_owned());
    }
    let Some(slot) = &server.slot else {
        return Some(format!("the replication slot `{name}` is not there any more"));
    };
    if slot.is_lost() {
        return Some(format!(
            "the replication slot `{name}` is lost: the server removed its part of the log (`max_slot_wal_keep_size`)"
        ));
    }
    if slot.confirmed_flush_lsn.is_none_or(|confirmed| confirmed > *lsn) {
        return Some(format!(
            "the replication slot `{name}` was made anew or moved on by another program: it begins behind the position {lsn}"
        ));
    }
    if server.flushed.is_none_or(|flushed| flushed < *lsn) {
        return Some(format!("the server's log ends before the position {lsn}: the server was restored from a copy"));
    }
    None
}

/// Why changes since a position may be lost, as far as the table says.
pub(super) fn gap_of_table(position: &Position, now: &Origin, table: &Table) -> Option<String> {
    let before = &position.of;
    if before.table != now.table {
        return Some("the table was dropped and made again since the position".to_owned());
    }
    if before.member != now.member {
        return Some("the publication, or the table's place in it, was changed since the position".to_owned());
    }
    if before.keys != now.keys {
        return Some(format!(
            "the key of the table was ({}) at the position and is ({}) now",
            before.keys.join(", "),
            now.keys.join(", ")
        ));
    }
    let known: BTreeMap<i16, (&str, &str)> =
        before.columns.iter().map(|(number, name, type_id)| (*number, (name.as_str(), type_id.as_str()))).collect();
    let is_rewritten = before.file != now.file;
    let read = |number: i16| now.columns.iter().any(|(read, ..)| *read == number);
    let mut columns = table.columns.iter().filter(|column| read(column.number));
    columns.find_map(|column| match known.get(&column.number) {
        Some(before) => changed(column, *before, is_rewritten),
        None => added(column, before, is_rewritten),
    })
}

/// A column that was read before.
fn changed(column: &TableColumn, (name, type_id): (&str, &str), is_rewritten: bool) -> Option<String> {
    if name != column.name {
        return Some(format!("the column `{name}` was renamed to `{}` since the position", column.name));
    }
    // A type that needs no rewrite has the same values.
    (is_rewritten && type_id != column.type_id)
        .then(|| format!("the type of the column `{name}` was changed since the position, and with it its values"))
}

/// A column that was not read before.
fn added(column: &TableColumn, before: &Origin, is_rewritten: bool) -> Option<String> {
    let name = &column.name;
    if before.columns.iter().any(|(_, known, _)| known == name) {
        return Some(format!("the column `{name}` was dropped and added again since the position"));
    }
    if column.number <= before.last {
        return Some(format!("the column `{name}` was not read up to the position"));
    }
    (column.is_filled || is_rewritten)
        .then(|| format!("the column `{name}` was added since the position, and older rows may have got values in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(columns: &[(i16, &str, &str)]) -> Origin {
        Origin {
            slot: "s".to_owned(),
            system: "7".to_owned(),
            timeline: "00000001".to_owned(),
            table: 1,
            file: "1".to_owned(),
            member: "1.1".to_owned(),
            keys: vec!["a".to_owned()],
            last: columns.iter().map(|column| column.0).max().unwrap_or(0),
            columns: columns.iter().map(|(number, name, kind)| (*number, (*name).into(), (*kind).into())).collect(),
        }
    }

    #[test]
    fn position_comes_back_and_other_texts_do_not() {
        let position = Position { lsn: Lsn(0x1_0000_0002), of: origin(&[(1, "a\"ü", "25:-1"), (3, "b", "1043:14")]) };
        insta::assert_snapshot!(position.to_string());
        assert_eq!(Position::parse(&position.to_string()), Some(position));
        for text in ["", "l1:", "l1:{}", "w1:int8:v=7", "l2:{\"lsn\":\"0/1\"}", "0/1"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    /// Columns of a table now, some of them with a default in older rows.
    fn gap(before: &[(i16, &str, &str)], now: &[(i16, &str, &str)], filled: &[&str], is_rewritten: bool) -> String {
        let columns: Vec<serde_json::Value> = now
            .iter()
            .map(|(number, name, kind)| {
                serde_json::json!({"number": number, "name": name, "type": kind, "is_readable": true,
                    "is_unsent": false, "is_filled": filled.contains(name)})
            })
            .collect();
        let table = serde_json::json!({"oid": 1, "kind": "r", "persistence": "p", "file": "1", "has_children": false,
            "hides_rows": false, "has_identity": true, "keys": ["a"], "published": [],
            "filter": null, "member": "1.1", "last": 9, "columns": columns});
        let table: Table = serde_json::from_value(table).unwrap();
        let position = Position { lsn: Lsn(1), of: origin(before) };
        let now = Origin { file: if is_rewritten { "2" } else { "1" }.to_owned(), ..origin(now) };
        gap_of_table(&position, &now, &table).unwrap_or_default()
    }

    #[test]
    fn what_no_change_tells_of_is_a_gap_and_nothing_else_is() {
        let (a, b) = ((1, "a", "23:-1"), (2, "b", "23:-1"));
        assert_eq!(gap(&[a, b], &[a, b], &[], true), "", "VACUUM FULL");
        assert_eq!(gap(&[a, b], &[a], &[], false), "", "a column was dropped");
        assert_eq!(gap(&[a], &[a, b], &[], false), "", "a column without values was added");
        assert_eq!(gap(&[a, b], &[a, (2, "b", "20:-1")], &[], false), "", "a type of the same values");
        let gaps = [
            gap(&[a], &[a, b], &["b"], false),
            gap(&[a], &[a, b], &[], true),
            gap(&[a, b], &[a, (2, "c", "23:-1")], &[], false),
            gap(&[a, b], &[a, (2, "b", "20:-1")], &[], true),
            gap(&[a, b], &[a, (3, "b", "23:-1")], &[], false),
            gap(&[b], &[a, b], &[], false),
        ];
        insta::assert_snapshot!(gaps.join("\n"));
    }
}

//! What a target holds, against the history of the source: each row once, none missing, and no repeat but those that
//! docs/changes.md allows.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Change, History, Rows, note};
use super::kinds::{Kind, Mode, Strategy};

/// A row of the target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// `_bronze_batch_id`
    pub(crate) load_id: String,
    /// `_bronze_operation`; empty where the table has none.
    pub(crate) operation: String,
    /// `_bronze_change_version`
    pub(crate) version: String,
    pub(crate) id: i64,
    /// Null in a deleted row whose values the source does not send.
    pub(crate) v: Option<i64>,
    pub(crate) note: Option<String>,
}

/// A commit, and what was in the source meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) run_id: String,
    pub(crate) load_id: String,
    /// Changes of the history before the first start of its run.
    pub(crate) from: usize,
    /// Changes of the history at the end of the start that committed.
    pub(crate) to: usize,
}

impl Load {
    /// Nothing was written to the source while it ran.
    fn is_quiet(&self) -> bool {
        self.from == self.to
    }
}

/// What is wrong with a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Rows that the source had and the target has not.
    pub(crate) lost: u64,
    /// Rows that are there too often.
    pub(crate) doubled: u64,
    /// Each of them, and what else is wrong, in words.
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    fn lose(&mut self, what: String) {
        self.lost += 1;
        self.wrong.push(format!("lost: {what}"));
    }

    fn double(&mut self, what: String) {
        self.doubled += 1;
        self.wrong.push(format!("doubled: {what}"));
    }

    pub(crate) fn is_wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }
}

/// Holds the rows of a target against the history. The last load is a quiet one, of all that was written.
/// `snapshots`: queries of the source read one snapshot each, where the source can choose.
pub(crate) fn check(kind: Kind, snapshots: bool, history: &History, loads: &[Load], rows: &[Row]) -> Findings {
    let mut findings = Findings::default();
    for row in rows {
        if let Some(v) = row.v
            && row.note.as_deref() != Some(&note(v))
        {
            findings.is_wrong(format!("another text than the source's: {row:?}"));
        }
        if !loads.iter().any(|load| load.load_id == row.load_id) {
            findings.double(format!("of a load that was never committed: {row:?}"));
        }
    }
    match (kind.mode, kind.strategy) {
        (Mode::Overwrite | Mode::Merge, _) => as_the_source(history.rows(), rows, &mut findings),
        (Mode::Append, Strategy::Full) => {
            for load in loads {
                copy(history, load, &of_load(rows, load), &mut findings);
            }
        }
        (Mode::Append, Strategy::Cdc | Strategy::Logical) => every_change(kind, history, loads, rows, &mut findings),
        (Mode::Append, _) => last_changes(kind, snapshots, history, loads, rows, &mut findings),
    }
    findings
}

fn of_load<'r>(rows: &'r [Row], load: &Load) -> Vec<&'r Row> {
    rows.iter().filter(|row| row.load_id == load.load_id).collect()
}

/// Each row of the source once, as it is there, and nothing else.
fn as_the_source(expected: &Rows, rows: &[Row], findings: &mut Findings) {
    let mut found: BTreeMap<i64, Vec<Option<i64>>> = BTreeMap::new();
    for row in rows {
        found.entry(row.id).or_default().push(row.v);
    }
    for (id, v) in expected {
        match found.remove(id).as_deref() {
            None => findings.lose(format!("key {id}")),
            Some([one]) if *one == Some(*v) => {}
            Some([one]) => findings.lose(format!("key {id} with value {v}: it has {one:?}")),
            Some(several) => findings.double(format!("key {id} is there {} times", several.len())),
        }
    }
    for id in found.keys() {
        findings.double(format!("key {id}, which the source has not"));
    }
}

/// A load of all rows: each key once, with a value that it had while the load ran.
fn copy(history: &History, load: &Load, rows: &[&Row], findings: &mut Findings) {
    let mut values = history.values_within(load.from, load.to);
    let run = &load.run_id;
    for row in rows {
        match values.get_mut(&row.id) {
            // Taken away, so that the same key once more is one too many.
            Some(known) if known.contains(&row.v) => known.clear(),
            Some(known) if known.is_empty() => findings.double(format!("key {} twice in the copy of {run}", row.id)),
            _ => findings.is_wrong(format!("a row that the source did not have during {run}: {row:?}")),
        }
    }
    for (id, known) in values {
        if !known.is_empty() && !known.contains(&None) {
            findings.lose(format!("key {id} in the copy of {run}"));
        }
    }
}

/// Change data capture and logical decoding: the first load is a copy, and each change behind its position comes once, in order.
fn every_change(kind: Kind, history: &History, loads: &[Load], rows: &[Row], findings: &mut Findings) {
    let Some((first, others)) = loads.split_first() else { return };
    let copied = of_load(rows, first);
    let mut found = Vec::new();
    for load in others {
        let mut changes = of_load(rows, load);
        changes.sort_by(|a, b| a.version.cmp(&b.version));
        found.extend(changes.iter().filter_map(|row| change_of(row)));
    }
    // Where the copy's position lies, if changes were made while it read.
    let begins = |at: &usize| history.since(*at) == found;
    let position = history.ends_within(first.from, first.to).find(begins);
    match (kind.strategy, position) {
        // The copy is of the snapshot of the position.
        (Strategy::Logical, Some(at)) => {
            copy(history, &Load { from: at, to: at, ..first.clone() }, &copied, findings);
        }
        // The copy is read behind the position: what changed meanwhile is in both.
        (_, Some(at)) => copy(history, &Load { from: at, ..first.clone() }, &copied, findings),
        (_, None) => {
            copy(history, first, &copied, findings);
            differences(history.since(first.to), &found, history.since(first.from), findings);
        }
    }
}

/// What is wrong with changes: `certain` have to be there, `possible` may be.
fn differences(certain: &[Change], found: &[Change], possible: &[Change], findings: &mut Findings) {
    let count = |changes: &[Change]| {
        let mut counts: BTreeMap<Change, u64> = BTreeMap::new();
        for change in changes {
            *counts.entry(*change).or_default() += 1;
        }
        counts
    };
    let (certain, counts, possible) = (count(certain), count(found), count(possible));
    let before = findings.wrong.len();
    for (change, times) in &certain {
        if counts.get(change).is_none_or(|there| there < times) {
            findings.lose(format!("{change:?}"));
        }
    }
    for (change, times) in counts {
        if possible.get(&change).is_none_or(|may| times > *may) {
            findings.double(format!("{change:?}, {times} times"));
        }
    }
    if findings.wrong.len() == before {
        findings.is_wrong("the changes are not in the order of the source's commits, or begin within a transaction");
    }
}

fn change_of(row: &Row) -> Option<Change> {
    let id = row.id;
    match (row.operation.as_str(), row.v) {
        ("insert", Some(v)) => Some(Change::Insert { id, v }),
        ("update", Some(v)) => Some(Change::Update { id, v }),
        ("delete", _) => Some(Change::Delete { id }),
        _ => None,
    }
}

/// Strategies that give the last change of each key: what they give, played in order, is the source.
fn last_changes(kind: Kind, snapshots: bool, history: &History, loads: &[Load], rows: &[Row], findings: &mut Findings) {
    let mut target = Rows::new();
    for (number, load) in loads.iter().enumerate() {
        let rows = of_load(rows, load);
        let values = history.values_within(load.from, load.to);
        let mut keys = BTreeSet::new();
        for row in &rows {
            if !keys.insert(row.id) {
                findings.double(format!("key {} twice in {}", row.id, load.run_id));
            }
            let is_deleted = row.operation == "delete";
            let known = values.get(&row.id).map_or(&[None][..], Vec::as_slice);
            if !known.contains(&if is_deleted { None } else { row.v }) {
                findings.is_wrong(format!("a row that the source did not have during {}: {row:?}", load.run_id));
            }
            if (row.operation == "read") != (number == 0) {
                findings.is_wrong(format!("another operation than of load {number}: {row:?}"));
            }
            match row.v.filter(|_| !is_deleted) {
                Some(v) => target.insert(row.id, v),
                None => target.remove(&row.id),
            };
        }
        if load.is_quiet() && target != history.rows_at(load.to) {
            missing(&history.rows_at(load.to), &target, &load.run_id, findings);
        }
    }
    repeats(kind, snapshots, history, loads, rows, findings);
}

fn missing(expected: &Rows, target: &Rows, run: &str, findings: &mut Findings) {
    for (id, v) in expected {
        if target.get(id) != Some(v) {
            findings.lose(format!("key {id} with value {v} after {run}: {:?}", target.get(id)));
        }
    }
    for id in target.keys().filter(|id| !expected.contains_key(id)) {
        findings.lose(format!("the deletion of key {id} after {run}"));
    }
}

/// A row of one value is there once. docs/changes.md allows it once more where it was written while the first load read, and
/// without snapshots, by Change Tracking, where it was written while any load read. A watermark and logical decoding allow none.
fn repeats(kind: Kind, snapshots: bool, history: &History, loads: &[Load], rows: &[Row], findings: &mut Findings) {
    let places = history.places();
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for v in rows.iter().filter(|row| row.operation != "delete").filter_map(|row| row.v) {
        *counts.entry(v).or_default() += 1;
    }
    let may_repeat = match kind.strategy {
        Strategy::Watermark | Strategy::Logical => &[],
        Strategy::ChangeTracking if !snapshots => loads,
        _ => &loads[..loads.len().min(1)],
    };
    for (v, times) in counts {
        let is_within = |load: &&Load| places.get(&v).is_some_and(|at| load.from < *at && *at <= load.to);
        let allowed = 1 + may_repeat.iter().filter(is_within).count();
        if times > allowed {
            findings.double(format!("the row with value {v}, {times} times"));
        }
    }
    for (id, times) in deletes(rows.iter().filter(|row| row.operation == "delete").map(|row| row.id)) {
        let made = history.since(0).iter().filter(|change| **change == Change::Delete { id }).count();
        if times > made + may_repeat.len() {
            findings.double(format!("the deletion of key {id}, {times} times"));
        }
    }
}

fn deletes(ids: impl Iterator<Item = i64>) -> BTreeMap<i64, usize> {
    let mut counts = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use datakit_tests::Random;

    use super::*;
    use crate::kinds::{Sink, Source};

    fn kind(strategy: Strategy, mode: Mode) -> Kind {
        Kind { source: Source::SqlServer, strategy, mode, sink: Sink::Delta }
    }

    /// 30 rows and then 20 transactions; the place between them.
    fn history(kind: Kind) -> (History, usize) {
        let (mut history, mut random) = (History::default(), Random::new(7));
        let first = history.first_rows(kind, 30);
        history.add(&first);
        let at = history.len();
        for _ in 0..20 {
            let transaction = history.transaction(kind, &mut random);
            history.add(&transaction);
        }
        (history, at)
    }

    fn row(load_id: &str, operation: &str, version: usize, id: i64, v: i64) -> Row {
        let (load_id, operation, version) = (load_id.into(), operation.into(), format!("{version:05}"));
        Row { load_id, operation, version, id, v: Some(v), note: Some(note(v)) }
    }

    fn load(id: &str, from: usize, to: usize) -> Load {
        Load { run_id: id.into(), load_id: id.into(), from, to }
    }

    /// A copy up to `at`, and then each change.
    fn every_row(history: &History, at: usize) -> Vec<Row> {
        let copied = history.rows_at(at).into_iter().map(|(id, v)| row("first", "read", 0, id, v));
        let changes = history.since(at).iter().enumerate().map(|(number, change)| match *change {
            Change::Insert { id, v } => row("second", "insert", number, id, v),
            Change::Update { id, v } => row("second", "update", number, id, v),
            Change::Delete { id } => Row { v: None, note: None, ..row("second", "delete", number, id, 0) },
        });
        copied.chain(changes).collect()
    }

    #[test]
    fn each_lost_and_each_doubled_change_is_found() {
        let kind = kind(Strategy::Cdc, Mode::Append);
        let (history, at) = history(kind);
        let loads = [load("first", at, at), load("second", history.len(), history.len())];
        let rows = every_row(&history, at);
        assert_eq!(check(kind, true, &history, &loads, &rows), Findings::default());
        for index in 0..rows.len() {
            let (mut fewer, mut more) = (rows.clone(), rows.clone());
            fewer.remove(index);
            more.push(rows[index].clone());
            let (fewer, more) =
                (check(kind, true, &history, &loads, &fewer), check(kind, true, &history, &loads, &more));
            assert!(fewer.lost == 1 && fewer.doubled == 0, "{:?} was left out: {fewer:?}", rows[index]);
            assert!(more.doubled == 1 && more.lost == 0, "{:?} is there twice: {more:?}", rows[index]);
        }
        let mut swapped = rows;
        let last = swapped.len() - 1;
        let version = std::mem::replace(&mut swapped[last].version, "00000".into());
        swapped[last - 1].version = version;
        assert!(!check(kind, true, &history, &loads, &swapped).wrong.is_empty(), "another order");
    }

    #[test]
    fn change_of_the_first_copy_may_repeat_and_later_ones_may_not() {
        let kind = kind(Strategy::RowVersion, Mode::Append);
        let (mut history, _) = history(kind);
        let from = history.len();
        // As its key and its value say which write it is, the last update is found in both loads.
        let mut random = Random::new(1);
        while !matches!(history.since(from), [.., Change::Update { .. }]) {
            let transaction = history.transaction(kind, &mut random);
            history.add(&transaction);
        }
        let (len, rows) = (history.len(), history.rows().clone());
        let Some(Change::Update { id, v }) = history.since(0).last().copied() else { panic!("an update is the last") };
        let copied = rows.into_iter().map(|(id, v)| row("first", "read", 0, id, v));
        let rows: Vec<Row> = copied.chain([row("second", "upsert", 1, id, v)]).collect();
        let during = [load("first", from, len), load("second", len, len)];
        let after = [load("first", len, len), load("second", len, len)];
        assert_eq!(check(kind, true, &history, &during, &rows), Findings::default());
        assert_eq!(check(kind, true, &history, &after, &rows).doubled, 1);
    }

    #[test]
    fn target_that_is_not_as_the_source_is_found() {
        let kind = kind(Strategy::ChangeTracking, Mode::Merge);
        let (history, _) = history(kind);
        let loads = [load("first", history.len(), history.len())];
        let rows: Vec<Row> = history.rows().iter().map(|(id, v)| row("first", "read", 0, *id, *v)).collect();
        let found = |rows: &[Row]| {
            let Findings { lost, doubled, .. } = check(kind, true, &history, &loads, rows);
            (lost, doubled)
        };
        assert_eq!(found(&rows), (0, 0));
        assert_eq!(found(&rows[1..]), (1, 0));
        assert_eq!(found(&[rows.clone(), vec![rows[3].clone()]].concat()), (0, 1));
        assert_eq!(found(&[rows.clone(), vec![row("first", "read", 0, 9999, 1)]].concat()), (0, 1));
        let old = [vec![row("first", "read", 0, rows[0].id, -1)], rows[1..].to_vec()].concat();
        assert_eq!(found(&old), (1, 0));
    }
}

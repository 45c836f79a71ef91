//! What was written to the source, change by change: the truth that a target is held against.
//!
//! Each row that is written has a value of its own, `v`, that grows with each write. So a value says which write a row is of.

use std::collections::BTreeMap;

use datakit_tests::Random;

use super::kinds::{Kind, Source, Strategy};

/// What happened to one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Insert { id: i64, v: i64 },
    Update { id: i64, v: i64 },
    Delete { id: i64 },
}

/// Rows by their keys, each with its value.
pub(crate) type Rows = BTreeMap<i64, i64>;

/// All changes that were committed, in their order.
#[derive(Debug, Default)]
pub(crate) struct History {
    changes: Vec<Change>,
    /// How many changes there were after each transaction.
    ends: Vec<usize>,
    now: Rows,
    last_v: i64,
    last_id: i64,
}

/// A transaction that is to be run, and that is to be added to the history when the source has committed it.
pub(crate) struct Transaction {
    pub(crate) script: String,
    changes: Vec<Change>,
}

/// The text of a row, which its value alone decides.
pub(crate) fn note(v: i64) -> String {
    let length = usize::try_from(v.rem_euclid(37)).unwrap_or_default();
    format!("note {v} {}", "x".repeat(length))
}

impl History {
    /// How many changes there are so far.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes behind the first `from`.
    pub(crate) fn since(&self, from: usize) -> &[Change] {
        &self.changes[from..]
    }

    /// Numbers of changes, from `from` to `to`, at which no transaction is half there.
    pub(crate) fn ends_within(&self, from: usize, to: usize) -> impl Iterator<Item = usize> {
        let ends = self.ends.iter().copied().filter(move |end| (from..=to).contains(end));
        ends.chain((from == 0).then_some(0))
    }

    /// The rows after the first `count` changes.
    pub(crate) fn rows_at(&self, count: usize) -> Rows {
        let mut rows = Rows::new();
        for change in &self.changes[..count] {
            change.apply(&mut rows);
        }
        rows
    }

    /// The rows as they are.
    pub(crate) fn rows(&self) -> &Rows {
        &self.now
    }

    /// For each key, the values that it had at some time from `from` changes to `to`: None while it was not there.
    pub(crate) fn values_within(&self, from: usize, to: usize) -> BTreeMap<i64, Vec<Option<i64>>> {
        let rows = self.rows_at(from);
        let mut values: BTreeMap<i64, Vec<Option<i64>>> = rows.into_iter().map(|(id, v)| (id, vec![Some(v)])).collect();
        for change in &self.changes[from..to] {
            let (id, v) = match *change {
                Change::Insert { id, v } | Change::Update { id, v } => (id, Some(v)),
                Change::Delete { id } => (id, None),
            };
            values.entry(id).or_insert_with(|| vec![None]).push(v);
        }
        values
    }

    /// Where in the history each value was written: the number of changes with it.
    pub(crate) fn places(&self) -> BTreeMap<i64, usize> {
        let places = self.changes.iter().enumerate().filter_map(|(at, change)| match change {
            Change::Insert { v, .. } | Change::Update { v, .. } => Some((*v, at + 1)),
            Change::Delete { .. } => None,
        });
        places.collect()
    }

    /// The source has committed a transaction.
    pub(crate) fn add(&mut self, transaction: &Transaction) {
        for change in &transaction.changes {
            change.apply(&mut self.now);
            self.changes.push(*change);
        }
        if !transaction.changes.is_empty() {
            self.ends.push(self.changes.len());
        }
    }

    /// The first rows of a table, with keys from 1 on.
    pub(crate) fn first_rows(&mut self, kind: Kind, count: u64) -> Transaction {
        let ids: Vec<i64> = (0..count).map(|_| self.next_id()).collect();
        let changes: Vec<Change> = ids.into_iter().map(|id| Change::Insert { id, v: self.next_v() }).collect();
        let values: Vec<String> = changes.iter().filter_map(|change| change.values()).collect();
        let statements: Vec<String> =
            values.chunks(500).map(|part| format!("{} {}", insert(kind), part.join(", "))).collect();
        Transaction { script: statements.join(";\n"), changes }
    }

    /// A transaction of a few changes, which is rolled back now and then.
    pub(crate) fn transaction(&mut self, kind: Kind, random: &mut Random) -> Transaction {
        let mut rows = self.now.clone();
        let (mut changes, mut statements) = (Vec::new(), Vec::new());
        for _ in 0..=random.below(4) {
            let (statement, made) = self.statement(kind, &rows, random);
            for change in &made {
                change.apply(&mut rows);
            }
            changes.extend(made);
            statements.push(statement);
        }
        let (begin, mut end) = match kind.source {
            Source::SqlServer => ("BEGIN TRANSACTION", "COMMIT TRANSACTION"),
            Source::Postgres => ("BEGIN", "COMMIT"),
        };
        if random.one_in(10) {
            end = if kind.source == Source::SqlServer { "ROLLBACK TRANSACTION" } else { "ROLLBACK" };
            changes.clear();
        }
        Transaction { script: format!("{begin};\n{};\n{end};", statements.join(";\n")), changes }
    }

    /// One statement, and the changes that it makes to these rows.
    fn statement(&mut self, kind: Kind, rows: &Rows, random: &mut Random) -> (String, Vec<Change>) {
        let table = kind.table();
        let choice = random.below(if kind.sees_deletes() { 10 } else { 7 });
        let chosen = random.below(rows.len().max(1) as u64);
        let chosen = rows.keys().nth(usize::try_from(chosen).unwrap_or_default()).copied();
        let (Some(id), 3..) = (chosen, choice) else {
            // The key of a row that was deleted comes again now and then.
            let again = i64::try_from(random.below(self.last_id.max(1).unsigned_abs())).unwrap_or_default() + 1;
            let id = if random.one_in(2) && !rows.contains_key(&again) { again } else { self.next_id() };
            let change = Change::Insert { id, v: self.next_v() };
            return (format!("{} {}", insert(kind), change.values().unwrap_or_default()), vec![change]);
        };
        match choice {
            3..=6 => {
                let v = self.next_v();
                let statement = format!("UPDATE {table} SET v = {v}, note = '{}' WHERE id = {id}", note(v));
                (statement, vec![Change::Update { id, v }])
            }
            // A row that gets another key is a deleted one and a new one to everybody.
            7 if kind.strategy != Strategy::Full => {
                let (to, v) = (self.next_id(), self.next_v());
                let statement = format!("UPDATE {table} SET id = {to}, v = {v}, note = '{}' WHERE id = {id}", note(v));
                (statement, vec![Change::Delete { id }, Change::Insert { id: to, v }])
            }
            _ => (format!("DELETE FROM {table} WHERE id = {id}"), vec![Change::Delete { id }]),
        }
    }

    fn next_v(&mut self) -> i64 {
        self.last_v += 1;
        self.last_v
    }

    fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }
}

fn insert(kind: Kind) -> String {
    format!("INSERT INTO {} (id, v, note) VALUES", kind.table())
}

impl Change {
    pub(crate) fn apply(&self, rows: &mut Rows) {
        match *self {
            Self::Insert { id, v } | Self::Update { id, v } => rows.insert(id, v),
            Self::Delete { id } => rows.remove(&id),
        };
    }

    fn values(&self) -> Option<String> {
        match *self {
            Self::Insert { id, v } => Some(format!("({id}, {v}, '{}')", note(v))),
            Self::Update { .. } | Self::Delete { .. } => None,
        }
    }
}

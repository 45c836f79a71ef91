//! One row a key: the last one wins, column by column where it does not carry all.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{interleave, interleave_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datakit_columnar::KeyEncoder;

use super::columns::{HeldColumns, MergeColumns};
use super::spool::Chosen;
use crate::sink::SinkError;

/// Rows that no key refers to any more are let go when they may be so many bytes, or more than the others.
const COMPACT_BYTES: usize = 8 * 1024 * 1024;

/// A row: the place of its batch, and its place there.
type At = (u32, u32);

/// Where the value of a column is that the last row of a key does not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In an earlier row of the load.
    Row(At),
    /// In the target, if the key is there.
    Target,
    /// Nowhere: the row that had it was deleted.
    Nowhere,
}

/// What becomes of a key.
#[derive(Debug)]
struct Outcome {
    /// Its last row.
    last: At,
    /// The same in the spool.
    spooled: At,
    is_deleted: bool,
    /// The row of the target is deleted, whatever comes afterwards.
    replaces: bool,
    /// What the last row does not carry; none: it carries all.
    gaps: Option<Box<Gaps>>,
}

#[derive(Debug)]
struct Gaps {
    /// By the places of the columns, in ascending order.
    sources: Vec<(usize, Source)>,
    /// The row that says which columns are unknown, where the target has no row.
    named_by: At,
    /// The target's row, where there is one, says which columns are unknown.
    is_named: bool,
}

/// Rows of the target, for keys whose rows do not carry all columns.
#[derive(Debug, Default)]
pub struct OldRows {
    /// In the full schema of the spool.
    batches: Vec<RecordBatch>,
    of_key: HashMap<u32, At>,
}

impl OldRows {
    /// Rows of the target, each with its key.
    pub fn add(&mut self, rows: RecordBatch, keys: &[u32]) {
        let batch = number(self.batches.len());
        self.of_key.extend(keys.iter().zip(0..).map(|(key, row)| (*key, (batch, row))));
        self.batches.push(rows);
    }
}

/// A value of a row that is put together.
#[derive(Debug, Clone, Copy)]
enum Pick {
    Load(At),
    Old(At),
    Null,
}

/// One row a key, of a part of a load's keys. Keys have numbers from 0 on.
#[derive(Debug)]
pub struct Reduced {
    columns: MergeColumns,
    /// Of the target's rows.
    schema: SchemaRef,
    /// The columns from here on are those that only the target has.
    kept: Range<usize>,
    /// Which columns the rows have.
    pub(super) held: HeldColumns,
    rows: Vec<RecordBatch>,
    numbers: HashMap<Box<[u8]>, u32>,
    outcomes: Vec<Outcome>,
    /// What the rows hold.
    bytes: usize,
    /// When rows are let go.
    max_bytes: usize,
}

impl Reduced {
    pub(super) fn new(columns: MergeColumns, schema: SchemaRef, kept_from: usize, held: HeldColumns) -> Self {
        let kept = kept_from..schema.fields().len();
        let (rows, numbers, outcomes) = (Vec::new(), HashMap::new(), Vec::new());
        Self { columns, schema, kept, held, rows, numbers, outcomes, bytes: 0, max_bytes: COMPACT_BYTES }
    }

    /// Adds the rows of a chunk whose keys are accepted, behind those that are there.
    pub(super) fn add(
        &mut self,
        chunk: u32,
        rows: &RecordBatch,
        encoder: &KeyEncoder,
        accepts: impl Fn(&[u8]) -> bool,
    ) -> Result<(), SinkError> {
        let failed = |source| self.columns.failed(source);
        let keys = encoder.rows(&self.columns.key_columns(rows, &self.held)).map_err(failed)?;
        let accepted: Vec<u32> =
            (0..).zip(keys.iter()).filter(|(_, key)| accepts(key.as_ref())).map(|(row, _)| row).collect();
        // Copied, since what was read shares the memory of the columns that are left out.
        let taken = take_record_batch(rows, &UInt32Array::from(accepted.clone())).map_err(failed)?;
        let changes = self.columns.changes(&taken, &self.held)?;
        let batch = number(self.rows.len());
        let kept: Vec<usize> = self.kept.clone().collect();
        for (row, of) in (0..).zip(accepted) {
            let place = row as usize;
            let (is_delete, missing) = (changes.is_delete(place), changes.missing(place));
            let change = Change { at: (batch, row), spooled: (chunk, of), is_delete, missing, kept: &kept };
            self.apply(keys.row(of as usize).as_ref(), &change);
        }
        self.bytes += taken.get_array_memory_size();
        self.rows.push(taken);
        if self.bytes > self.max_bytes { self.compact() } else { Ok(()) }
    }

    fn apply(&mut self, key: &[u8], change: &Change<'_>) {
        match self.numbers.get(key).map(|number| *number as usize) {
            Some(number) => {
                if let Some(outcome) = self.outcomes.get_mut(number) {
                    *outcome = change.after(Some(outcome));
                }
            }
            None => {
                self.numbers.insert(key.into(), number(self.outcomes.len()));
                self.outcomes.push(change.after(None));
            }
        }
    }

    /// Lets rows go that no key refers to.
    fn compact(&mut self) -> Result<(), SinkError> {
        let mut places: HashMap<At, u32> = HashMap::new();
        let mut kept: Vec<(usize, usize)> = Vec::new();
        let mut move_row = |at: &mut At| {
            let place = *places.entry(*at).or_insert_with(|| {
                kept.push((at.0 as usize, at.1 as usize));
                number(kept.len() - 1)
            });
            *at = (0, place);
        };
        for outcome in &mut self.outcomes {
            move_row(&mut outcome.last);
            let Some(gaps) = &mut outcome.gaps else { continue };
            move_row(&mut gaps.named_by);
            for (_, source) in &mut gaps.sources {
                if let Source::Row(at) = source {
                    move_row(at);
                }
            }
        }
        let rows: Vec<&RecordBatch> = self.rows.iter().collect();
        let rows = interleave_record_batch(&rows, &kept).map_err(|source| self.columns.failed(source))?;
        self.bytes = rows.get_array_memory_size();
        self.max_bytes = (2 * self.bytes).max(COMPACT_BYTES);
        self.rows = vec![rows];
        Ok(())
    }

    /// What the rows hold in memory.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.rows.iter().map(RecordBatch::get_array_memory_size).sum()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// The number of a key, as the spool's encoder makes it.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// All numbers.
    #[must_use]
    pub fn keys(&self) -> Range<u32> {
        0..number(self.outcomes.len())
    }

    fn outcome(&self, key: u32) -> Option<&Outcome> {
        self.outcomes.get(key as usize)
    }

    fn gaps(&self, key: u32) -> Option<&Gaps> {
        self.outcome(key)?.gaps.as_deref()
    }

    /// The key's row is to go, and no other takes its place.
    #[must_use]
    pub fn is_deleted(&self, key: u32) -> bool {
        self.outcome(key).is_some_and(|outcome| outcome.is_deleted)
    }

    /// Nothing of the target's row stays, even where the key has a row afterwards.
    #[must_use]
    pub fn replaces(&self, key: u32) -> bool {
        self.outcome(key).is_some_and(|outcome| outcome.replaces)
    }

    /// The last row of the key does not carry all columns of the target: it is in [`Self::rows`], and is not chosen.
    #[must_use]
    pub fn is_partial(&self, key: u32) -> bool {
        self.gaps(key).is_some()
    }

    /// Chooses the last row of each key, where it carries all columns.
    pub fn choose(&self, chosen: &mut Chosen) {
        let whole = self.outcomes.iter().filter(|outcome| !outcome.is_deleted && outcome.gaps.is_none());
        whole.for_each(|outcome| chosen.add(outcome.spooled));
    }

    /// The columns whose values stay as the target has them.
    #[must_use]
    pub fn stay(&self, key: u32) -> Vec<usize> {
        let Some(gaps) = self.gaps(key) else { return Vec::new() };
        let in_target = gaps.sources.iter().filter(|(_, source)| *source == Source::Target).map(|(column, _)| *column);
        in_target.chain(self.columns.missing().filter(|_| gaps.is_named)).collect()
    }

    /// A value of the target is needed for the key's row.
    #[must_use]
    pub fn needs_old_row(&self, key: u32) -> bool {
        let is_in_target = |(_, source): &(usize, Source)| *source == Source::Target;
        self.gaps(key).is_some_and(|gaps| gaps.is_named || gaps.sources.iter().any(is_in_target))
    }

    /// The source did not send the row whole. Where the target has no row of the key, the rest is null.
    #[must_use]
    pub fn is_incomplete(&self, key: u32) -> bool {
        let is_unknown = |(column, source): &(usize, Source)| {
            *column < self.kept.start && matches!(source, Source::Target | Source::Nowhere)
        };
        self.gaps(key).is_some_and(|gaps| gaps.sources.iter().any(is_unknown))
    }

    /// The columns of the keys, in the order of their numbers.
    ///
    /// # Errors
    /// More values than an array holds.
    pub fn key_columns(&self) -> Result<Vec<ArrayRef>, SinkError> {
        let picks: Vec<Pick> = self.outcomes.iter().map(|outcome| Pick::Load(outcome.last)).collect();
        let old = OldRows::default();
        let columns: Result<_, _> = self.columns.keys().iter().map(|place| self.column(*place, &picks, &old)).collect();
        columns.map_err(|source| self.columns.failed(source))
    }

    /// The rows of these keys in the full schema of the spool, with what `old` has of them; what neither has is null. Of a key
    /// whose row is deleted, or was chosen, only the key.
    ///
    /// # Errors
    /// More values than an array holds.
    pub fn rows(&self, keys: &[u32], old: &OldRows) -> Result<Vec<ArrayRef>, SinkError> {
        let outcomes: Vec<(&Outcome, Option<Pick>)> = keys
            .iter()
            .filter_map(|key| Some((self.outcome(*key)?, old.of_key.get(key).map(|at| Pick::Old(*at)))))
            .collect();
        let picks: Vec<Pick> = outcomes.iter().map(|(outcome, _)| Pick::Load(outcome.last)).collect();
        let mut others: HashMap<usize, Vec<(usize, Pick)>> = HashMap::new();
        for (row, (outcome, old)) in outcomes.iter().enumerate() {
            let Some(gaps) = &outcome.gaps else { continue };
            for (column, source) in &gaps.sources {
                let pick = match source {
                    Source::Row(at) => Pick::Load(*at),
                    Source::Target => old.unwrap_or(Pick::Null),
                    Source::Nowhere => Pick::Null,
                };
                others.entry(*column).or_default().push((row, pick));
            }
            if let Some(column) = self.columns.missing() {
                let named_by = old.filter(|_| gaps.is_named).unwrap_or(Pick::Load(gaps.named_by));
                others.entry(column).or_default().push((row, named_by));
            }
        }
        let column = |place: usize| match others.get(&place) {
            None => self.column(place, &picks, old),
            Some(others) => {
                let mut picks = picks.clone();
                others.iter().for_each(|(row, pick)| picks[*row] = *pick);
                self.column(place, &picks, old)
            }
        };
        let columns: Result<_, _> = (0..self.schema.fields().len()).map(column).collect();
        columns.map_err(|source| self.columns.failed(source))
    }

    /// The picked values of a column.
    fn column(&self, place: usize, picks: &[Pick], old: &OldRows) -> Result<ArrayRef, ArrowError> {
        let held = self.held.at(place);
        let null = new_null_array(self.schema.field(place).data_type(), 1);
        let load = held.iter().flat_map(|at| self.rows.iter().map(|rows| rows.column(*at)));
        let arrays: Vec<&ArrayRef> = load.chain(old.batches.iter().map(|rows| rows.column(place))).collect();
        let (load, all) = (arrays.len() - old.batches.len(), arrays.len());
        let at = |pick: &Pick| match *pick {
            Pick::Load((batch, row)) if held.is_some() => (batch as usize, row as usize),
            Pick::Old((batch, row)) => (load + batch as usize, row as usize),
            Pick::Load(_) | Pick::Null => (all, 0),
        };
        let arrays: Vec<&dyn Array> = arrays.into_iter().chain([&null]).map(AsRef::as_ref).collect();
        interleave(&arrays, &picks.iter().map(at).collect::<Vec<_>>())
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// A row of the load.
struct Change<'a> {
    at: At,
    spooled: At,
    is_delete: bool,
    /// The columns that it does not carry, in ascending order.
    missing: &'a [usize],
    /// The columns that the load does not have, all behind the others.
    kept: &'a [usize],
}

impl Change<'_> {
    /// What becomes of the key.
    fn after(&self, before: Option<&Outcome>) -> Outcome {
        let replaces = self.is_delete || before.is_some_and(|before| before.replaces);
        let gaps = if self.is_delete { None } else { self.gaps(before) };
        Outcome { last: self.at, spooled: self.spooled, is_deleted: self.is_delete, replaces, gaps }
    }

    fn gaps(&self, before: Option<&Outcome>) -> Option<Box<Gaps>> {
        if self.missing.is_empty() && self.kept.is_empty() {
            return None;
        }
        let source = |column: &usize| (*column, before.map_or(Source::Target, |before| before.source(*column)));
        let named: Vec<(usize, Source)> = self.missing.iter().map(source).collect();
        let kept: Vec<(usize, Source)> = self.kept.iter().map(source).collect();
        let before = before.filter(|before| !self.missing.is_empty() && !before.is_deleted);
        let before_gaps = before.and_then(|before| before.gaps.as_deref());
        let is_named =
            named.iter().any(|(_, source)| *source == Source::Target) || before_gaps.is_some_and(|gaps| gaps.is_named);
        let named_by = match (before, before_gaps) {
            (_, Some(gaps)) => gaps.named_by,
            (Some(before), None) => before.last,
            (None, None) => self.at,
        };
        let sources = named.into_iter().chain(kept).collect();
        Some(Box::new(Gaps { sources, named_by, is_named }))
    }
}

impl Outcome {
    /// Where the value of a column is after this.
    fn source(&self, column: usize) -> Source {
        if self.is_deleted {
            return Source::Nowhere;
        }
        let mut gaps = self.gaps.iter().flat_map(|gaps| &gaps.sources);
        gaps.find(|(place, _)| *place == column).map_or(Source::Row(self.last), |(_, source)| *source)
    }
}

//! What one side has of a key: how many rows, and sums of hashes of their values.

use std::io;

use super::sorted::{Entry, Sorted};

/// A hash of a value or of a row, of 64 bits.
pub(super) type Lane = u64;
const LANE_BYTES: usize = size_of::<Lane>();

/// How the hashes of a row are made: one of 128 bits of all values, one of 64 bits of each column, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lanes {
    pub(super) of_row: bool,
    /// 0: columns have none of their own.
    pub(super) of_columns: usize,
}

impl Lanes {
    /// Of the row alone.
    pub(super) const ROW: Self = Self { of_row: true, of_columns: 0 };

    /// Lanes before those of columns.
    pub(super) fn first_column(self) -> usize {
        if self.of_row { 2 } else { 0 }
    }

    pub(super) fn count(self) -> usize {
        self.first_column() + self.of_columns
    }
}

/// The rows of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Held {
    pub(super) rows: u64,
    /// Sums over the rows.
    pub(super) lanes: Vec<Lane>,
    /// The columns, by their lanes, whose value is not known for some row.
    pub(super) unknown: Vec<bool>,
}

impl Held {
    pub(super) fn empty(lanes: Lanes) -> Self {
        let count = lanes.count();
        Self { rows: 0, lanes: vec![0; count], unknown: vec![false; count] }
    }

    /// These rows and another.
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.rows += 1;
        self.lanes.iter_mut().zip(row.lanes()).for_each(|(sum, lane)| *sum = sum.wrapping_add(lane));
        self.unknown.iter_mut().zip(0..).for_each(|(unknown, lane)| *unknown |= row.is_missing(lane));
    }

    /// The same row after a change of it: what that does not carry stays.
    fn change(&mut self, row: &Row<'_>) {
        let is_new = self.rows == 0;
        self.rows = 1;
        let known = self.lanes.iter_mut().zip(&mut self.unknown);
        for ((lane, (kept, unknown)), number) in row.lanes().zip(known).zip(0..) {
            match (row.is_missing(number), is_new) {
                (false, _) => (*kept, *unknown) = (lane, false),
                (true, true) => *unknown = true,
                (true, false) => {}
            }
        }
    }

    /// The lanes in which both differ. What one side does not know does not count.
    pub(super) fn differing(&self, other: &Self) -> Vec<usize> {
        let is_unknown = |lane: usize| [self, other].iter().any(|it| it.unknown.get(lane).copied().unwrap_or(true));
        let pairs = self.lanes.iter().zip(&other.lanes).enumerate();
        pairs.filter(|(lane, (one, other))| one != other && !is_unknown(*lane)).map(|(lane, _)| lane).collect()
    }

    pub(super) fn has_unknown(&self) -> bool {
        self.unknown.contains(&true)
    }
}

/// What an entry says of a row. A row that is to be deleted has no lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    lanes: &'a [u8],
    /// A bit a lane; empty: the row carries all columns.
    missing: &'a [u8],
}

impl<'a> Row<'a> {
    pub(super) fn read(payload: &'a [u8], lanes: Lanes) -> Self {
        let (lanes, missing) = payload.split_at_checked(lanes.count() * LANE_BYTES).unwrap_or_default();
        Self { lanes, missing }
    }

    fn is_deleted(&self) -> bool {
        self.lanes.is_empty()
    }

    fn lanes(&self) -> impl Iterator<Item = Lane> + 'a {
        self.lanes.chunks_exact(LANE_BYTES).map(|lane| lane.try_into().map_or(0, Lane::from_le_bytes))
    }

    fn is_missing(&self, lane: usize) -> bool {
        self.missing.get(lane / 8).is_some_and(|bits| bits & (1 << (lane % 8)) != 0)
    }
}

/// The bits of lanes that a row does not carry; empty: it carries all.
pub(super) fn missing_bits(lanes: Lanes, missing: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut bits = Vec::new();
    for lane in missing {
        bits.resize(lanes.count().div_ceil(8), 0);
        if let Some(byte) = bits.get_mut(lane / 8) {
            *byte |= 1 << (lane % 8);
        }
    }
    bits
}

/// How several rows of a key are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    /// They are there side by side.
    Sum,
    /// They are changes of one row, in their order.
    Latest,
}

/// Each key of sorted entries once.
#[derive(Debug)]
pub(super) struct Keys {
    entries: Sorted,
    next: Option<Entry>,
    lanes: Lanes,
    reduction: Reduction,
}

impl Keys {
    pub(super) fn new(mut entries: Sorted, lanes: Lanes, reduction: Reduction) -> io::Result<Self> {
        let next = entries.next()?;
        Ok(Self { entries, next, lanes, reduction })
    }

    /// The next key with what is held of it; none: there are no more. A key whose row is deleted is not there.
    pub(super) fn next(&mut self) -> io::Result<Option<(Vec<u8>, Held)>> {
        while let Some(first) = self.next.take() {
            let held = self.key(&first)?;
            if held.rows > 0 {
                return Ok(Some((first.key().to_vec(), held)));
            }
        }
        Ok(None)
    }

    fn key(&mut self, first: &Entry) -> io::Result<Held> {
        let mut held = Held::empty(self.lanes);
        self.take(&mut held, first);
        while let Some(entry) = self.entries.next()? {
            if entry.key() != first.key() {
                self.next = Some(entry);
                break;
            }
            self.take(&mut held, &entry);
        }
        Ok(held)
    }

    fn take(&self, held: &mut Held, entry: &Entry) {
        let row = Row::read(entry.payload(), self.lanes);
        match (self.reduction, row.is_deleted()) {
            (_, true) => *held = Held::empty(self.lanes),
            (Reduction::Sum, false) => held.add(&row),
            (Reduction::Latest, false) => held.change(&row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sorted::Sorter;
    use super::*;

    const TWO: Lanes = Lanes { of_row: false, of_columns: 2 };

    fn payload(lanes: [u64; 2], missing: &[usize]) -> Vec<u8> {
        let lanes = lanes.iter().flat_map(|lane| lane.to_le_bytes());
        lanes.chain(missing_bits(TWO, missing.iter().copied())).collect()
    }

    fn keys(rows: &[(&str, u8, Vec<u8>)], reduction: Reduction) -> Vec<(String, Held)> {
        let mut sorter = Sorter::default();
        rows.iter().for_each(|(key, order, payload)| sorter.add(key.as_bytes(), &[*order], payload).unwrap());
        let mut keys = Keys::new(sorter.finish().unwrap(), TWO, reduction).unwrap();
        let named = |(key, held)| (String::from_utf8(key).unwrap(), held);
        std::iter::from_fn(|| keys.next().unwrap()).map(named).collect()
    }

    fn held(rows: u64, lanes: [u64; 2], unknown: [bool; 2]) -> Held {
        Held { rows, lanes: lanes.to_vec(), unknown: unknown.to_vec() }
    }

    #[test]
    fn rows_side_by_side_are_summed() {
        let rows =
            [("a", 0, payload([1, 2], &[])), ("b", 0, payload([9, 9], &[])), ("a", 0, payload([3, u64::MAX], &[1]))];
        let expected = [held(2, [4, 1], [false, true]), held(1, [9, 9], [false; 2])];
        assert_eq!(
            keys(&rows, Reduction::Sum),
            [("a".to_owned(), expected[0].clone()), ("b".to_owned(), expected[1].clone())]
        );
    }

    #[test]
    fn last_change_of_a_key_counts_and_what_it_does_not_carry_stays() {
        let rows = [
            ("a", 1, payload([1, 2], &[])),
            ("a", 2, payload([5, 0], &[1])),
            ("deleted", 1, payload([1, 1], &[])),
            ("deleted", 2, Vec::new()),
            ("again", 1, payload([1, 1], &[])),
            ("again", 2, Vec::new()),
            ("again", 3, payload([7, 0], &[1])),
        ];
        let found = keys(&rows, Reduction::Latest);
        assert_eq!(
            found,
            [("a".to_owned(), held(1, [5, 2], [false; 2])), ("again".to_owned(), held(1, [7, 0], [false, true]))]
        );
    }

    #[test]
    fn unknown_values_differ_from_nothing() {
        let known = held(1, [1, 2], [false; 2]);
        assert_eq!(known.differing(&held(1, [1, 3], [false; 2])), [1]);
        assert_eq!(known.differing(&held(1, [1, 3], [false, true])), [0; 0]);
        assert!(held(1, [1, 3], [false, true]).has_unknown() && !known.has_unknown());
    }
}

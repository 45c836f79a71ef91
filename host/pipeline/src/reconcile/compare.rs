//! Both sides in the order of their keys, side by side.

use std::collections::HashMap;
use std::io;

use serde::Serialize;

use super::held::{Held, Keys};

/// Keys that are remembered, to be looked at again.
pub(super) const MAX_REMEMBERED: usize = 100_000;

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// The source has the key, and the sink does not.
    Missing,
    /// The sink has the key, and the source does not.
    Surplus,
    /// Both have the key, with other values or another number of rows.
    Different,
}

/// Keys that differ, by what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Differences {
    /// Keys that only the source has.
    pub missing: u64,
    /// Keys that only the sink has.
    pub surplus: u64,
    /// Keys that both have with other values.
    pub different: u64,
}

impl Differences {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.missing + self.surplus + self.different
    }

    fn count(&mut self, difference: Difference) {
        *match difference {
            Difference::Missing => &mut self.missing,
            Difference::Surplus => &mut self.surplus,
            Difference::Different => &mut self.different,
        } += 1;
    }
}

/// Keys that follow one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    pub(super) source_rows: u64,
    pub(super) sink_rows: u64,
    pub(super) keys: Differences,
}

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DifferingKey {
    pub(super) key: Vec<u8>,
    pub(super) difference: Difference,
    /// What the source has of it.
    pub(super) source: Held,
    /// The lanes in which both sides differ.
    pub(super) lanes: Vec<usize>,
    /// The place of its range.
    pub(super) range: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) source_rows: u64,
    pub(super) sink_rows: u64,
    /// Keys that differ.
    pub(super) keys: Differences,
    /// Keys of the sink of which not all values are known.
    pub(super) incomplete: u64,
    /// The first of the keys that differ, in their order.
    pub(super) differing: Vec<DifferingKey>,
    /// The ranges that differ, in their order; those of keys that are not remembered are counted alone.
    pub(super) ranges: Vec<Range>,
    pub(super) more_ranges: u64,
}

impl Found {
    /// All keys that differ are remembered.
    pub(super) fn is_whole(&self) -> bool {
        self.differing.len() as u64 == self.keys.total()
    }

    /// The same with those keys alone that are kept, and what is known of them now.
    pub(super) fn only(mut self, kept: impl IntoIterator<Item = DifferingKey>) -> Self {
        let range_of: HashMap<Vec<u8>, usize> = self.differing.drain(..).map(|it| (it.key, it.range)).collect();
        self.keys = Differences::default();
        self.ranges.iter_mut().for_each(|range| range.keys = Differences::default());
        for key in kept {
            let Some(range) = range_of.get(&key.key).copied() else { continue };
            self.keys.count(key.difference);
            if let Some(range) = self.ranges.get_mut(range) {
                range.keys.count(key.difference);
            }
            self.differing.push(DifferingKey { range, ..key });
        }
        self
    }

    /// The ranges that differ.
    pub(super) fn differing_ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().filter(|range| range.keys.total() > 0)
    }
}

/// Compares both sides, in ranges of so many keys. At most `max_ranges` are remembered.
pub(super) fn compare(mut source: Keys, mut sink: Keys, range_keys: u64, max_ranges: usize) -> io::Result<Found> {
    let mut comparison = Comparison { found: Found::default(), range: None, range_keys, max_ranges };
    let (mut left, mut right) = (source.next()?, sink.next()?);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let of_source = if order.is_le() { left.take() } else { None };
        let of_sink = if order.is_ge() { right.take() } else { None };
        if of_source.is_some() {
            left = source.next()?;
        }
        if of_sink.is_some() {
            right = sink.next()?;
        }
        comparison.key(of_source, of_sink);
    }
    comparison.end_range();
    Ok(comparison.found)
}

struct Comparison {
    found: Found,
    /// The range of the last key, and how many keys it has.
    range: Option<(Range, u64)>,
    range_keys: u64,
    max_ranges: usize,
}

impl Comparison {
    fn key(&mut self, source: Option<(Vec<u8>, Held)>, sink: Option<(Vec<u8>, Held)>) {
        let Some(key) = source.as_ref().or(sink.as_ref()).map(|(key, _)| key.clone()) else { return };
        let (source, sink) = (source.map(|(_, held)| held), sink.map(|(_, held)| held));
        let rows = |held: &Option<Held>| held.as_ref().map_or(0, |held| held.rows);
        let (source_rows, sink_rows) = (rows(&source), rows(&sink));
        self.found.source_rows += source_rows;
        self.found.sink_rows += sink_rows;
        self.found.incomplete += u64::from(sink.as_ref().is_some_and(Held::has_unknown));
        let (difference, lanes) = match (&source, &sink) {
            (Some(_), None) => (Some(Difference::Missing), Vec::new()),
            (None, Some(_)) => (Some(Difference::Surplus), Vec::new()),
            (Some(source), Some(sink)) => {
                let lanes = source.differing(sink);
                let differs = source.rows != sink.rows || !lanes.is_empty();
                (differs.then_some(Difference::Different), lanes)
            }
            (None, None) => (None, Vec::new()),
        };
        self.enter_range(&key, source_rows, sink_rows);
        if let Some(difference) = difference {
            self.differs(DifferingKey { key, difference, source: source.unwrap_or_default(), lanes, range: 0 });
        }
    }

    fn differs(&mut self, key: DifferingKey) {
        self.found.keys.count(key.difference);
        if let Some((range, _)) = &mut self.range {
            range.keys.count(key.difference);
        }
        if self.found.differing.len() < MAX_REMEMBERED {
            self.found.differing.push(DifferingKey { range: self.found.ranges.len(), ..key });
        }
    }

    fn enter_range(&mut self, key: &[u8], source_rows: u64, sink_rows: u64) {
        if self.range.as_ref().is_some_and(|(_, keys)| *keys >= self.range_keys) {
            self.end_range();
        }
        let (range, keys) = self.range.get_or_insert_with(|| {
            let (from, to) = (key.to_vec(), Vec::new());
            (Range { from, to, source_rows: 0, sink_rows: 0, keys: Differences::default() }, 0)
        });
        *keys += 1;
        range.to.clear();
        range.to.extend_from_slice(key);
        range.source_rows += source_rows;
        range.sink_rows += sink_rows;
    }

    fn end_range(&mut self) {
        let Some((range, _)) = self.range.take().filter(|(range, _)| range.keys.total() > 0) else { return };
        if self.found.ranges.len() < self.max_ranges {
            self.found.ranges.push(range);
        } else {
            self.found.more_ranges += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::held::{Lanes, Reduction};
    use super::super::sorted::Sorter;
    use super::*;

    fn keys(rows: &[(u8, u64)]) -> Keys {
        let mut sorter = Sorter::default();
        for (key, value) in rows {
            let payload: Vec<u8> = [*value, 0].iter().flat_map(|lane| lane.to_le_bytes()).collect();
            sorter.add(&[*key], &[], &payload).unwrap();
        }
        Keys::new(sorter.finish().unwrap(), Lanes::ROW, Reduction::Sum).unwrap()
    }

    fn found(source: &[(u8, u64)], sink: &[(u8, u64)], range_keys: u64, max_ranges: usize) -> Found {
        compare(keys(source), keys(sink), range_keys, max_ranges).unwrap()
    }

    fn names(found: &Found) -> Vec<(u8, Difference, usize)> {
        found.differing.iter().map(|it| (it.key[0], it.difference, it.range)).collect()
    }

    fn ranges(found: &Found) -> Vec<(u8, u8, u64, u64, u64)> {
        let shown =
            |range: &Range| (range.from[0], range.to[0], range.source_rows, range.sink_rows, range.keys.total());
        found.differing_ranges().map(shown).collect()
    }

    #[test]
    fn equal_sides_have_no_range() {
        let rows: Vec<(u8, u64)> = (0..100).map(|key| (key, u64::from(key) * 7)).collect();
        let found = found(&rows, &rows, 10, 5);
        assert_eq!((found.source_rows, found.sink_rows, found.keys.total(), found.ranges.len()), (100, 100, 0, 0));
        assert!(found.is_whole());
    }

    #[test]
    fn each_difference_is_named_with_its_range() {
        let found = found(
            &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (7, 7)],
            &[(1, 1), (2, 0), (4, 4), (5, 5), (5, 5), (6, 6), (7, 7)],
            3,
            9,
        );
        let (missing, surplus, different) = (1, 1, 2);
        assert_eq!(found.keys, Differences { missing, surplus, different });
        assert_eq!(
            names(&found),
            [
                (2, Difference::Different, 0),
                (3, Difference::Missing, 0),
                (5, Difference::Different, 1),
                (6, Difference::Surplus, 1)
            ]
        );
        assert_eq!(ranges(&found), [(1, 3, 3, 2, 2), (4, 6, 2, 4, 2)]);
    }

    #[test]
    fn one_side_may_be_empty() {
        let rows = [(1, 1), (2, 2)];
        assert_eq!(found(&rows, &[], 10, 5).keys.missing, 2);
        assert_eq!(found(&[], &rows, 10, 5).keys.surplus, 2);
        assert_eq!(found(&[], &[], 10, 5), Found::default());
    }

    #[test]
    fn ranges_beyond_the_bound_are_counted() {
        let rows: Vec<(u8, u64)> = (0..10).map(|key| (key, 1)).collect();
        let found = found(&rows, &[], 1, 4);
        assert_eq!((found.ranges.len(), found.more_ranges, found.keys.missing), (4, 6, 10));
    }

    #[test]
    fn keys_that_do_not_differ_any_more_leave_their_range() {
        let found = found(&[(1, 1), (2, 2), (3, 3), (4, 4)], &[], 2, 9);
        let kept = DifferingKey { range: 0, ..found.differing[3].clone() };
        let found = found.only([kept]);
        assert_eq!((found.keys.missing, names(&found)), (1, vec![(4, Difference::Missing, 1)]));
        assert_eq!(ranges(&found), [(3, 4, 2, 0, 1)]);
    }

    #[test]
    fn random_sides_differ_where_maps_differ() {
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..50 {
            let mut side = || {
                let mut rows = Vec::new();
                for key in 0..60 {
                    if random(3) > 0 {
                        rows.push((key, random(2) + 1));
                    }
                }
                rows
            };
            let (source, sink) = (side(), side());
            let (left, right): (HashMap<u8, u64>, HashMap<u8, u64>) =
                (source.iter().copied().collect(), sink.iter().copied().collect());
            let found = found(&source, &sink, 7, 100);
            let expected: Vec<u8> = (0..60).filter(|key| left.get(key) != right.get(key)).collect();
            assert_eq!(found.differing.iter().map(|it| it.key[0]).collect::<Vec<_>>(), expected);
            assert_eq!(found.differing_ranges().map(|range| range.keys.total()).sum::<u64>(), expected.len() as u64);
        }
    }
}

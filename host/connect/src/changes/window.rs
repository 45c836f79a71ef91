//! Values of a watermark column from one to another, as numbers of a [`Measure`] and as a connector is asked for them.

use super::loaded::Loaded;
use super::measure::Measure;
use super::position::Version;

/// Values of the watermark column, as [`Measure::print`] writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The least of them; none: from the least that there is, and rows without a value too (NULL, and what the server has in the
    /// place of one: NaN, infinity).
    pub from: Option<RangeStart>,
    /// The greatest.
    pub upto: String,
    /// Others beyond it.
    pub later: Option<Later<String>>,
}

/// Where a range begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeStart {
    /// The value.
    pub value: String,
    /// Rows of this value are not in the range.
    pub is_excluded: bool,
}

/// Values greater than one and at most another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later<V> {
    /// Greater than this.
    pub after: V,
    /// At most this.
    pub upto: V,
}

/// Where a window begins. The lesser of two has more rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub(super) value: i128,
    pub(super) is_excluded: bool,
}

impl Start {
    pub(super) fn at(value: i128) -> Self {
        Self { value, is_excluded: false }
    }

    pub(super) fn after(value: i128) -> Self {
        Self { value, is_excluded: true }
    }
}

/// Values from one on up to another, and those of the future that were read with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Start,
    pub(super) upto: i128,
    pub(super) later: Option<Later<i128>>,
}

impl Window {
    pub(super) fn range(&self, measure: &Measure) -> Range {
        let from = RangeStart { value: measure.print(self.from.value), is_excluded: self.from.is_excluded };
        Upto { value: self.upto, later: self.later }.range(Some(from), measure)
    }
}

/// How far a load reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upto {
    pub(super) value: i128,
    /// Values of the future that are read too, while others of their time are yet to come.
    pub(super) later: Option<Later<i128>>,
}

impl Upto {
    fn range(self, from: Option<RangeStart>, measure: &Measure) -> Range {
        let print = |value: i128| measure.print(value);
        let later = self.later.map(|later| Later { after: print(later.after), upto: print(later.upto) });
        Range { from, upto: print(self.value), later }
    }

    /// All rows of the table up to it.
    pub(super) fn whole(self, measure: &Measure) -> Range {
        self.range(None, measure)
    }

    /// The rows from there on.
    pub(super) fn since(self, from: Start) -> Window {
        Window { from, upto: self.value, later: self.later }
    }

    /// `VALUE` or `VALUE~AFTER~UPTO`.
    pub(super) fn print(self, measure: &Measure) -> String {
        let Range { upto, later, .. } = self.whole(measure);
        match later {
            None => upto,
            Some(Later { after, upto: most }) => format!("{upto}~{after}~{most}"),
        }
    }

    fn parse(text: &str, measure: &Measure) -> Option<Self> {
        let mut values = text.split('~').map(|value| measure.parse(value));
        let value = values.next()??;
        let later = match (values.next(), values.next(), values.next()) {
            (None, ..) => None,
            (Some(after), Some(upto), None) => Some(Later { after: after?, upto: upto? }),
            _ => return None,
        };
        Some(Self { value, later })
    }
}

/// How far loads came, and which rows near there are loaded.
///
/// Its text is [`Upto`]'s, then `/START/LOADED`: `7/7/o8BvMOT4dDRHmSnFqhHhXg`. A start that does not count itself begins with `>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) window: Window,
    pub(super) loaded: Loaded,
}

impl Reached {
    pub(super) fn print(&self, measure: &Measure) -> String {
        let Window { from, upto, later } = self.window;
        let start = if from.is_excluded { ">" } else { "" };
        format!(
            "{}/{start}{}/{}",
            Upto { value: upto, later }.print(measure),
            measure.print(from.value),
            self.loaded.print()
        )
    }

    /// An upper bound alone remembers nothing: rows that have its value are read again. What a host wrote that did not remember
    /// rows is gone on from as it was then, by rows greater than it.
    pub(super) fn parse(version: Version, place: &str, measure: &Measure) -> Option<Self> {
        let (upto, memory) = place.split_once('/').map_or((place, None), |(upto, memory)| (upto, Some(memory)));
        let upto = match (version, memory) {
            (Version::First, None) => Upto { value: measure.parse(upto)?, later: None },
            (Version::First, Some(_)) => return None,
            (Version::Second, _) => Upto::parse(upto, measure)?,
        };
        let (from, loaded) = match (version, memory) {
            (Version::First, _) => (Start::after(upto.value), Loaded::NOTHING),
            (Version::Second, None) => (Start::at(upto.value), Loaded::NOTHING),
            (Version::Second, Some(memory)) => {
                let (start, loaded) = memory.split_once('/')?;
                let (start, is_excluded) = start.strip_prefix('>').map_or((start, false), |start| (start, true));
                (Start { value: measure.parse(start)?, is_excluded }, Loaded::parse(loaded)?)
            }
        };
        Some(Self { window: upto.since(from), loaded })
    }

    /// How far the load that starts here reads if the newest value is this: `newest` and what is of the future.
    pub(super) fn upto(&self, newest: Option<Upto>) -> Upto {
        let Window { upto: reached, later: before, .. } = self.window;
        // Rows that had the position may be gone: what was read stays read.
        let value = newest.map_or(reached, |newest| newest.value.max(reached));
        let later = match (before, newest.and_then(|newest| newest.later)) {
            // Rows that were read before their time are known until the position has passed them.
            (Some(before), Some(now)) => {
                Some(Later { after: before.after.min(now.after), upto: before.upto.max(now.upto) })
            }
            (before, now) => before.or(now),
        };
        let later = later.map(|later| Later { after: later.after.max(value), ..later });
        Upto { value, later: later.filter(|later| later.after < later.upto) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::loaded::Sum;
    use super::super::measure::Form;
    use super::*;

    const NUMBERS: Measure = Measure { form: Form::Integer, least: i64::MIN as i128, step: 1 };

    fn reached(place: &str) -> Option<Reached> {
        Reached::parse(Version::Second, place, &NUMBERS)
    }

    #[test]
    fn places_are_read_as_they_were_meant() {
        let first = Reached::parse(Version::First, "7", &NUMBERS).unwrap();
        assert_eq!((first.window.from, first.window.upto), (Start::after(7), 7));
        let bound = reached("7~9~20").unwrap();
        assert_eq!((bound.window.from, bound.window.later), (Start::at(7), Some(Later { after: 9, upto: 20 })));
        assert_eq!(bound.loaded, Loaded::NOTHING);
        for text in ["", "x", "7~9", "7~9~20~30", "7/5", "7/x/", "7/5/A", "7/5/3/", "7/>/", "7/5/3/4/"] {
            assert_eq!(reached(text), None, "{text}");
        }
        assert_eq!(Reached::parse(Version::First, "7/5/", &NUMBERS), None);
    }

    #[test]
    fn load_reads_on_from_where_the_last_one_came_to() {
        let upto = |place: &str, newest: Option<Upto>| reached(place).unwrap().upto(newest).print(&NUMBERS);
        let newest = |value, later: Option<[i128; 2]>| {
            Some(Upto { value, later: later.map(|[after, upto]| Later { after, upto }) })
        };
        assert_eq!(upto("7", newest(9, None)), "9");
        assert_eq!(upto("7", newest(5, None)), "7", "the newest rows are gone");
        assert_eq!(upto("7", None), "7");
        assert_eq!(upto("7", newest(9, Some([10, 99]))), "9~10~99");
        assert_eq!(upto("7~8~99", newest(9, None)), "9~9~99", "one that was read before its time stays known");
        assert_eq!(upto("7~8~99", newest(9, Some([20, 50]))), "9~9~99");
        assert_eq!(upto("7~8~99", newest(99, None)), "99", "its time has come");
        assert_eq!(upto("7", newest(5, Some([6, 7]))), "7");
    }

    proptest! {
        #[test]
        fn place_comes_back(value in -50_i128..50, start in -50_i128..50, is_excluded in any::<bool>(), later in any::<Option<(i64, i64)>>(), hashes in proptest::collection::vec(any::<u128>(), 0..3), sum in any::<Option<u64>>()) {
            let later = later.map(|(after, upto)| Later { after: after.into(), upto: upto.into() });
            let loaded = sum.map_or(Loaded::Rows(hashes), |rows| Loaded::Sum(Sum { rows, hashes: 7 }));
            let place = Reached { window: Window { from: Start { value: start, is_excluded }, upto: value, later }, loaded };
            prop_assert_eq!(reached(&place.print(&NUMBERS)), Some(place));
        }

        #[test]
        fn no_text_is_a_panic(text in "[0-9>~/A-Z-]{0,40}") {
            let _ = reached(&text);
        }
    }
}

//! Ranges of a key that cover everything.
//!
//! The first range has no lower bound and takes null keys, the last no upper bound: whatever was inserted since the bounds
//! were chosen, and whatever the key holds, falls into exactly one of them.

mod bounds;

use serde::{Deserialize, Serialize};

pub use self::bounds::Cut;
use crate::bindings::datakit::kit::sql::Value;
use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;

/// The type of a key that ranges can be cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// 32 bits.
    Int,
    /// 64 bits.
    Bigint,
    /// A day.
    Date,
    /// A UUID. Its order is the server's own: bounds are computed and compared there only.
    Uuid,
}

impl KeyType {
    /// A bound as the parameter of exactly the key's type, so that the server can use its index.
    ///
    /// # Errors
    /// A text this datakit did not write.
    pub fn parameter(self, bound: &str) -> Result<Value, Error> {
        let wrong = || Error::datakit(codes::STATE, format!("`{bound}` is no bound of a key of type {self:?}"));
        Ok(match self {
            Self::Int => Value::Int32(bound.parse().map_err(|_| wrong())?),
            Self::Bigint => Value::Int64(bound.parse().map_err(|_| wrong())?),
            Self::Date => Value::Date(bound.to_owned()),
            Self::Uuid => Value::Uuid(bound.to_owned()),
        })
    }
}

/// A range of a key: at or above `lower`, below `upper`. Without `lower` it takes null keys too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRange {
    /// The key column's name.
    pub column: String,
    /// Its type.
    pub key_type: KeyType,
    /// The lowest key in the range, in its text form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower: Option<String>,
    /// The lowest key above the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<String>,
}

/// The ranges between bounds in ascending order; one range a bound, and one more. Equal neighbours count once: no range is
/// empty by construction.
#[must_use]
pub fn between(column: &str, key_type: KeyType, mut bounds: Vec<String>) -> Vec<KeyRange> {
    bounds.dedup();
    let uppers = bounds.iter().cloned().map(Some).chain([None]);
    let lowers = [None].into_iter().chain(bounds.iter().cloned().map(Some));
    lowers.zip(uppers).map(|(lower, upper)| KeyRange { column: column.to_owned(), key_type, lower, upper }).collect()
}

/// Bounds that cut `low..=high` into `parts` of equal width, strictly ascending and all above `low`.
#[must_use]
pub fn equal_widths(low: i64, high: i64, parts: u32) -> Vec<i64> {
    let (low, high, parts) = (i128::from(low), i128::from(high), i128::from(parts));
    let width = high - low + 1;
    let mut bounds: Vec<i64> = (1..parts)
        .map(|part| low + width * part / parts)
        .filter(|bound| *bound > low && *bound <= high)
        .filter_map(|bound| i64::try_from(bound).ok())
        .collect();
    bounds.dedup();
    bounds
}

/// At most `count` of the bounds, evenly chosen.
#[must_use]
pub fn thin(bounds: Vec<String>, count: usize) -> Vec<String> {
    if bounds.len() <= count {
        return bounds;
    }
    // With n bounds there are n + 1 ranges; the i-th of count + 1 new ones ends where i/(count + 1) of them do.
    let ranges = bounds.len() + 1;
    (1..=count).filter_map(|i| bounds.get(i * ranges / (count + 1) - 1).cloned()).collect()
}

/// A day since 1970-01-01 as `YYYY-MM-DD`, by the proleptic Gregorian calendar; years 1 to 9999.
///
/// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is their last.
#[must_use]
pub fn date_text(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of the ranges a key falls into, by the meaning of their bounds.
    fn containing(ranges: &[KeyRange], key: Option<i64>) -> usize {
        let number = |bound: &Option<String>| bound.as_ref().map(|text| text.parse::<i64>().unwrap());
        let contains = |range: &&KeyRange| match key {
            None => range.lower.is_none(),
            Some(key) => {
                number(&range.lower).is_none_or(|lower| key >= lower)
                    && number(&range.upper).is_none_or(|upper| key < upper)
            }
        };
        ranges.iter().filter(contains).count()
    }

    fn ranges_of(bounds: impl IntoIterator<Item = i64>) -> Vec<KeyRange> {
        between("id", KeyType::Bigint, bounds.into_iter().map(|bound| bound.to_string()).collect())
    }

    #[test]
    fn no_bounds_make_one_range_of_everything() {
        let ranges = ranges_of([]);
        assert_eq!(ranges.len(), 1);
        assert_eq!((&ranges[0].lower, &ranges[0].upper), (&None, &None));
    }

    #[test]
    fn a_bound_named_twice_makes_no_empty_range() {
        assert_eq!(ranges_of([3, 3, 5]).len(), 3);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let bounds = equal_widths(i64::MIN, i64::MAX, 4);
        assert_eq!(bounds, [-4_611_686_018_427_387_904, 0, 4_611_686_018_427_387_904]);
        assert_eq!(equal_widths(7, 7, 10), Vec::<i64>::new());
        assert_eq!(equal_widths(1, 3, 10), [2, 3]);
    }

    #[test]
    fn days_are_dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (19_782, "2024-02-29"),
        ] {
            assert_eq!(date_text(days), text);
        }
    }

    #[test]
    fn a_parameter_has_the_type_of_its_key() {
        assert_eq!(KeyType::Int.parameter("-7").unwrap(), Value::Int32(-7));
        assert_eq!(KeyType::Bigint.parameter("9223372036854775807").unwrap(), Value::Int64(i64::MAX));
        assert_eq!(KeyType::Date.parameter("2024-02-29").unwrap(), Value::Date("2024-02-29".into()));
        assert!(KeyType::Int.parameter("2147483648").is_err());
    }

    proptest! {
        #[test]
        fn every_key_falls_into_exactly_one_range(
            mut bounds in proptest::collection::vec(any::<i64>(), 0..40),
            keys in proptest::collection::vec(any::<Option<i64>>(), 1..40),
        ) {
            bounds.sort_unstable();
            let ranges = ranges_of(bounds.iter().copied());
            for key in keys.into_iter().chain(bounds.iter().copied().map(Some)).chain([None]) {
                prop_assert_eq!(containing(&ranges, key), 1, "{:?}", key);
            }
        }

        #[test]
        fn equal_widths_ascend_and_differ_by_one_at_most(low in any::<i64>(), span in 0..i64::MAX, parts in 1..200_u32) {
            let high = low.saturating_add(span);
            let bounds = equal_widths(low, high, parts);
            prop_assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(bounds.iter().all(|bound| *bound > low && *bound <= high));
            let edges: Vec<i128> =
                [low].iter().chain(&bounds).map(|b| i128::from(*b)).chain([i128::from(high) + 1]).collect();
            let widths: Vec<i128> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
            prop_assert!(widths.iter().max().unwrap() - widths.iter().min().unwrap() <= 1);
        }

        #[test]
        fn thinning_keeps_order_and_count(bounds in proptest::collection::vec(any::<u32>(), 0..200), count in 0..50_usize) {
            let mut bounds = bounds;
            bounds.sort_unstable();
            bounds.dedup();
            let texts: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            let thinned = thin(texts.clone(), count);
            prop_assert_eq!(thinned.len(), texts.len().min(count));
            let numbers: Vec<u32> = thinned.iter().map(|text| text.parse().unwrap()).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        }

        /// Days of the calendar follow each other, by counting them one by one over a span.
        #[test]
        fn dates_follow_each_other(start in -719_162..2_932_500_i64) {
            let parse = |text: &str| -> (i64, u32, u32) {
                let mut parts = text.split('-');
                (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap())
            };
            for days in start..start + 366 {
                let (year, month, day) = parse(&date_text(days));
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let last = match month { 2 if leap => 29, 2 => 28, 4 | 6 | 9 | 11 => 30, _ => 31 };
                let next = if day < last { (year, month, day + 1) } else if month < 12 { (year, month + 1, 1) } else { (year + 1, 1, 1) };
                prop_assert_eq!(parse(&date_text(days + 1)), next);
            }
        }
    }
}

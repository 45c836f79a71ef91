//! `date_trunc`, as PostgreSQL has it, by the calendar of ISO 8601 without an end on either side.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::functions::{self, Function};

const SECONDS_PER_DAY: i64 = 86_400;
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// What a date or timestamp is cut down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

const UNITS: &[(&str, Unit)] = &[
    ("microseconds", Unit::Microseconds),
    ("milliseconds", Unit::Milliseconds),
    ("second", Unit::Second),
    ("minute", Unit::Minute),
    ("hour", Unit::Hour),
    ("day", Unit::Day),
    ("week", Unit::Week),
    ("month", Unit::Month),
    ("quarter", Unit::Quarter),
    ("year", Unit::Year),
];

impl Unit {
    /// By its name, in either case.
    pub(super) fn of(name: &str) -> Option<Self> {
        UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    /// All names.
    pub(super) fn names() -> String {
        UNITS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Whether it holds whole days.
    pub(super) fn is_of_days(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month | Self::Quarter | Self::Year)
    }

    /// Ticks of a unit shorter than a day, with so many ticks in a second; one where a tick is longer.
    fn ticks(self, per_second: i64) -> i64 {
        match self {
            Self::Microseconds => (per_second / 1_000_000).max(1),
            Self::Milliseconds => (per_second / 1_000).max(1),
            Self::Second => per_second,
            Self::Minute => 60 * per_second,
            Self::Hour => 3_600 * per_second,
            _ => SECONDS_PER_DAY * per_second,
        }
    }

    /// The first day of the unit that a day is in.
    fn first_day(self, day: i64) -> i64 {
        match self {
            // 1970-01-01 was a Thursday; a week begins on Monday.
            Self::Week => day - (day + 3).rem_euclid(7),
            Self::Month => first_of_month(day, |month| month),
            Self::Quarter => first_of_month(day, |month| (month - 1) / 3 * 3 + 1),
            Self::Year => first_of_month(day, |_| 1),
            _ => day,
        }
    }

    /// A moment, in ticks since 1970-01-01, cut down; none where 64 bits do not hold the result.
    fn cut(self, ticks: i64, per_second: i64) -> Option<i64> {
        if !self.is_of_days() {
            return ticks.checked_sub(ticks.rem_euclid(self.ticks(per_second)));
        }
        let per_day = SECONDS_PER_DAY * per_second;
        self.first_day(ticks.div_euclid(per_day)).checked_mul(per_day)
    }
}

/// The first day of another month, from 1, of the same year, by Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn first_of_month(day: i64, other: impl Fn(i64) -> i64) -> i64 {
    let day = day + EPOCH;
    let (era, day_of_era) = (day.div_euclid(DAYS_PER_ERA), day.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on: 0 to 11. January and February belong to the year after.
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let month = other(month);
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
}

/// `date_trunc('unit', value)` of a type that is kept.
pub(super) fn date_trunc(unit: Unit) -> Function {
    let truncation = DateTrunc { unit, signature: Signature::any(1, Volatility::Immutable) };
    Function { udf: Arc::new(ScalarUDF::new_from_impl(truncation)) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    unit: Unit,
    signature: Signature,
}

impl DateTrunc {
    fn timestamps<T: ArrowPrimitiveType<Native = i64>>(&self, array: &ArrayRef, per_second: i64) -> Result<ArrayRef> {
        let array = array.as_primitive_opt::<T>().ok_or_else(wrong)?;
        let cut = array.try_unary::<_, T, _>(|ticks| {
            let cut = self.unit.cut(ticks, per_second);
            cut.ok_or_else(|| DataFusionError::Execution("the first moment of the unit is out of range".to_owned()))
        });
        Ok(Arc::new(cut?.with_data_type(array.data_type().clone())))
    }

    fn dates(&self, array: &PrimitiveArray<Date32Type>) -> Result<ArrayRef> {
        let cut = array.try_unary::<_, Date32Type, _>(|day| {
            let first = i32::try_from(self.unit.first_day(i64::from(day)));
            first.map_err(|_| DataFusionError::Execution("the first day of the unit is out of range".to_owned()))
        });
        Ok(Arc::new(cut?))
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Plan("date_trunc takes a date or a timestamp".to_owned())
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(wrong)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        functions::by_rows(args, |arrays| {
            let [array] = arrays else { return Err(wrong()) };
            match array.data_type() {
                DataType::Date32 => self.dates(array.as_primitive_opt().ok_or_else(wrong)?),
                DataType::Timestamp(TimeUnit::Second, _) => self.timestamps::<TimestampSecondType>(array, 1),
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    self.timestamps::<TimestampMillisecondType>(array, 1_000)
                }
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    self.timestamps::<TimestampMicrosecondType>(array, 1_000_000)
                }
                DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                    self.timestamps::<TimestampNanosecondType>(array, 1_000_000_000)
                }
                _ => Err(wrong()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::temporal_conversions::date32_to_datetime;

    use super::*;

    fn shown(unit: Unit, day: i32) -> String {
        let first = i32::try_from(unit.first_day(i64::from(day))).unwrap();
        date32_to_datetime(first).unwrap().format("%Y-%m-%d %a").to_string()
    }

    /// chrono is the witness, from 0001-01-01 to 9999-12-31.
    #[test]
    fn days_are_cut_as_chrono_writes_them() {
        for day in (-719_162..=2_932_896).step_by(11) {
            let date = date32_to_datetime(day).unwrap();
            let text = |format: &str| date.format(format).to_string();
            assert_eq!(shown(Unit::Year, day)[..10], text("%Y-01-01"), "{date}");
            assert_eq!(shown(Unit::Month, day)[..10], text("%Y-%m-01"), "{date}");
            let month: u32 = text("%m").parse().unwrap();
            let quarter = format!("{}-{:02}-01", text("%Y"), (month - 1) / 3 * 3 + 1);
            assert_eq!(shown(Unit::Quarter, day)[..10], quarter, "{date}");
            let monday = shown(Unit::Week, day);
            assert!(monday.ends_with("Mon"), "{date}: {monday}");
            assert!((0..7).contains(&(i64::from(day) - Unit::Week.first_day(i64::from(day)))), "{date}");
        }
    }

    #[test]
    fn moments_at_the_ends_of_64_bits_are_out_of_range() {
        assert_eq!(Unit::Hour.cut(i64::MIN, 1_000_000), None);
        assert_eq!(Unit::Year.cut(i64::MIN, 1_000_000_000), None);
        assert_eq!(Unit::Second.cut(i64::MAX, 1), Some(i64::MAX));
        assert_eq!(Unit::Second.cut(-1, 1_000), Some(-1_000));
    }
}

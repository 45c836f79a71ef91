//! The bounds of a file's columns, by the statistics in its log entry.
//!
//! A bound may be wider than the values and never narrower, whoever wrote it: texts are cut, timestamps are cut to milliseconds,
//! and some writers leave NaN out of account. What cannot be relied on is no bound.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime};
use serde_json::Value;

/// Texts of so many characters may be cut: `delta.dataSkippingStringPrefixLength` by default.
const CUT_CHARACTERS: usize = 32;
/// What writers put behind a text that they cut begins here.
const TIE_BREAKERS: char = '\u{fffd}';
/// Bounds of timestamps have milliseconds.
const MILLISECOND_MICROS: i64 = 999;
/// Old zones had offsets of seconds, which some writers have cut to minutes.
const FIRST_YEAR: i32 = 1900;
/// A JSON number with a point has so many digits that count.
const EXACT_DIGITS: u8 = 15;

/// Which of two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Low,
    High,
}

/// The statistics of a file, as its log entry has them.
#[derive(Debug, Default)]
pub(super) struct FileStatistics(Value);

impl FileStatistics {
    /// What cannot be read says nothing.
    pub(super) fn parse(json: Option<&str>) -> Self {
        Self(json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default())
    }

    pub(super) fn rows(&self) -> Option<u64> {
        self.0.get("numRecords")?.as_u64()
    }

    pub(super) fn nulls(&self, column: &str) -> Option<u64> {
        self.0.get("nullCount")?.get(column)?.as_u64()
    }

    /// One value, comparable with [`comparable`] values of the type; none: there is no bound.
    pub(super) fn bound(&self, column: &str, data_type: &DataType, bound: Bound) -> Option<ArrayRef> {
        let bounds = match bound {
            Bound::Low => "minValues",
            Bound::High => "maxValues",
        };
        let value = self.0.get(bounds)?.get(column)?;
        match data_type {
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                exact(&(Arc::new(Int64Array::from(vec![value.as_i64()?])) as ArrayRef), data_type)
            }
            DataType::Decimal128(precision, scale) => decimal(value, *precision, *scale),
            DataType::Date32 => date(value.as_str()?),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = timestamp(value.as_str()?).filter(|time| time.year() >= FIRST_YEAR)?.and_utc();
                let micros = micros.timestamp_micros() + if bound == Bound::High { MILLISECOND_MICROS } else { 0 };
                Some(Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone_opt(zone.clone())))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(match bound {
                Bound::Low => bytes(value.as_str()?.as_bytes()),
                Bound::High => bytes(&high_text(value.as_str()?)),
            }),
            _ => None,
        }
    }
}

/// Whether files can be told apart by values of this type. Floating-point numbers have several forms of one value, and NaN, which
/// some bounds leave out.
pub(super) fn is_bounded(data_type: &DataType) -> bool {
    !data_type.is_floating()
}

/// Values in the order of their bounds: texts by their bytes.
pub(super) fn comparable(column: &ArrayRef) -> Option<ArrayRef> {
    match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => exact(column, &DataType::Binary),
        _ => Some(Arc::clone(column)),
    }
}

/// The type of [`comparable`] values.
pub(super) fn comparable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Binary,
        other => other.clone(),
    }
}

/// The value that all rows of a file have in a partition column; null for an empty text too. None: it is not of the type.
pub(super) fn partition_value(text: Option<&str>, data_type: &DataType) -> Option<ArrayRef> {
    let text = text.filter(|text| !text.is_empty());
    if let (Some(text), DataType::Timestamp(TimeUnit::Microsecond, zone)) = (text, data_type) {
        let micros = timestamp(text)?.and_utc().timestamp_micros();
        return Some(Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone_opt(zone.clone())));
    }
    exact(&(Arc::new(StringArray::from(vec![text])) as ArrayRef), data_type)
}

fn bytes(value: &[u8]) -> ArrayRef {
    Arc::new(BinaryArray::from(vec![value]))
}

/// None: a value is not of the type.
fn exact(column: &ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, data_type, &options).ok()
}

fn decimal(value: &Value, precision: u8, scale: i8) -> Option<ArrayRef> {
    let factor = 10_i128.checked_pow(u32::try_from(scale).ok()?)?;
    let unscaled = match value.as_i64() {
        Some(whole) => i128::from(whole).checked_mul(factor)?,
        None if precision <= EXACT_DIGITS => {
            let unscaled = value.as_f64()? * 10_f64.powi(scale.into());
            // Of at most 15 digits: a float holds them all.
            unscaled.round() as i128
        }
        None => return None,
    };
    let column = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale).ok()?;
    Some(Arc::new(column))
}

fn date(text: &str) -> Option<ArrayRef> {
    let days = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.to_epoch_days();
    Some(Arc::new(Date32Array::from(vec![days])))
}

/// A time with or without zone, in UTC.
fn timestamp(text: &str) -> Option<NaiveDateTime> {
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Some(time.naive_utc());
    }
    let naive = |format| NaiveDateTime::parse_from_str(text, format).ok();
    naive("%Y-%m-%dT%H:%M:%S%.f").or_else(|| naive("%Y-%m-%d %H:%M:%S%.f"))
}

/// At least every text that begins as this one does, where it may be cut.
fn high_text(text: &str) -> Vec<u8> {
    let kept = text.trim_end_matches(|c| c >= TIE_BREAKERS);
    let may_be_cut = kept.len() < text.len() || text.chars().count() >= CUT_CHARACTERS;
    // No text has this byte.
    kept.bytes().chain(may_be_cut.then_some(0xff)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::{Decimal128Type, Int32Type, TimestampMicrosecondType};
    use serde_json::json;

    use super::*;

    fn bound(value: Value, data_type: &DataType, bound: Bound) -> Option<ArrayRef> {
        let json = json!({ "minValues": { "c": value }, "maxValues": { "c": value } }).to_string();
        FileStatistics::parse(Some(&json)).bound("c", data_type, bound)
    }

    fn high(value: Value, data_type: &DataType) -> Option<ArrayRef> {
        bound(value, data_type, Bound::High)
    }

    #[test]
    fn cut_text_is_a_bound_of_all_that_begins_so() {
        let high = |text: &str| high(json!(text), &DataType::Utf8).unwrap().as_binary::<i32>().value(0).to_vec();
        assert_eq!(high("abc"), b"abc");
        let long = "x".repeat(32);
        for cut in [long.clone(), format!("{long}\u{fffd}"), format!("{long}\u{10fffd}"), "x\u{10ffff}".to_owned()] {
            let longest = format!("{}{}", cut.trim_end_matches(|c| c >= TIE_BREAKERS), "\u{10ffff}".repeat(50));
            assert!(high(&cut) > longest.into_bytes(), "{cut}");
        }
    }

    #[test]
    fn timestamps_are_bounds_to_the_end_of_their_millisecond() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Zurich".into()));
        for text in ["2020-01-01T00:00:00.001Z", "2020-01-01T01:00:00.001+01:00"] {
            let micros = high(json!(text), &zoned).unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
            assert_eq!(micros, 1_577_836_800_001_999, "{text}");
        }
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        let low = bound(json!("2020-01-01 00:00:00.001"), &plain, Bound::Low).unwrap();
        assert_eq!(low.as_primitive::<TimestampMicrosecondType>().value(0), 1_577_836_800_001_000);
        assert!(high(json!("1899-12-31T23:59:59Z"), &zoned).is_none(), "old offsets are not reliable");
    }

    #[test]
    fn inexact_number_is_no_bound() {
        let digits = |value: Value, precision, scale| {
            high(value, &DataType::Decimal128(precision, scale)).map(|c| c.as_primitive::<Decimal128Type>().value(0))
        };
        assert_eq!(digits(json!(12.34), 9, 2), Some(1234));
        assert_eq!(digits(json!(7), 38, 4), Some(70_000));
        assert_eq!(digits(json!(1.5), 38, 4), None);
        assert_eq!(high(json!(300), &DataType::Int8).map(|c| c.len()), None);
        assert_eq!(high(json!(3), &DataType::Int32).unwrap().as_primitive::<Int32Type>(), &Int32Array::from(vec![3]));
        assert!(high(json!(1.0), &DataType::Float64).is_none());
        assert!(high(json!(true), &DataType::Boolean).is_none());
    }

    #[test]
    fn partition_values_read_back() {
        let types = [
            ("true", DataType::Boolean),
            ("-7", DataType::Int16),
            ("-0.05", DataType::Decimal128(9, 2)),
            ("2026-01-31", DataType::Date32),
            ("2026-01-31T23:59:59.000001Z", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            ("2026-01-31 23:59:59.000001", DataType::Timestamp(TimeUnit::Microsecond, None)),
            ("text", DataType::Utf8),
        ];
        for (text, data_type) in types {
            let value = partition_value(Some(text), &data_type).unwrap();
            assert_eq!((value.data_type(), value.null_count()), (&data_type, 0), "{text}");
            for null in [None, Some("")] {
                assert_eq!(partition_value(null, &data_type).unwrap().null_count(), 1);
            }
        }
        assert!(partition_value(Some("x"), &DataType::Int16).is_none());
    }
}

//! Partition values as Delta's log holds them: text, by the protocol's section "Partition Value Serialization".

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, NaiveDate};

use super::folder::NULL;

/// A value, or why the log cannot hold it; none: null.
pub(super) type Text = Result<Option<String>, &'static str>;

const EMPTY: &str = "an empty text in a partition column would be read as null";
const MARKER: &str = "the text stands for null in the folders of partitioned tables";
const YEAR: &str = "a partition column holds the years 0001 to 9999 only";

/// Whether values of this type have one text that every reader reads as the same value. Floating-point numbers have several,
/// and bytes are none.
pub(super) fn can_partition(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View};
    matches!(data_type, Boolean | Int8 | Int16 | Int32 | Int64 | Decimal128(..) | Date32 | Utf8 | LargeUtf8 | Utf8View)
        || matches!(data_type, Timestamp(TimeUnit::Microsecond, _))
}

/// The text of each value of a column whose type can partition.
pub(super) fn texts(column: &ArrayRef) -> Result<Vec<Text>, ArrowError> {
    Ok(match column.data_type() {
        DataType::Date32 => {
            let days = column.as_primitive::<arrow::datatypes::Date32Type>();
            days.iter().map(|days| days.map(date).transpose()).collect()
        }
        DataType::Timestamp(_, zone) => {
            // Older readers take the form without a letter for a time of the writer's zone.
            let format = if zone.is_some() { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%d %H:%M:%S%.6f" };
            let times = column.as_primitive::<TimestampMicrosecondType>();
            times.iter().map(|micros| micros.map(|micros| timestamp(micros, format)).transpose()).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let column = cast(column, &DataType::LargeUtf8)?;
            column.as_string::<i64>().iter().map(|text| text.map(plain).transpose()).collect()
        }
        // `true`, `-7`, and every digit of a decimal's scale.
        _ => {
            let column = cast(column, &DataType::Utf8)?;
            column.as_string::<i32>().iter().map(|text| Ok(text.map(str::to_owned))).collect()
        }
    })
}

fn plain(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err(EMPTY),
        NULL => Err(MARKER),
        text => Ok(text.to_owned()),
    }
}

fn date(days: i32) -> Result<String, &'static str> {
    let date = NaiveDate::from_epoch_days(days).filter(|date| has_four_digits(date.year())).ok_or(YEAR)?;
    Ok(date.format("%Y-%m-%d").to_string())
}

fn timestamp(micros: i64, format: &str) -> Result<String, &'static str> {
    let time = DateTime::from_timestamp_micros(micros).filter(|time| has_four_digits(time.year())).ok_or(YEAR)?;
    Ok(time.format(format).to_string())
}

fn has_four_digits(year: i32) -> bool {
    (1..=9999).contains(&year)
}

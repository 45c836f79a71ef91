//! Values as text, in one form for all sinks, so that what was written and what is read can be compared.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;

use super::{TextRow, Violation};

/// One value: floats as Rust's `{:?}`, timestamps `YYYY-MM-DDThh:mm:ss.ffffff`, times `hh:mm:ss` with a fraction that does not
/// end in 0, binary in lower-case hexadecimal, 16 fixed bytes as a hyphenated UUID, all else as Arrow displays it.
///
/// # Errors
/// A value outside of its type.
pub fn cell(column: &ArrayRef, row: usize) -> Result<Option<String>, Violation> {
    if column.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match column.data_type() {
        DataType::Float32 => format!("{:?}", column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = DateTime::from_timestamp_micros(micros);
            let time = time.ok_or_else(|| Violation::new(format!("{micros} µs is no timestamp")))?;
            time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
        }
        DataType::Time64(TimeUnit::Nanosecond) => time(column.as_primitive::<Time64NanosecondType>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            time(column.as_primitive::<Time64MicrosecondType>().value(row) * 1000)
        }
        DataType::FixedSizeBinary(16) => {
            let bytes = column.as_fixed_size_binary().value(row);
            uuid::Uuid::from_slice(bytes).map_err(|e| Violation::new(e.to_string()))?.hyphenated().to_string()
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::default())?.value(row).to_string(),
    }))
}

fn time(nanoseconds: i64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    trimmed_time(&format!("{hours:02}:{minutes:02}:{:02}.{:09}", seconds % 60, nanoseconds % 1_000_000_000))
}

/// A time's text without the zeros at the end of its fraction.
#[must_use]
pub fn trimmed_time(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

/// All rows of some batches.
///
/// # Errors
/// A value outside of its type.
pub fn rows_of(batches: &[RecordBatch]) -> Result<Vec<TextRow>, Violation> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| cell(column, row)).collect::<Result<_, _>>()?);
        }
    }
    Ok(rows)
}

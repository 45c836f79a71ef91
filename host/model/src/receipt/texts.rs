//! Texts of a sink that stand for values of the source: a time or a UUID in Delta.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, FixedSizeBinaryArray, StringArray, Time64NanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

/// The UUIDs that texts stand for, lower-case and hyphenated; none: one of them stands for no UUID.
#[must_use]
pub fn uuids_of_texts(column: &ArrayRef) -> Option<ArrayRef> {
    let uuid = |text: &str| {
        let uuid = uuid::Uuid::try_parse(text).ok()?;
        (uuid.hyphenated().to_string() == text).then(|| uuid.into_bytes())
    };
    let texts = texts(column)?;
    let values = texts.iter().map(|text| text.map(uuid));
    let values = values.map(|value| value.map_or(Some(None), |uuid| uuid.map(Some))).collect::<Option<Vec<_>>>()?;
    Some(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16).ok()?))
}

/// The times that texts stand for, `hh:mm:ss` and up to nine digits of fraction; none: one of them stands for no time.
#[must_use]
pub fn times_of_texts(column: &ArrayRef) -> Option<ArrayRef> {
    let texts = texts(column)?;
    let values = texts.iter().map(|text| text.map_or(Some(None), |text| time(text).map(Some)));
    Some(Arc::new(values.collect::<Option<Time64NanosecondArray>>()?))
}

fn texts(column: &ArrayRef) -> Option<StringArray> {
    Some(cast(column, &DataType::Utf8).ok()?.as_string::<i32>().clone())
}

/// Nanoseconds since midnight.
fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<i64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse::<i64>().ok()?;
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000 + nanoseconds)
}

//! The columns that change their form on the way into Delta, a column at a time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, StringArray, StringBuilder};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef, Time64MicrosecondType, Time64NanosecondType, TimeUnit};
use arrow::error::ArrowError;

use datakit_parquet::{FormedBatch, RowForm, WriteError};

use super::partitioning::Partitioning;
use super::schema::TableSchema;
use super::storage::{io_error, storage_error};
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::check_batch;

/// What is done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing: the array is shared.
    Same,
    /// 16 bytes become lower-case hyphenated text.
    UuidText,
    /// A time of day becomes `hh:mm:ss`, with 7 digits of fraction where there is one, 9 where they are needed.
    TimeText,
}

/// Rows in the form of a table's files.
pub(crate) struct DeltaRows {
    pub(crate) schema: TableSchema,
    /// Which folder a row belongs to.
    pub(crate) partitioning: Partitioning,
    /// The table, for people.
    pub(crate) location: String,
}

impl DeltaRows {
    /// The columns of a batch in the form of the files.
    pub(crate) fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, SinkError> {
        check_batch(&self.schema.source, batch, &self.location)?;
        let failed = |e: ArrowError| SinkError::Encode { location: self.location.clone(), source: Box::new(e) };
        let columns = self.schema.forms.iter().zip(batch.columns()).map(|(form, column)| match form {
            Form::Same => Ok(Arc::clone(column)),
            Form::UuidText => uuid_text(column.as_fixed_size_binary()).map_err(failed),
            Form::TimeText => Ok(time_text(column)),
        });
        columns.collect()
    }
}

impl RowForm for DeltaRows {
    type Error = SinkError;

    fn schema(&self) -> &SchemaRef {
        &self.partitioning.file_schema
    }

    fn encode(&self, batch: &RecordBatch) -> Result<FormedBatch, SinkError> {
        let columns = self.columns(batch)?;
        let failed = |e: ArrowError| SinkError::Encode { location: self.location.clone(), source: Box::new(e) };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema.written), columns).map_err(failed)?;
        self.partitioning.split(batch, &self.location)
    }

    fn failed(&self, error: WriteError) -> SinkError {
        match error {
            WriteError::Encode(source) => {
                SinkError::Encode { location: self.location.clone(), source: Box::new(source) }
            }
            WriteError::Store { action, source } => storage_error(action, &self.location, source),
            WriteError::Disk { action, source } => io_error(action, &self.location, source),
        }
    }
}

const UUID_TEXT_BYTES: usize = 36;

/// Fills one buffer; null rows get the text of their zeros, which nobody sees.
fn uuid_text(uuids: &FixedSizeBinaryArray) -> Result<ArrayRef, ArrowError> {
    let rows = uuids.len();
    let total =
        i32::try_from(rows * UUID_TEXT_BYTES).map_err(|_| ArrowError::OffsetOverflowError(rows * UUID_TEXT_BYTES))?;
    let mut text = vec![0_u8; rows * UUID_TEXT_BYTES];
    for (target, bytes) in text.chunks_exact_mut(UUID_TEXT_BYTES).zip(uuids.value_data().chunks_exact(16)) {
        let mut bytes_16 = [0; 16];
        bytes_16.copy_from_slice(bytes);
        uuid::Uuid::from_bytes(bytes_16).hyphenated().encode_lower(target);
    }
    let offsets: ScalarBuffer<i32> = (0..=total).step_by(UUID_TEXT_BYTES).collect();
    let array = StringArray::try_new(OffsetBuffer::new(offsets), Buffer::from_vec(text), uuids.nulls().cloned())?;
    Ok(Arc::new(array))
}

fn time_text(times: &ArrayRef) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(times.len(), times.len() * 16);
    let mut append = |nanoseconds: Option<i64>| match nanoseconds {
        Some(value) => {
            // Writing to a builder cannot fail.
            let _ = write_time(&mut builder, value);
            builder.append_value("");
        }
        None => builder.append_null(),
    };
    if *times.data_type() == DataType::Time64(TimeUnit::Microsecond) {
        times.as_primitive::<Time64MicrosecondType>().iter().for_each(|v| append(v.map(|v| v * 1000)));
    } else {
        times.as_primitive::<Time64NanosecondType>().iter().for_each(append);
    }
    Arc::new(builder.finish())
}

fn write_time(out: &mut impl std::fmt::Write, nanoseconds: i64) -> std::fmt::Result {
    let (seconds, fraction) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    match fraction {
        0 => Ok(()),
        f if f % 100 == 0 => write!(out, ".{:07}", f / 100),
        f => write!(out, ".{f:09}"),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Time64MicrosecondArray, Time64NanosecondArray};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_keep_every_digit() {
        let times: ArrayRef = Arc::new(Time64NanosecondArray::from(vec![
            Some(0),
            Some(86_399_999_999_900),
            None,
            Some(500_000_000),
            Some(1),
        ]));
        let text = time_text(&times);
        let expected =
            [Some("00:00:00"), Some("23:59:59.9999999"), None, Some("00:00:00.5000000"), Some("00:00:00.000000001")];
        assert_eq!(text.as_string::<i32>().iter().collect::<Vec<_>>(), expected);
        let micros: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_001)]));
        assert_eq!(time_text(&micros).as_string::<i32>().value(0), "01:00:00.0000010");
    }

    #[test]
    fn sliced_columns_are_read_from_their_start() {
        let all = FixedSizeBinaryArray::try_from_iter([[1_u8; 16], [2; 16], [3; 16]].into_iter()).unwrap();
        let text = uuid_text(&all.slice(1, 2)).unwrap();
        assert_eq!(text.as_string::<i32>().value(0), "02020202-0202-0202-0202-020202020202");
        assert_eq!(text.len(), 2);
    }

    proptest! {
        #[test]
        fn uuids_read_back(values in proptest::collection::vec(proptest::option::of(any::<[u8; 16]>()), 0..20)) {
            let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter().map(|v| v.as_ref()), 16).unwrap();
            let text = uuid_text(&array).unwrap();
            for (text, value) in text.as_string::<i32>().iter().zip(values) {
                prop_assert_eq!(text.map(|t| uuid::Uuid::parse_str(t).unwrap().into_bytes()), value);
                prop_assert!(text.is_none_or(|t| t.len() == 36 && t.to_lowercase() == t));
            }
        }

        #[test]
        fn times_sort_as_their_text(a in 0_i64..86_400_000_000_000, b in 0_i64..86_400_000_000_000) {
            let text = |v| { let mut s = String::new(); write_time(&mut s, v).unwrap(); s };
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
        }
    }
}

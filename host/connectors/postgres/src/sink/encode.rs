//! Rows in the binary form of COPY: a column's encoder is chosen once a schema, its arrays are looked up once a batch, and all
//! rows of a batch go into one buffer.
//!
//! Source: "Binary Format" of COPY in the manual, and each type's `_recv` function in the server.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, RecordBatch, StringArray, StringViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
};
use bytes::{BufMut, BytesMut};

use super::types::TableSchema;
use crate::copy_format::{EPOCH_DAYS, EPOCH_MICROS};
use crate::numeric::put_numeric;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::check_batch;
use datakit_model::sink::RefusedValue;

/// Dates from 4713-11-24 BC; the upper bound is far above any that another type of ours can hold. See `IS_VALID_DATE`.
const DATES: std::ops::Range<i32> = -2_451_545..2_145_031_949;
/// Timestamps from 4713-11-24 BC to 294276-12-31. See `IS_VALID_TIMESTAMP`.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal { scale: u32 },
    Date,
    TimeNanoseconds,
    TimeMicroseconds,
    Timestamp,
    Text,
    LargeText,
    TextView,
    Binary,
    LargeBinary,
    BinaryView,
    Uuid,
}

/// A batch's rows as COPY data, without header and trailer.
pub(crate) fn encode(schema: &TableSchema, batch: &RecordBatch, location: &str) -> Result<BytesMut, SinkError> {
    check_batch(&schema.source, batch, location)?;
    let mut columns = Vec::with_capacity(batch.num_columns());
    // The count of fields, and each one's length.
    let mut bytes = batch.num_rows() * (2 + 4 * batch.num_columns());
    for (index, (column, array)) in schema.columns.iter().zip(batch.columns()).enumerate() {
        let cells = Cells::new(column.form, array);
        cells.check(array).map_err(|(row, reason)| SinkError::Value {
            table: schema.table.to_string(),
            column: schema.source.field(index).name().clone(),
            row,
            reason,
        })?;
        bytes += cells.bytes(array);
        // Without nulls there is nothing to ask for each row.
        columns.push((cells, array.nulls().filter(|nulls| nulls.null_count() > 0)));
    }
    let mut out = BytesMut::with_capacity(bytes);
    let fields = i16::try_from(columns.len()).unwrap_or(i16::MAX);
    for row in 0..batch.num_rows() {
        out.put_i16(fields);
        for (cells, nulls) in &columns {
            put_field(&mut out, cells, *nulls, row);
        }
    }
    Ok(out)
}

/// All values of a batch that Postgres cannot hold as they are. A batch of other columns is refused when it is written.
pub(crate) fn refused(schema: &TableSchema, batch: &RecordBatch, location: &str) -> Vec<RefusedValue> {
    if check_batch(&schema.source, batch, location).is_err() {
        return Vec::new();
    }
    let mut values = Vec::new();
    for (index, (column, array)) in schema.columns.iter().zip(batch.columns()).enumerate() {
        let cells = Cells::new(column.form, array);
        let Some((reason, is_bad)) = cells.refusal() else { continue };
        let bad = (0..array.len()).filter(|row| array.is_valid(*row) && is_bad(*row));
        let name = schema.source.field(index).name();
        values.extend(bad.map(|row| RefusedValue { row, column: name.clone(), reason: reason.to_owned() }));
    }
    values
}

fn put_field(out: &mut BytesMut, cells: &Cells<'_>, nulls: Option<&NullBuffer>, row: usize) {
    if nulls.is_some_and(|nulls| nulls.is_null(row)) {
        out.put_i32(-1);
    } else {
        cells.put(out, row);
    }
}

/// A column's values, of their own type.
enum Cells<'a> {
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a [i128], u32),
    Date(&'a [i32]),
    TimeNanoseconds(&'a [i64]),
    Timestamp(&'a [i64]),
    Text(&'a StringArray),
    LargeText(&'a LargeStringArray),
    TextView(&'a StringViewArray),
    Binary(&'a BinaryArray),
    LargeBinary(&'a LargeBinaryArray),
    BinaryView(&'a BinaryViewArray),
    Uuid(&'a FixedSizeBinaryArray),
}

/// Whether the value of a row is one that Postgres cannot hold as it is.
type IsBad<'a> = Box<dyn Fn(usize) -> bool + 'a>;

fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> &[T::Native] {
    array.as_primitive::<T>().values()
}

impl<'a> Cells<'a> {
    /// The array has the type of the schema, so no lookup can fail.
    fn new(form: Form, array: &'a ArrayRef) -> Self {
        match form {
            Form::Boolean => Self::Boolean(array.as_boolean()),
            Form::Int8 => Self::Int8(values::<Int8Type>(array)),
            Form::Int16 => Self::Int16(values::<Int16Type>(array)),
            Form::Int32 => Self::Int32(values::<Int32Type>(array)),
            Form::Int64 => Self::Int64(values::<Int64Type>(array)),
            Form::Float32 => Self::Float32(values::<Float32Type>(array)),
            Form::Float64 => Self::Float64(values::<Float64Type>(array)),
            Form::Decimal { scale } => Self::Decimal(values::<Decimal128Type>(array), scale),
            Form::Date => Self::Date(values::<Date32Type>(array)),
            Form::TimeNanoseconds => Self::TimeNanoseconds(values::<Time64NanosecondType>(array)),
            // Microseconds since midnight are what Postgres has.
            Form::TimeMicroseconds => Self::Int64(values::<Time64MicrosecondType>(array)),
            Form::Timestamp => Self::Timestamp(values::<TimestampMicrosecondType>(array)),
            Form::Text => Self::Text(array.as_string()),
            Form::LargeText => Self::LargeText(array.as_string()),
            Form::TextView => Self::TextView(array.as_string_view()),
            Form::Binary => Self::Binary(array.as_binary()),
            Form::LargeBinary => Self::LargeBinary(array.as_binary()),
            Form::BinaryView => Self::BinaryView(array.as_binary_view()),
            Form::Uuid => Self::Uuid(array.as_fixed_size_binary()),
        }
    }

    /// The first row whose value Postgres cannot hold as it is.
    fn check(&self, array: &ArrayRef) -> Result<(), (usize, &'static str)> {
        let Some((reason, is_bad)) = self.refusal() else { return Ok(()) };
        match (0..array.len()).find(|row| array.is_valid(*row) && is_bad(*row)) {
            Some(row) => Err((row, reason)),
            None => Ok(()),
        }
    }

    /// Why Postgres may not hold a value as it is, and which; none: it holds all of them. The whole column is looked at at once, and
    /// row by row only where that finds something: it may stand in a null row.
    fn refusal(&self) -> Option<(&'static str, IsBad<'_>)> {
        const NUL: &str = "it holds U+0000, which Postgres text cannot hold";
        Some(match self {
            Self::Date(days) if !days.iter().all(|d| date(*d).is_some()) => {
                ("the date is out of Postgres' range", Box::new(move |row| date(days[row]).is_none()))
            }
            Self::Timestamp(micros) if !micros.iter().all(|t| timestamp(*t).is_some()) => {
                ("the timestamp is out of Postgres' range", Box::new(move |row| timestamp(micros[row]).is_none()))
            }
            Self::TimeNanoseconds(nanos) if nanos.iter().any(|n| n % 1000 != 0) => (
                "the time has more than the 6 digits of fraction that Postgres holds",
                Box::new(move |row| nanos[row] % 1000 != 0),
            ),
            Self::Text(texts) if has_nul(texts.value_data(), texts.value_offsets()) => {
                (NUL, Box::new(move |row| texts.value(row).as_bytes().contains(&0)))
            }
            Self::LargeText(texts) if has_nul(texts.value_data(), texts.value_offsets()) => {
                (NUL, Box::new(move |row| texts.value(row).as_bytes().contains(&0)))
            }
            Self::TextView(texts) => (NUL, Box::new(move |row| texts.value(row).as_bytes().contains(&0))),
            _ => return None,
        })
    }

    /// About what the values take, so that the buffer grows once at most.
    fn bytes(&self, array: &ArrayRef) -> usize {
        let rows = array.len();
        match self {
            Self::Boolean(_) => rows,
            Self::Int8(_) | Self::Int16(_) => 2 * rows,
            Self::Int32(_) | Self::Float32(_) | Self::Date(_) => 4 * rows,
            Self::Int64(_) | Self::Float64(_) | Self::TimeNanoseconds(_) | Self::Timestamp(_) => 8 * rows,
            Self::Decimal(..) | Self::Uuid(_) => 16 * rows,
            Self::Text(a) => span(a.value_offsets()),
            Self::Binary(a) => span(a.value_offsets()),
            Self::LargeText(a) => span(a.value_offsets()),
            Self::LargeBinary(a) => span(a.value_offsets()),
            Self::TextView(a) => a.iter().flatten().map(str::len).sum(),
            Self::BinaryView(a) => a.iter().flatten().map(<[u8]>::len).sum(),
        }
    }

    fn put(&self, out: &mut BytesMut, row: usize) {
        match self {
            Self::Boolean(a) => out.put_slice(&[0, 0, 0, 1, u8::from(a.value(row))]),
            Self::Int8(v) => put_fixed(out, i16::from(v[row]).to_be_bytes()),
            Self::Int16(v) => put_fixed(out, v[row].to_be_bytes()),
            Self::Int32(v) => put_fixed(out, v[row].to_be_bytes()),
            Self::Int64(v) => put_fixed(out, v[row].to_be_bytes()),
            Self::Float32(v) => put_fixed(out, v[row].to_be_bytes()),
            Self::Float64(v) => put_fixed(out, v[row].to_be_bytes()),
            Self::Decimal(v, scale) => put_numeric(out, v[row], *scale),
            Self::Date(v) => put_fixed(out, (v[row] - EPOCH_DAYS).to_be_bytes()),
            Self::TimeNanoseconds(v) => put_fixed(out, (v[row] / 1000).to_be_bytes()),
            Self::Timestamp(v) => put_fixed(out, (v[row] - EPOCH_MICROS).to_be_bytes()),
            Self::Text(a) => put_bytes(out, a.value(row).as_bytes()),
            Self::LargeText(a) => put_bytes(out, a.value(row).as_bytes()),
            Self::TextView(a) => put_bytes(out, a.value(row).as_bytes()),
            Self::Binary(a) => put_bytes(out, a.value(row)),
            Self::LargeBinary(a) => put_bytes(out, a.value(row)),
            Self::BinaryView(a) => put_bytes(out, a.value(row)),
            Self::Uuid(a) => put_bytes(out, a.value(row)),
        }
    }
}

fn put_fixed<const N: usize>(out: &mut BytesMut, bytes: [u8; N]) {
    out.put_i32(N as i32);
    out.put_slice(&bytes);
}

/// A batch is far smaller than the 2 GiB that the length can say.
fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

fn date(days: i32) -> Option<i32> {
    days.checked_sub(EPOCH_DAYS).filter(|days| DATES.contains(days))
}

fn timestamp(micros: i64) -> Option<i64> {
    micros.checked_sub(EPOCH_MICROS).filter(|micros| TIMESTAMPS.contains(micros))
}

/// The bytes between the first and the last offset of a column, which may be a slice.
fn span<O: Copy + TryInto<usize>>(offsets: &[O]) -> usize {
    let at = |offset: Option<&O>| offset.and_then(|o| (*o).try_into().ok()).unwrap_or_default();
    at(offsets.last()) - at(offsets.first())
}

fn has_nul<O: Copy + TryInto<usize>>(data: &[u8], offsets: &[O]) -> bool {
    let start = offsets.first().and_then(|o| (*o).try_into().ok()).unwrap_or_default();
    data.get(start..start + span(offsets)).is_none_or(|data| data.contains(&0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Int32Array, PrimitiveArray, Time64NanosecondArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};
    use datakit_model::TableId;

    use super::*;

    fn try_encode(array: ArrayRef) -> Result<BytesMut, String> {
        let schema = Arc::new(Schema::new(vec![Field::new("c", array.data_type().clone(), true)]));
        let table = TableSchema::new(&TableId::new("dbo", "t"), &schema).unwrap();
        let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
        encode(&table, &batch, "here").map_err(|e| e.to_string())
    }

    #[test]
    fn rows_are_counts_lengths_and_values() {
        let bytes = try_encode(Arc::new(Int32Array::from(vec![Some(258), None]))).unwrap();
        assert_eq!(&bytes[..], [0, 1, 0, 0, 0, 4, 0, 0, 1, 2, 0, 1, 0xff, 0xff, 0xff, 0xff]);
        let bytes = try_encode(Arc::new(StringArray::from(vec!["é"]))).unwrap();
        assert_eq!(&bytes[..], [0, 1, 0, 0, 0, 2, 0xc3, 0xa9]);
    }

    #[test]
    fn values_out_of_reach_are_refused_by_column_and_row() {
        let text = StringArray::from(vec![Some("a"), None, Some("b\0"), Some("c\0")]);
        let cases: Vec<(ArrayRef, usize)> = vec![
            (Arc::new(text.clone()), 2),
            (Arc::new(text.slice(1, 2)), 1),
            (Arc::new(StringViewArray::from(vec!["x", "\0"])), 1),
            (Arc::new(LargeStringArray::from(vec!["\0"])), 0),
            (Arc::new(Date32Array::from(vec![Some(0), Some(i32::MIN)])), 1),
            (Arc::new(Date32Array::from(vec![i32::MAX])), 0),
            (Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN])), 0),
            (Arc::new(Time64NanosecondArray::from(vec![0, 100])), 1),
        ];
        for (array, row) in cases {
            let error = try_encode(array).unwrap_err();
            assert!(error.starts_with(&format!("column `c` of table `dbo.t`, row {row} of a batch: ")), "{error}");
        }
    }

    #[test]
    fn what_hides_under_a_null_is_not_refused() {
        let nulls = NullBuffer::from(vec![false, true]);
        let hidden = PrimitiveArray::<Date32Type>::new(vec![i32::MAX, 0].into(), Some(nulls));
        assert!(try_encode(Arc::new(hidden)).is_ok());
        let sliced = StringArray::from(vec!["\0", "fine"]).slice(1, 1);
        assert!(try_encode(Arc::new(sliced)).is_ok());
    }
}

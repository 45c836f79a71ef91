//! The builder of one column: plain vectors that become Arrow buffers without a copy.
//!
//! Source of each form: the type's `_send` function in the server.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, NullBufferBuilder, StringArray,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64NanosecondType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;

use crate::copy_format::{EPOCH_DAYS, EPOCH_MICROS};
use crate::numeric::{self, Unreadable};
use crate::source::types::{Column, Shape};
use datakit_connect::arrays::{offset, primitive, take, taken_offsets};

pub(super) const DAY_MICROS: i64 = 86_400_000_000;
/// The one version of `jsonb` on the wire.
const JSONB_VERSION: u8 = 1;

/// Why a value has no exact Arrow form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source) enum Wrong {
    /// Not of the form or size its type has.
    Malformed,
    UnexpectedNull,
    NotUtf8,
    NotANumber,
    Infinite,
    TooManyDigits,
    /// Beyond what the Arrow type counts.
    OutOfRange,
    /// 24:00:00, which Arrow's time of day does not have.
    EndOfDay,
}

impl From<Unreadable> for Wrong {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Malformed => Self::Malformed,
            Unreadable::NotANumber => Self::NotANumber,
            Unreadable::Infinite => Self::Infinite,
            Unreadable::TooManyDigits => Self::TooManyDigits,
        }
    }
}

impl Wrong {
    /// What is wrong, and what to do.
    pub(in crate::source) fn words(self, source_type: &str) -> (String, &'static str) {
        const REPORT: &str = "this is a bug of the server or of the host: please report it";
        const VIEW: &str = "exclude the column, or read the table through a view that casts it to text";
        match self {
            Self::Malformed => (format!("the server declared {source_type} and sent something else"), REPORT),
            Self::UnexpectedNull => ("a null where the table declares NOT NULL".to_owned(), REPORT),
            Self::NotUtf8 => (
                "a text that is not UTF-8, as a database with the encoding SQL_ASCII may hold".to_owned(),
                "repair the value, or exclude the column",
            ),
            Self::NotANumber => (
                format!("NaN, which {source_type} holds and a decimal does not"),
                "set `nan` of the datakit to `null`, or exclude the column",
            ),
            Self::Infinite => {
                (format!("an infinite {source_type}"), "set `infinity` of the datakit to `null`, or exclude the column")
            }
            Self::TooManyDigits => (format!("a number with more digits than {source_type} declares"), VIEW),
            Self::OutOfRange => (format!("a {source_type} beyond the range of Arrow's microseconds"), VIEW),
            Self::EndOfDay => (
                "the time 24:00:00, which ends no day elsewhere".to_owned(),
                "set `end_of_day` of the datakit to `null` or `text`, or exclude the column",
            ),
        }
    }
}

/// The values of a column, in the form of its Arrow buffers.
#[derive(Debug)]
enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Oid(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, scale: i32, bound: i128 },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Uuid(Vec<u8>),
    Text { offsets: Vec<i32>, data: Vec<u8> },
    Jsonb { offsets: Vec<i32>, data: Vec<u8> },
    Binary { offsets: Vec<i32>, data: Vec<u8> },
}

/// One column of a batch being built.
#[derive(Debug)]
pub(in crate::source) struct ColumnBuilder {
    values: Values,
    /// None: declared NOT NULL.
    validity: Option<NullBufferBuilder>,
    data_type: DataType,
}

/// What a row takes of a column at least, in bytes.
pub(in crate::source) fn row_bytes(shape: Shape) -> usize {
    match shape {
        Shape::Boolean => 1,
        Shape::Int16 => 2,
        Shape::Int32 | Shape::Float32 | Shape::Date | Shape::Text | Shape::Jsonb | Shape::Binary => 4,
        Shape::Int64 | Shape::Oid | Shape::Float64 | Shape::Time | Shape::Timestamp | Shape::TimestampUtc => 8,
        Shape::Decimal { .. } | Shape::Uuid => 16,
    }
}

#[inline]
fn fixed<const N: usize>(field: &[u8]) -> Result<[u8; N], Wrong> {
    field.try_into().map_err(|_| Wrong::Malformed)
}

/// Appends bytes of any number; returns how many.
#[inline]
fn variable(field: &[u8], offsets: &mut Vec<i32>, data: &mut Vec<u8>) -> usize {
    data.extend_from_slice(field);
    offsets.push(offset(data.len()));
    field.len()
}

impl ColumnBuilder {
    pub(in crate::source) fn new(column: &Column, rows: usize) -> Self {
        let offsets = || {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            offsets
        };
        let values = match column.shape {
            Shape::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            Shape::Int16 => Values::Int16(Vec::with_capacity(rows)),
            Shape::Int32 => Values::Int32(Vec::with_capacity(rows)),
            Shape::Int64 => Values::Int64(Vec::with_capacity(rows)),
            Shape::Oid => Values::Oid(Vec::with_capacity(rows)),
            Shape::Float32 => Values::Float32(Vec::with_capacity(rows)),
            Shape::Float64 => Values::Float64(Vec::with_capacity(rows)),
            Shape::Decimal { precision, scale } => Values::Decimal {
                values: Vec::with_capacity(rows),
                scale: scale.into(),
                bound: numeric::bound(precision),
            },
            Shape::Date => Values::Date(Vec::with_capacity(rows)),
            Shape::Time => Values::Time(Vec::with_capacity(rows)),
            Shape::Timestamp | Shape::TimestampUtc => Values::Timestamp(Vec::with_capacity(rows)),
            Shape::Uuid => Values::Uuid(Vec::with_capacity(rows * 16)),
            Shape::Text => Values::Text { offsets: offsets(), data: Vec::with_capacity(rows * 8) },
            Shape::Jsonb => Values::Jsonb { offsets: offsets(), data: Vec::with_capacity(rows * 8) },
            Shape::Binary => Values::Binary { offsets: offsets(), data: Vec::new() },
        };
        let validity = column.nullable.then(|| NullBufferBuilder::new(rows));
        Self { values, validity, data_type: column.shape.data_type() }
    }

    /// Appends a value; returns the bytes it takes besides those of every row.
    #[inline]
    pub(in crate::source) fn push(&mut self, field: &[u8]) -> Result<usize, Wrong> {
        let mut added = 0;
        match &mut self.values {
            Values::Boolean(values) => match field {
                [0] => values.append(false),
                [1] => values.append(true),
                _ => return Err(Wrong::Malformed),
            },
            Values::Int16(values) => values.push(i16::from_be_bytes(fixed(field)?)),
            Values::Int32(values) => values.push(i32::from_be_bytes(fixed(field)?)),
            Values::Int64(values) => values.push(i64::from_be_bytes(fixed(field)?)),
            Values::Oid(values) => values.push(u32::from_be_bytes(fixed(field)?).into()),
            Values::Float32(values) => values.push(f32::from_be_bytes(fixed(field)?)),
            Values::Float64(values) => values.push(f64::from_be_bytes(fixed(field)?)),
            Values::Decimal { values, scale, bound } => values.push(numeric::unscaled(field, *scale, *bound)?),
            Values::Date(values) => values.push(date(i32::from_be_bytes(fixed(field)?))?),
            Values::Time(values) => values.push(time(i64::from_be_bytes(fixed(field)?))?),
            Values::Timestamp(values) => values.push(timestamp(i64::from_be_bytes(fixed(field)?))?),
            Values::Uuid(values) => values.extend_from_slice(&fixed::<16>(field)?),
            Values::Text { offsets, data } | Values::Binary { offsets, data } => {
                added = variable(field, offsets, data);
            }
            Values::Jsonb { offsets, data } => match field.split_first() {
                Some((&JSONB_VERSION, text)) => added = variable(text, offsets, data),
                _ => return Err(Wrong::Malformed),
            },
        }
        if let Some(validity) = &mut self.validity {
            validity.append_non_null();
        }
        Ok(added)
    }

    /// Appends a null; false where the column has none.
    #[inline]
    pub(in crate::source) fn push_null(&mut self) -> bool {
        let Some(validity) = &mut self.validity else { return false };
        validity.append_null();
        self.push_default();
        true
    }

    /// Fills the place of a value that is bad: its row is not delivered.
    #[cold]
    pub(in crate::source) fn fill(&mut self) {
        if !self.push_null() {
            self.push_default();
        }
    }

    #[inline]
    fn push_default(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Oid(values) | Values::Time(values) | Values::Timestamp(values) => {
                values.push(0);
            }
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::Text { offsets, data } | Values::Jsonb { offsets, data } | Values::Binary { offsets, data } => {
                offsets.push(offset(data.len()));
            }
        }
    }

    /// Takes the texts that are not UTF-8 out of the column, and gives each with its row; an empty text stands in its place.
    pub(in crate::source) fn take_malformed_texts(&mut self) -> Vec<(usize, Vec<u8>)> {
        if self.first_malformed_text().is_none() {
            return Vec::new();
        }
        let (Values::Text { offsets, data } | Values::Jsonb { offsets, data }) = &mut self.values else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        let (mut whole, mut ends) = (Vec::with_capacity(data.len()), vec![0]);
        for (row, pair) in offsets.windows(2).enumerate() {
            let place = |at: i32| usize::try_from(at).unwrap_or(0);
            let bytes = data.get(place(pair[0])..place(pair[1])).unwrap_or_default();
            if std::str::from_utf8(bytes).is_ok() {
                whole.extend_from_slice(bytes);
            } else {
                taken.push((row, bytes.to_vec()));
            }
            ends.push(offset(whole.len()));
        }
        (*offsets, *data) = (ends, whole);
        taken
    }

    /// The first row of the batch whose text is no UTF-8. The whole column is looked at in one go; only one that is wrong is
    /// looked at value by value.
    pub(in crate::source) fn first_malformed_text(&self) -> Option<usize> {
        let (Values::Text { offsets, data } | Values::Jsonb { offsets, data }) = &self.values else { return None };
        if data.is_ascii() {
            return None;
        }
        let whole = std::str::from_utf8(data);
        let cut = |text: &str| offsets.iter().any(|at| !text.is_char_boundary(usize::try_from(*at).unwrap_or(0)));
        if whole.is_ok_and(|text| !cut(text)) {
            return None;
        }
        let value = |pair: &[i32]| data.get(usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?);
        offsets.windows(2).position(|pair| value(pair).is_none_or(|bytes| std::str::from_utf8(bytes).is_err()))
    }

    /// The column's array; the builder is empty again, with room for as many rows.
    pub(in crate::source) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.validity.as_mut().and_then(NullBufferBuilder::finish);
        let data_type = &self.data_type;
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, data_type)?,
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Values::Int64(values) | Values::Oid(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Values::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, data_type)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Values::Time(values) => primitive::<Time64NanosecondType>(values, nulls, data_type)?,
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, data_type)?,
            Values::Uuid(values) => Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(take(values)), nulls)?),
            Values::Text { offsets, data } | Values::Jsonb { offsets, data } => {
                Arc::new(StringArray::try_new(taken_offsets(offsets), Buffer::from_vec(take(data)), nulls)?)
            }
            Values::Binary { offsets, data } => {
                Arc::new(BinaryArray::try_new(taken_offsets(offsets), Buffer::from_vec(take(data)), nulls)?)
            }
        })
    }
}

/// Days from 1970-01-01; the extremes stand for infinity.
#[inline]
fn date(days: i32) -> Result<i32, Wrong> {
    match days {
        i32::MIN | i32::MAX => Err(Wrong::Infinite),
        days => days.checked_add(EPOCH_DAYS).ok_or(Wrong::OutOfRange),
    }
}

/// Nanoseconds since midnight.
#[inline]
fn time(micros: i64) -> Result<i64, Wrong> {
    match micros {
        0..DAY_MICROS => Ok(micros * 1000),
        DAY_MICROS => Err(Wrong::EndOfDay),
        _ => Err(Wrong::Malformed),
    }
}

/// Microseconds since 1970-01-01; the extremes stand for infinity. PostgreSQL counts from 2000 and so reaches further.
#[inline]
fn timestamp(micros: i64) -> Result<i64, Wrong> {
    match micros {
        i64::MIN | i64::MAX => Err(Wrong::Infinite),
        micros => micros.checked_add(EPOCH_MICROS).ok_or(Wrong::OutOfRange),
    }
}

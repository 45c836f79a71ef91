//! The builder of one column: plain vectors that become Arrow buffers without a copy.

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

use crate::text::{Malformed, TextEncoding};
use crate::types::{Column, Shape};
use datakit_connect::arrays::{offset, primitive, take, taken_offsets};

/// The values of a column, in the form of its Arrow buffers.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    TinyInt(Vec<i16>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal { values: Vec<i128>, form: DecimalForm },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    TimestampUtc(Vec<i64>),
    Uuid(Vec<u8>),
    Text { encoding: TextEncoding, offsets: Vec<i32>, data: Vec<u8> },
    Variant { offsets: Vec<i32>, data: Vec<u8> },
    Binary { offsets: Vec<i32>, data: Vec<u8> },
}

/// The digits that a decimal column declares.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecimalForm {
    scale: u8,
    /// Every value is smaller: 10 to the power of the precision.
    beyond: u128,
}

impl DecimalForm {
    fn new(precision: u8, scale: i8) -> Self {
        let beyond = 10_u128.checked_pow(precision.into()).unwrap_or(u128::MAX);
        Self { scale: u8::try_from(scale).unwrap_or_default(), beyond }
    }

    /// The value at the column's scale; none where it needs other digits than the column has.
    #[inline]
    pub(super) fn fit(self, unscaled: i128, scale: u8) -> Option<i128> {
        let value = if scale == self.scale { unscaled } else { self.rescaled(unscaled, scale)? };
        (value.unsigned_abs() < self.beyond).then_some(value)
    }

    #[cold]
    fn rescaled(self, unscaled: i128, scale: u8) -> Option<i128> {
        let factor = 10_i128.checked_pow(self.scale.abs_diff(scale).into())?;
        if scale < self.scale {
            unscaled.checked_mul(factor)
        } else {
            (unscaled % factor == 0).then_some(unscaled / factor)
        }
    }
}

/// One column of a batch being built.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    pub(super) values: Values,
    /// None: the server declared NOT NULL.
    validity: Option<NullBufferBuilder>,
    data_type: DataType,
    /// Values that lost digits, in this batch.
    pub(super) cut: u64,
}

/// What a row takes of a column at least, in bytes.
pub(super) fn row_bytes(shape: &Shape) -> usize {
    match shape {
        Shape::Boolean => 1,
        Shape::TinyInt | Shape::Int16 => 2,
        Shape::Int32 | Shape::Float32 | Shape::Date | Shape::Text(_) | Shape::Binary | Shape::Variant => 4,
        Shape::Int64 | Shape::Float64 | Shape::Time | Shape::Timestamp | Shape::TimestampUtc => 8,
        Shape::Decimal { .. } | Shape::Uuid => 16,
    }
}

/// Appends a text; a malformed one leaves an empty value. Returns the bytes added.
#[inline]
pub(super) fn append_text(
    encoding: &TextEncoding,
    bytes: &[u8],
    offsets: &mut Vec<i32>,
    data: &mut Vec<u8>,
) -> (Result<(), Malformed>, usize) {
    let before = data.len();
    let outcome = encoding.append(bytes, data);
    if outcome.is_err() {
        data.truncate(before);
    }
    offsets.push(offset(data.len()));
    (outcome, data.len() - before)
}

impl ColumnBuilder {
    pub(super) fn new(column: &Column, rows: usize) -> Self {
        let offsets = || {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            offsets
        };
        let values = match &column.shape {
            Shape::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            Shape::TinyInt => Values::TinyInt(Vec::with_capacity(rows)),
            Shape::Int16 => Values::Int16(Vec::with_capacity(rows)),
            Shape::Int32 => Values::Int32(Vec::with_capacity(rows)),
            Shape::Int64 => Values::Int64(Vec::with_capacity(rows)),
            Shape::Float32 => Values::Float32(Vec::with_capacity(rows)),
            Shape::Float64 => Values::Float64(Vec::with_capacity(rows)),
            Shape::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::with_capacity(rows), form: DecimalForm::new(*precision, *scale) }
            }
            Shape::Date => Values::Date(Vec::with_capacity(rows)),
            Shape::Time => Values::Time(Vec::with_capacity(rows)),
            Shape::Timestamp => Values::Timestamp(Vec::with_capacity(rows)),
            Shape::TimestampUtc => Values::TimestampUtc(Vec::with_capacity(rows)),
            Shape::Uuid => Values::Uuid(Vec::with_capacity(rows * 16)),
            Shape::Text(encoding) => {
                Values::Text { encoding: encoding.clone(), offsets: offsets(), data: Vec::with_capacity(rows * 8) }
            }
            Shape::Variant => Values::Variant { offsets: offsets(), data: Vec::new() },
            Shape::Binary => Values::Binary { offsets: offsets(), data: Vec::new() },
        };
        let validity = column.nullable.then(|| NullBufferBuilder::new(rows));
        Self { values, validity, data_type: column.shape.data_type(), cut: 0 }
    }

    /// Marks the value just pushed as not null.
    #[inline]
    pub(super) fn valid(&mut self) {
        if let Some(validity) = &mut self.validity {
            validity.append_non_null();
        }
    }

    /// Pushes a null; false where the column has none (a value is pushed all the same).
    #[inline]
    pub(super) fn push_null(&mut self) -> bool {
        self.push_default();
        match &mut self.validity {
            Some(validity) => {
                validity.append_null();
                true
            }
            None => false,
        }
    }

    /// Fills a place, null or not, for a batch that will not be delivered.
    pub(super) fn fill(&mut self) {
        self.push_default();
        self.valid();
    }

    #[inline]
    fn push_default(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::TinyInt(values) | Values::Int16(values) => values.push(0),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values) | Values::Time(values) | Values::Timestamp(values) | Values::TimestampUtc(values) => {
                values.push(0)
            }
            Values::Float32(values) => values.push(0.0),
            Values::Float64(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Uuid(values) => values.extend_from_slice(&[0; 16]),
            Values::Text { offsets, data, .. }
            | Values::Variant { offsets, data }
            | Values::Binary { offsets, data } => {
                offsets.push(offset(data.len()));
            }
        }
    }

    /// The column's array; the builder is empty again, with room for as many rows.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.validity.as_mut().and_then(NullBufferBuilder::finish);
        let data_type = &self.data_type;
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::TinyInt(values) | Values::Int16(values) => primitive::<Int16Type>(values, nulls, data_type)?,
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Values::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, data_type)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Values::Time(values) => primitive::<Time64NanosecondType>(values, nulls, data_type)?,
            Values::Timestamp(values) | Values::TimestampUtc(values) => {
                primitive::<TimestampMicrosecondType>(values, nulls, data_type)?
            }
            Values::Uuid(values) => Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(take(values)), nulls)?),
            Values::Text { offsets, data, .. } | Values::Variant { offsets, data } => {
                Arc::new(StringArray::try_new(taken_offsets(offsets), Buffer::from_vec(take(data)), nulls)?)
            }
            Values::Binary { offsets, data } => {
                Arc::new(BinaryArray::try_new(taken_offsets(offsets), Buffer::from_vec(take(data)), nulls)?)
            }
        })
    }
}

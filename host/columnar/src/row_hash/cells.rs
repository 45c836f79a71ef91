//! Columns to hash: how the canonical bytes of each type are made, and the buffers they are made from.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};

use super::canonical::{self, Scratch};
use super::digest::{Message, RowDigest};

/// How a type's canonical bytes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    Text,
    LargeText,
    Binary,
    LargeBinary,
    FixedBinary,
    Decimal { scale: u8 },
    Date,
    Time32(TimeUnit),
    Time64(TimeUnit),
    Timestamp(TimeUnit),
}

impl Form {
    /// None: the type has no canonical form.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::Int8,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::UInt8 => Self::UInt8,
            DataType::UInt16 => Self::UInt16,
            DataType::UInt32 => Self::UInt32,
            DataType::UInt64 => Self::UInt64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Utf8 => Self::Text,
            DataType::LargeUtf8 => Self::LargeText,
            DataType::Binary => Self::Binary,
            DataType::LargeBinary => Self::LargeBinary,
            DataType::FixedSizeBinary(_) => Self::FixedBinary,
            DataType::Decimal128(precision, scale) if *precision <= 38 => {
                Self::Decimal { scale: u8::try_from(*scale).ok().filter(|scale| *scale <= 38)? }
            }
            DataType::Date32 => Self::Date,
            DataType::Time32(unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => Self::Time32(*unit),
            DataType::Time64(unit @ (TimeUnit::Microsecond | TimeUnit::Nanosecond)) => Self::Time64(*unit),
            // Six fraction digits would cut nanoseconds in silence.
            DataType::Timestamp(TimeUnit::Nanosecond, _) => return None,
            DataType::Timestamp(unit, _) => Self::Timestamp(*unit),
            _ => return None,
        })
    }
}

/// The buffers of one column of one batch.
pub(super) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Boolean(&'a BooleanBuffer),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Bytes {
        offsets: &'a [i32],
        data: &'a [u8],
    },
    LargeBytes {
        offsets: &'a [i64],
        data: &'a [u8],
    },
    FixedBytes {
        width: usize,
        data: &'a [u8],
    },
    Decimal {
        values: &'a [i128],
        scale: usize,
    },
    Date(&'a [i32]),
    /// Time of day, with nanoseconds in one unit.
    Time32 {
        values: &'a [i32],
        nanos: i64,
    },
    Time64 {
        values: &'a [i64],
        nanos: i64,
    },
    /// With units in one second.
    Timestamp {
        values: &'a [i64],
        per_second: i64,
    },
}

impl<'a> Cells<'a> {
    /// None: the array is not of the form's type, which the schema check of a projection excludes.
    pub(super) fn of(form: Form, array: &'a ArrayRef) -> Option<Self> {
        Some(Self { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), values: values(form, array)? })
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the null byte or the value. A value with no canonical form is refused with the reason.
    #[inline]
    pub(super) fn append<D: RowDigest>(
        &self,
        row: usize,
        message: &mut Message<D>,
        scratch: &mut Scratch,
    ) -> Result<(), &'static str> {
        if self.is_null(row) {
            message.null();
            return Ok(());
        }
        match &self.values {
            Values::Boolean(values) => message.value(if values.value(row) { b"1" } else { b"0" }),
            Values::Int8(values) => message.value(scratch.integer(i64::from(values[row]))),
            Values::Int16(values) => message.value(scratch.integer(i64::from(values[row]))),
            Values::Int32(values) => message.value(scratch.integer(i64::from(values[row]))),
            Values::Int64(values) => message.value(scratch.integer(values[row])),
            Values::UInt8(values) => message.value(scratch.unsigned(u64::from(values[row]))),
            Values::UInt16(values) => message.value(scratch.unsigned(u64::from(values[row]))),
            Values::UInt32(values) => message.value(scratch.unsigned(u64::from(values[row]))),
            Values::UInt64(values) => message.value(scratch.unsigned(values[row])),
            Values::Float32(values) => message.value(&canonical::float32(values[row])),
            Values::Float64(values) => message.value(&canonical::float64(values[row])),
            // Offsets were validated with the array: never negative, never decreasing, never past the data.
            Values::Bytes { offsets, data } => message.value(&data[offsets[row] as usize..offsets[row + 1] as usize]),
            Values::LargeBytes { offsets, data } => {
                message.value(&data[offsets[row] as usize..offsets[row + 1] as usize])
            }
            Values::FixedBytes { width, data } => message.value(&data[row * width..(row + 1) * width]),
            Values::Decimal { values, scale } => message.value(scratch.decimal(values[row], *scale)),
            Values::Date(values) => message.value(scratch.date(i64::from(values[row]))?),
            Values::Time32 { values, nanos } => message.value(scratch.time(i64::from(values[row]), *nanos)?),
            Values::Time64 { values, nanos } => message.value(scratch.time(values[row], *nanos)?),
            Values::Timestamp { values, per_second } => message.value(scratch.timestamp(values[row], *per_second)?),
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Option<&[T::Native]> {
    array.as_primitive_opt::<T>().map(|array| array.values().as_ref())
}

/// The buffers behind an array; none if its type is not the form's, which the schema check of a projection excludes.
fn values(form: Form, array: &ArrayRef) -> Option<Values<'_>> {
    Some(match form {
        Form::Boolean => Values::Boolean(array.as_boolean_opt()?.values()),
        Form::Int8 => Values::Int8(primitive::<Int8Type>(array)?),
        Form::Int16 => Values::Int16(primitive::<Int16Type>(array)?),
        Form::Int32 => Values::Int32(primitive::<Int32Type>(array)?),
        Form::Int64 => Values::Int64(primitive::<Int64Type>(array)?),
        Form::UInt8 => Values::UInt8(primitive::<UInt8Type>(array)?),
        Form::UInt16 => Values::UInt16(primitive::<UInt16Type>(array)?),
        Form::UInt32 => Values::UInt32(primitive::<UInt32Type>(array)?),
        Form::UInt64 => Values::UInt64(primitive::<UInt64Type>(array)?),
        Form::Float32 => Values::Float32(primitive::<Float32Type>(array)?),
        Form::Float64 => Values::Float64(primitive::<Float64Type>(array)?),
        Form::Text => {
            let array = array.as_string_opt::<i32>()?;
            Values::Bytes { offsets: array.value_offsets(), data: array.value_data() }
        }
        Form::LargeText => {
            let array = array.as_string_opt::<i64>()?;
            Values::LargeBytes { offsets: array.value_offsets(), data: array.value_data() }
        }
        Form::Binary => {
            let array = array.as_binary_opt::<i32>()?;
            Values::Bytes { offsets: array.value_offsets(), data: array.value_data() }
        }
        Form::LargeBinary => {
            let array = array.as_binary_opt::<i64>()?;
            Values::LargeBytes { offsets: array.value_offsets(), data: array.value_data() }
        }
        Form::FixedBinary => {
            let array = array.as_fixed_size_binary_opt()?;
            Values::FixedBytes { width: usize::try_from(array.value_length()).ok()?, data: array.value_data() }
        }
        Form::Decimal { scale } => {
            Values::Decimal { values: primitive::<Decimal128Type>(array)?, scale: usize::from(scale) }
        }
        Form::Date => Values::Date(primitive::<Date32Type>(array)?),
        Form::Time32(TimeUnit::Second) => {
            Values::Time32 { values: primitive::<Time32SecondType>(array)?, nanos: 1_000_000_000 }
        }
        Form::Time32(_) => Values::Time32 { values: primitive::<Time32MillisecondType>(array)?, nanos: 1_000_000 },
        Form::Time64(TimeUnit::Microsecond) => {
            Values::Time64 { values: primitive::<Time64MicrosecondType>(array)?, nanos: 1_000 }
        }
        Form::Time64(_) => Values::Time64 { values: primitive::<Time64NanosecondType>(array)?, nanos: 1 },
        Form::Timestamp(TimeUnit::Second) => {
            Values::Timestamp { values: primitive::<TimestampSecondType>(array)?, per_second: 1 }
        }
        Form::Timestamp(TimeUnit::Millisecond) => {
            Values::Timestamp { values: primitive::<TimestampMillisecondType>(array)?, per_second: 1_000 }
        }
        Form::Timestamp(_) => {
            Values::Timestamp { values: primitive::<TimestampMicrosecondType>(array)?, per_second: 1_000_000 }
        }
    })
}

//! Ranges, in the type of the column: each bound is read once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Scalar, StringArray, make_array};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt_eq};
use arrow::compute::{CastOptions, and, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type};
use arrow::error::ArrowError;

/// The time zone in which a bound without one is read. Names of zones are not known everywhere.
const UTC: &str = "+00:00";

/// The bounds of one column, both included.
#[derive(Debug)]
pub(crate) enum Bounds {
    /// Of floating-point numbers: NaN is outside of every range.
    Float(f64, f64),
    /// Of everything else.
    Values { min: Option<Scalar<ArrayRef>>, max: Option<Scalar<ArrayRef>> },
}

/// Why bounds cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BoundsError {
    /// Values of this type have no range.
    Type,
    /// What is wrong with a bound.
    Bound(String),
}

impl Bounds {
    pub(crate) fn new(data_type: &DataType, min: Option<&str>, max: Option<&str>) -> Result<Self, BoundsError> {
        match data_type {
            DataType::Float32 | DataType::Float64 => {
                let number = |text: Option<&str>, none: f64| text.map_or(Ok(none), float);
                let (min, max) = (number(min, f64::NEG_INFINITY)?, number(max, f64::INFINITY)?);
                if min > max { Err(none_between()) } else { Ok(Self::Float(min, max)) }
            }
            DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Decimal128(..) => {
                Self::values(data_type, min, max)
            }
            other if other.is_integer() => Self::values(data_type, min, max),
            _ => Err(BoundsError::Type),
        }
    }

    fn values(data_type: &DataType, min: Option<&str>, max: Option<&str>) -> Result<Self, BoundsError> {
        let scalar = |text: Option<&str>| text.map(|text| value(data_type, text).map(Scalar::new)).transpose();
        let (min, max) = (scalar(min)?, scalar(max)?);
        if let (Some(min), Some(max)) = (&min, &max)
            && gt(min, max).is_ok_and(|is_greater| is_greater.value(0))
        {
            return Err(none_between());
        }
        Ok(Self::Values { min, max })
    }

    /// Whether each value is within, null where it is null.
    pub(crate) fn hold(&self, values: &ArrayRef) -> Result<BooleanArray, ArrowError> {
        match self {
            Self::Float(min, max) => Ok(match values.data_type() {
                DataType::Float32 => BooleanArray::from_unary(values.as_primitive::<Float32Type>(), |value| {
                    (*min..=*max).contains(&f64::from(value))
                }),
                _ => BooleanArray::from_unary(values.as_primitive::<Float64Type>(), |value| {
                    (*min..=*max).contains(&value)
                }),
            }),
            Self::Values { min: Some(min), max: None } => gt_eq(values, min),
            Self::Values { min: None, max: Some(max) } => lt_eq(values, max),
            Self::Values { min: Some(min), max: Some(max) } => and(&gt_eq(values, min)?, &lt_eq(values, max)?),
            Self::Values { min: None, max: None } => Ok(BooleanArray::from(vec![true; values.len()])),
        }
    }
}

fn none_between() -> BoundsError {
    BoundsError::Bound("`min` is larger than `max`".to_owned())
}

fn float(text: &str) -> Result<f64, BoundsError> {
    let number = text.trim().parse().ok().filter(|number: &f64| !number.is_nan());
    number.ok_or_else(|| not_of_type(text))
}

fn not_of_type(text: &str) -> BoundsError {
    BoundsError::Bound(format!("`{text}` is not a value of the column's type"))
}

/// One value of a type, from its text.
fn value(data_type: &DataType, text: &str) -> Result<ArrayRef, BoundsError> {
    if let DataType::Decimal128(precision, scale) = data_type {
        return decimal(text, *precision, *scale);
    }
    let readable = match data_type {
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, Some(UTC.into())),
        other => other.clone(),
    };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let read = cast_with_options(&StringArray::from(vec![text.trim()]), &readable, &options);
    let read = read.ok().filter(|read| read.null_count() == 0).ok_or_else(|| not_of_type(text))?;
    // The same instant in the column's own zone.
    let data = read.to_data().into_builder().data_type(data_type.clone()).build();
    data.map(make_array).map_err(|_| not_of_type(text))
}

/// A decimal without rounding.
fn decimal(text: &str, precision: u8, scale: i8) -> Result<ArrayRef, BoundsError> {
    let digits = text.trim();
    let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
    let is_plain = digits.strip_prefix(['-', '+']).unwrap_or(digits).bytes().all(|c| c.is_ascii_digit() || c == b'.');
    if !is_plain || usize::try_from(scale).is_ok_and(|scale| fraction.len() > scale) {
        return Err(not_of_type(text));
    }
    let parsed = arrow::compute::kernels::cast_utils::parse_decimal::<Decimal128Type>(digits, precision, scale);
    let array = Decimal128Array::from_value(parsed.map_err(|_| not_of_type(text))?, 1);
    let array = array.with_precision_and_scale(precision, scale).map_err(|_| not_of_type(text))?;
    Ok(Arc::new(array))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Date32Array, Float64Array, Int16Array, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
    };
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn held(values: ArrayRef, min: Option<&str>, max: Option<&str>) -> Vec<Option<bool>> {
        Bounds::new(values.data_type(), min, max).unwrap().hold(&values).unwrap().iter().collect()
    }

    #[test]
    fn bounds_are_included_in_every_type() {
        let inside = |values: ArrayRef, min: &str, max: &str| {
            assert_eq!(
                held(Arc::clone(&values), Some(min), Some(max)),
                [Some(false), Some(true), Some(true), Some(false), None],
                "{} from {min} to {max}",
                values.data_type()
            );
        };
        inside(Arc::new(Int16Array::from(vec![Some(-6), Some(-5), Some(7), Some(8), None])), "-5", "7");
        inside(Arc::new(UInt64Array::from(vec![Some(0), Some(1), Some(2), Some(3), None])), "1", "2");
        inside(Arc::new(Float64Array::from(vec![Some(-0.6), Some(-0.5), Some(0.5), Some(0.6), None])), "-.5", "5e-1");
        let decimals = Decimal128Array::from(vec![Some(-126), Some(-125), Some(100), Some(101), None]);
        inside(Arc::new(decimals.with_precision_and_scale(9, 2).unwrap()), "-1.250", "1");
        inside(
            Arc::new(Date32Array::from(vec![Some(-2), Some(-1), Some(0), Some(1), None])),
            "1969-12-31",
            "1970-01-01",
        );
        let times =
            Time64MicrosecondArray::from(vec![Some(0), Some(1_000_000), Some(2_000_000), Some(2_000_001), None]);
        inside(Arc::new(times), "00:00:01", "00:00:02");
        let stamps = TimestampMicrosecondArray::from(vec![Some(-1), Some(0), Some(1_500_000), Some(1_500_001), None]);
        inside(Arc::new(stamps.clone()), "1970-01-01T00:00:00", "1970-01-01 00:00:01.5");
        inside(Arc::new(stamps.with_timezone("UTC")), "1970-01-01T01:00:00+01:00", "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn nan_is_outside_of_every_range_and_zero_has_no_sign() {
        let values = || Arc::new(Float64Array::from(vec![f64::NAN, -0.0, f64::INFINITY]));
        assert_eq!(held(values(), Some("0"), None), [Some(false), Some(true), Some(true)]);
        assert_eq!(held(values(), None, Some("0")), [Some(false), Some(true), Some(false)]);
    }

    #[test]
    fn bound_of_another_type_is_refused() {
        let refused = |data_type: DataType, min: &str| Bounds::new(&data_type, Some(min), None).unwrap_err();
        for (data_type, bound) in [
            (DataType::Int8, "300"),
            (DataType::Int32, "1.5"),
            (DataType::Int32, "ten"),
            (DataType::Float64, "NaN"),
            (DataType::Decimal128(5, 2), "1.005"),
            (DataType::Decimal128(5, 2), "1000"),
            (DataType::Decimal128(5, 2), "1e2"),
            (DataType::Decimal128(5, 2), ""),
            (DataType::Date32, "31.01.2026"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "yesterday"),
        ] {
            assert_eq!(refused(data_type, bound), not_of_type(bound));
        }
        assert_eq!(refused(DataType::Utf8, "a"), BoundsError::Type);
        assert_eq!(refused(DataType::Boolean, "true"), BoundsError::Type);
        assert_eq!(Bounds::new(&DataType::Int32, Some("2"), Some("1")).unwrap_err(), none_between());
        assert_eq!(Bounds::new(&DataType::Float32, Some("2"), Some("1")).unwrap_err(), none_between());
    }
}

//! The rules for types: which go together, what they become, what CAST converts.

use arrow::array::new_empty_array;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;

/// Digits of the largest decimal.
const MAX_PRECISION: u8 = 38;

/// Types of one family can be compared; different families need a CAST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// The literal NULL, which takes any type.
    Null,
    Boolean,
    Number,
    Text,
    Binary,
    Date,
    Time,
    Timestamp,
    ZonedTimestamp,
    /// Lists and structs: passed through and tested for null, nothing else.
    Nested,
}

impl Family {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean,
            DataType::Utf8 | DataType::LargeUtf8 => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => Self::Binary,
            DataType::Date32 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Timestamp(_, Some(_)) => Self::ZonedTimestamp,
            other if other.is_numeric() => Self::Number,
            _ => Self::Nested,
        }
    }

    fn is_temporal(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::ZonedTimestamp)
    }
}

/// What a rule sees of an operand: its type and, for a literal, its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) data_type: &'a DataType,
    pub(super) literal: Option<&'a ScalarValue>,
}

/// The type all operands can be converted to without loss of meaning; none if they do not go together.
///
/// Columns decide; a literal takes the columns' type where it fits, so that `quantity + 1` and `COALESCE(price, 0)`
/// keep the column's type.
pub(super) fn common(operands: &[Operand<'_>]) -> Option<DataType> {
    let mut common: Option<DataType> = None;
    for operand in operands.iter().filter(|operand| operand.literal.is_none()) {
        common = Some(match common {
            Some(so_far) => unify(&so_far, operand.data_type)?,
            None => operand.data_type.clone(),
        });
    }
    let from_columns = common.is_some();
    for operand in operands {
        let Some(literal) = operand.literal else { continue };
        common = Some(match common {
            Some(so_far) if from_columns => with_literal(&so_far, operand.data_type, literal)?,
            Some(so_far) => unify(&so_far, operand.data_type)?,
            None => operand.data_type.clone(),
        });
    }
    common
}

fn with_literal(columns: &DataType, data_type: &DataType, literal: &ScalarValue) -> Option<DataType> {
    let family = Family::of(columns);
    let fits = match Family::of(data_type) {
        Family::Number if family == Family::Number => literal_fits(columns, literal),
        // Text in the form of a date or time is read as one.
        Family::Text => family.is_temporal(),
        _ => false,
    };
    if fits { Some(columns.clone()) } else { unify(columns, data_type) }
}

fn literal_fits(columns: &DataType, literal: &ScalarValue) -> bool {
    match (columns, literal) {
        (DataType::Float32 | DataType::Float64, _) => true,
        (integer, ScalarValue::Int64(Some(value))) if integer.is_integer() => {
            let (low, high) = integer_range(integer);
            (low..=high).contains(&i128::from(*value))
        }
        (DataType::Decimal128(precision, scale), ScalarValue::Int64(Some(value))) => {
            integer_digits(*value) <= precision.saturating_sub(scale.unsigned_abs())
        }
        (DataType::Decimal128(precision, scale), ScalarValue::Decimal128(Some(_), p, s)) => {
            s <= scale && p.saturating_sub(s.unsigned_abs()) <= precision.saturating_sub(scale.unsigned_abs())
        }
        _ => false,
    }
}

fn integer_range(data_type: &DataType) -> (i128, i128) {
    match data_type {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}

/// Decimal digits of an integer.
pub(super) fn integer_digits(value: i64) -> u8 {
    value.unsigned_abs().checked_ilog10().map_or(1, |log| log as u8 + 1)
}

/// Decimal digits every value of an integer type fits in.
fn type_digits(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Int8 | DataType::UInt8 => 3,
        DataType::Int16 | DataType::UInt16 => 5,
        DataType::Int32 | DataType::UInt32 => 10,
        DataType::Int64 => 19,
        _ => 20,
    }
}

/// The type two types become together.
fn unify(left: &DataType, right: &DataType) -> Option<DataType> {
    if left == right {
        return Some(left.clone());
    }
    match (Family::of(left), Family::of(right)) {
        (Family::Null, _) => Some(right.clone()),
        (_, Family::Null) => Some(left.clone()),
        (Family::Number, Family::Number) => Some(unify_numbers(left, right)),
        (Family::Text, Family::Text) => Some(DataType::LargeUtf8),
        (Family::Binary, Family::Binary) => {
            let large = left == &DataType::LargeBinary || right == &DataType::LargeBinary;
            Some(if large { DataType::LargeBinary } else { DataType::Binary })
        }
        (Family::Time, Family::Time) => Some(DataType::Time64(TimeUnit::Nanosecond)),
        (Family::Timestamp, Family::Date) => Some(left.clone()),
        (Family::Date, Family::Timestamp) => Some(right.clone()),
        (Family::Timestamp, Family::Timestamp) | (Family::ZonedTimestamp, Family::ZonedTimestamp) => {
            match (left, right) {
                (DataType::Timestamp(a, zone), DataType::Timestamp(b, _)) => {
                    Some(DataType::Timestamp(*a.max(b), zone.clone()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn unify_numbers(left: &DataType, right: &DataType) -> DataType {
    if left.is_floating() || right.is_floating() {
        return DataType::Float64;
    }
    match (left, right) {
        (DataType::Decimal128(..), _) | (_, DataType::Decimal128(..)) => {
            let ((p1, s1), (p2, s2)) = (as_decimal(left), as_decimal(right));
            let scale = s1.max(s2);
            let whole = p1.saturating_sub(s1.unsigned_abs()).max(p2.saturating_sub(s2.unsigned_abs()));
            DataType::Decimal128(whole.saturating_add(scale.unsigned_abs()).min(MAX_PRECISION), scale)
        }
        _ => {
            let (low, high) = integer_range(left);
            let (other_low, other_high) = integer_range(right);
            let (low, high) = (low.min(other_low), high.max(other_high));
            let signed = [DataType::Int16, DataType::Int32, DataType::Int64];
            let unsigned = [DataType::UInt16, DataType::UInt32, DataType::UInt64];
            let candidates = if low < 0 { &signed } else { &unsigned };
            let holds = |candidate: &&DataType| {
                let (candidate_low, candidate_high) = integer_range(candidate);
                candidate_low <= low && high <= candidate_high
            };
            candidates.iter().find(holds).cloned().unwrap_or(DataType::Decimal128(20, 0))
        }
    }
}

fn as_decimal(data_type: &DataType) -> (u8, i8) {
    match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        integer => (type_digits(integer), 0),
    }
}

/// The types both operands of an arithmetic operator are converted to; none if they are no numbers.
///
/// Decimals keep their own precision and scale, as the kernels find the result's from both.
pub(super) fn arithmetic(left: Operand<'_>, right: Operand<'_>) -> Option<(DataType, DataType)> {
    let numeric = |operand: &Operand<'_>| matches!(Family::of(operand.data_type), Family::Number | Family::Null);
    if !numeric(&left) || !numeric(&right) {
        return None;
    }
    let common = match common(&[left, right])? {
        DataType::Null => DataType::Int64,
        common => common,
    };
    let own = |operand: Operand<'_>| match (operand.data_type, operand.literal) {
        (DataType::Decimal128(precision, scale), _) => DataType::Decimal128(*precision, *scale),
        (DataType::Int64, Some(ScalarValue::Int64(Some(value)))) => DataType::Decimal128(integer_digits(*value), 0),
        (integer, _) if integer.is_integer() => DataType::Decimal128(type_digits(integer), 0),
        _ => common.clone(),
    };
    Some(if matches!(common, DataType::Decimal128(..)) { (own(left), own(right)) } else { (common.clone(), common) })
}

/// The type of an arithmetic result, by the kernel itself.
pub(super) fn arithmetic_result(left: &DataType, operator: Operator, right: &DataType) -> Result<DataType, String> {
    let (left, right) = (new_empty_array(left), new_empty_array(right));
    let result = match operator {
        Operator::Plus => numeric::add(&left, &right),
        Operator::Minus => numeric::sub(&left, &right),
        Operator::Multiply => numeric::mul(&left, &right),
        Operator::Divide => numeric::div(&left, &right),
        _ => numeric::rem(&left, &right),
    };
    result.map(|array| array.data_type().clone()).map_err(|error| error.to_string())
}

/// Whether CAST converts between two types.
pub(super) fn can_cast(from: &DataType, to: &DataType) -> bool {
    use Family::{Binary, Boolean, Date, Nested, Null, Number, Text, Time, Timestamp, ZonedTimestamp};
    let integer = |data_type: &DataType| data_type.is_integer();
    match (Family::of(from), Family::of(to)) {
        (Null, family) => family != Nested,
        (Nested, _) | (_, Nested | Null) => false,
        (Boolean, Number) => integer(to),
        (Number, Boolean) => integer(from),
        (Number, Number) | (Boolean, Boolean) | (Binary, Binary) | (Time, Time) => true,
        (Text, family) | (family, Text) => family != Binary,
        (Date | Timestamp, Date | Timestamp) => true,
        (Timestamp | ZonedTimestamp, Time) => true,
        (Timestamp | ZonedTimestamp, Timestamp | ZonedTimestamp) => true,
        _ => false,
    }
}

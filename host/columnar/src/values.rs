//! Values within their declared type: an Arrow buffer can hold more than its type says, and a sink believes the type.
//!
//! Arrow's own validation checks offsets, text and nulls, not a decimal's precision or a time's day. Each check is one pass
//! over a column; only a column that fails is looked at row by row.

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow::record_batch::RecordBatch;

use super::error::{ColumnarError, shorten};
use super::type_text;

/// The widest range that a source has, PostgreSQL's: 4714-11-24 BC (Julian day 0) to 5874897-12-31.
const FIRST_DAY: i32 = -2_440_588;
const LAST_DAY: i32 = 2_145_042_905;
const SECONDS_PER_DAY: i64 = 86_400;
/// Sinks keep microseconds: what they cannot count in 64 bits is no moment.
const FIRST_SECOND: i64 = FIRST_DAY as i64 * SECONDS_PER_DAY;
const LAST_SECOND: i64 = i64::MAX / 1_000_000 - 1;

/// A value that its column's type does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The row, from 0.
    pub(super) row: usize,
    /// Why it does not fit.
    pub(super) reason: String,
}

/// Refuses a batch of a guest that holds a value outside of its column's type.
pub(super) fn check(batch: &RecordBatch) -> Result<(), ColumnarError> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if let Some(Misfit { row, reason }) = misfit(column) {
            return Err(ColumnarError::ValueOutsideType {
                column: shorten(field.name()),
                data_type: type_text::print(field.data_type()),
                row,
                reason,
            });
        }
    }
    Ok(())
}

/// The first value outside of the array's type.
pub(super) fn misfit(array: &dyn Array) -> Option<Misfit> {
    let day = |per_second: i64| (0, SECONDS_PER_DAY * per_second - 1);
    let moment = |per_second: i64| (FIRST_SECOND.saturating_mul(per_second), LAST_SECOND.saturating_mul(per_second));
    let not_in_day = "a time is within one day";
    let no_moment = "a timestamp is between 4714-11-24 BC and the last microsecond of 64 bits, in the year 294247";
    match array.data_type() {
        DataType::Decimal128(precision, _) => {
            let largest = 10_i128.pow(u32::from(*precision).min(38)) - 1;
            outside::<Decimal128Type>(array, (-largest, largest), || format!("it has more than {precision} digits"))
        }
        DataType::Date32 => {
            let reason = || "a date is between 4714-11-24 BC and 5874897-12-31".to_owned();
            outside::<Date32Type>(array, (FIRST_DAY, LAST_DAY), reason)
        }
        DataType::Time32(unit) => {
            let reason = || not_in_day.to_owned();
            match unit {
                TimeUnit::Second => outside::<Time32SecondType>(array, (0, 86_399), reason),
                _ => outside::<Time32MillisecondType>(array, (0, 86_399_999), reason),
            }
        }
        DataType::Time64(unit) => {
            let reason = || not_in_day.to_owned();
            match unit {
                TimeUnit::Microsecond => outside::<Time64MicrosecondType>(array, day(1_000_000), reason),
                _ => outside::<Time64NanosecondType>(array, day(1_000_000_000), reason),
            }
        }
        DataType::Timestamp(unit, _) => {
            let reason = || no_moment.to_owned();
            match unit {
                TimeUnit::Second => outside::<TimestampSecondType>(array, moment(1), reason),
                TimeUnit::Millisecond => outside::<TimestampMillisecondType>(array, moment(1_000), reason),
                TimeUnit::Microsecond => outside::<TimestampMicrosecondType>(array, moment(1_000_000), reason),
                // All of their 64 bits are within the range.
                TimeUnit::Nanosecond => None,
            }
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (*offsets.first()?, *offsets.last()?);
            let start = usize::try_from(first).ok()?;
            let misfit = misfit(&list.values().slice(start, usize::try_from(last - first).ok()?))?;
            let value = misfit.row + start;
            let row = offsets.partition_point(|offset| usize::try_from(*offset).is_ok_and(|offset| offset <= value));
            Some(Misfit { row: row.saturating_sub(1), ..misfit })
        }
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(|column| misfit(column)),
        _ => None,
    }
}

fn outside<T: ArrowPrimitiveType>(
    array: &dyn Array,
    (low, high): (T::Native, T::Native),
    reason: impl FnOnce() -> String,
) -> Option<Misfit> {
    let array: &PrimitiveArray<T> = array.as_primitive_opt()?;
    let fails = |value: &T::Native| (*value < low) | (*value > high);
    // Without a branch in it: most columns are within their type.
    if !array.values().iter().fold(false, |any, value| any | fails(value)) {
        return None;
    }
    // What lies under a null is no value.
    let row = (0..array.len()).find(|row| array.is_valid(*row) && fails(&array.values()[*row]))?;
    Some(Misfit { row, reason: reason() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Date32Array, Decimal128Array, Int32Array, ListArray, StructArray, Time64NanosecondArray,
        TimestampMicrosecondArray, TimestampSecondArray,
    };
    use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
    use arrow::datatypes::Field;

    use super::*;

    fn decimals(values: Vec<Option<i128>>, precision: u8) -> Decimal128Array {
        Decimal128Array::from(values).with_data_type(DataType::Decimal128(precision, 0))
    }

    fn row(array: &dyn Array) -> Option<usize> {
        misfit(array).map(|misfit| misfit.row)
    }

    #[test]
    fn decimals_are_held_to_their_precision() {
        assert_eq!(row(&decimals(vec![Some(99_999), None, Some(-99_999)], 5)), None);
        assert_eq!(row(&decimals(vec![Some(0), None, Some(100_000)], 5)), Some(2));
        assert_eq!(row(&decimals(vec![Some(-100_000)], 5)), Some(0));
        assert_eq!(row(&decimals(vec![Some(1 << 126)], 5)), Some(0));
        assert_eq!(row(&decimals(vec![Some(10_i128.pow(38) - 1)], 38)), None);
        for beyond in [10_i128.pow(38), i128::MAX, i128::MIN] {
            assert_eq!(row(&decimals(vec![Some(beyond)], 38)), Some(0), "{beyond}");
        }
    }

    #[test]
    fn what_lies_under_a_null_is_no_value() {
        let values = ScalarBuffer::from(vec![1 << 126, 1]);
        let array = Decimal128Array::new(values, Some(NullBuffer::from(vec![false, true])));
        assert_eq!(row(&array.with_data_type(DataType::Decimal128(5, 0))), None);
    }

    #[test]
    fn dates_times_and_moments_have_a_range() {
        assert_eq!(row(&Date32Array::from(vec![FIRST_DAY, 0, LAST_DAY])), None);
        assert_eq!(row(&Date32Array::from(vec![0, i32::MAX])), Some(1));
        assert_eq!(row(&Date32Array::from(vec![i32::MIN])), Some(0));
        assert_eq!(row(&Time64NanosecondArray::from(vec![0, 86_399_999_999_999])), None);
        assert_eq!(row(&Time64NanosecondArray::from(vec![86_400_000_000_000])), Some(0));
        assert_eq!(row(&Time64NanosecondArray::from(vec![-1])), Some(0));
        assert_eq!(row(&TimestampSecondArray::from(vec![0, LAST_SECOND, i64::MAX])), Some(2));
        assert_eq!(row(&TimestampSecondArray::from(vec![i64::MIN])), Some(0));
        assert_eq!(row(&TimestampMicrosecondArray::from(vec![0, i64::MIN])), Some(1));
    }

    #[test]
    fn a_value_inside_of_a_list_or_struct_names_the_outer_row() {
        let values: ArrayRef = Arc::new(decimals(vec![Some(1), Some(2), Some(3), Some(100)], 2));
        let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 1, 4]));
        let list = ListArray::new(item, offsets, Arc::clone(&values), None);
        assert_eq!(row(&list), Some(2));
        assert_eq!(row(&list.slice(2, 1)), Some(0));
        assert_eq!(row(&list.slice(0, 2)), None);
        let number: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
        let fields = vec![
            (Arc::new(Field::new("n", DataType::Int32, true)), number),
            (Arc::new(Field::new("d", values.data_type().clone(), true)), values),
        ];
        assert_eq!(row(&StructArray::from(fields)), Some(3));
    }
}

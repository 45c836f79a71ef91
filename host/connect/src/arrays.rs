//! Plain vectors that become Arrow buffers without a copy.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, DataType};
use arrow::error::ArrowError;

/// An offset into a buffer that the limits keep below 2 GiB; one over it would fail the check of the array.
pub fn offset(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(-1)
}

/// Takes the values and leaves room for as many. A buffer that grew far beyond its values is cut to them, so that a
/// batch is charged what it holds.
pub fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let mut taken = std::mem::take(values);
    *values = Vec::with_capacity(taken.len() + taken.len() / 16);
    if taken.capacity() > taken.len() + taken.len() / 4 {
        taken.shrink_to_fit();
    }
    taken
}

/// Takes the offsets of a variable-size column and begins again at 0.
pub fn taken_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let taken = take(offsets);
    offsets.push(0);
    if taken.windows(2).all(|pair| pair[0] <= pair[1]) {
        OffsetBuffer::new(ScalarBuffer::from(taken))
    } else {
        // Over 2 GiB: empty offsets fail the array's own check of lengths.
        OffsetBuffer::new_empty()
    }
}

/// An array of these values, of this type of Arrow (a decimal's precision, a timestamp's zone).
pub fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError>
where
    T::Native: ArrowNativeType,
{
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(take(values)), nulls)?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

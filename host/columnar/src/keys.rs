//! Keys as bytes: equal keys have equal bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

/// Makes keys comparable, a batch at a time. Nulls are equal to each other, and so are the two zeros and all NaNs of
/// floating-point numbers.
#[derive(Debug)]
pub struct KeyEncoder(RowConverter);

impl KeyEncoder {
    /// Of keys of these types.
    ///
    /// # Errors
    /// A type whose values cannot be compared.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        Ok(Self(RowConverter::new(types.into_iter().map(SortField::new).collect())?))
    }

    /// The keys of a batch's rows, of which these are the columns.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn rows(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        let columns: Vec<ArrayRef> = columns.iter().map(one_zero).collect();
        self.0.convert_columns(&columns)
    }
}

/// Floating-point numbers with one zero and one NaN; all else as it is.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let one = |value: f32| if value.is_nan() { f32::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(one))
        }
        DataType::Float64 => {
            let one = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(one))
        }
        _ => Arc::clone(column),
    }
}

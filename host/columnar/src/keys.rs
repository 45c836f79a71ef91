//! Keys as bytes: equal keys have equal bytes.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use datakit_model::receipt::one_zero;

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

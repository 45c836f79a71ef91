//! Which type holds all values of another.

use arrow::datatypes::DataType;

/// Whether each value of `narrow` is a value of `wide`, another type, and means the same there.
#[must_use]
pub fn holds(wide: &DataType, narrow: &DataType) -> bool {
    if wide == narrow {
        return false;
    }
    match (wide, narrow) {
        (DataType::Int16, DataType::Int8)
        | (DataType::Int32, DataType::Int8 | DataType::Int16)
        | (DataType::Int64, DataType::Int8 | DataType::Int16 | DataType::Int32)
        | (DataType::Float64, DataType::Float32) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(narrow_p, narrow_s)) => {
            let whole = |p: u8, s: i8| i16::from(p) - i16::from(s);
            s >= narrow_s && whole(*p, *s) >= whole(*narrow_p, *narrow_s)
        }
        _ => false,
    }
}

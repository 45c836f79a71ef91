//! A checksum over the values of rows, whatever their order.
//!
//! The values of a row become bytes that no other row of the schema has, a column at a time. Each row has a hash of 128 bits of
//! its bytes, and the checksum is the sum of all hashes. What the values are does not depend on how an array holds them, so that a
//! sink's rows have the checksum of the source's.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, Rows, SortField};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Rows whose bytes are in memory at one time.
const ROWS: usize = 4096;
/// The widest decimal.
const PRECISION: u8 = 38;

/// 128 bits over the values of rows. Rows that are there twice count twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Checksum(u128);

impl Checksum {
    /// Of these rows and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// Its 128 bits as a number.
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }

    /// Of the bytes of one row.
    fn of_row(bytes: &[u8]) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(bytes);
        Self(hasher.finish128().as_u128())
    }
}

impl fmt::Display for Checksum {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The values of rows as bytes: rows with the same values have the same bytes, and the bytes have the order of the values.
#[derive(Debug)]
pub struct ValueBytes(RowConverter);

impl ValueBytes {
    /// Of rows of a schema. Names and nullability do not count, the order of the columns does.
    ///
    /// # Errors
    /// A type whose values cannot be compared.
    pub fn new(schema: &Schema) -> Result<Self, ArrowError> {
        let fields = schema.fields().iter().map(|field| SortField::new(canonical_type(field.data_type())));
        Ok(Self(RowConverter::new(fields.collect())?))
    }

    /// The bytes of the rows of which these are the columns.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn rows(&self, columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
        self.0.convert_columns(&canonical_columns(columns)?)
    }

    /// The values of a row.
    ///
    /// # Errors
    /// A row of another schema.
    pub fn values(&self, row: &OwnedRow) -> Result<Vec<ArrayRef>, ArrowError> {
        self.0.convert_rows([row.row()])
    }

    /// The values of rows of which these are the bytes, as this made them.
    ///
    /// # Errors
    /// Rows of another schema.
    pub fn values_of<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        let parser = self.0.parser();
        let rows: Vec<_> = rows.into_iter().map(|bytes| parser.parse(bytes)).collect();
        self.0.convert_rows(rows)
    }
}

/// The checksum of rows as they pass.
#[derive(Debug)]
pub struct RowChecksum {
    values: ValueBytes,
    sum: Checksum,
}

impl RowChecksum {
    /// Of rows of a schema. Names and nullability do not count, the order of the columns does.
    ///
    /// # Errors
    /// A type whose values cannot be compared.
    pub fn new(schema: &Schema) -> Result<Self, ArrowError> {
        Ok(Self { values: ValueBytes::new(schema)?, sum: Checksum::default() })
    }

    /// Adds the rows of which these are the columns.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn add(&mut self, columns: &[ArrayRef]) -> Result<(), ArrowError> {
        let mut sum = self.sum;
        self.hash(columns, |_, hash| sum = sum.and(hash))?;
        self.sum = sum;
        Ok(())
    }

    /// Hands on the hash of each row, with its place.
    ///
    /// # Errors
    /// Columns of other types.
    pub fn hash(&self, columns: &[ArrayRef], mut taker: impl FnMut(usize, Checksum)) -> Result<(), ArrowError> {
        let rows = columns.first().map_or(0, |column| column.len());
        let ValueBytes(converter) = &self.values;
        let mut bytes = converter.empty_rows(rows.min(ROWS), 0);
        for from in (0..rows).step_by(ROWS) {
            let part = ROWS.min(rows - from);
            let part: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, part)).collect();
            bytes.clear();
            converter.append(&mut bytes, &canonical_columns(&part)?)?;
            for (place, row) in bytes.iter().enumerate() {
                taker(from + place, Checksum::of_row(row.as_ref()));
            }
        }
        Ok(())
    }

    /// Of all rows so far.
    #[must_use]
    pub fn sum(&self) -> Checksum {
        self.sum
    }
}

/// Whether values of two types are compared as they are: what one type says of a value, the other says too.
#[must_use]
pub fn has_same_values(one: &DataType, other: &DataType) -> bool {
    canonical_type(one) == canonical_type(other)
}

/// The type in which the values of a type are compared.
fn canonical_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        // A moment is the same whatever zone its type names.
        DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
        DataType::Decimal128(_, scale) => DataType::Decimal128(PRECISION, *scale),
        DataType::Utf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Binary | DataType::BinaryView => DataType::LargeBinary,
        other => other.clone(),
    }
}

fn canonical_columns(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, ArrowError> {
    columns.iter().map(canonical).collect()
}

fn canonical(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let expected = canonical_type(column.data_type());
    match column.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            // Casting to a type without a zone would shift the values.
            cast(&cast(column, &DataType::Int64)?, &expected)
        }
        DataType::Decimal128(_, scale) => {
            let decimals = column.as_primitive::<Decimal128Type>().clone();
            Ok(Arc::new(decimals.with_precision_and_scale(PRECISION, *scale)?))
        }
        found if *found != expected => cast(column, &expected),
        _ => Ok(one_zero(column)),
    }
}

/// Floating-point numbers with one zero and one NaN; all else as it is.
#[must_use]
pub fn one_zero(column: &ArrayRef) -> ArrayRef {
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

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
        LargeStringArray, RecordBatch, StringArray, StringViewArray, Time64MicrosecondArray, Time64NanosecondArray,
        TimestampMicrosecondArray, UInt32Array,
    };
    use arrow::compute::{concat_batches, take_record_batch};
    use arrow::datatypes::Field;
    use proptest::prelude::*;

    use super::*;

    fn sum(columns: Vec<ArrayRef>) -> Checksum {
        let named = columns.into_iter().enumerate().map(|(at, column)| (format!("c{at}"), column, true));
        of(&RecordBatch::try_from_iter_with_nullable(named).unwrap())
    }

    fn of(batch: &RecordBatch) -> Checksum {
        let mut checksum = RowChecksum::new(&batch.schema()).unwrap();
        checksum.add(batch.columns()).unwrap();
        checksum.sum()
    }

    fn text(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    #[test]
    fn values_count_and_not_how_an_array_holds_them() {
        let numbers = [
            sum(vec![Arc::new(Int8Array::from(vec![Some(-1), None]))]),
            sum(vec![Arc::new(Int16Array::from(vec![Some(-1), None]))]),
            sum(vec![Arc::new(Int32Array::from(vec![Some(-1), None]))]),
            sum(vec![Arc::new(Int64Array::from(vec![Some(-1), None]))]),
        ];
        assert!(numbers.iter().all(|sum| *sum == numbers[0]), "{numbers:?}");
        let texts = [
            sum(vec![text(vec![Some("ab"), None, Some("")])]),
            sum(vec![Arc::new(LargeStringArray::from(vec![Some("ab"), None, Some("")]))]),
            sum(vec![Arc::new(StringViewArray::from(vec![Some("ab"), None, Some("")]))]),
        ];
        assert!(texts.iter().all(|sum| *sum == texts[0]), "{texts:?}");
        let mut checksum = RowChecksum::new(&Schema::new(vec![Field::new("c", DataType::LargeUtf8, true)])).unwrap();
        checksum.add(&[text(vec![Some("ab"), None, Some("")])]).unwrap();
        assert_eq!(checksum.sum(), texts[0], "columns may have another type of the same values");
        let micros = sum(vec![Arc::new(Time64MicrosecondArray::from(vec![7]))]);
        assert_eq!(micros, sum(vec![Arc::new(Time64NanosecondArray::from(vec![7000]))]));
        let at = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000]);
        let prague = sum(vec![Arc::new(at.clone().with_timezone("Europe/Prague"))]);
        assert_eq!((prague, prague), (sum(vec![Arc::new(at.clone().with_timezone("UTC"))]), sum(vec![Arc::new(at)])));
        let decimal = |precision| Decimal128Array::from(vec![-5]).with_precision_and_scale(precision, 2).unwrap();
        assert_eq!(sum(vec![Arc::new(decimal(5))]), sum(vec![Arc::new(decimal(20))]));
    }

    #[test]
    fn zeros_are_one_and_so_are_all_nans() {
        let float = |value: f64| sum(vec![Arc::new(Float64Array::from(vec![value]))]);
        assert_eq!(float(0.0), float(-0.0));
        assert_eq!(float(f64::NAN), float(-f64::NAN));
        assert_ne!(float(f64::NAN), float(0.0));
    }

    #[test]
    fn null_empty_and_zero_differ() {
        assert_ne!(sum(vec![text(vec![None])]), sum(vec![text(vec![Some("")])]));
        let number = |value: Option<i64>| sum(vec![Arc::new(Int64Array::from(vec![value]))]);
        assert_ne!(number(None), number(Some(0)));
        let truth = |value: Option<bool>| sum(vec![Arc::new(BooleanArray::from(vec![value]))]);
        assert_ne!(truth(None), truth(Some(false)));
        assert_ne!(
            sum(vec![Arc::new(BinaryArray::from_opt_vec(vec![None]))]),
            sum(vec![Arc::new(BinaryArray::from(vec![&b""[..]]))])
        );
    }

    #[test]
    fn swapped_columns_and_swapped_values_of_two_rows_are_found() {
        let pair = |one: Vec<Option<&'static str>>, two| sum(vec![text(one), text(two)]);
        assert_ne!(pair(vec![Some("a")], vec![Some("b")]), pair(vec![Some("b")], vec![Some("a")]));
        assert_ne!(pair(vec![Some("ab")], vec![Some("c")]), pair(vec![Some("a")], vec![Some("bc")]));
        assert_ne!(
            pair(vec![Some("a"), Some("b")], vec![Some("1"), Some("2")]),
            pair(vec![Some("a"), Some("b")], vec![Some("2"), Some("1")])
        );
    }

    #[test]
    fn row_that_is_there_twice_counts_twice() {
        assert_ne!(sum(vec![text(vec![Some("a")])]), sum(vec![text(vec![Some("a"), Some("a")])]));
        assert_ne!(sum(vec![text(vec![Some("a"), Some("a")])]), Checksum::default());
    }

    #[test]
    fn many_rows_are_the_sum_of_their_parts() {
        let all: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let parts = sum(vec![all.slice(0, 5_000)]).and(sum(vec![all.slice(5_000, 5_000)]));
        assert_eq!(sum(vec![all]), parts);
        assert_eq!(Checksum::default().to_string(), "0".repeat(32));
    }

    fn batch(rows: &[(Option<i32>, Option<String>)]) -> RecordBatch {
        let numbers: Int32Array = rows.iter().map(|(number, _)| *number).collect();
        let texts: StringArray = rows.iter().map(|(_, text)| text.as_deref()).collect();
        let columns: [(&str, ArrayRef, bool); 2] =
            [("number", Arc::new(numbers), true), ("text", Arc::new(texts), true)];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn rows() -> impl Strategy<Value = Vec<(Option<i32>, Option<String>)>> {
        let row = (proptest::option::of(-2..3_i32), proptest::option::of("[ab]{0,2}"));
        proptest::collection::vec(row, 1..30)
    }

    proptest! {
        #[test]
        fn order_and_batches_do_not_count(rows in rows(), seed in any::<u64>(), cut in any::<proptest::sample::Index>()) {
            let all = batch(&rows);
            let mut order: Vec<u32> = (0..).take(rows.len()).collect();
            order.sort_by_key(|place| (u64::from(*place) + 1).wrapping_mul(seed | 1));
            let shuffled = take_record_batch(&all, &UInt32Array::from(order)).unwrap();
            prop_assert_eq!(of(&all), of(&shuffled));
            let cut = cut.index(rows.len());
            let parts = [all.slice(cut, rows.len() - cut), all.slice(0, cut)];
            prop_assert_eq!(of(&parts[0]).and(of(&parts[1])), of(&all));
            prop_assert_eq!(of(&concat_batches(&all.schema(), &parts).unwrap()), of(&all));
        }

        #[test]
        fn each_change_of_a_value_is_found(
            rows in rows(),
            at in any::<proptest::sample::Index>(),
            number in proptest::option::of(-2..3_i32),
            text in proptest::option::of("[ab]{0,2}"),
        ) {
            let mut changed = rows.clone();
            let place = at.index(rows.len());
            changed[place] = (number, text);
            prop_assert_eq!(of(&batch(&rows)) == of(&batch(&changed)), rows[place] == changed[place]);
        }
    }
}

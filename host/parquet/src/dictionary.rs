//! Which columns of a file are worth a dictionary.
//!
//! A dictionary of values that do not repeat costs a hash table lookup a value and a page that only copies the column. Parquet's writer
//! finds that out when the page is full, and starts anew in every row group; the first batch tells it before.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;

/// Rows looked at; in fewer than [`LEAST_ROWS`] nothing can be seen, and nothing is lost.
const SAMPLE_ROWS: usize = 8192;
const LEAST_ROWS: usize = 2048;
/// A column repeats itself enough if the sample holds at most this share of distinct values. Values drawn from so many that a
/// sample is nearly distinct would fill a dictionary's page.
const DISTINCT_PERCENT: usize = 95;

/// Turns dictionaries off for the columns that do not repeat, by the first rows of the file.
pub(super) fn choose(mut properties: WriterPropertiesBuilder, first: &RecordBatch) -> WriterPropertiesBuilder {
    let rows = first.num_rows().min(SAMPLE_ROWS);
    if rows < LEAST_ROWS {
        return properties;
    }
    for (field, column) in first.schema_ref().fields().iter().zip(first.columns()) {
        if !repeats(&column.slice(0, rows)) {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    properties
}

/// Whether enough of the values come twice. What cannot be told counts as repeating, as it is the writer's default.
fn repeats(sample: &ArrayRef) -> bool {
    let values = sample.len() - sample.null_count();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(sample.data_type().clone()));
    match cast(sample, &dictionary) {
        Ok(encoded) => encoded.as_dictionary::<Int32Type>().values().len() * 100 <= values * DISTINCT_PERCENT,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn column(name: &str, array: impl Array + 'static) -> (String, ArrayRef) {
        (name.to_owned(), Arc::new(array))
    }

    fn chosen(rows: i64) -> Vec<(String, bool)> {
        let batch = RecordBatch::try_from_iter([
            column("id", Int64Array::from_iter_values(0..rows)),
            column("reference", StringArray::from_iter_values((0..rows).map(|i| format!("R-{i}")))),
            column("status", StringArray::from_iter_values((0..rows).map(|i| format!("S-{}", i % 7)))),
            column("amount", Decimal128Array::from_iter_values((0..rows).map(|i| i128::from(i % 4000)))),
            column("at", TimestampMicrosecondArray::from_iter_values((0..rows).map(|i| i * 1_000_003))),
            column("open", BooleanArray::from_iter((0..rows).map(|i| Some(i % 2 == 0)))),
            column("a.b", Int64Array::from_iter((0..rows).map(|_| None))),
        ])
        .unwrap();
        let properties = choose(WriterProperties::builder(), &batch).build();
        let enabled = |name: &String| properties.dictionary_enabled(&ColumnPath::new(vec![name.clone()]));
        batch.schema().fields().iter().map(|field| (field.name().clone(), enabled(field.name()))).collect()
    }

    #[test]
    fn values_that_do_not_repeat_get_no_dictionary() {
        let without: Vec<String> = chosen(10_000).into_iter().filter(|(_, on)| !on).map(|(name, _)| name).collect();
        assert_eq!(without, ["id", "reference", "at"]);
    }

    #[test]
    fn a_few_rows_tell_nothing() {
        assert!(chosen(100).into_iter().all(|(_, on)| on));
    }
}

//! From lines to Arrow.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::LogbookError;
use crate::protocol::Session;

/// Rows of a batch, at most.
const BATCH_ROWS: usize = 1_000;

/// A line for each book.
pub(crate) fn of_books() -> SchemaRef {
    let columns = [Field::new("name", DataType::Utf8, false), Field::new("entries", DataType::Int64, false)];
    Arc::new(Schema::new(columns.to_vec()))
}

/// A line for each entry of a book.
pub(crate) fn of_entries() -> SchemaRef {
    let columns = [
        Field::new("id", DataType::Int64, false),
        Field::new("day", DataType::Date32, false),
        Field::new("minutes", DataType::Int64, false),
        Field::new("note", DataType::Utf8, true),
    ];
    Arc::new(Schema::new(columns.to_vec()))
}

/// The next rows of an answer; none after the last.
pub(crate) async fn next(session: &mut Session, schema: &SchemaRef) -> Result<Option<RecordBatch>, LogbookError> {
    let mut lines = Vec::new();
    while lines.len() < BATCH_ROWS {
        let Some(line) = session.row().await? else { break };
        lines.push(line);
    }
    if lines.is_empty() {
        return Ok(None);
    }
    if lines.iter().any(|line| line.split('\t').count() != schema.fields().len()) {
        return Err(session.unreadable(format!("it has not the {} fields of its table", schema.fields().len())));
    }
    batch(&lines, schema).map(Some).map_err(|error| session.unreadable(error.to_string()))
}

fn batch(lines: &[String], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().enumerate().map(|(index, field)| column(lines, index, field));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
}

/// A field that is empty is null.
fn column(lines: &[String], index: usize, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let value = |line: &String| line.split('\t').nth(index).filter(|text| !text.is_empty()).map(str::to_owned);
    let texts = StringArray::from_iter(lines.iter().map(value));
    cast_with_options(&texts, field.data_type(), &CastOptions { safe: false, ..CastOptions::default() })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn entries(lines: &[&str]) -> Result<RecordBatch, ArrowError> {
        batch(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), &of_entries())
    }

    #[test]
    fn lines_become_columns_of_their_types() {
        let batch = entries(&["1\t2026-01-31\t90\tall well", "2\t2026-02-01\t-5\t"]).unwrap();
        assert_eq!(batch.column(2).as_primitive::<Int64Type>().values(), &[90, -5]);
        assert_eq!(batch.column(1).data_type(), &DataType::Date32);
        assert!(batch.column(3).is_null(1));
    }

    #[test]
    fn value_of_another_type_is_an_error() {
        for line in ["x\t2026-01-31\t90\t", "1\t2026-13-31\t90\t", "1\t2026-01-31\t1.5\t", "1\t2026-01-31\t\t"] {
            assert!(entries(&[line]).is_err(), "{line}");
        }
    }
}

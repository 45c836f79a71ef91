//! Which values a change does not carry.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, Scalar, StringArray};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datakit_connect::changes::ChangesError;
use datakit_connect::changes::roles::{OPERATION_COLUMN, Operation, field, missing_columns};
use datakit_model::changes::ColumnRole;
use datakit_model::source::{ReadReport, Reader};
use datakit_model::{Failure, TrackedBatch};

/// The names of columns without values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Missing {
    /// Of every change.
    pub(super) always: Vec<String>,
    /// Of deletes, besides.
    pub(super) deleted: Vec<String>,
    /// Of deletes, where the row has null: the table cannot.
    pub(super) required: Vec<String>,
}

impl Missing {
    /// As rows have it: of deletes with these columns besides, or of other changes.
    fn text(&self, is_delete: bool, besides: &[&str]) -> Option<String> {
        let deleted: &[String] = if is_delete { &self.deleted } else { &[] };
        missing_columns(self.always.iter().chain(deleted).map(String::as_str).chain(besides.iter().copied()))
    }

    /// The column of a batch whose operation is there.
    fn column(&self, batch: &RecordBatch, operation: usize) -> Result<ArrayRef, ArrowError> {
        let operations = batch.column(operation);
        let is_delete = eq(operations, &StringArray::new_scalar(Operation::Delete.name()))?;
        let empty: Vec<(&str, &ArrayRef)> = self
            .required
            .iter()
            .filter_map(|name| Some((name.as_str(), batch.column_by_name(name)?)))
            .filter(|(_, column)| column.null_count() > 0)
            .collect();
        if !empty.is_empty() && is_delete.true_count() > 0 {
            return Ok(self.row_by_row(&is_delete, &empty));
        }
        let text = |is_delete| Scalar::new(StringArray::from(vec![self.text(is_delete, &[])]));
        zip(&is_delete, &text(true), &text(false))
    }

    fn row_by_row(&self, is_delete: &BooleanArray, empty: &[(&str, &ArrayRef)]) -> ArrayRef {
        let text = |row: usize| {
            let is_delete = is_delete.value(row);
            let nulls = empty.iter().filter(|(_, column)| is_delete && column.is_null(row));
            self.text(is_delete, &nulls.map(|(name, _)| *name).collect::<Vec<_>>())
        };
        Arc::new((0..is_delete.len()).map(text).collect::<StringArray>())
    }
}

/// The rows of a query with the column of what they lack behind them.
pub(super) struct WithMissing {
    inner: Box<dyn Reader>,
    missing: Missing,
    operation: usize,
    schema: SchemaRef,
}

impl WithMissing {
    /// # Errors
    /// The rows have no operation: a bug.
    pub(super) fn new(inner: Box<dyn Reader>, missing: Missing) -> Result<Self, ChangesError> {
        let schema = inner.schema();
        let none = |_| ChangesError::Internal("a query for changes has no column of their operations".to_owned());
        let operation = schema.index_of(OPERATION_COLUMN).map_err(none)?;
        let fields = schema.fields().iter().cloned().chain([Arc::new(field(ColumnRole::MissingColumns))]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { inner, missing, operation, schema })
    }

    fn with_missing(&self, batch: &RecordBatch) -> Result<RecordBatch, ChangesError> {
        let failed = |error: ArrowError| ChangesError::Internal(format!("what changes lack cannot be said: {error}"));
        let missing = self.missing.column(batch, self.operation).map_err(failed)?;
        let columns = batch.columns().iter().cloned().chain([missing]).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)
    }
}

#[async_trait]
impl Reader for WithMissing {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        let Some(tracked) = self.inner.next().await? else { return Ok(None) };
        let batch = self.with_missing(tracked.batch())?;
        Ok(Some(tracked.derive(batch)))
    }

    fn report(&mut self) -> ReadReport {
        self.inner.report()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, BooleanArray};

    use super::*;

    /// The texts of rows with these operations and values of a required column.
    fn texts(missing: &Missing, operations: &[&str], flags: &[Option<bool>]) -> Vec<Option<String>> {
        let operations: ArrayRef = Arc::new(StringArray::from(operations.to_vec()));
        let flags: ArrayRef = Arc::new(BooleanArray::from(flags.to_vec()));
        let batch =
            RecordBatch::try_from_iter_with_nullable([("flag", flags, true), (OPERATION_COLUMN, operations, false)]);
        let column = missing.column(&batch.unwrap(), 1).unwrap();
        column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn of(always: &[&str], deleted: &[&str], required: &[&str]) -> Missing {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Missing { always: names(always), deleted: names(deleted), required: names(required) }
    }

    #[test]
    fn deletes_lack_more_than_other_changes() {
        let text = |text: &str| Some(text.to_owned());
        let operations = ["delete", "upsert"];
        let flags = [None, None];
        assert_eq!(texts(&of(&[], &["a", "b"], &[]), &operations, &flags), [text(r#"["a","b"]"#), None]);
        assert_eq!(texts(&of(&["c"], &["a"], &[]), &operations, &flags), [text(r#"["c","a"]"#), text(r#"["c"]"#)]);
        assert_eq!(texts(&of(&[], &[], &[]), &operations, &flags), [None, None]);
    }

    #[test]
    fn null_of_a_deleted_row_that_the_table_cannot_have_is_missing() {
        let missing = of(&[], &["note"], &["flag"]);
        let operations = ["delete", "delete", "update"];
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            texts(&missing, &operations, &[None, Some(true), None]),
            [text(r#"["note","flag"]"#), text(r#"["note"]"#), None]
        );
        assert_eq!(texts(&missing, &operations[..2], &[Some(true); 2]), [text(r#"["note"]"#), text(r#"["note"]"#)]);
    }
}

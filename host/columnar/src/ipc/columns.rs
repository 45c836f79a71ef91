//! Chosen columns on their way out, and new ones on their way in.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datakit_model::GuestLimits;

use super::decode_ipc;
use crate::error::{ColumnarError, shorten};

/// The columns of these names, in this order, which share the memory of the batch.
///
/// # Errors
/// A name that the batch does not have, or a name twice in the list or in the batch.
pub fn select_columns(batch: &RecordBatch, names: &[String]) -> Result<RecordBatch, ColumnarError> {
    let mut seen = HashSet::with_capacity(names.len());
    let mut indices = Vec::with_capacity(names.len());
    for name in names {
        if !seen.insert(name) {
            return Err(duplicate("list of columns", name));
        }
        let index = position(batch.schema_ref().fields(), name)?;
        indices.push(index.ok_or_else(|| ColumnarError::NoSuchColumn { column: shorten(name) })?);
    }
    batch.project(&indices).map_err(unexpected)
}

/// The batch with the columns of an Arrow IPC stream of a guest, which is checked as [`decode_ipc`] does: a column whose name
/// the batch has replaces it in its place, with type, nullability and metadata; the others follow the batch's columns in their
/// order. All other columns share the memory of the batch.
///
/// # Errors
/// As of [`decode_ipc`]; another number of rows than the batch has; a name that the batch has twice; more columns than
/// `limits.guest.max_columns`.
pub fn with_columns(batch: &RecordBatch, bytes: &[u8], limits: &GuestLimits) -> Result<RecordBatch, ColumnarError> {
    let new = decode_ipc(bytes, limits)?;
    if new.num_rows() != batch.num_rows() {
        return Err(ColumnarError::OtherRows { found: new.num_rows(), expected: batch.num_rows() });
    }
    let mut fields: Vec<FieldRef> = batch.schema_ref().fields().to_vec();
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    for (field, column) in new.schema_ref().fields().iter().zip(new.columns()) {
        match position(batch.schema_ref().fields(), field.name())? {
            Some(index) => (fields[index], columns[index]) = (Arc::clone(field), Arc::clone(column)),
            None => {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
    }
    let what = || "columns of a batch".to_owned();
    ColumnarError::check(what, "limits.guest.max_columns", limits.max_columns, fields.len())?;
    let schema = Arc::new(Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(unexpected)
}

/// Where the column of a name is.
fn position(fields: &[FieldRef], name: &str) -> Result<Option<usize>, ColumnarError> {
    let mut found = fields.iter().enumerate().filter(|(_, field)| field.name() == name).map(|(index, _)| index);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(duplicate("batch", name)),
        (index, None) => Ok(index),
    }
}

fn duplicate(side: &'static str, name: &str) -> ColumnarError {
    ColumnarError::DuplicateColumn { side, column: shorten(name) }
}

fn unexpected(error: arrow::error::ArrowError) -> ColumnarError {
    ColumnarError::Unexpected { what: "choosing the columns of a batch", message: shorten(&error.to_string()) }
}

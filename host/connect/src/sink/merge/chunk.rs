//! Some rows of a load as bytes, and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::read_record_batch;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};

/// The rows without their schema.
pub(super) fn encode(rows: &RecordBatch) -> Result<EncodedData, ArrowError> {
    let columns = rows.columns().iter().map(own).collect();
    let rows = RecordBatch::try_new(rows.schema(), columns)?;
    let (options, mut context) = (IpcWriteOptions::default(), IpcWriteContext::default());
    let mut dictionaries = DictionaryTracker::new(false);
    let (_, encoded) = IpcDataGenerator::default().encode(&rows, &mut dictionaries, &options, &mut context)?;
    Ok(encoded)
}

/// Only the bytes of these rows: views refer to those of all rows that they were taken from.
fn own(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

/// What [`encode`] made of rows of this schema: all columns, or these.
pub(super) fn decode(
    message: &[u8],
    body: Vec<u8>,
    schema: &SchemaRef,
    columns: Option<&[usize]>,
) -> Result<RecordBatch, ArrowError> {
    let message = root_as_message(message).map_err(|e| ArrowError::IpcError(e.to_string()))?;
    let header = message.header_as_record_batch();
    let header = header.ok_or_else(|| ArrowError::IpcError("not a record batch".to_owned()))?;
    let body = Buffer::from_vec(body);
    read_record_batch(&body, header, Arc::clone(schema), &HashMap::new(), columns, &message.version())
}

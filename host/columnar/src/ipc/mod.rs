//! Arrow IPC in and out of a guest: one stream of a schema, one batch and the end marker, uncompressed.
//!
//! What comes in is hostile until shown otherwise. arrow-ipc panics on many malformed headers and believes lengths, so
//! it is given nothing that was not checked before: [`envelope`] cuts the bytes into messages, [`schema`] turns the
//! header into fields, [`layout`] compares every length of the batch with the bytes that are there. Only then is the
//! body copied (the one allocation, as large as the bytes themselves) and decoded with full Arrow validation.

mod columns;
#[cfg(test)]
mod columns_tests;
mod envelope;
#[cfg(test)]
mod fuzz;
mod layout;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use arrow::array::Array;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datakit_model::GuestLimits;
use datakit_model::changes::ROLE_KEY;

use super::error::{ColumnarError, shorten};
use super::type_text::{self, TypeBudget};
use super::values;
use super::wire;

pub use columns::{select_columns, with_columns};

const LIMIT_BYTES: &str = "limits.guest.max_ipc_bytes";

/// Reads the batch a guest handed over. Metadata of the schema as a whole and of nested fields is dropped, that of columns is
/// kept.
///
/// # Errors
/// A limit (bytes, rows, columns, nesting), [`ColumnarError::ValueOutsideType`], or [`ColumnarError::InvalidIpc`] for
/// everything that is not exactly one valid batch.
pub fn decode_ipc(bytes: &[u8], limits: &GuestLimits) -> Result<RecordBatch, ColumnarError> {
    let what = || "bytes of an Arrow IPC stream".to_owned();
    ColumnarError::check(what, LIMIT_BYTES, limits.max_ipc_bytes, bytes.len())?;
    let stream = envelope::open(bytes)?;
    let schema: SchemaRef = Arc::new(schema::read(&stream.schema, limits)?);
    refuse_roles(&schema)?;
    let batch = layout::check(&stream, &schema, limits)?;
    let body = Buffer::from(stream.body);
    let batch = RecordBatchDecoder::try_new(&body, batch, schema, &HashMap::new(), &stream.version)
        .and_then(RecordBatchDecoder::read_record_batch)
        .map_err(|error| invalid(&error.to_string()))?;
    values::check(&batch)?;
    Ok(batch)
}

/// A role of the host is never what a guest says.
fn refuse_roles(schema: &SchemaRef) -> Result<(), ColumnarError> {
    let claimed = schema.fields().iter().find_map(|field| Some((field, field.metadata().get(ROLE_KEY)?)));
    claimed.map_or(Ok(()), |(field, role)| {
        Err(ColumnarError::ClaimedRole { column: shorten(field.name()), role: shorten(role) })
    })
}

/// Writes a batch for a guest.
///
/// # Errors
/// A limit (bytes), before anything is allocated; a type the boundary does not carry.
pub fn encode_ipc(batch: &RecordBatch, limits: &GuestLimits) -> Result<Vec<u8>, ColumnarError> {
    let schema = batch.schema();
    let mut types = TypeBudget::new(limits);
    for field in schema.fields() {
        type_text::check(field.data_type(), &mut types)
            .map_err(|refusal| wire::refuse(refusal, field.name(), &type_text::print(field.data_type())))?;
    }
    let mut data_bytes = 0_usize;
    for column in batch.columns() {
        let column_bytes = column.to_data().get_slice_memory_size().map_err(|error| encode(&error))?;
        data_bytes = data_bytes.saturating_add(column_bytes);
    }
    let what = || "bytes of an Arrow IPC stream".to_owned();
    ColumnarError::check(what, LIMIT_BYTES, limits.max_ipc_bytes, data_bytes)?;
    let mut writer =
        StreamWriter::try_new(Bounded::new(limits.max_ipc_bytes), &schema).map_err(|error| encode(&error))?;
    let written = writer.write(batch).and_then(|()| writer.finish());
    // What the check above cannot see, headers and padding, is bounded here.
    writer.get_ref().check()?;
    written.map_err(|error| encode(&error))?;
    writer.into_inner().map(|bounded| bounded.bytes).map_err(|error| encode(&error))
}

fn encode(error: &arrow::error::ArrowError) -> ColumnarError {
    ColumnarError::Encode(shorten(&error.to_string()))
}

fn invalid(reason: &str) -> ColumnarError {
    ColumnarError::InvalidIpc(shorten(reason))
}

/// A vector that refuses to grow over a limit.
#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    limit: u64,
    requested: usize,
}

impl Bounded {
    fn new(limit: u64) -> Self {
        Self { bytes: Vec::new(), limit, requested: 0 }
    }

    fn check(&self) -> Result<(), ColumnarError> {
        ColumnarError::check(|| "bytes of an Arrow IPC stream".to_owned(), LIMIT_BYTES, self.limit, self.requested)
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.requested = self.requested.max(self.bytes.len().saturating_add(bytes.len()));
        if self.check().is_err() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

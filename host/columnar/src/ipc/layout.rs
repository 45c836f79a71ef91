//! Every length of a batch's header against the schema and the bytes that are there.

use arrow::datatypes::{DataType, Schema};
use arrow::ipc;
use datakit_model::GuestLimits;

use super::envelope::Stream;
use super::invalid;
use crate::error::ColumnarError;

/// Checks the header of the batch and returns it, fit for arrow-ipc.
pub(super) fn check<'a>(
    stream: &Stream<'a>,
    schema: &Schema,
    limits: &GuestLimits,
) -> Result<ipc::RecordBatch<'a>, ColumnarError> {
    let batch = stream.batch.header_as_record_batch().ok_or_else(|| invalid("the batch message has no batch"))?;
    if batch.compression().is_some() {
        return Err(invalid("its body is compressed"));
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
        return Err(invalid("it has variadic buffers, which no carried type uses"));
    }
    let rows = usize::try_from(batch.length()).map_err(|_| invalid("its number of rows is negative"))?;
    let what = || "rows of a batch".to_owned();
    ColumnarError::check(what, "limits.guest.max_ipc_rows", limits.max_ipc_rows, rows)?;
    let nodes = batch.nodes().ok_or_else(|| invalid("the batch has no field nodes"))?;
    let buffers = batch.buffers().ok_or_else(|| invalid("the batch has no buffers"))?;
    let mut walk = Walk {
        nodes: nodes.iter(),
        buffers: buffers.iter(),
        end: 0,
        body_bytes: stream.body.len(),
        max_rows: limits.max_ipc_rows,
    };
    for field in schema.fields() {
        let length = walk.array(field.data_type())?;
        if length != rows {
            return Err(invalid(&format!("column `{}` has {length} rows in a batch of {rows}", field.name())));
        }
    }
    if walk.nodes.next().is_some() || walk.buffers.next().is_some() {
        return Err(invalid("the batch has more nodes or buffers than its schema needs"));
    }
    Ok(batch)
}

/// The nodes and buffers in the order of the schema, depth first.
struct Walk<N, B> {
    nodes: N,
    buffers: B,
    /// Where the last buffer ended: buffers lie one after another, so that none of the body counts twice.
    end: usize,
    body_bytes: usize,
    max_rows: u64,
}

impl<'a, N, B> Walk<N, B>
where
    N: Iterator<Item = &'a ipc::FieldNode>,
    B: Iterator<Item = &'a ipc::Buffer>,
{
    /// Checks one array and its children; returns its length.
    fn array(&mut self, data_type: &DataType) -> Result<usize, ColumnarError> {
        let node = self.nodes.next().ok_or_else(|| invalid("the batch has fewer nodes than its schema needs"))?;
        let length = usize::try_from(node.length()).map_err(|_| invalid("an array's length is negative"))?;
        let nulls = usize::try_from(node.null_count()).map_err(|_| invalid("a null count is negative"))?;
        if nulls > length {
            return Err(invalid("an array has more nulls than values"));
        }
        if data_type == &DataType::Null {
            // No buffer bounds its length: as many values as the batch may have rows.
            let most = usize::try_from(self.max_rows).unwrap_or(usize::MAX);
            return if nulls == length && length <= most {
                Ok(length)
            } else {
                Err(invalid("a null array is malformed"))
            };
        }
        let bitmap_bytes = if nulls == 0 { 0 } else { length.div_ceil(8) };
        self.buffer(bitmap_bytes, 1)?;
        match data_type {
            DataType::Utf8 | DataType::Binary => {
                self.offsets(length, size_of::<i32>())?;
                self.buffer(0, 1)?;
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets(length, size_of::<i64>())?;
                self.buffer(0, 1)?;
            }
            DataType::List(item) => {
                self.offsets(length, size_of::<i32>())?;
                self.array(item.data_type())?;
            }
            DataType::Struct(fields) => {
                for field in fields {
                    if self.array(field.data_type())? != length {
                        return Err(invalid("the fields of a struct differ in length"));
                    }
                }
            }
            DataType::Boolean => self.buffer(length.div_ceil(8), 1)?,
            DataType::FixedSizeBinary(width) => {
                let width = usize::try_from(*width).unwrap_or(usize::MAX);
                self.buffer(length.saturating_mul(width), 1)?;
            }
            fixed => {
                let width = fixed.primitive_width().ok_or_else(|| invalid("an unexpected type"))?;
                self.values(length, width)?;
            }
        }
        Ok(length)
    }

    /// Offsets of `length` values; none at all is allowed for an empty array.
    fn offsets(&mut self, length: usize, width: usize) -> Result<(), ColumnarError> {
        if length == 0 { self.buffer(0, width) } else { self.values(length.saturating_add(1), width) }
    }

    fn values(&mut self, length: usize, width: usize) -> Result<(), ColumnarError> {
        self.buffer(length.saturating_mul(width), width)
    }

    /// The next buffer: inside the body, after the one before, with at least `needed` bytes, and of whole values of
    /// `width` bytes (arrow-data asserts that).
    fn buffer(&mut self, needed: usize, width: usize) -> Result<(), ColumnarError> {
        let buffer = self.buffers.next().ok_or_else(|| invalid("the batch has fewer buffers than its schema needs"))?;
        let offset = usize::try_from(buffer.offset()).map_err(|_| invalid("a buffer's offset is negative"))?;
        let length = usize::try_from(buffer.length()).map_err(|_| invalid("a buffer's length is negative"))?;
        let end = offset.saturating_add(length);
        if end > self.body_bytes {
            return Err(invalid(&format!("a buffer ends at {end} of a body of {} bytes", self.body_bytes)));
        }
        if length < needed {
            return Err(invalid(&format!("a buffer of {length} bytes should have {needed}")));
        }
        if length % width != 0 {
            return Err(invalid(&format!("a buffer of {length} bytes does not hold whole values of {width}")));
        }
        // Overlapping buffers would make a small stream stand for a large batch.
        if length > 0 && offset < self.end {
            return Err(invalid("two buffers overlap"));
        }
        self.end = self.end.max(end);
        Ok(())
    }
}

//! The encapsulated messages of a stream: `FFFFFFFF`, the header's length, the header, the body.
//! (Arrow Columnar Format, "Encapsulated message format" and "IPC Streaming Format".)

use arrow::ipc::{Message, MessageHeader, MetadataVersion, root_as_message};

use super::invalid;
use crate::error::ColumnarError;

const CONTINUATION: [u8; 4] = [0xff; 4];

/// A stream cut into its parts, nothing copied.
pub(super) struct Stream<'a> {
    pub(super) schema: Message<'a>,
    pub(super) batch: Message<'a>,
    /// The batch's body: exactly as long as its header says.
    pub(super) body: &'a [u8],
    pub(super) version: MetadataVersion,
}

/// Cuts a stream of exactly a schema, one batch and the end marker.
pub(super) fn open(bytes: &[u8]) -> Result<Stream<'_>, ColumnarError> {
    let mut rest = bytes;
    let (schema, schema_body) = message(&mut rest)?.ok_or_else(|| invalid("it is empty"))?;
    if schema.header_type() != MessageHeader::Schema {
        return Err(invalid(&format!("the first message is {}, not a schema", name(&schema))));
    }
    if !schema_body.is_empty() {
        return Err(invalid("the schema message has a body"));
    }
    let (batch, body) = message(&mut rest)?.ok_or_else(|| invalid("it holds no batch"))?;
    if batch.header_type() != MessageHeader::RecordBatch {
        return Err(invalid(&format!("the second message is {}, not a record batch", name(&batch))));
    }
    if let Some((third, _)) = message(&mut rest)? {
        return Err(invalid(&format!("{} follows the one batch", name(&third))));
    }
    if !rest.is_empty() {
        return Err(invalid(&format!("{} bytes follow the end marker", rest.len())));
    }
    let version = batch.version();
    if version != schema.version() || !(MetadataVersion::V4..=MetadataVersion::V5).contains(&version) {
        return Err(invalid("its metadata version is neither V4 nor V5, or differs between messages"));
    }
    Ok(Stream { schema, batch, body, version })
}

/// The next message and its body; none at the end marker.
fn message<'a>(rest: &mut &'a [u8]) -> Result<Option<(Message<'a>, &'a [u8])>, ColumnarError> {
    if take(rest, CONTINUATION.len(), "a continuation marker")? != CONTINUATION {
        return Err(invalid("a message does not begin with the continuation marker"));
    }
    let length = take(rest, 4, "a header length")?;
    let length = length.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
    if length == 0 {
        return Ok(None);
    }
    let header = take(rest, length, "a header")?;
    // Verifies every offset, string and vector of the flatbuffer, within bounds on tables and nesting.
    let message = root_as_message(header).map_err(|error| invalid(&format!("a header is malformed: {error}")))?;
    let length = usize::try_from(message.bodyLength()).map_err(|_| invalid("a body length is negative"))?;
    let body = take(rest, length, "a body")?;
    Ok(Some((message, body)))
}

fn take<'a>(rest: &mut &'a [u8], length: usize, what: &str) -> Result<&'a [u8], ColumnarError> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or_else(|| invalid(&format!("{what} of {length} bytes is announced where {} are left", rest.len())))?;
    *rest = left;
    Ok(taken)
}

fn name(message: &Message<'_>) -> &'static str {
    message.header_type().variant_name().unwrap_or("an unknown message")
}

//! An Arrow IPC stream of one batch, as the host hands it out: uncompressed, without dictionaries.
//!
//! Numbers of fields and unions are those of Arrow's `Message.fbs` and `Schema.fbs`.

use std::ops::Range;

use super::flatbuffer::{Table, Vector};
use super::{Column, Kind, Rows, Unit};
use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;

const CONTINUATION: [u8; 4] = [0xff; 4];
const HEADER_SCHEMA: u8 = 1;
const HEADER_RECORD_BATCH: u8 = 3;

/// Reads the stream. The rows keep a copy of the batch's body.
pub(super) fn read(stream: &[u8]) -> Result<Rows, Error> {
    let mut rest = stream;
    let mut schema = None;
    let mut rows = None;
    while let Some((message, body)) = next_message(&mut rest)? {
        match message.u8(1, 0) {
            HEADER_SCHEMA if schema.is_none() => {
                schema = Some(read_schema(message.table(2).ok_or_else(|| malformed("the schema is missing"))?)?);
            }
            HEADER_RECORD_BATCH if rows.is_none() => {
                let fields = schema.take().ok_or_else(|| malformed("a batch comes before its schema"))?;
                rows =
                    Some(read_batch(message.table(2).ok_or_else(|| malformed("the batch is missing"))?, fields, body)?);
            }
            other => return Err(malformed(&format!("message {other} is not expected here"))),
        }
    }
    rows.ok_or_else(|| malformed("there is no batch in it"))
}

pub(super) fn malformed(what: &str) -> Error {
    Error::datakit(codes::ROWS, format!("the rows are not the Arrow IPC stream this datakit reads: {what}"))
}

/// The next message and its body; none at the end marker or the end of the stream.
fn next_message<'a>(stream: &mut &'a [u8]) -> Result<Option<(Table<'a>, &'a [u8])>, Error> {
    let truncated = || malformed("it ends early");
    if stream.is_empty() {
        return Ok(None);
    }
    if !stream.starts_with(&CONTINUATION) {
        return Err(malformed("a message does not start with the continuation mark"));
    }
    let length =
        stream.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes).ok_or_else(truncated)?;
    if length == 0 {
        *stream = &[];
        return Ok(None);
    }
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8)).ok_or_else(truncated)?;
    let metadata = stream.get(8..end).ok_or_else(truncated)?;
    let message = Table::root(metadata).ok_or_else(truncated)?;
    let body_end =
        usize::try_from(message.i64(3, 0)).ok().and_then(|length| end.checked_add(length)).ok_or_else(truncated)?;
    let body = stream.get(end..body_end).ok_or_else(truncated)?;
    *stream = stream.get(body_end..).ok_or_else(truncated)?;
    Ok(Some((message, body)))
}

/// A column's name, and how its values lie in the buffers.
struct FieldShape {
    name: String,
    kind: Kind,
}

fn read_schema(schema: Table<'_>) -> Result<Vec<FieldShape>, Error> {
    if schema.i16(0, 0) != 0 {
        return Err(malformed("it is big-endian"));
    }
    let Some(fields) = schema.vector(1) else { return Ok(Vec::new()) };
    (0..fields.len())
        .map(|index| {
            let field = fields.table(index).ok_or_else(|| malformed("a field is missing"))?;
            let name = field.text(0).unwrap_or_default().to_owned();
            if !field.is_absent(4) {
                return Err(unreadable(&name, "dictionaries"));
            }
            let kind = read_kind(&name, field)?;
            Ok(FieldShape { name, kind })
        })
        .collect()
}

fn unreadable(column: &str, what: &str) -> Error {
    Error::datakit(codes::ROWS, format!("column `{column}`: {what} cannot be read value by value"))
        .with_hint("cast the column in the query, or read the stream with the crate arrow-ipc")
        .with_context("column", column)
}

fn read_kind(name: &str, field: Table<'_>) -> Result<Kind, Error> {
    // An absent type table has all defaults.
    let of = |index: usize, absent: i32| field.table(3).map_or(absent, |kind| kind.i32(index, absent));
    let unit = |absent: i16| match field.table(3).map_or(absent, |kind| kind.i16(0, absent)) {
        0 => Unit::Second,
        1 => Unit::Millisecond,
        2 => Unit::Microsecond,
        _ => Unit::Nanosecond,
    };
    let width = |bytes: i32| usize::try_from(bytes).map_err(|_| malformed("a width is negative"));
    Ok(match field.u8(2, 0) {
        1 => Kind::Null,
        2 => {
            let signed = field.table(3).is_some_and(|kind| kind.u8(1, 0) != 0);
            match (of(0, 0), signed) {
                (bits @ (8 | 16 | 32 | 64), true) => Kind::Signed { width: width(bits / 8)? },
                (bits @ (8 | 16 | 32), false) => Kind::Unsigned { width: width(bits / 8)? },
                (bits, _) => return Err(unreadable(name, &format!("integers of {bits} bits"))),
            }
        }
        3 => match field.table(3).map_or(0, |kind| kind.i16(0, 0)) {
            1 => Kind::Float32,
            2 => Kind::Float64,
            _ => return Err(unreadable(name, "half floats")),
        },
        4 => Kind::Binary { wide: false },
        5 => Kind::Text { wide: false },
        6 => Kind::Boolean,
        7 if of(2, 128) == 128 => Kind::Decimal { scale: of(1, 0) },
        8 if unit(1) == Unit::Second => Kind::Date,
        9 => Kind::Time { width: width(of(1, 32) / 8)?, unit: unit(1) },
        10 => Kind::Timestamp { unit: unit(0) },
        15 => Kind::Fixed { width: width(of(0, 0))? },
        19 => Kind::Binary { wide: true },
        20 => Kind::Text { wide: true },
        other => return Err(unreadable(name, &format!("values of Arrow type {other}"))),
    })
}

fn read_batch(batch: Table<'_>, fields: Vec<FieldShape>, body: &[u8]) -> Result<Rows, Error> {
    if !batch.is_absent(3) {
        return Err(malformed("it is compressed"));
    }
    let rows = usize::try_from(batch.i64(0, 0)).map_err(|_| malformed("the number of rows is negative"))?;
    let mut parts = Parts { nodes: batch.vector(1), buffers: batch.vector(2), body, node: 0, buffer: 0 };
    let columns = fields.into_iter().map(|field| read_column(field, rows, &mut parts)).collect::<Result<_, _>>()?;
    Ok(Rows { columns, rows, body: body.to_vec() })
}

/// The batch's lists, taken from one column at a time.
struct Parts<'a> {
    nodes: Option<Vector<'a>>,
    buffers: Option<Vector<'a>>,
    body: &'a [u8],
    node: usize,
    buffer: usize,
}

impl Parts<'_> {
    /// Length and null count of the next column.
    fn next_node(&mut self) -> Result<(i64, i64), Error> {
        let node =
            self.nodes.and_then(|nodes| nodes.pair(self.node)).ok_or_else(|| malformed("a column is missing"))?;
        self.node += 1;
        Ok(node)
    }

    /// The next buffer's place in the body, of at least `needed` bytes.
    fn next_buffer(&mut self, needed: usize) -> Result<Range<usize>, Error> {
        let (offset, length) = self
            .buffers
            .and_then(|buffers| buffers.pair(self.buffer))
            .ok_or_else(|| malformed("a buffer is missing"))?;
        self.buffer += 1;
        let outside = || malformed("a buffer lies outside of the body");
        let start = usize::try_from(offset).map_err(|_| outside())?;
        let length = usize::try_from(length).map_err(|_| outside())?;
        let end = start.checked_add(length).filter(|end| *end <= self.body.len()).ok_or_else(outside)?;
        if length < needed {
            return Err(malformed("a buffer is shorter than its column"));
        }
        Ok(start..end)
    }
}

fn read_column(field: FieldShape, rows: usize, parts: &mut Parts<'_>) -> Result<Column, Error> {
    let (length, nulls) = parts.next_node()?;
    if usize::try_from(length) != Ok(rows) {
        return Err(malformed("a column is of another length than the batch"));
    }
    let FieldShape { name, kind } = field;
    let too_large = || malformed("a column is too large");
    let times = |width: usize| rows.checked_mul(width).ok_or_else(too_large);
    let mut column = Column { name, kind, validity: None, offsets: 0..0, values: 0..0 };
    if kind == Kind::Null {
        return Ok(column);
    }
    let validity = parts.next_buffer(if nulls == 0 { 0 } else { rows.div_ceil(8) })?;
    column.validity = (nulls != 0).then_some(validity);
    match kind {
        Kind::Null => {}
        Kind::Boolean => column.values = parts.next_buffer(rows.div_ceil(8))?,
        Kind::Signed { width } | Kind::Unsigned { width } | Kind::Fixed { width } | Kind::Time { width, .. } => {
            column.values = parts.next_buffer(times(width)?)?;
        }
        Kind::Float32 | Kind::Date => column.values = parts.next_buffer(times(4)?)?,
        Kind::Float64 | Kind::Timestamp { .. } => column.values = parts.next_buffer(times(8)?)?,
        Kind::Decimal { .. } => column.values = parts.next_buffer(times(16)?)?,
        Kind::Text { wide } | Kind::Binary { wide } => {
            let width = if wide { 8 } else { 4 };
            // A column without rows may come without offsets.
            let needed = if rows == 0 {
                0
            } else {
                rows.checked_add(1).and_then(|n| n.checked_mul(width)).ok_or_else(too_large)?
            };
            column.offsets = parts.next_buffer(needed)?;
            column.values = parts.next_buffer(0)?;
        }
    }
    Ok(column)
}

//! An Arrow IPC stream of one batch. Numbers of fields and unions are those of Arrow's `Message.fbs` and `Schema.fbs`.

use super::flatbuffer::{Field, Table};
use super::{NewColumn, Values};
use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;

const CONTINUATION: [u8; 4] = [0xff; 4];
const VERSION_5: i16 = 4;
const HEADER_SCHEMA: u8 = 1;
const HEADER_RECORD_BATCH: u8 = 3;

/// Writes columns of so many rows each.
pub(super) fn write(columns: &[NewColumn], rows: usize) -> Result<Vec<u8>, Error> {
    let mut stream = Vec::new();
    let fields = columns.iter().map(field).collect();
    let schema = Table::default().with(0, Field::I16(0)).with(1, Field::Tables(fields));
    message(&mut stream, HEADER_SCHEMA, schema, &[])?;
    let mut batch = Batch { rows, nodes: Vec::new(), buffers: Vec::new(), body: Vec::new() };
    columns.iter().try_for_each(|column| batch.add(column))?;
    let header = Table::default()
        .with(0, Field::I64(long(rows)))
        .with(1, Field::Pairs(batch.nodes))
        .with(2, Field::Pairs(batch.buffers));
    message(&mut stream, HEADER_RECORD_BATCH, header, &batch.body)?;
    stream.extend(CONTINUATION);
    stream.extend([0; 4]);
    Ok(stream)
}

fn message(stream: &mut Vec<u8>, kind: u8, header: Table, body: &[u8]) -> Result<(), Error> {
    let metadata = Table::default()
        .with(0, Field::I16(VERSION_5))
        .with(1, Field::U8(kind))
        .with(2, Field::Table(header))
        .with(3, Field::I64(long(body.len())))
        .into_buffer();
    let length = i32::try_from(metadata.len()).map_err(|_| too_large("the names of the columns"))?;
    stream.extend(CONTINUATION);
    stream.extend(length.to_le_bytes());
    stream.extend(metadata);
    stream.extend(body);
    Ok(())
}

fn too_large(what: &str) -> Error {
    Error::datakit(codes::NEW_COLUMNS, format!("{what} have 2 GiB or more together")).with_hint("read smaller batches")
}

fn field(column: &NewColumn) -> Table {
    let none = Table::default;
    let timestamp = || none().with(0, Field::I16(2));
    let (kind, parameters) = match &column.values {
        Values::Int64(_) => (2, none().with(0, Field::I32(64)).with(1, Field::U8(1))),
        Values::Float64(_) => (3, none().with(0, Field::I16(2))),
        Values::Binary(_) => (4, none()),
        Values::Text(_) => (5, none()),
        Values::Boolean(_) => (6, none()),
        Values::Date32(_) => (8, none().with(0, Field::I16(0))),
        Values::Timestamp(_) => (10, timestamp()),
        Values::TimestampUtc(_) => (10, timestamp().with(1, Field::Text("UTC".into()))),
    };
    Table::default()
        .with(0, Field::Text(column.name.clone()))
        .with(1, Field::U8(1))
        .with(2, Field::U8(kind))
        .with(3, Field::Table(parameters))
        .with(5, Field::Tables(Vec::new()))
}

/// A record batch in the making.
struct Batch {
    rows: usize,
    /// Length and nulls of each column.
    nodes: Vec<(i64, i64)>,
    /// Place and length of each buffer.
    buffers: Vec<(i64, i64)>,
    body: Vec<u8>,
}

impl Batch {
    fn add(&mut self, column: &NewColumn) -> Result<(), Error> {
        match &column.values {
            Values::Boolean(values) => {
                self.validity(values);
                self.bits(values.iter().map(|value| *value == Some(true)));
            }
            Values::Int64(values) | Values::Timestamp(values) | Values::TimestampUtc(values) => {
                self.fixed(values, |value| value.to_le_bytes());
            }
            Values::Float64(values) => self.fixed(values, |value| value.to_le_bytes()),
            Values::Date32(values) => self.fixed(values, |value| value.to_le_bytes()),
            Values::Text(values) => self.variable(&column.name, values, String::as_bytes)?,
            Values::Binary(values) => self.variable(&column.name, values, Vec::as_slice)?,
        }
        Ok(())
    }

    /// The node, and the buffer of one bit a row, which is empty where nothing is null.
    fn validity<T>(&mut self, values: &[Option<T>]) {
        let nulls = values.iter().filter(|value| value.is_none()).count();
        self.nodes.push((long(self.rows), long(nulls)));
        match nulls {
            0 => self.buffer(&[]),
            _ => self.bits(values.iter().map(Option::is_some)),
        }
    }

    fn bits(&mut self, values: impl Iterator<Item = bool>) {
        let mut bits = vec![0_u8; self.rows.div_ceil(8)];
        for (index, _) in values.enumerate().filter(|(_, is_set)| *is_set) {
            if let Some(byte) = bits.get_mut(index / 8) {
                *byte |= 1 << (index % 8);
            }
        }
        self.buffer(&bits);
    }

    fn fixed<T: Copy + Default, const N: usize>(&mut self, values: &[Option<T>], bytes: fn(T) -> [u8; N]) {
        self.validity(values);
        let bytes: Vec<u8> = values.iter().flat_map(|value| bytes(value.unwrap_or_default())).collect();
        self.buffer(&bytes);
    }

    fn variable<T>(&mut self, name: &str, values: &[Option<T>], bytes: fn(&T) -> &[u8]) -> Result<(), Error> {
        self.validity(values);
        let mut offsets = 0_i32.to_le_bytes().to_vec();
        let mut data = Vec::new();
        for value in values {
            data.extend_from_slice(value.as_ref().map_or(&[], bytes));
            let end =
                i32::try_from(data.len()).map_err(|_| too_large(&format!("the values of the column `{name}`")))?;
            offsets.extend(end.to_le_bytes());
        }
        self.buffer(&offsets);
        self.buffer(&data);
        Ok(())
    }

    /// Buffers begin at multiples of 8 bytes.
    fn buffer(&mut self, bytes: &[u8]) {
        self.buffers.push((long(self.body.len()), long(bytes.len())));
        self.body.extend(bytes);
        self.body.resize(self.body.len().next_multiple_of(8), 0);
    }
}

/// Lengths in memory are below 2⁶³.
fn long(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

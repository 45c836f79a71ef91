//! Just enough of FlatBuffers to write Arrow's metadata. The layout is that of the reader: [`crate::rows`].
//!
//! A table is written before what it refers to, so that references point forward, as they have to.

/// A table: its fields by their numbers.
#[derive(Debug, Default)]
pub(super) struct Table(Vec<(usize, Field)>);

/// A field's value.
#[derive(Debug)]
pub(super) enum Field {
    U8(u8),
    I16(i16),
    I32(i32),
    I64(i64),
    Text(String),
    Table(Table),
    Tables(Vec<Table>),
    /// A vector of structs of two i64.
    Pairs(Vec<(i64, i64)>),
}

impl Table {
    /// The same with one more field.
    pub(super) fn with(mut self, number: usize, field: Field) -> Self {
        self.0.push((number, field));
        self
    }

    /// A buffer that starts with a reference to this table, of whole 8 bytes.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        let mut writer = Writer { bytes: vec![0; 4] };
        let at = writer.table(self);
        writer.refer(0, at);
        writer.align(8);
        writer.bytes
    }
}

impl Field {
    /// The bytes in the table itself; of everything but numbers it is a reference.
    fn inline(&self) -> Vec<u8> {
        match self {
            Self::U8(value) => vec![*value],
            Self::I16(value) => value.to_le_bytes().to_vec(),
            Self::I32(value) => value.to_le_bytes().to_vec(),
            Self::I64(value) => value.to_le_bytes().to_vec(),
            Self::Text(_) | Self::Table(_) | Self::Tables(_) | Self::Pairs(_) => vec![0; 4],
        }
    }
}

struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    }

    /// Makes the reference at `from` point to `to`, which is behind it.
    fn refer(&mut self, from: usize, to: usize) {
        self.put(from, &number(to - from).to_le_bytes());
    }

    /// Writes a table and what it refers to; returns its place.
    fn table(&mut self, table: Table) -> usize {
        let entries = table.0.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let mut vtable = vec![0_u8; 4 + 2 * entries];
        // Fields from the fifth byte on, each at a multiple of its size.
        let mut body = vec![0_u8; 4];
        let mut places = Vec::with_capacity(table.0.len());
        for (number, field) in &table.0 {
            let inline = field.inline();
            body.resize(body.len().next_multiple_of(inline.len()), 0);
            places.push(body.len());
            put_u16(&mut vtable, 4 + 2 * number, body.len());
            body.extend(inline);
        }
        let size = vtable.len();
        put_u16(&mut vtable, 0, size);
        put_u16(&mut vtable, 2, body.len());
        // The table begins at a multiple of the largest field's size.
        let begin = (self.bytes.len() + size).next_multiple_of(8);
        self.bytes.resize(begin - size, 0);
        self.bytes.extend(vtable);
        self.bytes.extend(body);
        self.put(begin, &number(size).to_le_bytes());
        for ((_, field), place) in table.0.into_iter().zip(places) {
            if let Some(child) = self.referred(field) {
                self.refer(begin + place, child);
            }
        }
        begin
    }

    /// Writes what a field refers to; returns its place, and none for a number.
    fn referred(&mut self, field: Field) -> Option<usize> {
        match field {
            Field::U8(_) | Field::I16(_) | Field::I32(_) | Field::I64(_) => None,
            Field::Table(table) => Some(self.table(table)),
            Field::Text(text) => {
                let at = self.length(text.len());
                self.bytes.extend(text.as_bytes());
                self.bytes.push(0);
                Some(at)
            }
            Field::Tables(tables) => {
                let at = self.length(tables.len());
                let first = self.bytes.len();
                self.bytes.resize(first + 4 * tables.len(), 0);
                for (index, table) in tables.into_iter().enumerate() {
                    let child = self.table(table);
                    self.refer(first + 4 * index, child);
                }
                Some(at)
            }
            Field::Pairs(pairs) => {
                // The structs begin at a multiple of 8, right behind the length.
                self.align(8);
                self.bytes.extend([0; 4]);
                let at = self.length(pairs.len());
                for (first, second) in pairs {
                    self.bytes.extend(first.to_le_bytes());
                    self.bytes.extend(second.to_le_bytes());
                }
                Some(at)
            }
        }
    }

    /// The length before a vector's elements; returns its place.
    fn length(&mut self, length: usize) -> usize {
        self.align(4);
        let at = self.bytes.len();
        self.bytes.extend(number(length).to_le_bytes());
        at
    }
}

fn put_u16(bytes: &mut [u8], at: usize, value: usize) {
    let value = u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value);
    }
}

/// Metadata of Arrow is far below 4 GiB: names and a few numbers a column.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

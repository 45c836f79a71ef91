//! Just enough of FlatBuffers to read Arrow's metadata: tables, vectors and strings, every access checked.
//!
//! A table starts with a signed offset back to its vtable: u16 size of the vtable, u16 size of the table, then one u16
//! offset a field, zero where the field is absent. Everything is little-endian; a reference is a u32 offset forward.

/// A table at some place of a buffer.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
}

/// A vector at some place of a buffer; `at` is its first element.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    buffer: &'a [u8],
    at: usize,
    len: usize,
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn follow(buffer: &[u8], at: usize) -> Option<usize> {
    at.checked_add(u32::from_le_bytes(bytes(buffer, at)?) as usize)
}

impl<'a> Table<'a> {
    /// The table a buffer starts with a reference to.
    pub(super) fn root(buffer: &'a [u8]) -> Option<Self> {
        Some(Self { buffer, at: follow(buffer, 0)? })
    }

    /// Where a field's value is; none when the field is absent.
    fn field(self, index: usize) -> Option<usize> {
        let back = i32::from_le_bytes(bytes(self.buffer, self.at)?);
        let vtable = usize::try_from(i64::try_from(self.at).ok()? - i64::from(back)).ok()?;
        let size = usize::from(u16::from_le_bytes(bytes(self.buffer, vtable)?));
        let entry = 4 + 2 * index;
        if entry + 2 > size {
            return None;
        }
        match u16::from_le_bytes(bytes(self.buffer, vtable + entry)?) {
            0 => None,
            offset => self.at.checked_add(usize::from(offset)),
        }
    }

    fn scalar<const N: usize>(self, index: usize) -> Option<[u8; N]> {
        bytes(self.buffer, self.field(index)?)
    }

    pub(super) fn u8(self, index: usize, absent: u8) -> u8 {
        self.scalar(index).map_or(absent, u8::from_le_bytes)
    }

    pub(super) fn i16(self, index: usize, absent: i16) -> i16 {
        self.scalar(index).map_or(absent, i16::from_le_bytes)
    }

    pub(super) fn i32(self, index: usize, absent: i32) -> i32 {
        self.scalar(index).map_or(absent, i32::from_le_bytes)
    }

    pub(super) fn i64(self, index: usize, absent: i64) -> i64 {
        self.scalar(index).map_or(absent, i64::from_le_bytes)
    }

    pub(super) fn is_absent(self, index: usize) -> bool {
        self.field(index).is_none()
    }

    pub(super) fn table(self, index: usize) -> Option<Table<'a>> {
        Some(Table { buffer: self.buffer, at: follow(self.buffer, self.field(index)?)? })
    }

    pub(super) fn vector(self, index: usize) -> Option<Vector<'a>> {
        let start = follow(self.buffer, self.field(index)?)?;
        let len = u32::from_le_bytes(bytes(self.buffer, start)?) as usize;
        Some(Vector { buffer: self.buffer, at: start + 4, len })
    }

    pub(super) fn text(self, index: usize) -> Option<&'a str> {
        let vector = self.vector(index)?;
        let end = vector.at.checked_add(vector.len)?;
        std::str::from_utf8(vector.buffer.get(vector.at..end)?).ok()
    }
}

impl<'a> Vector<'a> {
    pub(super) fn len(self) -> usize {
        self.len
    }

    /// An element of a vector of tables.
    pub(super) fn table(self, index: usize) -> Option<Table<'a>> {
        let at = self.element(index, 4)?;
        Some(Table { buffer: self.buffer, at: follow(self.buffer, at)? })
    }

    /// An element of a vector of structs of two i64: nodes and buffers are.
    pub(super) fn pair(self, index: usize) -> Option<(i64, i64)> {
        let at = self.element(index, 16)?;
        Some((i64::from_le_bytes(bytes(self.buffer, at)?), i64::from_le_bytes(bytes(self.buffer, at + 8)?)))
    }

    fn element(self, index: usize, size: usize) -> Option<usize> {
        if index >= self.len {
            return None;
        }
        self.at.checked_add(index.checked_mul(size)?)
    }
}

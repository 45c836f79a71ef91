//! Hashes of rows, as lower-case hex: the row hash (SHA-256) and the keyed hash (HMAC-SHA-256) of chosen columns.
//!
//! Both hash the same bytes: for each column one byte 0x00 for null, else 0x01, the length of the canonical bytes as u32
//! little-endian, and the bytes. What the canonical bytes are is decided per column when the projection is compiled
//! ([`Form`]); a batch only fetches its buffers once per column, and a row costs no allocation.

mod canonical;
mod cells;
mod digest;
#[cfg(test)]
mod keyed_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::Schema;
use arrow::util::display::array_value_to_string;
use datakit_model::HashKey;

use self::canonical::Scratch;
use self::cells::{Cells, Form};
use self::digest::{Message, Plain, PreparedKey, RowDigest};
use super::error::{ColumnarError, shorten};
use super::type_text;

/// Hex characters of one hash.
const HEX_LEN: usize = 64;
/// Bytes of padding and of the inner hash that HMAC hashes for each row besides the row itself.
const HMAC_BYTES: u64 = 128;

/// A row hash over chosen columns of the schema that it was compiled for.
#[derive(Debug)]
pub(super) struct RowHash(Columns);

impl RowHash {
    /// A row hash named `output` over `names`, in this order.
    pub(super) fn compile(columns: &Schema, output: &str, names: &[String]) -> Result<Self, ColumnarError> {
        Columns::compile(columns, output, names, Kind::Row).map(Self)
    }

    /// Positions of its columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.positions()
    }

    /// What hashing `rows` rows of columns of so many units costs, in units of work.
    pub(super) fn units(rows: usize, columns: u64) -> u64 {
        (rows as u64).saturating_mul(HEX_LEN as u64).saturating_add(columns)
    }

    /// The hashes of all rows, never null. `column` gives the columns that it was compiled for, by their positions.
    pub(super) fn evaluate<'a>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Result<ArrayRef, ColumnarError> {
        self.0.evaluate(rows, column, Plain::default(), Nulls::Hashed)
    }
}

/// A keyed hash over chosen columns of the schema that it was compiled for.
pub(super) struct KeyedHash {
    columns: Columns,
    key: PreparedKey,
}

impl KeyedHash {
    /// A keyed hash named `output` over `names`, in this order.
    pub(super) fn compile(
        columns: &Schema,
        output: &str,
        names: &[String],
        key: &HashKey,
    ) -> Result<Self, ColumnarError> {
        let columns = Columns::compile(columns, output, names, Kind::Keyed)?;
        let key = PreparedKey::new(key).ok_or_else(|| ColumnarError::Unexpected {
            what: "preparing a key",
            message: "the key has no valid length".to_owned(),
        })?;
        Ok(Self { columns, key })
    }

    /// Positions of its columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.positions()
    }

    /// What hashing `rows` rows of columns of so many units costs, in units of work.
    pub(super) fn units(rows: usize, columns: u64) -> u64 {
        RowHash::units(rows, columns).saturating_add((rows as u64).saturating_mul(HMAC_BYTES))
    }

    /// The hashes of all rows; null where all columns are null. `column` gives the columns that it was compiled for, by
    /// their positions.
    pub(super) fn evaluate<'a>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Result<ArrayRef, ColumnarError> {
        self.columns.evaluate(rows, column, self.key.begin(), Nulls::Kept)
    }
}

/// Without the key's state.
impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHash").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// Bytes of the hashes of `rows` rows.
pub(super) fn output_bytes(rows: usize) -> usize {
    rows.saturating_mul(HEX_LEN + size_of::<i32>())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Row,
    Keyed,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Row => "row hash",
            Self::Keyed => "keyed hash",
        }
    }

    /// Of what its columns are.
    fn side(self) -> &'static str {
        match self {
            Self::Row => "output",
            Self::Keyed => "input",
        }
    }
}

/// What a row of nulls alone becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// A hash, as any other row.
    Hashed,
    /// Null.
    Kept,
}

#[derive(Debug)]
struct Columns {
    kind: Kind,
    list: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    index: usize,
    form: Form,
}

impl Columns {
    fn compile(schema: &Schema, output: &str, names: &[String], kind: Kind) -> Result<Self, ColumnarError> {
        if names.is_empty() {
            let expected = "a list of at least one column";
            return Err(ColumnarError::InvalidArgument { column: shorten(output), expected, text: String::new() });
        }
        let mut seen = HashSet::with_capacity(names.len());
        let mut list = Vec::with_capacity(names.len());
        for name in names {
            if !seen.insert(name) {
                return Err(ColumnarError::DuplicateColumn { side: kind.name(), column: shorten(name) });
            }
            let Some((index, field)) = schema.column_with_name(name) else {
                let (column, input) = (shorten(output), shorten(name));
                return Err(ColumnarError::UnknownColumn { column, input, side: kind.side() });
            };
            let form = Form::of(field.data_type()).ok_or_else(|| ColumnarError::NoCanonicalForm {
                hash: kind.name(),
                column: shorten(output),
                input: shorten(name),
                data_type: type_text::print(field.data_type()),
            })?;
            list.push(Column { name: name.clone(), index, form });
        }
        Ok(Self { kind, list })
    }

    fn positions(&self) -> impl Iterator<Item = usize> {
        self.list.iter().map(|column| column.index)
    }

    fn evaluate<'a, D: RowDigest>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> Option<&'a ArrayRef>,
        digest: D,
        nulls: Nulls,
    ) -> Result<ArrayRef, ColumnarError> {
        let missing =
            |name: &str| ColumnarError::Unexpected { what: "reading a column to hash", message: name.to_owned() };
        let cells = self.list.iter().map(|wanted| {
            let array = column(wanted.index).ok_or_else(|| missing(&wanted.name))?;
            Cells::of(wanted.form, array).ok_or_else(|| missing(&wanted.name))
        });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        let mut hashes = Hashes::with_capacity(rows);
        let mut message = Message::new(digest);
        let mut scratch = Scratch::default();
        for row in 0..rows {
            if nulls == Nulls::Kept && cells.iter().all(|cells| cells.is_null(row)) {
                hashes.push_null();
                continue;
            }
            for (cells, at_fault) in cells.iter().zip(&self.list) {
                cells.append(row, &mut message, &mut scratch).map_err(|reason| ColumnarError::ValueOutOfRange {
                    input: shorten(&at_fault.name),
                    row: row as u64 + 1,
                    key: self.key_of(row, &at_fault.name, &column),
                    message: reason.to_owned(),
                })?;
            }
            hashes.push(&message.finish());
        }
        hashes.finish()
    }

    /// Name and value of the first column, which is a table's key more often than any other; none where it is the one at fault,
    /// and none of a keyed hash, whose columns nobody is to see.
    fn key_of<'a>(
        &self,
        row: usize,
        at_fault: &str,
        column: impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Option<(String, String)> {
        let first = self.list.first().filter(|first| self.kind == Kind::Row && first.name != at_fault)?;
        let value = array_value_to_string(column(first.index)?, row).ok()?;
        Some((shorten(&first.name), shorten(&value)))
    }
}

/// Hashes of rows as text.
struct Hashes {
    hex: Vec<u8>,
    rows: usize,
    /// Of each row so far whether it has a hash, from the first on that has none.
    valid: Option<Vec<bool>>,
}

impl Hashes {
    fn with_capacity(rows: usize) -> Self {
        Self { hex: Vec::with_capacity(rows.saturating_mul(HEX_LEN)), rows: 0, valid: None }
    }

    #[inline]
    fn push(&mut self, hash: &[u8; 32]) {
        canonical::push_hex(hash, &mut self.hex);
        self.rows += 1;
        if let Some(valid) = &mut self.valid {
            valid.push(true);
        }
    }

    fn push_null(&mut self) {
        self.valid.get_or_insert_with(|| vec![true; self.rows]).push(false);
        self.rows += 1;
    }

    fn finish(self) -> Result<ArrayRef, ColumnarError> {
        let unexpected = |message: String| ColumnarError::Unexpected { what: "building a column of hashes", message };
        let end = i32::try_from(self.hex.len()).map_err(|error| unexpected(error.to_string()))?;
        let offsets = match &self.valid {
            None => (0..=end).step_by(HEX_LEN).collect(),
            Some(valid) => {
                let ends = valid.iter().scan(0, |end, valid| {
                    *end += if *valid { HEX_LEN as i32 } else { 0 };
                    Some(*end)
                });
                std::iter::once(0).chain(ends).collect::<Vec<i32>>()
            }
        };
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = StringArray::try_new(offsets, Buffer::from_vec(self.hex), self.valid.map(NullBuffer::from));
        Ok(Arc::new(array.map_err(|error| unexpected(error.to_string()))?))
    }
}

//! Values of a batch the guest has copied into its own memory.
//!
//! A small reader of its own, since Arrow's crates would make up most of a datakit's size and build time for the few
//! hundred rows of a catalog (docs/decisions/0011). A datakit that computes over many values can use `arrow-ipc` on
//! [`crate::Batch::to_arrow`] all the same.

mod flatbuffer;
mod ipc;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;

/// The rows of one batch.
#[derive(Debug, Clone)]
pub struct Rows {
    columns: Vec<Column>,
    rows: usize,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
    /// One bit a row, set where there is a value; none: no row is null.
    validity: Option<Range<usize>>,
    offsets: Range<usize>,
    values: Range<usize>,
}

/// How values lie in their buffers. Widths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    Signed { width: usize },
    Unsigned { width: usize },
    Float32,
    Float64,
    Decimal { scale: i32 },
    Date,
    Time { width: usize, unit: Unit },
    Timestamp { unit: Unit },
    Text { wide: bool },
    Binary { wide: bool },
    Fixed { width: usize },
}

/// The unit of a time or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 1 s
    Second,
    /// 10⁻³ s
    Millisecond,
    /// 10⁻⁶ s
    Microsecond,
    /// 10⁻⁹ s
    Nanosecond,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL
    Null,
    /// Boolean
    Boolean(bool),
    /// Any integer up to 64 bits.
    Integer(i64),
    /// Any float.
    Float(f64),
    /// A decimal, as `unscaled` × 10^-`scale`.
    Decimal {
        /// All digits.
        unscaled: i128,
        /// Digits after the point.
        scale: i32,
    },
    /// Days since 1970-01-01.
    Date(i32),
    /// Time since midnight.
    Time(i64, Unit),
    /// Time since 1970-01-01T00:00:00, UTC where the column has a zone.
    Timestamp(i64, Unit),
    /// Text
    Text(&'a str),
    /// Bytes, of variable or fixed size.
    Bytes(&'a [u8]),
}

impl Cell<'_> {
    fn kind(self) -> &'static str {
        match self {
            Cell::Null => "null",
            Cell::Boolean(_) => "boolean",
            Cell::Integer(_) => "integer",
            Cell::Float(_) => "float",
            Cell::Decimal { .. } => "decimal",
            Cell::Date(_) => "date",
            Cell::Time(..) => "time",
            Cell::Timestamp(..) => "timestamp",
            Cell::Text(_) => "text",
            Cell::Bytes(_) => "bytes",
        }
    }
}

impl Rows {
    /// Reads one Arrow IPC stream of one batch, as [`crate::Batch::to_arrow`] returns it.
    ///
    /// # Errors
    /// Nested, dictionary-encoded and compressed columns, views, and bytes that are no such stream.
    pub fn from_ipc(stream: &[u8]) -> Result<Self, Error> {
        ipc::read(stream)
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The columns' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Columns by their names, case included.
    ///
    /// # Errors
    /// The first name that no column has.
    pub fn columns<const N: usize>(&self, names: [&str; N]) -> Result<[ColumnView<'_>; N], Error> {
        let views: Vec<ColumnView<'_>> = names.iter().map(|name| self.column(name)).collect::<Result<_, _>>()?;
        views.try_into().map_err(|_| Error::datakit(codes::COLUMN, "a column is not where it was just found"))
    }

    /// A column by its name, case included.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn column(&self, name: &str) -> Result<ColumnView<'_>, Error> {
        let column = self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            Error::datakit(codes::COLUMN, format!("the result has no column `{name}`, only {}", names.join(", ")))
        })?;
        Ok(ColumnView { column, rows: self.rows, body: &self.body })
    }
}

/// The texts of one column of all batches, none of which is null.
///
/// # Errors
/// A batch without the column, a null, or a value of another type.
pub fn texts(batches: &[Rows], name: &str) -> Result<Vec<String>, Error> {
    let mut texts = Vec::new();
    for batch in batches {
        let column = batch.column(name)?;
        for row in 0..batch.len() {
            texts.push(column.some_text(row)?.to_owned());
        }
    }
    Ok(texts)
}

/// One column of [`Rows`].
#[derive(Debug, Clone, Copy)]
pub struct ColumnView<'a> {
    column: &'a Column,
    rows: usize,
    body: &'a [u8],
}

impl<'a> ColumnView<'a> {
    /// A value.
    ///
    /// # Errors
    /// A row that is not there, or buffers that contradict each other.
    pub fn cell(&self, row: usize) -> Result<Cell<'a>, Error> {
        if row >= self.rows {
            return Err(Error::datakit(codes::COLUMN, format!("row {row} was asked for, and there are {}", self.rows)));
        }
        self.read(row).ok_or_else(|| ipc::malformed("a value lies outside of its buffer, or is no UTF-8"))
    }

    /// A text, or none for null.
    ///
    /// # Errors
    /// A value of another type.
    pub fn text(&self, row: usize) -> Result<Option<&'a str>, Error> {
        match self.cell(row)? {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            other => Err(self.mismatch("text", other)),
        }
    }

    /// An integer, or none for null.
    ///
    /// # Errors
    /// A value of another type.
    pub fn integer(&self, row: usize) -> Result<Option<i64>, Error> {
        match self.cell(row)? {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(number)),
            other => Err(self.mismatch("an integer", other)),
        }
    }

    /// A boolean, or none for null.
    ///
    /// # Errors
    /// A value of another type.
    pub fn boolean(&self, row: usize) -> Result<Option<bool>, Error> {
        match self.cell(row)? {
            Cell::Null => Ok(None),
            Cell::Boolean(value) => Ok(Some(value)),
            other => Err(self.mismatch("a boolean", other)),
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// Null, or a value of another type.
    pub fn some_text(&self, row: usize) -> Result<&'a str, Error> {
        self.text(row)?.ok_or_else(|| self.missing(row))
    }

    /// An integer that has to be there.
    ///
    /// # Errors
    /// Null, or a value of another type.
    pub fn some_integer(&self, row: usize) -> Result<i64, Error> {
        self.integer(row)?.ok_or_else(|| self.missing(row))
    }

    /// A boolean that has to be there.
    ///
    /// # Errors
    /// Null, or a value of another type.
    pub fn some_boolean(&self, row: usize) -> Result<bool, Error> {
        self.boolean(row)?.ok_or_else(|| self.missing(row))
    }

    /// The error for a value that has to be there and is null.
    #[must_use]
    pub fn missing(&self, row: usize) -> Error {
        Error::datakit(
            codes::COLUMN,
            format!("column `{}` is null in row {row}, where a value is needed", self.column.name),
        )
    }

    fn mismatch(&self, wanted: &str, found: Cell<'_>) -> Error {
        Error::datakit(codes::COLUMN, format!("column `{}` holds {}, not {wanted}", self.column.name, found.kind()))
    }

    fn read(&self, row: usize) -> Option<Cell<'a>> {
        if let Some(validity) = &self.column.validity
            && !bit(self.body.get(validity.clone())?, row)?
        {
            return Some(Cell::Null);
        }
        let values = self.body.get(self.column.values.clone())?;
        Some(match self.column.kind {
            Kind::Null => Cell::Null,
            Kind::Boolean => Cell::Boolean(bit(values, row)?),
            Kind::Signed { width } => Cell::Integer(signed(at(values, row, width)?)),
            Kind::Unsigned { width } => Cell::Integer(unsigned(at(values, row, width)?)),
            Kind::Float32 => Cell::Float(f64::from(f32::from_le_bytes(at(values, row, 4)?.try_into().ok()?))),
            Kind::Float64 => Cell::Float(f64::from_le_bytes(at(values, row, 8)?.try_into().ok()?)),
            Kind::Decimal { scale } => {
                Cell::Decimal { unscaled: i128::from_le_bytes(at(values, row, 16)?.try_into().ok()?), scale }
            }
            Kind::Date => Cell::Date(i32::from_le_bytes(at(values, row, 4)?.try_into().ok()?)),
            Kind::Time { width, unit } => Cell::Time(signed(at(values, row, width)?), unit),
            Kind::Timestamp { unit } => Cell::Timestamp(signed(at(values, row, 8)?), unit),
            Kind::Text { wide } => Cell::Text(std::str::from_utf8(self.variable(values, row, wide)?).ok()?),
            Kind::Binary { wide } => Cell::Bytes(self.variable(values, row, wide)?),
            Kind::Fixed { width } => Cell::Bytes(at(values, row, width)?),
        })
    }

    fn variable(&self, values: &'a [u8], row: usize, wide: bool) -> Option<&'a [u8]> {
        let offsets = self.body.get(self.column.offsets.clone())?;
        let width = if wide { 8 } else { 4 };
        let offset = |index: usize| usize::try_from(signed(at(offsets, index, width)?)).ok();
        values.get(offset(row)?..offset(row + 1)?)
    }
}

fn bit(bits: &[u8], index: usize) -> Option<bool> {
    Some(bits.get(index / 8)? >> (index % 8) & 1 == 1)
}

fn at(values: &[u8], index: usize, width: usize) -> Option<&[u8]> {
    let start = index.checked_mul(width)?;
    values.get(start..start.checked_add(width)?)
}

/// A little-endian integer of up to 8 bytes.
fn unsigned(bytes: &[u8]) -> i64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | i64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * u32::try_from(bytes.len().clamp(1, 8)).unwrap_or(8);
    unsigned(bytes) << unused >> unused
}

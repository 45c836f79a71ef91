//! Columns that a datakit makes itself, as the Arrow IPC stream that the host takes.
//!
//! Code of its own for the same reason as the reader's ([`crate::rows`], docs/decisions/0187): Arrow's crates would make up most of a
//! datakit. A datakit that needs other types can use `arrow-ipc` with [`Batch::with_columns`] all the same.
//!
//! ```no_run
//! # use datakit_sdk::{Batch, Error, columns::{NewColumn, Values}};
//! # fn example(batch: &Batch, totals: Vec<Option<i64>>) -> Result<Batch, Error> {
//! batch.with_new_columns(&[NewColumn::new("total", Values::Int64(totals))])
//! # }
//! ```

mod flatbuffer;
mod stream;
#[cfg(test)]
mod tests;

use crate::bindings::datakit::kit::batches::Batch;
use crate::bindings::datakit::kit::types::Error;
use crate::errors::codes;

/// A column that a datakit makes. It is nullable.
#[derive(Debug, Clone, PartialEq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its values, one a row.
    pub values: Values,
}

impl NewColumn {
    /// A column of this name and these values.
    pub fn new(name: impl Into<String>, values: Values) -> Self {
        Self { name: name.into(), values }
    }
}

/// Values of one type; none is null.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `Boolean`
    Boolean(Vec<Option<bool>>),
    /// `Int64`
    Int64(Vec<Option<i64>>),
    /// `Float64`
    Float64(Vec<Option<f64>>),
    /// `Date32`: days since 1970-01-01.
    Date32(Vec<Option<i32>>),
    /// `Timestamp(us)`: microseconds since 1970-01-01T00:00:00.
    Timestamp(Vec<Option<i64>>),
    /// `Timestamp(us, UTC)`: microseconds since 1970-01-01T00:00:00Z.
    TimestampUtc(Vec<Option<i64>>),
    /// `Utf8`
    Text(Vec<Option<String>>),
    /// `Binary`
    Binary(Vec<Option<Vec<u8>>>),
}

impl Values {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Int64(values) | Self::Timestamp(values) | Self::TimestampUtc(values) => values.len(),
            Self::Float64(values) => values.len(),
            Self::Date32(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Binary(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One uncompressed Arrow IPC stream of these columns: schema, one record batch, end marker.
///
/// # Errors
/// Columns of different lengths, or one whose texts or bytes have 2 GiB or more together.
pub fn to_ipc(columns: &[NewColumn]) -> Result<Vec<u8>, Error> {
    let rows = columns.first().map_or(0, |column| column.values.len());
    if let Some(other) = columns.iter().find(|column| column.values.len() != rows) {
        let message =
            format!("the column `{}` has {} values, and the first one {rows}", other.name, other.values.len());
        return Err(Error::datakit(codes::NEW_COLUMNS, message));
    }
    stream::write(columns, rows)
}

impl Batch {
    /// A new batch: this one's columns, and these. A column whose name is there takes its place; the others follow at the end.
    ///
    /// # Errors
    /// What [`to_ipc`] says, another number of rows, or going over a limit.
    pub fn with_new_columns(&self, columns: &[NewColumn]) -> Result<Self, Error> {
        self.with_columns(&to_ipc(columns)?)
    }
}

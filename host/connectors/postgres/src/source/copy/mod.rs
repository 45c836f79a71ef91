//! The binary form of COPY, as it arrives, into Arrow.
//!
//! Source: "Binary Format" of COPY in the manual. The server sends a row a message, but that is its choice: rows may begin and
//! end anywhere in what arrives.

mod bad;
mod column;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod rejected;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datakit_connect::rejects;
use datakit_model::ReadLimits;
use datakit_model::rejects::{Noted, RejectedRow, Rejecting, text};

pub(in crate::source) use self::bad::shown;
pub(in crate::source) use self::column::{ColumnBuilder, Wrong, row_bytes};
use super::error::PostgresError;
use super::types::{self, Column, Shape};
use crate::copy_format::SIGNATURE;

/// Signature, flags, length of the header's extension.
const HEADER_BYTES: usize = SIGNATURE.len() + 8;

/// Offsets are 32 bits, so neither a batch nor a cell may come near 2 GiB, whatever the limits say.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Header,
    Rows,
    End,
}

/// Rows on their way from the wire to a batch.
#[derive(Debug)]
pub(super) struct Decoder {
    columns: Vec<ColumnBuilder>,
    described: Arc<[Column]>,
    schema: SchemaRef,
    place: Place,
    /// The beginning of a row whose end has not arrived.
    pending: Vec<u8>,
    rows: usize,
    rows_finished: u64,
    /// Bytes that every row takes, whatever its values.
    row_bytes: usize,
    /// Bytes of texts and binaries so far.
    value_bytes: usize,
    max_batch_bytes: usize,
    max_batch_rows: usize,
    max_cell_bytes: usize,
    max_row_bytes: usize,
    /// Rows of the batch with a bad value; none: a bad value is an error.
    noted: Option<Noted>,
    /// Rows that were taken out of batches, and nobody has taken yet.
    rejected: Vec<RejectedRow>,
}

impl Decoder {
    /// A decoder of rows of these columns.
    pub(super) fn new(described: Arc<[Column]>, limits: &ReadLimits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes.min(MOST_BYTES)).unwrap_or(usize::MAX);
        let row_bytes = described.iter().map(|column| row_bytes(column.shape)).sum::<usize>().max(1);
        let max_batch_bytes = size(limits.max_batch_bytes);
        let max_batch_rows = size(limits.max_batch_rows).max(1);
        // Texts share a batch with what every row takes, so fewer rows fit than the fixed part alone would allow.
        let rows = (max_batch_bytes / row_bytes).clamp(1, max_batch_rows).min(4096);
        Self {
            columns: described.iter().map(|column| ColumnBuilder::new(column, rows)).collect(),
            schema: types::schema(&described),
            described,
            place: Place::Header,
            pending: Vec::new(),
            rows: 0,
            rows_finished: 0,
            row_bytes,
            value_bytes: 0,
            max_batch_bytes,
            max_batch_rows,
            max_cell_bytes: size(limits.max_cell_bytes),
            max_row_bytes: size(limits.max_row_bytes),
            noted: None,
            rejected: Vec::new(),
        }
    }

    /// The same decoder; rows with a bad value are rejected, as far as they may be.
    pub(super) fn rejecting(self, rejecting: Option<Rejecting>) -> Self {
        Self { noted: rejecting.map(Noted::new), ..self }
    }

    /// Rows that were rejected, since the last call.
    pub(super) fn take_rejected(&mut self) -> Vec<RejectedRow> {
        std::mem::take(&mut self.rejected)
    }

    /// Rows of the batch so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of the query so far.
    pub(super) fn total_rows(&self) -> u64 {
        self.rows_finished + self.rows as u64
    }

    /// Whether the batch has reached its size.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_batch_rows || self.rows * self.row_bytes + self.value_bytes >= self.max_batch_bytes
    }

    /// Whether the end of all rows has arrived, and nothing after it.
    pub(super) fn is_complete(&self) -> bool {
        self.place == Place::End && self.pending.is_empty()
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// A value that has no exact Arrow form, or bytes that are no COPY of these columns.
    #[inline]
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), PostgresError> {
        if self.pending.is_empty() {
            let used = self.consume(chunk)?;
            if used < chunk.len() {
                self.pending.extend_from_slice(&chunk[used..]);
            }
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(chunk);
        let used = self.consume(&pending)?;
        pending.drain(..used);
        self.pending = pending;
        Ok(())
    }

    /// Takes whole rows from the front; returns how many bytes they were.
    fn consume(&mut self, bytes: &[u8]) -> Result<usize, PostgresError> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let taken = match self.place {
                Place::Header => self.header(rest)?,
                Place::Rows => self.row(rest)?,
                Place::End => return Err(malformed("bytes after the end of the rows")),
            };
            match taken {
                0 => break,
                taken => at += taken,
            }
        }
        Ok(at)
    }

    fn header(&mut self, bytes: &[u8]) -> Result<usize, PostgresError> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else { return Ok(0) };
        // Flags: 16 to 31 are for what a reader must know; none is defined that is not obsolete.
        let (flags, extension) = (be_i32(&header[HEADER_BYTES - 8..]), be_i32(&header[HEADER_BYTES - 4..]));
        if !header.starts_with(SIGNATURE) || flags != 0 {
            return Err(malformed("no header of a binary COPY"));
        }
        let extension = usize::try_from(extension).map_err(|_| malformed("a header of negative length"))?;
        if rest.len() < extension {
            return Ok(0);
        }
        self.place = Place::Rows;
        Ok(HEADER_BYTES + extension)
    }

    /// Decodes one row; 0 when it has not arrived whole.
    #[inline]
    fn row(&mut self, bytes: &[u8]) -> Result<usize, PostgresError> {
        let Some(count) = bytes.first_chunk::<2>() else { return Ok(0) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.place = Place::End;
            return Ok(2);
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(malformed(&format!("a row of {count} fields where {} were announced", self.columns.len())));
        }
        // Whether it is whole, and no cell of it too large, is found before the first value is appended.
        let Some(length) = self.row_length(bytes)? else { return Ok(0) };
        let mut at = 2;
        for index in 0..self.columns.len() {
            let size = be_i32(&bytes[at..]);
            at += 4;
            let column = &mut self.columns[index];
            if size < 0 {
                if !column.push_null() {
                    return Err(self.wrong(index, Wrong::UnexpectedNull));
                }
                continue;
            }
            // Not negative, and within the row by its measured length.
            let end = at + size as usize;
            match column.push(&bytes[at..end]) {
                Ok(added) => self.value_bytes += added,
                Err(wrong) => self.reject(index, wrong, &bytes[at..end])?,
            }
            at = end;
        }
        self.rows += 1;
        Ok(length)
    }

    /// The batch, without rejected rows; starts the next one.
    ///
    /// # Errors
    /// A text that is no UTF-8, which is found for whole columns; more bad rows than may be rejected.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, PostgresError> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for index in 0..self.columns.len() {
            self.check_texts(index)?;
            arrays.push(self.columns[index].finish().map_err(|error| unclosed(&error))?);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| unclosed(&error))?;
        self.rows_finished += self.rows as u64;
        self.rows = 0;
        self.value_bytes = 0;
        let Some(noted) = &mut self.noted else { return Ok(batch) };
        let (batch, rejected) = rejects::split::<PostgresError>(noted, batch)?;
        self.rejected.extend(rejected);
        Ok(batch)
    }

    /// Refuses a column with a text that is no UTF-8, or rejects the rows of such texts.
    fn check_texts(&mut self, index: usize) -> Result<(), PostgresError> {
        let Some(noted) = &mut self.noted else {
            let Some(row) = self.columns[index].first_malformed_text() else { return Ok(()) };
            self.rows = row;
            return Err(self.wrong(index, Wrong::NotUtf8));
        };
        let column = &self.described[index];
        for (row, bytes) in self.columns[index].take_malformed_texts() {
            let (reason, _) = Wrong::NotUtf8.words(&column.source_type);
            noted.note(row, &column.name, reason, Some(text::utf8(&bytes)));
        }
        Ok(())
    }

    /// Rejects the row at hand for a value, and fills its place.
    #[cold]
    fn reject(&mut self, index: usize, wrong: Wrong, field: &[u8]) -> Result<(), PostgresError> {
        let column = &self.described[index];
        match &mut self.noted {
            Some(noted) if wrong.is_of_the_data() => {
                let (reason, _) = wrong.words(&column.source_type);
                noted.note(self.rows, &column.name, reason, shown(column.shape, field));
                self.columns[index].fill();
                Ok(())
            }
            _ => Err(self.wrong(index, wrong)),
        }
    }

    /// The length of a row at the front; none when it has not arrived whole. A cell or row that is too large is refused by its
    /// announced size: nothing of it is copied, and its end is not waited for.
    #[inline]
    fn row_length(&self, bytes: &[u8]) -> Result<Option<usize>, PostgresError> {
        let mut at = 2;
        for index in 0..self.columns.len() {
            let Some(size) = bytes.get(at..at + 4) else { return Ok(None) };
            let size = be_i32(size);
            at += 4;
            match usize::try_from(size) {
                Ok(size) => {
                    if size > self.max_cell_bytes {
                        self.check_cell(index, size)?;
                    }
                    at += size;
                    if at > self.max_row_bytes {
                        return Err(self.row_too_large(index, at));
                    }
                }
                Err(_) if size == -1 => {}
                Err(_) => return Err(malformed("a field of negative length")),
            }
        }
        Ok((at <= bytes.len()).then_some(at))
    }

    /// Refuses a cell of more bytes than the limit, counted as they are kept. What is of a fixed size, or a number, is bounded
    /// by its type.
    #[cold]
    fn check_cell(&self, index: usize, size: usize) -> Result<(), PostgresError> {
        let kept = match self.described[index].shape {
            Shape::Text | Shape::Binary => size,
            Shape::Jsonb => size.saturating_sub(1),
            _ => return Ok(()),
        };
        if kept > self.max_cell_bytes { Err(self.too_large(index, kept)) } else { Ok(()) }
    }

    #[cold]
    fn wrong(&self, index: usize, wrong: Wrong) -> PostgresError {
        let column = &self.described[index];
        let (reason, hint) = wrong.words(&column.source_type);
        PostgresError::Value { row: self.total_rows() + 1, column: column.name.clone(), reason, hint }
    }

    #[cold]
    fn row_too_large(&self, index: usize, bytes: usize) -> PostgresError {
        PostgresError::RowTooLarge {
            row: self.total_rows() + 1,
            column: self.described[index].name.clone(),
            bytes: bytes as u64,
            limit: self.max_row_bytes as u64,
        }
    }

    #[cold]
    fn too_large(&self, index: usize, bytes: usize) -> PostgresError {
        PostgresError::CellTooLarge {
            row: self.total_rows() + 1,
            column: self.described[index].name.clone(),
            bytes: bytes as u64,
            limit: self.max_cell_bytes as u64,
        }
    }
}

/// The number at the front of at least four bytes.
#[inline]
fn be_i32(bytes: &[u8]) -> i32 {
    bytes.first_chunk().map_or(0, |number| i32::from_be_bytes(*number))
}

#[cold]
fn malformed(reason: &str) -> PostgresError {
    PostgresError::Protocol { address: "the server".to_owned(), reason: format!("its COPY holds {reason}") }
}

#[cold]
fn unclosed(error: &arrow::error::ArrowError) -> PostgresError {
    PostgresError::Internal(format!("cannot close a batch: {error}"))
}

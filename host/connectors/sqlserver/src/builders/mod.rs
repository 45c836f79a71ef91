//! Rows into Arrow: one builder a column, chosen once from the metadata.
//!
//! Both drivers feed a [`BatchBuilder`]. A call for a value cannot fail (the drivers' callbacks return nothing), so the
//! first value without an exact Arrow form is remembered, its place filled, and the reader asks after each row.

mod column;
#[cfg(test)]
mod fuzz;
mod values;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datakit_connect::rejects;
use datakit_model::ReadLimits;
use datakit_model::rejects::{Noted, RejectedRow, Rejecting};

use self::column::{ColumnBuilder, Values};
use super::error::SourceError;
use super::text::TextEncoding;
use super::types::{self, Column};
use datakit_connect::arrays::offset;

/// Offsets are 32 bits, so neither a batch nor a cell may come near 2 GiB, whatever the limits say.
const MOST_BYTES: u64 = 1 << 30;

/// A batch being built.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    columns: Vec<ColumnBuilder>,
    described: Arc<[Column]>,
    schema: SchemaRef,
    rows: usize,
    rows_finished: u64,
    /// Bytes that every row takes, whatever its values.
    row_bytes: usize,
    /// Bytes of texts and binaries so far.
    value_bytes: usize,
    /// What of them is not of the row that is being read.
    value_bytes_before: usize,
    max_batch_bytes: usize,
    max_batch_rows: usize,
    max_cell_bytes: usize,
    max_row_bytes: usize,
    failure: Option<SourceError>,
    /// Rows of the batch with a bad value; none: a bad value is an error.
    noted: Option<Noted>,
    /// Rows that were taken out of batches, and nobody has taken yet.
    rejected: Vec<RejectedRow>,
}

impl BatchBuilder {
    /// A builder for rows of these columns.
    pub(super) fn new(described: Arc<[Column]>, limits: &ReadLimits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes.min(MOST_BYTES)).unwrap_or(usize::MAX);
        let row_bytes = described.iter().map(|column| column::row_bytes(&column.shape)).sum::<usize>().max(1);
        let max_batch_bytes = size(limits.max_batch_bytes);
        let max_batch_rows = size(limits.max_batch_rows).max(1);
        let rows = (max_batch_bytes / row_bytes).clamp(1, max_batch_rows);
        // Texts share a batch with what every row takes, so fewer rows fit than the fixed part alone would allow.
        let columns = described.iter().map(|column| ColumnBuilder::new(column, rows.min(4096))).collect();
        Self {
            columns,
            schema: types::schema(&described),
            described,
            rows: 0,
            rows_finished: 0,
            row_bytes,
            value_bytes: 0,
            value_bytes_before: 0,
            max_batch_bytes,
            max_batch_rows,
            max_cell_bytes: size(limits.max_cell_bytes),
            max_row_bytes: size(limits.max_row_bytes),
            failure: None,
            noted: None,
            rejected: Vec::new(),
        }
    }

    /// The same builder; rows with a bad value are rejected, as far as they may be.
    pub(super) fn rejecting(self, rejecting: Option<Rejecting>) -> Self {
        Self { noted: rejecting.map(Noted::new), ..self }
    }

    /// Rows that were rejected, since the last call.
    pub(super) fn take_rejected(&mut self) -> Vec<RejectedRow> {
        std::mem::take(&mut self.rejected)
    }

    /// The columns, as the server described them.
    pub(super) fn described(&self) -> &Arc<[Column]> {
        &self.described
    }

    /// Rows of the batch so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of the query so far.
    pub(super) fn total_rows(&self) -> u64 {
        self.rows_finished + self.rows as u64
    }

    /// The limit of one value, in bytes.
    pub(super) fn max_cell_bytes(&self) -> usize {
        self.max_cell_bytes
    }

    /// Closes a row.
    #[inline]
    pub(super) fn end_row(&mut self) {
        self.rows += 1;
        self.value_bytes_before = self.value_bytes;
    }

    /// Whether the batch has reached its size.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_batch_rows || self.rows * self.row_bytes + self.value_bytes >= self.max_batch_bytes
    }

    /// Whether a value failed since the last call of [`Self::take_failure`].
    #[inline]
    pub(super) fn has_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// The first value that could not be represented.
    pub(super) fn take_failure(&mut self) -> Option<SourceError> {
        self.failure.take()
    }

    /// The batch without rejected rows, and how many values of which column were cut; starts the next one.
    ///
    /// # Errors
    /// More bad rows than may be rejected. When a builder got out of step: a bug.
    pub(super) fn finish(&mut self) -> Result<(RecordBatch, Vec<(usize, u64)>), SourceError> {
        let cuts = self.columns.iter_mut().enumerate().filter_map(|(i, column)| {
            let cut = std::mem::take(&mut column.cut);
            (cut > 0).then_some((i, cut))
        });
        let cuts: Vec<_> = cuts.collect();
        let arrays = self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>, _>>();
        let batch = arrays
            .and_then(|arrays| RecordBatch::try_new(Arc::clone(&self.schema), arrays))
            .map_err(|error| SourceError::Internal(format!("cannot close a batch: {error}")))?;
        self.rows_finished += self.rows as u64;
        self.rows = 0;
        self.value_bytes = 0;
        self.value_bytes_before = 0;
        let Some(noted) = &mut self.noted else { return Ok((batch, cuts)) };
        let (batch, rejected) = rejects::split::<SourceError>(noted, batch)?;
        self.rejected.extend(rejected);
        Ok((batch, cuts))
    }

    /// Rejects the row at hand for a value that the data has and Arrow does not, or fails where no row may be rejected. Something
    /// stands in the value's place already.
    #[cold]
    fn reject_value(&mut self, col: usize, reason: String, hint: &'static str, text: impl FnOnce() -> Option<String>) {
        match (&mut self.noted, self.described.get(col)) {
            (Some(noted), Some(column)) => noted.note(self.rows, &column.name, reason, text()),
            _ => self.fail_value(col, reason, hint),
        }
    }

    /// Remembers a value without exact Arrow form, if it is the first.
    #[cold]
    pub(super) fn fail_value(&mut self, col: usize, reason: impl Into<String>, hint: &'static str) {
        let (row, column) = (self.total_rows() + 1, self.name(col));
        self.failure.get_or_insert(SourceError::Value { row, column, reason: reason.into(), hint });
    }

    /// Remembers a value over the limit.
    #[cold]
    pub(super) fn fail_size(&mut self, col: usize, bytes: usize) {
        let (row, column) = (self.total_rows() + 1, self.name(col));
        let (bytes, limit) = (bytes as u64, self.max_cell_bytes as u64);
        self.failure.get_or_insert(SourceError::CellTooLarge { row, column, bytes, limit });
    }

    /// Counts the bytes of a value. Once a row is too large, nothing more of it is kept.
    #[inline]
    fn grow(&mut self, col: usize, added: usize) {
        self.value_bytes += added;
        if self.value_bytes - self.value_bytes_before > self.max_row_bytes {
            self.fail_row(col);
        }
    }

    /// Remembers a row over the limit.
    #[cold]
    fn fail_row(&mut self, col: usize) {
        let (row, column) = (self.total_rows() + 1, self.name(col));
        let (bytes, limit) = ((self.value_bytes - self.value_bytes_before) as u64, self.max_row_bytes as u64);
        self.failure.get_or_insert(SourceError::RowTooLarge { row, column, bytes, limit });
    }

    /// Remembers that the server sent a value that its own metadata excludes.
    #[cold]
    fn fail_type(&mut self, col: usize, got: &str) {
        let declared = self.declared(col);
        self.fail_value(
            col,
            format!("the server declared {declared} and sent {got}"),
            "this is a bug of the server or of the driver: please report it",
        );
    }

    fn declared(&self, col: usize) -> String {
        self.described.get(col).map_or_else(String::new, |column| column.source_type.clone())
    }

    fn name(&self, col: usize) -> String {
        self.described.get(col).map_or_else(|| format!("#{}", col + 1), |column| column.name.clone())
    }

    /// A null.
    #[inline]
    pub(super) fn null(&mut self, col: usize) {
        let Some(column) = self.columns.get_mut(col) else { return };
        if !column.push_null() {
            self.fail_type(col, "NULL for a column that it declared NOT NULL");
        }
    }

    /// A binary value.
    #[inline]
    pub(super) fn binary(&mut self, col: usize, bytes: &[u8]) {
        if bytes.len() > self.max_cell_bytes {
            self.fail_size(col, bytes.len());
            return self.null_place(col);
        }
        if self.has_failure() {
            return self.null_place(col);
        }
        match self.columns.get_mut(col) {
            Some(column) if matches!(column.values, Values::Binary { .. }) => {
                if let Values::Binary { offsets, data } = &mut column.values {
                    data.extend_from_slice(bytes);
                    offsets.push(offset(data.len()));
                }
                column.valid();
                self.grow(col, bytes.len());
            }
            _ => self.unexpected(col, values::Scalar::Binary(bytes)),
        }
    }

    /// A text in the encoding of its column; `in_variant` is the encoding of a text in a `sql_variant`.
    #[inline]
    pub(super) fn text(&mut self, col: usize, bytes: &[u8], in_variant: impl FnOnce() -> TextEncoding) {
        if self.has_failure() {
            return self.null_place(col);
        }
        let Some(column) = self.columns.get_mut(col) else { return };
        let (outcome, added) = match &mut column.values {
            Values::Text { encoding, offsets, data } => column::append_text(encoding, bytes, offsets, data),
            Values::Variant { offsets, data } => column::append_text(&in_variant(), bytes, offsets, data),
            _ => return self.fail_type_in_place(col, "a text"),
        };
        column.valid();
        self.grow(col, added);
        if added > self.max_cell_bytes {
            self.fail_size(col, added);
        }
        if let Err(malformed) = outcome {
            const HINT: &str = "repair the value, exclude the column, or read it as CAST(… AS varbinary(max))";
            self.reject_value(col, malformed.reason(), HINT, || Some(malformed.shown(bytes)));
        }
    }

    /// A text that the driver has decoded already.
    pub(super) fn decoded_text(&mut self, col: usize, text: &str) {
        if self.has_failure() {
            return self.null_place(col);
        }
        let Some(column) = self.columns.get_mut(col) else { return };
        let (Values::Text { offsets, data, .. } | Values::Variant { offsets, data }) = &mut column.values else {
            return self.fail_type_in_place(col, "a text");
        };
        data.extend_from_slice(text.as_bytes());
        offsets.push(offset(data.len()));
        column.valid();
        self.grow(col, text.len());
        if text.len() > self.max_cell_bytes {
            self.fail_size(col, text.len());
        }
    }

    /// Fills the place of a value that failed, so that the columns stay in step.
    pub(super) fn null_place(&mut self, col: usize) {
        if let Some(column) = self.columns.get_mut(col) {
            column.fill();
        }
    }

    #[cold]
    fn fail_type_in_place(&mut self, col: usize, got: &str) {
        self.fail_type(col, got);
        self.null_place(col);
    }
}

#[cfg(test)]
mod rejected;
#[cfg(test)]
mod tests;

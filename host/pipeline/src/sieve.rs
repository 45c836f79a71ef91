//! Rows of a value that the table of the sink cannot hold: they are taken out before anything else is done with their batch.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use datakit_model::datakit::RoleColumns;
use datakit_model::memory::{ByteLimit, Overfull};
use datakit_model::rejects::{NotSplit, Noted, Rejected, Rejecting, Split, text};
use datakit_model::sink::{RefusedValue, TableWriter};
use datakit_model::{Failure, TableId, TrackedBatch};

use crate::context::TableContext;
use crate::error::RunError;

/// Holds the batches of a partition against what the table can hold.
pub(crate) struct Sieve {
    table: TableId,
    writer: Arc<dyn TableWriter>,
    rejecting: Rejecting,
    noted: Noted,
    /// The column that says what happened to a row.
    operation: Option<String>,
    limit: ByteLimit,
    /// Rows that were taken out.
    pub(crate) rejected: Rejected,
}

impl Sieve {
    /// None: no row may be rejected, and the write of a bad value fails.
    pub(crate) fn of(context: &TableContext, writer: &Arc<dyn TableWriter>, roles: &RoleColumns) -> Option<Self> {
        let rejecting = context.session.rejecting.clone()?;
        Some(Self {
            table: context.table.clone(),
            writer: Arc::clone(writer),
            noted: Noted::new(rejecting.clone()),
            rejecting,
            operation: roles.operation.clone(),
            limit: context.session.rejected.clone(),
            rejected: Rejected::default(),
        })
    }

    /// The rows that the table can hold.
    ///
    /// # Errors
    /// More rows are bad than may be rejected, or than the run may hold.
    pub(crate) fn sift(&mut self, batch: TrackedBatch) -> Result<TrackedBatch, Failure> {
        let refused = self.writer.refused(batch.batch())?;
        if refused.is_empty() {
            return Ok(batch);
        }
        for RefusedValue { row, column, reason } in refused {
            let value = batch.batch().column_by_name(&column).and_then(|values| text::value(values, row));
            self.noted.note(row, &column, reason, value);
        }
        let accepted = self.take_out(batch.batch())?;
        Ok(batch.derive(accepted))
    }

    fn take_out(&mut self, batch: &RecordBatch) -> Result<RecordBatch, Failure> {
        let Split { accepted, rejected, mut rows, .. } = self.noted.split(batch).map_err(|error| match error {
            NotSplit::TooMany(error) => Failure::from(error),
            NotSplit::Arrow(error) => {
                RunError::Crashed { table: self.table.clone(), message: error.to_string() }.into()
            }
        })?;
        let operation = self.operation.as_ref().and_then(|name| rejected.column_by_name(name));
        if let Some(operations) = operation.and_then(|column| column.as_string_opt::<i32>()) {
            rows.iter_mut().zip(operations).for_each(|(row, operation)| row.operation = operation.map(str::to_owned));
        }
        let over = |Overfull { capacity_bytes }| RunError::RejectedBytes { capacity_bytes };
        self.rejected.append(Rejected::new(rows).charged(&self.limit).map_err(over)?);
        let found = self.rejected.rows();
        self.rejecting.bounds.check_rows(found.len() as u64, found)?;
        Ok(accepted)
    }
}

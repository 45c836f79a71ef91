//! A projection of a batch. Rows that it cannot be applied to are rejected, as far as they may be.

use arrow::array::AsArray as _;
use arrow::record_batch::RecordBatch;
use datakit_columnar::{ColumnarError, Meter, Projection};
use datakit_model::changes::{ColumnRole, ROLE_KEY};
use datakit_model::rejects::{NotSplit, Noted, RejectedRow, Rejecting, Split, text};
use datakit_model::{Failure, TrackedBatch};

/// What a projection makes of a batch.
pub(crate) struct Projected {
    pub(crate) rows: TrackedBatch,
    pub(crate) rejected: Vec<RejectedRow>,
}

/// Applies a projection. The rows of a value that it refuses are rejected, or their batch is refused.
pub(crate) fn project(
    projection: &Projection,
    rows: &TrackedBatch,
    rejecting: Option<Rejecting>,
    meter: &Meter,
) -> Result<Projected, Failure> {
    let refused = match projection.apply_counted(rows.batch(), meter) {
        Ok(output) => return Ok(Projected { rows: rows.derive(output), rejected: Vec::new() }),
        Err(refused) => refused,
    };
    let Some(rejecting) = rejecting.filter(|_| is_of_a_value(&refused)) else {
        return Err(refused.after_rows(rows.rows_before()).into());
    };
    let mut search = Search { projection, meter, batch: rows.batch(), noted: Noted::new(rejecting) };
    search.halve(0, rows.batch().num_rows())?;
    let (accepted, rejected) = search.rejected()?;
    let output = projection.apply_counted(&accepted, meter)?;
    Ok(Projected { rows: rows.derive(output), rejected })
}

fn is_of_a_value(error: &ColumnarError) -> bool {
    matches!(error, ColumnarError::Evaluation { .. } | ColumnarError::ValueOutOfRange { .. })
}

/// Looks for the rows of a batch that a projection refuses.
struct Search<'a> {
    projection: &'a Projection,
    meter: &'a Meter,
    batch: &'a RecordBatch,
    noted: Noted,
}

impl Search<'_> {
    /// Notes the refused rows among these. Each row is looked at by itself only if its half is refused.
    fn halve(&mut self, start: usize, rows: usize) -> Result<(), ColumnarError> {
        if rows == 0 || self.noted.is_beyond() {
            return Ok(());
        }
        match self.projection.apply_counted(&self.batch.slice(start, rows), self.meter) {
            Ok(_) => Ok(()),
            Err(error) if !is_of_a_value(&error) => Err(error),
            Err(error) if rows == 1 => {
                self.note(start, error);
                Ok(())
            }
            Err(_) => {
                let half = rows / 2;
                self.halve(start, half)?;
                self.halve(start + half, rows - half)
            }
        }
    }

    fn note(&mut self, row: usize, error: ColumnarError) {
        let value = |name: &str| self.batch.column_by_name(name).and_then(|column| text::value(column, row));
        match error {
            ColumnarError::ValueOutOfRange { input, message, .. } => {
                let value = value(&input);
                self.noted.note(row, &input, format!("the value cannot be hashed: {message}"), value);
            }
            // The words of a kernel may quote the value.
            ColumnarError::Evaluation { column, message } => {
                let reason = format!("the expression of `{column}` fails on a value");
                self.noted.note(row, &column, reason, Some(message));
            }
            _ => {}
        }
    }

    /// The other rows, and what is known of those that are refused.
    fn rejected(mut self) -> Result<(RecordBatch, Vec<RejectedRow>), Failure> {
        let split = self.noted.split(self.batch).map_err(|error| match error {
            NotSplit::TooMany(error) => Failure::from(error),
            NotSplit::Arrow(error) => {
                let message = error.to_string();
                ColumnarError::Unexpected { what: "rejecting rows", message }.into()
            }
        })?;
        let Split { accepted, rejected, mut rows, .. } = split;
        let is_operation = |name: Option<&String>| name.is_some_and(|name| name == ColumnRole::Operation.name());
        let place =
            rejected.schema_ref().fields().iter().position(|field| is_operation(field.metadata().get(ROLE_KEY)));
        if let Some(operations) = place.and_then(|place| rejected.column(place).as_string_opt::<i32>()) {
            for (row, operation) in rows.iter_mut().zip(operations.iter()) {
                row.operation = operation.map(str::to_owned);
            }
        }
        Ok((accepted, rows))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int32Array};
    use datakit_columnar::ColumnExpression::{Input, RowHash, Sql};
    use datakit_model::rejects::{RejectBounds, RejectedValues};
    use datakit_model::{GuestLimits, HashKeys};

    use super::*;

    /// Ids from 0, with a date of the year 0000 in some rows and a divisor of zero in others.
    fn batch(rows: i32, bad_dates: &[i32], zeros: &[i32]) -> TrackedBatch {
        let date = |id: i32| if bad_dates.contains(&id) { -719_163 } else { 0 };
        let divisor = |id: i32| i32::from(!zeros.contains(&id));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int32Array::from_iter_values(0..rows))),
            ("born", Arc::new(Date32Array::from_iter_values((0..rows).map(date)))),
            ("divisor", Arc::new(Int32Array::from_iter_values((0..rows).map(divisor)))),
        ];
        TrackedBatch::untracked(RecordBatch::try_from_iter(columns).unwrap())
    }

    fn projection(batch: &TrackedBatch) -> Projection {
        let columns = [
            ("id".to_owned(), Input("id".to_owned())),
            ("born".to_owned(), Input("born".to_owned())),
            ("share".to_owned(), Sql("100 / divisor".to_owned())),
            ("hash".to_owned(), RowHash(vec!["id".to_owned(), "born".to_owned()])),
        ];
        let (keys, limits) = (HashKeys::default(), GuestLimits::default());
        Projection::compile(&batch.batch().schema(), &columns, None, &keys, &limits).unwrap()
    }

    fn rejecting(max_rows: u64) -> Option<Rejecting> {
        let bounds = RejectBounds { max_rows, max_share: 1.0, values: RejectedValues::Text };
        Some(Rejecting { bounds, keys: Arc::from(["id".to_owned()]) })
    }

    fn projected(batch: &TrackedBatch, rejecting: Option<Rejecting>) -> Result<Projected, Failure> {
        project(&projection(batch), batch, rejecting, &Meter::unlimited())
    }

    #[test]
    fn refused_rows_are_rejected_and_the_others_projected() {
        let batch = batch(1_000, &[0, 500, 501, 999], &[7]);
        let Projected { rows, rejected } = projected(&batch, rejecting(5)).unwrap();
        assert_eq!(rows.batch().num_rows(), 995);
        let found: Vec<(&str, &str, Option<&str>)> = rejected
            .iter()
            .map(|row| (row.key.as_deref().unwrap(), row.column.as_deref().unwrap(), row.value.as_deref()))
            .collect();
        assert_eq!(
            [found[0], found[2]],
            [("{\"id\":0}", "born", Some("0000-12-31")), ("{\"id\":500}", "born", Some("0000-12-31"))]
        );
        assert_eq!((found[1].0, found[1].1), ("{\"id\":7}", "share"));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn refused_row_fails_its_batch_where_none_may_be_rejected() {
        let failed = |rejecting| projected(&batch(10, &[3], &[]), rejecting).map(|_| ()).unwrap_err().code().to_owned();
        assert_eq!(failed(None), "DK-KIT-111");
        assert_eq!(failed(rejecting(0)), "DK-RUN-072");
    }

    #[test]
    fn batch_without_refused_rows_is_projected_once() {
        let batch = batch(10, &[], &[]);
        assert!(projected(&batch, rejecting(1)).unwrap().rejected.is_empty());
    }
}

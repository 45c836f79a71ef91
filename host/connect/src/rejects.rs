//! Batches without the rows that have a bad value, and what these rows say of themselves.

use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use datakit_model::Fault;
use datakit_model::rejects::{Mark, NotSplit, Noted, RejectedRow, Split, TooManyRejected};

use crate::changes::loaded::{Hasher, with_bad_value};
use crate::changes::roles::{KEPT_COLUMN, KNOWN_COLUMN, OPERATION_COLUMN};

/// Takes the noted rows out of a batch. Nothing is done where there are none.
///
/// # Errors
/// More rows are bad than may be.
pub fn split<E: Fault + From<TooManyRejected>>(
    noted: &mut Noted,
    batch: RecordBatch,
) -> Result<(RecordBatch, Vec<RejectedRow>), E> {
    if noted.is_empty() {
        return Ok((batch, Vec::new()));
    }
    let internal = |error: ArrowError| E::internal(format!("rows cannot be rejected: {error}"));
    let split = noted.split(&batch).map_err(|error| match error {
        NotSplit::TooMany(error) => E::from(error),
        NotSplit::Arrow(error) => internal(error),
    })?;
    described(split).map_err(internal)
}

/// With what columns of the host say of the rows.
fn described(split: Split) -> Result<(RecordBatch, Vec<RejectedRow>), ArrowError> {
    let Split { accepted, rejected, mut rows, texts } = split;
    if let Some(operations) = rejected.column_by_name(OPERATION_COLUMN).and_then(|it| it.as_string_opt::<i32>()) {
        for (row, operation) in rows.iter_mut().zip(operations.iter()) {
            row.operation = operation.map(str::to_owned);
        }
    }
    if let (Some(known), Some(kept)) = (flags(&rejected, KNOWN_COLUMN), flags(&rejected, KEPT_COLUMN)) {
        let hashes = Hasher::new(&rejected.schema(), &[KNOWN_COLUMN, KEPT_COLUMN])?.hashes(&rejected)?;
        for (at, ((row, text), hash)) in rows.iter_mut().zip(&texts).zip(hashes).enumerate() {
            let hash = with_bad_value(hash, row.column.as_deref().unwrap_or_default(), text);
            row.mark = Some(Mark { known: is_set(known, at), kept: is_set(kept, at), hash });
        }
    }
    Ok((accepted, rows))
}

fn flags<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b BooleanArray> {
    batch.column_by_name(name)?.as_boolean_opt()
}

fn is_set(flags: &BooleanArray, row: usize) -> bool {
    flags.is_valid(row) && flags.value(row)
}

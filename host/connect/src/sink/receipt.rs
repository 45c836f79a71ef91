//! What a sink compares before its commit. A difference is a mismatch, after which nothing may become visible.

use datakit_model::receipt::{Checksum, Delivered};

use super::SinkError;

/// Rows that were delivered, against those that the sink holds.
///
/// # Errors
/// [`SinkError::ReceiptRows`], [`SinkError::ReceiptValues`]. Values are compared where both sides have a checksum.
pub fn compare(location: &str, delivered: &Delivered, held: &Delivered) -> Result<(), SinkError> {
    count(location, "rows", delivered.rows, held.rows)?;
    match delivered.checksum.zip(held.checksum) {
        Some((expected, found)) => compare_values(location, held.rows, expected, found),
        None => Ok(()),
    }
}

fn compare_values(location: &str, rows: u64, expected: Checksum, found: Checksum) -> Result<(), SinkError> {
    if expected == found {
        return Ok(());
    }
    let difference = format!("the checksum of {rows} rows is {found}, not {expected}");
    Err(SinkError::ReceiptValues { location: location.to_owned(), difference })
}

/// A number of rows of some sort that there should be, against the one that there is.
///
/// # Errors
/// [`SinkError::ReceiptRows`].
pub fn count(location: &str, what: &'static str, expected: u64, found: u64) -> Result<(), SinkError> {
    if expected == found {
        return Ok(());
    }
    Err(SinkError::ReceiptRows { location: location.to_owned(), what, expected, found })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, RecordBatch};
    use datakit_model::receipt::Tally;
    use datakit_model::{Diagnostic as _, Failure, ReceiptLevel};

    use super::*;

    fn held(level: ReceiptLevel, values: &[i32]) -> Delivered {
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(values.to_vec())) as _)]).unwrap();
        let mut tally = Tally::new(level, &batch.schema()).unwrap().unwrap();
        tally.add(&batch).unwrap();
        tally.delivered()
    }

    #[test]
    fn difference_is_a_mismatch_with_its_own_code() {
        use ReceiptLevel::{Count, Full};
        for (delivered, there, code) in [
            (held(Count, &[1, 2]), held(Count, &[3, 4]), None),
            (held(Full, &[1, 2]), held(Full, &[2, 1]), None),
            (held(Full, &[1, 2]), held(Count, &[3, 4]), None),
            (held(Count, &[1, 2]), held(Count, &[1]), Some("DK-SNK-070")),
            (held(Full, &[1, 2]), held(Full, &[1, 2, 2]), Some("DK-SNK-070")),
            (held(Full, &[1, 2]), held(Full, &[1, 3]), Some("DK-SNK-071")),
        ] {
            let error = compare("t", &delivered, &there).err();
            assert_eq!(error.as_ref().map(|error| error.code().into_owned()).as_deref(), code);
            assert!(error.is_none_or(|error| Failure::from(error).is_mismatch()));
        }
    }
}

//! Bad values of a batch. They are noted one by one; rows are taken out once, and only of a batch that has some.

use std::collections::BTreeMap;

use arrow::array::{BooleanBufferBuilder, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::error::ArrowError;

use super::{RejectedRow, Rejecting, TooManyRejected, text};

/// Rows of which errors may name the first.
const MAX_REMEMBERED_ROWS: usize = 4;

/// What is bad in the batch that is at hand, and how many rows were rejected before it.
#[derive(Debug)]
pub struct Noted {
    policy: Rejecting,
    /// By row of the batch. A row's values stand in the order in which they were found.
    rows: BTreeMap<usize, Vec<BadValue>>,
    /// Rows rejected before.
    before: u64,
    /// The first of them.
    first: Vec<RejectedRow>,
}

#[derive(Debug)]
struct BadValue {
    column: String,
    reason: String,
    /// None: it has no text.
    text: Option<String>,
}

/// A batch without its bad rows.
#[derive(Debug)]
pub struct Split {
    /// The rows that are left.
    pub accepted: RecordBatch,
    /// The others, with something in the place of each bad value.
    pub rejected: RecordBatch,
    /// What is known of these, in the same order.
    pub rows: Vec<RejectedRow>,
    /// The bad value of each as text, whether it is masked or not.
    pub texts: Vec<String>,
}

/// Why a batch cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum NotSplit {
    /// More rows are bad than may be.
    #[error(transparent)]
    TooMany(#[from] TooManyRejected),
    /// A bug.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

impl Noted {
    /// Nothing yet.
    #[must_use]
    pub fn new(policy: Rejecting) -> Self {
        Self { policy, rows: BTreeMap::new(), before: 0, first: Vec::new() }
    }

    /// Whether no row of the batch is bad.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether more rows are bad than may be: [`Self::split`] will say so.
    #[must_use]
    pub fn is_beyond(&self) -> bool {
        self.before + self.rows.len() as u64 > self.policy.bounds.max_rows
    }

    /// Notes a bad value, by its row in the batch. With one row more than the bound the table fails anyway: further ones are not
    /// noted.
    pub fn note(&mut self, row: usize, column: &str, reason: String, text: Option<String>) {
        if self.is_beyond() && !self.rows.contains_key(&row) {
            return;
        }
        let text = text.map(text::cut);
        self.rows.entry(row).or_default().push(BadValue { column: column.to_owned(), reason, text });
    }

    /// Takes the bad rows out of the batch.
    ///
    /// # Errors
    /// More rows are bad than may be.
    pub fn split(&mut self, batch: &RecordBatch) -> Result<Split, NotSplit> {
        let bad = std::mem::take(&mut self.rows);
        let mut accepts = BooleanBufferBuilder::new(batch.num_rows());
        accepts.append_n(batch.num_rows(), true);
        bad.keys().for_each(|row| accepts.set_bit(*row, false));
        let places: UInt64Array = bad.keys().map(|row| *row as u64).collect();
        let rejected = take_record_batch(batch, &places)?;
        let (mut rows, mut texts) = (Vec::with_capacity(bad.len()), Vec::with_capacity(bad.len()));
        for (at, values) in bad.into_values().enumerate() {
            let key = text::key(&rejected, at, &self.policy.keys, |column| self.shown(&values, column));
            let Some(first) = values.into_iter().next() else { continue };
            texts.push(first.text.clone().unwrap_or_default());
            rows.push(self.row(first, key));
        }
        self.before += rows.len() as u64;
        let missing = MAX_REMEMBERED_ROWS.saturating_sub(self.first.len());
        self.first.extend(rows.iter().take(missing).cloned());
        self.policy.bounds.check_rows(self.before, &self.first)?;
        let accepted = filter_record_batch(batch, &arrow::array::BooleanArray::new(accepts.finish(), None))?;
        Ok(Split { accepted, rejected, rows, texts })
    }

    /// What a key shows in the place of a bad value; none: the value is not bad.
    fn shown<'v>(&self, values: &'v [BadValue], column: &str) -> Option<Option<&'v str>> {
        let bad = values.iter().find(|value| value.column == column)?;
        Some(bad.text.as_deref().filter(|_| !self.policy.bounds.masks_values()))
    }

    fn row(&self, bad: BadValue, key: Option<String>) -> RejectedRow {
        let BadValue { column, reason, text } = bad;
        let value = text.filter(|_| !self.policy.bounds.masks_values());
        RejectedRow { key, reason, column: Some(column), value, ..RejectedRow::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int32Array, StringArray};

    use super::*;
    use crate::rejects::{RejectBounds, RejectedValues};

    fn noted(max_rows: u64, values: RejectedValues) -> Noted {
        let bounds = RejectBounds { max_rows, max_share: 1.0, values };
        Noted::new(Rejecting { bounds, keys: Arc::from(["id".to_owned(), "born".to_owned()]) })
    }

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int32Array::from(vec![1, 2, 3]))),
            ("born", Arc::new(Date32Array::from(vec![Some(0), None, Some(1)]))),
            ("note", Arc::new(StringArray::from(vec!["a", "", "c"]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn bad_rows_are_taken_out_and_named() {
        let mut noted = noted(2, RejectedValues::Text);
        noted.note(1, "born", "an infinite date".to_owned(), Some("infinity".to_owned()));
        noted.note(1, "note", "not UTF-8".to_owned(), Some("\\xff".to_owned()));
        let split = noted.split(&batch()).unwrap();
        assert_eq!(split.accepted, take_record_batch(&batch(), &UInt64Array::from(vec![0, 2])).unwrap());
        assert_eq!(split.rejected, batch().slice(1, 1));
        let expected = RejectedRow {
            key: Some("{\"id\":2,\"born\":\"infinity\"}".to_owned()),
            column: Some("born".to_owned()),
            reason: "an infinite date".to_owned(),
            value: Some("infinity".to_owned()),
            ..RejectedRow::default()
        };
        assert_eq!(split.rows, [expected], "one row, however many of its values are bad");
        assert!(noted.is_empty(), "the next batch has its own");
    }

    #[test]
    fn masked_value_is_kept_nowhere() {
        let mut noted = noted(2, RejectedValues::Masked);
        noted.note(1, "born", "an infinite date".to_owned(), Some("infinity".to_owned()));
        let row = noted.split(&batch()).unwrap().rows.remove(0);
        assert_eq!((row.key.as_deref(), row.value), (Some("{\"id\":2,\"born\":null}"), None));
    }

    #[test]
    fn more_rows_than_allowed_fail_over_batches() {
        let mut noted = noted(1, RejectedValues::Text);
        noted.note(0, "note", "bad".to_owned(), None);
        noted.split(&batch()).unwrap();
        noted.note(2, "note", "worse".to_owned(), None);
        let error = noted.split(&batch()).unwrap_err().to_string();
        assert!(error.starts_with("at least 2 rows are bad, and `rejected` of the ingest allows 1 rows"), "{error}");
        assert!(error.contains("column `note`: bad") && error.contains("column `note`: worse"), "{error}");
    }

    #[test]
    fn rows_far_beyond_the_bound_are_not_held() {
        let mut noted = noted(1, RejectedValues::Text);
        (0..1_000).for_each(|row| noted.note(row, "note", "bad".to_owned(), None));
        assert_eq!(noted.rows.len(), 2);
    }
}

//! Rows that are rejected, and how many of a table may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datakit_model::TableId;
use datakit_model::source::{RejectedRow, Rejecting};

use super::csv::RAW_BYTES;
use super::error::FilesError;

/// How many rows of each part of a file were rejected, by run and table: a part that is read again counts once.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<HashMap<(String, TableId), Parts>>);

type Parts = HashMap<(String, u64), u64>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rejected rows that are not yet taken by whoever reads.
pub(super) type Waiting = Arc<Mutex<Vec<RejectedRow>>>;

/// Takes what waits.
pub(super) fn taken(waiting: &Waiting) -> Vec<RejectedRow> {
    std::mem::take(&mut locked(waiting))
}

/// The rows of one request that are rejected.
pub(super) struct Rejects {
    tally: Arc<Tally>,
    table: (String, TableId),
    limit: u64,
    /// Rows and values are kept nowhere.
    masks_values: bool,
    waiting: Waiting,
    part: (String, u64),
    file: Arc<str>,
}

impl Rejects {
    pub(super) fn new(tally: Arc<Tally>, run_id: &str, table: TableId, limit: u64) -> Self {
        let (part, waiting) = ((String::new(), 0), Waiting::default());
        let table = (run_id.to_owned(), table);
        Self { tally, table, limit, masks_values: false, waiting, part, file: "".into() }
    }

    /// By what the operator says, where the operator says something: whatever the datakit allows.
    pub(super) fn held_to(self, rejecting: Option<&Rejecting>) -> Self {
        match rejecting {
            Some(Rejecting { bounds, .. }) => {
                Self { limit: bounds.max_rows, masks_values: bounds.masks_values(), ..self }
            }
            None => self,
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        Arc::clone(&self.waiting)
    }

    /// From here on rows are those of this part of a file.
    pub(super) fn begin(&mut self, path: &str, start: u64) {
        self.part = (path.to_owned(), start);
        self.file = path.into();
        if let Some(parts) = locked(&self.tally.0).get_mut(&self.table) {
            parts.remove(&self.part);
        }
    }

    /// Rejects a row, or says that there are too many. One of several lines counts as so many: a quote too many may have
    /// taken other rows into it.
    pub(super) fn reject(&mut self, line: u64, lines: u64, reason: String, raw: &[u8]) -> Result<(), FilesError> {
        let count = {
            let mut tally = locked(&self.tally.0);
            let parts = tally.entry(self.table.clone()).or_default();
            *parts.entry(self.part.clone()).or_default() += lines;
            parts.values().sum::<u64>()
        };
        if count > self.limit {
            let reason = if self.masks_values { without_value(&reason) } else { reason };
            let several =
                if lines > 1 { format!("; it has {lines} lines, and counts as so many rows") } else { String::new() };
            let reason = match (self.limit, count - lines) {
                (0, _) => reason,
                (_, 0) => format!("{reason}{several}"),
                (_, 1) => format!("{reason}{several}; 1 row of the table had been rejected before it"),
                (_, before) => format!("{reason}{several}; {before} rows of the table had been rejected before it"),
            };
            return Err(FilesError::BadRow { path: self.part.0.clone(), line, reason, limit: self.limit });
        }
        let raw = &raw[..raw.len().min(RAW_BYTES)];
        let (reason, text) = match self.masks_values {
            true => (without_value(&reason), None),
            false => (reason, Some(String::from_utf8_lossy(raw).replace('\0', "\u{fffd}"))),
        };
        locked(&self.waiting).push(RejectedRow::of_file(Arc::clone(&self.file), line, reason, text));
        Ok(())
    }
}

/// A reason that does not quote the value: ``column `a`: `x` is not a date`` says ``column `a`: the value is not a date``.
fn without_value(reason: &str) -> String {
    let quoted = reason.split_once("`: `").and_then(|(column, rest)| Some((column, rest.rsplit_once("` is not ")?.1)));
    match quoted {
        Some((column, what)) => format!("{column}`: the value is not {what}"),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_read_again_counts_once() {
        let tally = Arc::new(Tally::default());
        let rejects = |limit| Rejects::new(Arc::clone(&tally), "run", TableId::new("files", "t"), limit);
        for _ in 0..3 {
            let mut first = rejects(2);
            first.begin("a.csv", 0);
            first.reject(7, 1, "bad".into(), b"x").unwrap();
            assert_eq!(taken(&first.waiting()).len(), 1);
        }
        let mut second = rejects(2);
        second.begin("b.csv", 0);
        second.reject(1, 1, "bad".into(), b"\xffy\0").unwrap();
        let error = second.reject(2, 1, "worse".into(), b"z").unwrap_err();
        assert_eq!(error.to_string(), "`b.csv`, line 2: worse; 2 rows of the table had been rejected before it");
        assert_eq!(taken(&second.waiting())[0].text.as_deref(), Some("\u{fffd}y\u{fffd}"));
        let mut third = Rejects::new(Arc::default(), "run", TableId::new("files", "t"), 4);
        third.begin("c.csv", 0);
        third.reject(1, 3, "long".into(), b"x").unwrap();
        let error = third.reject(4, 2, "long".into(), b"x").unwrap_err().to_string();
        assert_eq!(
            error,
            "`c.csv`, line 4: long; it has 2 lines, and counts as so many rows; 3 rows of the table had been rejected before it"
        );
        let mut other = Rejects::new(tally, "another run", TableId::new("files", "t"), 1);
        other.begin("a.csv", 0);
        assert!(other.reject(1, 1, "bad".into(), b"").is_ok());
    }
    #[test]
    fn operator_has_the_last_word_and_masks_values() {
        use datakit_model::rejects::{RejectBounds, RejectedValues};

        let bounds = RejectBounds { max_rows: 1, max_share: 1.0, values: RejectedValues::Masked };
        let rejecting = Rejecting { bounds, keys: Arc::from([]) };
        let of_datakit = Rejects::new(Arc::default(), "run", TableId::new("files", "t"), 100);
        let mut rejects = of_datakit.held_to(Some(&rejecting));
        rejects.begin("a.csv", 0);
        rejects.reject(1, 1, "column `a`: `s` is not ` is not a date".into(), b"secret").unwrap();
        let row = taken(&rejects.waiting()).remove(0);
        assert_eq!((row.reason.as_str(), row.text), ("column `a`: the value is not a date", None));
        let error = rejects.reject(2, 1, "column `a`: `secret` is not a date".into(), b"").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert_eq!(
            without_value("the record has 2 fields, and 3 are expected"),
            "the record has 2 fields, and 3 are expected"
        );
    }
}

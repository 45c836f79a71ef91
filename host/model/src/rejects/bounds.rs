//! How many rows may be rejected.

use std::borrow::Cow;
use std::sync::Arc;

use super::RejectedRow;
use crate::failure::{Diagnostic, Kind};
use crate::printable;

/// An error names so many rejected rows.
const MAX_NAMED_ROWS: usize = 3;

/// What becomes of the bad values themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RejectedValues {
    /// They are kept as text.
    #[default]
    Text,
    /// They are kept nowhere.
    Masked,
}

/// How many rows of a table and load may be rejected, as the operator says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RejectBounds {
    /// The most rows.
    pub max_rows: u64,
    /// The greatest share of the rows that are read, from 0 to 1.
    pub max_share: f64,
    /// What becomes of the values.
    pub values: RejectedValues,
}

/// What readers of one table may reject.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejecting {
    /// How many rows.
    pub bounds: RejectBounds,
    /// The source's columns that identify a row, in key order; empty: no key.
    pub keys: Arc<[String]>,
}

/// More rows are bad than may be rejected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TooManyRejected {
    /// By their number.
    #[error("at least {found} rows are bad, and `rejected` of the ingest allows {max_rows} rows of a table: {first}")]
    Rows {
        /// Bad rows so far.
        found: u64,
        /// The bound.
        max_rows: u64,
        /// The first of them.
        first: String,
    },
    /// By their share of all rows.
    #[error(
        "{found} of {read} rows are bad, a share of {:.6}, and `rejected` of the ingest allows a share of {max_share}: {first}",
        share(*found, *read)
    )]
    Share {
        /// Bad rows.
        found: u64,
        /// All rows, bad ones included.
        read: u64,
        /// The bound.
        max_share: f64,
        /// The first of them.
        first: String,
    },
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits than a double has")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl RejectBounds {
    /// Whether values are kept nowhere.
    #[must_use]
    pub fn masks_values(&self) -> bool {
        self.values == RejectedValues::Masked
    }

    /// Holds rejected rows of a table to the bound on their number. `found` may be more than are at hand.
    ///
    /// # Errors
    /// [`TooManyRejected::Rows`]
    pub fn check_rows(&self, found: u64, rows: &[RejectedRow]) -> Result<(), TooManyRejected> {
        if found <= self.max_rows {
            return Ok(());
        }
        Err(TooManyRejected::Rows { found, max_rows: self.max_rows, first: self.first(rows) })
    }

    /// Holds all rejected rows of a load of a table to both bounds. `accepted`: its other rows.
    ///
    /// # Errors
    /// [`TooManyRejected`]
    pub fn check(&self, accepted: u64, rows: &[RejectedRow]) -> Result<(), TooManyRejected> {
        let found = rows.len() as u64;
        self.check_rows(found, rows)?;
        let read = accepted.saturating_add(found);
        if found == 0 || share(found, read) <= self.max_share {
            return Ok(());
        }
        Err(TooManyRejected::Share { found, read, max_share: self.max_share, first: self.first(rows) })
    }

    /// The first rows, as an error names them: without values, and where values are masked without keys.
    fn first(&self, rows: &[RejectedRow]) -> String {
        let mut named: Vec<String> = rows.iter().take(MAX_NAMED_ROWS).map(|row| self.name(row)).collect();
        if rows.len() > MAX_NAMED_ROWS {
            named.push("…".to_owned());
        }
        named.join("; ")
    }

    fn name(&self, row: &RejectedRow) -> String {
        let place = match (&row.file, row.line, &row.key) {
            (Some(file), Some(line), _) => format!("`{file}`, line {line}, "),
            (_, _, Some(key)) if !self.masks_values() => format!("key {key}, "),
            _ => String::new(),
        };
        let column = row.column.as_ref().map(|column| format!("column `{column}`: ")).unwrap_or_default();
        printable::line(&format!("{place}{column}{}", row.reason)).into_owned()
    }
}

impl Diagnostic for TooManyRejected {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Rows { .. } => "DK-RUN-072",
            Self::Share { .. } => "DK-RUN-073",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        Kind::Data
    }

    fn hint(&self) -> Option<String> {
        let setting = match self {
            Self::Rows { .. } => "max_rows",
            Self::Share { .. } => "max_share",
        };
        Some(format!(
            "repair the values at the source, or raise `{setting}` of `rejected` in the ingest; nothing of the table was committed"
        ))
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Rows { found, max_rows, .. } => {
                vec![pair("rejected", found.to_string()), pair("max_rows", max_rows.to_string())]
            }
            Self::Share { found, read, max_share, .. } => vec![
                pair("rejected", found.to_string()),
                pair("read", read.to_string()),
                pair("max_share", max_share.to_string()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(max_rows: u64, max_share: f64) -> RejectBounds {
        RejectBounds { max_rows, max_share, values: RejectedValues::Text }
    }

    fn row(id: u32) -> RejectedRow {
        let (key, column) = (Some(format!("{{\"id\":{id}}}")), Some("born".to_owned()));
        RejectedRow { key, column, reason: "an infinite date".to_owned(), ..RejectedRow::default() }
    }

    #[test]
    fn number_of_rows_is_bounded() {
        let rows: Vec<RejectedRow> = (1..=4).map(row).collect();
        assert_eq!(bounds(4, 1.0).check(0, &rows), Ok(()));
        let error = bounds(3, 1.0).check(1_000, &rows).unwrap_err();
        assert_eq!(
            (error.code().as_ref(), error.to_string().as_str()),
            (
                "DK-RUN-072",
                "at least 4 rows are bad, and `rejected` of the ingest allows 3 rows of a table: key {\"id\":1}, column `born`: an \
                 infinite date; key {\"id\":2}, column `born`: an infinite date; key {\"id\":3}, column `born`: an infinite date; …"
            )
        );
    }

    #[test]
    fn share_of_rows_is_bounded() {
        assert_eq!(bounds(10, 0.01).check(99, &[row(1)]), Ok(()));
        assert_eq!(bounds(0, 0.0).check(99, &[]), Ok(()));
        let error = bounds(10, 0.01).check(98, &[row(1)]).unwrap_err();
        assert_eq!(
            (error.code().as_ref(), error.to_string().as_str()),
            (
                "DK-RUN-073",
                "1 of 99 rows are bad, a share of 0.010101, and `rejected` of the ingest allows a share of 0.01: key {\"id\":1}, column \
                 `born`: an infinite date"
            )
        );
    }

    #[test]
    fn masked_values_leave_keys_out_of_errors() {
        let masked = RejectBounds { values: RejectedValues::Masked, ..bounds(0, 1.0) };
        let text = masked.check(0, &[row(1)]).unwrap_err().to_string();
        assert!(text.ends_with("a table: column `born`: an infinite date"), "{text}");
        let file = RejectedRow::of_file("a.csv".into(), 3, "too few fields".to_owned(), None);
        let text = masked.check(0, &[file]).unwrap_err().to_string();
        assert!(text.ends_with("a table: `a.csv`, line 3, too few fields"), "{text}");
    }
}

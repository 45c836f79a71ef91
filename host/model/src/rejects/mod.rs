//! Rows that are rejected instead of failing their table, and how many of a table may be (docs/rejected-rows.md).
//!
//! | module | about |
//! |---|---|
//! | `bounds` | what the operator allows, and the error beyond it |
//! | `noted` | bad values of a batch, by which its rows are taken out |
//! | [`text`] | values and keys as text |

mod bounds;
mod noted;
pub mod text;

use std::sync::Arc;

pub use bounds::{RejectBounds, RejectedValues, Rejecting, TooManyRejected};
pub use noted::{NotSplit, Noted, Split};
use serde::{Deserialize, Serialize};

use crate::memory::{ByteLimit, Charge, Overfull};

/// The most bytes of a value, of one column of a key, or of a row of a file that are kept as text.
pub const MAX_TEXT_BYTES: usize = 1024;

/// A row that is not a row of its table: what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RejectedRow {
    /// The file, by its path below the connection's root; none: the row is not of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<str>>,
    /// The line it begins at, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
    /// How the row of a file reads, cut to a bound; what is no text is replaced. None: masked, or the row is not of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The values of the key's columns, a JSON object; none: no key is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What happened to the row, where it is of a table's changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The column whose value is bad; none: the row as a whole is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The bad value as text, cut to a bound; none: masked, or it has no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where the row stands in the window of a watermark; none: it is read by another strategy. It has no meaning outside of the
    /// reader.
    #[serde(skip)]
    pub mark: Option<Mark>,
}

/// Where a rejected row stands in the window of a watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The last load may have read it.
    pub known: bool,
    /// The next load reads it again.
    pub kept: bool,
    /// Of all of its values.
    pub hash: u128,
}

impl RejectedRow {
    /// A row of a file.
    #[must_use]
    pub fn of_file(file: Arc<str>, line: u64, reason: String, text: Option<String>) -> Self {
        Self { file: Some(file), line: Some(line), reason, text, ..Self::default() }
    }

    /// Bytes of its texts.
    fn text_bytes(&self) -> usize {
        let texts = [&self.text, &self.key, &self.operation, &self.column, &self.value];
        self.reason.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// Rejected rows, with their share of what the run may hold of them. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Rejected {
    rows: Vec<RejectedRow>,
    charges: Vec<Arc<Charge>>,
}

impl Rejected {
    /// What a row takes besides its texts, in bytes.
    const ROW_BYTES: u64 = 256;

    /// These rows, charged to nothing yet.
    #[must_use]
    pub fn new(rows: Vec<RejectedRow>) -> Self {
        Self { rows, charges: Vec::new() }
    }

    /// The same rows, charged to `limit`.
    ///
    /// # Errors
    /// The limit.
    pub fn charged(mut self, limit: &ByteLimit) -> Result<Self, Overfull> {
        if !self.rows.is_empty() {
            let bytes = self.rows.iter().map(|row| row.text_bytes() as u64 + Self::ROW_BYTES).sum();
            self.charges.push(Arc::new(limit.charge(bytes)?));
        }
        Ok(self)
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[RejectedRow] {
        &self.rows
    }

    /// The rows, to be changed in place. Their texts may only become shorter.
    pub fn rows_mut(&mut self) -> &mut [RejectedRow] {
        &mut self.rows
    }

    /// Keeps the rows of which this holds.
    pub fn retain(&mut self, keeps: impl FnMut(&RejectedRow) -> bool) {
        self.rows.retain(keeps);
    }

    /// Takes others in.
    pub fn append(&mut self, mut more: Self) {
        self.rows.append(&mut more.rows);
        self.charges.append(&mut more.charges);
    }
}

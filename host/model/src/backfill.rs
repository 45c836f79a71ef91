//! What a backfill did (docs/backfill.md).

use serde::{Deserialize, Serialize};

/// Columns of rows that were there got the values that the source has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Backfilled {
    /// The columns: those that were asked for, then those that are made of them.
    pub columns: Vec<String>,
    /// Rows by what became of them; none: the answer to the commit was lost, and nobody counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<BackfilledRows>,
}

/// Rows by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BackfilledRows {
    /// Rows of the table that got other values.
    pub filled: u64,
    /// Rows of the table that had the values already.
    pub unchanged: u64,
    /// Rows of the source that the table does not have: the next load brings them.
    pub not_in_table: u64,
    /// Rows of the table that the source does not have: they keep their values. None: the table's rows are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_in_source: Option<u64>,
}

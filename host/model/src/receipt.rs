//! Receipts: what a source delivered against what a sink holds, compared before the rows become visible (docs/receipts.md).

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

pub use checksum::{Checksum, RowChecksum, ValueBytes, has_same_values, one_zero};
pub use texts::{times_of_texts, uuids_of_texts};

mod checksum;
mod texts;

/// What is compared before the rows of a load become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReceiptLevel {
    /// Nothing.
    Off,
    /// Rows and files.
    #[default]
    Count,
    /// Every value as well.
    Full,
}

impl std::fmt::Display for ReceiptLevel {
    /// As in the warehouse file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Count => "count",
            Self::Full => "full",
        })
    }
}

/// Rows on their way to a sink, or as a sink holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// How many.
    pub rows: u64,
    /// Over all of their values; none: only rows are counted.
    pub checksum: Option<Checksum>,
}

impl Delivered {
    /// The level at which these can be compared.
    #[must_use]
    pub fn level(&self) -> ReceiptLevel {
        if self.checksum.is_some() { ReceiptLevel::Full } else { ReceiptLevel::Count }
    }

    /// These rows and others. Where one side has no checksum, the sum has none.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let checksum = self.checksum.zip(other.checksum).map(|(one, other)| one.and(other));
        Self { rows: self.rows + other.rows, checksum }
    }
}

/// Counts rows as they pass.
#[derive(Debug)]
pub struct Tally {
    rows: u64,
    values: Option<RowChecksum>,
}

impl Tally {
    /// Of rows of a schema; none where nothing is compared.
    ///
    /// # Errors
    /// A type whose values cannot be compared.
    pub fn new(level: ReceiptLevel, schema: &Schema) -> Result<Option<Self>, ArrowError> {
        let values = match level {
            ReceiptLevel::Off => return Ok(None),
            ReceiptLevel::Count => None,
            ReceiptLevel::Full => Some(RowChecksum::new(schema)?),
        };
        Ok(Some(Self { rows: 0, values }))
    }

    /// Adds the rows of a batch of that schema.
    ///
    /// # Errors
    /// A batch of another schema.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows() as u64;
        self.values.as_mut().map_or(Ok(()), |values| values.add(batch.columns()))
    }

    /// All rows so far.
    #[must_use]
    pub fn delivered(&self) -> Delivered {
        Delivered { rows: self.rows, checksum: self.values.as_ref().map(RowChecksum::sum) }
    }
}

/// What a commit was held against. A commit without one was not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receipt {
    /// What was compared.
    pub level: ReceiptLevel,
    /// Rows that the source delivered: those of the load, and rejected ones.
    pub delivered: u64,
    /// Rows of the load as the sink counts them. Of a merge: rows of the load's keys that are there.
    pub held: u64,
    /// Rows that were rejected. They are in a table of their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
    /// What a merge did; none: the load does not merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergedRows>,
    /// Of the rows of the load, 32 hexadecimal digits; none: only rows were counted, or the load merges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl Receipt {
    /// Of rows that the sink holds as they were delivered.
    #[must_use]
    pub fn new(delivered: &Delivered) -> Self {
        Self {
            level: delivered.level(),
            delivered: delivered.rows,
            held: delivered.rows,
            rejected: 0,
            merged: None,
            checksum: delivered.checksum.map(|checksum| checksum.to_string()),
        }
    }

    /// Of a load of which so many rows were rejected besides.
    #[must_use]
    pub fn with_rejected(self, rejected: u64) -> Self {
        Self { delivered: self.delivered + rejected, rejected, ..self }
    }

    /// Of rows that were merged by key.
    #[must_use]
    pub fn of_merge(delivered: &Delivered, merged: MergedRows) -> Self {
        let held = merged.inserted + merged.updated + merged.unchanged;
        Self { held, merged: Some(merged), checksum: None, ..Self::new(delivered) }
    }
}

/// What a merge did, in rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MergedRows {
    /// Keys that were not there.
    pub inserted: u64,
    /// Keys whose row was replaced.
    pub updated: u64,
    /// Keys whose row is gone.
    pub deleted: u64,
    /// Of a backfill: keys whose row has the values already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unchanged: u64,
    /// Of a backfill: keys of the source that are not there, and are left to the next load.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

/// Whether a receipt leaves a count out.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_without_a_checksum_on_one_side_has_none() {
        let with = Delivered { rows: 2, checksum: Some(Checksum::default()) };
        let without = Delivered { rows: 1, checksum: None };
        assert_eq!(with.and(without), Delivered { rows: 3, checksum: None });
        assert_eq!(with.and(with), Delivered { rows: 4, checksum: Some(Checksum::default()) });
        assert_eq!((with.level(), without.level()), (ReceiptLevel::Full, ReceiptLevel::Count));
    }

    #[test]
    fn nothing_is_counted_where_nothing_is_compared() {
        assert!(Tally::new(ReceiptLevel::Off, &Schema::empty()).unwrap().is_none());
        let counted = Tally::new(ReceiptLevel::Count, &Schema::empty()).unwrap().unwrap();
        assert_eq!(counted.delivered(), Delivered::default());
    }
}

//! What one attempt at one partition has seen.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::checks::{Checks, Compiled, Shared, Test};
use crate::error::QualityError;
use crate::scope::Scope;
use crate::spool::Spooled;

/// Checks the batches of one attempt at one partition. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct PartitionChecks {
    checks: Shared,
    tallies: Vec<Tally>,
}

/// What a partition has found, of each rule.
#[derive(Debug)]
pub struct PartitionOutcome(pub(crate) Vec<Tally>);

/// Counts of one rule in one partition.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) checked: u64,
    pub(crate) failed: u64,
    /// The newest value, in microseconds since 1970.
    pub(crate) newest: Option<i64>,
    pub(crate) keys: Spooled,
    /// Some row is a change.
    pub(crate) has_changes: bool,
}

impl PartitionChecks {
    /// Nothing is seen yet.
    #[must_use]
    pub fn new(checks: &Arc<Checks>) -> Self {
        let tallies = checks.rules.iter().map(|_| Tally::default()).collect();
        Self { checks: Arc::clone(checks), tallies }
    }

    /// Checks a batch of the schema that the rules were compiled for.
    ///
    /// # Errors
    /// No space for temporary files, a batch of another schema.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), QualityError> {
        let failed = |source| self.checks.check_failed(source);
        let scope = Scope::of(batch, &self.checks.roles).map_err(failed)?;
        for (rule, tally) in self.checks.rules.iter().zip(&mut self.tallies) {
            tally.has_changes |= scope.has_changes;
            let counted = scope.counted(&rule.of.rule.columns, rule.is_of_key);
            if let Test::Keys(hasher, spool) = &rule.test {
                let columns = rule.columns(batch);
                let hashes = hasher.hashes(&columns, counted.as_ref()).map_err(failed)?;
                tally.checked += hashes.len() as u64;
                spool.add(&mut tally.keys, hashes).map_err(|source| self.checks.spool_failed(source))?;
            } else {
                rule.count(batch, counted.as_ref(), tally).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The partition is complete.
    ///
    /// # Errors
    /// No space for temporary files.
    pub fn finish(mut self) -> Result<PartitionOutcome, QualityError> {
        for (rule, tally) in self.checks.rules.iter().zip(&mut self.tallies) {
            if let Test::Keys(_, spool) = &rule.test {
                spool.flush(&mut tally.keys).map_err(|source| self.checks.spool_failed(source))?;
            }
        }
        Ok(PartitionOutcome(self.tallies))
    }
}

impl Compiled {
    fn columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.places.iter().map(|place| Arc::clone(batch.column(*place))).collect()
    }

    /// Rules about values, and about the load as a whole.
    fn count(&self, batch: &RecordBatch, counted: Option<&BooleanBuffer>, tally: &mut Tally) -> Result<(), ArrowError> {
        let columns = self.columns(batch);
        let mut broken: Option<BooleanBuffer> = None;
        let mut add = |of_column: Option<BooleanBuffer>| {
            broken = match (broken.take(), of_column) {
                (Some(one), Some(other)) => Some(&one | &other),
                (one, other) => one.or(other),
            };
        };
        match &self.test {
            Test::Off | Test::Keys(..) | Test::RowCount => {}
            Test::NotNull => columns.iter().for_each(|column| add(nulls(column))),
            Test::Range(bounds) => {
                for (column, bounds) in columns.iter().zip(bounds) {
                    add(not_held(&bounds.hold(column)?));
                }
            }
            Test::Pattern(pattern) => {
                columns.iter().for_each(|column| add(pattern.matches(column).as_ref().and_then(not_held)));
            }
            Test::Newest => {
                let newest = columns.first().map(newest).transpose()?.flatten();
                tally.newest = tally.newest.max(newest);
            }
        }
        let ones = |bits: &BooleanBuffer| bits.count_set_bits() as u64;
        tally.checked += counted.map_or(batch.num_rows() as u64, ones);
        if let Some(broken) = broken {
            tally.failed += counted.map_or_else(|| ones(&broken), |counted| ones(&(&broken & counted)));
        }
        Ok(())
    }
}

/// The rows whose value is null; none: no row.
fn nulls(column: &ArrayRef) -> Option<BooleanBuffer> {
    let nulls = column.logical_nulls().filter(|nulls| nulls.null_count() > 0)?;
    Some(!nulls.inner())
}

/// The rows whose value is there and not right; none: no row.
fn not_held(held: &BooleanArray) -> Option<BooleanBuffer> {
    if held.true_count() + held.null_count() == held.len() {
        return None;
    }
    let wrong = !held.values();
    Some(held.nulls().map(NullBuffer::inner).map_or_else(|| wrong.clone(), |valid| &wrong & valid))
}

/// The newest date or timestamp, in microseconds since 1970.
fn newest(column: &ArrayRef) -> Result<Option<i64>, ArrowError> {
    if let DataType::Timestamp(TimeUnit::Microsecond, _) = column.data_type() {
        return Ok(max(column.as_primitive::<TimestampMicrosecondType>()));
    }
    let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    Ok(max(micros.as_primitive::<TimestampMicrosecondType>()))
}

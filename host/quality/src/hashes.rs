//! Keys as hashes of 128 bits. Two keys of a load of 10,000,000,000 rows have the same one by chance in 1 of 10^18 loads.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datakit_columnar::KeyEncoder;
use uuid::Uuid;

use crate::checks::Checks;
use crate::error::QualityError;
use crate::spool::{KeyHash, Spooled};

/// Hashes keys of some columns. Each has seeds of its own, so that nobody can make rows whose hashes meet.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    encoder: KeyEncoder,
    types: Vec<DataType>,
    seeds: [RandomState; 2],
}

impl KeyHasher {
    pub(crate) fn new(types: Vec<DataType>) -> Result<Self, ArrowError> {
        let seeds = [RandomState::new(), RandomState::new()];
        Ok(Self { encoder: KeyEncoder::new(types.iter().cloned())?, types, seeds })
    }

    /// The hashes of rows without a null in these columns, of those that count.
    pub(crate) fn hashes(
        &self,
        columns: &[ArrayRef],
        counted: Option<&BooleanBuffer>,
    ) -> Result<Vec<KeyHash>, ArrowError> {
        let valid = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref())
        });
        let wanted = match (valid.filter(|valid| valid.null_count() > 0), counted) {
            (Some(valid), Some(counted)) => Some(valid.inner() & counted),
            (Some(valid), None) => Some(valid.inner().clone()),
            (None, counted) => counted.cloned(),
        };
        let rows = match wanted {
            None => self.encoder.rows(columns)?,
            Some(wanted) => {
                let wanted = BooleanArray::new(wanted, None);
                let columns: Result<Vec<_>, _> = columns.iter().map(|column| filter(column, &wanted)).collect();
                self.encoder.rows(&columns?)?
            }
        };
        let [first, second] = &self.seeds;
        let hash = |key: &[u8]| KeyHash::from(first.hash_one(key)) << 64 | KeyHash::from(second.hash_one(key));
        Ok(rows.iter().map(|row| hash(row.as_ref())).collect())
    }

    /// Why values of these types cannot be compared with the keys: the place of the column.
    pub(crate) fn differs(&self, schema: &Schema) -> Option<usize> {
        let mut pairs = self.types.iter().zip(schema.fields()).enumerate();
        pairs.find(|(_, (own, other))| !is_comparable(own, other.data_type())).map(|(place, _)| place)
    }

    /// The columns of a sink's batch in the types of the keys.
    fn as_keys(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        self.types.iter().zip(batch.columns()).map(|(own, column)| as_type(column, own)).collect()
    }
}

/// Whether a value of the other type that is equal becomes the same value of the first.
fn is_comparable(own: &DataType, other: &DataType) -> bool {
    let is_binary = |it: &DataType| matches!(it, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    match (own, other) {
        (own, other) if own == other => true,
        (DataType::FixedSizeBinary(16) | DataType::Time64(_), other) if other.is_string() => true,
        (DataType::Decimal128(_, own), DataType::Decimal128(_, other)) => own == other,
        (DataType::Timestamp(own, own_zone), DataType::Timestamp(other, other_zone)) => {
            own == other && own_zone.is_some() == other_zone.is_some()
        }
        (own, other) => {
            (own.is_integer() && other.is_integer())
                || (own.is_string() && other.is_string())
                || (is_binary(own) && is_binary(other))
        }
    }
}

/// Values in another type. One that the type does not have becomes null: it equals no value of that type.
fn as_type(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    match wanted {
        wanted if wanted == values.data_type() => Ok(Arc::clone(values)),
        DataType::FixedSizeBinary(16) if values.data_type().is_string() => {
            let texts = cast(values, &DataType::Utf8)?;
            let mut made = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
            for text in texts.as_string::<i32>() {
                match text.and_then(|text| Uuid::try_parse(text).ok()) {
                    Some(uuid) => made.append_value(uuid.as_bytes())?,
                    None => made.append_null(),
                }
            }
            Ok(Arc::new(made.finish()))
        }
        wanted => cast(values, wanted),
    }
}

/// The keys that a table of the sink holds, for one rule.
#[derive(Debug)]
pub struct HeldKeys {
    checks: Arc<Checks>,
    pub(crate) rule: usize,
    pub(crate) keys: Spooled,
}

impl HeldKeys {
    /// Of a rule, by its place in [`crate::KeyRead`].
    #[must_use]
    pub fn new(checks: Arc<Checks>, rule: usize) -> Self {
        Self { checks, rule, keys: Spooled::default() }
    }

    /// Adds rows of the table, of the columns that the rule asks for.
    ///
    /// # Errors
    /// Columns of a type that cannot be compared with the rule's; no space for temporary files.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), QualityError> {
        let Some((hasher, spool)) = self.checks.keys_of(self.rule) else { return Ok(()) };
        if let Some(place) = hasher.differs(batch.schema_ref()) {
            return Err(self.checks.incomparable(self.rule, place, batch.schema_ref()));
        }
        let failed = |source| self.checks.check_failed(source);
        let columns = hasher.as_keys(batch).map_err(failed)?;
        let hashes = hasher.hashes(&columns, None).map_err(failed)?;
        spool.add(&mut self.keys, hashes).map_err(|source| self.checks.spool_failed(source))
    }

    /// All rows were added.
    ///
    /// # Errors
    /// No space for temporary files.
    pub fn finish(mut self) -> Result<Self, QualityError> {
        if let Some((_, spool)) = self.checks.keys_of(self.rule) {
            spool.flush(&mut self.keys).map_err(|source| self.checks.spool_failed(source))?;
        }
        Ok(self)
    }
}

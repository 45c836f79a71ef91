//! What a row of the sink is: of which load, which change of its key, what it does not carry.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use uuid::Uuid;

use super::comparable::Comparable;

/// The operation of a row that is deleted.
const DELETE: &str = "delete";

/// Where the columns are that say what a row of the sink is.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Rows of this load alone: the place of its id, and the id as it is there.
    pub(super) load: Option<(usize, Uuid)>,
    pub(super) operation: Option<usize>,
    pub(super) missing: Option<usize>,
    pub(super) load_time: Option<usize>,
    pub(super) version: Option<usize>,
}

/// What is known of each row of a batch besides its values.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// None: all rows count.
    counts: Option<Vec<bool>>,
    operations: Option<StringArray>,
    missing: Option<StringArray>,
    load_times: Option<ArrayRef>,
    versions: Option<StringArray>,
    /// The bits of each list of missing columns.
    bits: HashMap<String, Vec<u8>>,
}

impl Facts {
    pub(super) fn of(batch: &RecordBatch, told: &Told, comparable: &Comparable) -> Result<Self, ArrowError> {
        let texts = |place: Option<usize>| place.map(|place| texts(batch.column(place))).transpose();
        let missing = texts(told.missing)?;
        let counts = told.load.map(|(place, id)| is_load(batch.column(place), id)).transpose()?;
        let load_times = told.load_time.map(|place| cast(batch.column(place), &DataType::Int64)).transpose()?;
        let bits = missing.iter().flat_map(|lists| lists.iter().flatten());
        let bits: HashMap<String, Vec<u8>> = bits.fold(HashMap::new(), |mut bits, list| {
            if !bits.contains_key(list) {
                bits.insert(list.to_owned(), comparable.missing(list));
            }
            bits
        });
        Ok(Self {
            counts,
            operations: texts(told.operation)?,
            missing,
            load_times,
            versions: texts(told.version)?,
            bits,
        })
    }

    pub(super) fn counts(&self, row: usize) -> bool {
        self.counts.as_ref().is_none_or(|counts| counts.get(row).copied().unwrap_or_default())
    }

    pub(super) fn is_deleted(&self, row: usize) -> bool {
        self.operations.as_ref().is_some_and(|operations| operations.is_valid(row) && operations.value(row) == DELETE)
    }

    pub(super) fn missing(&self, row: usize) -> &[u8] {
        let list = self.missing.as_ref().filter(|lists| lists.is_valid(row)).map(|lists| lists.value(row));
        list.and_then(|list| self.bits.get(list)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The place of the row among those of its key: by the start of its load, then by its version there.
    pub(super) fn order(&self, row: usize, order: &mut Vec<u8>) {
        order.clear();
        if let Some(times) = &self.load_times {
            let micros = times.as_primitive::<Int64Type>().value(row);
            // As unsigned numbers they have the order of the signed ones.
            order.extend_from_slice(&(micros.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        }
        if let Some(versions) = &self.versions {
            order.extend_from_slice(versions.value(row).as_bytes());
        }
    }
}

fn texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// Which rows are of a load.
fn is_load(column: &ArrayRef, id: Uuid) -> Result<Vec<bool>, ArrowError> {
    if let Some(ids) = column.as_fixed_size_binary_opt() {
        return Ok(ids.iter().map(|found| found == Some(id.as_bytes().as_slice())).collect());
    }
    let id = id.hyphenated().to_string();
    Ok(texts(column)?.iter().map(|found| found == Some(id.as_str())).collect())
}

/// The newest of rows that have the id of their load and its start, with that.
pub(super) fn last_load(batch: &RecordBatch) -> Result<Option<(i64, Uuid)>, ArrowError> {
    let times = cast(batch.column(1), &DataType::Int64)?;
    let times = times.as_primitive::<Int64Type>();
    let newest = (0..times.len()).filter(|row| times.is_valid(*row)).max_by_key(|row| times.value(*row));
    let id = |row: usize| match batch.column(0).as_fixed_size_binary_opt() {
        Some(ids) => Uuid::from_slice(ids.value(row)).ok(),
        None => texts(batch.column(0)).ok().and_then(|ids| Uuid::try_parse(ids.value(row)).ok()),
    };
    Ok(newest.and_then(|row| Some((times.value(row), id(row)?))))
}

//! The columns that a merge goes by, and what each row of a batch does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datakit_model::sink::Target;

use crate::changes::roles::Operation;
use crate::sink::SinkError;

const OPERATIONS: [Operation; 5] =
    [Operation::Read, Operation::Insert, Operation::Update, Operation::Upsert, Operation::Delete];

const NO_OPERATION: &str = "the operation of a row is `read`, `insert`, `update`, `upsert` or `delete`";
const NO_NAMES: &str = "the missing columns of a row are a JSON array of their names";
const MISSING_KEY: &str = "a row names a column of its key as missing";

/// Places, in the rows of a load, of the columns that a merge goes by.
#[derive(Debug, Clone)]
pub struct MergeColumns {
    /// The source's table.
    table: String,
    /// The key, in its order.
    keys: Vec<usize>,
    operation: Option<usize>,
    missing: Option<usize>,
    /// By the names of the load.
    places: Arc<HashMap<String, usize>>,
}

impl MergeColumns {
    /// Of a target, before its rows get the form of the sink: that changes no place.
    ///
    /// # Errors
    /// [`SinkError::NoKey`], [`SinkError::MergeColumn`]: a column that is missing, named twice, or of a type that does not serve.
    pub fn new(target: &Target, sink: &'static str) -> Result<Self, SinkError> {
        let table = target.table.to_string();
        if target.keys.is_empty() {
            return Err(SinkError::NoKey { table, sink });
        }
        let refused = |column: &str, reason: &'static str| SinkError::MergeColumn {
            table: table.clone(),
            column: column.to_owned(),
            reason,
        };
        let place =
            |column: &str| target.schema.index_of(column).map_err(|_| refused(column, "the rows have no such column"));
        let mut keys = Vec::with_capacity(target.keys.len());
        for column in &target.keys {
            let at = place(column)?;
            if keys.contains(&at) {
                return Err(refused(column, "the key names it twice"));
            }
            let field = SortField::new(target.schema.field(at).data_type().clone());
            if !RowConverter::supports_fields(&[field]) {
                return Err(refused(column, "values of its type cannot be compared"));
            }
            keys.push(at);
        }
        let text = |column: &Option<String>| -> Result<Option<usize>, SinkError> {
            let Some(column) = column else { return Ok(None) };
            let at = place(column)?;
            let is_text = target.schema.field(at).data_type().is_string();
            if is_text { Ok(Some(at)) } else { Err(refused(column, "it is not text")) }
        };
        let operation = text(&target.roles.operation)?;
        let missing = text(&target.roles.missing_columns)?;
        let places = target.schema.fields().iter().enumerate().map(|(at, field)| (field.name().clone(), at)).collect();
        Ok(Self { table, keys, operation, missing, places: Arc::new(places) })
    }

    /// The source's table, for messages.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The key's places, in its order.
    #[must_use]
    pub fn keys(&self) -> &[usize] {
        &self.keys
    }

    /// The place of the column that says which columns a row does not carry.
    #[must_use]
    pub fn missing(&self) -> Option<usize> {
        self.missing
    }

    /// The places that say what a row does, in ascending order.
    pub(super) fn decisive(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.keys.iter().copied().chain(self.operation).chain(self.missing).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// What the rows of a batch do, which has the columns that `held` says.
    ///
    /// # Errors
    /// [`SinkError::Value`]: an unknown operation, an invalid list of missing columns.
    pub(super) fn changes(&self, batch: &RecordBatch, held: &HeldColumns) -> Result<Changes, SinkError> {
        let mut changes = Changes { deletes: Vec::new(), named: Vec::new(), sets: Vec::new() };
        if let Some(at) = self.operation.and_then(|place| held.at(place)) {
            changes.deletes = self.deletes(batch, at)?;
        }
        let missing = self.missing.and_then(|place| held.at(place));
        if let Some(at) = missing.filter(|at| batch.column(*at).null_count() < batch.num_rows()) {
            (changes.named, changes.sets) = self.named(batch, at)?;
        }
        Ok(changes)
    }

    /// The columns of the key.
    pub(super) fn key_columns(&self, batch: &RecordBatch, held: &HeldColumns) -> Vec<ArrayRef> {
        self.keys.iter().filter_map(|place| Some(Arc::clone(batch.column(held.at(*place)?)))).collect()
    }

    fn deletes(&self, batch: &RecordBatch, at: usize) -> Result<Vec<bool>, SinkError> {
        let is_delete = |(row, text): (usize, Option<&str>)| {
            let operation = OPERATIONS.iter().find(|operation| Some(operation.name()) == text);
            let operation = operation.ok_or_else(|| self.value(batch, at, row, NO_OPERATION))?;
            Ok(*operation == Operation::Delete)
        };
        self.texts(batch, at)?.iter().enumerate().map(is_delete).collect()
    }

    /// For each row the number of its set of missing columns, and the sets; the first is empty.
    fn named(&self, batch: &RecordBatch, at: usize) -> Result<(Vec<u32>, Vec<Vec<usize>>), SinkError> {
        let texts = self.texts(batch, at)?;
        let (mut numbers, mut sets) = (HashMap::new(), vec![Vec::new()]);
        let mut named = Vec::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let Some(text) = text else {
                named.push(0);
                continue;
            };
            let number = match numbers.entry(text) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(free) => {
                    sets.push(self.set(text).map_err(|reason| self.value(batch, at, row, reason))?);
                    *free.insert(u32::try_from(sets.len() - 1).unwrap_or(u32::MAX))
                }
            };
            named.push(number);
        }
        Ok((named, sets))
    }

    /// Places in ascending order. A column that the datakit has left out is not among them.
    fn set(&self, text: &str) -> Result<Vec<usize>, &'static str> {
        let names: Vec<String> = serde_json::from_str(text).map_err(|_| NO_NAMES)?;
        let mut places: Vec<usize> = names.iter().filter_map(|name| self.places.get(name).copied()).collect();
        places.sort_unstable();
        places.dedup();
        if places.iter().any(|place| self.keys.contains(place)) { Err(MISSING_KEY) } else { Ok(places) }
    }

    fn texts(&self, batch: &RecordBatch, at: usize) -> Result<StringArray, SinkError> {
        let text = cast(batch.column(at), &DataType::Utf8).map_err(|source| self.failed(source))?;
        Ok(text.as_string::<i32>().clone())
    }

    pub(super) fn failed(&self, source: arrow::error::ArrowError) -> SinkError {
        SinkError::Encode { location: self.table.clone(), source: Box::new(source) }
    }

    /// A value that the merge cannot take.
    #[must_use]
    pub fn value(&self, batch: &RecordBatch, column: usize, row: usize, reason: &'static str) -> SinkError {
        let column = batch.schema_ref().field(column).name().clone();
        SinkError::Value { table: self.table.clone(), column, row, reason }
    }
}

/// Which columns of a load a batch has.
#[derive(Debug, Clone)]
pub(super) enum HeldColumns {
    /// The first so many: all of the load.
    All(usize),
    /// Those of these places, in ascending order.
    Some(Vec<usize>),
}

impl HeldColumns {
    /// The place in the batch of a column of the load.
    pub(super) fn at(&self, place: usize) -> Option<usize> {
        match self {
            Self::All(columns) => (place < *columns).then_some(place),
            Self::Some(places) => places.binary_search(&place).ok(),
        }
    }

    /// As readers take it; none: all.
    pub(super) fn projection(&self) -> Option<&[usize]> {
        match self {
            Self::All(_) => None,
            Self::Some(places) => Some(places),
        }
    }
}

/// What the rows of a batch do.
#[derive(Debug)]
pub(super) struct Changes {
    /// Empty: none deletes.
    deletes: Vec<bool>,
    /// The number of each row's set; empty: no row names columns as missing.
    named: Vec<u32>,
    /// Places of missing columns.
    sets: Vec<Vec<usize>>,
}

impl Changes {
    /// Some row names columns as missing.
    pub(super) fn names_missing(&self) -> bool {
        self.sets.len() > 1
    }

    pub(super) fn is_delete(&self, row: usize) -> bool {
        self.deletes.get(row).copied().unwrap_or_default()
    }

    /// Places of the columns that a row does not carry, in ascending order.
    pub(super) fn missing(&self, row: usize) -> &[usize] {
        let set = self.named.get(row).and_then(|number| self.sets.get(*number as usize));
        set.map(Vec::as_slice).unwrap_or_default()
    }
}

//! Which rows of a batch count for a rule: of changes, deleted rows and columns that a row does not carry are left out.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datakit_model::datakit::RoleColumns;

/// The operation of a row that is to be deleted.
const DELETE: &str = "delete";
/// The operation of a row that was read as it is: no change.
const READ: &str = "read";

/// The columns that say what a row is.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    operation: Option<usize>,
    missing: Option<usize>,
}

impl Roles {
    pub(crate) fn new(schema: &Schema, roles: &RoleColumns) -> Self {
        let place = |name: &Option<String>| schema.index_of(name.as_deref()?).ok();
        Self { operation: place(&roles.operation), missing: place(&roles.missing_columns) }
    }
}

/// What the rows of one batch are.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    rows: usize,
    /// Some row is a change: its key may come several times.
    pub(crate) has_changes: bool,
    /// None: no row is deleted.
    not_deleted: Option<BooleanBuffer>,
    /// For each row the number of its list of missing columns; empty: all rows are whole.
    missing: Vec<usize>,
    lists: Vec<Vec<String>>,
}

impl Scope {
    pub(crate) fn of(batch: &RecordBatch, roles: &Roles) -> Result<Self, ArrowError> {
        let mut scope = Self { rows: batch.num_rows(), ..Self::default() };
        if let Some(place) = roles.operation {
            let operations = texts(batch.column(place))?;
            let not_deleted = BooleanBuffer::collect_bool(scope.rows, |row| {
                operations.is_null(row) || operations.value(row) != DELETE
            });
            scope.has_changes = operations.iter().any(|operation| operation.is_some_and(|word| word != READ));
            scope.not_deleted = (not_deleted.count_set_bits() < scope.rows).then_some(not_deleted);
        }
        let missing = roles.missing.map(|place| batch.column(place));
        if let Some(missing) = missing.filter(|missing| missing.null_count() < scope.rows) {
            scope.name_missing(&texts(missing)?);
        }
        Ok(scope)
    }

    fn name_missing(&mut self, texts: &StringArray) {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        self.lists.push(Vec::new());
        for text in texts {
            let number = text.map_or(0, |text| {
                *numbers.entry(text).or_insert_with(|| {
                    // What is not a list of names is an error of the sink.
                    self.lists.push(serde_json::from_str(text).unwrap_or_default());
                    self.lists.len() - 1
                })
            });
            self.missing.push(number);
        }
    }

    /// The rows that count for a rule about these columns; none: all. Deleted rows carry their key and nothing else.
    pub(crate) fn counted(&self, columns: &[String], is_of_key: bool) -> Option<BooleanBuffer> {
        let deletes = self.not_deleted.as_ref().filter(|_| !is_of_key);
        let lacks: Vec<bool> = self.lists.iter().map(|list| list.iter().any(|name| columns.contains(name))).collect();
        if !lacks.contains(&true) {
            return deletes.cloned();
        }
        let whole = BooleanBuffer::collect_bool(self.rows, |row| {
            !self.missing.get(row).and_then(|list| lacks.get(*list)).copied().unwrap_or_default()
        });
        Some(deletes.map_or_else(|| whole.clone(), |deletes| &whole & deletes))
    }
}

fn texts(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}

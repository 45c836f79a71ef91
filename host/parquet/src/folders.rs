//! Which folder a row belongs to, for tables that are partitioned by the values of columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;

/// A folder of a table, and the partition values that all rows in its files share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Folder {
    /// Relative to the table's root, with `/` between its parts and none at its end; empty: the root.
    pub path: String,
    /// The value of each partition column as text, in the columns' order; none: null. Empty: the table is not partitioned.
    pub values: Vec<Option<String>>,
}

/// A batch in the form of the files, and the folder of each of its rows.
#[derive(Debug)]
pub struct FormedBatch {
    /// All rows, without the partition columns.
    pub rows: RecordBatch,
    /// Every row once, each folder once.
    pub folders: Vec<(Arc<Folder>, Rows)>,
}

impl FormedBatch {
    /// All rows in one folder.
    #[must_use]
    pub fn whole(rows: RecordBatch, folder: Arc<Folder>) -> Self {
        Self { rows, folders: vec![(folder, Rows::All)] }
    }
}

/// Some rows of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Every row.
    All,
    /// Ranges in ascending order, none empty.
    Ranges(Vec<Range<usize>>),
}

impl Rows {
    /// These rows of the batch; copied only where they are several ranges.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let ranges = match self {
            Self::All => return Ok(batch.clone()),
            Self::Ranges(ranges) => ranges,
        };
        if let [only] = ranges.as_slice() {
            return Ok(batch.slice(only.start, only.len()));
        }
        let index = |row: usize| u32::try_from(row).map_err(|_| ArrowError::OffsetOverflowError(row));
        let indices = ranges.iter().cloned().flatten().map(index).collect::<Result<Vec<_>, _>>()?;
        take_record_batch(batch, &UInt32Array::from(indices))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn taken(rows: &Rows) -> Vec<i32> {
        let column: arrow::array::ArrayRef = Arc::new(Int32Array::from_iter_values(0..10));
        let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
        rows.of(&batch).unwrap().column(0).as_primitive::<Int32Type>().values().to_vec()
    }

    #[test]
    fn rows_keep_their_order() {
        assert_eq!(taken(&Rows::All), (0..10).collect::<Vec<_>>());
        assert_eq!(taken(&Rows::Ranges(vec![2..5])), [2, 3, 4]);
        assert_eq!(taken(&Rows::Ranges(vec![0..1, 3..5, 9..10])), [0, 3, 4, 9]);
    }
}

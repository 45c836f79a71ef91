//! The rows of a batch by equal values, a column at a time.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{partition, take_arrays};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// Ranges of rows in ascending order.
pub(super) type Ranges = Vec<Range<usize>>;

/// The rows that are equal in all columns, each group in the rows' order; nulls are equal.
///
/// Neighbours are compared a column at a time. What is done for each run of equal rows, and not for each column, costs little
/// where rows come sorted, and nothing where a batch has one value.
pub(super) fn equal_rows(columns: &[ArrayRef]) -> Result<Vec<Ranges>, ArrowError> {
    let runs = partition(columns)?.ranges();
    if runs.len() <= 1 {
        return Ok(vec![runs]);
    }
    let heads = take_arrays(columns, &indices(runs.iter().map(|run| run.start))?, None)?;
    let fields = heads.iter().map(|head| SortField::new(head.data_type().clone())).collect();
    let heads = RowConverter::new(fields)?.convert_columns(&heads)?;
    let mut places = HashMap::new();
    let mut groups: Vec<Ranges> = Vec::new();
    for (head, run) in heads.iter().zip(runs) {
        let place = *places.entry(head).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    Ok(groups)
}

/// Places of rows, as kernels take them.
pub(super) fn indices(rows: impl Iterator<Item = usize>) -> Result<UInt32Array, ArrowError> {
    let index = |row| u32::try_from(row).map_err(|_| ArrowError::OffsetOverflowError(row));
    Ok(rows.map(index).collect::<Result<Vec<_>, _>>()?.into())
}

//! Tables that are partitioned by the values of columns.
//!
//! - `split`: the rows of a batch by their partition values;
//! - `values`: partition values as the log holds them;
//! - `folder`: the folder of a file, from its values.

mod folder;
mod split;
mod values;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use datakit_connect::sink::SinkError;
use datakit_model::TableId;
use datakit_parquet::{Folder, FormedBatch, Rows};

use crate::schema::TableSchema;

/// How the rows of a table are partitioned, decided once a table.
#[derive(Debug)]
pub(crate) struct Partitioning {
    /// The table, for people.
    table: String,
    /// The partition columns as the table calls them, in order; empty: the table is not partitioned.
    pub(crate) columns: Vec<String>,
    /// Their places among the table's columns.
    places: Vec<usize>,
    /// The places of all other columns, which the files hold.
    kept: Vec<usize>,
    /// What the files look like.
    pub(crate) file_schema: SchemaRef,
    /// The folder of the files, where the table is not partitioned.
    root: Arc<Folder>,
}

impl Partitioning {
    /// Partitions by these columns, named as the table calls them.
    ///
    /// # Errors
    /// [`SinkError::PartitionColumn`]: a column that is missing, named twice or of a type that partitions no table; no column
    /// is left for the files.
    pub(crate) fn new(table: &TableId, schema: &TableSchema, columns: Vec<String>) -> Result<Self, SinkError> {
        let written = &schema.written;
        let refused = |column: &str, reason: String| SinkError::PartitionColumn {
            table: table.to_string(),
            column: column.to_owned(),
            reason,
        };
        let mut seen = HashSet::with_capacity(columns.len());
        let mut places = Vec::with_capacity(columns.len());
        for column in &columns {
            let Ok(place) = written.index_of(column) else {
                return Err(refused(column, "the table has no such column".to_owned()));
            };
            if !seen.insert(place) {
                return Err(refused(column, "the column is named twice".to_owned()));
            }
            let data_type = written.field(place).data_type();
            if !values::can_partition(data_type) {
                return Err(refused(column, format!("its values are {}", kind_of(data_type))));
            }
            places.push(place);
        }
        let kept: Vec<usize> = (0..written.fields().len()).filter(|place| !seen.contains(place)).collect();
        if let (true, Some(column)) = (kept.is_empty(), columns.last()) {
            return Err(refused(column, "no column would be left for the files".to_owned()));
        }
        let fields: Vec<_> = kept.iter().map(|place| Arc::clone(&written.fields()[*place])).collect();
        let file_schema = Arc::new(Schema::new(fields));
        Ok(Self { table: table.to_string(), columns, places, kept, file_schema, root: Arc::default() })
    }

    /// The rows of a batch by their folders, in the form of the files.
    ///
    /// # Errors
    /// [`SinkError::Value`]: a value that the log cannot hold.
    pub(crate) fn split(&self, batch: RecordBatch, location: &str) -> Result<FormedBatch, SinkError> {
        if self.columns.is_empty() {
            return Ok(FormedBatch::whole(batch, Arc::clone(&self.root)));
        }
        let failed = |e: ArrowError| SinkError::Encode { location: location.to_owned(), source: Box::new(e) };
        let rows = batch.project(&self.kept).map_err(failed)?;
        if batch.num_rows() == 0 {
            return Ok(FormedBatch { rows, folders: Vec::new() });
        }
        let by = batch.project(&self.places).map_err(failed)?;
        let groups = split::equal_rows(by.columns()).map_err(failed)?;
        let folders = self.folders(&by, &groups, failed)?;
        let ranges = groups.into_iter().map(Rows::Ranges);
        Ok(FormedBatch { rows, folders: folders.into_iter().zip(ranges).collect() })
    }

    /// The folder of each group, from its first row.
    fn folders(
        &self,
        by: &RecordBatch,
        groups: &[split::Ranges],
        failed: impl Fn(ArrowError) -> SinkError,
    ) -> Result<Vec<Arc<Folder>>, SinkError> {
        let firsts: Vec<usize> = groups.iter().filter_map(|ranges| Some(ranges.first()?.start)).collect();
        let indices = split::indices(firsts.iter().copied()).map_err(&failed)?;
        let mut folders = vec![Vec::with_capacity(self.columns.len()); firsts.len()];
        for (name, column) in self.columns.iter().zip(by.columns()) {
            let values = self.texts(name, column, &indices, &firsts, &failed)?;
            folders.iter_mut().zip(values).for_each(|(folder, value)| folder.push(value));
        }
        let folder = |(values, row): (Vec<Option<String>>, usize)| {
            let folder = folder::of(&self.columns, values);
            folder.map(Arc::new).map_err(|(place, reason)| self.refused(&self.columns[place], row, reason))
        };
        folders.into_iter().zip(firsts).map(folder).collect()
    }

    fn texts(
        &self,
        name: &str,
        column: &arrow::array::ArrayRef,
        indices: &UInt32Array,
        rows: &[usize],
        failed: impl Fn(ArrowError) -> SinkError,
    ) -> Result<Vec<Option<String>>, SinkError> {
        let column = take(column, indices, None).map_err(&failed)?;
        let texts = values::texts(&column).map_err(failed)?;
        texts.into_iter().zip(rows).map(|(text, row)| text.map_err(|reason| self.refused(name, *row, reason))).collect()
    }

    fn refused(&self, column: &str, row: usize, reason: &'static str) -> SinkError {
        SinkError::Value { table: self.table.clone(), column: column.to_owned(), row, reason }
    }
}

/// A type that partitions no table, in words.
fn kind_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Float32 | DataType::Float64 => "floating-point numbers".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".to_owned(),
        other => format!("of type {other}"),
    }
}

#[cfg(test)]
mod tests;

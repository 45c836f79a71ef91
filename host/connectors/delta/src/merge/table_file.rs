//! A file with rows of the table that is there, whoever wrote it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datakit_connect::sink::SinkError;
use datakit_parquet::{DataFile, FilePlan, Folder};
use delta_kernel::actions::deletion_vector::DeletionVectorDescriptor;
use deltalake::kernel::{LogicalFileView, Remove};
use deltalake::logstore::LogStoreRef;
use futures::StreamExt as _;
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector};
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use tokio::runtime::Handle;

use super::bounds;
use super::stored_file::StoredFile;
use crate::storage::{classify, system_error};

/// Rows of a batch at most, and about so many bytes of them.
const MAX_BATCH_ROWS: i64 = 8192;
const MAX_BATCH_BYTES: i64 = 4 * 1024 * 1024;

/// A file that the log names.
#[derive(Clone)]
pub(crate) struct TableFile {
    view: LogicalFileView,
    /// Of the table's partition columns.
    values: HashMap<String, Option<String>>,
}

impl TableFile {
    pub(crate) fn new(view: LogicalFileView) -> Self {
        let values = view.partition_values_map();
        Self { view, values }
    }

    /// As the log names it.
    pub(crate) fn path(&self) -> String {
        self.view.path().into_owned()
    }

    /// Its path and what says which of its rows are deleted: another one of either is another file.
    pub(crate) fn identity(&self) -> String {
        let deleted = self.view.deletion_vector_descriptor();
        let deleted = deleted.map(|deleted| format!("{:?}", (deleted.path_or_inline_dv, deleted.offset)));
        format!("{}?{}", self.view.path(), deleted.unwrap_or_default())
    }

    /// Rows that its deletion vector says are not there, by their places. Blocks.
    pub(crate) fn deleted_rows(&self, log: &LogStoreRef, location: &str) -> Result<Vec<u64>, SinkError> {
        let Some(deleted) = self.view.deletion_vector_descriptor() else { return Ok(Vec::new()) };
        let place = Place { location: location.to_owned(), file: self.path() };
        let failed = |error| place.error(Box::new(error));
        let deleted = DeletionVectorDescriptor::try_from(deleted).map_err(failed)?;
        let mut root = log.root_url().clone();
        if !root.path().ends_with('/') {
            // Else the last part of the path would be replaced by the file's.
            root.set_path(&format!("{}/", root.path()));
        }
        deleted.row_indexes(log.engine(None).storage_handler(), &root).map_err(failed)
    }

    pub(crate) fn statistics(&self) -> Option<String> {
        self.view.stats()
    }

    /// The value of a partition column, none being null. None: the file holds the column.
    pub(crate) fn partition_value(&self, column: &str) -> Option<Option<String>> {
        self.values.get(column).cloned()
    }

    /// The folder that it is in, with its values of these columns.
    pub(crate) fn folder(&self, partition_columns: &[String]) -> Folder {
        let path = self.path();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let values = partition_columns.iter().map(|column| self.values.get(column).cloned().flatten());
        Folder { path: folder.to_owned(), values: values.collect() }
    }

    pub(crate) fn remove(&self) -> Remove {
        self.view.remove_action(true)
    }

    /// Reads these columns, named as the table names them, in this order; of all rows, or of these, in ascending order.
    pub(crate) fn read(
        &self,
        store: &Arc<dyn ObjectStore>,
        columns: &[FieldRef],
        rows: Option<&[u64]>,
        (location, runtime): (&str, &Handle),
    ) -> Result<Reader, SinkError> {
        let place = Place { location: location.to_owned(), file: self.path() };
        if self.view.path().contains("://") {
            return Err(place.invalid("it lies outside of the table's folder"));
        }
        let bytes = u64::try_from(self.view.size()).unwrap_or_default();
        let reader = StoredFile { store: Arc::clone(store), path: self.view.object_store_path(), bytes };
        read(reader, &self.values, columns, rows, (place, runtime))
    }
}

/// Reads these columns of a file that no log names yet.
pub(crate) fn read_written<F>(
    file: &DataFile,
    plan: &FilePlan<F>,
    partition_columns: &[String],
    columns: &[FieldRef],
    runtime: &Handle,
) -> Result<Reader, SinkError> {
    let place = Place { location: plan.location.clone(), file: file.name.clone() };
    let reader = StoredFile { store: Arc::clone(&plan.store), path: file.path(), bytes: file.bytes };
    let values = partition_columns.iter().cloned().zip(file.folder.values.iter().cloned()).collect();
    read(reader, &values, columns, None, (place, runtime))
}

/// Reads columns of a file with these values of the table's partition columns.
fn read(
    mut reader: StoredFile,
    values: &HashMap<String, Option<String>>,
    columns: &[FieldRef],
    rows: Option<&[u64]>,
    (place, runtime): (Place, &Handle),
) -> Result<Reader, SinkError> {
    let metadata = runtime.block_on(metadata(&mut reader)).map_err(|error| place.failed(error))?;
    let (mut held, mut columns_of) = (Vec::new(), Vec::with_capacity(columns.len()));
    for field in columns {
        columns_of.push(match (values.get(field.name()), metadata.schema().index_of(field.name())) {
            (Some(text), _) => Held::Constant(constant(text.as_deref(), field, &place)?),
            (None, Ok(index)) => {
                held.push(index);
                Held::InFile
            }
            (None, Err(_)) => Held::Constant(new_null_array(field.data_type(), 1)),
        });
    }
    let batch_rows = batch_rows(&metadata);
    let total = metadata.metadata().file_metadata().num_rows();
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
    let mask = ProjectionMask::roots(builder.parquet_schema(), held);
    let mut builder = builder.with_projection(mask).with_batch_size(batch_rows);
    if let Some(rows) = rows {
        builder = builder.with_row_selection(selection(rows));
    }
    let stream = builder.build().map_err(|error| place.failed(error))?;
    let schema = Arc::new(Schema::new(columns.to_vec()));
    let rows = u64::try_from(total).unwrap_or_default();
    Ok(Reader { stream, schema, columns: columns_of, rows, place, runtime: runtime.clone() })
}

fn constant(text: Option<&str>, field: &Field, place: &Place) -> Result<ArrayRef, SinkError> {
    bounds::partition_value(text, field.data_type())
        .ok_or_else(|| place.invalid(&format!("its value of partition column `{}` is invalid", field.name())))
}

/// Which file of which table.
#[derive(Debug)]
struct Place {
    location: String,
    file: String,
}

impl Place {
    fn failed(&self, error: ParquetError) -> SinkError {
        let source: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        if system_error(source.as_ref()).is_some() || datakit_stores::failure_of(source.as_ref()).is_some() {
            return classify("read", &format!("{} of {}", self.file, self.location), source);
        }
        self.error(source)
    }

    fn invalid(&self, what: &str) -> SinkError {
        self.error(what.into())
    }

    fn error(&self, source: Box<dyn std::error::Error + Send + Sync>) -> SinkError {
        SinkError::DataFile { location: self.location.clone(), file: self.file.clone(), source }
    }
}

/// What the file says of itself. Its timestamps are read with microseconds, since those of the form INT96 may lie beyond what
/// nanoseconds reach.
async fn metadata(reader: &mut StoredFile) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load_async(reader, options.clone()).await?;
    let columns = metadata.parquet_schema().columns();
    let int96: Vec<&str> =
        columns.iter().filter(|column| column.physical_type() == Type::INT96).map(|column| column.name()).collect();
    let is_int96 = |field: &FieldRef| int96.contains(&field.name().as_str());
    if int96.is_empty() {
        return Ok(metadata);
    }
    let micros = |field: &FieldRef| -> FieldRef {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        if is_int96(field) { Arc::new(Field::clone(field).with_data_type(data_type)) } else { Arc::clone(field) }
    };
    let schema: SchemaRef = Arc::new(Schema::new(metadata.schema().fields().iter().map(micros).collect::<Vec<_>>()));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))
}

/// By the widest row group.
fn batch_rows(metadata: &ArrowReaderMetadata) -> usize {
    let groups = metadata.metadata().row_groups().iter();
    let row_bytes = groups.map(|group| group.total_byte_size() / group.num_rows().max(1)).max().unwrap_or_default();
    let rows = (MAX_BATCH_BYTES / row_bytes.max(1)).clamp(1, MAX_BATCH_ROWS);
    usize::try_from(rows).unwrap_or(1)
}

/// Rows by their places in the file, in ascending order.
fn selection(rows: &[u64]) -> RowSelection {
    let mut selectors = Vec::new();
    let mut next = 0;
    for row in rows {
        let skipped = usize::try_from(row - next).unwrap_or(usize::MAX);
        if skipped > 0 {
            selectors.push(RowSelector::skip(skipped));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    RowSelection::from(selectors)
}

#[derive(Debug)]
enum Held {
    /// The next column of the file that was asked for has this name.
    InFile,
    /// All rows have this one value.
    Constant(ArrayRef),
}

/// The rows of a file, in the form of the table.
pub(crate) struct Reader {
    stream: ParquetRecordBatchStream<StoredFile>,
    schema: SchemaRef,
    columns: Vec<Held>,
    /// Rows of the file.
    pub(crate) rows: u64,
    place: Place,
    runtime: Handle,
}

impl Reader {
    /// The next rows, in the file's order; none: there are no more.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, SinkError> {
        let Some(batch) = self.runtime.block_on(self.stream.next()) else { return Ok(None) };
        let batch = batch.map_err(|error| self.place.failed(error))?;
        self.formed(&batch).map(Some).map_err(|error| self.place.error(Box::new(error)))
    }

    fn formed(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = batch.num_rows();
        let column = |(field, held): (&FieldRef, &Held)| match held {
            Held::Constant(value) => take(value, &UInt32Array::from_value(0, rows), None),
            Held::InFile => {
                let column = batch.column_by_name(field.name());
                let missing = || ArrowError::SchemaError(format!("there is no column `{}`", field.name()));
                formed(column.ok_or_else(missing)?, field.data_type())
            }
        };
        let columns = self.schema.fields().iter().zip(&self.columns).map(column).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
    }
}

/// Values of a file in the type of the table. A timestamp is the same moment in UTC, whatever zone its type names.
fn formed(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    match (column.data_type(), data_type) {
        (DataType::Timestamp(_, from), DataType::Timestamp(TimeUnit::Microsecond, to)) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, from.clone());
            let column = cast_with_options(column, &micros, &options)?;
            Ok(Arc::new(column.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(to.clone())))
        }
        _ => cast_with_options(column, data_type, &options),
    }
}

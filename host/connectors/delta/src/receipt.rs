//! Files read back before the log names them.
//!
//! Counts come from the footers. Values are decoded by other code than the one that encoded them, and compared in the types of the
//! source: a time or a UUID is read from the text that stands for it in Delta.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::receipt::compare;
use datakit_model::receipt::{Delivered, RowChecksum, times_of_texts, uuids_of_texts};
use datakit_parquet::{DataFile, FilePlan};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStoreExt as _;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use crate::encode::{DeltaRows, Form};
use crate::merge::{StoredFile, read_written};
use crate::storage::storage_error;

/// Footers that are read at one time.
const FOOTERS: usize = 8;
/// So many bytes of the end of a file are asked for at first. Most footers are shorter.
const FOOTER_BYTES: usize = 64 * 1024;

const NO_VALUE: &str = "it holds a text that is no time or UUID";

/// Whether the files hold what was delivered.
///
/// # Errors
/// A mismatch; a store that cannot be read.
pub(crate) async fn check(
    plan: &Arc<FilePlan<DeltaRows>>,
    files: &[DataFile],
    delivered: &Delivered,
    as_what: As,
) -> Result<(), SinkError> {
    let footers: Vec<_> = files.iter().map(|file| rows_of(Arc::clone(plan), file.clone())).collect();
    let footers = stream::iter(footers).buffer_unordered(FOOTERS);
    let rows = footers.try_fold(0, |sum, rows| async move { Ok(sum + rows) }).await?;
    compare(&plan.location, delivered, &Delivered { rows, checksum: None })?;
    if delivered.checksum.is_none() {
        return Ok(());
    }
    let (reading, files, runtime) = (Arc::clone(plan), files.to_vec(), Handle::current());
    let held = tokio::task::spawn_blocking(move || read(&reading, &files, as_what, &runtime));
    let failed = |e| SinkError::Encode { location: plan.location.clone(), source: Box::new(e) };
    compare(&plan.location, delivered, &held.await.map_err(failed)??)
}

/// The schema in which values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// As the source delivers them.
    Source,
    /// As the files hold them, with the columns that only the table has.
    Written,
    /// As the files hold them, without the columns that folders stand for.
    InFiles,
}

/// Files that are written, and the rows that were handed on to them.
pub(crate) struct Staged {
    pub(crate) files: Vec<DataFile>,
    pub(crate) handed_on: Delivered,
    pub(crate) as_what: As,
}

impl As {
    /// The columns that are read.
    fn columns(self, rows: &DeltaRows) -> &SchemaRef {
        match self {
            Self::Source | Self::Written => &rows.schema.written,
            Self::InFiles => &rows.partitioning.file_schema,
        }
    }

    /// The schema of the values that are compared, and how they are made of the columns; none: they are these.
    fn compared(self, rows: &DeltaRows) -> (&SchemaRef, Option<&[Form]>) {
        match self {
            Self::Source => (&rows.schema.source, Some(&rows.schema.forms)),
            Self::Written | Self::InFiles => (self.columns(rows), None),
        }
    }
}

/// The rows of a file, by its footer. The store says its size.
async fn rows_of(plan: Arc<FilePlan<DeltaRows>>, file: DataFile) -> Result<u64, SinkError> {
    let differs = |reason: String| differs(&plan, &file, reason);
    let path = file.path();
    let found = match plan.store.head(&path).await {
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Err(differs("it is gone".to_owned())),
        Err(error) => return Err(storage_error("read", &plan.location, error)),
    };
    if found.size != file.bytes {
        return Err(differs(format!("it has {} bytes, not {}", found.size, file.bytes)));
    }
    let mut reader = StoredFile { store: Arc::clone(&plan.store), path, bytes: file.bytes };
    let footer = match footer(&mut reader).await {
        Ok(footer) => footer,
        Err(ParquetError::External(error)) => match error.downcast::<object_store::Error>() {
            Ok(error) => return Err(storage_error("read", &plan.location, *error)),
            Err(error) => return Err(differs(error.to_string())),
        },
        Err(error) => return Err(differs(format!("its footer cannot be read: {error}"))),
    };
    let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
    let in_groups: i64 = footer.row_groups().iter().map(|group| group.num_rows()).sum();
    if rows != file.rows || u64::try_from(in_groups) != Ok(rows) {
        return Err(differs(format!(
            "its footer says {rows} rows, {in_groups} of them in row groups, not {}",
            file.rows
        )));
    }
    Ok(rows)
}

async fn footer(reader: &mut StoredFile) -> Result<ParquetMetaData, ParquetError> {
    let bytes = reader.bytes;
    ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES)).load_and_finish(reader, bytes).await
}

fn differs(plan: &FilePlan<DeltaRows>, file: &DataFile, reason: String) -> SinkError {
    SinkError::ReceiptFile { location: plan.location.clone(), file: file.name.clone(), reason }
}

/// All values of the files. Blocks.
fn read(plan: &FilePlan<DeltaRows>, files: &[DataFile], as_what: As, runtime: &Handle) -> Result<Delivered, SinkError> {
    let failed = |e: ArrowError| SinkError::Encode { location: plan.location.clone(), source: Box::new(e) };
    let (schema, forms) = as_what.compared(&plan.form);
    let columns = as_what.columns(&plan.form).fields();
    let (mut values, mut rows) = (RowChecksum::new(schema).map_err(failed)?, 0);
    for file in files {
        let unreadable = |error: SinkError| match error {
            SinkError::DataFile { source, .. } => differs(plan, file, source.to_string()),
            other => other,
        };
        let partition_columns = &plan.form.partitioning.columns;
        let mut reader = read_written(file, plan, partition_columns, columns, runtime).map_err(unreadable)?;
        while let Some(batch) = reader.next().map_err(unreadable)? {
            let undone = forms.map(|forms| undone(forms, batch.columns()));
            let undone = undone.map(|columns| columns.ok_or_else(|| differs(plan, file, NO_VALUE.to_owned())));
            values.add(undone.transpose()?.as_deref().unwrap_or(batch.columns())).map_err(failed)?;
            rows += batch.num_rows() as u64;
        }
    }
    Ok(Delivered { rows, checksum: Some(values.sum()) })
}

/// The values of the source that these columns stand for; none: a text stands for no value.
fn undone(forms: &[Form], columns: &[ArrayRef]) -> Option<Vec<ArrayRef>> {
    forms.iter().zip(columns).map(|(form, column)| form.undone(column)).collect()
}

impl Form {
    /// The values of the source that a column of the files stands for; none: a text that stands for no value.
    pub(crate) fn undone(self, column: &ArrayRef) -> Option<ArrayRef> {
        match self {
            Self::Same => Some(Arc::clone(column)),
            Self::UuidText => uuids_of_texts(column),
            Self::TimeText => times_of_texts(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _, StringArray};
    use arrow::datatypes::Time64NanosecondType;

    use super::*;

    #[test]
    fn texts_are_read_as_the_values_that_they_stand_for() {
        let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let found = Form::TimeText.undone(&texts(vec![Some("23:59:59.9999999"), None, Some("00:00:00")])).unwrap();
        let found: Vec<_> = found.as_primitive::<Time64NanosecondType>().iter().collect();
        assert_eq!(found, [Some(86_399_999_999_900), None, Some(0)]);
        let uuid = "6f9619ff-8b86-d011-b42d-00c04fc964ff";
        let found = Form::UuidText.undone(&texts(vec![Some(uuid), None])).unwrap();
        assert_eq!(found.as_fixed_size_binary().value(0), uuid::Uuid::parse_str(uuid).unwrap().as_bytes());
        assert!(found.is_null(1));
        for text in ["", "12:00", "12:00:00:00", "12:00:00.1234567891", "12:00:00.x"] {
            assert!(Form::TimeText.undone(&texts(vec![Some(text)])).is_none(), "{text}");
        }
        assert!(Form::UuidText.undone(&texts(vec![Some("6F9619FF-8B86-D011-B42D-00C04FC964FF")])).is_none());
    }
}

//! Which data files the versions of a table name.

use std::collections::HashSet;

use arrow::array::{AsArray as _, RecordBatch};
use datakit_connect::sink::SinkError;
use deltalake::DeltaTableError;
use futures::TryStreamExt as _;
use object_store::path::Path as StorePath;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::{Log, log_error};
use crate::merge::StoredFile;
use crate::state::files_of_entry;

impl Log {
    /// The file names of all data files that an entry or a checkpoint of the log names, live or removed, without their folders: each
    /// has a UUID.
    ///
    /// # Errors
    /// The log cannot be listed, or a part of it cannot be read.
    pub(crate) async fn named_files(&self) -> Result<HashSet<String>, SinkError> {
        let failed = |error| log_error(&self.location, error);
        let store = self.store.object_store(None);
        let prefix = StorePath::from("_delta_log");
        let parts: Vec<ObjectMeta> =
            store.list(Some(&prefix)).try_collect().await.map_err(|error| failed(error.into()))?;
        let mut names = HashSet::new();
        for part in parts {
            let paths = match part.location.extension() {
                Some("json") => {
                    let bytes = async { store.get(&part.location).await?.bytes().await };
                    let bytes = bytes.await.map_err(|error| failed(error.into()))?;
                    files_of_entry(&bytes).map_err(failed)?
                }
                Some("parquet") => self.files_of_checkpoint(part).await?,
                _ => continue,
            };
            names.extend(paths.into_iter().map(|path| path.rsplit('/').next().unwrap_or(&path).to_owned()));
        }
        Ok(names)
    }

    async fn files_of_checkpoint(&self, part: ObjectMeta) -> Result<Vec<String>, SinkError> {
        let failed = |error: parquet::errors::ParquetError| log_error(&self.location, DeltaTableError::generic(error));
        let file = StoredFile { store: self.store.object_store(None), path: part.location, bytes: part.size };
        let builder = ParquetRecordBatchStreamBuilder::new(file).await.map_err(failed)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["add.path", "remove.path"]);
        let mut batches = builder.with_projection(mask).build().map_err(failed)?;
        let mut paths = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            paths.extend(["add", "remove"].into_iter().flat_map(|action| paths_of(&batch, action)));
        }
        Ok(paths)
    }
}

fn paths_of(batch: &RecordBatch, action: &str) -> Vec<String> {
    let paths = batch.column_by_name(action).and_then(|column| column.as_struct_opt()?.column_by_name("path").cloned());
    let texts = paths.and_then(|paths| arrow::compute::cast(&paths, &arrow::datatypes::DataType::Utf8).ok());
    let texts = texts.as_ref().and_then(|texts| texts.as_string_opt::<i32>());
    texts.into_iter().flatten().flatten().map(str::to_owned).collect()
}

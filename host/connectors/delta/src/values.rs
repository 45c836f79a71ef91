//! The values of some columns of a table as it is now, file by file.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, FieldRef};
use async_trait::async_trait;
use datakit_connect::sink::SinkError;
use datakit_model::Failure;
use datakit_model::sink::TableValues;
use deltalake::logstore::LogStoreRef;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::commit::Log;
use crate::merge::TableFile;
use crate::names;
use crate::schema::arrow_type;

/// The values of these columns; none where there is no table.
pub(crate) fn read(log: &Log, columns: &[String]) -> Result<Option<Box<dyn TableValues>>, SinkError> {
    let Some(there) = log.columns() else { return Ok(None) };
    let field = |column: &String| -> Result<FieldRef, SinkError> {
        let name = names::column(column);
        let data_type = there.field(&name).and_then(|field| arrow_type(field.data_type()));
        let missing = || SinkError::NoColumn { location: log.location.clone(), column: column.clone() };
        Ok(Arc::new(Field::new(name, data_type.ok_or_else(missing)?, true)))
    };
    let reading = Reading {
        fields: columns.iter().map(field).collect::<Result<_, _>>()?,
        files: log.files(),
        store: log.store.object_store(None),
        log: Arc::clone(&log.store),
        location: log.location.clone(),
        runtime: Handle::current(),
    };
    // One batch waits while another is read.
    let (sender, batches) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || reading.run(&sender));
    Ok(Some(Box::new(Values(batches))))
}

/// Batches from the thread that reads; it ends when nobody takes them.
struct Values(Receiver<Result<RecordBatch, SinkError>>);

#[async_trait]
impl TableValues for Values {
    async fn next(&mut self) -> Result<Option<RecordBatch>, Failure> {
        Ok(self.0.recv().await.transpose()?)
    }
}

struct Reading {
    fields: Vec<FieldRef>,
    files: Vec<TableFile>,
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    location: String,
    runtime: Handle,
}

impl Reading {
    fn run(&self, batches: &Sender<Result<RecordBatch, SinkError>>) {
        for file in &self.files {
            match self.file(file, batches) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    // Nobody waits for it any more: then nobody misses it.
                    let _ = batches.blocking_send(Err(error));
                    return;
                }
            }
        }
    }

    /// False: nobody takes the rows any more.
    fn file(&self, file: &TableFile, batches: &Sender<Result<RecordBatch, SinkError>>) -> Result<bool, SinkError> {
        let mut reader = file.read(&self.store, &self.fields, None, (&self.location, &self.runtime))?;
        let deleted = file.deleted_rows(&self.log, &self.location)?;
        let mut first = 0;
        while let Some(batch) = reader.next()? {
            let end = first + batch.num_rows() as u64;
            let batch = without(batch, first, &deleted)
                .map_err(|e| SinkError::Encode { location: self.location.clone(), source: Box::new(e) })?;
            first = end;
            if batches.blocking_send(Ok(batch)).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The rows of a batch that are not deleted, of which the first has this place in its file. `deleted` is in ascending order.
fn without(batch: RecordBatch, first: u64, deleted: &[u64]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let places = first..first + batch.num_rows() as u64;
    let of_batch = &deleted[deleted.partition_point(|place| *place < places.start)..];
    let of_batch = &of_batch[..of_batch.partition_point(|place| *place < places.end)];
    if of_batch.is_empty() {
        return Ok(batch);
    }
    let live: BooleanArray = places.map(|place| Some(of_batch.binary_search(&place).is_err())).collect();
    filter_record_batch(&batch, &live)
}

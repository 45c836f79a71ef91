//! The rows of one partition, as a datakit shapes them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datakit_model::datakit::RoleColumns;
use datakit_model::source::ReadReport;
use datakit_model::{ColumnOrigin, Failure, TrackedBatch, datakit};
use wasmtime::component::ResourceAny;

use crate::check;
use crate::error::{Call, Limit, WasmError};
use crate::instance::{Instance, guarded};

/// A partition on its way. Dropping it ends the instance and cancels its queries.
pub struct Extraction {
    instance: Instance,
    extraction: ResourceAny,
    /// As the datakit announced it, roles included.
    announced: SchemaRef,
    /// The same without roles: what the host gives on.
    schema: SchemaRef,
    roles: RoleColumns,
    /// The schema of the last batch that was found equal: batches of one reader share theirs, so one check does for all.
    accepted: Option<SchemaRef>,
    /// Calls in a row that returned no row and had read none.
    empty_calls: u64,
    complete: bool,
}

impl std::fmt::Debug for Extraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extraction").field("complete", &self.complete).finish_non_exhaustive()
    }
}

impl Extraction {
    pub(crate) fn new(instance: Instance, extraction: ResourceAny, announced: SchemaRef) -> Self {
        let (schema, roles) = (check::without_roles(&announced), check::roles(&announced));
        Self { instance, extraction, announced, schema, roles, accepted: None, empty_calls: 0, complete: false }
    }

    /// The columns of every batch.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The next rows, never an empty batch; none when the partition is complete. Not cancel-safe: after a dropped call
    /// the extraction refuses further ones.
    ///
    /// # Errors
    /// The guest's end, its own error, an error of the source, or a batch that is not what was announced.
    pub async fn next(&mut self) -> Result<Option<TrackedBatch>, WasmError> {
        while !self.complete {
            let instance = &mut self.instance;
            instance.begin(Call::ExtractionNext)?;
            let next = guarded(instance.exports.next(&mut instance.store, self.extraction)).await;
            let returned = match self.instance.finish(next)? {
                Ok(returned) => returned,
                Err(error) => return Err(self.instance.returned(error)),
            };
            let Some(rows) = returned else {
                self.complete = true;
                break;
            };
            match self.accept(rows) {
                Ok(rows) if rows.batch().num_rows() > 0 => {
                    self.empty_calls = 0;
                    return Ok(Some(rows));
                }
                // A filter may leave nothing of a batch, of a million batches even; their rows come to an end. A guest that
                // reads nothing, or begins the same query again and again, does not.
                Ok(_) => {
                    self.count_empty()?;
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(self.instance.fail(|_| error)),
            }
        }
        Ok(None)
    }

    fn count_empty(&mut self) -> Result<(), WasmError> {
        let state = self.instance.store.data();
        if state.has_read_on {
            return Ok(());
        }
        self.empty_calls += 1;
        let max = state.limits.max_empty_batches;
        if self.empty_calls <= max {
            return Ok(());
        }
        let what = format!("the datakit returned no row {} times without reading one", self.empty_calls);
        let error = WasmError::over(Limit::EmptyBatches, max, what, Call::ExtractionNext);
        Err(self.instance.fail(|_| error))
    }

    /// The columns that the host fills, by the datakit's names for them.
    #[must_use]
    pub fn roles(&self) -> &RoleColumns {
        &self.roles
    }

    /// Which columns of the source each column is made of, by the last projection that the datakit has made.
    #[must_use]
    pub fn origins(&self) -> &[ColumnOrigin] {
        &self.instance.store.data().origins
    }

    /// The watermark that the rows reach, asked once the partition is complete.
    ///
    /// # Errors
    /// The guest's end; a watermark that is too long.
    pub async fn watermark(&mut self) -> Result<Option<String>, WasmError> {
        let instance = &mut self.instance;
        instance.begin(Call::ExtractionWatermark)?;
        let asked = guarded(instance.exports.watermark(&mut instance.store, self.extraction)).await;
        let watermark = instance.finish(asked)?;
        let limits = Arc::clone(&instance.store.data().limits);
        match check::watermark(watermark.as_deref(), "a partition", &limits, Call::ExtractionWatermark) {
            Ok(()) => Ok(watermark),
            Err(error) => Err(instance.fail(|_| error)),
        }
    }

    /// What is known of the rows read so far, of all queries of the instance together.
    pub fn report(&mut self) -> ReadReport {
        self.instance.store.data_mut().report()
    }

    /// Holds a batch to the announced schema, and gives it that very schema.
    fn accept(&mut self, rows: TrackedBatch) -> Result<TrackedBatch, WasmError> {
        let found = rows.batch().schema_ref();
        if !self.accepted.as_ref().is_some_and(|accepted| Arc::ptr_eq(accepted, found)) {
            check::same_columns(&self.announced, found)?;
            self.accepted = Some(Arc::clone(found));
        }
        let batch = rows.batch();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
            .map_err(|error| WasmError::BadBatch { problem: error.to_string() })?;
        Ok(rows.derive(batch))
    }
}

#[async_trait]
impl datakit::Extraction for Extraction {
    fn schema(&self) -> SchemaRef {
        Self::schema(self)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        Ok(Self::next(self).await?)
    }

    fn roles(&self) -> &RoleColumns {
        Self::roles(self)
    }

    fn origins(&self) -> Vec<ColumnOrigin> {
        Self::origins(self).to_vec()
    }

    fn report(&mut self) -> ReadReport {
        Self::report(self)
    }

    async fn watermark(&mut self) -> Result<Option<String>, Failure> {
        Ok(Self::watermark(self).await?)
    }
}

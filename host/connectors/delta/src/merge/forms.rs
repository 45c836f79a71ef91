//! Rows that have the form of the table's files already.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::FormRows;
use datakit_parquet::{FilePlan, Folder, FormedBatch, RowForm, WriteError};

use crate::encode::DeltaRows;

/// What the files of a table have in common.
pub(super) type TablePlan = Arc<FilePlan<DeltaRows>>;

/// Rows of the load, before they are reduced.
pub(super) struct Incoming {
    pub(super) plan: TablePlan,
    /// Every column may be null.
    pub(super) schema: SchemaRef,
}

impl FormRows for Incoming {
    fn form(&self, batch: &RecordBatch) -> Result<RecordBatch, SinkError> {
        let columns = self.plan.form.columns(batch)?;
        let failed = |e| SinkError::Encode { location: self.plan.location.clone(), source: Box::new(e) };
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(failed)
    }
}

/// Rows of the load, in the schema of the table.
pub(super) struct Merged(pub(super) TablePlan);

impl RowForm for Merged {
    type Error = SinkError;

    fn schema(&self) -> &SchemaRef {
        self.0.form.schema()
    }

    fn encode(&self, batch: &RecordBatch) -> Result<FormedBatch, SinkError> {
        self.0.form.partitioning.split(batch.clone(), &self.0.location)
    }

    fn failed(&self, error: WriteError) -> SinkError {
        self.0.form.failed(error)
    }
}

/// Rows of one file of the table, which stay in its folder.
pub(super) struct Copied {
    pub(super) plan: TablePlan,
    pub(super) folder: Arc<Folder>,
}

impl RowForm for Copied {
    type Error = SinkError;

    fn schema(&self) -> &SchemaRef {
        self.plan.form.schema()
    }

    fn encode(&self, batch: &RecordBatch) -> Result<FormedBatch, SinkError> {
        Ok(FormedBatch::whole(batch.clone(), Arc::clone(&self.folder)))
    }

    fn failed(&self, error: WriteError) -> SinkError {
        self.plan.form.failed(error)
    }
}

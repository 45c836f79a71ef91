//! Batches of a load in the shape of the table, and a writer that is given them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datakit_model::resume::FinishedPartition;
use datakit_model::sink::{CommitNote, Committed, PartitionWriter, RefusedValue, TableWriter, Target, Written};
use datakit_model::{ColumnChange, Failure, TrackedBatch};

use super::decide::{Decision, Fate, decide};
use super::{Alteration, Load, Table};
use crate::sink::SinkError;
use crate::sink::columns::{EXTENSION_METADATA, EXTENSION_NAME, check_batch};

/// How a load goes into a table: its columns as they are written, and what the commit alters.
#[derive(Debug)]
pub struct Fit {
    /// What batches look like.
    read: SchemaRef,
    /// Of each column that is written, its place in a batch and the type that it gets; none: every batch is written as it is.
    places: Option<Vec<(usize, Option<DataType>)>>,
    /// What the batches look like that are written.
    schema: SchemaRef,
    /// What the commit alters in the table.
    pub alterations: Vec<Alteration>,
    /// What is different, for people.
    pub changes: Vec<ColumnChange>,
}

impl Fit {
    /// Of a table that is not there yet.
    #[must_use]
    pub fn new_table(target: &Target) -> Self {
        let (read, schema) = (Arc::clone(&target.schema), Arc::clone(&target.schema));
        Self { read, places: None, schema, alterations: Vec::new(), changes: Vec::new() }
    }

    /// Of the table that is there, at `location`.
    ///
    /// # Errors
    /// [`SinkError::SchemaMismatch`]: the target's rule does not allow it.
    pub fn new(target: &Target, load: &Load<'_>, table: &Table<'_>, location: &str) -> Result<Self, SinkError> {
        let Decision { fates, alterations, changes, problems } = decide(target, load, table);
        if !problems.is_empty() {
            let (location, rule) = (location.to_owned(), target.drift);
            return Err(SinkError::SchemaMismatch { location, differences: problems, rule });
        }
        let mut fields: Vec<FieldRef> = Vec::with_capacity(fates.len());
        let mut places = Vec::with_capacity(fates.len());
        for (at, (fate, field)) in fates.into_iter().zip(target.schema.fields()).enumerate() {
            match fate {
                Fate::Same => {
                    fields.push(Arc::clone(field));
                    places.push((at, None));
                }
                Fate::Cast(data_type) => {
                    fields.push(Arc::new(with_type(field, &data_type)));
                    places.push((at, Some(data_type)));
                }
                Fate::LeftOut => {}
            }
        }
        let is_same = places.len() == target.schema.fields().len() && places.iter().all(|(_, cast)| cast.is_none());
        let schema = if is_same { Arc::clone(&target.schema) } else { Arc::new(Schema::new(fields)) };
        let places = (!is_same).then_some(places);
        Ok(Self { read: Arc::clone(&target.schema), places, schema, alterations, changes })
    }

    /// Whether batches are written as they are, and the table stays as it is.
    #[must_use]
    pub fn changes_nothing(&self) -> bool {
        self.places.is_none() && self.alterations.is_empty()
    }

    /// What the batches look like that are written.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The target with the columns that are written, in the types of the source.
    #[must_use]
    pub fn written(&self, target: Target) -> Target {
        let Some(places) = &self.places else { return target };
        let fields: Vec<FieldRef> = places.iter().map(|(at, _)| Arc::clone(&target.schema.fields()[*at])).collect();
        Target { schema: Arc::new(Schema::new(fields)), ..target }
    }

    /// A batch of the load, as it is written.
    ///
    /// # Errors
    /// The batch does not have the columns of the load.
    fn batch(&self, batch: &RecordBatch, location: &str) -> Result<Option<RecordBatch>, SinkError> {
        let Some(places) = &self.places else { return Ok(None) };
        check_batch(&self.read, batch, location)?;
        let failed = |e| SinkError::Encode { location: location.to_owned(), source: Box::new(e) };
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(at, cast): &(usize, Option<DataType>)| match cast {
            Some(data_type) => cast_with_options(batch.column(*at), data_type, &options),
            None => Ok(Arc::clone(batch.column(*at))),
        };
        let columns: Vec<ArrayRef> = places.iter().map(column).collect::<Result<_, _>>().map_err(failed)?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows).map(Some).map_err(failed)
    }

    /// A writer of the load over one of the rows that are written.
    #[must_use]
    pub fn around(self, writer: Arc<dyn TableWriter>, location: String) -> Arc<dyn TableWriter> {
        if self.places.is_none() && self.changes.is_empty() {
            return writer;
        }
        Arc::new(FittedTable { writer, fit: Arc::new(self), location: location.into() })
    }
}

/// A field in another type, without what described the first one.
fn with_type(field: &Field, data_type: &DataType) -> Field {
    let metadata = field.metadata().iter().filter(|(key, _)| *key != EXTENSION_NAME && *key != EXTENSION_METADATA);
    let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Field::new(field.name(), data_type.clone(), field.is_nullable()).with_metadata(metadata)
}

struct FittedTable {
    writer: Arc<dyn TableWriter>,
    fit: Arc<Fit>,
    location: Arc<str>,
}

#[async_trait]
impl TableWriter for FittedTable {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        let writer = self.writer.partition(ordinal).await?;
        if self.fit.places.is_none() {
            return Ok(writer);
        }
        let (fit, location) = (Arc::clone(&self.fit), Arc::clone(&self.location));
        Ok(Box::new(FittedPartition { writer, fit, location }))
    }

    fn refused(&self, batch: &RecordBatch) -> Result<Vec<RefusedValue>, Failure> {
        match self.fit.batch(batch, &self.location)? {
            Some(fitted) => self.writer.refused(&fitted),
            None => self.writer.refused(batch),
        }
    }

    fn finished(&self) -> Vec<FinishedPartition> {
        self.writer.finished()
    }

    async fn keep(&self, partitions: &[FinishedPartition]) -> Result<(), Failure> {
        self.writer.keep(partitions).await
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        self.writer.commit(note).await
    }

    async fn abort(&self) {
        self.writer.abort().await;
    }

    fn drift(&self) -> &[ColumnChange] {
        &self.fit.changes
    }
}

struct FittedPartition {
    writer: Box<dyn PartitionWriter>,
    fit: Arc<Fit>,
    location: Arc<str>,
}

#[async_trait]
impl PartitionWriter for FittedPartition {
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure> {
        let fitted = match self.fit.batch(batch.batch(), &self.location)? {
            Some(rows) => batch.derive(rows),
            None => batch,
        };
        self.writer.write(fitted).await
    }

    async fn finish(self: Box<Self>) -> Result<Written, Failure> {
        self.writer.finish().await
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}

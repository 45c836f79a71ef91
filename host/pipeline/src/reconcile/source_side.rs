//! The rows of the source: all of them, and those that the next load would read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::datakit::{Partition, Session, Watermarks};
use datakit_model::{Failure, RunIdentity, TableId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::columns::Columns;
use super::comparable::Comparable;
use super::error::ReconcileError;
use super::look::{Described, Look, Subject, Wanted};
use super::rows::{Entries, Side};
use crate::error::RunError;
use crate::job::{Job, new_run_id};

/// Keys that are remembered because the next load would read them.
const MAX_PENDING: usize = 1_000_000;

impl Subject {
    /// The rows of the source, several partitions at one time; and whether row-level security may have left out some.
    pub(super) async fn delivered(
        &self,
        described: &Described,
        columns: &Columns,
        comparable: &Arc<Comparable>,
        wanted: Option<&Wanted>,
    ) -> Result<(Side, bool), Failure> {
        let parallel = usize::try_from(self.job.limits.max_parallel_partitions.max(1)).unwrap_or(usize::MAX);
        let workers = Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)));
        let reading = Arc::new(Reading {
            job: Arc::clone(&self.job),
            session: described.session.clone(),
            schema: Arc::clone(&described.schema),
            places: columns.places.clone(),
            comparable: Arc::clone(comparable),
            wanted: wanted.cloned(),
            side: Mutex::new(Side::new(comparable)),
        });
        let mut tasks = JoinSet::new();
        for partition in described.plan.partitions.clone() {
            let (reading, workers) = (Arc::clone(&reading), Arc::clone(&workers));
            tasks.spawn(async move {
                let _permit = workers.acquire_owned().await;
                reading.partition(&partition).await
            });
        }
        let mut is_filtered = false;
        while let Some(joined) = tasks.join_next().await {
            is_filtered |= joined.map_err(|crash| self.crashed(&crash.to_string()))??;
        }
        let reading = Arc::into_inner(reading).ok_or_else(|| self.crashed("a partition is still read"))?;
        Ok((reading.side.into_inner().unwrap_or_else(PoisonError::into_inner), is_filtered))
    }

    /// The keys of the rows that the next load would read; none: no load goes on from the last one, or it would read very many.
    pub(super) async fn pending(&self, look: &Look) -> Result<Option<HashSet<Vec<u8>>>, Failure> {
        let Some(position) = self.position(look.document.as_ref()) else { return Ok(None) };
        let session = self.lenient_session();
        let session = Session {
            run: RunIdentity { run_id: new_run_id(), ..session.run },
            watermarks: Arc::new(LastPosition { table: self.id().clone(), position: Some(position) }),
            ..session
        };
        let plan = self.planned(&session).await?;
        let mut keys = HashSet::new();
        for partition in &plan.partitions {
            let mut extraction = self.job.datakit.extract(&session, partition).await?;
            let schema = extraction.schema();
            let place = |key: &usize| schema.index_of(look.comparable.fields.get(*key)?.name()).ok();
            let Some(places) = look.comparable.keys.iter().map(place).collect::<Option<Vec<_>>>() else {
                return Ok(None);
            };
            while let Some(batch) = extraction.next().await? {
                let columns: Vec<_> = places.iter().map(|place| Arc::clone(batch.batch().column(*place))).collect();
                let rows = look.comparable.keys_of_source(&columns).map_err(|error| self.values_failed(error))?;
                keys.extend(rows.iter().map(|row| row.as_ref().to_vec()));
                if keys.len() > MAX_PENDING {
                    return Ok(None);
                }
            }
        }
        Ok(Some(keys))
    }
}

/// A table that several tasks read.
struct Reading {
    job: Arc<Job>,
    session: Session,
    schema: SchemaRef,
    places: Vec<usize>,
    comparable: Arc<Comparable>,
    wanted: Option<Wanted>,
    side: Mutex<Side>,
}

impl Reading {
    /// Whether row-level security may have left out rows.
    async fn partition(&self, partition: &Partition) -> Result<bool, Failure> {
        let mut extraction = self.job.datakit.extract(&self.session, partition).await?;
        if extraction.schema() != self.schema {
            let (table, ordinal) = (partition.table.clone(), partition.ordinal);
            return Err(RunError::PartitionSchema { table, ordinal }.into());
        }
        while let Some(batch) = extraction.next().await? {
            self.add(batch.batch(), &partition.table)?;
        }
        Ok(extraction.report().filtered)
    }

    fn add(&self, batch: &RecordBatch, table: &TableId) -> Result<(), Failure> {
        let table = || table.to_string();
        let entries = Entries::of_source(&self.comparable, &self.places, batch);
        let entries = entries.map_err(|source| ReconcileError::Values { table: table(), source })?;
        let is_wanted = |key: &[u8]| self.wanted.as_ref().is_none_or(|wanted| wanted.contains(key));
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        let added = entries.add_to(&mut side, self.comparable.lanes, is_wanted);
        Ok(added.map_err(|source| ReconcileError::Spool { table: table(), source })?)
    }
}

/// Gives the position of one table, and of others none.
pub(super) struct LastPosition {
    pub(super) table: TableId,
    pub(super) position: Option<String>,
}

#[async_trait]
impl Watermarks for LastPosition {
    async fn watermark(&self, table: &TableId) -> Result<Option<String>, Failure> {
        Ok(self.position.clone().filter(|_| *table == self.table))
    }
}

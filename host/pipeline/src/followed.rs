//! One extraction for several who follow it: each gets every batch, and the slowest sets the pace.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::datakit::{Extraction, RoleColumns};
use datakit_model::source::ReadReport;
use datakit_model::{ColumnOrigin, Failure, TableId, TrackedBatch};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use crate::error::RunError;

/// Batches that wait for one follower. They hold their share of the memory budget.
const WAITING_BATCHES: usize = 1;

/// What an extraction has given.
#[derive(Clone)]
enum Step {
    Batch(TrackedBatch),
    End(End),
    Failed(Failure),
}

/// What is known at the end of the rows.
#[derive(Clone, Default)]
struct End {
    report: ReadReport,
    watermark: Option<String>,
}

/// A view of an extraction that others follow too. When the last view is dropped, the extraction ends.
struct Followed {
    table: TableId,
    schema: SchemaRef,
    roles: RoleColumns,
    origins: Vec<ColumnOrigin>,
    steps: mpsc::Receiver<Step>,
    end: Option<End>,
    _reader: Arc<AbortOnDropHandle<()>>,
}

/// So many views of one extraction. `asks_watermark`: somebody will ask for the watermark at the end.
pub(crate) fn followed(
    table: &TableId,
    extraction: Box<dyn Extraction>,
    followers: usize,
    asks_watermark: bool,
) -> Vec<Box<dyn Extraction>> {
    let (schema, roles, origins) = (extraction.schema(), extraction.roles().clone(), extraction.origins());
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..followers).map(|_| mpsc::channel(WAITING_BATCHES)).unzip();
    let reading = read(extraction, senders, asks_watermark).in_current_span();
    let reader = Arc::new(AbortOnDropHandle::new(tokio::spawn(reading)));
    let view = |steps| {
        let (table, roles, origins, reader) = (table.clone(), roles.clone(), origins.clone(), Arc::clone(&reader));
        let schema = Arc::clone(&schema);
        Box::new(Followed { table, schema, roles, origins, steps, end: None, _reader: reader }) as Box<dyn Extraction>
    };
    receivers.into_iter().map(view).collect()
}

/// Reads as long as somebody follows.
async fn read(mut extraction: Box<dyn Extraction>, mut followers: Vec<mpsc::Sender<Step>>, asks_watermark: bool) {
    while !followers.is_empty() {
        let (step, is_last) = match next(extraction.as_mut(), asks_watermark).await {
            Ok(Step::Batch(batch)) => (Step::Batch(batch), false),
            Ok(last) => (last, true),
            Err(failure) => (Step::Failed(failure), true),
        };
        hand_on(&mut followers, step).await;
        if is_last {
            return;
        }
    }
}

async fn next(extraction: &mut dyn Extraction, asks_watermark: bool) -> Result<Step, Failure> {
    if let Some(batch) = extraction.next().await? {
        return Ok(Step::Batch(batch));
    }
    let watermark = if asks_watermark { extraction.watermark().await? } else { None };
    Ok(Step::End(End { report: extraction.report(), watermark }))
}

/// Waits until each follower has room. One that is gone is left out from now on.
async fn hand_on(followers: &mut Vec<mpsc::Sender<Step>>, step: Step) {
    let mut left = Vec::with_capacity(followers.len());
    for follower in followers.drain(..) {
        if follower.send(step.clone()).await.is_ok() {
            left.push(follower);
        }
    }
    *followers = left;
}

#[async_trait]
impl Extraction for Followed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        if self.end.is_some() {
            return Ok(None);
        }
        match self.steps.recv().await {
            Some(Step::Batch(batch)) => Ok(Some(batch)),
            Some(Step::Failed(failure)) => Err(failure),
            Some(Step::End(end)) => {
                self.end = Some(end);
                Ok(None)
            }
            // Only a panic ends the reading without an end of the rows.
            None => {
                let message = "the shared read ended without a result".to_owned();
                Err(RunError::Crashed { table: self.table.clone(), message }.into())
            }
        }
    }

    fn roles(&self) -> &RoleColumns {
        &self.roles
    }

    fn origins(&self) -> Vec<ColumnOrigin> {
        self.origins.clone()
    }

    /// Known at the end of the rows.
    fn report(&mut self) -> ReadReport {
        self.end.as_mut().map(|end| std::mem::take(&mut end.report)).unwrap_or_default()
    }

    async fn watermark(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.end.as_mut().and_then(|end| end.watermark.take()))
    }
}

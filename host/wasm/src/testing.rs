//! A source in memory: datakits run against it in tests, without a server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::Array as _;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datakit_model::datakit::{Verdict, Watermarks};
use datakit_model::source::{Access, Adjustment, Connection, Query, ReadReport, Reader, Rejected, RejectedRow, Source};
use datakit_model::{Failure, GuestLimits, Kind, MemoryBudget, Retry, TableId, TrackedBatch};

use crate::bounded::{self, Place};
use crate::error::WasmError;

/// What a query gets: the schema, and the batches in order. An error in their place ends the rows.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The shape of every batch.
    pub schema: SchemaRef,
    /// What the reader gives, one a call.
    pub batches: Vec<Result<RecordBatch, Failure>>,
    /// What the reader says it changed.
    pub adjustments: Vec<Adjustment>,
    /// What the reader rejects, before its first batch.
    pub rejected: Vec<RejectedRow>,
}

impl Answer {
    /// These batches of one schema.
    #[must_use]
    pub fn rows(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches: batches.into_iter().map(Ok).collect(), adjustments: Vec::new(), rejected: Vec::new() }
    }
}

type Respond = dyn Fn(&Query) -> Result<Answer, Failure> + Send + Sync;

/// A source whose answers a closure gives.
#[derive(Clone)]
pub struct MemorySource {
    kind: &'static str,
    respond: Arc<Respond>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    live: AtomicU64,
}

impl MemorySource {
    /// A source of this kind that asks `respond` for the answer to each query.
    pub fn new(
        kind: &'static str,
        respond: impl Fn(&Query) -> Result<Answer, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, respond: Arc::new(respond), counts: Arc::default() }
    }

    /// A source that knows queries by their whole text, and refuses others as a server would.
    pub fn by_text(kind: &'static str, answers: impl IntoIterator<Item = (String, Answer)>) -> Self {
        let answers: HashMap<String, Answer> = answers.into_iter().collect();
        Self::new(kind, move |query| {
            answers.get(&query.sql).cloned().ok_or_else(|| {
                let message = format!("there is no answer to `{}`", query.sql);
                Failure::new("DK-SRC-900", Kind::Source, Retry::Never, message)
            })
        })
    }

    /// Queries begun so far.
    #[must_use]
    pub fn opened_readers(&self) -> u64 {
        self.counts.opened.load(Ordering::SeqCst)
    }

    /// Readers that live now.
    #[must_use]
    pub fn live_readers(&self) -> u64 {
        self.counts.live.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for MemorySource {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(MemoryConnection { source: self.clone(), memory: access.memory }))
    }
}

struct MemoryConnection {
    source: MemorySource,
    memory: MemoryBudget,
}

#[async_trait]
impl Connection for MemoryConnection {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let answer = (self.source.respond)(&query)?;
        let counts = Arc::clone(&self.source.counts);
        counts.opened.fetch_add(1, Ordering::SeqCst);
        counts.live.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MemoryReader {
            schema: answer.schema,
            batches: answer.batches.into_iter(),
            adjustments: answer.adjustments,
            rejected: answer.rejected,
            memory: self.memory.clone(),
            counts,
        }))
    }
}

struct MemoryReader {
    schema: SchemaRef,
    batches: std::vec::IntoIter<Result<RecordBatch, Failure>>,
    adjustments: Vec<Adjustment>,
    rejected: Vec<RejectedRow>,
    memory: MemoryBudget,
    counts: Arc<Counts>,
}

#[async_trait]
impl Reader for MemoryReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        // A real source waits; a datakit must not notice whether it does.
        tokio::task::yield_now().await;
        let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
        let bytes: usize = batch.columns().iter().map(|column| column.get_buffer_memory_size()).sum();
        let reservation = self.memory.reserve(bytes as u64).await;
        Ok(Some(TrackedBatch::new(batch, reservation)))
    }

    fn report(&mut self) -> ReadReport {
        ReadReport {
            adjustments: self.adjustments.clone(),
            rejected: Rejected::new(std::mem::take(&mut self.rejected)),
            ..ReadReport::default()
        }
    }
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        self.counts.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Watermarks by table; none for all others.
#[derive(Debug, Clone, Default)]
pub struct MemoryWatermarks(pub HashMap<TableId, String>);

#[async_trait]
impl Watermarks for MemoryWatermarks {
    async fn watermark(&self, table: &TableId) -> Result<Option<String>, Failure> {
        Ok(self.0.get(table).cloned())
    }
}

/// Checks settings in a process of `program`, which serves [`crate::bounded::serve`].
///
/// # Errors
/// As [`crate::Datakit::check_settings`].
pub async fn check_settings_in(
    program: PathBuf,
    limits: &GuestLimits,
    schema: &str,
    settings: &serde_json::Value,
) -> Result<Verdict, WasmError> {
    bounded::check_settings(&Place::Process(program), limits, schema, settings).await
}
